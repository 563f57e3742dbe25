//! Rare situations, counted: what no run ever comes across is not tested.

use std::collections::BTreeMap;

use super::plan::Act;
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

    pub fn at_the_end(&mut self, _world: &Ensemble) {}

    pub fn add(&mut self, other: &Marks) {
        for (name, count) in &other.counts {
            *self.counts.entry(name.clone()).or_default() += count;
        }
    }
}
