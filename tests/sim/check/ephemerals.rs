//! I14: nothing is left of sessions that have ended.

use zkserver::tree::DataTree;

pub fn check(tree: &DataTree) {
    for (session, paths) in tree.sessions_with_ephemerals() {
        assert!(
            tree.sessions().contains_key(&session),
            "I14: {session} has left {paths:?}"
        );
    }
}
