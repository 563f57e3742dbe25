//! What a correct leader makes of a write request.

use super::acl::{self, normalized};
use super::jute::{Reader, Writer};
use super::overlay::Overlay;
use super::path::{is_light_valid, is_reserved, is_valid, parent};
use super::records::{Acl, CreateTxn, Identity, Txn, TxnHeader, code, op};
use super::tree::{Kinds, Model};

/// A write as it reaches the leader, and the zxid and time that it gets there.
#[derive(Clone, Copy, Debug)]
pub struct WriteRequest<'a> {
    pub session: i64,
    /// Identities of the connection when the request was sent.
    pub ids: &'a [Identity],
    pub opcode: i32,
    /// The record, without the RequestHeader.
    pub body: &'a [u8],
    pub zxid: i64,
    pub time: i64,
}

/// What becomes of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Code -5, whether or not it is logged.
    Undecodable,
    /// Logged as an error, and answered with its code.
    Refused(i32),
    /// Logged as this and answered OK with this body. A multi that failed is one of these.
    Done { txn: Txn, reply: Vec<u8> },
}

/// One operation as a client asks for it.
enum Ask {
    Create {
        opcode: i32,
        path: String,
        data: Option<Vec<u8>>,
        acls: Vec<Acl>,
        ephemeral: bool,
        sequential: bool,
        ttl: i64,
    },
    Delete {
        path: String,
        version: i32,
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
    /// Refused before anything is looked up.
    Refused(i32),
}

impl Model {
    /// Judges a request against the newest state.
    pub fn expected(&self, request: &WriteRequest<'_>) -> Outcome {
        self.expected_with_acls_at(None, request)
    }

    /// The same with the permissions that nodes had after an older transaction. Apache's leaders check
    /// those as long as a later `setACL` of the same node is on its way.
    pub fn expected_with_acls_at(&self, acls_at: Option<i64>, request: &WriteRequest<'_>) -> Outcome {
        let judge = Judge {
            model: self,
            acls_at,
            request,
            header: TxnHeader {
                session: request.session,
                cxid: 0,
                zxid: request.zxid,
                time: request.time,
                opcode: request.opcode,
            },
        };
        if request.opcode == op::CLOSE_SESSION {
            let paths = self.ephemerals.get(&request.session).into_iter().flatten();
            let paths = paths.map(ToString::to_string).collect();
            return Outcome::Done {
                txn: Txn::CloseSession(Some(paths)),
                reply: Vec::new(),
            };
        }
        let mut reader = Reader::new(request.body);
        if request.opcode == op::MULTI {
            return match decode_multi(&mut reader, self.kinds) {
                None => Outcome::Undecodable,
                Some(asks) => judge.multi(asks),
            };
        }
        let Some(ask) = Ask::decode(request.opcode, &mut reader, self.kinds) else {
            return Outcome::Undecodable;
        };
        let mut overlay = judge.overlay();
        match judge.one(&mut overlay, ask) {
            Err(code) => Outcome::Refused(code),
            Ok((txn, reply)) => Outcome::Done { txn, reply },
        }
    }
}

impl Ask {
    fn decode(opcode: i32, reader: &mut Reader<'_>, kinds: Kinds) -> Option<Ask> {
        match opcode {
            op::CREATE | op::CREATE2 | op::CREATE_CONTAINER | op::CREATE_TTL => {
                let path = reader.text()?;
                let data = reader.buffer()?.map(<[u8]>::to_vec);
                let acls = reader.vector(Acl::read)?.unwrap_or_default();
                let flags = reader.int()?;
                let ttl = if opcode == op::CREATE_TTL {
                    reader.long()?
                } else {
                    -1
                };
                Some(match mode_error(flags, ttl, kinds) {
                    Some(code) => Ask::Refused(code),
                    None => Ask::Create {
                        opcode,
                        path,
                        data,
                        acls,
                        ephemeral: matches!(flags, 1 | 3),
                        sequential: matches!(flags, 2 | 3 | 6),
                        ttl,
                    },
                })
            }
            op::SET_ACL => Some(Ask::SetAcl {
                path: reader.text()?,
                acls: reader.vector(Acl::read)?.unwrap_or_default(),
                version: reader.int()?,
            }),
            _ => Ask::decode_versioned(opcode, reader),
        }
    }

    fn decode_versioned(opcode: i32, reader: &mut Reader<'_>) -> Option<Ask> {
        let path = reader.text()?;
        Some(match opcode {
            op::DELETE => Ask::Delete {
                path,
                version: reader.int()?,
            },
            op::SET_DATA => Ask::SetData {
                path,
                data: reader.buffer()?.map(<[u8]>::to_vec),
                version: reader.int()?,
            },
            op::CHECK => Ask::Check {
                path,
                version: reader.int()?,
            },
            _ => return None,
        })
    }

    /// An operation of a multi; creations differ from those at the top level.
    fn decode_sub(opcode: i32, reader: &mut Reader<'_>, kinds: Kinds) -> Option<Ask> {
        if !matches!(
            opcode,
            op::CREATE | op::CREATE2 | op::CREATE_CONTAINER | op::CREATE_TTL
        ) {
            return Ask::decode_versioned(opcode, reader);
        }
        let path = reader.text()?;
        let data = reader.buffer()?.map(<[u8]>::to_vec);
        let acls = reader.vector(Acl::read)??;
        let flags = reader.int()?;
        let is_ttl = opcode == op::CREATE_TTL;
        let ttl = if is_ttl { reader.long()? } else { -1 };
        let opcode = match (opcode, flags) {
            (op::CREATE_TTL, 5 | 6) => op::CREATE_TTL,
            (_, 4) | (op::CREATE_CONTAINER, 0..=3) => op::CREATE_CONTAINER,
            (op::CREATE_TTL, 0..=3) => op::CREATE,
            (_, 0..=3) => opcode,
            // The flags of this one alone are not looked at while the list is decoded.
            (op::CREATE_TTL, _) => return Some(Ask::Refused(code::BAD_ARGUMENTS)),
            _ => return None,
        };
        if opcode == op::CREATE_TTL
            && let Some(code) = mode_error(flags, ttl, kinds)
        {
            return Some(Ask::Refused(code));
        }
        Some(Ask::Create {
            opcode,
            path,
            data,
            acls,
            ephemeral: matches!(flags, 1 | 3),
            sequential: matches!(flags, 2 | 3 | 6),
            // Where it means nothing it is dropped.
            ttl: if opcode == op::CREATE_TTL { ttl } else { -1 },
        })
    }
}

/// Why flags and time to live do not go together.
fn mode_error(flags: i32, ttl: i64, kinds: Kinds) -> Option<i32> {
    let is_ttl = matches!(flags, 5 | 6);
    if !(0..=6).contains(&flags) {
        return Some(code::BAD_ARGUMENTS);
    }
    if is_ttl && !kinds.ttl {
        return Some(code::UNIMPLEMENTED);
    }
    let is_legal = if is_ttl {
        (1..=0xff_ffff_ffff).contains(&ttl)
    } else {
        ttl == -1
    };
    (!is_legal).then_some(code::BAD_ARGUMENTS)
}

fn decode_multi(reader: &mut Reader<'_>, kinds: Kinds) -> Option<Vec<Ask>> {
    let mut asks = Vec::new();
    loop {
        let opcode = reader.int()?;
        let is_done = reader.boolean()?;
        reader.int()?;
        if is_done {
            return Some(asks);
        }
        asks.push(Ask::decode_sub(opcode, reader, kinds)?);
    }
}

/// Judges the operations of one request.
struct Judge<'a> {
    model: &'a Model,
    acls_at: Option<i64>,
    request: &'a WriteRequest<'a>,
    header: TxnHeader,
}

/// What is logged, and the body of the reply.
type Verdict = Result<(Txn, Vec<u8>), i32>;

impl Judge<'_> {
    fn overlay(&self) -> Overlay<'_> {
        Overlay::with_acls_at(self.model, self.acls_at)
    }

    fn multi(&self, asks: Vec<Ask>) -> Outcome {
        let count = asks.len();
        let mut overlay = self.overlay();
        let mut txns = Vec::new();
        let mut reply = Writer::new();
        for ask in asks {
            let result_type = ask.result_type();
            match self.one(&mut overlay, ask) {
                Ok((txn, result)) => {
                    txns.push(txn);
                    reply.int(result_type).boolean(false).int(0).raw(&result);
                }
                Err(error) => return failed_multi(txns, error, count),
            }
        }
        reply.int(-1).boolean(true).int(-1);
        Outcome::Done {
            txn: Txn::Multi(txns),
            reply: reply.done(),
        }
    }

    /// Judges one operation, and applies it to the overlay for those behind it.
    fn one(&self, overlay: &mut Overlay<'_>, ask: Ask) -> Verdict {
        if let Ask::Refused(code) = ask {
            return Err(code);
        }
        if !self.model.is_open(self.request.session) {
            return Err(code::SESSION_EXPIRED);
        }
        let txn = self.txn(overlay, ask)?;
        let applied = overlay.apply(&self.header, &txn, &mut Vec::new());
        applied.expect("what was accepted applies");
        let mut reply = Writer::new();
        let stat = |path: &str, writer: &mut Writer| {
            let node = overlay.get(path).expect("the node was there");
            node.write_stat(writer);
        };
        match &txn {
            Txn::Create(create) => {
                reply.text(&create.path);
                if create.opcode != op::CREATE {
                    stat(&create.path, &mut reply);
                }
            }
            Txn::SetData { path, .. } | Txn::SetAcl { path, .. } => stat(path, &mut reply),
            Txn::Delete { .. }
            | Txn::DeleteContainer { .. }
            | Txn::Check { .. }
            | Txn::Multi(_)
            | Txn::CreateSession { .. }
            | Txn::CloseSession(_)
            | Txn::Error(_)
            | Txn::Reconfig { .. } => {}
        }
        Ok((txn, reply.done()))
    }

    fn txn(&self, overlay: &Overlay<'_>, ask: Ask) -> Result<Txn, i32> {
        let ids = self.request.ids;
        let ensure = |holds: bool, code: i32| if holds { Ok(()) } else { Err(code) };
        let ensure_version = |wanted: i32, is: i32| ensure(wanted == -1 || wanted == is, code::BAD_VERSION);
        match ask {
            Ask::Create { .. } => self.create(overlay, ask),
            Ask::Delete { path, version } => {
                ensure(is_light_valid(&path) && !is_reserved(&path), code::BAD_ARGUMENTS)?;
                let above = overlay.get(parent(&path)).ok_or(code::NO_NODE)?;
                ensure(
                    overlay.allows(parent(&path), above, acl::DELETE, ids),
                    code::NO_AUTH,
                )?;
                let node = overlay.get(&path).ok_or(code::NO_NODE)?;
                ensure_version(version, node.version)?;
                ensure(node.children == 0, code::NOT_EMPTY)?;
                Ok(Txn::Delete { path })
            }
            Ask::SetData { path, data, version } => {
                ensure(is_valid(&path), code::BAD_ARGUMENTS)?;
                let node = overlay.get(&path).ok_or(code::NO_NODE)?;
                ensure(overlay.allows(&path, node, acl::WRITE, ids), code::NO_AUTH)?;
                ensure_version(version, node.version)?;
                let version = node.version.wrapping_add(1);
                Ok(Txn::SetData { path, data, version })
            }
            Ask::SetAcl { path, acls, version } => {
                ensure(is_valid(&path), code::BAD_ARGUMENTS)?;
                let acls = normalized(&acls, ids)?;
                let node = overlay.get(&path).ok_or(code::NO_NODE)?;
                ensure(overlay.allows(&path, node, acl::ADMIN, ids), code::NO_AUTH)?;
                ensure_version(version, node.aversion)?;
                let version = node.aversion.wrapping_add(1);
                Ok(Txn::SetAcl { path, acls, version })
            }
            Ask::Check { path, version } => {
                ensure(is_valid(&path), code::BAD_ARGUMENTS)?;
                let node = overlay.get(&path).ok_or(code::NO_NODE)?;
                ensure(overlay.allows(&path, node, acl::READ, ids), code::NO_AUTH)?;
                ensure_version(version, node.version)?;
                let version = node.version.wrapping_add(1);
                Ok(Txn::Check { path, version })
            }
            Ask::Refused(code) => Err(code),
        }
    }

    fn create(&self, overlay: &Overlay<'_>, ask: Ask) -> Result<Txn, i32> {
        let Ask::Create {
            opcode,
            mut path,
            data,
            acls,
            ephemeral,
            sequential,
            ttl,
        } = ask
        else {
            unreachable!("a creation");
        };
        if !is_light_valid(&path) {
            return Err(code::BAD_ARGUMENTS);
        }
        let acls = normalized(&acls, self.request.ids)?;
        let above = overlay.get(parent(&path)).ok_or(code::NO_NODE)?;
        if !overlay.allows(parent(&path), above, acl::CREATE, self.request.ids) {
            return Err(code::NO_AUTH);
        }
        if sequential {
            path.push_str(&format!("{:010}", above.created));
        }
        if !is_valid(&path) {
            return Err(code::BAD_ARGUMENTS);
        }
        if overlay.get(&path).is_some() {
            return Err(code::NODE_EXISTS);
        }
        if above.session().is_some() {
            return Err(code::NO_CHILDREN_FOR_EPHEMERALS);
        }
        Ok(Txn::Create(CreateTxn {
            opcode,
            path,
            data,
            acls,
            ephemeral: ephemeral && matches!(opcode, op::CREATE | op::CREATE2),
            parent_cversion: above.created.wrapping_add(1),
            ttl,
        }))
    }
}

impl Ask {
    /// The type of the operation's result in the reply of a multi.
    fn result_type(&self) -> i32 {
        match self {
            Ask::Create {
                opcode: op::CREATE, ..
            } => op::CREATE,
            Ask::Create { .. } => op::CREATE2,
            Ask::Delete { .. } => op::DELETE,
            Ask::SetData { .. } => op::SET_DATA,
            Ask::SetAcl { .. } => op::SET_ACL,
            Ask::Check { .. } => op::CHECK,
            Ask::Refused(_) => op::ERROR,
        }
    }
}

fn failed_multi(mut txns: Vec<Txn>, error: i32, count: usize) -> Outcome {
    let failed = txns.len();
    let mut reply = Writer::new();
    for index in 0..count {
        let code = match index.cmp(&failed) {
            std::cmp::Ordering::Less => code::OK,
            std::cmp::Ordering::Equal => error,
            std::cmp::Ordering::Greater => code::RUNTIME_INCONSISTENCY,
        };
        reply.int(-1).boolean(false).int(code).int(code);
        if index >= failed {
            txns.push(Txn::Error(code));
        }
    }
    reply.int(-1).boolean(true).int(-1);
    Outcome::Done {
        txn: Txn::Multi(txns),
        reply: reply.done(),
    }
}

const ALL: Kinds = Kinds { ttl: true };

/// For each operation of a request, whether it creates a node with a number.
pub fn sequential_creations(opcode: i32, body: &[u8]) -> Vec<bool> {
    let mut reader = Reader::new(body);
    let asks = match opcode {
        op::MULTI => decode_multi(&mut reader, ALL),
        opcode => Ask::decode(opcode, &mut reader, ALL).map(|ask| vec![ask]),
    };
    let is_sequential = |ask: &Ask| matches!(ask, Ask::Create { sequential: true, .. });
    asks.iter().flatten().map(is_sequential).collect()
}
