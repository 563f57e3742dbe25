//! ZAB, the atomic broadcast: what is proposed by the leader and acknowledged by a quorum's disks is
//! committed, in the order of proposal.
//!
//! A standalone server is the leader of an ensemble of one. In an ensemble a role begins with discovery
//! (which epoch), goes on with synchronization (one history for all) and then broadcasts. An acknowledgement
//! can only be built from what is known to be on disk; every commit goes through the one window of history.

mod broadcast;
mod committed_log;
mod discovery;
mod io;
mod leader;
mod leader_reconfig;
mod leader_status;
mod learner;
mod learner_progress;
mod learner_reconfig;
mod learner_sync;
mod masters;
mod observer_master;
mod sync_barrier;
mod sync_plan;
mod synchronization;

#[cfg(test)]
pub(crate) mod tests;

pub use broadcast::{Broadcast, LogEntry};
pub use committed_log::{COMMIT_LOG_COUNT, CommittedLog, follows};
pub use io::{History, Input, LinkId, Output, Standing};
pub use leader::Leader;
pub use leader_status::{LeaderStatus, LearnerStatus};
pub use learner::{Learner, LearnerState};
pub use masters::Masters;
pub use sync_plan::{SyncOptions, SyncPlan, plan};

use crate::clock::Millis;
use crate::ids::ServerId;
use crate::quorum::configs::Configs;

/// What a role has to know of the configuration.
#[derive(Clone, Debug)]
pub struct ZabConfig {
    /// This server, `myid`.
    pub me: ServerId,
    /// Who votes, and who else is in the list of servers.
    pub configs: Configs,
    /// `reconfigEnabled`: the list may change while the server runs, and servers that are not in it may
    /// follow.
    pub reconfig_enabled: bool,
    /// `tickTime` in milliseconds.
    pub tick_ms: u64,
    /// `initLimit` in ticks.
    pub init_limit: u64,
    /// `syncLimit` in ticks.
    pub sync_limit: u64,
    /// `zookeeper.leader.maxTimeToWaitForEpoch` in milliseconds: a leader whose voters look for another one
    /// gives up after it. `None` for never.
    pub max_epoch_wait_ms: Option<u64>,
    /// Snapshots for everybody, and whether the log on disk may be asked.
    pub force_snapshot: bool,
    /// `snapshotSizeFactor` is not negative.
    pub may_read_log: bool,
    /// Cut the logs of Apache's learners, too, as Apache's leaders do. They may then keep and serve what was
    /// cut (they reload from a snapshot that holds it), so a snapshot is sent instead unless this is set.
    pub truncates_apache: bool,
    /// A sync is answered only after a quorum has confirmed that this server still leads: reads behind it
    /// are linearizable, for one more round trip.
    pub sync_asks_quorum: bool,
    /// `observerMasterPort` is set: followers serve observers, and observers connect to followers.
    pub has_observer_masters: bool,
}

impl ZabConfig {
    pub(crate) fn init_limit_ms(&self) -> Millis {
        Millis(self.tick_ms * self.init_limit)
    }

    pub(crate) fn sync_limit_ms(&self) -> Millis {
        Millis(self.tick_ms * self.sync_limit)
    }
}

/// The role of a member of an ensemble.
#[derive(Debug, Default)]
pub enum Zab {
    /// None yet: the election goes on.
    #[default]
    Looking,
    /// Leads.
    Leading(Box<Leader>),
    /// Follows or observes.
    Learning(Box<Learner>),
}

impl Zab {
    /// Hands an event to the role. While looking there is nothing to say.
    pub fn step(&mut self, now: Millis, input: Input, out: &mut Vec<Output>) {
        match self {
            Zab::Looking => {}
            Zab::Leading(leader) => leader.step(now, input, out),
            Zab::Learning(learner) => learner.step(now, input, out),
        }
    }

    /// When [`Input::Tick`] is due at the latest.
    pub fn next_deadline(&self) -> Option<Millis> {
        match self {
            Zab::Looking => None,
            Zab::Leading(leader) => leader.next_deadline(),
            Zab::Learning(learner) => learner.next_deadline(),
        }
    }
}
