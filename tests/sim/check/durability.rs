//! I6: what was committed is on the disks of a quorum when it is first shown, and whatever happens to a log
//! later, a quorum of who counts goes on holding it.

use zkserver::ids::{ServerId, Zxid};

use crate::world::ensemble::Ensemble;
use crate::world::moments::{Happened, Moment, Written};

pub struct Durability {
    base: Zxid,
}

impl Durability {
    pub fn new(base: Zxid) -> Durability {
        Durability { base }
    }

    pub fn on_moment(&self, world: &Ensemble, moment: Moment) {
        match moment.what {
            Happened::CommittedFirst
            | Happened::Started
            | Happened::Durable(Written::Cut | Written::Image)
            | Happened::Died => self.check(world),
            _ => {}
        }
    }

    fn check(&self, world: &Ensemble) {
        let last = world.history.last();
        if last == self.base {
            return;
        }
        let verifier = world.committed.verifier();
        let holders = verifier.voters().filter(|server| {
            let node = &world.nodes[server.0 as usize - 1];
            node.disk.holds(last)
        });
        let holders: Vec<ServerId> = holders.collect();
        assert!(
            verifier.contains_quorum(&holders.iter().copied().collect()),
            "I6: {holders:?} hold {last}, which was committed, of {}",
            world.committed.members()
        );
    }
}
