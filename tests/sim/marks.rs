//! Rare situations, counted: what no run ever comes across is not tested.

use std::collections::BTreeMap;

use zkserver::proto::jute::Reader;
use zkserver::proto::opcode::OpCode;
use zkserver::proto::txn;
use zkserver::zab::LogEntry;

use super::plan::{Act, Tier};
use super::users::Got;
use super::world::ensemble::Ensemble;
use super::world::moments::{Happened, Moment};

#[derive(Default)]
pub struct Marks {
    pub counts: BTreeMap<String, u64>,
}

impl Marks {
    pub fn hit(&mut self, name: impl Into<String>) {
        *self.counts.entry(name.into()).or_default() += 1;
    }

    pub fn on_moment(&mut self, _world: &Ensemble, moment: Moment) {
        match moment.what {
            Happened::Sent(..) => {}
            Happened::Arrived(kind, _) => self.hit(format!("{kind:?} arrived")),
            other => self.hit(format!("{other:?}")),
        }
    }

    pub fn on_act(&mut self, act: &Act) {
        let name = format!("{act:?}");
        let end = name.find(|c: char| !c.is_alphanumeric()).unwrap_or(name.len());
        self.hit(format!("act {}", &name[..end]));
    }

    pub fn at_the_end(&mut self, world: &Ensemble) {
        for (reason, count) in &world.net.reasons {
            *self.counts.entry(format!("closed: {reason}")).or_default() += count;
        }
        let is_removal = |entry: &&LogEntry| {
            let header = txn::decode_header(&mut Reader::new(&entry.encoded));
            header.is_ok_and(|header| header.code == OpCode::DeleteContainer.code())
        };
        for _ in world.history.entries.iter().filter(is_removal) {
            self.hit("a container or TTL node is removed");
        }
        if world.history.base.counter() > 0 && world.history.epochs_count() > 0 {
            self.hit("an epoch near its last zxid");
        }
    }

    /// What a client was told.
    pub fn on_got(&mut self, got: &Got, is_current: bool) {
        match got {
            Got::Connected { .. } => self.hit("connected"),
            Got::Refused => self.hit("a session is refused"),
            Got::Event { kind, .. } => self.hit(format!("event {kind}")),
            Got::Reply { error, .. } => self.hit(format!("answer {error}")),
        }
        if !is_current {
            self.hit("something comes on a connection that was left");
        }
    }

    /// What has to be come across in a long run of this tier, and was not.
    pub fn missing(&self, tier: Tier) -> Vec<&'static str> {
        let wanted = include_str!("marks.txt").lines().filter_map(|line| {
            let (tiers, name) = line.split_once(' ')?;
            let is_meant = match tier {
                Tier::Protocol => tiers.contains('P'),
                Tier::Full => tiers.contains('F'),
            };
            is_meant.then_some(name)
        });
        wanted.filter(|name| !self.counts.contains_key(*name)).collect()
    }

    pub fn add(&mut self, other: &Marks) {
        for (name, count) in &other.counts {
            *self.counts.entry(name.clone()).or_default() += count;
        }
    }
}
