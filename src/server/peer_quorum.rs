//! The connections of the quorum port: those of learners while this server leads, else the one to its leader
//! (LearnerCnxAcceptor, LearnerHandler, Learner); and those of `observerMasterPort`, between a follower and
//! observers (ObserverMaster).
//!
//! Invariant: a link ends once, by itself or by the caller, whoever takes it out of [`Links`]. Nothing of an
//! ended role begins any more; an event that crosses the end carries the number by which the caller knows it.

mod greet;
mod link;
mod links;
mod receive;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
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
    /// All members at first: a leader is dialled at all its addresses.
    pub members: Members,
    /// Host and port of each listening socket. An empty host is every interface, port 0 any free port.
    pub listen: Vec<(String, u16)>,
    /// The same for observers while this server follows.
    pub listen_for_observers: Vec<(String, u16)>,
    /// `observerMasterPort` of every voter.
    pub observer_master_port: Option<u16>,
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
        let _ = self.commands.send(Command::Listen(role, Port::Quorum));
    }

    /// Accepts observers until the role ends.
    pub fn listen_for_observers(&self, role: u64) {
        let role = self.driver.links.begin(role);
        let _ = self.commands.send(Command::Listen(role, Port::ObserverMaster));
    }

    /// Connects to the leader, once. The answer is `LinkUp` or `LinkDown`.
    pub fn connect(&self, role: u64, leader: ServerId) {
        let role = self.driver.links.begin(role);
        let _ = self.commands.send(Command::Connect(role, leader, Port::Quorum));
    }

    /// Connects to an observer master, once. The answer is `LinkUp` or `LinkDown`.
    pub fn connect_to_master(&self, role: u64, master: ServerId) {
        let role = self.driver.links.begin(role);
        let _ = self
            .commands
            .send(Command::Connect(role, master, Port::ObserverMaster));
    }

    /// The members are others now, or somewhere else.
    pub fn use_addresses(&self, addresses: Addresses) {
        *self.driver.addresses.lock() = addresses;
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
    let servers = config.members.servers.iter();
    let addresses = servers.map(|(server, member)| (*server, member.addresses.clone()));
    let driver = Arc::new(Driver {
        addresses: Mutex::new(addresses.collect()),
        config,
        farewell,
        links: Links::default(),
        deliver,
        local_addrs: watch::Sender::default(),
    });
    tokio::spawn(Arc::clone(&driver).run(queue));
    PeerQuorum { commands, driver }
}

type Addresses = BTreeMap<ServerId, Vec<MemberAddress>>;
type Deliver = Box<dyn Fn(u64, QuorumEvent) + Send + Sync>;

enum Command {
    Listen(Role, Port),
    Connect(Role, ServerId, Port),
    Reset,
}

/// Where learners connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Port {
    /// Of a leader.
    Quorum,
    /// Of a follower.
    ObserverMaster,
}

/// What all tasks use.
struct Driver {
    config: PeerQuorumConfig,
    addresses: Mutex<Addresses>,
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
                Some(Command::Listen(role, port)) => {
                    let listen = match port {
                        Port::Quorum => &self.config.listen,
                        Port::ObserverMaster => &self.config.listen_for_observers,
                    };
                    for (host, number) in listen.clone() {
                        tasks.spawn(greet::listen(Arc::clone(&self), role, port, host, number));
                    }
                }
                Some(Command::Connect(role, server, port)) => {
                    tasks.spawn(Arc::clone(&self).connect(role, server, port));
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

    async fn connect(self: Arc<Driver>, role: Role, server: ServerId, port: Port) {
        match timeout(self.config.connect_timeout, self.dial(server, port)).await {
            Ok(Ok((address, stream))) => {
                let peer = match port {
                    Port::Quorum => Peer::Leader(server, address),
                    Port::ObserverMaster => Peer::Master(server, address),
                };
                link::begin(&self, role, peer, stream, BytesMut::new());
            }
            Ok(Err(error)) => self.not_connected(role, server, port, &error),
            Err(_) => self.not_connected(role, server, port, &io::ErrorKind::TimedOut.into()),
        }
    }

    async fn dial(&self, server: ServerId, port: Port) -> io::Result<(SocketAddr, TcpStream)> {
        let stream = connect_any(self.targets(server, port)).await?;
        Ok((stream.peer_addr()?, stream))
    }

    fn not_connected(&self, role: Role, server: ServerId, port: Port, error: &io::Error) {
        let Some(link) = self.links.unused_id(role) else {
            return;
        };
        let names: Vec<String> = self
            .addresses(server)
            .iter()
            .map(|address| address.at_port(self.number(address, port)))
            .collect();
        tracing::warn!(
            "cannot reach server {}, {}, at [{}]: {error}",
            server.0,
            match port {
                Port::Quorum => "the leader",
                Port::ObserverMaster => "an observer master",
            },
            names.join(", ")
        );
        (self.deliver)(role.number, QuorumEvent::LinkDown(link));
    }

    /// Host and port of each address of a server.
    fn targets(&self, server: ServerId, port: Port) -> impl Iterator<Item = (String, u16)> {
        let addresses = self.addresses(server).into_iter();
        addresses.map(move |address| {
            let number = self.number(&address, port);
            (address.host, number)
        })
    }

    fn number(&self, address: &MemberAddress, port: Port) -> u16 {
        match port {
            Port::Quorum => address.quorum_port,
            Port::ObserverMaster => self.config.observer_master_port.unwrap_or_default(),
        }
    }

    /// None of a server that is not a member.
    fn addresses(&self, server: ServerId) -> Vec<MemberAddress> {
        self.addresses.lock().get(&server).cloned().unwrap_or_default()
    }
}

const FAREWELL: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests;
