//! What has been told.

use std::collections::VecDeque;
use std::sync::Arc;

use super::super::jute::Reader;
use super::super::records::Identity;
use super::Opened;
use super::reads::Unsettled;
use super::watches::Watches;

pub struct Connection {
    /// Rises with each connection that is opened.
    pub order: usize,
    pub server: u64,
    pub address: String,
    pub opened_at: u64,
    /// Of the ConnectRequest: the session, 0 for a new one, and the newest zxid that the client has seen.
    pub requested: i64,
    pub session: Option<i64>,
    /// The ConnectResponse has come.
    pub is_answered: bool,
    /// Identities if all auth packets so far succeed.
    pub ids: Arc<Vec<Identity>>,
    /// Those of auth packets that were answered.
    pub answered_ids: Arc<Vec<Identity>>,
    /// Those that the connection had before any change that its next reply may show.
    pub known_ids: Arc<Vec<Identity>>,
    /// Requests without reply, by index.
    pub queue: VecDeque<usize>,
    /// The newest zxid that was shown here, or to the client before.
    pub zxid: i64,
    pub watches: Watches,
    pub unsettled: Vec<Unsettled>,
}

impl Connection {
    pub fn new(order: usize, opened: &Opened<'_>) -> Connection {
        let ids = Arc::new(vec![Identity::new("ip", opened.address)]);
        let mut reader = Reader::new(opened.frame);
        let mut field = || {
            let (_, zxid, _) = (reader.int()?, reader.long()?, reader.int()?);
            Some((zxid, reader.long()?))
        };
        let (zxid, requested) = field().unwrap_or_default();
        Connection {
            order,
            server: opened.server,
            address: opened.address.to_owned(),
            opened_at: opened.at,
            requested,
            session: None,
            is_answered: false,
            ids: ids.clone(),
            answered_ids: ids.clone(),
            known_ids: ids,
            queue: VecDeque::new(),
            zxid,
            watches: Watches::default(),
            unsettled: Vec::new(),
        }
    }

    pub fn add_ids(&mut self, added: Vec<Identity>) {
        for id in added {
            if !self.ids.contains(&id) {
                Arc::make_mut(&mut self.ids).push(id);
            }
        }
    }
}

pub struct Request {
    pub conn: u64,
    /// When it was sent.
    pub at: u64,
    pub xid: i32,
    pub opcode: i32,
    pub body: Vec<u8>,
    pub ids: Arc<Vec<Identity>>,
    /// When the reply came, and its zxid.
    pub returned: Option<u64>,
    pub shown: i64,
    /// The request's transaction, if it is in the log.
    pub committed: Option<Committed>,
}

/// A logged request.
pub struct Committed {
    pub zxid: i64,
    /// What the header of the reply must say, and its body.
    pub error: i32,
    pub reply: Vec<u8>,
}

/// A reply or event.
pub struct Reply<'a> {
    pub xid: i32,
    pub zxid: i64,
    pub error: i32,
    pub body: &'a [u8],
}

impl<'a> Reply<'a> {
    pub fn decode(frame: &'a [u8]) -> Option<Reply<'a>> {
        let mut reader = Reader::new(frame);
        Some(Reply {
            xid: reader.int()?,
            zxid: reader.long()?,
            error: reader.int()?,
            body: reader.rest(),
        })
    }
}
