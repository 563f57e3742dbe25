//! Elections among servers in memory: every message arrives, in order, unless a test says otherwise.

mod rules;
mod simulation;
mod transcripts;

use std::collections::{BTreeMap, VecDeque};

use super::*;

/// Servers, the messages under way between them, and one clock.
struct Ensemble {
    members: Members,
    servers: BTreeMap<i64, Election>,
    messages: VecDeque<(i64, i64, Bytes)>,
    now: Millis,
    transcript: Vec<String>,
}

impl Ensemble {
    fn new(members: Members) -> Ensemble {
        Ensemble {
            members,
            servers: BTreeMap::new(),
            messages: VecDeque::new(),
            now: Millis(0),
            transcript: Vec::new(),
        }
    }

    /// Servers 1 to `count`, all voting.
    fn of(count: i64) -> Ensemble {
        Ensemble::new(members_of(count, &[]))
    }

    /// A process starts. It reaches those that run, and learns that the others do not.
    fn boot(&mut self, id: i64, zxid: i64, peer_epoch: i64) {
        let config = ElectionConfig::new(ServerId(id), Configs::new(self.members.clone()));
        self.servers.insert(id, Election::new(config));
        for other in self.ids() {
            if self.servers.contains_key(&other) {
                self.input(other, Input::LinkUp(ServerId(id)));
            } else {
                self.input(id, Input::LinkDown(ServerId(other)));
            }
        }
        self.look(id, zxid, peer_epoch);
    }

    fn look(&mut self, id: i64, zxid: i64, peer_epoch: i64) {
        let zxid = Zxid(zxid);
        self.input(id, Input::Start { zxid, peer_epoch });
    }

    /// The process ends, and its connections with it.
    fn kill(&mut self, id: i64) {
        self.servers.remove(&id);
        self.messages.retain(|(from, to, _)| *from != id && *to != id);
        for other in self.ids() {
            if self.servers.contains_key(&other) {
                self.input(other, Input::LinkDown(ServerId(id)));
            }
        }
    }

    fn ids(&self) -> Vec<i64> {
        self.members.servers.keys().map(|server| server.0).collect()
    }

    fn input(&mut self, id: i64, input: Input<'_>) {
        let mut out = Vec::new();
        let server = self.servers.get_mut(&id).expect("the server runs");
        server.step(self.now, input, &mut out);
        for output in out {
            match output {
                Output::Notify { to, body } => {
                    if self.servers.contains_key(&to.0) {
                        self.messages.push_back((id, to.0, body));
                    }
                }
                Output::Decided { state, vote } => {
                    let line = format!("{} {id}    {state:?} leader {}", self.now.0, vote.leader.0);
                    self.transcript.push(line);
                }
                Output::DialAll => {}
                Output::VoterLooking(voter) => {
                    let line = format!("{} {id}    leads, {} looks", self.now.0, voter.0);
                    self.transcript.push(line);
                }
                Output::Outvoted(voter) => {
                    let line = format!("{} {id}    is outvoted, {} looks", self.now.0, voter.0);
                    self.transcript.push(line);
                }
                Output::AddressDiffers { from, theirs, .. } => {
                    let line = format!("{} {id}    {} is at {theirs}", self.now.0, from.0);
                    self.transcript.push(line);
                }
                Output::MembersDiffer { from, theirs } => {
                    let line = format!("{} {id}    {} knows {theirs}", self.now.0, from.0);
                    self.transcript.push(line);
                }
                Output::NewerConfig(config) | Output::ProposedConfig(config) => {
                    let line = format!("{} {id}    adopts {}", self.now.0, config.members());
                    self.transcript.push(line);
                }
            }
        }
    }

    /// Delivers what is under way, and what that leads to.
    fn deliver_all(&mut self) {
        while let Some((from, to, body)) = self.messages.pop_front() {
            let n = Notification::decode(&body).unwrap();
            self.transcript.push(format!(
                "{} {from}->{to} {:?} {} zxid {} round {} epoch {}",
                self.now.0, n.state, n.leader.0, n.zxid, n.election_epoch, n.peer_epoch
            ));
            let from = ServerId(from);
            self.input(to, Input::Received { from, body: &body });
        }
    }

    /// Lets the time pass.
    fn advance(&mut self, ms: u64) {
        let end = self.now + Millis(ms);
        loop {
            self.deliver_all();
            let due = |(id, server): (&i64, &Election)| server.next_deadline().map(|at| (at, *id));
            match self.servers.iter().filter_map(due).min() {
                Some((at, id)) if at <= end => {
                    self.now = self.now.max(at);
                    self.input(id, Input::Tick);
                }
                _ => break,
            }
        }
        self.now = end;
    }

    /// State and leader of each running server.
    fn roles(&self) -> Vec<(i64, PeerState, i64)> {
        let role = |(id, server): (&i64, &Election)| (*id, server.state(), server.vote().leader.0);
        self.servers.iter().map(role).collect()
    }

    fn state(&self, id: i64) -> PeerState {
        self.servers[&id].state()
    }

    fn take_transcript(&mut self) -> String {
        let mut text = std::mem::take(&mut self.transcript).join("\n");
        text.push('\n');
        text
    }
}

fn members_of(count: i64, observers: &[i64]) -> Members {
    let line = |id: i64| {
        let role = if observers.contains(&id) { ":observer" } else { "" };
        format!("server.{id}=127.0.0.1:{}:{}{role}\n", 2000 + id, 3000 + id)
    };
    Members::parse(&(1..=count).map(line).collect::<String>()).unwrap()
}
