//! Transactions as they are logged and broadcast: header, record, digest (SerializeUtils, FileTxnLog).
//!
//! A transaction is encoded once, by whoever proposes it. Disk, peers and the apply path share those bytes;
//! what is decoded borrows from them.

use std::borrow::Cow;

use super::acl::RawAcls;
use super::jute::{DecodeError, Put, Reader};
use super::opcode::OpCode;
use crate::ids::{SessionId, Zxid};

/// Who did what when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxnHeader {
    /// The session that asked for it, 0 for the server's own.
    pub client_id: SessionId,
    /// The client's xid, 0 for the server's own.
    pub cxid: i32,
    /// Its place in the order of all transactions.
    pub zxid: Zxid,
    /// The leader's wall clock, milliseconds since the Unix epoch.
    pub time: i64,
    /// The type code; of [`Txn::code`] when it was made here.
    pub code: i32,
}

/// What kind of node a create makes; persistent and ephemeral nodes come under two codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateKind {
    /// Code 1.
    Plain,
    /// Code 15: the reply carries the stat.
    WithStat,
    /// Code 19.
    Container,
    /// Code 21, with the time to live in milliseconds.
    Ttl(i64),
}

/// A node comes to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateTxn<'a> {
    /// Decides the code.
    pub kind: CreateKind,
    /// The final path, suffix included.
    pub path: Cow<'a, str>,
    /// Null and empty differ.
    pub data: Option<&'a [u8]>,
    /// Expanded.
    pub acl: RawAcls<'a>,
    /// Whether the session of the header owns it.
    pub ephemeral: bool,
    /// Children ever created under the parent, this one included; -1 in old logs: count at apply.
    pub parent_cversion: i32,
}

/// What a transaction does to the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Txn<'a> {
    /// A session opens.
    CreateSession {
        /// Milliseconds.
        timeout_ms: i32,
    },
    /// A session ends.
    CloseSession {
        /// Its ephemerals; `None` in records without the list: whatever the session owns.
        paths: Option<Vec<Cow<'a, str>>>,
    },
    /// A request was refused; the code is the client's error.
    Error(i32),
    /// A node comes to be.
    Create(CreateTxn<'a>),
    /// A node goes.
    Delete {
        /// The node.
        path: Cow<'a, str>,
    },
    /// A container or TTL node goes, by the leader's will.
    DeleteContainer {
        /// The node.
        path: Cow<'a, str>,
    },
    /// A node gets other data.
    SetData {
        /// The node.
        path: Cow<'a, str>,
        /// Null and empty differ.
        data: Option<&'a [u8]>,
        /// The version after it.
        version: i32,
    },
    /// The configuration node gets other data.
    Reconfig {
        /// The node.
        path: Cow<'a, str>,
        /// The configuration.
        data: Option<&'a [u8]>,
        /// Always -1.
        version: i32,
    },
    /// A node gets another ACL.
    SetAcl {
        /// The node.
        path: Cow<'a, str>,
        /// Expanded.
        acl: RawAcls<'a>,
        /// The ACL version after it.
        version: i32,
    },
    /// Nothing; stands in a multi for a version that was compared.
    Check {
        /// The node.
        path: Cow<'a, str>,
        /// The version expected plus one.
        version: i32,
    },
    /// All of them at once, or none if one is an error.
    Multi(Vec<Txn<'a>>),
}

/// The digest of the whole tree after a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxnDigest {
    /// The way of computing it; 2 everywhere since 3.6.
    pub version: i32,
    /// See `tree::digest`.
    pub digest: u64,
}

/// A decoded transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedTxn<'a> {
    /// Who did it when.
    pub header: TxnHeader,
    /// What it does.
    pub txn: Txn<'a>,
    /// What it leads to, if the writer said so.
    pub digest: Option<TxnDigest>,
}

/// Appends header, record and digest.
pub fn encode(header: &TxnHeader, txn: &Txn<'_>, digest: Option<TxnDigest>, out: &mut Vec<u8>) {
    out.put_long(header.client_id.0);
    out.put_int(header.cxid);
    out.put_long(header.zxid.0);
    out.put_long(header.time);
    out.put_int(header.code);
    txn.encode_record(out);
    if let Some(digest) = digest {
        out.put_int(digest.version);
        out.put_long(digest.digest as i64);
    }
}

/// Decodes only the header: its zxid is what logs are searched for.
pub fn decode_header(reader: &mut Reader<'_>) -> Result<TxnHeader, DecodeError> {
    Ok(TxnHeader {
        client_id: SessionId(reader.long()?),
        cxid: reader.int()?,
        zxid: Zxid(reader.long()?),
        time: reader.long()?,
        code: reader.int()?,
    })
}

/// Decodes a whole transaction. Bytes behind it are ignored.
pub fn decode(bytes: &[u8]) -> Result<LoggedTxn<'_>, DecodeError> {
    let mut reader = Reader::new(bytes);
    let header = decode_header(&mut reader)?;
    let txn = Txn::decode_record(header.code, &mut reader)?;
    let digest = match (reader.int(), reader.long()) {
        (Ok(version), Ok(digest)) => Some(TxnDigest {
            version,
            digest: digest as u64,
        }),
        _ => None,
    };
    Ok(LoggedTxn { header, txn, digest })
}

impl<'a> Txn<'a> {
    /// The type code of the record.
    pub fn code(&self) -> i32 {
        self.op().code()
    }

    /// The type of the record.
    pub fn op(&self) -> OpCode {
        match self {
            Txn::CreateSession { .. } => OpCode::CreateSession,
            Txn::CloseSession { .. } => OpCode::CloseSession,
            Txn::Error(_) => OpCode::Error,
            Txn::Create(create) => match create.kind {
                CreateKind::Plain => OpCode::Create,
                CreateKind::WithStat => OpCode::Create2,
                CreateKind::Container => OpCode::CreateContainer,
                CreateKind::Ttl(_) => OpCode::CreateTtl,
            },
            Txn::Delete { .. } => OpCode::Delete,
            Txn::DeleteContainer { .. } => OpCode::DeleteContainer,
            Txn::SetData { .. } => OpCode::SetData,
            Txn::Reconfig { .. } => OpCode::Reconfig,
            Txn::SetAcl { .. } => OpCode::SetAcl,
            Txn::Check { .. } => OpCode::Check,
            Txn::Multi(_) => OpCode::Multi,
        }
    }

    fn encode_record(&self, out: &mut Vec<u8>) {
        match self {
            Txn::CreateSession { timeout_ms } => out.put_int(*timeout_ms),
            Txn::CloseSession { paths: None } => {}
            Txn::CloseSession { paths: Some(paths) } => {
                out.put_count(paths.len());
                paths.iter().for_each(|path| out.put_string(path));
            }
            Txn::Error(code) => out.put_int(*code),
            Txn::Create(create) => create.encode_record(out),
            Txn::Delete { path } | Txn::DeleteContainer { path } => out.put_string(path),
            Txn::SetData { path, data, version } | Txn::Reconfig { path, data, version } => {
                out.put_string(path);
                out.put_buffer(*data);
                out.put_int(*version);
            }
            Txn::SetAcl { path, acl, version } => {
                out.put_string(path);
                out.extend_from_slice(acl.bytes());
                out.put_int(*version);
            }
            Txn::Check { path, version } => {
                out.put_string(path);
                out.put_int(*version);
            }
            Txn::Multi(txns) => {
                out.put_count(txns.len());
                for txn in txns {
                    out.put_int(txn.code());
                    let length_at = out.len();
                    out.put_int(0);
                    txn.encode_record(out);
                    super::response::finish_frame(out, length_at);
                }
            }
        }
    }

    fn decode_record(code: i32, reader: &mut Reader<'a>) -> Result<Txn<'a>, DecodeError> {
        let op = OpCode::from_code(code).ok_or(DecodeError::UnknownType(code))?;
        Ok(match op {
            OpCode::CreateSession => Txn::CreateSession {
                timeout_ms: reader.int()?,
            },
            OpCode::CloseSession => Txn::CloseSession {
                paths: decode_closed_paths(reader)?,
            },
            OpCode::Multi => Txn::Multi(decode_multi(reader)?),
            OpCode::SetAcl => Txn::SetAcl {
                path: reader.string()?,
                acl: RawAcls::decode(reader)?,
                version: reader.int()?,
            },
            OpCode::Reconfig => Txn::Reconfig {
                path: reader.string()?,
                data: reader.buffer()?,
                version: reader.int()?,
            },
            OpCode::DeleteContainer => Txn::DeleteContainer {
                path: reader.string()?,
            },
            OpCode::Error
            | OpCode::Create
            | OpCode::Create2
            | OpCode::CreateContainer
            | OpCode::CreateTtl
            | OpCode::Delete
            | OpCode::SetData
            | OpCode::Check => Txn::decode_simple(op, reader)?,
            OpCode::Exists
            | OpCode::GetData
            | OpCode::GetAcl
            | OpCode::GetChildren
            | OpCode::Sync
            | OpCode::Ping
            | OpCode::GetChildren2
            | OpCode::CheckWatches
            | OpCode::RemoveWatches
            | OpCode::MultiRead
            | OpCode::Auth
            | OpCode::SetWatches
            | OpCode::Sasl
            | OpCode::GetEphemerals
            | OpCode::GetAllChildrenNumber
            | OpCode::SetWatches2
            | OpCode::AddWatch
            | OpCode::WhoAmI => return Err(DecodeError::UnknownType(code)),
        })
    }

    /// The records that may also stand in a multi.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the list of what a multi holds is the closed one"
    )]
    fn decode_simple(op: OpCode, reader: &mut Reader<'a>) -> Result<Txn<'a>, DecodeError> {
        let kind = match op {
            OpCode::Create => CreateKind::Plain,
            OpCode::Create2 => CreateKind::WithStat,
            OpCode::CreateContainer => CreateKind::Container,
            OpCode::CreateTtl => CreateKind::Ttl(0),
            OpCode::Error => return Ok(Txn::Error(reader.int()?)),
            OpCode::Delete => {
                return Ok(Txn::Delete {
                    path: reader.string()?,
                });
            }
            OpCode::SetData => {
                return Ok(Txn::SetData {
                    path: reader.string()?,
                    data: reader.buffer()?,
                    version: reader.int()?,
                });
            }
            OpCode::Check => {
                return Ok(Txn::Check {
                    path: reader.string()?,
                    version: reader.int()?,
                });
            }
            other => return Err(DecodeError::UnknownType(other.code())),
        };
        Ok(Txn::Create(CreateTxn::decode_record(kind, reader)?))
    }
}

impl<'a> CreateTxn<'a> {
    fn encode_record(&self, out: &mut Vec<u8>) {
        out.put_string(&self.path);
        out.put_buffer(self.data);
        out.extend_from_slice(self.acl.bytes());
        if matches!(self.kind, CreateKind::Plain | CreateKind::WithStat) {
            out.put_bool(self.ephemeral);
        }
        out.put_int(self.parent_cversion);
        if let CreateKind::Ttl(ttl) = self.kind {
            out.put_long(ttl);
        }
    }

    fn decode_record(kind: CreateKind, reader: &mut Reader<'a>) -> Result<CreateTxn<'a>, DecodeError> {
        let path = reader.string()?;
        let data = reader.buffer()?;
        let acl = RawAcls::decode(reader)?;
        let has_flag = matches!(kind, CreateKind::Plain | CreateKind::WithStat);
        let ephemeral = has_flag && reader.bool()?;
        // CreateTxnV0 of old logs ends here.
        let parent_cversion = if has_flag && reader.is_empty() {
            -1
        } else {
            reader.int()?
        };
        let kind = if let CreateKind::Ttl(_) = kind {
            CreateKind::Ttl(reader.long()?)
        } else {
            kind
        };
        Ok(CreateTxn {
            kind,
            path,
            data,
            acl,
            ephemeral,
            parent_cversion,
        })
    }
}

/// The record is absent from logs written with `closeSessionTxn.enabled=false`; then at most a digest is
/// left.
fn decode_closed_paths<'a>(reader: &mut Reader<'a>) -> Result<Option<Vec<Cow<'a, str>>>, DecodeError> {
    let rest = reader.rest();
    let is_only_digest = rest.len() == 12 && rest.starts_with(&[0, 0, 0, 2]);
    if rest.is_empty() || is_only_digest {
        return Ok(None);
    }
    Ok(reader.strings()?.map(|paths| paths.iter().collect()))
}

fn decode_multi<'a>(reader: &mut Reader<'a>) -> Result<Vec<Txn<'a>>, DecodeError> {
    let count = reader.vector()?.unwrap_or(0);
    // Allocating waits until all of them are known to be there.
    let mut ahead = *reader;
    for _ in 0..count {
        ahead.int()?;
        ahead.buffer()?.ok_or(DecodeError::Null)?;
    }
    let mut txns = Vec::with_capacity(count);
    for _ in 0..count {
        let code = reader.int()?;
        let mut record = Reader::new(reader.buffer()?.ok_or(DecodeError::Null)?);
        txns.push(match OpCode::from_code(code) {
            Some(OpCode::DeleteContainer) => Txn::DeleteContainer {
                path: record.string()?,
            },
            Some(op) => Txn::decode_simple(op, &mut record)?,
            None => return Err(DecodeError::UnknownType(code)),
        });
    }
    Ok(txns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(txn: Txn<'_>) {
        let header = TxnHeader {
            client_id: SessionId(0x100_000d_067f_0000),
            cxid: 7,
            zxid: Zxid(9),
            time: 1_795_223_253_724,
            code: txn.code(),
        };
        for digest in [
            None,
            Some(TxnDigest {
                version: 2,
                digest: 0x1_20b5_deb4,
            }),
        ] {
            let mut bytes = Vec::new();
            encode(&header, &txn, digest, &mut bytes);
            assert_eq!(
                decode(&bytes),
                Ok(LoggedTxn {
                    header,
                    txn: txn.clone(),
                    digest
                })
            );
        }
    }

    #[test]
    fn every_kind_of_transaction_survives_its_encoding() {
        let acl = RawAcls::from_list(&[super::super::acl::Acl::world(31)]);
        let create = |kind, ephemeral| {
            Txn::Create(CreateTxn {
                kind,
                path: "/a".into(),
                data: Some(b"hello"),
                acl: acl.clone(),
                ephemeral,
                parent_cversion: 1,
            })
        };
        let multi = vec![
            create(CreateKind::Ttl(600_000), false),
            create(CreateKind::Plain, true),
            Txn::Check {
                path: "/a".into(),
                version: 2,
            },
            Txn::Error(-101),
            Txn::Delete { path: "/a".into() },
        ];
        round_trip(create(CreateKind::Plain, true));
        round_trip(create(CreateKind::WithStat, false));
        round_trip(create(CreateKind::Container, false));
        round_trip(create(CreateKind::Ttl(5), false));
        round_trip(Txn::CreateSession { timeout_ms: 30_000 });
        round_trip(Txn::CloseSession {
            paths: Some(vec!["/e".into(), "/f".into()]),
        });
        round_trip(Txn::CloseSession { paths: None });
        round_trip(Txn::Error(-8));
        round_trip(Txn::DeleteContainer { path: "/c".into() });
        round_trip(Txn::SetData {
            path: "/a".into(),
            data: None,
            version: 3,
        });
        round_trip(Txn::SetAcl {
            path: "/a".into(),
            acl,
            version: 1,
        });
        round_trip(Txn::Reconfig {
            path: "/zookeeper/config".into(),
            data: Some(b"x"),
            version: -1,
        });
        round_trip(Txn::Multi(multi));
    }

    #[test]
    fn a_record_of_a_real_server_is_read() {
        // Record 2 of the worked example in the disk format's description: create /a "hello".
        let hex = "0100000d067f0000000000010000000000000002000001a1fba4f2dc00000001000000022f6100000005\
                   68656c6c6f000000010000001f00000005776f726c6400000006616e796f6e6500000000010000000200\
                   00000120b5deb4";
        let bytes: Vec<u8> = (0..hex.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap())
            .collect();
        let logged = decode(&bytes).unwrap();
        assert_eq!(logged.header.zxid, Zxid(2));
        assert_eq!(
            logged.digest,
            Some(TxnDigest {
                version: 2,
                digest: 4_843_757_236
            })
        );
        let mut again = Vec::new();
        encode(&logged.header, &logged.txn, logged.digest, &mut again);
        assert_eq!(again, bytes);
    }

    #[test]
    fn an_old_create_has_no_parent_cversion() {
        let mut record = Vec::new();
        record.put_string("/a");
        record.put_buffer(None);
        record.put_count(0);
        record.put_bool(false);
        let txn = Txn::decode_record(1, &mut Reader::new(&record)).unwrap();
        assert!(matches!(
            txn,
            Txn::Create(CreateTxn {
                parent_cversion: -1,
                ..
            })
        ));
    }
}
