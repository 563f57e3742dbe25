//! A connection's state machine: bytes in, replies and submissions out.
//!
//! A session's order rests on two rules. A read runs before any later write of its session is handed to the
//! core. Once a request is with the core, every later one of the session goes there too, reads included, and
//! runs right behind the write it follows. So replies leave in the order of the requests by construction.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;

use crate::auth::AuthConfig;
use crate::clock::Now;
use crate::ids::Zxid;
use crate::limits::{QUEUED_READS_MAX, READ_BYTES, READS_PER_GUARD, REPLY_BYTES_PER_GUARD, UNSENT_BYTES_MAX};
use crate::mutants::{self, Mutant};
use crate::proto::acl::Id;
use crate::proto::connect::ConnectRequest;
use crate::proto::error_code::ErrorCode;
use crate::proto::frame::{FourLetterWord, FrameError, FrameSplitter, Piece};
use crate::proto::jute::{Put, Reader};
use crate::proto::opcode::OpCode;
use crate::proto::request::RequestHeader;
use crate::proto::response::{begin_frame, finish_frame, header_frame};
use crate::read::{self, ReadContext};
use crate::shared::{ClientRequest, ConnShared, Shared};
use crate::tree::DataTree;

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
    /// Written and not sent yet.
    output: Vec<u8>,
    /// Requests that are with the core.
    outstanding: u32,
    /// Reads handed to the core since it last had nothing of this connection.
    queued_reads: u32,
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

/// What was done under one read guard, to be counted once.
#[derive(Default)]
struct Batch {
    frames: usize,
    bytes: usize,
    reads: u64,
    /// The last, the least and the greatest reply to a read, in bytes.
    reply_bytes: Option<[usize; 3]>,
    last: Option<(OpCode, i32)>,
    has_more: bool,
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
        let (input, output) = (Vec::new(), Vec::new());
        ClientConn {
            config,
            shared,
            ids,
            state: State::New,
            splitter,
            input,
            output,
            outstanding: 0,
            queued_reads: 0,
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
        let tree = shared.tree.read();
        let drains_late =
            mutants::is_on(Mutant::M13a) && self.state == State::Established && self.outstanding == 0;
        if !drains_late {
            self.drain_outbox(shared);
        }
        let output_max = self.output.len() + REPLY_BYTES_PER_GUARD;
        let input = std::mem::take(&mut self.input);
        let mut batch = Batch::default();
        while matches!(self.state, State::New | State::Established) {
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
            self.drain_outbox(shared);
        }
        let last_zxid = tree.last_processed_zxid();
        drop(tree);
        batch.bytes = self.splitter.take_consumed();
        self.count(now, shared, &batch, last_zxid);
        self.keep_rest(input, batch.bytes);
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
        &self.output
    }

    /// The first `count` bytes of the output are sent. A buffer that grew is given back: idle connections
    /// are many.
    pub fn sent(&mut self, count: usize) {
        if count == self.output.len() {
            self.output = Vec::new();
        } else {
            self.output.drain(..count);
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
        self.output.len() >= UNSENT_BYTES_MAX
    }

    /// Whether the connection ends once its output is sent.
    pub fn is_closing(&self) -> bool {
        self.state == State::Closing
    }

    /// Whether it has no session yet.
    pub fn is_new(&self) -> bool {
        self.state == State::New
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

    fn drain_outbox(&mut self, shared: &Shared) {
        if self.shared.outbox.is_empty() {
            return;
        }
        let drained = self.shared.outbox.drain(&mut self.output);
        self.outstanding -= drained.replies;
        let sent = u64::from(drained.replies + drained.events);
        shared.stats.packets_sent.fetch_add(sent, Relaxed);
        self.shared.stats.sent.fetch_add(sent, Relaxed);
        if self.outstanding == 0 {
            self.queued_reads = 0;
        }
        if drained.established.is_some() {
            self.state = State::Established;
        }
        if drained.close {
            self.state = State::Closing;
        }
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
            self.submit(submit, shared, submits);
            self.state = State::Connecting;
            return Next::Go;
        }
        let Ok((header, body)) = RequestHeader::decode(payload) else {
            return Next::Close;
        };
        let Some(op) = OpCode::from_code(header.code).filter(|op| is_allowed(*op)) else {
            return self.refuse(now, header, shared);
        };
        if matches!(op, OpCode::Auth | OpCode::Sasl) {
            return self.on_credentials(now, header.xid, op, body, shared);
        }
        self.shared.touch(now.mono);
        if self.outstanding == 0 && !op.is_write() && op != OpCode::Sync {
            let start = self.output.len();
            self.read(header.xid, op, body, shared, tree);
            let bytes = self.output.len() - start - 4;
            let [_, least, greatest] = batch.reply_bytes.unwrap_or([bytes; 3]);
            batch.reply_bytes = Some([bytes, least.min(bytes), greatest.max(bytes)]);
            batch.reads += 1;
            batch.last = Some((op, header.xid));
            return Next::Go;
        }
        if !op.is_write() {
            // Their replies are made all at once, behind the write: what they can take up is bounded here.
            if self.queued_reads >= QUEUED_READS_MAX {
                return Next::Stall;
            }
            self.queued_reads += 1;
        }
        let request = ClientRequest {
            conn: self.shared.id,
            session: self.shared.session_id(),
            xid: header.xid,
            op,
            body: Bytes::copy_from_slice(body),
            ids: Arc::clone(&self.ids),
            received: now.mono,
        };
        self.submit(Submit::Request(request), shared, submits);
        if op == OpCode::CloseSession {
            self.state = State::Ending;
        }
        Next::Go
    }

    fn read(&mut self, xid: i32, op: OpCode, body: &[u8], shared: &Shared, tree: &DataTree) {
        let context = ReadContext {
            tree,
            watches: &shared.watches,
            auth: &self.config.auth,
            conn: self.shared.id,
            session: self.shared.session_id(),
            ids: &self.ids,
        };
        read::execute(&context, xid, op, body, &mut self.output);
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

    fn refuse(&mut self, now: Now, header: RequestHeader, shared: &Shared) -> Next {
        if self.outstanding > 0 {
            return Next::Stall;
        }
        if let Some(held_back) = shared.line_limiters.refused_operations.admit(now.mono) {
            tracing::info!(peer = %self.shared.peer, session = %self.shared.session_id(), op = header.code,
                "closing a connection: clients may not send this operation{held_back}");
        }
        header_frame(&mut self.output, header.xid, Zxid(-1), ErrorCode::Unimplemented);
        Next::Close
    }

    fn on_bad_length(&self, now: Now, input: &[u8], shared: &Shared, error: &FrameError) -> Next {
        shared.metrics.large_requests_rejected.add(1);
        if let Some(held_back) = shared.line_limiters.bad_frames.admit(now.mono) {
            // A bad length is all that is wanted, so the rest of the frame is right behind it.
            let frame = input.get(self.splitter.bytes_wanted(input)..).unwrap_or_default();
            let path = oversized_path(frame);
            tracing::warn!(peer = %self.shared.peer, session = %self.shared.session_id(), path,
                "closing a connection: {error}{held_back}");
        }
        Next::Close
    }

    fn submit(&mut self, submit: Submit, shared: &Shared, submits: &mut Vec<Submit>) {
        self.outstanding += 1;
        shared.outstanding.fetch_add(1, Relaxed);
        submits.push(submit);
    }

    fn count(&self, now: Now, shared: &Shared, batch: &Batch, last_zxid: Zxid) {
        let own = &self.shared.stats;
        own.outstanding.store(self.outstanding as i32, Relaxed);
        if batch.frames > 0 {
            shared
                .stats
                .packets_received
                .fetch_add(batch.frames as u64, Relaxed);
            shared.metrics.bytes_received_count.add(batch.bytes as u64);
            own.received.fetch_add(batch.frames as u64, Relaxed);
        }
        if let Some((op, xid)) = batch.last {
            shared.stats.packets_sent.fetch_add(batch.reads, Relaxed);
            shared.stats.latency.record(batch.reads, 0);
            shared.metrics.readlatency.record_many(0, batch.reads);
            for bytes in batch.reply_bytes.into_iter().flatten().rev() {
                shared.response_size.record(bytes);
            }
            own.sent.fetch_add(batch.reads, Relaxed);
            own.latency.record(batch.reads, 0);
            own.note(op, xid, last_zxid, now.mono.0);
        }
    }

    fn keep_rest(&mut self, mut input: Vec<u8>, consumed: usize) {
        if consumed == input.len() {
            return;
        }
        input.drain(..consumed);
        self.input = input;
    }
}

/// What the beginning of a request that is too long says of the path it is about.
fn oversized_path(frame: &[u8]) -> Option<String> {
    let (header, body) = RequestHeader::decode(frame).ok()?;
    let mut body = Reader::new(body);
    if header.code == OpCode::Multi.code() {
        body.take(MULTI_HEADER_BYTES).ok()?;
    }
    let path = body.string().ok()?;
    path.starts_with('/')
        .then(|| path.chars().take(PATH_CHARS_MAX).collect())
}

/// The reference answers SASL steps without a configured mechanism with success and a null token.
fn no_sasl(xid: i32, body: &[u8], out: &mut Vec<u8>) -> bool {
    if !matches!(Reader::new(body).buffer(), Ok(Some(_))) {
        return false;
    }
    let start = begin_frame(out, xid, Zxid::ZERO, ErrorCode::Ok);
    out.put_buffer(None);
    finish_frame(out, start);
    true
}

/// What a client may send; operations of later versions of this server are answered by `read` and `prep`.
fn is_allowed(op: OpCode) -> bool {
    !op.is_internal() && op != OpCode::Check
}

/// What stands before the first operation of a multi.
const MULTI_HEADER_BYTES: usize = 9;
/// What a log line shows of a path.
const PATH_CHARS_MAX: usize = 256;

#[cfg(test)]
mod tests;
