//! When snapshots are taken, and that the tree is walked by one at a time: for this server's disk, or as an
//! image for a learner.

use std::collections::VecDeque;

use super::{Ensemble, Output, Outputs, Replica};
use crate::prng::Prng;
use crate::zab::{LinkId, Zab};

/// When the next snapshot is due (SyncRequestProcessor.shouldSnapshot): the random half keeps the members of
/// an ensemble from taking theirs at the same time.
pub(super) struct SnapshotSchedule {
    txns_max: u64,
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
    pub fn new(txns_max: u64, bytes_max: Option<u64>, prng: Prng) -> SnapshotSchedule {
        let mut schedule = SnapshotSchedule {
            txns_max: txns_max.max(2),
            bytes_max,
            txns_due: 0,
            bytes_due: 0,
            txns: 0,
            bytes: 0,
            prng,
            running: None,
            waiting: VecDeque::new(),
        };
        schedule.draw();
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

    fn draw(&mut self) {
        let half = self.txns_max / 2;
        self.txns_due = half + self.prng.below(half.max(1));
        let half = self.bytes_max.map_or(u64::MAX, |bytes| bytes / 2);
        self.bytes_due = half.saturating_add(self.prng.below(half.max(1)));
        (self.txns, self.bytes) = (0, 0);
    }

    /// Counts a logged transaction. True when it is the last of its log file.
    fn count(&mut self, bytes: usize) -> bool {
        self.txns += 1;
        self.bytes = self.bytes.saturating_add(bytes as u64);
        let is_due = self.txns > self.txns_due || self.bytes > self.bytes_due;
        if is_due {
            self.draw();
        }
        is_due
    }
}

impl Replica {
    /// A transaction was given to the log: after some of them a new file begins, and a snapshot is taken. The
    /// tree shows nothing but what is committed only while this server serves, so others take none.
    pub(super) fn count_logged(&mut self, bytes: usize, outputs: &mut Outputs) {
        if !self.snapshots.count(bytes) {
            return;
        }
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
                if let Ensemble::Member(member) = &self.ensemble
                    && let Zab::Leading(leader) = &member.zab
                {
                    head.zxid = head.zxid.max(leader.least_image_zxid(link));
                }
                Output::SendImage { link, head }
            }
        });
    }
}
