//! What kind of node an owner value makes (EphemeralType), and which ephemerals a session owns.

use std::collections::BTreeSet;

use crate::ids::SessionId;

/// The kinds of nodes, told apart by the stored owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// Stays until it is deleted.
    Persistent,
    /// Goes with the session.
    Ephemeral(SessionId),
    /// Goes some time after its last child.
    Container,
    /// Goes when it has no children and was not written for so many milliseconds.
    Ttl(i64),
}

impl NodeKind {
    /// Reads a stored owner. TTL nodes are recognised whether or not they can be made here: a server that
    /// takes them for ephemerals deletes them.
    pub fn from_owner(owner: i64) -> NodeKind {
        match owner {
            0 => NodeKind::Persistent,
            CONTAINER_OWNER => NodeKind::Container,
            _ if owner & !TTL_MASK == TTL_MARK => NodeKind::Ttl(owner & TTL_MASK),
            _ => NodeKind::Ephemeral(SessionId(owner)),
        }
    }

    /// The owner to store. A time to live is cut to 40 bits.
    pub fn owner(self) -> i64 {
        match self {
            NodeKind::Persistent => 0,
            NodeKind::Ephemeral(session) => session.0,
            NodeKind::Container => CONTAINER_OWNER,
            NodeKind::Ttl(ttl) => TTL_MARK | ttl & TTL_MASK,
        }
    }

    /// The owner that clients are shown: sessions only.
    pub fn shown_owner(self) -> i64 {
        match self {
            NodeKind::Ephemeral(session) => session.0,
            NodeKind::Persistent | NodeKind::Container | NodeKind::Ttl(_) => 0,
        }
    }
}

/// Sessions and the ids of their nodes, in this order.
#[derive(Debug, Default)]
pub(super) struct Ephemerals(BTreeSet<(SessionId, u32)>);

impl Ephemerals {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Takes note of a node. Nodes that no session owns are passed over.
    pub(super) fn add(&mut self, owner: i64, id: u32) {
        if let NodeKind::Ephemeral(session) = NodeKind::from_owner(owner) {
            self.0.insert((session, id));
        }
    }

    pub(super) fn remove(&mut self, owner: i64, id: u32) {
        if let NodeKind::Ephemeral(session) = NodeKind::from_owner(owner) {
            self.0.remove(&(session, id));
        }
    }

    pub(super) fn of(&self, session: SessionId) -> impl Iterator<Item = u32> + '_ {
        self.0
            .range((session, 0)..=(session, u32::MAX))
            .map(|&(_, id)| id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (SessionId, u32)> + '_ {
        self.0.iter().copied()
    }
}

const CONTAINER_OWNER: i64 = i64::MIN;
/// The top byte of TTL nodes; the 16 bits below it number the extended type, and TTL is number 0.
const TTL_MARK: i64 = 0xff << 56;
const TTL_MASK: i64 = (1 << 40) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_tell_the_kind() {
        for kind in [
            NodeKind::Persistent,
            NodeKind::Container,
            NodeKind::Ttl(600_000),
            NodeKind::Ttl((1 << 40) - 1),
            NodeKind::Ephemeral(SessionId(0x0100_000d_067f_0000)),
            NodeKind::Ephemeral(SessionId(-2)),
        ] {
            assert_eq!(NodeKind::from_owner(kind.owner()), kind);
        }
        assert_eq!(NodeKind::Ttl(600_000).owner() as u64, 0xff00_0000_0009_27c0);
        assert_eq!(NodeKind::Container.shown_owner(), 0);
        assert_eq!(NodeKind::Ttl(1).shown_owner(), 0);
    }

    #[test]
    fn a_session_owns_its_nodes_only() {
        let mut ephemerals = Ephemerals::default();
        for (owner, id) in [(1, 7), (1, 3), (2, 5), (0, 9), (CONTAINER_OWNER, 8)] {
            ephemerals.add(owner, id);
        }
        assert_eq!(ephemerals.of(SessionId(1)).collect::<Vec<_>>(), [3, 7]);
        ephemerals.remove(1, 3);
        ephemerals.remove(0, 9);
        assert_eq!(ephemerals.of(SessionId(1)).collect::<Vec<_>>(), [7]);
        assert_eq!(ephemerals.len(), 2);
    }
}
