//! When snapshots are taken, and that the tree is walked by one at a time: for this server's disk, or as an
//! image for a learner.

use std::collections::VecDeque;

use super::{Ensemble, Output, Outputs, Replica, ReplicaConfig};
use crate::prng::Prng;
use crate::tree::DataTree;
use crate::zab::{LinkId, Zab};

/// When the next snapshot is due. With a `snapCount` as in Apache (SyncRequestProcessor.shouldSnapshot),
/// without one when the log has grown by one and a half to two times what a snapshot would have: so less is
/// written to snapshots than to logs, and what a restart replays stays in proportion to what it loads. The
/// random part keeps the members of an ensemble from taking theirs at the same time.
pub(super) struct SnapshotSchedule {
    txns_max: Option<u64>,
    bytes_max: Option<u64>,
    txns_due: u64,
    bytes_due: u64,
    txns: u64,
    bytes: u64,
    prng: Prng,
    /// The walk that is under way.
    running: Option<Walk>,
    /// Walks that wait for it.
    waiting: VecDeque<Walk>,
}

/// What a walk through the tree is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Walk {
    /// A snapshot of this server.
    Own,
    /// An image for a learner.
    Image(LinkId),
}

impl SnapshotSchedule {
    pub fn new(config: &ReplicaConfig, tree_bytes: u64, prng: Prng) -> SnapshotSchedule {
        let mut schedule = SnapshotSchedule {
            txns_max: config.snap_count,
            bytes_max: config.snap_size_limit,
            txns_due: 0,
            bytes_due: 0,
            txns: 0,
            bytes: 0,
            prng,
            running: None,
            waiting: VecDeque::new(),
        };
        schedule.draw(tree_bytes);
        schedule
    }

    /// Whether the tree is being walked, so that it must not be replaced.
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// The role is over: its learners get no images any more, and what is logged from here on may never be
    /// committed.
    pub fn forget_waiting(&mut self) {
        self.waiting.clear();
    }

    /// `tree_bytes`: of a snapshot, were it taken now.
    fn draw(&mut self, tree_bytes: u64) {
        self.txns_due = self
            .txns_max
            .map_or(u64::MAX, |txns| self.between(txns.max(2) / 2));
        self.bytes_due = self.between(self.bytes_max.unwrap_or(u64::MAX) / 2);
        if self.txns_max.is_none() {
            let half = tree_bytes.max(LOG_BYTES_MIN) / 2;
            let like_tree = 3 * half + self.prng.below(half.max(1));
            self.bytes_due = self.bytes_due.min(like_tree);
        }
        (self.txns, self.bytes) = (0, 0);
    }

    /// From `least` to its double.
    fn between(&mut self, least: u64) -> u64 {
        least + self.prng.below(least.max(1))
    }

    /// Counts transactions that are in the log, and no snapshot holds.
    pub fn add(&mut self, txns: u64, bytes: u64) {
        self.txns += txns;
        self.bytes = self.bytes.saturating_add(bytes);
    }

    pub fn is_due(&self) -> bool {
        self.txns > self.txns_due || self.bytes > self.bytes_due
    }
}

impl Replica {
    /// The start replayed so much of the log: it counts as logged since the last snapshot. Otherwise a server
    /// that is often started would replay more each time.
    pub fn count_replayed(&mut self, txns: u64, bytes: u64) {
        self.snapshots.add(txns, bytes);
    }

    /// A transaction was given to the log: after some of them a new file begins, and a snapshot is taken. The
    /// tree shows nothing but what is committed only while this server serves, so others take none.
    pub(super) fn count_logged(&mut self, bytes: usize, outputs: &mut Outputs) {
        self.snapshots.add(1, bytes as u64);
        if !self.snapshots.is_due() {
            return;
        }
        self.snapshots.draw(snapshot_bytes(&self.shared.tree.read()));
        outputs.list.push(Output::RollLog);
        let is_under_way =
            self.snapshots.running == Some(Walk::Own) || self.snapshots.waiting.contains(&Walk::Own);
        if self.is_active() && !is_under_way {
            self.snapshots.waiting.push_back(Walk::Own);
            self.next_walk(outputs);
        }
    }

    /// A learner needs an image of the tree.
    pub(super) fn queue_image(&mut self, link: LinkId, outputs: &mut Outputs) {
        outputs.list.push(Output::ReserveImage(link));
        self.snapshots.waiting.push_back(Walk::Image(link));
        self.next_walk(outputs);
    }

    /// The walk is over.
    pub(super) fn on_snapshot_taken(&mut self, outputs: &mut Outputs) {
        self.shared.tree.write().snapshot_end();
        self.snapshots.running = None;
        self.next_walk(outputs);
    }

    fn next_walk(&mut self, outputs: &mut Outputs) {
        if self.snapshots.running.is_some() {
            return;
        }
        let Some(walk) = self.snapshots.waiting.pop_front() else {
            return;
        };
        self.snapshots.running = Some(walk);
        let mut head = self.shared.tree.write().snapshot_begin();
        outputs.list.push(match walk {
            Walk::Own => Output::TakeSnapshot(head),
            Walk::Image(link) => {
                if let Ensemble::Member(member) = &self.ensemble {
                    head.zxid = head.zxid.max(match &member.zab {
                        Zab::Leading(leader) => leader.least_image_zxid(link),
                        Zab::Learning(learner) => learner.least_image_zxid(link),
                        Zab::Looking => head.zxid,
                    });
                }
                Output::SendImage { link, head }
            }
        });
    }
}

/// About so many bytes has a snapshot of the tree.
pub(super) fn snapshot_bytes(tree: &DataTree) -> u64 {
    tree.approximate_data_size() + tree.node_count() as u64 * NODE_RECORD_BYTES
}

/// A node's record in a snapshot without its path and data: two lengths, the ACL's number, the stat.
const NODE_RECORD_BYTES: u64 = 4 + 4 + 8 + 60;

/// A smaller tree counts as so much: its log is replayed in a fraction of a second all the same.
pub(super) const LOG_BYTES_MIN: u64 = 16 * 1024 * 1024;
