//! What goes wrong, and comes right again.

use super::disk::Power;
use super::draws::Stream;
use super::ensemble::{Ensemble, Event};
use super::moments::Happened;
use super::node::Clock;
use zkserver::ids::ServerId;
use zkserver::quorum::configs::Config;
use zkserver::quorum::verifier::AckSet;
use zkserver::replica::Input;

impl Ensemble {
    /// The process dies; of what was under way to its disk, the first `done` things are done.
    pub fn crash_after(&mut self, at: usize, done: usize) {
        self.crash_with(at, done, Power::default());
    }

    /// The same, and the machine may end with it.
    pub fn crash_with(&mut self, at: usize, done: usize, power: Power) {
        let is_orderly = self.setup.is_random && self.draws.below(Stream::Crash, at as u64, 2) == 0;
        self.end(at, done, power, is_orderly);
    }

    /// The process dies, and what was not on disk is lost.
    pub fn crash(&mut self, at: usize) {
        self.crash_after(at, 0);
    }

    /// Its disk has failed, so the process ends itself.
    pub(super) fn die(&mut self, at: usize, reason: String) {
        self.nodes[at].died_of = Some(reason);
        self.nodes[at].disk.fail();
        self.end_process(at, true);
        self.note(at, Happened::Died);
    }

    pub(super) fn end(&mut self, at: usize, done: usize, power: Power, is_orderly: bool) {
        if self.nodes[at].is_up() {
            self.nodes[at].disk.crash(done, power);
            self.end_process(at, is_orderly);
        }
    }

    fn end_process(&mut self, at: usize, is_orderly: bool) {
        let node = &mut self.nodes[at];
        node.server = None;
        node.disk.is_held = false;
        node.is_paused = false;
        for attached in self.clients.iter_mut().filter(|attached| attached.node == at) {
            attached.client.is_closed = true;
        }
        self.disconnect_all(at, is_orderly);
    }

    /// The process is asked to end.
    pub fn stop(&mut self, at: usize) {
        if let Some(server) = &mut self.nodes[at].server {
            server.inbox.push_back(Input::Stop);
        }
    }

    /// The process stands still, and does not know it.
    pub fn pause(&mut self, at: usize) {
        self.nodes[at].is_paused = self.nodes[at].is_up();
    }

    /// The process goes on.
    pub fn resume(&mut self, at: usize) {
        if !std::mem::replace(&mut self.nodes[at].is_paused, false) {
            return;
        }
        let life = self.nodes[at].life;
        self.schedule(0, Event::Disk(at, life));
        self.schedule(0, Event::Walk(at, life));
        for client in 0..self.clients.len() {
            if self.clients[client].node == at && !self.clients[client].client.is_closed {
                self.schedule(0, Event::Wake(client));
            }
        }
    }

    /// A machine's clocks go differently from the next start of its process on.
    pub fn set_clock(&mut self, at: usize, clock: Clock) {
        if !self.nodes[at].is_up() {
            self.nodes[at].clock = clock;
        }
    }

    /// The wall clock is set, while the process runs.
    pub fn set_wall(&mut self, at: usize, offset_ms: i64) {
        self.nodes[at].clock.wall_offset_ms = offset_ms;
    }

    /// So many calls from now on, the disk fails once.
    pub fn fail_disk(&mut self, at: usize, calls: u64) {
        if let Some(files) = &mut self.nodes[at].disk.files {
            files.fail_in(calls);
        }
    }

    /// What is on the disk of a server that is down goes bad. One at a time, and only if the others are
    /// enough: what one server holds no more, a quorum of them has.
    pub fn damage(&mut self, at: usize) {
        let is_only = self.nodes.iter().all(|node| !node.disk.is_damaged);
        if self.nodes[at].is_up() || !is_only || !self.is_dispensable(at) {
            return;
        }
        let node = &mut self.nodes[at];
        let mut chance = self.draws.next(Stream::Choice, at as u64);
        match &mut node.disk.files {
            None => node.disk.is_damaged = true,
            Some(files) => {
                files.repair();
                if let Some(what) = files.damage(&mut chance) {
                    node.disk.is_damaged = true;
                    self.trace
                        .say(self.now.mono.0, format_args!("damage at {at}: {what}"));
                }
            }
        }
    }

    /// Whether nobody can lead without a damaged server, which is for an operator: its vote is needed by a
    /// configuration that came after the damage, from a leader that had not missed it yet.
    pub fn is_for_an_operator(&self) -> bool {
        let mut damaged = (0..self.nodes.len()).filter(|at| self.nodes[*at].disk.is_damaged);
        damaged.any(|at| !self.is_dispensable(at))
    }

    /// Whether the others are a quorum of every configuration that may count: the one in force, and what some
    /// server knows or is about to know as proposed to follow it. One that has been followed counts until the
    /// disk of one of the others says so: what was in force in memory alone is forgotten with the process.
    fn is_dispensable(&self, at: usize) -> bool {
        let others = (0..self.nodes.len()).filter(|other| *other != at);
        let disks = others.clone().map(|other| &self.nodes[other].disk);
        let told = disks
            .filter(|disk| !disk.is_damaged)
            .filter_map(|disk| Some(disk.configs.as_ref()?.committed().version()));
        let in_force = told.max().unwrap_or(0);
        let others: AckSet = others.map(|other| ServerId(other as i64 + 1)).collect();
        let is_enough =
            |config: &Config| config.version() < in_force || config.verifier().contains_quorum(&others);
        let mut known = self.nodes.iter().flat_map(|node| node.disk.all_configs());
        is_enough(&self.committed) && known.all(|configs| configs.all().all(is_enough))
    }

    /// Nothing goes wrong from now on with what has not gone wrong yet.
    pub fn heal(&mut self) {
        self.mend();
        for at in 0..self.nodes.len() {
            self.resume(at);
            self.release_disk(at);
            self.release_walks(at);
            if let Some(files) = &mut self.nodes[at].disk.files {
                files.repair();
            }
        }
    }
}
