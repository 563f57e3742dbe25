//! Removing containers and TTL nodes whose time is over (ContainerManager).
//!
//! Who leads looks through them now and then, and removes what is due by transactions of its own, spaced over
//! time. Whether a node is due is decided once more when its transaction is prepared, with everything that is
//! outstanding.

use std::collections::VecDeque;

use super::{Outputs, Replica};
use crate::clock::{Millis, Now};
use crate::tree::Lifetimes;

/// When containers and TTL nodes are looked at, and how many are removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContainerConfig {
    /// `znode.container.checkIntervalMs`. At least 1.
    pub check_interval_ms: u64,
    /// `znode.container.maxPerMinute`. At least 1.
    pub per_minute_max: u32,
    /// `znode.container.maxNeverUsedIntervalMs`; 0 for no limit.
    pub never_used_max_ms: i64,
}

impl Default for ContainerConfig {
    fn default() -> ContainerConfig {
        ContainerConfig {
            check_interval_ms: 60_000,
            per_minute_max: 10_000,
            never_used_max_ms: 0,
        }
    }
}

/// How far the looking and removing has come.
pub(super) struct ContainerManager {
    config: ContainerConfig,
    /// When there is something to do; `None` while this server does not lead.
    due: Option<Millis>,
    /// When the check that is under way began, and where it goes on.
    check: Option<(Millis, u32)>,
    /// Found and not removed yet.
    candidates: VecDeque<String>,
}

impl ContainerManager {
    pub fn new(config: ContainerConfig) -> ContainerManager {
        ContainerManager {
            config,
            due: None,
            check: None,
            candidates: VecDeque::new(),
        }
    }

    /// This server leads: the first check is one interval away.
    pub fn start(&mut self, now: Millis) {
        self.stop();
        self.due = Some(now + Millis(self.config.check_interval_ms));
    }

    /// Another one leads, or nobody.
    pub fn stop(&mut self) {
        *self = ContainerManager::new(self.config);
    }

    pub fn next_deadline(&self) -> Option<Millis> {
        self.due
    }

    /// How many are removed at once, and how long before the next ones: one by one, unless a millisecond is
    /// too long for that.
    fn pace(&self) -> (usize, Millis) {
        let spacing_ms = u64::from(MINUTE_MS / self.config.per_minute_max.max(1));
        let at_once = self.config.per_minute_max.div_ceil(MINUTE_MS).max(1);
        (at_once as usize, Millis(spacing_ms.max(1)))
    }
}

impl Replica {
    /// Does what is due. Called by who leads.
    pub(super) fn check_containers(&mut self, now: Now, outputs: &mut Outputs) {
        let is_due = self.containers.due.is_some_and(|due| due <= now.mono);
        if !is_due || !self.takes_requests() {
            return;
        }
        if self.containers.candidates.is_empty() {
            self.find_candidates(now);
        }
        let (at_once, spacing) = self.containers.pace();
        let mut removed = 0;
        while removed < at_once
            && self.leads()
            && let Some(path) = self.containers.candidates.pop_front()
        {
            removed += usize::from(self.delete_container(now, &path, outputs));
        }
        self.containers.due = Some(match self.containers.check {
            // The check is over. Those that were missed while this process stood still are not made up for.
            Some((began, 0)) if self.containers.candidates.is_empty() => {
                self.containers.check = None;
                let next = began + Millis(self.containers.config.check_interval_ms);
                next.max(now.mono + spacing)
            }
            Some(_) | None => now.mono + spacing,
        });
    }

    /// Looks at the next part of the containers and TTL nodes.
    fn find_candidates(&mut self, now: Now) {
        let (began, from) = self.containers.check.unwrap_or((now.mono, 0));
        let lifetimes = self.lifetimes(now);
        let expired = self.shared.tree.read().expired(from, NODES_PER_LOOK, &lifetimes);
        self.containers.check = Some((began, expired.next.unwrap_or(0)));
        self.containers.candidates = expired.paths.into();
    }

    /// Proposes the removal of a candidate, if it still is one.
    fn delete_container(&mut self, now: Now, path: &str, outputs: &mut Outputs) -> bool {
        let (zxid, lifetimes) = (self.next_zxid(), self.lifetimes(now));
        let prepared = {
            let tree = self.shared.tree.read();
            self.prep
                .prepare_delete_container(&tree, path, &lifetimes, zxid, now.wall_ms)
        };
        let Some((encoded, _)) = prepared else {
            return false;
        };
        if let Some(held_back) = self.shared.line_limiters.deleted_containers.admit(now.mono) {
            tracing::info!(path = %path.escape_debug(), "removing a container or TTL node{held_back}");
        }
        self.propose(now, encoded, outputs);
        true
    }

    fn lifetimes(&self, now: Now) -> Lifetimes {
        Lifetimes {
            never_used_max_ms: self.containers.config.never_used_max_ms,
            wall_ms: now.wall_ms,
        }
    }
}

const MINUTE_MS: u32 = 60_000;
/// How many nodes are looked at before others have their turn: well below a millisecond.
const NODES_PER_LOOK: usize = 4096;
