//! One link: how it begins and ends, and how what is queued for the peer is written.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{Receiver, UnboundedReceiver};
use tokio::time::timeout;

use super::links::{Item, LinkEnds, Overflow, Role};
use super::{Driver, QuorumEvent, receive};
use crate::ids::ServerId;
use crate::server::peer_election::socket::{SILENCE_MAX, notice_silence};

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// Somebody who connected and began as learners do.
    Learner(SocketAddr),
    /// The leader, which this server connected to.
    Leader(ServerId, SocketAddr),
    /// Likewise, a follower that stands for it.
    Master(ServerId, SocketAddr),
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Learner(address) => write!(f, "from a learner at {address}"),
            Peer::Leader(server, address) => write!(f, "to server {}, the leader, at {address}", server.0),
            Peer::Master(server, address) => {
                write!(f, "to server {}, an observer master, at {address}", server.0)
            }
        }
    }
}

/// Makes a connection a link, and serves it until it ends. `unread` was read from it before.
pub(super) fn begin(driver: &Arc<Driver>, role: Role, peer: Peer, stream: TcpStream, unread: BytesMut) {
    let Some(ends) = driver.links.open(role, peer) else {
        return;
    };
    tracing::info!("quorum connection {peer}");
    (driver.deliver)(role.number, QuorumEvent::LinkUp(ends.id));
    let driver = Arc::clone(driver);
    // Not a task of the role: it outlives the role by the time that the last bytes take.
    tokio::spawn(async move {
        let id = ends.id;
        let end = serve(&driver, role, peer, stream, unread, ends).await;
        if driver.links.gone(id) {
            let reason = end
                .err()
                .unwrap_or_else(|| io::ErrorKind::ConnectionAborted.into());
            tracing::info!("the quorum connection {peer} ended: {reason}");
            (driver.deliver)(role.number, QuorumEvent::LinkDown(id));
        }
    });
}

/// Returns without an error once the caller has closed the link and the rest was written, as far as it could.
async fn serve(
    driver: &Driver,
    role: Role,
    peer: Peer,
    mut stream: TcpStream,
    unread: BytesMut,
    ends: LinkEnds,
) -> io::Result<()> {
    let stall_timeout = driver.config.stall_timeout;
    notice_silence(&stream, SILENCE_MAX.max(stall_timeout))?;
    let (mut reader, writer) = stream.split();
    let (id, end) = (ends.id, ends.end);
    let mut sender = Sender::new(writer, stall_timeout, ends.waiting_bytes);
    let image_sent = || (driver.deliver)(role.number, QuorumEvent::ImageSent(id));
    let mut sending = pin!(sender.run(ends.queue, image_sent));
    let is_sent = tokio::select! {
        Err(error) = receive::run(driver, role, peer, id, &mut reader, unread) => return Err(error),
        sent = &mut sending => {
            sent?;
            true
        }
        end = end => match end {
            Ok(Overflow) => return Err(io::Error::other("too many bytes wait for it")),
            Err(_) => false,
        }
    };
    let farewell = async {
        if !is_sent {
            sending.await?;
        }
        // A socket that is closed with bytes unread makes the peer lose what it has not read itself.
        let mut sink = [0; 4096];
        while reader.read(&mut sink).await? > 0 {}
        Ok(())
    };
    timeout(driver.farewell, farewell).await.unwrap_or(Ok(()))
}

/// Writes what is queued, much at a time.
pub(super) struct Sender<W> {
    writer: W,
    stall_timeout: Duration,
    waiting_bytes: Arc<AtomicUsize>,
    unsent: Vec<u8>,
}

impl<W: AsyncWrite + Unpin> Sender<W> {
    /// `waiting_bytes` goes down by what is written.
    pub(super) fn new(writer: W, stall_timeout: Duration, waiting_bytes: Arc<AtomicUsize>) -> Sender<W> {
        Sender {
            writer,
            stall_timeout,
            waiting_bytes,
            unsent: Vec::new(),
        }
    }

    /// Ends without an error when the queue does.
    pub(super) async fn run(
        &mut self,
        mut queue: UnboundedReceiver<Item>,
        image_sent: impl Fn(),
    ) -> io::Result<()> {
        let mut items = Vec::with_capacity(ITEMS_MAX);
        while queue.recv_many(&mut items, ITEMS_MAX).await > 0 {
            for item in items.drain(..) {
                match item {
                    Item::Packets(bytes) => self.push(&bytes).await?,
                    Item::Image(chunks) => {
                        self.flush().await?;
                        self.write_image(chunks).await?;
                        image_sent();
                    }
                }
            }
            self.flush().await?;
        }
        self.writer.shutdown().await
    }

    /// Copying small packets together costs less than a call to the system for each.
    async fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.unsent.len() + bytes.len() > UNSENT_BYTES_MAX {
            self.flush().await?;
        }
        if bytes.len() > UNSENT_BYTES_MAX {
            self.write(bytes).await?;
            self.waiting_bytes.fetch_sub(bytes.len(), Relaxed);
        } else {
            self.unsent.extend_from_slice(bytes);
        }
        Ok(())
    }

    async fn flush(&mut self) -> io::Result<()> {
        let unsent = std::mem::take(&mut self.unsent);
        self.write(&unsent).await?;
        self.waiting_bytes.fetch_sub(unsent.len(), Relaxed);
        self.unsent = unsent;
        self.unsent.clear();
        Ok(())
    }

    async fn write_image(&mut self, mut chunks: Receiver<Bytes>) -> io::Result<()> {
        let mut is_complete = false;
        while let Some(chunk) = chunks.recv().await {
            is_complete = chunk.is_empty();
            self.write(&chunk).await?;
        }
        if !is_complete {
            return Err(io::Error::other("the image for it could not be completed"));
        }
        Ok(())
    }

    async fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = timeout(self.stall_timeout, self.writer.write(bytes)).await;
            match written.map_err(|_| stalled("took", self.stall_timeout))?? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => bytes = &bytes[count..],
            }
        }
        Ok(())
    }
}

/// The error when a peer did nothing for so long.
pub(super) fn stalled(verb: &str, silence: Duration) -> io::Error {
    let text = format!("the peer {verb} nothing for {} ms", silence.as_millis());
    io::Error::new(io::ErrorKind::TimedOut, text)
}

/// Items taken from a queue at once.
const ITEMS_MAX: usize = 1024;
/// Bytes that are copied together.
const UNSENT_BYTES_MAX: usize = 64 * 1024;
