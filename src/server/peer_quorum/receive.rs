//! What comes over a link: packets, and on a learner's side the image of a snapshot between two of them.

use std::convert::Infallible;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::Builder;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::link::{Peer, stalled};
use super::links::Role;
use super::{Driver, QuorumEvent};
use crate::ids::Zxid;
use crate::proto::jute::{DecodeError, Reader};
use crate::proto::quorum::{PacketType, QuorumPacket};
use crate::server::stand_back;
use crate::storage::snapshot_reader::SnapshotError;
use crate::storage::snapshot_stream;
use crate::tree::DataTree;
use crate::zab::LinkId;

/// Delivers what comes until the link ends.
pub(super) async fn run(
    driver: &Driver,
    role: Role,
    peer: Peer,
    link: LinkId,
    reader: &mut (impl AsyncRead + Unpin),
    mut unread: BytesMut,
) -> io::Result<Infallible> {
    loop {
        let (packets, wanted) = pop_packets(&mut unread, peer, driver.config.packet_bytes_max)?;
        let image = match packets.last() {
            Some(last) if begins_image(last, peer) => Some(last.zxid),
            Some(_) | None => None,
        };
        if !packets.is_empty() {
            (driver.deliver)(role.number, QuorumEvent::Packets(link, packets));
        }
        if let Some(zxid) = image {
            let (tree, behind) = receive_image(driver, zxid, reader, unread).await?;
            (driver.deliver)(role.number, QuorumEvent::Image { link, zxid, tree });
            unread = behind;
            continue;
        }
        while unread.len() < wanted {
            read(reader, &mut unread).await?;
        }
    }
}

/// An image comes only from a leader or who stands for it; on other links the packet means nothing here.
fn begins_image(packet: &QuorumPacket, peer: Peer) -> bool {
    match peer {
        Peer::Leader(..) | Peer::Master(..) => packet.kind == PacketType::Snap,
        Peer::Learner(_) => false,
    }
}

/// The whole packets, no further than to an image, and how long the rest must be before it is worth a look.
pub(super) fn pop_packets(
    unread: &mut BytesMut,
    peer: Peer,
    field_bytes_max: usize,
) -> io::Result<(Vec<QuorumPacket>, usize)> {
    let invalid = |error: DecodeError| io::Error::new(io::ErrorKind::InvalidData, error);
    let mut packets: Vec<QuorumPacket> = Vec::new();
    let mut rest = &unread[..];
    let wanted = loop {
        let Some((packet, used)) = QuorumPacket::decode(rest, field_bytes_max).map_err(invalid)? else {
            break packet_bytes_min(rest).max(rest.len() + 1);
        };
        rest = &rest[used..];
        let is_last = begins_image(&packet, peer);
        packets.push(packet);
        if is_last {
            break 0;
        }
    };
    let bytes_max = field_bytes_max.saturating_mul(2);
    if wanted > bytes_max.saturating_add(PACKET_BYTES_SPARE) {
        let text = format!("a packet of at least {wanted} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    let used = unread.len() - rest.len();
    unread.advance(used);
    Ok((packets, wanted))
}

/// How long a packet is at least, by the lengths that are there. Without this a long one would be decoded
/// anew with every part of it that comes.
fn packet_bytes_min(bytes: &[u8]) -> usize {
    let int_at = |at: usize| Reader::new(bytes.get(at..).unwrap_or_default()).int().ok();
    let natural = |length: i32| usize::try_from(length).unwrap_or(0);
    if bytes.len() < 4 {
        return 4;
    }
    let mut end = 16;
    let Some(data_bytes) = int_at(12) else { return end };
    end += natural(data_bytes) + 4;
    let Some(ids_count) = int_at(end - 4) else {
        return end;
    };
    for _ in 0..natural(ids_count).saturating_mul(2) {
        end += 4;
        let Some(length) = int_at(end - 4) else { return end };
        end += natural(length);
    }
    end
}

/// Reads some bytes; none is an error.
async fn read(reader: &mut (impl AsyncRead + Unpin), unread: &mut BytesMut) -> io::Result<()> {
    unread.reserve(READ_BYTES);
    if reader.read_buf(unread).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

/// Reads an image on a thread of its own. The answer is the tree, and what came behind the image.
async fn receive_image(
    driver: &Driver,
    zxid: Zxid,
    reader: &mut (impl AsyncRead + Unpin),
    mut unread: BytesMut,
) -> io::Result<(Box<DataTree>, BytesMut)> {
    let stall_timeout = driver.config.stall_timeout;
    let (chunks, is_starving, mut outcome) = spawn_image_thread(driver, zxid)?;
    let outcome = loop {
        let has_room = unread.len() < READ_BYTES;
        tokio::select! {
            outcome = &mut outcome => break outcome,
            permit = chunks.reserve(), if !unread.is_empty() => match permit {
                Ok(permit) => permit.send(unread.split().freeze()),
                Err(_) => break outcome.await,
            },
            progress = timeout(stall_timeout, read(reader, &mut unread)), if has_room => match progress {
                Ok(progress) => progress?,
                // While the thread has something to do, the peer is not to blame for the silence.
                Err(_) if is_starving.load(Relaxed) => return Err(stalled("sent", stall_timeout)),
                Err(_) => {}
            }
        }
    };
    let outcome = outcome.map_err(|_| io::Error::other("the thread that reads the image is gone"))?;
    let (tree, mut behind, mut source) = outcome.map_err(io::Error::other)?;
    behind.extend_from_slice(&source.current);
    while let Ok(chunk) = source.chunks.try_recv() {
        behind.extend_from_slice(&chunk);
    }
    behind.extend_from_slice(&unread);
    Ok((tree, BytesMut::from(&behind[..])))
}

/// The tree, the bytes that were taken off the source behind the image, and the source.
type ImageOutcome = Result<(Box<DataTree>, Vec<u8>, Chunks), SnapshotError>;

/// Where the bytes go to, whether the thread waits for more of them, and where the outcome comes from.
type ImageThread = (
    mpsc::Sender<Bytes>,
    Arc<AtomicBool>,
    oneshot::Receiver<ImageOutcome>,
);

/// The thread ends at the latest when the sender of the bytes is gone.
fn spawn_image_thread(driver: &Driver, zxid: Zxid) -> io::Result<ImageThread> {
    let (chunks, queue) = mpsc::channel(CHUNKS_MAX);
    let (answer, outcome) = oneshot::channel();
    let is_starving = Arc::new(AtomicBool::new(false));
    let mut source = Chunks {
        chunks: queue,
        current: Bytes::new(),
        is_starving: Arc::clone(&is_starving),
    };
    let (record_bytes_max, hash_seed) = (driver.config.record_bytes_max, driver.config.hash_seed);
    Builder::new().name("image".into()).spawn(move || {
        // It serves nobody yet, and other servers of the machine do.
        stand_back();
        let received = snapshot_stream::receive(&mut source, zxid, record_bytes_max, hash_seed);
        let _ = answer.send(received.map(|(tree, behind)| (Box::new(tree), behind, source)));
    })?;
    Ok((chunks, is_starving, outcome))
}

/// The bytes of an image as they come.
struct Chunks {
    chunks: mpsc::Receiver<Bytes>,
    current: Bytes,
    is_starving: Arc<AtomicBool>,
}

impl Read for Chunks {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            self.is_starving.store(true, Relaxed);
            let next = self.chunks.blocking_recv();
            self.is_starving.store(false, Relaxed);
            match next {
                Some(chunk) => self.current = chunk,
                None => return Ok(0),
            }
        }
        let count = buf.len().min(self.current.len());
        self.current.copy_to_slice(&mut buf[..count]);
        Ok(count)
    }
}

/// Room for each read, and as much of an image as waits outside its thread's queue.
const READ_BYTES: usize = 64 * 1024;
/// Reads that may wait for an image's thread.
const CHUNKS_MAX: usize = 8;
/// What a packet may be longer than two of its longest fields.
const PACKET_BYTES_SPARE: usize = 64 * 1024;
