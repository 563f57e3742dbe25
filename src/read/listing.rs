//! getChildren and getChildren2 of a node with many children. The names are collected in pieces, each under a
//! guard of its own, so that neither the writer nor other readers wait for all of them. The reply shows the
//! state of the last piece, and carries its zxid.

use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashSet;

use super::{ReadContext, execute};
use crate::ids::{ConnId, Zxid};
use crate::limits::{LISTED_AT_ONCE_MAX, REPLY_BYTES_MAX};
use crate::proto::error_code::ErrorCode;
use crate::proto::jute::Put;
use crate::proto::opcode::OpCode;
use crate::proto::request::{ReadRequest, Request};
use crate::proto::response::{begin_frame, finish_frame, header_frame, set_zxid};
use crate::tree::{DataTree, Piece};
use crate::watch::WatchMode;

/// A reply that is being collected.
pub struct Listing {
    conn: ConnId,
    xid: i32,
    op: OpCode,
    body: Arc<[u8]>,
    /// The frame, of which length, zxid and count are still to be filled in.
    frame: Vec<u8>,
    /// Names in it.
    count: usize,
    /// Of the state that it shows.
    zxid: Zxid,
    state: State,
}

enum State {
    Collecting,
    /// All names of the state are there, and some that are not of it.
    Sifting(Sifting),
    Finished,
}

/// Takes out what has gone while names were collected.
struct Sifting {
    gone: HashSet<Box<[u8]>, FixedState>,
    /// Names that are left to be looked at.
    left: usize,
    /// Where the next one is, and where it goes.
    from: usize,
    to: usize,
}

/// Executes a read as [`execute`] does, unless its reply is one of so many names that they are collected in
/// pieces: then nothing is appended, and the caller continues with [`Listing::collect`].
pub fn execute_or_list(
    context: &ReadContext<'_>,
    xid: i32,
    op: OpCode,
    body: &[u8],
    out: &mut Vec<u8>,
) -> Option<Listing> {
    let Some(request) = decode(op, body) else {
        execute(context, xid, op, body, out);
        return None;
    };
    let node = context.readable(&request.path);
    let is_long = node.is_ok_and(|node| node.num_children() > LISTED_AT_ONCE_MAX);
    if is_long && let Some(listing) = Listing::begin(context, xid, op, body, &request.path) {
        return Some(listing);
    }
    context.reply_children(xid, op, &request, node, out);
    None
}

impl Listing {
    /// The node exists, and may be read.
    fn begin(context: &ReadContext<'_>, xid: i32, op: OpCode, body: &[u8], path: &str) -> Option<Listing> {
        if !context.tree.begin_listing(context.conn, path) {
            return None;
        }
        let mut frame = Vec::new();
        begin_frame(&mut frame, xid, context.tree.last_processed_zxid(), ErrorCode::Ok);
        frame.put_int(0);
        Some(Listing {
            conn: context.conn,
            xid,
            op,
            body: body.into(),
            frame,
            count: 0,
            zxid: context.tree.last_processed_zxid(),
            state: State::Collecting,
        })
    }

    /// The request.
    pub fn request(&self) -> (i32, OpCode, Arc<[u8]>) {
        (self.xid, self.op, Arc::clone(&self.body))
    }

    /// Whether the next step needs the tree.
    pub fn is_collecting(&self) -> bool {
        matches!(self.state, State::Collecting)
    }

    /// The zxid of the state that it shows as far as it has come.
    pub fn zxid(&self) -> Zxid {
        self.zxid
    }

    /// Takes the next names. With the last of them the reply shows the state of the context, and the watch
    /// that was asked for is set.
    pub fn collect(&mut self, context: &ReadContext<'_>) {
        let start = self.frame.len();
        self.zxid = context.tree.last_processed_zxid();
        let piece =
            context
                .tree
                .continue_listing(self.conn, LISTED_AT_ONCE_MAX, &mut self.frame, &mut self.count);
        match piece {
            Piece::More if self.frame.len() > REPLY_BYTES_MAX => {
                context.tree.end_listing(self.conn);
                self.refuse(ErrorCode::MarshallingError);
            }
            Piece::More if start == NAMES_AT => self.reserve(context.tree),
            Piece::More => {}
            Piece::Over => {
                self.frame.clear();
                execute(context, self.xid, self.op, &self.body, &mut self.frame);
                self.state = State::Finished;
            }
            Piece::All { young, gone } => self.settle(context, young, gone),
        }
    }

    /// Looks at some of the names once more, if it has to; needs no tree. True once the reply is whole.
    pub fn sift(&mut self) -> bool {
        let State::Sifting(sifting) = &mut self.state else {
            return matches!(self.state, State::Finished);
        };
        for _ in 0..sifting.left.min(LISTED_AT_ONCE_MAX) {
            let frame = &mut self.frame;
            let (from, to) = (sifting.from, sifting.to);
            let head = frame[from..from + 4].first_chunk().expect("four bytes");
            let bytes = 4 + u32::from_be_bytes(*head) as usize;
            sifting.from += bytes;
            if !sifting.gone.is_empty() && sifting.gone.contains(&frame[from + 4..from + bytes]) {
                self.count -= 1;
                continue;
            }
            frame.copy_within(from..from + bytes, to);
            sifting.to += bytes;
        }
        sifting.left -= sifting.left.min(LISTED_AT_ONCE_MAX);
        if sifting.left == 0 {
            self.frame.drain(sifting.to..sifting.from);
            self.finish();
        }
        self.is_finished()
    }

    /// The reply frame.
    pub fn into_frame(self) -> Vec<u8> {
        assert!(self.is_finished(), "the reply is whole");
        self.frame
    }

    fn is_finished(&self) -> bool {
        matches!(self.state, State::Finished)
    }

    /// Room for as many names of this kind as there are.
    fn reserve(&mut self, tree: &DataTree) {
        let names = decode(self.op, &self.body).and_then(|request| tree.lookup(&request.path));
        let all = names.map_or(0, |node| node.num_children());
        let bytes = (self.frame.len() - NAMES_AT) / self.count.max(1) + 1;
        let wanted = bytes.saturating_mul(all).min(REPLY_BYTES_MAX);
        self.frame.reserve_exact(wanted.saturating_sub(self.frame.len()));
    }

    /// All names were read: what else the reply says is of the same state.
    fn settle(&mut self, context: &ReadContext<'_>, young: usize, gone: Vec<Box<str>>) {
        let Some(request) = decode(self.op, &self.body) else {
            return self.refuse(ErrorCode::MarshallingError);
        };
        let node = match context.readable(&request.path) {
            Ok(node) => node,
            Err(error) => return self.refuse(error),
        };
        if self.frame.len() > REPLY_BYTES_MAX {
            return self.refuse(ErrorCode::MarshallingError);
        }
        context.watch(WatchMode::Child, &request);
        set_zxid(&mut self.frame, self.zxid);
        if self.op == OpCode::GetChildren2 {
            node.stat().encode(&mut self.frame);
        }
        let left = if gone.is_empty() { 0 } else { self.count - young };
        let mut names = HashSet::with_hasher(context.tree.name_hasher());
        names.extend(gone.into_iter().map(str::into_boxed_bytes));
        self.state = State::Sifting(Sifting {
            gone: names,
            left,
            from: NAMES_AT,
            to: NAMES_AT,
        });
    }

    fn finish(&mut self) {
        let count = i32::try_from(self.count).expect("the bytes of the names are bounded");
        self.frame[NAMES_AT - 4..NAMES_AT].copy_from_slice(&count.to_be_bytes());
        finish_frame(&mut self.frame, 0);
        self.state = State::Finished;
    }

    fn refuse(&mut self, error: ErrorCode) {
        self.frame.clear();
        header_frame(&mut self.frame, self.xid, self.zxid, error);
        self.state = State::Finished;
    }
}

/// Whether a request asks for more names than are listed at once.
pub fn is_long(tree: &DataTree, op: OpCode, body: &[u8]) -> bool {
    decode(op, body)
        .and_then(|request| tree.lookup(&request.path))
        .is_some_and(|node| node.num_children() > LISTED_AT_ONCE_MAX)
}

fn decode(op: OpCode, body: &[u8]) -> Option<ReadRequest<'_>> {
    if !matches!(op, OpCode::GetChildren | OpCode::GetChildren2) {
        return None;
    }
    let request = Request::decode(op, body).ok()?;
    if let Request::GetChildren(request) | Request::GetChildren2(request) = request {
        return Some(request);
    }
    None
}

/// Where the first name is: behind length, header and count.
const NAMES_AT: usize = 4 + 16 + 4;
