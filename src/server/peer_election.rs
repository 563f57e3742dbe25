//! The connections of the election port (QuorumCnxManager): one to each peer, over which the newest message
//! for that peer goes.
//!
//! Invariant: between two servers the connection that stays is one dialled by the larger id. The smaller one
//! dials only to say that it wants to be dialled. Whoever connects is believed to be who it says, but a
//! member is dialled only at the addresses of the own configuration.

mod link;
mod membership;
pub(super) mod socket;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Semaphore, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use super::clock::Clock;
use super::listen::peer_listener;
use crate::clock::Millis;
use crate::ids::ServerId;
use crate::proto::vote::Handshake;
use crate::quorum::members::{MemberAddress, Members};
use membership::handshake;

/// Who this server is, where it listens, and how long things may take.
#[derive(Clone, Debug)]
pub struct PeerElectionConfig {
    /// This server.
    pub me: ServerId,
    /// All members at first.
    pub members: Members,
    /// Whether servers that are not members are let in: they may want to become some.
    pub admits_strangers: bool,
    /// Host and port of each listening socket. An empty host is every interface, port 0 any free port.
    pub listen: Vec<(String, u16)>,
    /// `zookeeper.cnxTimeout`: how long connecting may take, names included.
    pub connect_timeout: Duration,
    /// How long a peer may take to say who it is (`quorumCnxnTimeoutMs`, else tickTime x syncLimit).
    pub handshake_timeout: Duration,
    /// `zookeeper.electionPortBindRetry`: attempts to listen, a second apart; 0 for no end.
    pub bind_attempts: u32,
}

/// What the connections bring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerEvent {
    /// A message.
    Received {
        /// From this member.
        from: ServerId,
        /// The body of the frame.
        body: Bytes,
    },
    /// There is a connection to this member.
    LinkUp(ServerId),
    /// The connection ended, or an attempt to connect failed.
    LinkDown(ServerId),
}

/// The own end of all connections. They end when it is dropped.
#[derive(Debug)]
pub struct PeerElection {
    events: UnboundedSender<Event>,
    local_addrs: Vec<SocketAddr>,
    _tasks: JoinSet<()>,
}

impl PeerElection {
    /// Replaces what still waits to go to this member, and dials it if there is no connection. The newest
    /// message is sent again over every new connection. May be called on any thread.
    pub fn send(&self, to: ServerId, body: Bytes) {
        let _ = self.events.send(Event::Send { to, body });
    }

    /// Dials every member to which there is no connection.
    pub fn dial_all(&self) {
        let _ = self.events.send(Event::DialAll);
    }

    /// The members are others now, or somewhere else.
    pub fn use_addresses(&self, addresses: BTreeMap<ServerId, Vec<MemberAddress>>) {
        let _ = self.events.send(Event::Members(addresses));
    }

    /// Where it listens.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.local_addrs
    }
}

/// Listens, and connects when there is something to send. Runs on the runtime that it is called on, and so
/// does `deliver`, which must not block.
pub async fn start(
    config: PeerElectionConfig,
    deliver: impl Fn(PeerEvent) + Send + Sync + 'static,
) -> anyhow::Result<PeerElection> {
    let mut listeners = Vec::new();
    for (host, port) in &config.listen {
        listeners.push(listen(host, *port, config.bind_attempts).await?);
    }
    Ok(start_with(config, listeners, Arc::new(deliver))?)
}

fn start_with(
    config: PeerElectionConfig,
    listeners: Vec<TcpListener>,
    deliver: Deliver,
) -> io::Result<PeerElection> {
    let mut tasks = JoinSet::new();
    let (events, queue) = unbounded_channel();
    let mut local_addrs = Vec::new();
    let greetings = Arc::new(Semaphore::new(GREETINGS_MAX));
    for listener in listeners {
        local_addrs.push(listener.local_addr()?);
        let (greetings, events) = (Arc::clone(&greetings), events.clone());
        tasks.spawn(accept(listener, config.handshake_timeout, greetings, events));
    }
    tasks.spawn(Mesh::new(Arc::new(config), deliver, events.clone()).run(queue));
    Ok(PeerElection {
        events,
        local_addrs,
        _tasks: tasks,
    })
}

#[derive(Debug)]
enum Event {
    Send {
        to: ServerId,
        body: Bytes,
    },
    DialAll,
    Members(BTreeMap<ServerId, Vec<MemberAddress>>),
    /// Somebody connected and said who it is.
    Greeted {
        from: ServerId,
        /// Where it says that it is.
        claimed: Vec<String>,
        address: SocketAddr,
        stream: TcpStream,
        unread: BytesMut,
    },
    /// An attempt to connect is over. Without a stream the peer was only asked to dial.
    Dialled {
        to: ServerId,
        outcome: io::Result<Option<TcpStream>>,
    },
    Ended {
        with: ServerId,
        link: u64,
        reason: io::Error,
    },
}

type Deliver = Arc<dyn Fn(PeerEvent) + Send + Sync>;

/// Decides over all connections. It alone makes and ends them.
struct Mesh {
    config: Arc<PeerElectionConfig>,
    handshake: Bytes,
    deliver: Deliver,
    events: UnboundedSender<Event>,
    peers: BTreeMap<ServerId, Peer>,
    tasks: JoinSet<()>,
    clock: Clock,
    links_count: u64,
}

struct Peer {
    /// Where it is: as the configuration says, or else as it does itself.
    addresses: Vec<MemberAddress>,
    is_member: bool,
    /// The newest message, sent or not.
    outgoing: watch::Sender<Option<Bytes>>,
    link: Option<Link>,
    is_dialling: bool,
    /// When it was last asked to dial.
    asked_at: Option<Millis>,
    /// The last attempt failed, and a line in the log said so.
    is_failing: bool,
}

struct Link {
    id: u64,
    since: Millis,
    task: AbortHandle,
}

impl Mesh {
    fn new(config: Arc<PeerElectionConfig>, deliver: Deliver, events: UnboundedSender<Event>) -> Mesh {
        let me = config.me;
        let own = config.members.servers.get(&me);
        let own_addresses = own.map_or(&[][..], |member| &member.addresses);
        let others = config.members.servers.iter().filter(|(server, _)| **server != me);
        let peers = others.map(|(server, member)| (*server, Peer::member(member.addresses.clone())));
        Mesh {
            handshake: handshake(me, own_addresses),
            deliver,
            events,
            peers: peers.collect(),
            tasks: JoinSet::new(),
            clock: Clock::start(),
            links_count: 0,
            config,
        }
    }

    async fn run(mut self, mut queue: UnboundedReceiver<Event>) {
        loop {
            tokio::select! {
                event = queue.recv() => match event {
                    Some(event) => self.on_event(event),
                    None => return,
                },
                Some(_) = self.tasks.join_next() => {}
            }
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Send { to, body } => {
                if let Some(peer) = self.peers.get(&to) {
                    peer.outgoing.send_replace(Some(body));
                    self.dial(to);
                }
            }
            Event::DialAll => {
                let members = self.peers.iter().filter(|(_, peer)| peer.is_member);
                let servers: Vec<ServerId> = members.map(|(server, _)| *server).collect();
                servers.into_iter().for_each(|server| self.dial(server));
            }
            Event::Members(addresses) => self.on_members(addresses),
            Event::Greeted {
                from,
                claimed,
                address,
                stream,
                unread,
            } => {
                self.admit(from, &claimed);
                self.on_greeted(from, address, stream, unread);
            }
            Event::Dialled { to, outcome } => self.on_dialled(to, outcome),
            Event::Ended { with, link, reason } => self.on_ended(with, link, &reason),
        }
    }

    fn on_greeted(&mut self, from: ServerId, address: SocketAddr, stream: TcpStream, unread: BytesMut) {
        let me = self.config.me;
        if from == me {
            tracing::warn!(
                "a server at {address} has the id {} of this server: one of the two has a wrong file myid",
                me.0
            );
            return;
        }
        let now = self.clock.now().mono;
        let Some(peer) = self.peers.get_mut(&from) else {
            let members = self.peers.iter().filter(|(_, peer)| peer.is_member);
            let others: Vec<String> = members.map(|(server, _)| server.0.to_string()).collect();
            tracing::warn!(
                "closing a connection on the election port from {address}: it says that it is server {}, \
                 but the other servers of this configuration are {}",
                from.0,
                others.join(", ")
            );
            return;
        };
        if from > me {
            return self.link(from, stream, unread);
        }
        // It wants to be dialled, mostly because it has lost the connection that this end still holds. One
        // that was just made is kept: the wish may have crossed it.
        if let Some(link) = &peer.link {
            if now - link.since < LINK_AGE_MIN {
                return;
            }
            link.task.abort();
            peer.link = None;
        }
        self.dial(from);
    }

    fn on_dialled(&mut self, to: ServerId, outcome: io::Result<Option<TcpStream>>) {
        let now = self.clock.now().mono;
        let Some(peer) = self.peers.get_mut(&to) else {
            return;
        };
        peer.is_dialling = false;
        match outcome {
            Ok(Some(stream)) => self.link(to, stream, BytesMut::new()),
            Ok(None) => peer.asked_at = Some(now),
            Err(error) if peer.link.is_none() => {
                if !peer.is_failing {
                    let addresses: Vec<String> =
                        peer.addresses.iter().map(MemberAddress::election_text).collect();
                    let addresses = addresses.join(", ");
                    tracing::warn!(
                        "cannot reach server {} at {addresses}: {error}; it is tried again",
                        to.0
                    );
                }
                peer.is_failing = true;
                let is_member = peer.is_member;
                (self.deliver)(PeerEvent::LinkDown(to));
                if !is_member {
                    self.peers.remove(&to);
                }
            }
            Err(_) => {}
        }
    }

    fn on_ended(&mut self, with: ServerId, link: u64, reason: &io::Error) {
        let Some(peer) = self.peers.get_mut(&with) else {
            return;
        };
        if peer.link.as_ref().is_some_and(|present| present.id == link) {
            peer.link = None;
            let is_member = peer.is_member;
            tracing::info!("the election connection to server {} ended: {reason}", with.0);
            (self.deliver)(PeerEvent::LinkDown(with));
            if !is_member {
                self.peers.remove(&with);
            }
        }
    }

    /// Dials, unless there is a connection or will be one in a moment.
    fn dial(&mut self, to: ServerId) {
        let now = self.clock.now().mono;
        let Some(peer) = self.peers.get_mut(&to) else {
            return;
        };
        let was_asked = peer.asked_at.is_some_and(|at| now - at < ASK_PAUSE);
        if peer.link.is_some() || peer.is_dialling || was_asked {
            return;
        }
        peer.is_dialling = true;
        let addresses = peer.addresses.clone();
        let (config, handshake, events) = (
            Arc::clone(&self.config),
            self.handshake.clone(),
            self.events.clone(),
        );
        self.tasks.spawn(async move {
            let dialling = link::dial(addresses, &handshake, to < config.me);
            let outcome = timeout(config.connect_timeout, dialling).await;
            let outcome = outcome.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            let _ = events.send(Event::Dialled { to, outcome });
        });
    }

    /// This is the connection with that peer from now on.
    fn link(&mut self, with: ServerId, stream: TcpStream, unread: BytesMut) {
        let Some(peer) = self.peers.get_mut(&with) else {
            return;
        };
        if let Some(old) = peer.link.take() {
            old.task.abort();
        }
        let id = self.links_count;
        self.links_count += 1;
        let mut outgoing = peer.outgoing.subscribe();
        outgoing.mark_changed();
        let (deliver, events) = (Arc::clone(&self.deliver), self.events.clone());
        (self.deliver)(PeerEvent::LinkUp(with));
        let task = self.tasks.spawn(async move {
            if let Err(reason) = link::serve(stream, unread, with, outgoing, &deliver).await {
                let link = id;
                let _ = events.send(Event::Ended { with, link, reason });
            }
        });
        let since = self.clock.now().mono;
        peer.link = Some(Link { id, since, task });
        peer.asked_at = None;
        peer.is_failing = false;
        tracing::info!("election connection to server {}", with.0);
    }
}

impl Peer {
    fn member(addresses: Vec<MemberAddress>) -> Peer {
        Peer {
            is_member: true,
            ..Peer::stranger(addresses)
        }
    }

    fn stranger(addresses: Vec<MemberAddress>) -> Peer {
        Peer {
            addresses,
            is_member: false,
            outgoing: watch::Sender::new(None),
            link: None,
            is_dialling: false,
            asked_at: None,
            is_failing: false,
        }
    }
}

async fn listen(host: &str, port: u16, attempts: u32) -> anyhow::Result<TcpListener> {
    let mut attempt = 1;
    loop {
        let error = match peer_listener(host, port).await {
            Ok(listener) => return Ok(listener),
            Err(error) => error,
        };
        // A name that is not known yet, as that of a new container, is waited for as long as it takes.
        let is_unknown = !host.is_empty() && lookup_host((host, port)).await.is_err();
        let host = if host.is_empty() { "every interface" } else { host };
        if attempt == attempts && !is_unknown {
            return Err(error).with_context(|| {
                format!(
                    "cannot listen on {host}, election port {port}: another server may use it already, or \
                     the server.N line of this server does not name this machine \
                     (quorumListenOnAllIPs=true listens on every interface)"
                )
            });
        }
        tracing::warn!("cannot listen on {host}, election port {port}: {error}; trying again");
        attempt = attempt.saturating_add(u32::from(!is_unknown));
        tokio::time::sleep(BIND_PAUSE).await;
    }
}

/// Lets each connection say who it is, at its own pace.
async fn accept(
    listener: TcpListener,
    patience: Duration,
    greetings: Arc<Semaphore>,
    events: UnboundedSender<Event>,
) {
    loop {
        let (mut stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection on the election port");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&greetings).try_acquire_owned() else {
            tracing::warn!("closing a connection on the election port from {address}: too many are silent");
            continue;
        };
        let events = events.clone();
        tokio::spawn(async move {
            let _permit = permit;
            let greeting = timeout(patience, greet(&mut stream)).await;
            match greeting.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok((handshake, unread)) => {
                    let _ = events.send(Event::Greeted {
                        from: handshake.server,
                        claimed: handshake.addresses,
                        address,
                        stream,
                        unread,
                    });
                }
                Err(error) => tracing::warn!(
                    "closing a connection on the election port from {address}, which is no server: {error}"
                ),
            }
        });
    }
}

/// Reads who is there, and what came behind that.
async fn greet(stream: &mut TcpStream) -> io::Result<(Handshake, BytesMut)> {
    let mut unread = BytesMut::new();
    loop {
        let handshake =
            Handshake::decode(&unread).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        if let Some((handshake, used)) = handshake {
            unread.advance(used);
            return Ok((handshake, unread));
        }
        if stream.read_buf(&mut unread).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Connections that may be open without having said who they are.
const GREETINGS_MAX: usize = 1000;
/// A peer that was asked to dial has this long before it is asked again.
const ASK_PAUSE: Millis = Millis(500);
/// A connection younger than this is not given up because the peer asks for one.
const LINK_AGE_MIN: Millis = Millis(500);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const BIND_PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
