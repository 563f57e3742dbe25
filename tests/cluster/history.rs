//! What a recorder saw, one line for each event, in the order in which it was written down.

use std::fmt::Write as _;

/// Nanoseconds since the recorder started, a connection's number, and what happened on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub at: u64,
    pub conn: u32,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A ConnectRequest is sent to a member, from this address.
    Opening {
        server: u64,
        address: String,
        frame: Vec<u8>,
    },
    /// Its answer; a session of 0 says that the wanted one is no more.
    Opened {
        session: i64,
        frame: Vec<u8>,
    },
    Asked {
        xid: i32,
        code: i32,
        body: Vec<u8>,
    },
    Answered {
        xid: i32,
        zxid: i64,
        err: i32,
        body: Vec<u8>,
    },
    /// A watch event.
    Fired {
        zxid: i64,
        kind: i32,
        state: i32,
        path: String,
    },
    /// The connection is no more: what was not answered stays unknown.
    Lost,
}

impl Event {
    pub fn line(&self) -> String {
        let Event { at, conn, what } = self;
        match what {
            What::Opening {
                server,
                address,
                frame,
            } => format!("O {at} {conn} {server} {address} {}", hex(frame)),
            What::Opened { session, frame } => format!("C {at} {conn} {session:x} {}", hex(frame)),
            What::Asked { xid, code, body } => format!("R {at} {conn} {xid} {code} {}", hex(body)),
            What::Answered { xid, zxid, err, body } => {
                format!("A {at} {conn} {xid} {zxid:x} {err} {}", hex(body))
            }
            What::Fired {
                zxid,
                kind,
                state,
                path,
            } => format!("W {at} {conn} {zxid:x} {kind} {state} {}", hex(path.as_bytes())),
            What::Lost => format!("X {at} {conn}"),
        }
    }

    /// None for a line that is none.
    pub fn parse(line: &str) -> Option<Event> {
        let words: Vec<&str> = line.split(' ').collect();
        let word = |index: usize| words.get(index).copied();
        let what = match word(0)? {
            "O" => What::Opening {
                server: word(3)?.parse().ok()?,
                address: word(4)?.to_owned(),
                frame: unhex(word(5)?)?,
            },
            "C" => What::Opened {
                session: long(word(3)?)?,
                frame: unhex(word(4)?)?,
            },
            "R" => What::Asked {
                xid: word(3)?.parse().ok()?,
                code: word(4)?.parse().ok()?,
                body: unhex(word(5)?)?,
            },
            "A" => What::Answered {
                xid: word(3)?.parse().ok()?,
                zxid: long(word(4)?)?,
                err: word(5)?.parse().ok()?,
                body: unhex(word(6)?)?,
            },
            "W" => What::Fired {
                zxid: long(word(3)?)?,
                kind: word(4)?.parse().ok()?,
                state: word(5)?.parse().ok()?,
                path: String::from_utf8(unhex(word(6)?)?).ok()?,
            },
            "X" => What::Lost,
            _ => return None,
        };
        Some(Event {
            at: word(1)?.parse().ok()?,
            conn: word(2)?.parse().ok()?,
            what,
        })
    }
}

fn long(text: &str) -> Option<i64> {
    u64::from_str_radix(text, 16).ok().map(u64::cast_signed)
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes all");
        text
    })
}

pub fn unhex(text: &str) -> Option<Vec<u8>> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok())
        .collect()
}

/// One request with its answer, if there was one.
#[derive(Clone, Debug)]
pub struct Call {
    pub session: i64,
    pub conn: u32,
    pub xid: i32,
    pub code: i32,
    pub body: Vec<u8>,
    pub asked: u64,
    pub answer: Option<Answer>,
}

#[derive(Clone, Debug)]
pub struct Answer {
    pub at: u64,
    pub zxid: i64,
    pub err: i32,
    pub body: Vec<u8>,
}

impl Call {
    /// The answer when it is no error.
    pub fn success(&self) -> Option<&Answer> {
        self.answer.as_ref().filter(|answer| answer.err == 0)
    }
}

/// All requests in the order in which they were sent, each with its answer.
pub fn calls(events: &[Event]) -> Vec<Call> {
    let mut sessions = std::collections::BTreeMap::new();
    let mut open = std::collections::BTreeMap::new();
    let mut calls: Vec<Call> = Vec::new();
    for event in events {
        match &event.what {
            What::Opened { session, .. } => {
                sessions.insert(event.conn, *session);
            }
            What::Asked { xid, code, body } => {
                open.insert((event.conn, *xid), calls.len());
                calls.push(Call {
                    session: sessions.get(&event.conn).copied().unwrap_or(0),
                    conn: event.conn,
                    xid: *xid,
                    code: *code,
                    body: body.clone(),
                    asked: event.at,
                    answer: None,
                });
            }
            What::Answered { xid, zxid, err, body } => {
                if let Some(index) = open.remove(&(event.conn, *xid)) {
                    calls[index].answer = Some(Answer {
                        at: event.at,
                        zxid: *zxid,
                        err: *err,
                        body: body.clone(),
                    });
                }
            }
            What::Opening { .. } | What::Fired { .. } | What::Lost => {}
        }
    }
    calls
}
