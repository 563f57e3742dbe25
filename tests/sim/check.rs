//! What has to hold, whatever happens: a file for each property, named as in the list of invariants. A broken
//! one ends the run with its number.

mod acked_writes;
mod durability;
mod ephemerals;
mod expiry;
mod once;
mod recovery;
mod shown_states;
mod timeliness;
mod write_order;

use zkserver::clock::Millis;
use zkserver::ids::Zxid;
use zkserver::proto::txn;

use super::model::{Checker, Opened, Options};
use super::plan::Tier;
use super::users::{Got, Wire};
use super::world::configs::SUPER_DIGEST;
use super::world::ensemble::Ensemble;
use super::world::history::History;
use super::world::moments::{Happened, Moment};

pub struct Laws {
    tier: Tier,
    /// So many entries of the history were looked at.
    known: usize,
    once: once::Once,
    states: shown_states::ShownStates,
    durability: durability::Durability,
    timeliness: timeliness::Timeliness,
    expiry: expiry::Expiry,
    now: Millis,
    /// What clients see and what is committed, compared with a model of the service: I5, I8 to I11, I13 to
    /// I17, I22 and I25. Of the full tier.
    model: Option<Checker>,
    events: u64,
    refused: Vec<String>,
}

impl Laws {
    pub fn new(tier: Tier, base: Zxid) -> Laws {
        Laws {
            tier,
            known: 0,
            once: once::Once::default(),
            states: shown_states::ShownStates::default(),
            durability: durability::Durability::new(base),
            timeliness: timeliness::Timeliness::default(),
            expiry: expiry::Expiry::default(),
            now: Millis(0),
            model: (tier == Tier::Full).then(|| {
                Checker::new(Options {
                    quorum_sync: true,
                    extended_types: true,
                    super_digest: Some(SUPER_DIGEST.to_owned()),
                    ..Options::default()
                })
            }),
            events: 0,
            refused: Vec::new(),
        }
    }

    /// A client connects to a server.
    pub fn on_opened(&mut self, conn: usize, server: usize, frame: &[u8]) {
        self.events += 1;
        if let Some(model) = &mut self.model {
            let opened = Opened {
                server: server as u64,
                address: "127.0.0.1",
                at: self.events,
                frame,
            };
            model.opened(conn as u64, opened);
        }
    }

    /// A client sends a request.
    pub fn on_sent(&mut self, conn: usize, frame: &[u8]) {
        self.events += 1;
        if let Some(model) = &mut self.model {
            model.request(conn as u64, self.events, frame);
        }
    }

    /// A client receives a frame.
    pub fn on_received(&mut self, history: &History, conn: usize, frame: &[u8]) {
        self.grow(history);
        self.events += 1;
        if let Some(model) = &mut self.model {
            model.received(conn as u64, self.events, frame);
        }
        self.judge();
    }

    /// Ends the run if the model disagrees.
    fn judge(&self) {
        let violations = self.model.iter().flat_map(|model| model.violations());
        if let Some(first) = violations.into_iter().next() {
            panic!("{}: {}", first.invariant, first.text);
        }
    }

    /// A client has received something.
    pub fn on_got(&mut self, history: &History, wire: &Wire, got: &Got) {
        single_image(wire, got);
        if let Got::Reply {
            xid,
            zxid,
            error,
            body,
            sent: Some(sent),
        } = got
        {
            assert!(
                *zxid <= history.last().0,
                "I23: {xid} shows {zxid:#x}, which nobody has committed"
            );
            acked_writes::check(history, wire.session, *xid, *zxid, *error, sent);
            write_order::check(*xid, *zxid, sent);
            if self.tier == Tier::Protocol {
                self.states.check(*zxid, *error, body, sent);
            }
        }
    }

    pub fn on_moment(&mut self, world: &Ensemble, moment: Moment) {
        self.now = world.now.mono;
        self.durability.on_moment(world, moment);
        if moment.what == Happened::Leads
            && let Some(server) = &world.nodes[moment.node].server
        {
            let epoch = server.shared.role.lock().epoch;
            self.expiry.began(epoch, self.now);
        }
    }

    pub fn on_step(&mut self, world: &Ensemble) {
        self.now = world.now.mono;
        self.grow(&world.history);
        self.timeliness.check(world);
    }

    pub fn on_refused(&mut self, at: usize, reason: &str) {
        // What is there may not be readable, but it is never found wanting.
        if !reason.contains("os error 5") {
            self.refused.push(format!("server {at}: {reason}"));
        }
    }

    pub fn at_the_end(&mut self, world: &Ensemble) {
        self.grow(&world.history);
        if let Some(model) = &mut self.model {
            model.finish();
        }
        self.judge();
        let tree = recovery::check(world);
        ephemerals::check(&tree);
        assert!(self.refused.is_empty(), "I20: {:?}", self.refused);
    }

    /// Looks at what was committed since the last time.
    fn grow(&mut self, history: &History) {
        for entry in &history.entries[self.known..] {
            let logged = txn::decode(&entry.encoded).expect("a good transaction");
            self.once.on_committed(&logged);
            self.expiry.on_committed(&logged, self.now);
            if let Some(model) = &mut self.model {
                model.entry(&entry.encoded);
            }
            if self.tier == Tier::Protocol {
                self.states.on_committed(&logged);
            }
        }
        self.known = history.entries.len();
    }
}

/// I10: the zxids that a session sees never go back, over all its connections.
fn single_image(wire: &Wire, got: &Got) {
    if let Got::Reply { zxid, .. } | Got::Event { zxid, .. } = got
        && *zxid > 0
    {
        assert!(
            *zxid >= wire.last_zxid,
            "I10: {zxid:#x} is shown after {:#x}",
            wire.last_zxid
        );
    }
}
