use std::net::TcpStream;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;
use crate::proto::acl::{Id, perms};
use crate::proto::jute::{Put, Reader};
use crate::proto::opcode::OpCode;

/// An ensemble as one port shows it: it leads, and answers clients from a script.
struct Fake {
    port: u16,
    asked: Receiver<Asked>,
    server: Option<thread::JoinHandle<()>>,
}

/// A reconfiguration that was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    lists: [Option<String>; 3],
    version: i64,
}

/// What it does when it is asked for one.
#[derive(Clone, Copy)]
enum Answer {
    /// Answers with this configuration.
    Config(&'static str),
    /// Answers with this error.
    Error(i32),
    /// Ends the connection, and shows this configuration from then on.
    Lost(&'static str),
}

struct Script {
    /// With `PORT` for its own.
    config: &'static str,
    acl: Vec<Acl>,
    ids: &'static [(&'static str, &'static str)],
    answer: Answer,
}

impl Fake {
    fn new(script: Script) -> Fake {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (asked, requests) = channel();
        let serve = move || {
            let mut shown = script.config;
            while let Ok((stream, _)) = listener.accept() {
                stream.set_nodelay(true).unwrap();
                if !converse(stream, &script, &mut shown, port, &asked) {
                    return;
                }
            }
        };
        Fake {
            port,
            asked: requests,
            server: Some(thread::Builder::new().spawn(serve).unwrap()),
        }
    }

    fn run(&self, words: &[&str]) -> Outcome {
        self.run_with(words, &[])
    }

    fn run_with(&self, words: &[&str], variables: &[(&str, &str)]) -> Outcome {
        let server = format!("127.0.0.1:{}", self.port);
        let words: Vec<&str> = ["member"].iter().chain(words).copied().collect();
        Place::new("").run_with(&[&words[..], &["--server", &server]].concat(), variables)
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.try_iter().collect()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(b"stop").unwrap();
        self.server.take().unwrap().join().unwrap();
    }
}

/// False when it is told to stop.
fn converse(
    mut stream: TcpStream,
    script: &Script,
    shown: &mut &'static str,
    port: u16,
    asked: &Sender<Asked>,
) -> bool {
    let mut head = [0; 4];
    stream.read_exact(&mut head).unwrap();
    match &head {
        b"stop" => return false,
        b"srvr" | b"mntr" => {
            let text = "Zookeeper version: 3.9.5-0, built on 2026\nZxid: 0x100000009\nMode: leader\n";
            stream.write_all(text.as_bytes()).unwrap();
            return true;
        }
        length => greet(&mut stream, length),
    }
    while stream.read_exact(&mut head).is_ok() {
        let mut request = vec![0; length_of(&head)];
        stream.read_exact(&mut request).unwrap();
        let mut reader = Reader::new(&request);
        let (xid, op) = (reader.int().unwrap(), reader.int().unwrap());
        let mut body = Vec::new();
        let mut error = 0;
        let config = |config: &str| config.replace("PORT", &port.to_string());
        #[expect(clippy::wildcard_enum_match_arm, reason = "no other is asked for")]
        match OpCode::from_code(op).unwrap() {
            OpCode::GetData => body.put_buffer(Some(config(shown).as_bytes())),
            OpCode::GetAcl => body.extend_from_slice(RawAcls::from_list(&script.acl).bytes()),
            OpCode::WhoAmI => {
                body.put_count(script.ids.len());
                for (scheme, user) in script.ids {
                    body.put_string(scheme);
                    body.put_string(user);
                }
            }
            OpCode::Reconfig => {
                let mut list = || reader.ustring().unwrap().map(|list| list.into_owned());
                let lists = [list(), list(), list()];
                let version = reader.long().unwrap();
                asked.send(Asked { lists, version }).unwrap();
                match script.answer {
                    Answer::Config(text) => body.put_buffer(Some(config(text).as_bytes())),
                    Answer::Error(code) => error = code,
                    Answer::Lost(text) => {
                        *shown = text;
                        return true;
                    }
                }
            }
            OpCode::Auth | OpCode::Sync | OpCode::CloseSession => {}
            op => panic!("asked for {op:?}"),
        }
        let mut reply = Vec::new();
        // An event first: clients pass over what they have not asked for.
        for (xid, error, body) in [(-1, 0, &[][..]), (xid, error, &body[..])] {
            reply.clear();
            reply.put_int(xid);
            reply.put_long(9);
            reply.put_int(error);
            reply.extend_from_slice(body);
            send(&mut stream, &reply);
        }
    }
    true
}

/// Gives a session to whoever asks.
fn greet(stream: &mut TcpStream, length: &[u8; 4]) {
    stream.read_exact(&mut vec![0; length_of(length)]).unwrap();
    let mut response = vec![0; 8];
    response[7] = 100;
    response.put_long(7);
    response.put_buffer(Some(&[0; 16]));
    response.put_bool(false);
    send(stream, &response);
}

fn length_of(head: &[u8; 4]) -> usize {
    u32::from_be_bytes(*head) as usize
}

fn send(stream: &mut TcpStream, payload: &[u8]) {
    let mut frame = Vec::new();
    frame.put_buffer(Some(payload));
    // Who closes its session does not wait for more.
    let _ = stream.write_all(&frame);
}

fn open(answer: Answer) -> Script {
    Script {
        config: BEFORE,
        acl: vec![Acl::world(perms::READ | perms::WRITE)],
        ids: &[("ip", "127.0.0.1")],
        answer,
    }
}

const BEFORE: &str = "server.1=127.0.0.1:1:2:participant;127.0.0.1:PORT\nserver.2=127.0.0.1:3:4:observer;\
                      127.0.0.1:PORT\nversion=1a";
const AFTER: &str = "server.1=127.0.0.1:1:2:participant;127.0.0.1:PORT\nversion=2b";

#[test]
fn a_change_is_asked_for_from_the_version_that_was_seen() {
    let fake = Fake::new(open(Answer::Config(AFTER)));
    let outcome = fake.run(&["remove", "2"]);
    assert_eq!(outcome.code, ExitCode::SUCCESS, "{}{}", outcome.out, outcome.err);
    assert!(outcome.out.contains("\n- server.2="), "{}", outcome.out);
    assert!(
        outcome.out.contains("version 2b is in force: 1."),
        "{}",
        outcome.out
    );
    let expected = Asked {
        lists: [None, Some("2".into()), None],
        version: 0x1a,
    };
    assert_eq!(fake.asked(), [expected]);
    for words in [
        &["remove", "2", "--dry-run"][..],
        &["remove", "2", "--from-version", "19"],
    ] {
        fake.run(words);
        assert_eq!(fake.asked(), []);
    }
    assert_eq!(
        fake.run(&["remove", "2", "--from-version", "0x1a"]).code,
        ExitCode::SUCCESS
    );
    assert_eq!(fake.asked().len(), 1);
}

#[test]
fn an_answer_that_is_lost_is_looked_for() {
    let fake = Fake::new(open(Answer::Lost(AFTER)));
    let outcome = fake.run(&["remove", "2"]);
    assert_eq!(outcome.code, ExitCode::SUCCESS, "{}{}", outcome.out, outcome.err);
    assert!(
        outcome.err.contains("ended the connection before it answered"),
        "{}",
        outcome.err
    );
    assert!(outcome.out.contains("version 2b is in force"), "{}", outcome.out);
    let other = "server.1=127.0.0.1:1:2:participant;127.0.0.1:PORT\nserver.2=127.0.0.1:3:4:participant;\
                 127.0.0.1:PORT\nversion=2b";
    let outcome = Fake::new(open(Answer::Lost(other))).run(&["remove", "2"]);
    assert_eq!(outcome.code, ExitCode::from(1));
    assert!(
        outcome.err.contains("somebody else was faster"),
        "{}",
        outcome.err
    );
}

#[test]
fn what_the_server_refuses_is_explained() {
    for (code, part) in [
        (-13, "NewConfigNoQuorum"),
        (-14, "another change is under way"),
        (-102, "setAcl /zookeeper/config"),
        (-103, "the members have changed since version 1a"),
        (-123, "reconfigEnabled=true"),
        (-8, "its log says why"),
        (-6, "not one of an ensemble"),
        (-112, "SessionExpired (-112)"),
        (-77, "error -77"),
    ] {
        let fake = Fake::new(open(Answer::Error(code)));
        let outcome = fake.run(&["remove", "2"]);
        let place = format!("error: 127.0.0.1:{}: ", fake.port);
        assert_eq!(outcome.code, ExitCode::from(1), "{code}");
        assert!(
            outcome.err.contains(&place) && outcome.err.contains(part),
            "{}",
            outcome.err
        );
    }
}

#[test]
fn who_may_is_known_beforehand() {
    let entry = |perms, scheme: &str, id: &str| Acl {
        perms,
        id: Id {
            scheme: scheme.into(),
            id: id.into(),
        },
    };
    let granted = vec![Acl::world(perms::READ), entry(perms::WRITE, "digest", "ops:x")];
    let nobody = vec![Acl::world(perms::READ), entry(perms::READ, "digest", "ops:x")];
    let ops: &[_] = &[("ip", "127.0.0.1"), ("digest", "ops")];
    let superuser: &[_] = &[("super", ""), ("digest", "super")];
    for (acl, ids, may) in [
        (&granted, ops, true),
        (&nobody, ops, false),
        (&granted, &ops[..1], false),
        (&nobody, superuser, true),
    ] {
        let fake = Fake::new(Script {
            acl: acl.clone(),
            ids,
            ..open(Answer::Config(AFTER))
        });
        let outcome = fake.run_with(&["remove", "2"], &[("ZKSERVER_AUTH", "ops:secret")]);
        assert_eq!(outcome.code == ExitCode::SUCCESS, may, "{ids:?}: {}", outcome.err);
        assert_eq!(fake.asked().len(), usize::from(may));
        assert_eq!(
            outcome.err.contains("danger: NoAuth: digest:ops may not"),
            !may,
            "{}",
            outcome.err
        );
        let said = outcome.out + &outcome.err;
        assert!(
            said.contains("as digest:ops:\n") && !said.contains("secret"),
            "{said}"
        );
    }
}

#[test]
fn members_are_listed_with_their_groups() {
    let config = "server.1=127.0.0.1:1:2:participant;127.0.0.1:PORT\nserver.2=[::1]:3:4:participant;\
                  127.0.0.1:PORT\nserver.3=127.0.0.9:5:6:observer\ngroup.7=1:2\nweight.1=1\nweight.2=3\n\
                  version=1a";
    let fake = Fake::new(Script {
        config,
        ..open(Answer::Error(0))
    });
    let outcome = fake.run(&["list"]);
    let port = fake.port.to_string();
    let text = outcome.out.replace(&port, "ppppp");
    let rows: Vec<Vec<&str>> = text
        .lines()
        .take(4)
        .map(|line| line.split_whitespace().collect())
        .collect();
    let head = [
        "id", "role", "peers", "clients", "group", "weight", "mode", "lag", "error",
    ];
    assert_eq!(rows[0], head);
    let second = [
        "2",
        "participant",
        "[::1]:3:4",
        "127.0.0.1:ppppp",
        "7",
        "3",
        "leader",
        "-",
        "-",
    ];
    assert_eq!(rows[2], second);
    let third = "3 observer 127.0.0.9:5:6 127.0.0.9:ppppp - 0 - - connection refused";
    assert_eq!(rows[3].join(" "), third);
    assert!(
        text.contains("Configuration version 1a, seen at 127.0.0.1:"),
        "{text}"
    );
    assert!(
        outcome.err.contains("no line says where clients connect to 3"),
        "{}",
        outcome.err
    );
    let json: serde_json::Value = serde_json::from_str(&fake.run(&["list", "--json"]).out).unwrap();
    assert_eq!(json["version"], "1a");
    let second = &json["members"][1];
    assert_eq!((&second["group"], &second["weight"]), (&7.into(), &3.into()));
    assert_eq!(second["peer_addresses"][0], "[::1]:3:4");
    assert_eq!(json["members"][2]["weight"], 0);
}
