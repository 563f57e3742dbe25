//! Preparing the end of a session: its ephemerals, applied and pending, are listed and go with it.

use super::outstanding::Outstanding;
use crate::ids::SessionId;
use crate::mutants::{self, Mutant};
use crate::proto::txn::Txn;
use crate::tree::{DataTree, path};

impl Outstanding {
    /// Lists the ephemerals in the order of their paths.
    pub(super) fn close_session(&mut self, tree: &DataTree, session: SessionId) -> Txn<'static> {
        let mut candidates = tree.ephemerals(session);
        if !mutants::is_on(Mutant::M12a) {
            candidates.extend(self.pending_ephemerals(session).map(str::to_owned));
        }
        candidates.sort_unstable();
        let mut paths = Vec::with_capacity(candidates.len());
        for path in candidates {
            let found = self.find(tree, &path);
            // It may be listed twice, deleted by a pending transaction, or even somebody else's by now.
            if found
                .record()
                .is_ok_and(|record| record.ephemeral_session() == Some(session))
            {
                let (parent_path, _) = path::split_parent(&path);
                let parent = self.find(tree, parent_path);
                self.put_deleted(parent_path, &parent, &path, &found);
                paths.push(path.into());
            }
        }
        Txn::CloseSession { paths: Some(paths) }
    }
}
