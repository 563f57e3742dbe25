//! Fast leader election (FastLeaderElection): servers tell each other votes until a quorum agrees.
//!
//! A round goes as in the reference, with four differences that change nothing about who may win:
//!
//! * Who agrees with every voter that can be reached decides at once, and does not wait for better votes.
//! * Who was to lead gives up when those who elected it turn to a better one before they come to it.
//! * A worse vote of the same round is answered with the own one, not left to the next repetition.
//! * While it waits for better votes, a server takes notice of every message.
//!
//! Nothing here makes a leader: who is elected has to win an epoch from a quorum first (`zab`).

mod members;
mod tally;
mod timers;
mod vote;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::clock::Millis;
use crate::ids::{ServerId, Zxid};
use crate::proto::vote::{Notification, PeerState};
use crate::quorum::configs::{Config, Configs};
use crate::quorum::members::{Member, Members};
use members::text_of;
use tally::Tally;
use timers::Timers;
use vote::Ballot;

pub use vote::Vote;

/// Who takes part, and how long things may take.
#[derive(Clone, Debug)]
pub struct ElectionConfig {
    /// This server.
    pub me: ServerId,
    /// The ensemble, with at least one participant.
    pub configs: Configs,
    /// `reconfigEnabled`: a newer list of a member takes the place of the own one.
    pub reconfig_enabled: bool,
    /// This server follows without voting: once there is a leader, it observes.
    pub is_observer: bool,
    /// First pause before the own vote is told again (`fastleader.minNotificationInterval`).
    pub min_interval_ms: u64,
    /// Longest such pause (`fastleader.maxNotificationInterval`).
    pub max_interval_ms: u64,
    /// How long a better vote may take to arrive once a quorum agrees.
    pub finalize_wait_ms: u64,
}

/// What happens to an election.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// Look for a leader, with this history: the last durable zxid, and `currentEpoch`.
    Start {
        /// The last zxid that is on the own disk.
        zxid: Zxid,
        /// `currentEpoch`.
        peer_epoch: i64,
    },
    /// A notification arrived.
    Received {
        /// The server at the other end of the connection.
        from: ServerId,
        /// The bytes of the frame.
        body: &'a [u8],
    },
    /// There is a connection to this server.
    LinkUp(ServerId),
    /// The connection to this server ended, or could not be made.
    LinkDown(ServerId),
    /// `next_deadline` has come.
    Tick,
    /// The members are others now, or in other roles.
    Configured(&'a Configs),
    /// The role that the last decision led to is over; `Start` or `HandedOver` follows.
    RoleEnded,
    /// The former leader has named the next one: this vote stands as if a search had ended with it.
    HandedOver {
        /// The vote.
        vote: Vote,
    },
    /// The leader of the present vote has this epoch, and this server is in sync with it.
    EpochJoined {
        /// The new epoch.
        epoch: i64,
    },
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this to a server. Only the newest matters: it replaces one that is still waiting.
    Notify {
        /// To whom.
        to: ServerId,
        /// The body of the frame.
        body: Bytes,
    },
    /// Try to reach the servers that have no connection.
    DialAll,
    /// The search is over: this is the own state, and whom to lead with or to follow.
    Decided {
        /// Leading, following or observing.
        state: PeerState,
        /// The vote that won.
        vote: Vote,
    },
    /// A voter looks for a leader although this server leads.
    VoterLooking(ServerId),
    /// This server was to lead, but a voter that it was elected by has found a better one, and without it
    /// there is no quorum.
    Outvoted(ServerId),
    /// A member says that it is somewhere else than the own list has it. Said once for each different list.
    AddressDiffers {
        /// Who.
        from: ServerId,
        /// What it says of itself.
        theirs: Member,
        /// What is said of it here.
        ours: Member,
    },
    /// A member has a newer configuration in force than this server, which looks for a leader. It is to be
    /// taken over, and [`Input::Configured`] to be called.
    NewerConfig(Config),
    /// A voter has seen a configuration proposed that gives a vote to this server, or to the one that it
    /// votes for. It is to be taken for proposed here, too, and [`Input::Configured`] to be called.
    ProposedConfig(Config),
    /// A member has another idea of who the members are. Said once for each different list.
    MembersDiffer {
        /// Who.
        from: ServerId,
        /// Its list.
        theirs: Members,
    },
}

/// One server's part in elections.
#[derive(Debug)]
pub struct Election {
    config: ElectionConfig,
    members_text: String,
    proposed_text: Option<String>,
    state: PeerState,
    /// While looking: the present proposal. Else the vote that won. Its round is the logical clock.
    vote: Vote,
    search: Option<Search>,
    /// The votes by which this server was elected, while it leads, and better ones that came behind.
    electors: Tally,
    unreachable: BTreeSet<ServerId>,
    last_replies: BTreeMap<ServerId, (Millis, Bytes)>,
    /// The last list of each member that differs from the own.
    differing: BTreeMap<ServerId, String>,
}

#[derive(Debug)]
struct Search {
    /// Where the own history ends: the last durable zxid, and `currentEpoch`.
    history: (Zxid, i64),
    /// The vote with which this server entered, for itself if it may lead.
    init: Vote,
    /// Votes of this round.
    received: Tally,
    /// Votes of servers that have a leader, of any round.
    settled: Tally,
    timers: Timers,
}

impl Search {
    /// Whether this server has no vote this time.
    fn is_voteless(&self) -> bool {
        self.init.zxid == NO_HISTORY
    }
}

impl ElectionConfig {
    /// With the reference's times.
    pub fn new(me: ServerId, configs: Configs) -> ElectionConfig {
        ElectionConfig {
            me,
            is_observer: configs.is_observer(me),
            configs,
            reconfig_enabled: false,
            min_interval_ms: 200,
            max_interval_ms: 60_000,
            finalize_wait_ms: 200,
        }
    }
}

impl Election {
    /// Does nothing before `Input::Start`.
    pub fn new(config: ElectionConfig) -> Election {
        Election {
            members_text: text_of(config.configs.committed()),
            proposed_text: config.configs.proposed().map(text_of),
            state: PeerState::Looking,
            vote: Vote {
                leader: config.me,
                zxid: Zxid::ZERO,
                election_epoch: 0,
                peer_epoch: 0,
            },
            search: None,
            electors: Tally::default(),
            unreachable: BTreeSet::new(),
            last_replies: BTreeMap::new(),
            differing: BTreeMap::new(),
            config,
        }
    }

    /// What this server does in its ensemble.
    pub fn state(&self) -> PeerState {
        self.state
    }

    /// While looking the present proposal, else the vote that won.
    pub fn vote(&self) -> Vote {
        self.vote
    }

    /// When to call with `Input::Tick`.
    pub fn next_deadline(&self) -> Option<Millis> {
        self.search.as_ref().map(|search| search.timers.next())
    }

    /// One thing happened; what is to be done for it is appended to `out`.
    pub fn step(&mut self, now: Millis, input: Input<'_>, out: &mut Vec<Output>) {
        match input {
            Input::Start { zxid, peer_epoch } => self.start(now, zxid, peer_epoch, out),
            Input::Received { from, body } => {
                // What cannot be read is dropped: its sender repeats itself, and nobody else suffers.
                if let Ok(notification) = Notification::decode(body) {
                    self.on_notification(now, from, &notification, out);
                }
            }
            Input::LinkUp(server) => {
                self.unreachable.remove(&server);
            }
            Input::LinkDown(server) => self.on_link_down(now, server, out),
            Input::Tick => self.on_tick(now, out),
            Input::Configured(configs) => self.on_configured(now, configs, out),
            Input::RoleEnded => self.state = PeerState::Looking,
            Input::HandedOver { vote } => self.decide(vote, out),
            Input::EpochJoined { epoch } => {
                if self.search.is_none() {
                    self.vote.peer_epoch = epoch;
                    if self.state == PeerState::Observing && !self.config.is_observer {
                        // It has the leader's history now, and counts among its followers.
                        self.state = PeerState::Following;
                    }
                }
            }
        }
    }

    fn start(&mut self, now: Millis, zxid: Zxid, peer_epoch: i64, out: &mut Vec<Output>) {
        let me = self.config.me;
        let is_voter = self.config.configs.is_voter(me);
        // Who has no vote must not look better than anyone who has one.
        let init = Vote {
            leader: if is_voter { me } else { ServerId(i64::MIN) },
            zxid: if self.config.is_observer {
                Zxid(i64::MIN)
            } else {
                zxid
            },
            election_epoch: self.vote.election_epoch + 1,
            peer_epoch: if self.config.is_observer {
                i64::MIN
            } else {
                peer_epoch
            },
        };
        self.state = PeerState::Looking;
        self.search = Some(Search {
            history: (zxid, peer_epoch),
            init,
            received: Tally::default(),
            settled: Tally::default(),
            timers: Timers::new(now, &self.config),
        });
        self.propose(init, init.election_epoch, out);
        self.settle(now, out);
    }

    /// Makes this the own vote of the round, and tells everyone.
    fn propose(&mut self, vote: Vote, round: i64, out: &mut Vec<Output>) {
        self.vote = Vote {
            election_epoch: round,
            ..vote
        };
        let ballot = Ballot::looking(self.vote);
        if let Some(search) = &mut self.search {
            search.timers.cancel_finalize();
            search.received.insert(self.config.me, ballot);
        }
        self.tell_all(out);
    }

    fn on_notification(
        &mut self,
        now: Millis,
        from: ServerId,
        notification: &Notification,
        out: &mut Vec<Output>,
    ) {
        if self.search.is_none() && self.state == PeerState::Looking {
            return;
        }
        self.unreachable.remove(&from);
        if self.compare_members(from, notification, out) {
            return;
        }
        if !self.config.configs.is_voter(from) {
            return self.reply(now, from, out);
        }
        if self.search.is_none() {
            if notification.state == PeerState::Looking {
                self.on_second_thoughts(from, Vote::of(notification), out);
                if self.state == PeerState::Leading && notification.zxid != NO_HISTORY {
                    out.push(Output::VoterLooking(from));
                }
                out.push(self.notify(from));
            }
            return;
        }
        if let Some(config) = self.unseen_config(notification) {
            return out.push(Output::ProposedConfig(config));
        }
        let round = notification.election_epoch;
        match notification.state {
            PeerState::Looking if round < self.vote.election_epoch => out.push(self.notify(from)),
            _ if !self.config.configs.is_voter(notification.leader) || round > ROUND_MAX => {}
            PeerState::Looking => self.on_looking(now, from, Vote::of(notification), out),
            PeerState::Following | PeerState::Leading => self.on_settled(now, from, notification, out),
            PeerState::Observing => {}
        }
    }

    /// A vote of this round or a later one.
    fn on_looking(&mut self, now: Millis, from: ServerId, theirs: Vote, out: &mut Vec<Output>) {
        let Some(search) = &mut self.search else { return };
        if search.is_voteless() {
            // There may be a leader to ask for soon.
            return search.timers.hasten(now, &self.config);
        }
        if theirs.zxid == NO_HISTORY {
            return;
        }
        if theirs.election_epoch > self.vote.election_epoch {
            search.received.clear();
            let is_better = theirs.beats(&search.init, &self.config.configs);
            let proposal = if is_better { theirs } else { search.init };
            self.propose(proposal, theirs.election_epoch, out);
        } else if theirs.beats(&self.vote, &self.config.configs) {
            self.propose(theirs, theirs.election_epoch, out);
        } else if self.vote.beats(&theirs, &self.config.configs) {
            self.reply(now, from, out);
        }
        if let Some(search) = &mut self.search {
            search.received.insert(from, Ballot::looking(theirs));
        }
        self.settle(now, out);
    }

    /// A voter looks on though this server has decided. Who decides at once may not have heard of the best
    /// server; then those that had voted for this one go to that, and nobody will come here.
    fn on_second_thoughts(&mut self, from: ServerId, theirs: Vote, out: &mut Vec<Output>) {
        let is_late = theirs.election_epoch == self.vote.election_epoch
            && theirs.zxid != NO_HISTORY
            && theirs.beats(&self.vote, &self.config.configs);
        if self.state != PeerState::Leading || !is_late {
            return;
        }
        let own = Ballot::looking(self.vote);
        let configs = &self.config.configs;
        let had_quorum = self.electors.has_quorum(configs, &own);
        self.electors.insert(from, Ballot::looking(theirs));
        if had_quorum && !self.electors.has_quorum(configs, &own) {
            out.push(Output::Outvoted(from));
        }
    }

    /// A vote of a server that has a leader.
    fn on_settled(
        &mut self,
        now: Millis,
        from: ServerId,
        notification: &Notification,
        out: &mut Vec<Output>,
    ) {
        let Some(search) = &mut self.search else { return };
        let vote = Vote::of(notification);
        let ballot = Ballot {
            vote,
            state: notification.state,
            version: notification.version,
        };
        let is_this_round = vote.election_epoch == self.vote.election_epoch;
        if is_this_round {
            // Within a round the leader alone identifies the election: its epoch may have changed meanwhile.
            search.received.insert(from, Ballot { version: 0, ..ballot });
        }
        search.settled.insert(from, ballot);
        let (me, is_voteless) = (self.config.me, search.is_voteless());
        let is_elected = |tally: &Tally| {
            let leads = if vote.leader == me {
                is_this_round && !is_voteless
            } else {
                tally.is_leading(vote.leader)
            };
            leads && tally.has_followers(&self.config.configs, &ballot)
        };
        if (is_this_round && is_elected(&search.received)) || is_elected(&search.settled) {
            self.decide(vote, out);
        } else {
            self.settle(now, out);
        }
    }

    /// The server can no longer change its mind, and what it said may be about a life that has ended.
    fn on_link_down(&mut self, now: Millis, server: ServerId, out: &mut Vec<Output>) {
        if server == self.config.me {
            return;
        }
        self.unreachable.insert(server);
        if let Some(search) = &mut self.search {
            search.received.remove(server);
            search.settled.remove(server);
            self.settle(now, out);
        }
    }

    fn on_tick(&mut self, now: Millis, out: &mut Vec<Output>) {
        let Some(search) = &mut self.search else { return };
        if search.timers.is_final(now) {
            return self.decide(self.vote, out);
        }
        if search.timers.dial(now) {
            out.push(Output::DialAll);
        }
        if search.timers.resend(now, &self.config) {
            self.tell_all(out);
        }
    }

    /// Ends the search if everybody who could object agrees; else gives them a moment once a quorum agrees.
    fn settle(&mut self, now: Millis, out: &mut Vec<Output>) {
        let Some(search) = &mut self.search else { return };
        let ballot = Ballot::looking(self.vote);
        if search.is_voteless() {
            return;
        }
        if !search.received.has_quorum(&self.config.configs, &ballot) {
            return search.timers.cancel_finalize();
        }
        let agrees = |server: ServerId| search.received.has_voted(server, &ballot);
        let mut voters = self.config.configs.voters().into_iter();
        let is_unanimous = voters.all(|server| agrees(server) || self.unreachable.contains(&server));
        if is_unanimous && !self.unreachable.contains(&self.vote.leader) {
            self.decide(self.vote, out);
        } else {
            search.timers.arm_finalize(now, &self.config);
        }
    }

    fn decide(&mut self, vote: Vote, out: &mut Vec<Output>) {
        let is_voteless = self.search.as_ref().is_some_and(Search::is_voteless);
        self.state = if vote.leader == self.config.me {
            PeerState::Leading
        } else if self.config.is_observer || is_voteless {
            PeerState::Observing
        } else {
            PeerState::Following
        };
        self.vote = vote;
        self.electors = self
            .search
            .take()
            .map(|search| search.received)
            .unwrap_or_default();
        out.push(Output::Decided {
            state: self.state,
            vote,
        });
    }

    fn tell_all(&self, out: &mut Vec<Output>) {
        let body = self.notification().encode();
        let voters = self.config.configs.voters().into_iter();
        let others = voters.filter(|server| *server != self.config.me);
        out.extend(others.map(|to| Output::Notify {
            to,
            body: body.clone(),
        }));
    }

    /// Answers, unless the same answer went to the same server a moment ago: two servers that each think they
    /// have to answer the other's message would otherwise never stop.
    fn reply(&mut self, now: Millis, to: ServerId, out: &mut Vec<Output>) {
        self.last_replies
            .retain(|_, (at, _)| now - *at < Millis(REPLY_PAUSE_MS));
        let body = self.notification().encode();
        let is_new = self.last_replies.get(&to).is_none_or(|(_, last)| *last != body);
        if is_new {
            self.last_replies.insert(to, (now, body.clone()));
            out.push(Output::Notify { to, body });
        }
    }

    fn notify(&self, to: ServerId) -> Output {
        Output::Notify {
            to,
            body: self.notification().encode(),
        }
    }

    fn notification(&self) -> Notification {
        Notification {
            state: self.state,
            leader: self.vote.leader,
            zxid: self.vote.zxid,
            election_epoch: self.vote.election_epoch,
            peer_epoch: self.vote.peer_epoch,
            version: 2,
            config: Some(self.members_text.clone()),
            proposed: self.proposed_text.clone(),
        }
    }
}

/// The zxid of a server that may have lost what it has acknowledged: nobody counts its vote, Apache's servers
/// neither, and it counts none, but joins a leader that others follow (ZOOKEEPER-261).
pub const NO_HISTORY: Zxid = Zxid(-1);
/// Pause before the same answer goes to the same server again.
const REPLY_PAUSE_MS: u64 = 10;
/// Rounds beyond this are lies: counting up to it takes longer than servers live.
const ROUND_MAX: i64 = 1 << 48;

#[cfg(test)]
mod tests;
