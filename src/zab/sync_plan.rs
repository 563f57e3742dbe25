//! How a learner comes to the leader's history (LearnerHandler.syncFollower): a pure function of where the
//! learner ends and what the leader can prove.

use std::fmt;

use super::committed_log::CommittedLog;
use crate::ids::Zxid;
use crate::mutants::{self, Mutant};

/// What a leader does for a learner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncPlan {
    /// The learner's history is a beginning of ours: send what comes after it.
    Diff {
        /// Where it ends.
        after: Zxid,
    },
    /// The same, but memory does not go back so far.
    DiffFromLog {
        /// Where it ends.
        after: Zxid,
        /// Where memory begins.
        upto: Zxid,
    },
    /// The learner holds more than was ever committed: cut it, then send what comes after the cut.
    Trunc {
        /// The last transaction it keeps.
        to: Zxid,
    },
    /// Everything.
    Snap,
}

impl fmt::Display for SyncPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SyncPlan::Diff { after } => write!(f, "DIFF after {after}"),
            SyncPlan::DiffFromLog { after, upto } => {
                write!(f, "DIFF after {after}, up to {upto} from the log")
            }
            SyncPlan::Trunc { to } => write!(f, "TRUNC to {to}"),
            SyncPlan::Snap => f.write_str("SNAP"),
        }
    }
}

/// What may be done besides a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncOptions {
    /// `zookeeper.forceSnapshotSync`, or the learner asks for one.
    pub force_snapshot: bool,
    /// The learner cuts its log as it should. Apache's learners may keep what was cut in a snapshot and go on
    /// with it, so for them a snapshot is the safer way.
    pub may_truncate: bool,
    /// The log on disk may be asked (`snapshotSizeFactor` is not negative).
    pub may_read_log: bool,
}

/// Chooses, for a learner whose last transaction is `peer`. A snapshot when in doubt.
pub fn plan(peer: Zxid, history: &CommittedLog, options: SyncOptions) -> SyncPlan {
    let last = history.last();
    if options.force_snapshot {
        return SyncPlan::Snap;
    }
    if peer == last {
        return SyncPlan::Diff { after: peer };
    }
    // A learner with nothing may lack what came before the first transaction, too.
    if peer <= Zxid::ZERO {
        return SyncPlan::Snap;
    }
    // The mark of an epoch's beginning is no transaction: it stands for all of the epochs before.
    let is_new_epoch_mark = peer.counter() == 0;
    if peer < history.base() && mutants::is_on(Mutant::M9b) {
        return SyncPlan::Diff { after: peer };
    }
    if peer < history.base() {
        return match options.may_read_log && !is_new_epoch_mark {
            true => SyncPlan::DiffFromLog {
                after: peer,
                upto: history.base(),
            },
            false => SyncPlan::Snap,
        };
    }
    let Some(floor) = history.floor(peer) else {
        return SyncPlan::Snap;
    };
    if floor == peer || (is_new_epoch_mark && peer < last) {
        return SyncPlan::Diff { after: peer };
    }
    // Within an epoch what is not in our history was never committed, and all before it is the same.
    if !is_new_epoch_mark && floor.epoch() == peer.epoch() && options.may_truncate {
        return SyncPlan::Trunc { to: floor };
    }
    SyncPlan::Snap
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Epoch;
    use crate::zab::COMMIT_LOG_COUNT;
    use crate::zab::LogEntry;
    use bytes::Bytes;

    fn zxid(epoch: i64, counter: u32) -> Zxid {
        Zxid::new(Epoch(epoch), counter)
    }

    /// `base`, then the rest as entries.
    fn history(zxids: &[(i64, u32)]) -> CommittedLog {
        let mut log = CommittedLog::new(zxid(zxids[0].0, zxids[0].1), COMMIT_LOG_COUNT);
        for &(epoch, counter) in &zxids[1..] {
            log.push(LogEntry {
                zxid: zxid(epoch, counter),
                encoded: Bytes::new(),
            });
        }
        log
    }

    const ALL: SyncOptions = SyncOptions {
        force_snapshot: false,
        may_truncate: true,
        may_read_log: true,
    };
    const NONE: SyncOptions = SyncOptions {
        force_snapshot: false,
        may_truncate: false,
        may_read_log: false,
    };

    #[test]
    fn the_decision_table() {
        let long = history(&[(7, 2), (7, 3), (7, 4), (8, 1), (8, 2)]);
        let short = history(&[(7, 3)]);
        let fresh = history(&[(0, 0)]);
        let marked = history(&[(8, 0), (8, 1)]);
        let snap = [SyncPlan::Snap; 2];
        let diff = |epoch, counter| {
            let after = zxid(epoch, counter);
            [SyncPlan::Diff { after }; 2]
        };
        let trunc = |epoch, counter| {
            let to = zxid(epoch, counter);
            [SyncPlan::Trunc { to }, SyncPlan::Snap]
        };
        let (after, upto) = (zxid(7, 1), zxid(7, 2));
        let from_log = [SyncPlan::DiffFromLog { after, upto }, SyncPlan::Snap];
        let table = [
            // The learner has it all.
            (&long, (8, 2), diff(8, 2)),
            (&fresh, (0, 0), diff(0, 0)),
            // It ends within the window, at an entry or at its base.
            (&long, (7, 4), diff(7, 4)),
            (&long, (7, 2), diff(7, 2)),
            // It holds nothing, and we do.
            (&long, (0, 0), snap),
            (&marked, (0, 0), snap),
            // It is behind the window.
            (&long, (7, 1), from_log),
            (&long, (7, 0), snap),
            // It has a tail of the same epoch that we have not.
            (&short, (7, 5), trunc(7, 3)),
            (&long, (7, 6), trunc(7, 4)),
            (&long, (8, 5), trunc(8, 2)),
            // A tail of another epoch.
            (&short, (8, 1), snap),
            (&long, (9, 1), snap),
            // The beginning of an epoch: of one that we know, and of one we do not.
            (&long, (8, 0), diff(8, 0)),
            (&marked, (8, 0), diff(8, 0)),
            (&long, (9, 0), snap),
            (&short, (8, 0), snap),
        ];
        for (at, (history, (epoch, counter), [with_all, with_none])) in table.into_iter().enumerate() {
            let peer = zxid(epoch, counter);
            assert_eq!(plan(peer, history, ALL), with_all, "row {at}: {peer}");
            assert_eq!(plan(peer, history, NONE), with_none, "row {at}: {peer}");
            let force_snapshot = true;
            assert_eq!(
                plan(
                    peer,
                    history,
                    SyncOptions {
                        force_snapshot,
                        ..ALL
                    }
                ),
                SyncPlan::Snap
            );
        }
    }
}
