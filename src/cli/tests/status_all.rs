use socket2::{Domain, Socket, Type};

use super::*;

/// Answers words until it is dropped.
struct Fake {
    port: u16,
    server: Option<thread::JoinHandle<()>>,
}

impl Fake {
    /// A server with these last lines of `srvr`, whose whitelist is the default.
    fn new(mode: &str, zxid: &str) -> Fake {
        Fake::answering(
            srvr(mode, zxid),
            "mntr is not executed because it is not in the whitelist.\n",
        )
    }

    fn answering(srvr: String, mntr: &'static str) -> Fake {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let serve = move || {
            loop {
                let (mut stream, _) = listener.accept().unwrap();
                let mut word = [0; 4];
                stream.read_exact(&mut word).unwrap();
                let answer = match &word {
                    b"srvr" => srvr.as_str(),
                    b"mntr" => mntr,
                    b"stop" => return,
                    word => panic!("asked for {word:?}"),
                };
                // Who asks may be gone.
                let _ = stream.write_all(answer.as_bytes());
            }
        };
        Fake {
            port,
            server: Some(thread::Builder::new().spawn(serve).unwrap()),
        }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(b"stop").unwrap();
        self.server.take().unwrap().join().unwrap();
    }
}

/// A port that stays taken, but refuses connections.
struct Refusing(Socket);

impl Refusing {
    fn new() -> Refusing {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(&any.into()).unwrap();
        Refusing(socket)
    }

    fn port(&self) -> u16 {
        self.0.local_addr().unwrap().as_socket().unwrap().port()
    }
}

fn srvr(mode: &str, zxid: &str) -> String {
    format!(
        "Zookeeper version: 3.9.5-0, built on 2026-02-11 20:18 UTC\nLatency min/avg/max: 0/0.5/12\n\
         Received: 18\nSent: 19\nConnections: 2\nOutstanding: 0\nZxid: {zxid}\nMode: {mode}\nNode count: 11\n"
    )
}

fn not_serving() -> Fake {
    let text = "This ZooKeeper instance is not currently serving requests\n";
    Fake::answering(text.into(), text)
}

/// An ensemble on these client ports, observers from the fourth on.
fn ensemble(ports: &[u16]) -> Place {
    let mut lines = "initLimit=10\nsyncLimit=5\n".to_owned();
    for (id, port) in (1..).zip(ports) {
        let role = if id > 3 { "observer" } else { "participant" };
        let (quorum, election) = (2000 + id, 3000 + id);
        lines.push_str(&format!(
            "server.{id}=127.0.0.1:{quorum}:{election}:{role};127.0.0.1:{port}\n"
        ));
    }
    let place = Place::new(&lines);
    fs::write(place.data_dir().join("myid"), "1\n").unwrap();
    place
}

/// The output with ports by the number of their servers, as wide as any port.
fn normal(text: &str, ports: &[u16]) -> String {
    let mut text = text.to_owned();
    for (id, port) in (1..).zip(ports) {
        let width = port.to_string().len();
        text = text.replace(
            &format!(":{port}"),
            &format!(":{}", "p".repeat(width - 1) + &format!("{id}")),
        );
    }
    text
}

#[test]
fn the_whole_ensemble_in_a_table() {
    let mntr = "zk_peer_state\tleading - broadcast\nzk_synced_followers\t1\nzk_synced_observers\t0\n";
    let leader = Fake::answering(srvr("leader", "0x500000010"), mntr);
    let (follower, waiting) = (Fake::new("follower", "0x50000000e"), not_serving());
    let (gone, observer) = (Refusing::new(), Fake::new("observer", "0x4000000ff"));
    let ports = [
        follower.port,
        leader.port,
        waiting.port,
        gone.port(),
        observer.port,
    ];
    let outcome = ensemble(&ports).run(&["status", "--all"]);
    let expected = "\
id  address          role         mode      epoch  zxid         lag   latency  connections  znodes  error
 1  127.0.0.1:pppp1  participant  follower      5  0x50000000e    2  0/0.5/12            2      11  -
 2  127.0.0.1:pppp2  participant  leader        5  0x500000010    0  0/0.5/12            2      11  -
 3  127.0.0.1:pppp3  participant  -             -  -              -         -            -       -  \
not serving
 4  127.0.0.1:pppp4  observer     -             -  -              -         -            -       -  \
connection refused
 5  127.0.0.1:pppp5  observer     observer      4  0x4000000ff    -  0/0.5/12            2      11  -
Server 2 leads (followers in time: 1, observers: 0); a quorum serves (2 of 3 participants); \
not serving: server 3; cannot be reached: server 4 (connection refused).
Not in epoch 5 of the leader, so that how far behind is not known: server 5.
";
    assert_eq!(normal(&outcome.out, &ports), expected, "{}", outcome.err);
    assert_eq!(outcome.code, ExitCode::SUCCESS);
}

#[test]
fn without_a_quorum_it_fails() {
    let (leader, follower) = (
        Fake::new("leader", "0x500000010"),
        Fake::new("follower", "0x500000010"),
    );
    let (waiting, gone) = (not_serving(), Refusing::new());
    let observer = Fake::new("observer", "0x500000010");
    let (own, other) = (
        Fake::new("standalone", "0x10"),
        Fake::new("leader", "0x500000009"),
    );
    for (ports, expected) in [
        (
            [leader.port, gone.port(), waiting.port, observer.port],
            "Server 1 leads; no quorum serves (1 of 3 participants); not serving: server 3; \
             cannot be reached: server 2 (connection refused).",
        ),
        (
            [follower.port, follower.port, waiting.port, observer.port],
            "No server leads; a quorum serves (2 of 3 participants); not serving: server 3.",
        ),
        (
            [leader.port, follower.port, other.port, observer.port],
            "Servers 1, 3 all say that they lead; a quorum serves (3 of 3 participants).",
        ),
        (
            [own.port, gone.port(), gone.port(), leader.port],
            "Server 4 leads; no quorum serves (0 of 3 participants); server 1 is standalone; \
             cannot be reached: server 2 (connection refused), server 3 (connection refused).",
        ),
    ] {
        let outcome = ensemble(&ports).run(&["status", "--all"]);
        assert_eq!(outcome.out.lines().nth(5), Some(expected), "{}", outcome.out);
        assert_eq!(outcome.code, ExitCode::from(1), "{expected}");
    }
}

#[test]
fn one_that_is_alone_is_the_whole() {
    let (server, follower) = (Fake::new("standalone", "0x1f"), Fake::new("follower", "0x1f"));
    let gone = Refusing::new();
    for (port, expected, code) in [
        (server.port, "The server serves alone.", ExitCode::SUCCESS),
        (
            gone.port(),
            "No server serves; cannot be reached: the server (connection refused).",
            ExitCode::from(1),
        ),
        (
            follower.port,
            "The server is a follower, and this configuration does not name its ensemble.",
            ExitCode::from(1),
        ),
    ] {
        let place = Place::new(&format!("clientPort={port}\nclientPortAddress=127.0.0.1\n"));
        let outcome = place.run(&["status", "--all"]);
        assert_eq!(outcome.out.lines().last(), Some(expected), "{}", outcome.out);
        assert_eq!((outcome.out.lines().count(), outcome.code), (3, code));
    }
}

#[test]
fn the_whole_ensemble_in_json() {
    let (leader, follower) = (
        Fake::new("leader", "0x500000010"),
        Fake::new("follower", "0x50000000f"),
    );
    let gone = Refusing::new();
    let ports = [leader.port, follower.port, gone.port()];
    let outcome = ensemble(&ports).run(&["status", "--all", "--json"]);
    let found: serde_json::Value = serde_json::from_str(&outcome.out).unwrap();
    assert_eq!(
        (&found["leaders"], &found["is_serving"]),
        (&[1].as_slice().into(), &true.into())
    );
    let expected = serde_json::json!({
        "id": 2, "address": format!("127.0.0.1:{}", follower.port), "role": "participant",
        "version": "3.9.5-0", "mode": "follower", "peer_state": null, "epoch": 5, "zxid": "0x50000000f",
        "lag": 1, "latency_ms": "0/0.5/12", "connections": 2, "znodes": 11, "error": null,
    });
    assert_eq!(found["servers"][1], expected);
    assert_eq!(found["servers"][2]["error"], "connection refused");
    assert_eq!(found["servers"][2]["mode"], serde_json::Value::Null);
    assert_eq!(outcome.code, ExitCode::SUCCESS);
    assert_eq!(
        ensemble(&ports).run(&["status", "--json"]).code,
        ExitCode::from(2)
    );
}
