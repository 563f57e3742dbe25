//! What servers say is done: on their disks, their connections and in the walks through their trees.

use super::disk::{Disk, DiskOp};
use super::draws::Stream;
use super::ensemble::{Ensemble, Event};
use super::moments::{Happened, Written};
use super::network::Port;
use super::node::Walk;
use zkserver::ids::{ServerId, Zxid};
use zkserver::quorum::configs::Config;
use zkserver::quorum::verifier::AckSet;
use zkserver::replica::{Input, Output, PeerEvent};
use zkserver::storage::snapshot_stream;
use zkserver::zab::LinkId;

impl Ensemble {
    pub(super) fn execute_one(&mut self, at: usize, output: Output) {
        let Some(server) = &mut self.nodes[at].server else {
            return;
        };
        match output {
            Output::AppendLog(entry) => {
                if self.is_compared {
                    self.history.logged(at, server.given, &entry);
                }
                server.given = entry.zxid;
                self.give(at, DiskOp::Append(entry));
            }
            Output::SaveEpochs { accepted, current } => self.give(at, DiskOp::Epochs(accepted, current)),
            Output::ConfigProposed(configs) => self.give(at, DiskOp::Configs(configs)),
            Output::ConfigCommitted(configs) => {
                self.check_config(at, configs.committed());
                self.give(at, DiskOp::Configs(configs));
            }
            Output::FenceLog => self.give(at, DiskOp::Fence),
            Output::TruncateLog { to } => {
                assert!(server.walks.is_empty(), "the tree is being walked");
                self.give(at, DiskOp::Truncate(to));
            }
            Output::InstallTree(tree) => {
                assert!(server.walks.is_empty(), "the tree is being walked");
                self.give(at, DiskOp::Install(tree));
            }
            Output::RollLog => self.give(at, DiskOp::Roll),
            Output::DropTree(tree) => drop(tree),
            Output::TakeSnapshot(head) => self.begin_walk(at, Walk::new(head, None)),
            Output::SendImage { link, head } => self.begin_walk(at, Walk::new(head, Some(link))),
            Output::ReserveImage(link) => self.reserve_image(link),
            Output::Notify { to, body } => self.notify(at, to.0 as usize - 1, body),
            Output::DialAll => {
                for to in (0..self.nodes.len()).filter(|to| *to != at) {
                    self.schedule(1, Event::Vote { from: at, to });
                }
            }
            Output::Listen { role } => server.listening = Some(role),
            Output::Connect { role, leader } => self.begin_dial(at, role, leader, Port::Quorum),
            Output::ListenForObservers { role } => server.listening_for_observers = Some(role),
            Output::ConnectToMaster { role, master } => {
                self.begin_dial(at, role, master, Port::ObserverMaster);
            }
            Output::Send(link, bytes) => self.transmit(at, link, bytes),
            Output::ReadLog {
                role,
                link,
                after,
                upto,
            } => self.read_log(at, role, link, (after, upto)),
            Output::ClosePeer { link, reason } => {
                self.note_reason(&reason);
                self.close_end(link);
            }
            Output::ResetPeers => self.reset_peers(at),
            Output::Serving(is_serving) => server.is_serving = is_serving,
            Output::Stopped => server.has_stopped = true,
        }
    }

    fn begin_dial(&mut self, node: usize, role: u64, to: ServerId, port: Port) {
        let life = self.nodes[node].life;
        if let Some(server) = &mut self.nodes[node].server {
            server.dialing = Some(role);
        }
        let delay = self.delay(Stream::Dial, node as u64);
        let to = to.0 as usize - 1;
        let event = Event::Dial {
            node,
            life,
            role,
            to,
            port,
        };
        self.schedule(delay.0, event);
    }

    /// Law: when a configuration comes into force, quorums of the one before it and of itself know of it,
    /// also after a crash. So there is one before each, and nobody goes on with an older one.
    fn check_config(&mut self, at: usize, config: &Config) {
        if config.version() <= self.committed.version() {
            return;
        }
        let version = config.version();
        let knows = |disk: &Disk| {
            disk.configs
                .as_ref()
                .is_some_and(|it| it.last_seen().version() >= version)
        };
        let who = self.nodes.iter().zip(1..).filter(|(node, _)| knows(&node.disk));
        let who: Vec<ServerId> = who.map(|(_, id)| ServerId(id)).collect();
        let acks: AckSet = who.iter().copied().collect();
        for verifier in [self.committed.verifier(), config.verifier()] {
            assert!(
                verifier.contains_quorum(&acks),
                "I26: server {at} takes {} for the members, after {}, but only {who:?} know of it",
                config.members(),
                self.committed.members()
            );
        }
        self.committed = config.clone();
        let is_first = version & 0xffff_ffff == 0;
        self.note(at, Happened::Reconfigured { is_first });
    }

    fn read_log(&mut self, at: usize, role: u64, link: LinkId, range: (Zxid, Zxid)) {
        let entries = self.nodes[at].disk.read(range.0, range.1);
        self.note(at, Happened::LogRead(entries.is_some()));
        let event = PeerEvent::LogRead { link, entries };
        self.tell(at, Input::Peer { role, event });
    }

    /// Counts why connections are closed, whatever the numbers in it are.
    fn note_reason(&mut self, reason: &str) {
        if self.moments.is_some() {
            let words = reason.split_whitespace();
            let kept = words.filter(|word| !word.chars().any(|c| c.is_ascii_digit()));
            let reason = kept.collect::<Vec<_>>().join(" ");
            *self.net.reasons.entry(reason).or_default() += 1;
        }
    }

    fn give(&mut self, at: usize, op: DiskOp) {
        let node = &mut self.nodes[at];
        node.disk.queue.push_back(op);
        let life = node.life;
        if node.disk.queue.len() == 1 {
            let delay = self.disk_delay(at);
            self.schedule(delay.0, Event::Disk(at, life));
        }
    }

    pub(super) fn disk(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        if node.disk.is_held || node.is_paused || node.server.is_none() {
            return;
        }
        let appends_max = match self.setup.is_random {
            true => 1 + self.draws.below(Stream::Batch, at as u64, 4) as usize,
            false => usize::MAX,
        };
        match node.disk.advance(appends_max) {
            Err(reason) => self.die(at, reason),
            Ok(None) => {}
            Ok(Some(input)) => {
                let life = node.life;
                let is_done = node.disk.queue.is_empty();
                self.note_written(at, &input);
                self.tell(at, input);
                if !is_done {
                    let delay = self.disk_delay(at);
                    self.schedule(delay.0, Event::Disk(at, life));
                }
            }
        }
    }

    fn note_written(&mut self, at: usize, input: &Input) {
        if let (Input::TreeReplaced(tree), Some(server)) = (input, &mut self.nodes[at].server) {
            server.given = tree.last_processed_zxid();
        }
        let written = match input {
            Input::LogDurable { .. } => Written::Log,
            Input::EpochsSaved { .. } => Written::Epochs,
            Input::LogFenced => Written::Fence,
            Input::TreeReplaced(_) if self.nodes[at].disk.log.is_empty() => Written::Image,
            Input::TreeReplaced(_) => Written::Cut,
            _ => return self.note(at, Happened::CouldNotTruncate),
        };
        self.note(at, Happened::Durable(written));
    }

    /// The disk goes on.
    pub fn release_disk(&mut self, at: usize) {
        self.nodes[at].disk.is_held = false;
        let life = self.nodes[at].life;
        self.schedule(0, Event::Disk(at, life));
    }

    fn begin_walk(&mut self, at: usize, walk: Walk) {
        let node = &mut self.nodes[at];
        let life = node.life;
        if let Some(server) = &mut node.server {
            assert!(server.walks.is_empty(), "one walk at a time");
            server.walks.push_back(walk);
            self.schedule(1, Event::Walk(at, life));
        }
    }

    /// Snapshots and images go on.
    pub fn release_walks(&mut self, at: usize) {
        self.nodes[at].are_walks_held = false;
        let life = self.nodes[at].life;
        self.schedule(0, Event::Walk(at, life));
    }

    pub(super) fn walk(&mut self, at: usize) {
        let (chunk_bytes, life) = (self.setup.chunk_bytes, self.nodes[at].life);
        let node = &mut self.nodes[at];
        let is_held = node.are_walks_held || node.is_paused;
        let Some(server) = node.server.as_mut().filter(|_| !is_held) else {
            return;
        };
        let Some(walk) = server.walks.front_mut() else {
            return;
        };
        let tree = server.shared.tree.read();
        let is_done = tree.snapshot_chunk(&mut walk.cursor, &mut walk.bytes, chunk_bytes);
        drop(tree);
        if !is_done {
            return self.schedule(1, Event::Walk(at, life));
        }
        let Some(mut walk) = server.walks.pop_front() else {
            return;
        };
        match walk.to {
            None => {
                if node.disk.files.is_none() {
                    snapshot_stream::encode_end(&mut walk.bytes);
                }
                // Without it the server goes on, and takes one later.
                let _ = node.disk.keep_snapshot(&walk.head, walk.bytes, walk.begin);
                self.note(at, Happened::SnapshotDone);
            }
            Some(link) => {
                snapshot_stream::encode_end(&mut walk.bytes);
                self.fill_image(link, walk.head.zxid, walk.bytes);
            }
        }
        self.tell(at, Input::SnapshotTaken);
    }
}
