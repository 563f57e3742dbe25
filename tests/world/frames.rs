//! Requests as clients write them, and what comes back as they read it.

use std::collections::VecDeque;
use std::fmt;

use zkserver::auth::OPEN_ACL;
use zkserver::ids::SessionId;
use zkserver::proto::acl::{Acl, RawAcls};
use zkserver::proto::jute::{Put, Reader};
use zkserver::proto::opcode::OpCode;

/// A request without its xid.
#[derive(Clone, Debug)]
pub struct Ask {
    pub code: i32,
    pub body: Vec<u8>,
}

impl Ask {
    pub fn new(op: OpCode, write: impl FnOnce(&mut Vec<u8>)) -> Ask {
        let mut body = Vec::new();
        write(&mut body);
        Ask {
            code: op.code(),
            body,
        }
    }
}

pub fn create(path: &str, data: &str) -> Ask {
    create_as(path, data, 0)
}

pub fn create_as(path: &str, data: &str, flags: i32) -> Ask {
    Ask::new(OpCode::Create, |out| {
        out.put_string(path);
        out.put_string(data);
        out.extend_from_slice(OPEN_ACL);
        out.put_int(flags);
    })
}

pub fn create_container(path: &str) -> Ask {
    Ask {
        code: OpCode::CreateContainer.code(),
        ..create_as(path, "", 4)
    }
}

/// A node that goes once it was not written for so many milliseconds.
pub fn create_ttl(path: &str, ttl: i64) -> Ask {
    let mut ask = create_as(path, "", 5);
    ask.code = OpCode::CreateTtl.code();
    ask.body.put_long(ttl);
    ask
}

pub fn create_for(path: &str, acl: &[Acl]) -> Ask {
    Ask::new(OpCode::Create, |out| {
        out.put_string(path);
        out.put_string("");
        out.extend_from_slice(RawAcls::from_list(acl).bytes());
        out.put_int(0);
    })
}

pub fn delete(path: &str, version: i32) -> Ask {
    Ask::new(OpCode::Delete, |out| {
        out.put_string(path);
        out.put_int(version);
    })
}

pub fn set(path: &str, data: &str, version: i32) -> Ask {
    Ask::new(OpCode::SetData, |out| {
        out.put_string(path);
        out.put_string(data);
        out.put_int(version);
    })
}

pub fn read(op: OpCode, path: &str, watch: bool) -> Ask {
    Ask::new(op, |out| {
        out.put_string(path);
        out.put_bool(watch);
    })
}

pub fn get(path: &str) -> Ask {
    read(OpCode::GetData, path, false)
}

pub fn watch(path: &str) -> Ask {
    read(OpCode::GetData, path, true)
}

/// AddWatch with a mode, or checkWatches or removeWatches with a kind of watches.
pub fn watch_request(op: OpCode, path: &str, code: i32) -> Ask {
    Ask::new(op, |out| {
        out.put_string(path);
        out.put_int(code);
    })
}

pub fn sync(path: &str) -> Ask {
    Ask::new(OpCode::Sync, |out| out.put_string(path))
}

pub fn ping() -> Ask {
    Ask::new(OpCode::Ping, |_| {})
}

pub fn close() -> Ask {
    Ask::new(OpCode::CloseSession, |_| {})
}

pub fn auth(scheme: &str, auth: &str) -> Ask {
    Ask::new(OpCode::Auth, |out| {
        out.put_int(0);
        out.put_string(scheme);
        out.put_string(auth);
    })
}

pub fn multi(asks: &[Ask]) -> Ask {
    Ask::new(OpCode::Multi, |out| {
        for ask in asks {
            out.put_int(ask.code);
            out.put_bool(false);
            out.put_int(-1);
            out.extend_from_slice(&ask.body);
        }
        out.put_int(-1);
        out.put_bool(true);
        out.put_int(-1);
    })
}

/// Servers that join, those that leave, or all of them; empty for none. `version` is that of the
/// configuration to change, -1 for any.
pub fn reconfig(joining: &str, leaving: &str, members: &str, version: i64) -> Ask {
    Ask::new(OpCode::Reconfig, |out| {
        for text in [joining, leaving, members] {
            out.put_buffer((!text.is_empty()).then_some(text.as_bytes()));
        }
        out.put_long(version);
    })
}

/// A create whose record breaks off.
pub fn undecodable() -> Ask {
    Ask::new(OpCode::Create, |out| out.put_int(100))
}

/// One frame that a client has received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Connected {
        timeout_ms: i32,
    },
    Refused,
    Event {
        zxid: i64,
        kind: i32,
        path: String,
    },
    Reply {
        xid: i32,
        code: i32,
        zxid: i64,
        error: i32,
        body: String,
    },
}

impl Seen {
    pub fn decode_connect(payload: &[u8], session: &mut SessionId, passwd: &mut Vec<u8>) -> Seen {
        let mut reader = Reader::new(payload);
        assert_eq!(reader.int(), Ok(0), "the protocol's version");
        let timeout_ms = reader.int().unwrap();
        let id = reader.long().unwrap();
        let secret = reader.buffer().unwrap().unwrap();
        if timeout_ms == 0 {
            assert_eq!((id, secret), (0, &[0; 16][..]));
            return Seen::Refused;
        }
        (*session, *passwd) = (SessionId(id), secret.to_vec());
        Seen::Connected { timeout_ms }
    }

    /// The next request that was asked for is the one that is answered.
    pub fn decode(payload: &[u8], asked: &mut VecDeque<(i32, i32)>) -> Seen {
        let mut reader = Reader::new(payload);
        let (xid, zxid) = (reader.int().unwrap(), reader.long().unwrap());
        let error = reader.int().unwrap();
        if xid == -1 {
            assert_eq!(error, 0);
            let (kind, state) = (reader.int().unwrap(), reader.int().unwrap());
            assert_eq!(state, 3);
            let path = reader.string().unwrap().into_owned();
            return Seen::Event { zxid, kind, path };
        }
        let (expected, code) = asked.pop_front().expect("a reply that nobody asked for");
        let expected = if code == OpCode::Ping.code() { -2 } else { expected };
        assert_eq!(xid, expected, "the reply to another request");
        let body = if error == 0 {
            body(code, &mut reader)
        } else {
            String::new()
        };
        assert!(reader.is_empty(), "bytes behind the reply {xid}");
        Seen::Reply {
            xid,
            code,
            zxid,
            error,
            body,
        }
    }

    pub fn zxid(&self) -> Option<i64> {
        match self {
            Seen::Event { zxid, .. } | Seen::Reply { zxid, .. } => Some(*zxid),
            Seen::Connected { .. } | Seen::Refused => None,
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Seen::Connected { timeout_ms } => write!(f, "connected {timeout_ms}"),
            Seen::Refused => write!(f, "refused"),
            Seen::Event { zxid, kind, path } => {
                let names = ["created", "deleted", "changed", "children"];
                write!(f, "@{zxid} {} {path}", names[*kind as usize - 1])
            }
            Seen::Reply {
                xid,
                zxid,
                error,
                body,
                ..
            } => {
                write!(f, "{xid} @{zxid}")?;
                if *error != 0 {
                    write!(f, " error {error}")?;
                }
                if !body.is_empty() {
                    write!(f, " {body}")?;
                }
                Ok(())
            }
        }
    }
}

/// A reply's body in a few words.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the others are without a body, or of no interest here"
)]
fn body(code: i32, reader: &mut Reader<'_>) -> String {
    let Some(op) = OpCode::from_code(code) else {
        return String::new();
    };
    match op {
        OpCode::Create | OpCode::Sync => reader.string().unwrap().into_owned(),
        OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl => {
            let path = reader.string().unwrap().into_owned();
            format!("{path} {}", version(reader))
        }
        OpCode::GetData | OpCode::Reconfig => {
            let data = reader.string().unwrap().into_owned();
            format!("{data} {}", version(reader))
        }
        OpCode::Exists | OpCode::SetData | OpCode::SetAcl => version(reader),
        OpCode::GetChildren => names(reader),
        OpCode::GetChildren2 => format!("{} {}", names(reader), version(reader)),
        OpCode::Multi => {
            let mut results = Vec::new();
            loop {
                let (code, is_done) = (reader.int().unwrap(), reader.bool().unwrap());
                let error = reader.int().unwrap();
                if is_done {
                    return format!("[{}]", results.join(", "));
                }
                if code == -1 {
                    assert_eq!(reader.int(), Ok(error), "the error twice");
                    results.push(format!("error {error}"));
                } else {
                    results.push(format!("{code} {}", body(code, reader)).trim().to_owned());
                }
            }
        }
        OpCode::AddWatch => {
            assert_eq!(reader.int(), Ok(0), "an error that is none");
            String::new()
        }
        OpCode::Sasl => format!("{:?}", reader.buffer().unwrap()),
        _ => String::new(),
    }
}

/// Reads a list of names, and sorts it.
fn names(reader: &mut Reader<'_>) -> String {
    let names = reader.strings().unwrap().unwrap();
    let mut names: Vec<String> = names.iter().map(|name| name.into()).collect();
    names.sort();
    format!("[{}]", names.join(" "))
}

/// Reads a stat and names the data version.
fn version(reader: &mut Reader<'_>) -> String {
    reader.take(32).unwrap();
    let version = reader.int().unwrap();
    reader.take(32).unwrap();
    format!("v{version}")
}
