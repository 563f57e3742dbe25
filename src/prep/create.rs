//! Preparing a create (PrepRequestProcessor.pRequest2TxnCreate).

use std::borrow::Cow;

use super::outstanding::{ChangeRecord, RecordAcl};
use super::{Place, Preparation};
use crate::auth;
use crate::mutants::{self, Mutant};
use crate::proto::acl::perms;
use crate::proto::error_code::ErrorCode;
use crate::proto::opcode::OpCode;
use crate::proto::request::CreateRequest;
use crate::proto::stat::StatPersisted;
use crate::proto::txn::{CreateKind, CreateTxn, Txn};
use crate::tree::{NodeKind, digest, path};

/// What the flags ask for, as far as it is offered.
struct CreateMode {
    ephemeral: bool,
    sequential: bool,
}

impl Preparation<'_> {
    pub(super) fn prepare_create<'r>(
        &mut self,
        request: CreateRequest<'r>,
        place: Place,
    ) -> Result<Txn<'r>, ErrorCode> {
        let mode = create_mode(&request, place, self.config.extended_types)?;
        self.check_session()?;
        path::validate_light(&request.path)?;
        let acl = auth::fixup_acl(&self.config.auth, &request.acl, self.ids)?;
        let parent_length = path::split_parent(&request.path).0.len();
        let parent = self.find(&request.path[..parent_length]);
        let parent_record = parent.record()?;
        self.check_acl(parent_record, perms::CREATE)?;
        let path = if mode.sequential && mutants::is_on(Mutant::M11a) {
            Cow::Owned(format!("{}{:010}", request.path, parent_record.children_count))
        } else if mode.sequential {
            Cow::Owned(format!("{}{:010}", request.path, parent_record.stat.cversion))
        } else {
            request.path
        };
        path::validate(&path)?;
        let found = self.find(&path);
        if found.record().is_ok() {
            return Err(ErrorCode::NodeExists);
        }
        if let NodeKind::Ephemeral(_) = NodeKind::from_owner(parent_record.stat.ephemeral_owner) {
            return Err(ErrorCode::NoChildrenForEphemerals);
        }

        let parent_cversion = parent_record.stat.cversion.wrapping_add(1);
        let changed = self.with_child(parent_record, parent_cversion);
        self.outstanding
            .put(&path[..parent_length], &parent, Some(changed));
        let created = ChangeRecord {
            stat: self.new_stat(&mode),
            children_count: 0,
            acl: RecordAcl::Pending(self.acls.intern(&acl)),
            prefix_crc: digest::prefix_crc(&path, request.data),
            digest: 0,
        };
        self.outstanding.put(&path, &found, Some(created));
        Ok(Txn::Create(CreateTxn {
            kind: if request.op == OpCode::Create2 {
                CreateKind::WithStat
            } else {
                CreateKind::Plain
            },
            path,
            data: request.data,
            acl,
            ephemeral: mode.ephemeral,
            parent_cversion,
        }))
    }

    /// The tree takes only a larger cversion, so it stops at the largest number there is.
    fn with_child(&self, parent: &ChangeRecord, cversion: i32) -> ChangeRecord {
        let mut changed = parent.clone();
        changed.children_count += 1;
        if cversion > changed.stat.cversion {
            changed.stat.cversion = cversion;
            changed.stat.pzxid = self.header.zxid;
        }
        changed
    }

    fn new_stat(&self, mode: &CreateMode) -> StatPersisted {
        StatPersisted {
            czxid: self.header.zxid,
            mzxid: self.header.zxid,
            pzxid: self.header.zxid,
            ctime: self.header.time,
            mtime: self.header.time,
            ephemeral_owner: if mode.ephemeral {
                self.header.client_id.0
            } else {
                0
            },
            ..StatPersisted::default()
        }
    }
}

/// Why a request of its own fails for its mode, before anything else is looked at.
pub(super) fn mode_error(request: &CreateRequest<'_>, extended_types: bool) -> Option<ErrorCode> {
    create_mode(request, Place::Alone, extended_types).err()
}

/// Reads the flags, an enumeration and not bits. Containers and nodes with a time to live are not offered.
fn create_mode(
    request: &CreateRequest<'_>,
    place: Place,
    extended_types: bool,
) -> Result<CreateMode, ErrorCode> {
    let has_ttl = match request.flags {
        0..=4 => false,
        5 | 6 => true,
        _ => return Err(ErrorCode::BadArguments),
    };
    if has_ttl {
        let is_legal = (1..=TTL_MAX_MS).contains(&request.ttl);
        let is_refused = extended_types && !is_legal;
        return Err(if is_refused {
            ErrorCode::BadArguments
        } else {
            ErrorCode::Unimplemented
        });
    }
    // Within a multi the time to live of a mode that has none is dropped, and flags make the container;
    // a request of its own is a container by its opcode.
    let is_container = match place {
        Place::Alone if request.op == OpCode::CreateTtl => return Err(ErrorCode::BadArguments),
        Place::Alone => request.op == OpCode::CreateContainer,
        Place::InMulti => request.op == OpCode::CreateContainer || request.flags == CONTAINER_FLAGS,
    };
    if is_container {
        return Err(ErrorCode::Unimplemented);
    }
    Ok(CreateMode {
        ephemeral: matches!(request.flags, 1 | 3),
        sequential: matches!(request.flags, 2 | 3),
    })
}

const CONTAINER_FLAGS: i32 = 4;
/// EphemeralType.TTL: 40 bits.
const TTL_MAX_MS: i64 = 0xff_ffff_ffff;
