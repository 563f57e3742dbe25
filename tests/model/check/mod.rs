//! The checker of histories; one file per property.

mod acked;
mod containers;
mod ephemerals;
mod fifo;
mod history;
mod log;
mod monotone;
mod reads;
mod real_time;
mod sequences;
mod sessions;
mod watches;

use std::collections::{BTreeMap, VecDeque};

use super::acl::authenticated;
use super::apply::Trigger;
use super::jute::Reader;
use super::records::{Txn, code, is_write, op};
use super::tree::Model;
use history::{Committed, Connection, Reply, Request};
use sequences::Sequences;
use sessions::Sessions;

/// How strict the checks are.
#[derive(Clone, Debug)]
pub struct Options {
    /// The operations of a failed multi stand in the log as they were before the failure. Apache's servers
    /// may overwrite them in place.
    pub exact_failed_multi: bool,
    /// A reply shows the state at exactly its zxid; otherwise any state up to the connection's next reply.
    pub exact_reads: bool,
    /// Servers ask a quorum before they answer `sync`.
    pub quorum_sync: bool,
    /// A `setACL` counts for later requests only once it is applied, as it is with Apache's leaders
    /// (CVE-2026-100235), where many may be on their way.
    pub stale_acls: bool,
    /// Apache's leaders count the children that a session's end removes until it is applied: a parent deleted
    /// right behind it may be refused as not empty.
    pub stale_children: bool,
    /// `zookeeper.extendedTypesEnabled`, and servers offer nodes with a time to live.
    pub extended_types: bool,
    /// `user:digest` of the super user.
    pub super_digest: Option<String>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            exact_failed_multi: true,
            exact_reads: true,
            quorum_sync: false,
            stale_acls: false,
            stale_children: false,
            extended_types: false,
            super_digest: None,
        }
    }
}

/// A property that does not hold, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Such as "I5".
    pub invariant: &'static str,
    pub text: String,
}

/// A connection that a client opens.
#[derive(Clone, Copy, Debug)]
pub struct Opened<'a> {
    /// Any number that tells the servers apart.
    pub server: u64,
    /// The client's address as the server sees it, such as "127.0.0.1".
    pub address: &'a str,
    pub at: u64,
    /// The ConnectRequest.
    pub frame: &'a [u8],
}

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Committed transactions.
    pub entries: u64,
    /// Transactions of requests, compared with what the model makes of the request.
    pub judged: u64,
    /// Of these, those that were right only by `stale_acls`.
    pub by_stale_acls: u64,
    /// Replies to writes.
    pub writes: u64,
    /// Replies to reads that were compared with the model.
    pub reads: u64,
    /// Other replies.
    pub others: u64,
    /// Watch events.
    pub events: u64,
}

/// Is told a history and finds what a correct service could not have done.
pub struct Checker {
    options: Options,
    model: Model,
    connections: BTreeMap<u64, Connection>,
    requests: Vec<Request>,
    /// Requests by session and xid.
    by_xid: BTreeMap<(i64, i32), usize>,
    /// Zxids of the log, rising.
    zxids: Vec<i64>,
    /// Zxids of transactions that set an access control list, rising.
    acl_zxids: Vec<i64>,
    /// The newest transaction that ended a session.
    closed_zxid: i64,
    triggers: Vec<Trigger>,
    /// Frames that show zxids which are not committed as far as is known, and those behind them.
    held: VecDeque<(u64, u64, Vec<u8>)>,
    sequences: Sequences,
    sessions: Sessions,
    /// The time and zxid of every reply, if `sync` is checked.
    seen: Vec<(u64, i64)>,
    counts: Counts,
    violations: Vec<Violation>,
}

impl Checker {
    /// Begins with an empty service.
    pub fn new(options: Options) -> Checker {
        let mut model = Model::new();
        model.kinds.ttl = options.extended_types;
        Checker {
            options,
            model,
            connections: BTreeMap::new(),
            requests: Vec::new(),
            by_xid: BTreeMap::new(),
            zxids: Vec::new(),
            acl_zxids: Vec::new(),
            closed_zxid: i64::MIN / 2,
            triggers: Vec::new(),
            held: VecDeque::new(),
            sequences: Sequences::default(),
            sessions: Sessions::default(),
            seen: Vec::new(),
            counts: Counts::default(),
            violations: Vec::new(),
        }
    }

    /// A client sends a ConnectRequest. Numbers of connections are never used again.
    pub fn opened(&mut self, conn: u64, opened: Opened<'_>) {
        let connection = Connection::new(self.connections.len(), &opened);
        let session = connection.requested;
        self.connections.insert(conn, connection);
        if session != 0 {
            self.bound(conn, session);
        }
    }

    /// Tells the session of a connection before its ConnectResponse is told.
    pub fn bound(&mut self, conn: u64, session: i64) {
        let Some(connection) = self.connections.get_mut(&conn) else {
            return;
        };
        if connection.session.replace(session).is_none() {
            self.sessions.connected(session, conn);
            for index in &connection.queue {
                let key = (session, self.requests[*index].xid);
                self.by_xid.entry(key).or_insert(*index);
            }
        }
    }

    /// A client sends a request: RequestHeader and record.
    pub fn request(&mut self, conn: u64, at: u64, frame: &[u8]) {
        let Some(connection) = self.connections.get_mut(&conn) else {
            return;
        };
        let mut reader = Reader::new(frame);
        let (Some(xid), Some(opcode)) = (reader.int(), reader.int()) else {
            return;
        };
        let body = reader.rest().to_vec();
        let index = self.requests.len();
        connection.queue.push_back(index);
        if let Some(session) = connection.session
            && opcode != op::PING
            && opcode != op::AUTH
        {
            self.by_xid.entry((session, xid)).or_insert(index);
        }
        if opcode == op::AUTH {
            let super_digest = self.options.super_digest.as_deref();
            let added = authenticated(&body, &connection.address, super_digest);
            connection.add_ids(added.unwrap_or_default());
        }
        self.requests.push(Request {
            conn,
            at,
            xid,
            opcode,
            body,
            ids: connection.ids.clone(),
            returned: None,
            shown: 0,
            committed: None,
        });
    }

    /// The next committed transaction: header, record, perhaps digest.
    pub fn entry(&mut self, bytes: &[u8]) {
        let Some((header, txn)) = Txn::decode(bytes) else {
            self.violation("I21", "a logged transaction cannot be decoded".to_owned());
            return;
        };
        self.counts.entries += 1;
        if header.zxid <= self.model.zxid {
            let text = format!("zxid {:#x} in the log behind {:#x}", header.zxid, self.model.zxid);
            self.violation("I4", text);
            return;
        }
        self.check_log_entry(&header, &txn);
        self.check_owner(&header, &txn);
        self.check_sequences(&header, &txn);
        self.check_containers(&header, &txn);
        self.check_ephemerals_before(&header, &txn);
        match self.model.apply_decoded(&header, &txn) {
            Ok(triggers) => self.triggers.extend(triggers),
            Err(error) => self.violation("I21", format!("{:#x} does not apply: {error}", header.zxid)),
        }
        self.check_ephemerals_after(&header, &txn);
        self.zxids.push(header.zxid);
        if matches!(txn, Txn::CloseSession(_)) {
            self.closed_zxid = header.zxid;
        }
        if matches!(txn, Txn::SetAcl { .. }) {
            self.acl_zxids.push(header.zxid);
        }
        while let Some((conn, at, frame)) = self.held.pop_front() {
            if !self.is_due(conn, &frame) {
                self.held.push_front((conn, at, frame));
                break;
            }
            self.process(conn, at, &frame);
        }
    }

    /// A client receives a ConnectResponse, reply or event.
    pub fn received(&mut self, conn: u64, at: u64, frame: &[u8]) {
        if self.held.is_empty() && self.is_due(conn, frame) {
            self.process(conn, at, frame);
        } else {
            self.held.push_back((conn, at, frame.to_vec()));
        }
    }

    /// Everything has been told.
    pub fn finish(&mut self) {
        while let Some((conn, at, frame)) = self.held.pop_front() {
            if !self.is_due(conn, &frame) {
                let zxid = Reply::decode(&frame).map_or(0, |reply| reply.zxid);
                let text = format!("connection {conn} was shown {zxid:#x}, which was never committed");
                self.violation("I23", text);
            }
            self.process(conn, at, &frame);
        }
        self.check_real_time();
        self.check_sync();
        self.finish_reads();
        self.finish_sessions();
        self.finish_ephemerals();
    }

    /// What was found so far.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// How much was looked at so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The state that the log leads to.
    pub fn model(&self) -> &Model {
        &self.model
    }

    fn violation(&mut self, invariant: &'static str, text: String) {
        self.violations.push(Violation { invariant, text });
    }

    /// The log is known up to what the frame shows.
    fn is_due(&self, conn: u64, frame: &[u8]) -> bool {
        let is_answered = self.connections.get(&conn).is_none_or(|conn| conn.is_answered);
        // The zxid of an undecodable request is a counter, not a state.
        let shown = |reply: Reply<'_>| reply.zxid <= self.model.zxid || reply.error == code::MARSHALLING;
        !is_answered || Reply::decode(frame).is_none_or(shown)
    }

    fn process(&mut self, conn: u64, at: u64, frame: &[u8]) {
        let Some(connection) = self.connections.get_mut(&conn) else {
            return;
        };
        if !connection.is_answered {
            connection.is_answered = true;
            self.connect_response(conn, frame);
            return;
        }
        let Some(reply) = Reply::decode(frame) else {
            self.violation(
                "I11",
                format!("connection {conn} received no reply: {frame:02x?}"),
            );
            return;
        };
        if self.options.quorum_sync {
            self.seen.push((at, reply.zxid));
        }
        if reply.xid == -1 {
            self.check_event(conn, &reply);
        } else if let Some(index) = self.check_fifo(conn, &reply) {
            self.requests[index].returned = Some(at);
            self.requests[index].shown = reply.zxid;
            self.reply(conn, index, &reply);
        }
    }

    fn reply(&mut self, conn: u64, index: usize, reply: &Reply<'_>) {
        if reply.error != code::MARSHALLING {
            self.check_monotone(conn, reply);
            self.settle_reads(conn, reply.zxid);
            self.check_nothing_due(conn, reply);
        }
        if reply.error == code::SESSION_MOVED {
            self.violation(
                "I15",
                format!("connection {conn} was told that its session moved"),
            );
        }
        let opcode = self.requests[index].opcode;
        match opcode {
            op::PING | op::SYNC | op::WHO_AM_I | op::SASL => self.counts.others += 1,
            op::AUTH => self.auth_reply(conn, index, reply),
            op::SET_WATCHES | op::SET_WATCHES2 => self.set_watches_reply(conn, index, reply),
            op::ADD_WATCH | op::CHECK_WATCHES | op::REMOVE_WATCHES => self.watch_reply(conn, index, reply),
            _ if is_write(opcode) => self.check_acked(index, reply),
            _ => {
                self.check_read(conn, index, reply);
                self.read_watch_reply(conn, index, reply);
            }
        }
    }

    fn auth_reply(&mut self, conn: u64, index: usize, reply: &Reply<'_>) {
        self.counts.others += 1;
        let ids = self.requests[index].ids.clone();
        if let Some(connection) = self.connections.get_mut(&conn)
            && reply.error == code::OK
        {
            connection.answered_ids = ids;
        }
    }
}
