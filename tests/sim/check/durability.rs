//! I6: what was committed is on the disks of a quorum when it is first shown, and whatever happens to a log
//! later, a quorum goes on holding it.

use zkserver::ids::Zxid;

use crate::world::ensemble::Ensemble;
use crate::world::moments::{Happened, Moment, Written};

pub struct Durability {
    base: Zxid,
    voters: usize,
}

impl Durability {
    pub fn new(base: Zxid, voters: usize) -> Durability {
        Durability { base, voters }
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
        let holders = world.nodes[..self.voters]
            .iter()
            .filter(|node| node.disk.holds(last));
        let count = holders.count();
        assert!(
            count > self.voters / 2,
            "I6: {count} of {} hold {last}, which was committed",
            self.voters
        );
    }
}
