//! A client and the server's end of its connection.

use std::collections::VecDeque;
use std::sync::Arc;

use super::frames::{Ask, Seen};
use zkserver::auth::ip_id;
use zkserver::client::{ClientConfig, ClientConn, Submit};
use zkserver::clock::Now;
use zkserver::ids::{ConnId, SessionId};
use zkserver::proto::jute::Put;
use zkserver::replica::Input;
use zkserver::shared::{ConnShared, Shared};

/// A client and the server's end of its connection.
pub struct Client {
    pub conn: ClientConn,
    /// From the last answer to a connect request.
    pub session: SessionId,
    pub passwd: Vec<u8>,
    /// Takes no bytes from its socket.
    pub is_stuck: bool,
    /// The server has closed the connection, or the client has.
    pub is_closed: bool,
    /// What was received and not looked at.
    pub bytes: Vec<u8>,
    /// The xid of the next request.
    pub next_xid: i32,
    is_connected: bool,
    asked: VecDeque<(i32, i32)>,
    /// The newest zxid that it has seen.
    pub last_zxid: i64,
}

impl Client {
    /// One that has just connected its socket.
    pub fn new(config: &Arc<ClientConfig>, id: ConnId, wall_ms: i64) -> Client {
        let peer = "127.0.0.1:40000".parse().unwrap();
        let shared = ConnShared::new(id, 0, peer, Arc::from([ip_id(peer.ip())]), wall_ms);
        Client {
            conn: ClientConn::new(Arc::clone(config), Arc::new(shared)),
            session: SessionId(0),
            passwd: Vec::new(),
            is_stuck: false,
            is_closed: false,
            bytes: Vec::new(),
            next_xid: 1,
            is_connected: false,
            asked: VecDeque::new(),
            last_zxid: 0,
        }
    }

    /// One round of the connection; what it has for the core goes to `inbox`. True if another has to follow.
    pub fn advance_once(&mut self, now: Now, shared: &Shared, inbox: &mut VecDeque<Input>) -> bool {
        if self.is_closed {
            return false;
        }
        let mut submits = Vec::new();
        let has_more = self.conn.advance(now, shared, &mut submits);
        inbox.extend(submits.into_iter().map(|submit| match submit {
            Submit::Connect(request) => Input::Connect {
                conn: Arc::clone(self.conn.shared()),
                request,
            },
            Submit::Request(request) => Input::Client(request),
        }));
        if !self.is_stuck {
            self.bytes.extend_from_slice(self.conn.output());
            self.conn.sent(self.conn.output().len());
            if self.conn.is_closing() {
                self.hang_up(inbox);
                return false;
            }
        }
        has_more && !self.conn.is_backlogged()
    }

    /// The connection is gone.
    pub fn hang_up(&mut self, inbox: &mut VecDeque<Input>) {
        if !self.is_closed {
            self.is_closed = true;
            if !self.conn.is_new() {
                inbox.push_back(Input::ConnClosed(self.conn.shared().id));
            }
        }
    }

    /// Whether nothing that it has asked for is still to be answered.
    pub fn is_answered(&self) -> bool {
        self.asked.is_empty()
    }

    /// A request as it goes over the wire.
    pub fn frame(&mut self, ask: &Ask) -> Vec<u8> {
        let xid = self.next_xid;
        self.next_xid += 1;
        self.asked.push_back((xid, ask.code));
        let mut frame = Vec::new();
        frame.put_count(8 + ask.body.len());
        frame.put_int(xid);
        frame.put_int(ask.code);
        frame.extend_from_slice(&ask.body);
        frame
    }

    /// What it has received since the last time.
    pub fn seen(&mut self) -> Vec<Seen> {
        let mut bytes = &self.bytes[..];
        let mut all = Vec::new();
        while let Some((head, rest)) = bytes.split_first_chunk::<4>() {
            let (payload, rest) = rest.split_at(u32::from_be_bytes(*head) as usize);
            bytes = rest;
            let seen = if self.is_connected {
                Seen::decode(payload, &mut self.asked)
            } else {
                self.is_connected = true;
                Seen::decode_connect(payload, &mut self.session, &mut self.passwd)
            };
            if let Some(zxid) = seen.zxid()
                && zxid > 0
            {
                assert!(zxid >= self.last_zxid, "{seen} after {}", self.last_zxid);
                self.last_zxid = zxid;
            }
            all.push(seen);
        }
        assert!(bytes.is_empty(), "half a frame");
        self.bytes.clear();
        all
    }
}

/// A connect request in 45 bytes.
pub fn connect(last_zxid: i64, timeout_ms: i32, session: SessionId, passwd: &[u8]) -> Vec<u8> {
    let mut frame = connect_read_only(last_zxid, timeout_ms, session, passwd);
    if let Some(read_only) = frame.last_mut() {
        *read_only = 0;
    }
    frame
}

/// One of a client that a read-only server will do for.
pub fn connect_read_only(last_zxid: i64, timeout_ms: i32, session: SessionId, passwd: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    payload.put_int(0);
    payload.put_long(last_zxid);
    payload.put_int(timeout_ms);
    payload.put_long(session.0);
    payload.put_buffer(Some(passwd));
    payload.put_bool(true);
    let mut frame = Vec::new();
    frame.put_buffer(Some(&payload));
    frame
}
