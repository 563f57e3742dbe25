//! Requests as their senders encode them. Everything borrows from the frame.

use std::borrow::Cow;

use super::acl::RawAcls;
use super::jute::{DecodeError, Reader, Strings};
use super::multi::Operations;
use super::opcode::OpCode;
use crate::ids::Zxid;

/// What stands before every request but the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHeader {
    /// The client's number for the request; echoed in the reply.
    pub xid: i32,
    /// The operation's code, which may be unknown.
    pub code: i32,
}

impl RequestHeader {
    /// Takes the header off a frame's payload, and returns the body.
    pub fn decode(payload: &[u8]) -> Result<(RequestHeader, &[u8]), DecodeError> {
        let mut reader = Reader::new(payload);
        let header = RequestHeader {
            xid: reader.int()?,
            code: reader.int()?,
        };
        Ok((header, reader.rest()))
    }
}

/// What the beginning of a request says of the path that it is about, or the first of its operations; not all
/// of a long one. For log lines: the rest of the request need not be there, or make sense.
pub fn first_path(op: OpCode, body: &[u8]) -> Option<String> {
    let mut body = Reader::new(body);
    if matches!(op, OpCode::Multi | OpCode::MultiRead) {
        body.take(MULTI_HEADER_BYTES).ok()?;
    }
    let path = body.string().ok()?;
    path.starts_with('/')
        .then(|| path.chars().take(SHOWN_CHARS_MAX).collect())
}

/// What stands before each operation of a multi.
const MULTI_HEADER_BYTES: usize = 9;
/// What a log line shows of a path.
const SHOWN_CHARS_MAX: usize = 256;

/// Create, create2, createContainer and createTTL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateRequest<'a> {
    /// Which of the four opcodes it came under.
    pub op: OpCode,
    /// The node, without the suffix of sequential modes.
    pub path: Cow<'a, str>,
    /// Null and empty differ.
    pub data: Option<&'a [u8]>,
    /// As sent, not yet expanded.
    pub acl: RawAcls<'a>,
    /// The create mode (CreateMode), unchecked.
    pub flags: i32,
    /// Milliseconds; -1 unless the opcode is createTTL.
    pub ttl: i64,
}

/// A path and a flag: exists, getData, getChildren, getChildren2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadRequest<'a> {
    /// The node; the empty path is the root.
    pub path: Cow<'a, str>,
    /// Whether to leave a one-shot watch.
    pub watch: bool,
}

/// A path and an expected version: delete and check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionedRequest<'a> {
    /// The node.
    pub path: Cow<'a, str>,
    /// The version that it must have; -1 for any.
    pub version: i32,
}

/// New data for a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetDataRequest<'a> {
    /// The node.
    pub path: Cow<'a, str>,
    /// Null and empty differ.
    pub data: Option<&'a [u8]>,
    /// The data version that it must have; -1 for any.
    pub version: i32,
}

/// A new ACL for a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAclRequest<'a> {
    /// The node.
    pub path: Cow<'a, str>,
    /// As sent, not yet expanded.
    pub acl: RawAcls<'a>,
    /// The ACL version that it must have; -1 for any.
    pub version: i32,
}

/// Credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthRequest<'a> {
    /// `digest`, `ip`, …
    pub scheme: Option<Cow<'a, str>>,
    /// What the scheme takes.
    pub auth: Option<&'a [u8]>,
}

/// Watches to be set again, and the zxid up to which the client has seen events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetWatchesRequest<'a> {
    /// Changes after it are told at once.
    pub relative_zxid: Zxid,
    /// Paths watched by getData. A null list or path ends the
    /// request with an error, once what stands before it is done.
    pub data: Option<Strings<'a>>,
    /// Paths watched by exists that were missing.
    pub exist: Option<Strings<'a>>,
    /// Paths watched by getChildren.
    pub child: Option<Strings<'a>>,
    /// Paths with persistent watches; setWatches has none.
    pub persistent: Option<Strings<'a>>,
    /// Paths with recursive ones.
    pub persistent_recursive: Option<Strings<'a>>,
}

/// A path and a number: addWatch, checkWatches, removeWatches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchRequest<'a> {
    /// The path, which need not be one of a node.
    pub path: Option<Cow<'a, str>>,
    /// The mode (AddWatchMode) or the kind (Watcher.WatcherType), unchecked.
    pub code: i32,
}

/// A decoded request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// The create family.
    Create(CreateRequest<'a>),
    /// Delete.
    Delete(VersionedRequest<'a>),
    /// SetData.
    SetData(SetDataRequest<'a>),
    /// SetACL.
    SetAcl(SetAclRequest<'a>),
    /// Check, within a multi.
    Check(VersionedRequest<'a>),
    /// A list of writes.
    Multi(Operations<'a>),
    /// A list of reads.
    MultiRead(Operations<'a>),
    /// Exists.
    Exists(ReadRequest<'a>),
    /// GetData.
    GetData(ReadRequest<'a>),
    /// GetChildren.
    GetChildren(ReadRequest<'a>),
    /// GetChildren2.
    GetChildren2(ReadRequest<'a>),
    /// GetACL.
    GetAcl(Cow<'a, str>),
    /// GetEphemerals, with the prefix.
    GetEphemerals(Cow<'a, str>),
    /// GetAllChildrenNumber.
    GetAllChildrenNumber(Cow<'a, str>),
    /// SetWatches and setWatches2.
    SetWatches(SetWatchesRequest<'a>),
    /// AddWatch.
    AddWatch(WatchRequest<'a>),
    /// CheckWatches.
    CheckWatches(WatchRequest<'a>),
    /// RemoveWatches.
    RemoveWatches(WatchRequest<'a>),
    /// Auth.
    Auth(AuthRequest<'a>),
    /// Sync; the path is echoed.
    Sync(Option<Cow<'a, str>>),
    /// A step of SASL.
    Sasl(Option<&'a [u8]>),
    /// WhoAmI.
    WhoAmI,
    /// Ping.
    Ping,
    /// CloseSession.
    CloseSession,
}

impl<'a> Request<'a> {
    /// Decodes a request's body; bytes behind the record are ignored. Operations that no client may send, or
    /// that are not offered, are `UnknownType`.
    pub fn decode(op: OpCode, body: &'a [u8]) -> Result<Request<'a>, DecodeError> {
        Request::decode_from(op, &mut Reader::new(body))
    }

    pub(super) fn decode_from(op: OpCode, reader: &mut Reader<'a>) -> Result<Request<'a>, DecodeError> {
        Ok(match op {
            OpCode::Create | OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl => {
                Request::Create(decode_create(op, reader)?)
            }
            OpCode::Delete => Request::Delete(decode_versioned(reader)?),
            OpCode::Check => Request::Check(decode_versioned(reader)?),
            OpCode::SetData => Request::SetData(SetDataRequest {
                path: reader.string()?,
                data: reader.buffer()?,
                version: reader.int()?,
            }),
            OpCode::SetAcl => Request::SetAcl(SetAclRequest {
                path: reader.string()?,
                acl: RawAcls::decode(reader)?,
                version: reader.int()?,
            }),
            OpCode::Multi => Request::Multi(Operations::decode(reader)?),
            OpCode::MultiRead => Request::MultiRead(Operations::decode(reader)?),
            OpCode::Exists => Request::Exists(decode_read(reader)?),
            OpCode::GetData => Request::GetData(decode_read(reader)?),
            OpCode::GetChildren => Request::GetChildren(decode_read(reader)?),
            OpCode::GetChildren2 => Request::GetChildren2(decode_read(reader)?),
            OpCode::GetAcl => Request::GetAcl(reader.string()?),
            OpCode::GetEphemerals => Request::GetEphemerals(reader.ustring()?.unwrap_or_default()),
            OpCode::GetAllChildrenNumber => Request::GetAllChildrenNumber(reader.string()?),
            OpCode::SetWatches => {
                Request::SetWatches(decode_set_watches(reader, |_| Ok(Some(Strings::default())))?)
            }
            OpCode::SetWatches2 => Request::SetWatches(decode_set_watches(reader, Reader::nullable_strings)?),
            OpCode::AddWatch => Request::AddWatch(decode_watch(reader)?),
            OpCode::CheckWatches => Request::CheckWatches(decode_watch(reader)?),
            OpCode::RemoveWatches => Request::RemoveWatches(decode_watch(reader)?),
            OpCode::Auth => {
                let _kind = reader.int()?;
                Request::Auth(AuthRequest {
                    scheme: reader.ustring()?,
                    auth: reader.buffer()?,
                })
            }
            OpCode::Sync => Request::Sync(reader.ustring()?),
            OpCode::Sasl => Request::Sasl(reader.buffer()?),
            OpCode::WhoAmI => Request::WhoAmI,
            OpCode::Ping => Request::Ping,
            OpCode::CloseSession => Request::CloseSession,
            OpCode::CreateSession | OpCode::Error | OpCode::DeleteContainer | OpCode::Reconfig => {
                return Err(DecodeError::UnknownType(op.code()));
            }
        })
    }
}

fn decode_create<'a>(op: OpCode, reader: &mut Reader<'a>) -> Result<CreateRequest<'a>, DecodeError> {
    Ok(CreateRequest {
        op,
        path: reader.string()?,
        data: reader.buffer()?,
        acl: RawAcls::decode(reader)?,
        flags: reader.int()?,
        ttl: if op == OpCode::CreateTtl {
            reader.long()?
        } else {
            -1
        },
    })
}

fn decode_read<'a>(reader: &mut Reader<'a>) -> Result<ReadRequest<'a>, DecodeError> {
    Ok(ReadRequest {
        path: reader.string()?,
        watch: reader.bool()?,
    })
}

/// The lists of persistent watches are only in the second version of the request.
fn decode_set_watches<'a>(
    reader: &mut Reader<'a>,
    persistent: impl Fn(&mut Reader<'a>) -> Result<Option<Strings<'a>>, DecodeError>,
) -> Result<SetWatchesRequest<'a>, DecodeError> {
    Ok(SetWatchesRequest {
        relative_zxid: Zxid(reader.long()?),
        data: reader.nullable_strings()?,
        exist: reader.nullable_strings()?,
        child: reader.nullable_strings()?,
        persistent: persistent(reader)?,
        persistent_recursive: persistent(reader)?,
    })
}

fn decode_watch<'a>(reader: &mut Reader<'a>) -> Result<WatchRequest<'a>, DecodeError> {
    Ok(WatchRequest {
        path: reader.ustring()?,
        code: reader.int()?,
    })
}

fn decode_versioned<'a>(reader: &mut Reader<'a>) -> Result<VersionedRequest<'a>, DecodeError> {
    Ok(VersionedRequest {
        path: reader.string()?,
        version: reader.int()?,
    })
}
