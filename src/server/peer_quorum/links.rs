//! The links there are. Who takes one out of here ends it, and it ends for one reason only.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc::{Receiver, UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{oneshot, watch};

use super::link::Peer;
use crate::zab::LinkId;

/// A role of the caller. Its number is the caller's and means nothing here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Role {
    /// What the caller calls it.
    pub number: u64,
    /// How many roles had ended before it.
    past: u64,
}

/// What waits for a peer.
pub(super) enum Item {
    /// Whole packets.
    Packets(Bytes),
    /// An image, an empty chunk at its end.
    Image(Receiver<Bytes>),
}

/// The other end of a link's entry: what its task works with.
pub(super) struct LinkEnds {
    pub id: LinkId,
    pub queue: UnboundedReceiver<Item>,
    /// Bytes of packets that are queued, or taken from the queue and not written.
    pub waiting_bytes: Arc<AtomicUsize>,
    /// An error once the caller has closed the link; then the queue ends, too.
    pub end: oneshot::Receiver<Overflow>,
}

/// More waits for the peer than may.
#[derive(Debug)]
pub(super) struct Overflow;

pub(super) struct Links {
    state: Mutex<State>,
    /// How many links and roles were ended by the caller and are not gone yet.
    closing: watch::Sender<usize>,
}

#[derive(Default)]
struct State {
    roles_past: u64,
    ids_used: u64,
    open: BTreeMap<LinkId, Entry>,
}

struct Entry {
    peer: Peer,
    queue: UnboundedSender<Item>,
    waiting_bytes: Arc<AtomicUsize>,
    end: Option<oneshot::Sender<Overflow>>,
}

impl Default for Links {
    fn default() -> Links {
        Links {
            state: Mutex::default(),
            closing: watch::Sender::new(0),
        }
    }
}

impl Links {
    /// A role that goes on until [`Links::close_all`].
    pub fn begin(&self, number: u64) -> Role {
        let past = self.state.lock().roles_past;
        Role { number, past }
    }

    /// A link of that role, unless the role is over.
    pub fn open(&self, role: Role, peer: Peer) -> Option<LinkEnds> {
        let mut state = self.state.lock();
        let id = state.unused_id(role)?;
        let (sender, queue) = unbounded_channel();
        let (end_sender, end) = oneshot::channel();
        let waiting_bytes = Arc::new(AtomicUsize::new(0));
        let entry = Entry {
            peer,
            queue: sender,
            waiting_bytes: Arc::clone(&waiting_bytes),
            end: Some(end_sender),
        };
        state.open.insert(id, entry);
        Some(LinkEnds {
            id,
            queue,
            waiting_bytes,
            end,
        })
    }

    /// A number that no link has had, unless the role is over.
    pub fn unused_id(&self, role: Role) -> Option<LinkId> {
        self.state.lock().unused_id(role)
    }

    /// Queues for a link, if it is there.
    pub fn push(&self, link: LinkId, item: Item) {
        let mut state = self.state.lock();
        let Some(entry) = state.open.get_mut(&link) else {
            return;
        };
        let bytes = match &item {
            Item::Packets(bytes) => bytes.len(),
            Item::Image(_) => 0,
        };
        let waited = entry.waiting_bytes.fetch_add(bytes, Relaxed);
        if waited.saturating_add(bytes) <= WAITING_BYTES_MAX {
            let _ = entry.queue.send(item);
        } else if let Some(end) = entry.end.take() {
            let _ = end.send(Overflow);
        }
    }

    /// Ends a link for the caller: its task writes what is queued, and then is gone.
    pub fn close(&self, link: LinkId) -> Option<Peer> {
        let mut state = self.state.lock();
        let entry = state.open.remove(&link)?;
        self.closing.send_modify(|count| *count += 1);
        Some(entry.peer)
    }

    /// Ends the role, which is not gone before [`Links::reset_done`], and all its links.
    pub fn close_all(&self) {
        let mut state = self.state.lock();
        state.roles_past += 1;
        let links = std::mem::take(&mut state.open);
        self.closing.send_modify(|count| *count += links.len() + 1);
    }

    /// Nothing of the role is left but the links that are closing.
    pub fn reset_done(&self) {
        self.closing.send_modify(|count| *count -= 1);
    }

    /// To be called by a link's task as the last thing: whether the link ended by itself.
    pub fn gone(&self, link: LinkId) -> bool {
        let is_open = self.state.lock().open.remove(&link).is_some();
        if !is_open {
            self.closing.send_modify(|count| *count -= 1);
        }
        is_open
    }

    /// Waits until nothing is closing any more.
    pub async fn drained(&self) {
        let mut closing = self.closing.subscribe();
        let _ = closing.wait_for(|count| *count == 0).await;
    }
}

impl State {
    fn unused_id(&mut self, role: Role) -> Option<LinkId> {
        if self.roles_past != role.past {
            return None;
        }
        self.ids_used += 1;
        Some(LinkId(self.ids_used))
    }
}

/// Bytes that may wait for one peer.
const WAITING_BYTES_MAX: usize = 512 << 20;
