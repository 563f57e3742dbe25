//! What kind of node an owner value makes (EphemeralType), which ephemerals a session owns, and which nodes
//! the leader removes one day.

use std::collections::BTreeSet;

use crate::ids::SessionId;
use crate::proto::txn::CreateKind;

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

    /// What a create makes. `owner` is the session that an ephemeral belongs to.
    pub fn of_new(kind: CreateKind, owner: Option<SessionId>) -> NodeKind {
        match (kind, owner) {
            (CreateKind::Container, _) => NodeKind::Container,
            (CreateKind::Ttl(ttl), _) => NodeKind::Ttl(ttl),
            (CreateKind::Plain | CreateKind::WithStat, Some(session)) => NodeKind::Ephemeral(session),
            (CreateKind::Plain | CreateKind::WithStat, None) => NodeKind::Persistent,
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

/// The ids of all nodes that do not stay until a client deletes them.
#[derive(Debug, Default)]
pub(super) struct Ephemerals {
    /// Sessions and their nodes, in this order.
    owned: BTreeSet<(SessionId, u32)>,
    /// Containers and TTL nodes (`DataTree.containers` and `DataTree.ttls`).
    unowned: BTreeSet<u32>,
}

impl Ephemerals {
    /// How many have a session.
    pub(super) fn len(&self) -> usize {
        self.owned.len()
    }

    /// Takes note of a node. Persistent nodes are passed over.
    pub(super) fn add(&mut self, owner: i64, id: u32) {
        match NodeKind::from_owner(owner) {
            NodeKind::Persistent => {}
            NodeKind::Ephemeral(session) => drop(self.owned.insert((session, id))),
            NodeKind::Container | NodeKind::Ttl(_) => drop(self.unowned.insert(id)),
        }
    }

    pub(super) fn remove(&mut self, owner: i64, id: u32) {
        match NodeKind::from_owner(owner) {
            NodeKind::Persistent => {}
            NodeKind::Ephemeral(session) => drop(self.owned.remove(&(session, id))),
            NodeKind::Container | NodeKind::Ttl(_) => drop(self.unowned.remove(&id)),
        }
    }

    pub(super) fn of(&self, session: SessionId) -> impl Iterator<Item = u32> + '_ {
        self.owned
            .range((session, 0)..=(session, u32::MAX))
            .map(|&(_, id)| id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (SessionId, u32)> + '_ {
        self.owned.iter().copied()
    }

    /// Containers and TTL nodes from this id on.
    pub(super) fn unowned_from(&self, id: u32) -> impl Iterator<Item = u32> + '_ {
        self.unowned.range(id..).copied()
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
        assert_eq!(ephemerals.unowned_from(0).collect::<Vec<_>>(), [8]);
        ephemerals.remove(1, 3);
        ephemerals.remove(0, 9);
        ephemerals.remove(CONTAINER_OWNER, 8);
        assert_eq!(ephemerals.of(SessionId(1)).collect::<Vec<_>>(), [7]);
        assert_eq!(ephemerals.unowned_from(0).count(), 0);
        assert_eq!(ephemerals.len(), 2);
    }
}
