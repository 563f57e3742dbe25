//! I12: a server that serves shows nothing older than what was committed a while ago: it hears from its
//! leader, or from a quorum of followers, or it does not serve.

use std::collections::VecDeque;

use zkserver::clock::Millis;
use zkserver::ids::Zxid;

use crate::world::ensemble::Ensemble;

#[derive(Default)]
pub struct Timeliness {
    /// What was the newest, and since when.
    newest: VecDeque<(Millis, Zxid)>,
    /// Until when each server cannot be blamed.
    excused: Vec<Millis>,
}

impl Timeliness {
    pub fn check(&mut self, world: &Ensemble) {
        let now = world.now.mono;
        let last = world.history.last();
        if self.newest.back().is_none_or(|(_, zxid)| *zxid < last) {
            self.newest.push_back((now, last));
        }
        while self.newest.len() > 1 && self.newest[1].0 + BOUND < now {
            self.newest.pop_front();
        }
        self.excused.resize(world.nodes.len(), Millis(0));
        let Some((since, old)) = self.newest.front() else {
            return;
        };
        for (at, node) in world.nodes.iter().enumerate() {
            let Some(server) = &node.server else { continue };
            if node.is_paused || node.disk.is_held || !node.disk.queue.is_empty() || !server.is_serving {
                self.excused[at] = now;
            }
            let is_long_ago = *since + BOUND < now && self.excused[at] + BOUND < now;
            assert!(
                !is_long_ago || server.known >= *old,
                "I12: server {at} serves {} long after {old} was committed",
                server.known
            );
        }
    }
}

/// Twice syncLimit, on clocks that may be slow.
const BOUND: Millis = Millis(40_000);
