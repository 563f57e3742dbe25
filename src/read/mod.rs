//! Every request that a server answers from what it has: executed under one read guard of the tree, the reply
//! encoded straight into the connection's output (FinalRequestProcessor).
//!
//! A reply carries the zxid of exactly the state that it shows.

mod listing;
mod multi_read;

pub use listing::{Listing, execute_or_list, is_long};

use crate::auth::{self, AuthConfig};
use crate::ids::{ConnId, SessionId};
use crate::limits::REPLY_BYTES_MAX;
use crate::proto::acl::{Id, RawAcls, perms};
use crate::proto::error_code::ErrorCode;
use crate::proto::event;
use crate::proto::jute::Put;
use crate::proto::opcode::{OpCode, XID_PING};
use crate::proto::request::{ReadRequest, Request, WatchRequest};
use crate::proto::response::{begin_frame, finish_frame, header_frame};
use crate::tree::{DataTree, NodeRef};
use crate::watch::{NULL_PATH, WatchKind, WatchManager, WatchMode, reestablish};

/// What a read needs to know beside the request.
#[derive(Clone, Copy)]
pub struct ReadContext<'a> {
    /// The state, under a read guard that is held until the reply is in place.
    pub tree: &'a DataTree,
    /// Where watches are left.
    pub watches: &'a WatchManager,
    /// How identities are checked.
    pub auth: &'a AuthConfig,
    /// Whose watches they are.
    pub conn: ConnId,
    /// Whose ephemerals are listed.
    pub session: SessionId,
    /// Who is asking.
    pub ids: &'a [Id],
}

/// Whether [`execute`] answers the operation. The others change the state, are ordered by the leader, or
/// concern the connection.
pub fn is_read(op: OpCode) -> bool {
    matches!(
        op,
        OpCode::Exists
            | OpCode::GetData
            | OpCode::GetAcl
            | OpCode::GetChildren
            | OpCode::GetChildren2
            | OpCode::GetEphemerals
            | OpCode::GetAllChildrenNumber
            | OpCode::MultiRead
            | OpCode::WhoAmI
            | OpCode::Ping
            | OpCode::SetWatches
            | OpCode::SetWatches2
            | OpCode::AddWatch
            | OpCode::CheckWatches
            | OpCode::RemoveWatches
    )
}

/// Executes a read and appends its reply frame to `out`; with setWatches and setWatches2, the events that it
/// causes come first. What cannot be decoded is answered with `MarshallingError`, what is not offered with
/// `Unimplemented`.
pub fn execute(context: &ReadContext<'_>, xid: i32, op: OpCode, body: &[u8], out: &mut Vec<u8>) {
    if op == OpCode::Ping {
        return reply(context, XID_PING, out, |_| Ok(()));
    }
    match Request::decode(op, body) {
        Ok(request) => context.execute(xid, &request, out),
        Err(_) => {
            let is_offered = is_read(op);
            let error = if is_offered {
                ErrorCode::MarshallingError
            } else {
                ErrorCode::Unimplemented
            };
            reply(context, xid, out, |_| Err(error));
        }
    }
}

impl ReadContext<'_> {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the list of what is a read is the closed one"
    )]
    fn execute(&self, xid: i32, request: &Request<'_>, out: &mut Vec<u8>) {
        match request {
            Request::SetWatches(request) => {
                let mut emit = |kind, path: &str| event::encode_frame(kind, path, event::CATCH_UP_ZXID, out);
                let set = reestablish::set_watches(self.tree, self.watches, self.conn, request, &mut emit);
                reply(self, xid, out, |_| set);
            }
            Request::AddWatch(request) => reply(self, xid, out, |out| {
                let mode = WatchMode::from_code(request.code).ok_or(ErrorCode::MarshallingError)?;
                self.watches.add(mode, path_of(request), self.conn);
                // An ErrorResponse.
                out.put_int(ErrorCode::Ok.code());
                Ok(())
            }),
            Request::CheckWatches(request) => reply(self, xid, out, |_| {
                expect_watch(request, |kind, path| self.watches.contains(kind, path, self.conn))
            }),
            Request::RemoveWatches(request) => reply(self, xid, out, |_| {
                expect_watch(request, |kind, path| self.watches.remove(kind, path, self.conn))
            }),
            Request::MultiRead(operations) => multi_read::execute(self, xid, operations, out),
            Request::Exists(request) => reply(self, xid, out, |out| self.exists(request, out)),
            Request::GetData(request) => reply(self, xid, out, |out| {
                self.put_data(&request.path, out)?;
                self.watch(WatchMode::Data, request);
                Ok(())
            }),
            Request::GetChildren(request) => {
                let node = self.readable(&request.path);
                self.reply_children(xid, OpCode::GetChildren, request, node, out);
            }
            Request::GetChildren2(request) => {
                let node = self.readable(&request.path);
                self.reply_children(xid, OpCode::GetChildren2, request, node, out);
            }
            Request::GetAcl(path) => reply(self, xid, out, |out| self.put_acl(path, out)),
            Request::GetEphemerals(prefix) => reply(self, xid, out, |out| self.put_ephemerals(prefix, out)),
            Request::GetAllChildrenNumber(path) => reply(self, xid, out, |out| {
                self.readable(path)?;
                let count = self.tree.descendants_count(path).ok_or(ErrorCode::NoNode)?;
                out.put_count(count);
                Ok(())
            }),
            Request::WhoAmI => reply(self, xid, out, |out| {
                out.put_count(self.ids.len());
                for id in self.ids {
                    out.put_string(&id.scheme);
                    out.put_string(&auth::user_of(id));
                }
                Ok(())
            }),
            _ => reply(self, xid, out, |_| Err(ErrorCode::Unimplemented)),
        }
    }

    /// The node, if it exists and the caller may read it.
    fn readable(&self, path: &str) -> Result<NodeRef<'_>, ErrorCode> {
        let node = self.tree.lookup(path).ok_or(ErrorCode::NoNode)?;
        self.check(node, perms::READ)?;
        Ok(node)
    }

    fn check(&self, node: NodeRef<'_>, wanted: i32) -> Result<(), ErrorCode> {
        let acl = self.tree.acl(node.acl_id());
        if auth::check_acl(self.auth, acl, wanted, self.ids) {
            Ok(())
        } else {
            Err(ErrorCode::NoAuth)
        }
    }

    fn watch(&self, mode: WatchMode, request: &ReadRequest<'_>) {
        if request.watch {
            self.watches.add(mode, &request.path, self.conn);
        }
    }

    fn exists(&self, request: &ReadRequest<'_>, out: &mut Vec<u8>) -> Result<(), ErrorCode> {
        if request.path.contains('\0') {
            return Err(ErrorCode::BadArguments);
        }
        let Some(node) = self.tree.lookup(&request.path) else {
            self.watch(WatchMode::Data, request);
            return Err(ErrorCode::NoNode);
        };
        self.check(node, perms::READ)?;
        node.stat().encode(out);
        self.watch(WatchMode::Data, request);
        Ok(())
    }

    fn put_data(&self, path: &str, out: &mut Vec<u8>) -> Result<(), ErrorCode> {
        let node = self.readable(path)?;
        out.put_buffer(node.data());
        node.stat().encode(out);
        Ok(())
    }

    /// Replies to getChildren and getChildren2 about the node that was found to be readable.
    fn reply_children(
        &self,
        xid: i32,
        op: OpCode,
        request: &ReadRequest<'_>,
        node: Result<NodeRef<'_>, ErrorCode>,
        out: &mut Vec<u8>,
    ) {
        reply(self, xid, out, |out| {
            let node = node?;
            put_children(node, REPLY_BYTES_MAX, out)?;
            if op == OpCode::GetChildren2 {
                node.stat().encode(out);
            }
            self.watch(WatchMode::Child, request);
            Ok(())
        });
    }

    /// Who may administrate the list sees it as it is; other readers do not see digests.
    fn put_acl(&self, path: &str, out: &mut Vec<u8>) -> Result<(), ErrorCode> {
        let node = self.tree.lookup(path).ok_or(ErrorCode::NoNode)?;
        self.check(node, perms::READ | perms::ADMIN)?;
        let acl = self.tree.acl(node.acl_id());
        match self.check(node, perms::ADMIN) {
            Ok(()) => out.extend_from_slice(acl.raw.bytes()),
            Err(_) => out.extend_from_slice(RawAcls::from_list(&auth::masked(&acl.list)).bytes()),
        }
        node.stat().encode(out);
        Ok(())
    }

    fn put_ephemerals(&self, prefix: &str, out: &mut Vec<u8>) -> Result<(), ErrorCode> {
        let is_all = matches!(prefix.trim(), "" | "/");
        let paths = self.tree.ephemerals(self.session);
        let wanted = paths.iter().filter(|path| is_all || path.starts_with(prefix));
        put_strings(out, REPLY_BYTES_MAX, wanted.map(String::as_bytes))
    }
}

fn path_of<'a>(request: &'a WatchRequest<'_>) -> &'a str {
    request.path.as_deref().unwrap_or(NULL_PATH)
}

/// Whether there are watches of the kind that is asked for.
fn expect_watch(
    request: &WatchRequest<'_>,
    is_there: impl FnOnce(WatchKind, &str) -> bool,
) -> Result<(), ErrorCode> {
    let kind = WatchKind::from_code(request.code).ok_or(ErrorCode::MarshallingError)?;
    if is_there(kind, path_of(request)) {
        Ok(())
    } else {
        Err(ErrorCode::NoWatcher)
    }
}

/// Appends a reply frame: what `body` appends, or only its error.
fn reply(
    context: &ReadContext<'_>,
    xid: i32,
    out: &mut Vec<u8>,
    body: impl FnOnce(&mut Vec<u8>) -> Result<(), ErrorCode>,
) {
    let zxid = context.tree.last_processed_zxid();
    let start = begin_frame(out, xid, zxid, ErrorCode::Ok);
    match body(out) {
        Ok(()) => finish_frame(out, start),
        Err(error) => {
            out.truncate(start);
            header_frame(out, xid, zxid, error);
        }
    }
}

/// Appends the names of the children, if they fit into `bytes_max`.
fn put_children(node: NodeRef<'_>, bytes_max: usize, out: &mut Vec<u8>) -> Result<(), ErrorCode> {
    put_strings(out, bytes_max, node.children().map(|child| child.name_utf8()))
}

/// Appends a vector of strings, given as UTF-8. Of what does not fit into `bytes_max` nothing of use is
/// appended.
fn put_strings<'a>(
    out: &mut Vec<u8>,
    bytes_max: usize,
    strings: impl Iterator<Item = &'a [u8]> + Clone,
) -> Result<(), ErrorCode> {
    let start = out.len();
    put_each(out, bytes_max, strings.clone(), |out, string| {
        out.put_buffer(Some(string))
    })?;
    // One look at all of them is cheaper than one at each. Only what is not ASCII may be written differently.
    if !out[start..].is_ascii() {
        out.truncate(start);
        put_each(out, bytes_max, strings, |out, string| out.put_utf8(string))?;
    }
    Ok(())
}

fn put_each<'a>(
    out: &mut Vec<u8>,
    bytes_max: usize,
    strings: impl Iterator<Item = &'a [u8]>,
    put: impl Fn(&mut Vec<u8>, &[u8]),
) -> Result<(), ErrorCode> {
    let start = out.len();
    let mut count = 0i32;
    out.put_int(0);
    for string in strings {
        // A string takes at most half as much again on the wire.
        if out.len() - start + 4 + string.len() * 3 / 2 > bytes_max {
            return Err(ErrorCode::MarshallingError);
        }
        put(out, string);
        count += 1;
    }
    out[start..start + 4].copy_from_slice(&count.to_be_bytes());
    Ok(())
}

#[cfg(test)]
mod tests;
