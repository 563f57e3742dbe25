//! A connection's state machine: bytes in, replies and submissions out.
//!
//! A session's order rests on two rules. A read runs before any later write of its session is handed to the
//! core. Once a request is with the core, every later one of the session goes there too, reads included, and
//! runs right behind the write it follows. So replies leave in the order of the requests by construction.

mod batch;
mod listing;
mod refusals;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;

use super::admission::{Admission, AdmissionConfig, LargeRequests, Waiting};
use super::unserved::no_sasl;
use crate::auth::AuthConfig;
use crate::clock::{Millis, Now};
use crate::limits::{
    QUEUED_READS_MAX, READ_BYTES, READS_PER_GUARD, REPLY_BYTES_PER_GUARD, UNSENT_BYTES_MAX,
    UNSENT_EVENT_BYTES_MAX,
};
use crate::mutants::{self, Mutant};
use crate::proto::acl::Id;
use crate::proto::connect::ConnectRequest;
use crate::proto::error_code::ErrorCode;
use crate::proto::frame::{FourLetterWord, FrameSplitter, Piece};
use crate::proto::opcode::OpCode;
use crate::proto::request::RequestHeader;
use crate::proto::response::header_frame;
use crate::read::{self, Listing, ReadContext};
use crate::shared::{ClientRequest, ConnShared, Shared};
use crate::tree::DataTree;
use batch::Batch;

/// What connections have to know of the configuration.
#[derive(Clone)]
pub struct ClientConfig {
    /// Longest request frame, in bytes (`jute.maxbuffer`).
    pub frame_bytes_max: usize,
    /// Shortest session timeout, in milliseconds.
    pub session_timeout_min_ms: i32,
    /// Longest session timeout, in milliseconds.
    pub session_timeout_max_ms: i32,
    /// Requests in the pipeline beyond which connections that have some are not read
    /// (`globalOutstandingLimit`).
    pub outstanding_max: usize,
    /// Which requests wait, and which are refused.
    pub admission: AdmissionConfig,
    /// Whether new sessions are known to this server only: they weigh less.
    pub opens_local_sessions: bool,
    /// Who may do what.
    pub auth: AuthConfig,
}

/// What a connection hands to the core.
#[derive(Debug)]
pub enum Submit {
    /// It wants a session.
    Connect(ConnectRequest),
    /// A request that takes its place behind writes.
    Request(ClientRequest),
}

/// A connection without its socket.
pub struct ClientConn {
    config: Arc<ClientConfig>,
    shared: Arc<ConnShared>,
    ids: Arc<[Id]>,
    state: State,
    splitter: FrameSplitter,
    /// Received and not looked at yet: at most one incomplete frame, or what waits for a stall to end.
    input: Vec<u8>,
    /// Written, of which `sent` bytes are sent.
    output: Vec<u8>,
    sent: usize,
    /// Bytes of events written since everything was sent.
    event_bytes: usize,
    /// Requests that are with the core.
    outstanding: u32,
    /// Reads handed to the core since it last had nothing of this connection.
    queued_reads: u32,
    waiting: Waiting,
    /// Unless there is no limit on them.
    large: Option<Box<LargeRequests>>,
    /// A reply that is collected in pieces. Nothing of the connection goes on meanwhile.
    listing: Option<Box<Listing>>,
    /// Nobody is there to take replies, but what was received is still to be done.
    is_alone: bool,
}

/// A request whose operation is known.
#[derive(Clone, Copy)]
struct Frame<'a> {
    header: RequestHeader,
    op: OpCode,
    body: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing but a connect request or a four-letter word is legal.
    New,
    /// The core has the connect request; what the client sends behind it waits.
    Connecting,
    /// The connection serves a session.
    Established,
    /// The session's end was asked for; nothing behind it is looked at.
    Ending,
    /// A four-letter word was read; its text is on the way.
    FourLetter(FourLetterWord),
    /// Nothing is read any more; the connection ends when the output is sent.
    Closing,
}

/// What becomes of the connection after a frame.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Go,
    /// The frame has to wait until the core has answered what it has.
    Stall,
    Close,
}

impl ClientConn {
    /// A connection that was just accepted.
    pub fn new(config: Arc<ClientConfig>, shared: Arc<ConnShared>) -> ClientConn {
        let ids = shared.ids();
        let splitter = FrameSplitter::new(config.frame_bytes_max);
        let limits_large = config.admission.large_threshold.is_some();
        let (input, output) = (Vec::new(), Vec::new());
        ClientConn {
            config,
            shared,
            ids,
            state: State::New,
            splitter,
            input,
            output,
            sent: 0,
            event_bytes: 0,
            outstanding: 0,
            queued_reads: 0,
            waiting: Waiting::default(),
            large: limits_large.then(Box::default),
            listing: None,
            is_alone: false,
        }
    }

    /// Where bytes from the socket are appended, with room for some. It is given back whenever all of it was
    /// looked at: idle connections are many.
    pub fn input_buffer(&mut self) -> &mut Vec<u8> {
        self.input.reserve(READ_BYTES);
        &mut self.input
    }

    /// Moves on as far as possible: drains the outbox, answers reads, and lists what the core has to do.
    /// True if there is more to do at once, unless the output is backlogged; the caller gives others their
    /// turn first.
    pub fn advance(&mut self, now: Now, shared: &Shared, submits: &mut Vec<Submit>) -> bool {
        if self.output.is_empty() {
            self.output = Vec::with_capacity(if self.input.is_empty() { 0 } else { 1024 });
        }
        if self.listing.is_some() {
            return self.advance_listing(now, shared);
        }
        self.waiting.resume();
        let tree = shared.tree.read();
        let drains_late =
            mutants::is_on(Mutant::M13a) && self.state == State::Established && self.outstanding == 0;
        if !drains_late {
            self.drain_outbox(now, shared);
        }
        let output_max = self.output.len() + REPLY_BYTES_PER_GUARD;
        let input = std::mem::take(&mut self.input);
        let mut batch = Batch::default();
        while matches!(self.state, State::New | State::Established) && self.listing.is_none() {
            if batch.frames >= READS_PER_GUARD || self.output.len() >= output_max || self.is_backlogged() {
                batch.has_more = true;
                break;
            }
            // The reply that frees the pipeline wakes this connection.
            if self.is_throttled(shared) {
                break;
            }
            let before = self.splitter.clone();
            let next = match self.splitter.next(&input) {
                Ok(None) if self.awaits_too_much(now, &input, shared) => Next::Close,
                Ok(None) => break,
                Ok(Some(Piece::Frame(range))) => {
                    self.on_frame(now, &input[range], shared, &tree, submits, &mut batch)
                }
                Ok(Some(Piece::Word(word))) => {
                    self.state = State::FourLetter(word);
                    Next::Go
                }
                Err(error) => self.on_bad_length(now, &input, shared, &error),
            };
            if next == Next::Stall {
                self.splitter = before;
                break;
            }
            batch.frames += 1;
            if next == Next::Close {
                self.state = State::Closing;
            }
        }
        if drains_late {
            self.drain_outbox(now, shared);
        }
        let last_zxid = tree.last_processed_zxid();
        drop(tree);
        batch.bytes = self.splitter.take_consumed();
        batch.has_more |= self.listing.is_some();
        self.count(now, shared, &batch, last_zxid);
        self.waiting
            .end_round(batch.bytes, input.len() - batch.bytes.min(input.len()));
        self.keep_rest(input, batch.bytes);
        if self.is_alone {
            self.forget_output();
        }
        batch.has_more
    }

    /// The four-letter word that was read, if that is what the connection is for.
    pub fn four_letter_word(&self) -> Option<FourLetterWord> {
        match self.state {
            State::FourLetter(word) => Some(word),
            State::New | State::Connecting | State::Established | State::Ending | State::Closing => None,
        }
    }

    /// Bytes received behind what was looked at: the argument of a four-letter word.
    pub fn unread(&self) -> &[u8] {
        &self.input
    }

    /// Sends a text, then ends: the answer to a four-letter word.
    pub fn finish_with(&mut self, text: &[u8]) {
        self.output.extend_from_slice(text);
        self.state = State::Closing;
    }

    /// Bytes to be sent.
    pub fn output(&self) -> &[u8] {
        &self.output[self.sent..]
    }

    /// The first `count` bytes of the output are sent. A buffer that grew is given back: idle connections
    /// are many.
    pub fn sent(&mut self, count: usize) {
        self.sent += count;
        if self.sent == self.output.len() {
            self.output = Vec::new();
            (self.sent, self.event_bytes) = (0, 0);
        } else if self.sent >= self.output.len() / 2 {
            // No byte is moved more than once for each that was sent.
            self.output.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// Whether the socket is to be read: not while a reply backlog is unsent, nor while the pipeline is full
    /// and this connection has a part in it.
    pub fn wants_input(&self, shared: &Shared) -> bool {
        !self.is_throttled(shared)
            && !self.is_backlogged()
            && self.input.len() <= self.config.frame_bytes_max + 4
            && matches!(self.state, State::New | State::Established)
    }

    /// Whether so much is unsent that no request is looked at before the client takes some of it. Requests
    /// that were received already wait, too: each may ask for a reply thousands of times its size.
    pub fn is_backlogged(&self) -> bool {
        self.output().len() >= UNSENT_BYTES_MAX
    }

    /// Whether it goes on at once if it has more to do. A reply that is being collected is not kept waiting:
    /// the tree takes notes for it.
    pub fn may_go_on(&self) -> bool {
        self.listing.is_some() || !self.is_backlogged()
    }

    /// Whether the connection ends once its output is sent.
    pub fn is_closing(&self) -> bool {
        self.state == State::Closing
    }

    /// Whether it has no session yet.
    pub fn is_new(&self) -> bool {
        self.state == State::New
    }

    /// When it may move on though nothing happens to it.
    pub fn retry_at(&self) -> Option<Millis> {
        self.waiting.retry_at()
    }

    /// The client has closed its end. True if there is nothing left to do: requests that wait for room in the
    /// pipeline may have to be done all the same (`request_stale_connection_check`), and the caller goes on
    /// until [`ClientConn::is_done_alone`].
    pub fn client_is_gone(&mut self) -> bool {
        let is_left = self.waiting.retry_at().is_some() && !self.config.admission.drops_gone;
        self.is_alone = is_left;
        !is_left
    }

    /// Whether the requests of a client that is gone are done.
    pub fn is_done_alone(&self) -> bool {
        self.is_alone && self.outstanding == 0 && self.waiting.retry_at().is_none()
    }

    /// Whether the client is gone, but not what it has asked for.
    pub fn is_alone(&self) -> bool {
        self.is_alone
    }

    /// The connection is gone.
    pub fn hang_up(&mut self, shared: &Shared) {
        if let Some(large) = &mut self.large {
            large.forget(shared);
        }
        if self.waiting.retry_at().is_some() && !self.is_closing() {
            shared.metrics.stale_requests_dropped.add(1);
        }
        if self.listing.take().is_some() {
            shared.tree.read().end_listing(self.shared.id);
        }
    }

    /// What the core sees of it.
    pub fn shared(&self) -> &Arc<ConnShared> {
        &self.shared
    }

    pub(super) fn config(&self) -> &ClientConfig {
        &self.config
    }

    pub(super) fn ids(&self) -> &[Id] {
        &self.ids
    }

    pub(super) fn set_ids(&mut self, ids: Arc<[Id]>) {
        self.shared.set_ids(Arc::clone(&ids));
        self.ids = ids;
    }

    fn is_throttled(&self, shared: &Shared) -> bool {
        self.outstanding > 0 && shared.outstanding.load(Relaxed) > self.config.outstanding_max
    }

    fn drain_outbox(&mut self, now: Now, shared: &Shared) {
        if self.shared.outbox.is_empty() {
            return;
        }
        let drained = self.shared.outbox.drain(&mut self.output);
        self.outstanding -= drained.replies;
        if let Some(large) = &mut self.large {
            large.answered(drained.replies, shared);
        }
        let sent = u64::from(drained.replies + drained.events);
        shared.stats.packets_sent.fetch_add(sent, Relaxed);
        self.shared.stats.sent.fetch_add(sent, Relaxed);
        if self.outstanding == 0 {
            self.queued_reads = 0;
        }
        if drained.is_established {
            self.state = State::Established;
        }
        if drained.close {
            self.state = State::Closing;
        }
        self.event_bytes += drained.event_bytes as usize;
        if self.event_bytes.min(self.output().len()) > UNSENT_EVENT_BYTES_MAX {
            self.give_up(now, shared);
        }
    }

    /// Closes the connection without what is unsent.
    fn give_up(&mut self, now: Now, shared: &Shared) {
        if let Some(held_back) = shared.line_limiters.unread_events.admit(now.mono) {
            tracing::warn!(peer = %self.shared.peer, session = %self.shared.session_id(),
                "closing a connection: its client does not read the events of its watches{held_back}");
        }
        self.forget_output();
        self.state = State::Closing;
    }

    fn forget_output(&mut self) {
        self.output = Vec::new();
        (self.sent, self.event_bytes) = (0, 0);
    }

    fn on_frame(
        &mut self,
        now: Now,
        payload: &[u8],
        shared: &Shared,
        tree: &DataTree,
        submits: &mut Vec<Submit>,
        batch: &mut Batch,
    ) -> Next {
        if self.state == State::New {
            let Some(submit) = self.connect_request(now, payload, shared, tree) else {
                return Next::Close;
            };
            self.submit(submit, payload.len(), shared, submits);
            self.state = State::Connecting;
            return Next::Go;
        }
        let Ok((header, body)) = RequestHeader::decode(payload) else {
            return Next::Close;
        };
        let op = OpCode::from_code(header.code);
        let says_who = matches!(op, Some(OpCode::Auth | OpCode::Sasl));
        if !says_who && !self.config.admission.is_known(&self.ids) {
            return self.refuse_stranger(now, header, shared);
        }
        let Some(op) = op.filter(|op| is_allowed(*op)) else {
            return self.refuse(now, header, shared);
        };
        if matches!(op, OpCode::Auth | OpCode::Sasl) {
            return self.on_credentials(now, header.xid, op, body, shared);
        }
        let is_refused = op.needs_leader() && shared.is_read_only.load(Relaxed);
        let frame = Frame { header, op, body };
        if self.outstanding == 0 && (is_refused || !op.is_write() && op != OpCode::Sync) {
            let (config, timeout_ms) = (&self.config.admission, self.shared.timeout_ms());
            let error = match self.waiting.admit_read(now, op, timeout_ms, config, shared) {
                Admission::Go | Admission::Wait => is_refused.then_some(ErrorCode::NotReadOnly),
                Admission::Throttled => Some(ErrorCode::ThrottledOp),
                Admission::Late => return Next::Close,
            };
            self.answer(now, frame, error, shared, tree, batch);
            return Next::Go;
        }
        self.on_request(now, frame, shared, tree, submits)
    }

    /// Answers a request here, with an error or with what it asks for.
    fn answer(
        &mut self,
        now: Now,
        frame: Frame<'_>,
        error: Option<ErrorCode>,
        shared: &Shared,
        tree: &DataTree,
        batch: &mut Batch,
    ) {
        let Frame { header, op, body } = frame;
        self.shared.touch(now.mono);
        let start = self.output.len();
        if let Some(error) = error {
            header_frame(&mut self.output, header.xid, tree.last_processed_zxid(), error);
        } else {
            let context = read_context(&self.config, &self.shared, &self.ids, shared, tree);
            let listing = read::execute_or_list(&context, header.xid, op, body, &mut self.output);
            self.listing = listing.map(Box::new);
            if self.listing.is_some() {
                return;
            }
        }
        let bytes = self.output.len() - start - 4;
        shared.note_reply(now.mono, &self.shared, op, body, bytes);
        batch.add(op, header.xid, bytes);
    }

    /// A request for the core.
    fn on_request(
        &mut self,
        now: Now,
        frame: Frame<'_>,
        shared: &Shared,
        tree: &DataTree,
        submits: &mut Vec<Submit>,
    ) -> Next {
        let Frame { header, op, body } = frame;
        let (config, timeout_ms) = (&self.config.admission, self.shared.timeout_ms());
        match self.waiting.admit(now, op, timeout_ms, config, shared) {
            Admission::Go => {}
            Admission::Wait => return Next::Stall,
            // In the order of the requests.
            Admission::Throttled if self.outstanding > 0 => return Next::Stall,
            Admission::Throttled => {
                shared.metrics.throttled_ops.add(1);
                let zxid = tree.last_processed_zxid();
                header_frame(&mut self.output, header.xid, zxid, ErrorCode::ThrottledOp);
                return Next::Go;
            }
            Admission::Late => return Next::Close,
        }
        if !op.is_write() {
            // It is answered here, in pieces, and not by the core at once.
            if read::is_long(tree, op, body) {
                return Next::Stall;
            }
            // Their replies are made all at once, behind the write: what they can take up is bounded here.
            if self.queued_reads >= QUEUED_READS_MAX {
                return Next::Stall;
            }
            self.queued_reads += 1;
        }
        let bytes = REQUEST_HEADER_BYTES + body.len();
        if self.config.admission.is_too_large(bytes, shared) {
            return self.refuse_large(now, bytes, shared);
        }
        self.shared.touch(now.mono);
        let request = ClientRequest {
            conn: self.shared.id,
            session: self.shared.session_id(),
            xid: header.xid,
            op,
            body: Bytes::copy_from_slice(body),
            ids: Arc::clone(&self.ids),
            received: now.mono,
        };
        self.submit(Submit::Request(request), bytes, shared, submits);
        if op == OpCode::CloseSession {
            self.state = State::Ending;
        }
        Next::Go
    }

    /// Credentials change what later requests may do, so they wait for earlier ones.
    fn on_credentials(&mut self, now: Now, xid: i32, op: OpCode, body: &[u8], shared: &Shared) -> Next {
        if self.outstanding > 0 {
            return Next::Stall;
        }
        let mut output = std::mem::take(&mut self.output);
        let is_accepted = if op == OpCode::Auth {
            self.authenticate(now, xid, body, shared, &mut output)
        } else {
            no_sasl(xid, body, &mut output)
        };
        self.output = output;
        if is_accepted { Next::Go } else { Next::Close }
    }

    fn submit(&mut self, submit: Submit, bytes: usize, shared: &Shared, submits: &mut Vec<Submit>) {
        self.outstanding += 1;
        if let Some(large) = &mut self.large {
            large.submitted(bytes, &self.config.admission, shared);
        }
        shared.outstanding.fetch_add(1, Relaxed);
        submits.push(submit);
    }

    fn keep_rest(&mut self, mut input: Vec<u8>, consumed: usize) {
        if consumed == input.len() {
            return;
        }
        input.drain(..consumed);
        self.input = input;
    }
}

fn read_context<'a>(
    config: &'a ClientConfig,
    conn: &ConnShared,
    ids: &'a [Id],
    shared: &'a Shared,
    tree: &'a DataTree,
) -> ReadContext<'a> {
    ReadContext {
        tree,
        watches: &shared.watches,
        auth: &config.auth,
        conn: conn.id,
        session: conn.session_id(),
        ids,
    }
}

/// What a client may send; operations of later versions of this server are answered by `read` and `prep`.
fn is_allowed(op: OpCode) -> bool {
    !op.is_internal() && op != OpCode::Check
}

const REQUEST_HEADER_BYTES: usize = 8;

#[cfg(test)]
mod tests;
