//! The core's way to the other servers: election port, quorum port, images and old parts of the log.

use std::collections::BTreeMap;
use std::thread::Builder;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::core_thread::CoreHandle;
use super::os_disk::OsDisk;
use super::peer_election::{self, PeerElection};
use super::peer_quorum::{PeerQuorum, QuorumEvent};
use crate::ids::{ServerId, Zxid};
use crate::quorum::configs::Configs;
use crate::replica::{Input, PeerEvent};
use crate::storage::{StorageConfig, data_dir, log_range};
use crate::zab::LinkId;

/// What the core says to other servers goes through here.
pub struct Peers {
    election: PeerElection,
    quorum: PeerQuorum,
    /// Images that were announced to a connection and have not begun.
    images: BTreeMap<LinkId, mpsc::Sender<Bytes>>,
    core: CoreHandle,
    storage: StorageConfig,
    /// `snapshotSizeFactor` in thousandths of the newest snapshot: so much of the log is read for a learner.
    /// 0 for any amount.
    log_permille: u32,
}

impl Peers {
    /// From the two drivers.
    pub fn new(
        election: PeerElection,
        quorum: PeerQuorum,
        core: CoreHandle,
        storage: StorageConfig,
        log_permille: u32,
    ) -> Peers {
        Peers {
            election,
            quorum,
            images: BTreeMap::new(),
            core,
            storage,
            log_permille,
        }
    }

    /// A message on the election port.
    pub fn notify(&self, to: ServerId, body: Bytes) {
        self.election.send(to, body);
    }

    /// Dials on the election port.
    pub fn dial_all(&self) {
        self.election.dial_all();
    }

    /// Who the members are, and where.
    pub fn use_configs(&self, configs: &Configs) {
        let addresses = configs.all_addresses();
        self.election.use_addresses(addresses.clone());
        self.quorum.use_addresses(addresses);
    }

    /// Accepts learners.
    pub fn listen(&self, role: u64) {
        self.quorum.listen(role);
    }

    /// Connects to a leader.
    pub fn connect(&self, role: u64, leader: ServerId) {
        self.quorum.connect(role, leader);
    }

    /// Accepts observers.
    pub fn listen_for_observers(&self, role: u64) {
        self.quorum.listen_for_observers(role);
    }

    /// Connects to an observer master.
    pub fn connect_to_master(&self, role: u64, master: ServerId) {
        self.quorum.connect_to_master(role, master);
    }

    /// Packets on the quorum port, or that of an observer master.
    pub fn send(&self, link: LinkId, bytes: Bytes) {
        self.quorum.send(link, bytes);
    }

    /// An image goes to this learner next.
    pub fn reserve_image(&mut self, link: LinkId) {
        let (sender, chunks) = mpsc::channel(IMAGE_CHUNKS_MAX);
        self.quorum.send_image(link, chunks);
        self.images.insert(link, sender);
    }

    /// Where the image that was announced goes.
    pub fn image(&mut self, link: LinkId) -> mpsc::Sender<Bytes> {
        // The role that announced it may be over: then nobody is at the other end.
        self.images.remove(&link).unwrap_or_else(|| mpsc::channel(1).0)
    }

    /// Closes a connection.
    pub fn close(&mut self, link: LinkId, reason: String) {
        self.images.remove(&link);
        self.quorum.close(link, reason);
    }

    /// Closes all connections on the quorum port, and the listener.
    pub fn reset(&mut self) {
        self.images.clear();
        self.quorum.reset();
    }

    /// Reads a part of the log on a thread of its own: it is rarely needed and may take long.
    pub fn read_log(&self, role: u64, link: LinkId, after: Zxid, upto: Zxid) {
        let (core, storage, permille) = (self.core.clone(), self.storage.clone(), self.log_permille);
        let read = move || {
            let entries = range_bytes_max(&storage, permille)
                .and_then(|max| log_range::read_range(&OsDisk, &storage, after, upto, max));
            let entries = entries.unwrap_or_else(|error| {
                tracing::warn!("cannot read the log for a learner, which gets a snapshot instead: {error}");
                None
            });
            let event = PeerEvent::LogRead { link, entries };
            core.submit(vec![Input::Peer { role, event }]);
        };
        if let Err(error) = Builder::new().name("log-reader".into()).spawn(read) {
            tracing::warn!("cannot read the log for a learner, which gets a snapshot instead: {error}");
            let event = PeerEvent::LogRead { link, entries: None };
            self.core.submit(vec![Input::Peer { role, event }]);
        }
    }
}

/// Beyond this a snapshot is quicker.
fn range_bytes_max(storage: &StorageConfig, permille: u32) -> Result<u64, crate::storage::disk::DiskError> {
    if permille == 0 {
        return Ok(u64::MAX);
    }
    let newest = data_dir::list(&OsDisk, storage)?
        .snapshots
        .first()
        .map_or(0, |file| file.len);
    Ok((newest / 1000)
        .saturating_mul(u64::from(permille))
        .max(RANGE_BYTES_MIN))
}

/// What the election port brings, for the core.
pub fn election_input(event: peer_election::PeerEvent) -> Input {
    match event {
        peer_election::PeerEvent::Received { from, body } => Input::Notification { from, body },
        peer_election::PeerEvent::LinkUp(server) => Input::ElectionLinkUp(server),
        peer_election::PeerEvent::LinkDown(server) => Input::ElectionLinkDown(server),
    }
}

/// What the quorum port brings, for the core.
pub fn quorum_input(role: u64, event: QuorumEvent) -> Input {
    let event = match event {
        QuorumEvent::LinkUp(link) => PeerEvent::LinkUp(link),
        QuorumEvent::Packets(link, packets) => PeerEvent::Packets(link, packets),
        QuorumEvent::Image { link, tree, .. } => PeerEvent::Image { link, tree },
        QuorumEvent::ImageSent(link) => PeerEvent::ImageSent(link),
        QuorumEvent::LinkDown(link) => PeerEvent::LinkDown(link),
    };
    Input::Peer { role, event }
}

/// Chunks of an image that wait for the network.
const IMAGE_CHUNKS_MAX: usize = 8;
/// So much is always read: below it a snapshot is hardly cheaper.
const RANGE_BYTES_MIN: u64 = 1 << 20;
