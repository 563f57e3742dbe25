//! The connections of the quorum port: those of learners while this server leads, else the one to its leader
//! (LearnerCnxAcceptor, LearnerHandler, Learner).
//!
//! Invariant: a link ends once, by itself or by the caller, whoever takes it out of [`Links`]. Nothing of an
//! ended role begins any more; an event that crosses the end carries the number by which the caller knows it.

mod greet;
mod link;
mod links;
mod receive;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{Receiver, UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use self::link::Peer;
use self::links::{Item, Links, Role};
use super::peer_election::socket::connect_any;
use crate::ids::{ServerId, Zxid};
use crate::proto::quorum::QuorumPacket;
use crate::quorum::members::{MemberAddress, Members};
use crate::tree::DataTree;
use crate::zab::LinkId;

/// Who this server is, where it listens, and how long and large things may be.
#[derive(Clone, Debug)]
pub struct PeerQuorumConfig {
    /// This server.
    pub me: ServerId,
    /// All members: a leader is dialled at all its addresses.
    pub members: Members,
    /// Host and port of each listening socket. An empty host is every interface, port 0 any free port.
    pub listen: Vec<(String, u16)>,
    /// How long an attempt to connect may take, names included.
    pub connect_timeout: Duration,
    /// How long a learner may take from connecting to the end of its first packet.
    pub hello_timeout: Duration,
    /// How long a peer may take no byte of what waits for it, or send no byte of an image.
    pub stall_timeout: Duration,
    /// The longest field of a packet.
    pub packet_bytes_max: usize,
    /// The longest field of a record of an image.
    pub record_bytes_max: usize,
    /// For the tree that an image becomes.
    pub hash_seed: u64,
}

/// What the links bring.
#[derive(Debug)]
pub enum QuorumEvent {
    /// There is a link. A learner's first packet is there, too, and comes next.
    LinkUp(LinkId),
    /// All whole packets that one read brought, in order.
    Packets(LinkId, Vec<QuorumPacket>),
    /// What followed a SNAP packet is complete.
    Image {
        /// The link to the leader.
        link: LinkId,
        /// The zxid of the packet.
        zxid: Zxid,
        /// What the leader's tree was then.
        tree: Box<DataTree>,
    },
    /// The last byte of an image was handed to the system.
    ImageSent(LinkId),
    /// The link ended, or the one to the leader could not be made.
    LinkDown(LinkId),
}

/// The own end of all links. Its methods may be called on any thread and do not wait. The links end when the
/// last copy is dropped.
#[derive(Clone)]
pub struct PeerQuorum {
    commands: UnboundedSender<Command>,
    driver: Arc<Driver>,
}

impl PeerQuorum {
    /// Accepts learners until the role ends.
    pub fn listen(&self, role: u64) {
        let role = self.driver.links.begin(role);
        let _ = self.commands.send(Command::Listen(role));
    }

    /// Connects to the leader, once. The answer is `LinkUp` or `LinkDown`.
    pub fn connect(&self, role: u64, leader: ServerId) {
        let role = self.driver.links.begin(role);
        let _ = self.commands.send(Command::Connect(role, leader));
    }

    /// Queues whole packets. What goes to a link that has ended is dropped.
    pub fn send(&self, link: LinkId, bytes: Bytes) {
        self.driver.links.push(link, Item::Packets(bytes));
    }

    /// Queues an image; what is sent later goes behind it. It is complete when the sender is dropped after an
    /// empty chunk; one that ends otherwise is broken, and so is the link then.
    pub fn send_image(&self, link: LinkId, chunks: Receiver<Bytes>) {
        self.driver.links.push(link, Item::Image(chunks));
    }

    /// Ends a link. What waits for the peer has a moment to leave.
    pub fn close(&self, link: LinkId, reason: String) {
        if let Some(peer) = self.driver.links.close(link) {
            tracing::info!("closing the quorum connection {peer}: {reason}");
        }
    }

    /// Ends the role: no more listening, connecting, links. What waits for the peers has a moment to leave.
    pub fn reset(&self) {
        self.driver.links.close_all();
        let _ = self.commands.send(Command::Reset);
    }

    /// Waits until all that is being closed is gone.
    pub async fn drained(&self) {
        self.driver.links.drained().await;
    }

    /// Where it listens; nowhere between roles.
    pub fn local_addrs(&self) -> watch::Receiver<Vec<SocketAddr>> {
        self.driver.local_addrs.subscribe()
    }
}

/// Prepares the links; none is made before the first call. Runs on the runtime that it is called on, and so
/// does `deliver`, which must not block. Its number is that of the role to which the event belongs.
pub fn start(
    config: PeerQuorumConfig,
    deliver: impl Fn(u64, QuorumEvent) + Send + Sync + 'static,
) -> PeerQuorum {
    start_with(config, FAREWELL, Box::new(deliver))
}

fn start_with(config: PeerQuorumConfig, farewell: Duration, deliver: Deliver) -> PeerQuorum {
    let (commands, queue) = unbounded_channel();
    let driver = Arc::new(Driver {
        config,
        farewell,
        links: Links::default(),
        deliver,
        local_addrs: watch::Sender::default(),
    });
    tokio::spawn(Arc::clone(&driver).run(queue));
    PeerQuorum { commands, driver }
}

type Deliver = Box<dyn Fn(u64, QuorumEvent) + Send + Sync>;

enum Command {
    Listen(Role),
    Connect(Role, ServerId),
    Reset,
}

/// What all tasks use.
struct Driver {
    config: PeerQuorumConfig,
    /// What waits for a peer has so long to leave when its link is closed.
    farewell: Duration,
    links: Links,
    deliver: Deliver,
    local_addrs: watch::Sender<Vec<SocketAddr>>,
}

impl Driver {
    async fn run(self: Arc<Driver>, mut queue: UnboundedReceiver<Command>) {
        let mut tasks = JoinSet::new();
        loop {
            let command = tokio::select! {
                command = queue.recv() => command,
                Some(_) = tasks.join_next() => continue,
            };
            match command {
                Some(Command::Listen(role)) => {
                    for (host, port) in self.config.listen.clone() {
                        tasks.spawn(greet::listen(Arc::clone(&self), role, host, port));
                    }
                }
                Some(Command::Connect(role, leader)) => {
                    tasks.spawn(Arc::clone(&self).connect(role, leader));
                }
                Some(Command::Reset) => {
                    // The next role needs the port: it must be free before the next command.
                    tasks.shutdown().await;
                    self.local_addrs.send_replace(Vec::new());
                    self.links.reset_done();
                }
                None => {
                    self.links.close_all();
                    return self.links.reset_done();
                }
            }
        }
    }

    async fn connect(self: Arc<Driver>, role: Role, leader: ServerId) {
        match timeout(self.config.connect_timeout, self.dial(leader)).await {
            Ok(Ok((address, stream))) => {
                let peer = Peer::Leader(leader, address);
                link::begin(&self, role, peer, stream, BytesMut::new());
            }
            Ok(Err(error)) => self.not_connected(role, leader, &error),
            Err(_) => self.not_connected(role, leader, &io::ErrorKind::TimedOut.into()),
        }
    }

    async fn dial(&self, leader: ServerId) -> io::Result<(SocketAddr, TcpStream)> {
        let addresses = self.addresses(leader).iter();
        let targets = addresses.map(|address| (address.host.clone(), address.quorum_port));
        let stream = connect_any(targets).await?;
        Ok((stream.peer_addr()?, stream))
    }

    fn not_connected(&self, role: Role, leader: ServerId, error: &io::Error) {
        let Some(link) = self.links.unused_id(role) else {
            return;
        };
        let addresses = self.addresses(leader).iter();
        let names: Vec<String> = addresses.map(MemberAddress::quorum_text).collect();
        tracing::warn!(
            "cannot reach server {}, the leader, at [{}]: {error}",
            leader.0,
            names.join(", ")
        );
        (self.deliver)(role.number, QuorumEvent::LinkDown(link));
    }

    /// None of a server that is not a member.
    fn addresses(&self, server: ServerId) -> &[MemberAddress] {
        let member = self.config.members.servers.get(&server);
        member.map_or(&[], |member| &member.addresses)
    }
}

const FAREWELL: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests;
