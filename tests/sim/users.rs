//! Clients that keep their sessions as long as they can, and what they have seen.

use std::collections::{BTreeMap, BTreeSet};

use zkserver::ids::SessionId;
use zkserver::proto::jute::{Put, Reader};
use zkserver::proto::opcode::OpCode;

use super::plan::{Op, Tier};
use super::run::Run;
use super::world::draws::Stream;
use super::world::frames::Ask;

#[derive(Default)]
pub struct User {
    /// The connection that it uses, and one that it has left without closing it.
    pub conn: Option<usize>,
    pub former: Option<usize>,
    pub is_connected: bool,
    pub session: Session,
}

/// What a client library keeps from connection to connection.
#[derive(Clone, Default)]
pub struct Session {
    pub id: SessionId,
    pub passwd: Vec<u8>,
    pub last_zxid: i64,
    pub next_xid: i32,
    pub auths: Vec<String>,
    /// Registered: the list of setWatches2 that it belongs to (getData, exists, getChildren, persistent,
    /// recursive) and the path.
    pub watches: BTreeSet<(u8, String)>,
}

/// A connection as its client sees it.
#[derive(Default)]
pub struct Wire {
    pub user: usize,
    pub session: SessionId,
    pub last_zxid: i64,
    is_connected: bool,
    /// Sent and not answered.
    pub sent: BTreeMap<i32, Sent>,
}

/// A request that was sent, and what all clients had seen by then.
pub struct Sent {
    pub op: Op,
    pub seen: i64,
}

/// A frame that a client has received.
pub enum Got {
    Connected {
        session: SessionId,
    },
    Refused,
    Event {
        zxid: i64,
        kind: i32,
        path: String,
    },
    Reply {
        xid: i32,
        zxid: i64,
        error: i32,
        body: Vec<u8>,
        sent: Option<Sent>,
    },
}

impl Run {
    /// Asks, or connects first.
    pub fn ask(&mut self, user: usize, is_former: bool, ops: &[Op]) {
        let conn = self.users[user].conn;
        if conn.is_none_or(|conn| self.world.clients[conn].client.is_closed) {
            return self.connect(user, 10_000);
        }
        if !self.users[user].is_connected {
            return;
        }
        let former = self.users[user].former.filter(|_| is_former);
        if let Some(conn) = former.or(conn) {
            self.send(user, conn, ops);
        }
    }

    /// Goes to any server that runs, with the session if there is one.
    pub fn connect(&mut self, user: usize, timeout_ms: i32) {
        let count = self.world.nodes.len() as u64;
        let node = self.world.draws.below(Stream::User, user as u64, count) as usize;
        if !self.world.nodes[node].is_up() {
            return;
        }
        let conn = self.world.accept(node);
        let session = &mut self.users[user].session;
        if session.id == SessionId(0) {
            session.next_xid = 1;
        }
        let passwd = match session.passwd.is_empty() {
            true => vec![0; 16],
            false => session.passwd.clone(),
        };
        let bytes = super::world::client::connect(session.last_zxid, timeout_ms, session.id, &passwd);
        self.wires.push(Wire {
            user,
            session: session.id,
            last_zxid: session.last_zxid,
            ..Wire::default()
        });
        assert_eq!(self.wires.len(), conn + 1, "one for each connection");
        let id = session.id;
        let user_ = &mut self.users[user];
        user_.former = user_.conn;
        (user_.conn, user_.is_connected) = (Some(conn), false);
        self.say(format_args!("user {user} connects to {node} on {conn} of {id}"));
        self.laws.on_opened(conn, node, &bytes[4..]);
        self.world.receive(conn, &bytes);
    }

    fn send(&mut self, user: usize, conn: usize, ops: &[Op]) {
        if self.world.clients[conn].client.is_closed {
            return;
        }
        let mut bytes = Vec::new();
        for op in ops {
            let xid = match op {
                Op::Auth { name } => {
                    self.users[user].session.auths.push(name.clone());
                    AUTH_XID
                }
                _ => {
                    let xid = &mut self.users[user].session.next_xid;
                    *xid += 1;
                    *xid - 1
                }
            };
            let start = bytes.len();
            frame(&mut bytes, xid, &op.ask());
            self.note_sent(conn, xid, &bytes[start..], Some(op));
            self.say(format_args!("user {user} asks for {xid} on {conn}: {op:?}"));
            if *op == Op::Close {
                break;
            }
        }
        self.world.receive(conn, &bytes);
    }

    fn note_sent(&mut self, conn: usize, xid: i32, frame: &[u8], op: Option<&Op>) {
        self.laws.on_sent(conn, &frame[4..]);
        let sent = op.map(|op| Sent {
            op: op.clone(),
            seen: self.seen,
        });
        if let Some(sent) = sent
            && xid > 0
        {
            self.wires[conn].sent.insert(xid, sent);
        }
    }

    /// A client library authenticates and watches again on a new connection.
    fn renew(&mut self, user: usize, conn: usize) {
        if self.plan.tier == Tier::Protocol {
            return;
        }
        let mut bytes = Vec::new();
        let session = self.users[user].session.clone();
        for name in &session.auths {
            let ask = Op::Auth { name: name.clone() }.ask();
            let start = bytes.len();
            frame(&mut bytes, AUTH_XID, &ask);
            self.note_sent(conn, AUTH_XID, &bytes[start..], None);
        }
        if !session.watches.is_empty() {
            // As Apache's clients do.
            let has_persistent = session.watches.iter().any(|watch| watch.0 >= 3);
            let (op, lists) = match has_persistent {
                true => (OpCode::SetWatches2, 5),
                false => (OpCode::SetWatches, 3),
            };
            self.marks.hit(format!("{op:?}"));
            let ask = Ask::new(op, |out| {
                out.put_long(session.last_zxid);
                for kind in 0..lists {
                    let paths = session.watches.iter().filter(|watch| watch.0 == kind);
                    let paths: Vec<&String> = paths.map(|watch| &watch.1).collect();
                    out.put_int(paths.len() as i32);
                    paths.iter().for_each(|path| out.put_string(path));
                }
            });
            let start = bytes.len();
            frame(&mut bytes, SET_WATCHES_XID, &ask);
            self.note_sent(conn, SET_WATCHES_XID, &bytes[start..], None);
        }
        if !bytes.is_empty() {
            self.world.receive(conn, &bytes);
        }
    }

    /// Takes up what connections have received.
    pub fn receive(&mut self) {
        for conn in 0..self.world.clients.len() {
            if self.world.clients[conn].client.bytes.is_empty() {
                continue;
            }
            let bytes = std::mem::take(&mut self.world.clients[conn].client.bytes);
            self.world.trace.bytes(&bytes);
            let mut rest = &bytes[..];
            while let Some((head, behind)) = rest.split_first_chunk::<4>() {
                let (payload, behind) = behind.split_at(u32::from_be_bytes(*head) as usize);
                rest = behind;
                // A client library does not look at a connection that it has given up.
                let is_current = self.users[self.wires[conn].user].conn == Some(conn);
                if is_current || self.plan.tier == Tier::Protocol {
                    self.laws.on_received(&self.world.history, conn, payload);
                }
                let got = self.wires[conn].decode(payload, &mut self.users);
                self.on_got(conn, got);
            }
            assert!(rest.is_empty(), "half a frame");
        }
    }

    fn on_got(&mut self, conn: usize, got: Got) {
        let user = self.wires[conn].user;
        let is_current = self.users[user].conn == Some(conn);
        self.laws.on_got(&self.world.history, &self.wires[conn], &got);
        self.marks.on_got(&got, is_current);
        match got {
            Got::Connected { session } => {
                self.say(format_args!("{conn} is connected with {session}"));
                if is_current {
                    self.users[user].is_connected = true;
                    self.renew(user, conn);
                }
            }
            Got::Refused => {
                self.say(format_args!("{conn} is refused"));
                if is_current {
                    self.users[user] = User::default();
                }
            }
            Got::Event { zxid, kind, path } => {
                self.say(format_args!("{conn} sees {kind} of {path} at {zxid:#x}"));
                self.see(conn, zxid);
                let kinds: &[u8] = if kind == 4 { &[2] } else { &[0, 1, 2] };
                for kind in kinds {
                    self.users[user].session.watches.remove(&(*kind, path.clone()));
                }
            }
            Got::Reply {
                xid,
                zxid,
                error,
                sent,
                ..
            } => {
                self.say(format_args!("{conn} is answered {xid} at {zxid:#x}, {error}"));
                self.see(conn, zxid);
                self.answers_count += 1;
                if let Some(sent) = sent {
                    self.register(user, error, &sent.op);
                }
            }
        }
    }

    fn register(&mut self, user: usize, error: i32, op: &Op) {
        let watches = &mut self.users[user].session.watches;
        let (kind, path) = match op {
            Op::Get { path, watch: true } if error == 0 => (0, path),
            Op::Exists { path, watch: true } if error == 0 => (0, path),
            Op::Exists { path, watch: true } if error == -101 => (1, path),
            Op::Children { path, watch: true } if error == 0 => (2, path),
            Op::AddWatch { path, mode } if error == 0 => (3 + *mode as u8, path),
            Op::RemoveWatches { path, kind } if error == 0 => {
                let removed: &[u8] = match kind {
                    1 => &[2],
                    2 => &[0, 1],
                    4 => &[3],
                    5 => &[4],
                    _ => &[0, 1, 2, 3, 4],
                };
                watches.retain(|(kind, at)| at != path || !removed.contains(kind));
                return;
            }
            _ => return,
        };
        watches.insert((kind, path.clone()));
    }

    fn see(&mut self, conn: usize, zxid: i64) {
        let wire = &mut self.wires[conn];
        wire.last_zxid = wire.last_zxid.max(zxid);
        let session = &mut self.users[wire.user].session;
        if session.id == wire.session {
            session.last_zxid = session.last_zxid.max(zxid);
        }
        self.seen = self.seen.max(zxid);
    }
}

impl Wire {
    fn decode(&mut self, payload: &[u8], users: &mut [User]) -> Got {
        let mut reader = Reader::new(payload);
        if !std::mem::replace(&mut self.is_connected, true) {
            reader.int().expect("the protocol's version");
            let timeout_ms = reader.int().expect("a timeout");
            let id = SessionId(reader.long().expect("a session"));
            let passwd = reader.buffer().expect("a password").unwrap_or_default();
            if timeout_ms == 0 {
                return Got::Refused;
            }
            self.session = id;
            let session = &mut users[self.user].session;
            (session.id, session.passwd) = (id, passwd.to_vec());
            return Got::Connected { session: id };
        }
        let (xid, zxid) = (reader.int().expect("an xid"), reader.long().expect("a zxid"));
        let error = reader.int().expect("an error");
        if xid == EVENT_XID {
            let kind = reader.int().expect("a kind");
            reader.int().expect("a state");
            let path = reader.string().expect("a path").into_owned();
            return Got::Event { zxid, kind, path };
        }
        let sent = self.sent.remove(&xid);
        assert!(
            sent.is_some() || xid < 0,
            "I11: an answer that nobody asked for: {xid}"
        );
        let first = self.sent.keys().next();
        assert!(
            xid < 0 || first.is_none_or(|first| *first > xid),
            "I11: {xid} is answered before {first:?}"
        );
        Got::Reply {
            xid,
            zxid,
            error,
            body: payload[16..].to_vec(),
            sent,
        }
    }
}

fn frame(out: &mut Vec<u8>, xid: i32, ask: &Ask) {
    out.put_count(8 + ask.body.len());
    out.put_int(xid);
    out.put_int(ask.code);
    out.extend_from_slice(&ask.body);
}

const EVENT_XID: i32 = -1;
const AUTH_XID: i32 = -4;
const SET_WATCHES_XID: i32 = -8;
