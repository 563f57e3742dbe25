//! Permissions looked at before the leader is asked (ZooKeeperServer.authWriteRequest): a write that this
//! server's own state refuses costs no transaction. What it does not refuse is judged by the leader all the
//! same.

use super::{Ensemble, Replica};
use crate::auth::{check_acl, fixup_acl};
use crate::proto::acl::perms;
use crate::proto::error_code::ErrorCode;
use crate::proto::opcode::OpCode;
use crate::proto::request::Request;
use crate::shared::ClientRequest;
use crate::tree::path;

impl Replica {
    /// What a write is refused with at once. Nothing is, behind others of its session that are under way:
    /// they may change what it needs.
    pub(super) fn refuse_early(&self, request: &ClientRequest) -> Option<ErrorCode> {
        if !self.checks_acls_early || !matches!(self.ensemble, Ensemble::Member(_)) {
            return None;
        }
        let conn = self.conns.get(&request.conn)?;
        if !conn.pending.is_empty() {
            return None;
        }
        self.early_error(request)
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the list of what is looked at is the closed one"
    )]
    fn early_error(&self, request: &ClientRequest) -> Option<ErrorCode> {
        let decoded = Request::decode(request.op, &request.body).ok()?;
        // A path that cannot be is for the leader to refuse.
        let (node, wanted, acl) = match &decoded {
            Request::Create(create) if matches!(create.op, OpCode::Create | OpCode::Create2) => {
                (parent(&create.path)?, perms::CREATE, Some(&create.acl))
            }
            Request::Delete(delete) => (parent(&delete.path)?, perms::DELETE, None),
            Request::SetData(set) => (&*set.path, perms::WRITE, None),
            Request::SetAcl(set) => (&*set.path, perms::ADMIN, Some(&set.acl)),
            _ => return None,
        };
        let fixed = acl.map(|acl| fixup_acl(&self.auth, acl, &request.ids));
        if let Some(Err(ErrorCode::InvalidAcl)) = fixed {
            return Some(ErrorCode::InvalidAcl);
        }
        let tree = self.shared.tree.read();
        let acl = tree.acl(tree.lookup(node)?.acl_id());
        let is_allowed = check_acl(&self.auth, acl, wanted, &request.ids);
        (!is_allowed).then_some(ErrorCode::NoAuth)
    }
}

fn parent(of: &str) -> Option<&str> {
    let is_path = path::validate_light(of).is_ok() && !path::is_reserved_for_delete(of);
    is_path.then(|| path::split_parent(of).0)
}
