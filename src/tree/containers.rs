//! Which containers and TTL nodes have had their time (ContainerManager.getCandidates).

use super::ephemerals::NodeKind;
use super::{DataTree, NodeRef};
use crate::proto::stat::StatPersisted;

/// What decides whether a node has had its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// `znode.container.maxNeverUsedIntervalMs`: how long a container waits for its first child; 0 for ever.
    pub never_used_max_ms: i64,
    /// The wall clock, milliseconds since the Unix epoch.
    pub wall_ms: i64,
}

/// A part of what has had its time.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// The nodes.
    pub paths: Vec<String>,
    /// Where to look on, `None` when all were looked at.
    pub next: Option<u32>,
}

impl Lifetimes {
    /// Whether the leader removes a node: an empty container that had children, or none for too long, or a
    /// TTL node that is empty and was not written for longer than its time.
    pub fn are_over(&self, stat: &StatPersisted, children_count: usize) -> bool {
        if children_count > 0 {
            return false;
        }
        let unchanged_ms = self.wall_ms.saturating_sub(stat.mtime);
        match NodeKind::from_owner(stat.ephemeral_owner) {
            NodeKind::Container if stat.cversion > 0 => true,
            NodeKind::Container => self.never_used_max_ms != 0 && unchanged_ms > self.never_used_max_ms,
            NodeKind::Ttl(ttl) => ttl != 0 && unchanged_ms > ttl,
            NodeKind::Persistent | NodeKind::Ephemeral(_) => false,
        }
    }
}

impl DataTree {
    /// Looks at up to `nodes_max` containers and TTL nodes, and at no other nodes. `from` is 0 for the first
    /// part, then what the part before has said. Nodes that come and go between two parts may be missed.
    pub fn expired(&self, from: u32, nodes_max: usize, lifetimes: &Lifetimes) -> Expired {
        let mut expired = Expired::default();
        for (count, id) in self.ephemerals.unowned_from(from).enumerate() {
            if count == nodes_max {
                expired.next = Some(id);
                break;
            }
            let node = NodeRef::new(self, id);
            if lifetimes.are_over(&node.persisted(), node.num_children()) {
                expired.paths.push(node.path());
            }
        }
        expired
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{SessionId, Zxid};
    use crate::proto::acl::RawAcls;
    use crate::proto::txn::{CreateKind, CreateTxn, Txn, TxnHeader};

    const NOW: i64 = 10_000;

    fn stat(kind: NodeKind, cversion: i32, mtime: i64) -> StatPersisted {
        StatPersisted {
            ephemeral_owner: kind.owner(),
            cversion,
            mtime,
            ..StatPersisted::default()
        }
    }

    #[test]
    fn a_node_goes_when_it_is_empty_and_its_time_is_over() {
        let over = |never_used_max_ms, stat: StatPersisted, children| {
            let lifetimes = Lifetimes {
                never_used_max_ms,
                wall_ms: NOW,
            };
            lifetimes.are_over(&stat, children)
        };
        let (container, ttl) = (NodeKind::Container, NodeKind::Ttl(100));
        assert!(over(0, stat(container, 1, NOW), 0), "had a child");
        assert!(!over(0, stat(container, 1, NOW), 1), "has a child");
        assert!(!over(0, stat(container, 0, 0), 0), "waits for ever");
        assert!(!over(50, stat(container, 0, NOW - 50), 0), "still waits");
        assert!(over(50, stat(container, 0, NOW - 51), 0), "waited too long");
        assert!(!over(0, stat(ttl, 3, NOW - 100), 0), "to the millisecond");
        assert!(over(0, stat(ttl, 3, NOW - 101), 0));
        assert!(!over(0, stat(ttl, 3, NOW - 101), 1), "has a child");
        assert!(!over(0, stat(ttl, 0, i64::MAX), 0), "written in the future");
        assert!(over(0, stat(ttl, 0, i64::MIN), 0), "written before all time");
        assert!(
            !over(0, stat(NodeKind::Ttl(0), 0, 0), 0),
            "no time at all is for ever"
        );
        assert!(!over(1, stat(NodeKind::Persistent, 1, 0), 0));
        assert!(!over(1, stat(NodeKind::Ephemeral(SessionId(7)), 1, 0), 0));
    }

    #[test]
    fn nodes_are_looked_at_in_parts() {
        let mut tree = DataTree::new(1);
        let (mut zxid, mut paths) = (0, Vec::new());
        for n in 0..10 {
            let path = format!("/{n}");
            zxid += 1;
            let txn = Txn::Create(CreateTxn {
                kind: if n % 2 == 0 {
                    CreateKind::Ttl(5)
                } else {
                    CreateKind::Plain
                },
                path: path.clone().into(),
                data: None,
                acl: RawAcls::from_list(&[]),
                ephemeral: false,
                parent_cversion: -1,
            });
            let header = TxnHeader {
                client_id: SessionId(1),
                cxid: 0,
                zxid: Zxid(zxid),
                time: 0,
                code: txn.code(),
            };
            tree.process_txn(&header, &txn, &mut ());
            if n % 2 == 0 {
                paths.push(path);
            }
        }
        let lifetimes = Lifetimes {
            never_used_max_ms: 0,
            wall_ms: 6,
        };
        let first = tree.expired(0, 3, &lifetimes);
        assert_eq!(first.paths, paths[..3]);
        let second = tree.expired(first.next.unwrap(), 3, &lifetimes);
        assert_eq!((&second.paths[..], second.next), (&paths[3..], None));
        let early = Lifetimes {
            wall_ms: 5,
            ..lifetimes
        };
        assert_eq!(tree.expired(0, 9, &early), Expired::default());
    }
}
