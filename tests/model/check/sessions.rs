//! I15: a session is served by one server at a time, and refused only after its end.

use std::collections::BTreeMap;

use super::super::jute::Reader;
use super::super::records::{Txn, TxnHeader, code};
use super::Checker;
use super::log::refusal;

/// What is known of sessions besides the log.
#[derive(Default)]
pub struct Sessions {
    /// Connections of each session, in the order in which they became known.
    by_session: BTreeMap<i64, Vec<u64>>,
    /// The zxid and the connection of each session's newest accepted write.
    owners: BTreeMap<i64, (i64, u64)>,
    /// Sessions that were called closed before the log closes them: the session, the zxid, and what said so.
    suspects: Vec<(i64, i64, &'static str)>,
    /// New sessions that clients were given: the session, and its timeout.
    given: Vec<(i64, i32)>,
}

impl Sessions {
    pub fn connected(&mut self, session: i64, conn: u64) {
        self.by_session.entry(session).or_default().push(conn);
    }

    /// How many connections asked for the session.
    pub fn connections(&self, session: i64) -> usize {
        self.by_session.get(&session).map_or(0, Vec::len)
    }
}

fn epoch(zxid: i64) -> i64 {
    zxid >> 32
}

impl Checker {
    pub(super) fn connect_response(&mut self, conn: u64, frame: &[u8]) {
        let mut reader = Reader::new(frame);
        let mut fields = || {
            let (_, timeout) = (reader.int()?, reader.int()?);
            Some((timeout, reader.long()?))
        };
        let Some((timeout, session)) = fields() else {
            let text = format!("connection {conn} received no ConnectResponse: {frame:02x?}");
            self.violation("I15", text);
            return;
        };
        let requested = self.connections[&conn].requested;
        match (requested, session) {
            (0, 0) => {}
            (0, session) => {
                self.bound(conn, session);
                self.sessions.given.push((session, timeout));
            }
            (requested, 0) => self.suspect_expired(requested, self.model.zxid, "a connection was refused"),
            (requested, session) if requested != session => {
                let text = format!("connection {conn} asked for {requested:#x} and has {session:#x}");
                self.violation("I15", text);
            }
            _ => {}
        }
    }

    /// A session may be closing before the log says so.
    pub(super) fn suspect_expired(&mut self, session: i64, zxid: i64, what: &'static str) {
        if self.model.is_open(session) {
            self.sessions.suspects.push((session, zxid, what));
        }
    }

    /// After a write through one server was accepted, one through another server needs a newer connection,
    /// unless a new leader has forgotten who owns the session.
    pub(super) fn check_owner(&mut self, header: &TxnHeader, txn: &Txn) {
        let Some(index) = self.by_xid.get(&(header.session, header.cxid)) else {
            return;
        };
        // Whoever has it may end a session, as with Apache's servers.
        if matches!(txn, Txn::CloseSession(_)) {
            return;
        }
        let is_refused = matches!(refusal(txn), Some(code::SESSION_MOVED | code::SESSION_EXPIRED));
        if is_refused || matches!(txn, Txn::Error(_)) {
            return;
        }
        let conn = self.requests[*index].conn;
        let owner = self.sessions.owners.insert(header.session, (header.zxid, conn));
        let Some((zxid, before)) = owner else {
            return;
        };
        let (old, new) = (&self.connections[&before], &self.connections[&conn]);
        let conns = self.sessions.by_session.get(&header.session);
        let came_back = conns.into_iter().flatten().any(|other| {
            let other = &self.connections[other];
            let is_newer = other.order > old.order || !other.is_answered;
            other.server == new.server && is_newer
        });
        if epoch(zxid) == epoch(header.zxid) && old.server != new.server && !came_back {
            let text = format!(
                "{:#x} accepted through server {} after {zxid:#x} through server {}, session {:#x}",
                header.zxid, new.server, old.server, header.session
            );
            self.violation("I15", text);
        }
    }

    pub(super) fn finish_sessions(&mut self) {
        let newest = epoch(self.model.zxid);
        for (session, zxid, what) in std::mem::take(&mut self.sessions.suspects) {
            // A new leader does not know what the old one was about to close.
            if self.model.is_open(session) && epoch(zxid) == newest {
                let text = format!("at {zxid:#x} {what} as if session {session:#x} were closed");
                self.violation("I15", text);
            }
        }
        for (session, timeout) in std::mem::take(&mut self.sessions.given) {
            match self.model.session(session) {
                None => {
                    let text = format!("session {session:#x} was given but is not in the log");
                    self.violation("I5", text);
                }
                Some(logged) if logged.timeout != timeout => {
                    let text = format!(
                        "session {session:#x} was given {timeout} ms but {} are logged",
                        logged.timeout
                    );
                    self.violation("I15", text);
                }
                Some(_) => {}
            }
        }
    }
}
