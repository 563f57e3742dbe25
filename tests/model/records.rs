//! The records that the model understands: access control lists, stats, logged transactions.

use std::sync::Arc;

use super::jute::{Reader, Writer};

/// Operation codes, as requests and transactions carry them.
pub mod op {
    pub const ERROR: i32 = -1;
    pub const CREATE_SESSION: i32 = -10;
    pub const CLOSE_SESSION: i32 = -11;
    pub const CREATE: i32 = 1;
    pub const DELETE: i32 = 2;
    pub const EXISTS: i32 = 3;
    pub const GET_DATA: i32 = 4;
    pub const SET_DATA: i32 = 5;
    pub const GET_ACL: i32 = 6;
    pub const SET_ACL: i32 = 7;
    pub const GET_CHILDREN: i32 = 8;
    pub const SYNC: i32 = 9;
    pub const PING: i32 = 11;
    pub const GET_CHILDREN2: i32 = 12;
    pub const CHECK: i32 = 13;
    pub const MULTI: i32 = 14;
    pub const CREATE2: i32 = 15;
    pub const RECONFIG: i32 = 16;
    pub const CHECK_WATCHES: i32 = 17;
    pub const REMOVE_WATCHES: i32 = 18;
    pub const CREATE_CONTAINER: i32 = 19;
    pub const DELETE_CONTAINER: i32 = 20;
    pub const CREATE_TTL: i32 = 21;
    pub const MULTI_READ: i32 = 22;
    pub const AUTH: i32 = 100;
    pub const SET_WATCHES: i32 = 101;
    pub const SASL: i32 = 102;
    pub const GET_EPHEMERALS: i32 = 103;
    pub const GET_ALL_CHILDREN_NUMBER: i32 = 104;
    pub const SET_WATCHES2: i32 = 105;
    pub const ADD_WATCH: i32 = 106;
    pub const WHO_AM_I: i32 = 107;
}

/// Error codes of replies and error transactions.
pub mod code {
    pub const OK: i32 = 0;
    pub const RUNTIME_INCONSISTENCY: i32 = -2;
    pub const MARSHALLING: i32 = -5;
    pub const UNIMPLEMENTED: i32 = -6;
    pub const BAD_ARGUMENTS: i32 = -8;
    pub const NO_NODE: i32 = -101;
    pub const NO_AUTH: i32 = -102;
    pub const BAD_VERSION: i32 = -103;
    pub const NO_CHILDREN_FOR_EPHEMERALS: i32 = -108;
    pub const NODE_EXISTS: i32 = -110;
    pub const NOT_EMPTY: i32 = -111;
    pub const SESSION_EXPIRED: i32 = -112;
    pub const INVALID_ACL: i32 = -114;
    pub const AUTH_FAILED: i32 = -115;
    pub const SESSION_MOVED: i32 = -118;
    pub const NOT_READ_ONLY: i32 = -119;
    pub const NO_WATCHER: i32 = -121;
    pub const CLOSED_REQUIRE_AUTH: i32 = -124;
    pub const THROTTLED: i32 = -127;
}

/// The operation changes the tree or the sessions and goes through the log.
pub fn is_write(opcode: i32) -> bool {
    matches!(
        opcode,
        op::CREATE
            | op::CREATE2
            | op::CREATE_CONTAINER
            | op::CREATE_TTL
            | op::DELETE
            | op::SET_DATA
            | op::SET_ACL
            | op::MULTI
            | op::RECONFIG
            | op::CLOSE_SESSION
    )
}

/// Who a connection is: a scheme and an id within it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    pub scheme: String,
    pub id: String,
}

impl Identity {
    pub fn new(scheme: &str, id: &str) -> Identity {
        Identity {
            scheme: scheme.to_owned(),
            id: id.to_owned(),
        }
    }
}

/// One entry of an access control list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Acl {
    pub perms: i32,
    pub who: Identity,
}

impl Acl {
    pub fn new(perms: i32, scheme: &str, id: &str) -> Acl {
        let who = Identity::new(scheme, id);
        Acl { perms, who }
    }

    pub fn read(reader: &mut Reader<'_>) -> Option<Acl> {
        let perms = reader.int()?;
        let scheme = reader.text_or_null()?;
        let id = reader.text_or_null()?;
        let who = Identity { scheme, id };
        Some(Acl { perms, who })
    }
}

/// An access control list; lists are shared between versions of a node.
pub type Acls = Arc<Vec<Acl>>;

/// A list; null reads as empty, which is refused in the same way.
pub fn read_acls(reader: &mut Reader<'_>) -> Option<Vec<Acl>> {
    Some(reader.vector(Acl::read)?.unwrap_or_default())
}

pub fn write_acls(writer: &mut Writer, acls: &[Acl]) {
    writer.count(acls.len());
    for acl in acls {
        writer.int(acl.perms).text(&acl.who.scheme).text(&acl.who.id);
    }
}

/// What precedes the record of every logged transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxnHeader {
    pub session: i64,
    pub cxid: i32,
    pub zxid: i64,
    pub time: i64,
    pub opcode: i32,
}

/// A logged transaction, or one operation of a multi.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Txn {
    Create(CreateTxn),
    Delete {
        path: String,
    },
    DeleteContainer {
        path: String,
    },
    SetData {
        path: String,
        data: Option<Vec<u8>>,
        version: i32,
    },
    SetAcl {
        path: String,
        acls: Vec<Acl>,
        version: i32,
    },
    Check {
        path: String,
        version: i32,
    },
    Multi(Vec<Txn>),
    CreateSession {
        timeout: i32,
    },
    /// `None`: of a server that does not log the paths.
    CloseSession(Option<Vec<String>>),
    /// The operation was refused with this code.
    Error(i32),
    /// `reconfig`; `data` is the new configuration.
    Reconfig {
        path: String,
        data: Option<Vec<u8>>,
    },
}

/// A node to create, of any kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateTxn {
    /// `create`, `create2`, `createContainer` or `createTTL`.
    pub opcode: i32,
    pub path: String,
    pub data: Option<Vec<u8>>,
    pub acls: Vec<Acl>,
    pub ephemeral: bool,
    pub parent_cversion: i32,
    pub ttl: i64,
}

impl Txn {
    /// Reads header and record. A digest may follow, which is left alone.
    pub fn decode(bytes: &[u8]) -> Option<(TxnHeader, Txn)> {
        let mut reader = Reader::new(bytes);
        let header = TxnHeader {
            session: reader.long()?,
            cxid: reader.int()?,
            zxid: reader.long()?,
            time: reader.long()?,
            opcode: reader.int()?,
        };
        Some((header, Txn::read(header.opcode, &mut reader)?))
    }

    fn read(opcode: i32, reader: &mut Reader<'_>) -> Option<Txn> {
        let owned = |data: Option<&[u8]>| data.map(<[u8]>::to_vec);
        Some(match opcode {
            op::CREATE | op::CREATE2 | op::CREATE_CONTAINER | op::CREATE_TTL => {
                Txn::Create(CreateTxn::read(opcode, reader)?)
            }
            op::DELETE => Txn::Delete { path: reader.text()? },
            op::DELETE_CONTAINER => Txn::DeleteContainer { path: reader.text()? },
            op::SET_DATA => Txn::SetData {
                path: reader.text()?,
                data: owned(reader.buffer()?),
                version: reader.int()?,
            },
            op::RECONFIG => Txn::Reconfig {
                path: reader.text()?,
                data: owned(reader.buffer()?),
            },
            op::SET_ACL => Txn::SetAcl {
                path: reader.text()?,
                acls: read_acls(reader)?,
                version: reader.int()?,
            },
            op::CHECK => Txn::Check {
                path: reader.text()?,
                version: reader.int()?,
            },
            op::MULTI => Txn::Multi(reader.vector(Txn::read_sub)?.unwrap_or_default()),
            op::CREATE_SESSION => Txn::CreateSession {
                timeout: reader.int()?,
            },
            op::CLOSE_SESSION if reader.rest().is_empty() => Txn::CloseSession(None),
            op::CLOSE_SESSION => Txn::CloseSession(Some(reader.vector(Reader::text)?.unwrap_or_default())),
            op::ERROR => Txn::Error(reader.int()?),
            _ => return None,
        })
    }

    fn read_sub(reader: &mut Reader<'_>) -> Option<Txn> {
        let opcode = reader.int()?;
        Txn::read(opcode, &mut Reader::new(reader.buffer()??))
    }

    /// The refusal, if it is one.
    pub fn error(&self) -> Option<i32> {
        if let Txn::Error(error) = self {
            Some(*error)
        } else {
            None
        }
    }

    /// The operations that take effect: those of a multi unless it failed, otherwise the transaction itself.
    pub fn operations(&self) -> &[Txn] {
        let Txn::Multi(txns) = self else {
            return std::slice::from_ref(self);
        };
        if txns.iter().any(|txn| txn.error().is_some()) {
            return &[];
        }
        txns
    }

    /// What may differ between two correct leaders: the order of what comes from a set.
    pub fn normal(mut self) -> Txn {
        match &mut self {
            Txn::Create(create) => create.acls.sort(),
            Txn::SetAcl { acls, .. } => acls.sort(),
            Txn::CloseSession(Some(paths)) => paths.sort(),
            Txn::Multi(txns) => {
                let normal = std::mem::take(txns).into_iter().map(Txn::normal);
                *txns = normal.collect();
            }
            Txn::Delete { .. }
            | Txn::DeleteContainer { .. }
            | Txn::SetData { .. }
            | Txn::Check { .. }
            | Txn::CreateSession { .. }
            | Txn::CloseSession(None)
            | Txn::Error(_)
            | Txn::Reconfig { .. } => {}
        }
        self
    }
}

impl CreateTxn {
    fn read(opcode: i32, reader: &mut Reader<'_>) -> Option<CreateTxn> {
        let path = reader.text()?;
        let data = reader.buffer()?.map(<[u8]>::to_vec);
        let acls = read_acls(reader)?;
        let is_plain = matches!(opcode, op::CREATE | op::CREATE2);
        Some(CreateTxn {
            opcode,
            path,
            data,
            acls,
            ephemeral: is_plain && reader.boolean()?,
            parent_cversion: reader.int()?,
            ttl: if opcode == op::CREATE_TTL {
                reader.long()?
            } else {
                -1
            },
        })
    }
}
