//! Preparing a create (PrepRequestProcessor.pRequest2TxnCreate).

use std::borrow::Cow;

use super::outstanding::{ChangeRecord, RecordAcl};
use super::{Place, Preparation, data_len};
use crate::auth;
use crate::mutants::{self, Mutant};
use crate::proto::acl::perms;
use crate::proto::error_code::ErrorCode;
use crate::proto::opcode::OpCode;
use crate::proto::request::CreateRequest;
use crate::proto::stat::StatPersisted;
use crate::proto::txn::{CreateKind, CreateTxn, Txn};
use crate::tree::{NodeKind, digest, path};

/// What opcode and flags ask for.
struct CreateMode {
    kind: CreateKind,
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
        match request.flags {
            EPHEMERAL_FLAGS | EPHEMERAL_SEQUENTIAL_FLAGS => self.check_global_session()?,
            _ => self.check_session()?,
        }
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
        self.check_quota(&path, data_len(request.data) as i64, 1)?;

        let parent_cversion = parent_record.stat.cversion.wrapping_add(1);
        let changed = self.with_child(&path[..parent_length], parent_record, parent_cversion);
        self.outstanding
            .put(&path[..parent_length], &parent, Some(changed));
        let stat = self.new_stat(&mode);
        let created = ChangeRecord {
            digest: digest::node_digest(&path, request.data, &stat),
            stat,
            children_count: 0,
            acl: RecordAcl::Pending(self.acls.intern(&acl)),
            data_len: data_len(request.data),
        };
        self.outstanding.put(&path, &found, Some(created));
        Ok(Txn::Create(CreateTxn {
            kind: mode.kind,
            path,
            data: request.data,
            acl,
            ephemeral: mode.ephemeral,
            parent_cversion,
        }))
    }

    /// The tree takes only a larger cversion, so it stops at the largest number there is.
    fn with_child(&self, path: &str, parent: &ChangeRecord, cversion: i32) -> ChangeRecord {
        let mut stat = parent.stat;
        if cversion > stat.cversion {
            stat.cversion = cversion;
            stat.pzxid = self.header.zxid;
        }
        let mut changed = parent.with_stat(path, stat);
        changed.children_count += 1;
        changed
    }

    fn new_stat(&self, mode: &CreateMode) -> StatPersisted {
        let kind = NodeKind::of_new(mode.kind, mode.ephemeral.then_some(self.header.client_id));
        StatPersisted {
            czxid: self.header.zxid,
            mzxid: self.header.zxid,
            pzxid: self.header.zxid,
            ctime: self.header.time,
            mtime: self.header.time,
            ephemeral_owner: kind.owner(),
            ..StatPersisted::default()
        }
    }
}

/// Why a request of its own fails for its mode, before anything else is looked at.
pub(super) fn mode_error(request: &CreateRequest<'_>, extended_types: bool) -> Option<ErrorCode> {
    create_mode(request, Place::Alone, extended_types).err()
}

/// Reads the flags, an enumeration and not bits.
///
/// A request of its own is a container by its opcode, whatever the flags say, and with the flags of a
/// container only, it is persistent. Within a multi the flags make a container, too, and the time to live of
/// a mode that has none is dropped, as the client library does that decodes the list for the reference.
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
    if has_ttl && !extended_types {
        return Err(ErrorCode::Unimplemented);
    }
    if has_ttl && !(1..=TTL_MAX_MS).contains(&request.ttl) {
        return Err(ErrorCode::BadArguments);
    }
    let by_opcode = request.op == OpCode::CreateContainer;
    let is_container = match place {
        // The reference logs a transaction of it that it cannot apply.
        Place::Alone if request.op == OpCode::CreateTtl && !has_ttl => return Err(ErrorCode::BadArguments),
        Place::Alone => by_opcode,
        Place::InMulti => by_opcode || request.flags == CONTAINER_FLAGS,
    };
    let kind = if has_ttl {
        CreateKind::Ttl(request.ttl)
    } else if is_container {
        CreateKind::Container
    } else if request.op == OpCode::Create2 {
        CreateKind::WithStat
    } else {
        CreateKind::Plain
    };
    Ok(CreateMode {
        kind,
        ephemeral: matches!(request.flags, 1 | 3) && !is_container,
        sequential: matches!(request.flags, 2 | 3 | 6),
    })
}

const EPHEMERAL_FLAGS: i32 = 1;
const EPHEMERAL_SEQUENTIAL_FLAGS: i32 = 3;
const CONTAINER_FLAGS: i32 = 4;
/// EphemeralType.TTL: 40 bits.
const TTL_MAX_MS: i64 = 0xff_ffff_ffff;
