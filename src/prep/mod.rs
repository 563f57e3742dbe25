//! Turns write requests into transactions (PrepRequestProcessor): validation, permissions, versions, names.
//!
//! A request is judged as if all transactions prepared before it were applied. What was accepted is certain
//! to apply, and leads to the digest that its transaction carries.

mod create;
mod multi;
mod outstanding;
mod quota;
mod reconfig;
mod session_close;

use std::mem;
use std::sync::Arc;

use crate::auth::{self, AuthConfig, OPEN_ACL};
use crate::ids::{SessionId, Zxid};
use crate::mutants::{self, Mutant};
use crate::proto::acl::{Id, RawAcls, perms};
use crate::proto::error_code::ErrorCode;
use crate::proto::jute::{DecodeError, Reader};
use crate::proto::opcode::OpCode;
use crate::proto::request::{Request, SetAclRequest, SetDataRequest, VersionedRequest};
use crate::proto::stat::StatPersisted;
use crate::proto::txn::{self, Txn, TxnDigest, TxnHeader};
use crate::tree::{AclList, DataTree, Lifetimes, digest, path};

pub use quota::QuotaExceeded;

pub use reconfig::ReconfigRequest;

use outstanding::{ChangeRecord, Found, Outstanding, RecordAcl};

/// What preparation depends on.
#[derive(Clone)]
pub struct PrepConfig {
    /// Identities and checks.
    pub auth: AuthConfig,
    /// `digest.enabled`: whether transactions carry the digest that they lead to.
    pub digest_enabled: bool,
    /// `extendedTypesEnabled`: whether nodes with a time to live may be created.
    pub extended_types: bool,
    /// `enforceQuota`: whether writes over a quota are refused, or warned of.
    pub enforce_quota: bool,
    /// The longest transaction that can be read back, in bytes (`jute.maxbuffer` and its extra size).
    pub record_bytes_max: usize,
    /// Seed of the hashes of pending paths: clients choose the paths.
    pub hash_seed: u64,
}

/// A write request and who makes it.
pub struct PrepRequest<'a> {
    /// The session.
    pub session: SessionId,
    /// The client's xid.
    pub cxid: i32,
    /// The operation.
    pub op: OpCode,
    /// The request's record.
    pub body: &'a [u8],
    /// The identities of the connection when the request was read.
    pub ids: &'a [Id],
}

impl PrepRequest<'_> {
    /// The header of what the request comes to, with the code of the request itself.
    fn header(&self, zxid: Zxid, time: i64) -> TxnHeader {
        TxnHeader {
            client_id: self.session,
            cxid: self.cxid,
            zxid,
            time,
            code: self.op.code(),
        }
    }
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prepared {
    /// It goes through the log, accepted or not.
    Txn {
        /// Header, record and digest.
        encoded: Vec<u8>,
        /// The header once more.
        header: TxnHeader,
        /// Why it was refused; the reply's code. A failed multi is not refused, it has its errors inside.
        error: Option<ErrorCode>,
    },
    /// It could not be decoded: the reply is `MarshallingError`, and the zxid is still free.
    Undecodable,
}

/// Tells whether a session may write.
pub trait SessionCheck {
    /// `None` for a live session, `SessionExpired` for one that is closing, else `UnknownSession`.
    fn check(&self, session: SessionId) -> Option<ErrorCode>;

    /// The same for a session that is to own an ephemeral: the whole ensemble has to know it.
    fn check_global(&self, session: SessionId) -> Option<ErrorCode> {
        self.check(session)
    }
}

/// Prepares requests, one after another, and remembers what is not applied yet.
pub struct Prep {
    config: PrepConfig,
    outstanding: Outstanding,
    acls: AclCache,
    exceeded: Vec<QuotaExceeded>,
}

impl Prep {
    /// Starts with nothing pending.
    pub fn new(config: PrepConfig) -> Prep {
        Prep {
            outstanding: Outstanding::new(config.hash_seed),
            acls: AclCache::new(),
            exceeded: Vec::new(),
            config,
        }
    }

    /// Prepares one request. `zxid` is the next one and `time` the wall clock, milliseconds since the
    /// Unix epoch; the zxid is used up unless the request is undecodable. Zxids grow until
    /// [`Prep::clear`].
    pub fn prepare(
        &mut self,
        tree: &DataTree,
        sessions: &dyn SessionCheck,
        request: &PrepRequest<'_>,
        zxid: Zxid,
        time: i64,
    ) -> Prepared {
        let header = request.header(zxid, time);
        let session_error = sessions.check(request.session);
        let decoded = match decode(request, self.config.extended_types, session_error) {
            Ok(decoded) => decoded,
            Err(None) => return Prepared::Undecodable,
            Err(Some(error)) => return refusal(header, error),
        };
        self.outstanding.begin(tree, zxid);
        let mut preparation = Preparation {
            tree,
            config: &self.config,
            outstanding: &mut self.outstanding,
            acls: &mut self.acls,
            exceeded: &mut self.exceeded,
            session_error,
            sessions,
            ids: request.ids,
            header,
        };
        match preparation.prepare_request(decoded) {
            Ok(txn) => self.finish(header, &txn, request.body.len()),
            Err(error) => refusal(header, error),
        }
    }

    /// The transaction of a request that is refused without a look at its record. It uses up `header.zxid`.
    pub fn prepare_refusal(&self, header: TxnHeader, error: ErrorCode) -> Vec<u8> {
        match refusal(header, error) {
            Prepared::Txn { encoded, .. } => encoded,
            Prepared::Undecodable => unreachable!("a refusal is a transaction"),
        }
    }

    /// Prepares the transaction that opens a session.
    pub fn prepare_create_session(
        &mut self,
        tree: &DataTree,
        session: SessionId,
        timeout_ms: i32,
        zxid: Zxid,
        time: i64,
    ) -> (Vec<u8>, TxnHeader) {
        let header = server_header(session, zxid, time, OpCode::CreateSession);
        self.outstanding.begin(tree, zxid);
        (
            self.encode(&header, &Txn::CreateSession { timeout_ms }, 4),
            header,
        )
    }

    /// Prepares the transaction that ends a session on the server's own account.
    pub fn prepare_close_session(
        &mut self,
        tree: &DataTree,
        session: SessionId,
        zxid: Zxid,
        time: i64,
    ) -> (Vec<u8>, TxnHeader) {
        let header = server_header(session, zxid, time, OpCode::CloseSession);
        self.outstanding.begin(tree, zxid);
        let txn = self.outstanding.close_session(tree, session);
        (self.encode(&header, &txn, 64), header)
    }

    /// Prepares the removal of a container or TTL node whose time is over. `None` if it is not, or no longer,
    /// with everything that is outstanding; then the zxid is still free.
    pub fn prepare_delete_container(
        &mut self,
        tree: &DataTree,
        path: &str,
        lifetimes: &Lifetimes,
        zxid: Zxid,
        time: i64,
    ) -> Option<(Vec<u8>, TxnHeader)> {
        self.outstanding.begin(tree, zxid);
        let found = self.outstanding.find(tree, path);
        let record = found.record().ok()?;
        if !lifetimes.are_over(&record.stat, record.children_count) {
            return None;
        }
        let (parent_path, _) = path::split_parent(path);
        let parent = self.outstanding.find(tree, parent_path);
        self.outstanding.put_deleted(parent_path, &parent, path, &found);
        let header = server_header(SessionId(0), zxid, time, OpCode::DeleteContainer);
        let txn = Txn::DeleteContainer { path: path.into() };
        Some((self.encode(&header, &txn, path.len()), header))
    }

    /// The limits that requests went over since it was last asked.
    pub fn take_exceeded(&mut self) -> Vec<QuotaExceeded> {
        mem::take(&mut self.exceeded)
    }

    /// Forgets the changes of the transactions up to this one: the tree has them.
    pub fn applied(&mut self, zxid: Zxid) {
        self.outstanding.applied(zxid);
    }

    /// Forgets everything pending: it will not be applied.
    pub fn clear(&mut self) {
        self.outstanding = Outstanding::new(self.config.hash_seed);
    }

    /// Encodes an accepted transaction, or takes it back if nobody could read its record. The end of a
    /// session is never refused: its ephemerals would stay forever.
    fn finish(&mut self, header: TxnHeader, txn: &Txn<'_>, body_bytes: usize) -> Prepared {
        let header = TxnHeader {
            code: txn.code(),
            ..header
        };
        let encoded = self.encode(&header, txn, body_bytes);
        if encoded.len() > self.config.record_bytes_max && !matches!(txn, Txn::CloseSession { .. }) {
            self.outstanding.rollback();
            let path = first_path(txn).escape_debug();
            tracing::warn!(session = %header.client_id, cxid = header.cxid, %path,
                size = encoded.len(), limit = self.config.record_bytes_max,
                "refused a request whose transaction could not be read back");
            return refusal(header, ErrorCode::MarshallingError);
        }
        Prepared::Txn {
            encoded,
            header,
            error: None,
        }
    }

    fn encode(&self, header: &TxnHeader, txn: &Txn<'_>, record_bytes: usize) -> Vec<u8> {
        let digest = self.config.digest_enabled.then(|| TxnDigest {
            version: digest::DIGEST_VERSION,
            digest: self.outstanding.digest(),
        });
        let mut encoded = Vec::with_capacity(HEADER_AND_DIGEST_BYTES + record_bytes + RECORD_GROWTH_BYTES);
        txn::encode(header, txn, digest, &mut encoded);
        encoded
    }
}

/// Whether an operation stands for itself; the rules of create differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Alone,
    InMulti,
}

/// One request on its way to a transaction.
struct Preparation<'p> {
    tree: &'p DataTree,
    config: &'p PrepConfig,
    outstanding: &'p mut Outstanding,
    acls: &'p mut AclCache,
    exceeded: &'p mut Vec<QuotaExceeded>,
    session_error: Option<ErrorCode>,
    sessions: &'p dyn SessionCheck,
    ids: &'p [Id],
    header: TxnHeader,
}

impl Preparation<'_> {
    fn prepare_request<'r>(&mut self, request: Request<'r>) -> Result<Txn<'r>, ErrorCode> {
        if let Request::Multi(operations) = request {
            return self.prepare_multi(operations);
        }
        if let Request::Check(_) = request {
            return Err(ErrorCode::Unimplemented);
        }
        if let Request::CloseSession = request {
            return Ok(self.outstanding.close_session(self.tree, self.header.client_id));
        }
        self.prepare_operation(request, Place::Alone)
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the list of the operations that write is the closed one"
    )]
    fn prepare_operation<'r>(&mut self, request: Request<'r>, place: Place) -> Result<Txn<'r>, ErrorCode> {
        match request {
            Request::Create(create) => self.prepare_create(create, place),
            Request::Delete(delete) => self.prepare_delete(delete),
            Request::SetData(set_data) => self.prepare_set_data(set_data),
            Request::SetAcl(set_acl) => self.prepare_set_acl(set_acl),
            Request::Check(check) => self.prepare_check(check),
            _ => Err(ErrorCode::Unimplemented),
        }
    }

    fn prepare_delete<'r>(&mut self, request: VersionedRequest<'r>) -> Result<Txn<'r>, ErrorCode> {
        self.check_session()?;
        path::validate_light(&request.path)?;
        if path::is_reserved_for_delete(&request.path) {
            return Err(ErrorCode::BadArguments);
        }
        let (parent_path, _) = path::split_parent(&request.path);
        let parent = self.find(parent_path);
        let parent_record = parent.record()?;
        self.check_acl(parent_record, perms::DELETE)?;
        let found = self.find(&request.path);
        let record = found.record()?;
        next_version(record.stat.version, request.version)?;
        if record.children_count > 0 {
            return Err(ErrorCode::NotEmpty);
        }
        self.outstanding
            .put_deleted(parent_path, &parent, &request.path, &found);
        Ok(Txn::Delete { path: request.path })
    }

    fn prepare_set_data<'r>(&mut self, request: SetDataRequest<'r>) -> Result<Txn<'r>, ErrorCode> {
        self.check_session()?;
        path::validate(&request.path)?;
        let found = self.find(&request.path);
        let record = found.record()?;
        self.check_acl(record, perms::WRITE)?;
        self.check_quota(
            &request.path,
            data_len(request.data) as i64 - record.data_len as i64,
            0,
        )?;
        let version = next_version(record.stat.version, request.version)?;
        let mut changed = record.clone();
        changed.data_len = data_len(request.data);
        changed.stat.version = version;
        changed.stat.mzxid = self.header.zxid;
        changed.stat.mtime = self.header.time;
        changed.digest = digest::node_digest(&request.path, request.data, &changed.stat);
        self.outstanding.put(&request.path, &found, Some(changed));
        Ok(Txn::SetData {
            path: request.path,
            data: request.data,
            version,
        })
    }

    fn prepare_set_acl<'r>(&mut self, request: SetAclRequest<'r>) -> Result<Txn<'r>, ErrorCode> {
        self.check_session()?;
        path::validate(&request.path)?;
        let acl = auth::fixup_acl(&self.config.auth, &request.acl, self.ids)?;
        let found = self.find(&request.path);
        let record = found.record()?;
        self.check_acl(record, perms::ADMIN)?;
        let version = next_version(record.stat.aversion, request.version)?;
        let stat = StatPersisted {
            aversion: version,
            ..record.stat
        };
        let mut changed = record.with_stat(&request.path, stat);
        if !mutants::is_on(Mutant::M15a) {
            changed.acl = RecordAcl::Pending(self.acls.intern(&acl));
        }
        self.outstanding.put(&request.path, &found, Some(changed));
        Ok(Txn::SetAcl {
            path: request.path,
            acl,
            version,
        })
    }

    fn prepare_check<'r>(&mut self, request: VersionedRequest<'r>) -> Result<Txn<'r>, ErrorCode> {
        self.check_session()?;
        path::validate(&request.path)?;
        let found = self.find(&request.path);
        let record = found.record()?;
        self.check_acl(record, perms::READ)?;
        Ok(Txn::Check {
            version: next_version(record.stat.version, request.version)?,
            path: request.path,
        })
    }

    fn check_session(&self) -> Result<(), ErrorCode> {
        self.session_error.map_or(Ok(()), Err)
    }

    /// Of the session that is to own an ephemeral.
    fn check_global_session(&self) -> Result<(), ErrorCode> {
        let error = self.sessions.check_global(self.header.client_id);
        error.map_or(Ok(()), Err)
    }

    fn check_acl(&self, record: &ChangeRecord, wanted: i32) -> Result<(), ErrorCode> {
        let acl = match &record.acl {
            RecordAcl::Applied(id) => self.tree.acl(*id),
            RecordAcl::Pending(acl) => acl,
        };
        if auth::check_acl(&self.config.auth, acl, wanted, self.ids) {
            Ok(())
        } else {
            Err(ErrorCode::NoAuth)
        }
    }

    fn find(&self, path: &str) -> Found {
        self.outstanding.find(self.tree, path)
    }
}

/// The lists of pending changes. Most are the open one, or the same as the one before.
struct AclCache {
    open: Arc<AclList>,
    newest: Arc<AclList>,
}

impl AclCache {
    fn new() -> AclCache {
        let open = RawAcls::decode(&mut Reader::new(OPEN_ACL)).expect("a constant in the right format");
        let open = Arc::new(AclList::new(&open));
        AclCache {
            newest: open.clone(),
            open,
        }
    }

    fn intern(&mut self, acl: &RawAcls<'_>) -> Arc<AclList> {
        if acl.bytes() == OPEN_ACL {
            return self.open.clone();
        }
        if acl.bytes() != self.newest.raw.bytes() {
            self.newest = Arc::new(AclList::new(acl));
        }
        self.newest.clone()
    }
}

/// Whether a leader can make a transaction of a request, if only one that refuses it. What it cannot decode
/// must not be forwarded: Apache's leaders stall on it.
pub fn is_decodable(op: OpCode, body: &[u8]) -> bool {
    let request = PrepRequest {
        session: SessionId(0),
        cxid: 0,
        op,
        body,
        ids: &[],
    };
    !matches!(decode(&request, false, None), Err(None))
}

/// Decodes a request. `Err(None)` means that it is undecodable, `Err(Some(_))` that it is refused.
///
/// The reference server takes the zxid before it looks into a list or at a null path.
fn decode<'a>(
    request: &PrepRequest<'a>,
    extended_types: bool,
    session_error: Option<ErrorCode>,
) -> Result<Request<'a>, Option<ErrorCode>> {
    if request.op == OpCode::Reconfig {
        return Err(ReconfigRequest::decode(request.body)
            .ok()
            .map(|_| ErrorCode::ReconfigDisabled));
    }
    let is_list = request.op == OpCode::Multi;
    Request::decode(request.op, request.body).map_err(|error| match error {
        DecodeError::NullAcl => None,
        _ if is_list => Some(ErrorCode::MarshallingError),
        DecodeError::Null => null_path_error(request, extended_types, session_error),
        DecodeError::Truncated | DecodeError::UnreasonableLength(_) | DecodeError::UnknownType(_) => None,
    })
}

/// What a request with a null path is refused with: the path is looked at after the create mode and the
/// session, and only the full validation of paths expects a null one.
fn null_path_error(
    request: &PrepRequest<'_>,
    extended_types: bool,
    session_error: Option<ErrorCode>,
) -> Option<ErrorCode> {
    let with_path = [&[0; 4], request.body.get(4..)?].concat();
    let decoded = Request::decode(request.op, &with_path).ok()?;
    let mode_error = if let Request::Create(create) = &decoded {
        create::mode_error(create, extended_types)
    } else {
        None
    };
    let is_validated = matches!(decoded, Request::SetData(_) | Request::SetAcl(_));
    let path_error = match is_validated {
        true => ErrorCode::BadArguments,
        false => ErrorCode::MarshallingError,
    };
    mode_error.or(session_error).or(Some(path_error))
}

/// The transaction of a request that failed: it keeps its place in the order and changes nothing.
fn refusal(header: TxnHeader, error: ErrorCode) -> Prepared {
    let txn = Txn::Error(error.code());
    let header = TxnHeader {
        code: txn.code(),
        ..header
    };
    let mut encoded = Vec::with_capacity(HEADER_AND_DIGEST_BYTES);
    txn::encode(&header, &txn, None, &mut encoded);
    Prepared::Txn {
        encoded,
        header,
        error: Some(error),
    }
}

/// What a transaction is about, for a log line.
fn first_path<'a>(txn: &'a Txn<'_>) -> &'a str {
    match txn {
        Txn::Create(create) => &create.path,
        Txn::Delete { path }
        | Txn::DeleteContainer { path }
        | Txn::SetData { path, .. }
        | Txn::Reconfig { path, .. }
        | Txn::SetAcl { path, .. }
        | Txn::Check { path, .. } => path,
        Txn::Multi(txns) => txns.first().map_or("", first_path),
        Txn::CreateSession { .. } | Txn::CloseSession { .. } | Txn::Error(_) => "",
    }
}

fn data_len(data: Option<&[u8]>) -> usize {
    data.map_or(0, <[u8]>::len)
}

/// The version after a change, if the expected one is the present one or -1.
fn next_version(present: i32, expected: i32) -> Result<i32, ErrorCode> {
    if expected != -1 && expected != present {
        return Err(ErrorCode::BadVersion);
    }
    Ok(present.wrapping_add(1))
}

fn server_header(session: SessionId, zxid: Zxid, time: i64, op: OpCode) -> TxnHeader {
    TxnHeader {
        client_id: session,
        cxid: 0,
        zxid,
        time,
        code: op.code(),
    }
}

const HEADER_AND_DIGEST_BYTES: usize = 32 + 12;
/// By how much the record of a create may be longer than its request: the suffix of its name and a flag.
const RECORD_GROWTH_BYTES: usize = 11;

#[cfg(test)]
mod tests;
