//! The election port and the quorum port: connections that keep their order, break, or fall silent.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::disk;
use super::draws::Stream;
use super::ensemble::{Ensemble, Event};
use super::moments::Happened;
use zkserver::clock::Millis;
use zkserver::ids::{ServerId, Zxid};
use zkserver::proto::quorum::{PacketType, QuorumPacket};
use zkserver::replica::{Input, PeerEvent};
use zkserver::zab::LinkId;

#[derive(Default)]
pub struct Network {
    links: BTreeMap<u64, Link>,
    links_count: u64,
    /// Pairs that have no connections on these ports, smaller first.
    cut: BTreeSet<(Port, (usize, usize))>,
    /// From whom to whom nothing gets through, and nobody is told.
    silent: BTreeSet<(usize, usize)>,
    /// Pairs with an election connection, smaller first.
    voting: BTreeSet<(usize, usize)>,
    /// The newest message from one to another, and whether it waits.
    newest: BTreeMap<(usize, usize), (Bytes, bool)>,
    /// Packets that have arrived, by their kinds.
    pub seen: BTreeMap<PacketType, usize>,
    /// Commits and answers to syncs in the order in which they have arrived, and where.
    pub answers: Vec<(usize, PacketType)>,
    /// Why connections were closed, without numbers.
    pub reasons: BTreeMap<String, u64>,
    /// Messages that have arrived on the election port.
    pub votes_count: usize,
    /// Changes packets on their way.
    pub tamper: Option<fn(&mut QuorumPacket)>,
}

/// A connection on the quorum port or that of an observer master: the learner's end and the other. Each end
/// has a number of its own.
struct Link {
    ends: [End; 2],
}

struct End {
    node: usize,
    life: u64,
    role: u64,
    is_open: bool,
    /// What is under way to this end, and when it is there.
    queue: VecDeque<(Millis, Message)>,
}

enum Message {
    Packets(Bytes),
    /// An image that was announced, and the image as soon as it is complete.
    Image(Option<(Zxid, Vec<u8>)>),
    Closed,
}

/// One of the ports between servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Port {
    Quorum,
    Election,
    /// It is cut with the quorum port.
    ObserverMaster,
}

fn pair(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

fn parts(id: LinkId) -> (u64, usize) {
    (id.0 / 2, (id.0 % 2) as usize)
}

fn packets(mut bytes: &[u8]) -> Vec<QuorumPacket> {
    let mut packets = Vec::new();
    while !bytes.is_empty() {
        let (packet, used) = QuorumPacket::decode(bytes, 8 << 20)
            .expect("a good packet")
            .expect("a whole packet");
        packets.push(packet);
        bytes = &bytes[used..];
    }
    packets
}

impl Network {
    fn is_silent(&self, from: usize, to: usize) -> bool {
        self.silent.contains(&(from, to))
    }
}

impl Ensemble {
    /// Connections between the two break, and none can be made.
    pub fn cut(&mut self, a: usize, b: usize) {
        self.cut_port(a, b, Port::Quorum);
        self.cut_port(a, b, Port::Election);
    }

    /// The same for one port alone.
    pub fn cut_port(&mut self, a: usize, b: usize, port: Port) {
        self.net.cut.insert((port, pair(a, b)));
        self.reset(a, b, port);
    }

    /// Connections between the two break.
    pub fn reset(&mut self, a: usize, b: usize, port: Port) {
        let is_meant = |x, y| pair(x, y) == pair(a, b);
        match port {
            Port::Quorum | Port::ObserverMaster => self.disconnect_links(is_meant, false),
            Port::Election => self.disconnect_votes(is_meant),
        }
    }

    /// The server is cut off from all others.
    pub fn cut_off(&mut self, at: usize) {
        for other in (0..self.nodes.len()).filter(|other| *other != at) {
            self.cut(at, other);
        }
    }

    /// What is sent from now on, and what is under way, does not get through.
    pub fn silence(&mut self, from: usize, to: usize) {
        self.net.silent.insert((from, to));
    }

    /// Everything gets through again, also what was held up.
    pub fn mend(&mut self) {
        self.net.cut.clear();
        let silent = std::mem::take(&mut self.net.silent);
        for (from, to) in silent {
            self.schedule(0, Event::Vote { from, to });
        }
        let links: Vec<u64> = self.net.links.keys().copied().collect();
        for link in links {
            self.schedule(0, Event::Quorum { link, end: 0 });
            self.schedule(0, Event::Quorum { link, end: 1 });
        }
    }

    /// What the process had is gone. Others get what it has sent, or lose it as well.
    pub(super) fn disconnect_all(&mut self, at: usize, is_orderly: bool) {
        let is_meant = |x, y| x == at || y == at;
        self.disconnect_links(is_meant, is_orderly);
        self.disconnect_votes(is_meant);
        self.net.newest.retain(|(from, _), _| *from != at);
    }

    fn disconnect_links(&mut self, is_meant: impl Fn(usize, usize) -> bool, is_orderly: bool) {
        let links: Vec<u64> = self.net.links.keys().copied().collect();
        for link in links {
            let ends = &self.net.links[&link].ends;
            if is_meant(ends[0].node, ends[1].node) {
                for end in [0, 1] {
                    self.end_link(link, end, is_orderly);
                }
            }
        }
    }

    fn disconnect_votes(&mut self, is_meant: impl Fn(usize, usize) -> bool) {
        let voting: Vec<(usize, usize)> = self.net.voting.iter().copied().collect();
        for (a, b) in voting.into_iter().filter(|(a, b)| is_meant(*a, *b)) {
            self.net.voting.remove(&(a, b));
            for (from, to) in [(a, b), (b, a)] {
                self.tell(to, Input::ElectionLinkDown(ServerId(from as i64 + 1)));
            }
        }
    }

    /// The other end closes: this one hears of it behind what was sent, if that still comes.
    fn end_link(&mut self, link: u64, end: usize, is_orderly: bool) {
        let delay = self.delay(Stream::Link, link);
        let due = self.now.mono + delay;
        let Some(Link { ends }) = self.net.links.get_mut(&link) else {
            return;
        };
        if !is_orderly {
            ends[end].queue.clear();
        }
        let due = ends[end].queue.back().map_or(due, |(at, _)| due.max(*at));
        ends[end].queue.push_back((due, Message::Closed));
        self.schedule_at(due, Event::Quorum { link, end });
    }

    /// Something is sent over a connection.
    pub(super) fn transmit(&mut self, at: usize, from: LinkId, bytes: Bytes) {
        for packet in packets(&bytes) {
            if packet.kind == PacketType::Ack {
                self.nodes[at].disk.check_ack(packet.zxid);
            }
            self.note(at, Happened::Sent(packet.kind, packet.zxid));
        }
        self.queue(from, Message::Packets(bytes));
    }

    pub(super) fn reserve_image(&mut self, from: LinkId) {
        self.queue(from, Message::Image(None));
    }

    fn queue(&mut self, from: LinkId, message: Message) {
        let (link, end) = parts(from);
        let delay = self.delay(Stream::Link, link);
        let due = self.now.mono + delay;
        let Some(Link { ends }) = self.net.links.get_mut(&link) else {
            return;
        };
        if !ends[end].is_open {
            return;
        }
        let queue = &mut ends[1 - end].queue;
        let due = queue.back().map_or(due, |(at, _)| due.max(*at));
        queue.push_back((due, message));
        self.schedule_at(due, Event::Quorum { link, end: 1 - end });
    }

    /// The image that was announced is complete.
    pub(super) fn fill_image(&mut self, from: LinkId, zxid: Zxid, bytes: Vec<u8>) {
        let (link, end) = parts(from);
        let Some(Link { ends }) = self.net.links.get_mut(&link) else {
            return;
        };
        let mut queue = ends[1 - end].queue.iter_mut();
        let reserved = queue.find_map(|(_, message)| match message {
            Message::Image(image) if image.is_none() => Some(image),
            _ => None,
        });
        if let Some(image) = reserved {
            *image = Some((zxid, bytes));
        }
        self.schedule(0, Event::Quorum { link, end: 1 - end });
    }

    /// A server closes its end.
    pub(super) fn close_end(&mut self, id: LinkId) {
        let (link, end) = parts(id);
        let Some(Link { ends }) = self.net.links.get_mut(&link) else {
            return;
        };
        if std::mem::replace(&mut ends[end].is_open, false) {
            ends[end].queue.clear();
            let is_orderly = self.loses_nothing(link);
            self.end_link(link, 1 - end, is_orderly);
        }
    }

    /// A server closes everything on the quorum port.
    pub(super) fn reset_peers(&mut self, at: usize) {
        let life = self.nodes[at].life;
        let mut own = Vec::new();
        for (link, Link { ends }) in &self.net.links {
            for end in [0, 1] {
                if ends[end].node == at && ends[end].life == life {
                    own.push(LinkId(link * 2 + end as u64));
                }
            }
        }
        own.into_iter().for_each(|id| self.close_end(id));
        if let Some(server) = &mut self.nodes[at].server {
            (server.listening, server.dialing) = (None, None);
            server.listening_for_observers = None;
        }
    }

    /// A learner's connection is made, or fails.
    pub(super) fn dial(&mut self, at: usize, role: u64, leader: usize, port: Port) {
        let is_wanted = |server: &super::node::Server| server.dialing == Some(role);
        if !self.nodes[at].server.as_ref().is_some_and(is_wanted) {
            return;
        }
        self.net.links_count += 1;
        let link = self.net.links_count;
        let is_cut = self.net.cut.contains(&(Port::Quorum, pair(at, leader)));
        let is_silent = self.net.is_silent(at, leader) || self.net.is_silent(leader, at);
        let listening = self.nodes[leader].server.as_ref().and_then(|it| match port {
            Port::ObserverMaster => it.listening_for_observers,
            Port::Quorum | Port::Election => it.listening,
        });
        let Some(leading) = listening.filter(|_| !is_cut && !is_silent && at != leader) else {
            let event = PeerEvent::LinkDown(LinkId(link * 2));
            return self.tell(at, Input::Peer { role, event });
        };
        let ends = [(at, role), (leader, leading)].map(|(node, role)| End {
            node,
            life: self.nodes[node].life,
            role,
            is_open: true,
            queue: VecDeque::new(),
        });
        self.net.links.insert(link, Link { ends });
        for (node, role, id) in [(at, role, link * 2), (leader, leading, link * 2 + 1)] {
            let event = PeerEvent::LinkUp(LinkId(id));
            self.tell(node, Input::Peer { role, event });
        }
    }

    /// What has arrived at one end of a connection is taken up.
    pub(super) fn arrive(&mut self, link: u64, end: usize) {
        let mut bytes = Vec::new();
        loop {
            let Some(Link { ends }) = self.net.links.get_mut(&link) else {
                return;
            };
            let silent = (ends[1 - end].node, ends[end].node);
            let is_there = |(due, message): &mut (Millis, Message)| {
                *due <= self.now.mono && !matches!(message, Message::Image(None))
            };
            let message = match self.net.silent.contains(&silent) {
                true => None,
                false => ends[end].queue.pop_front_if(is_there),
            };
            match message {
                Some((_, Message::Packets(more))) => bytes.extend_from_slice(&more),
                Some((_, Message::Image(image))) => {
                    self.deliver(link, end, &std::mem::take(&mut bytes));
                    let (zxid, image) = image.expect("it is there");
                    self.deliver_image(link, end, zxid, &image);
                }
                Some((_, Message::Closed)) => {
                    self.deliver(link, end, &std::mem::take(&mut bytes));
                    self.deliver_event(link, end, PeerEvent::LinkDown);
                    let Link { ends } = self.net.links.get_mut(&link).expect("it is there");
                    ends[end].is_open = false;
                    if !ends[1 - end].is_open {
                        self.net.links.remove(&link);
                        return;
                    }
                    // This end closes as well: what the other one sends goes nowhere.
                    self.end_link(link, 1 - end, true);
                }
                None => return self.deliver(link, end, &bytes),
            }
        }
    }

    fn deliver(&mut self, link: u64, end: usize, bytes: &[u8]) {
        let mut packets = packets(bytes);
        if let Some(tamper) = self.net.tamper {
            packets.iter_mut().for_each(tamper);
        }
        if packets.is_empty() {
            return;
        }
        let node = self.net.links[&link].ends[end].node;
        for packet in &packets {
            *self.net.seen.entry(packet.kind).or_default() += 1;
            self.note(node, Happened::Arrived(packet.kind, packet.zxid));
            if matches!(packet.kind, PacketType::Commit | PacketType::Sync) {
                self.net.answers.push((node, packet.kind));
            }
        }
        self.deliver_event(link, end, |id| PeerEvent::Packets(id, packets));
    }

    fn deliver_image(&mut self, link: u64, end: usize, zxid: Zxid, bytes: &[u8]) {
        let snap = QuorumPacket::new(PacketType::Snap, zxid, None);
        self.deliver(link, end, &snap.to_bytes());
        let tree = Box::new(disk::load(bytes, zxid));
        self.deliver_event(link, end, |link| PeerEvent::Image { link, tree });
        self.deliver_event(link, 1 - end, PeerEvent::ImageSent);
    }

    fn deliver_event(&mut self, link: u64, end: usize, event: impl FnOnce(LinkId) -> PeerEvent) {
        let Some(Link { ends }) = self.net.links.get(&link) else {
            return;
        };
        let End {
            node,
            life,
            role,
            is_open,
            ..
        } = ends[end];
        if is_open && self.nodes[node].life == life {
            let event = event(LinkId(link * 2 + end as u64));
            self.tell(node, Input::Peer { role, event });
        }
    }

    /// A message on the election port takes the place of one that still waits.
    pub(super) fn notify(&mut self, from: usize, to: usize, body: Bytes) {
        self.net.newest.insert((from, to), (body, true));
        let delay = self.delay(Stream::Vote, (from * 16 + to) as u64);
        self.schedule(delay.0, Event::Vote { from, to });
    }

    /// Makes the election connection if there is none, and delivers what waits to go over it.
    pub(super) fn vote(&mut self, from: usize, to: usize) {
        if !self.nodes[from].is_up() || self.net.is_silent(from, to) {
            return;
        }
        if !self.net.voting.contains(&pair(from, to)) {
            if self.net.is_silent(to, from) {
                return;
            }
            if !self.nodes[to].is_up() || self.net.cut.contains(&(Port::Election, pair(from, to))) {
                return self.tell(from, Input::ElectionLinkDown(ServerId(to as i64 + 1)));
            }
            self.net.voting.insert(pair(from, to));
            for (from, to) in [(from, to), (to, from)] {
                self.tell(to, Input::ElectionLinkUp(ServerId(from as i64 + 1)));
                if let Some((_, waits)) = self.net.newest.get_mut(&(from, to)) {
                    *waits = true;
                    self.schedule(0, Event::Vote { from, to });
                }
            }
        }
        if let Some((body, waits)) = self.net.newest.get_mut(&(from, to))
            && std::mem::replace(waits, false)
        {
            let (from, body) = (ServerId(from as i64 + 1), body.clone());
            self.net.votes_count += 1;
            self.tell(to, Input::Notification { from, body });
        }
    }
}
