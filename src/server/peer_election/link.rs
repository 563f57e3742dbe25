//! One connection of the election port: how it is made, and what goes over it.

use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{Deliver, PeerEvent};
use crate::ids::ServerId;
use crate::quorum::members::MemberAddress;

/// Connects to whichever address answers first, and says who is there. Without `is_kept` that is all: the
/// peer then dials.
pub(super) async fn dial(
    addresses: Vec<MemberAddress>,
    handshake: &[u8],
    is_kept: bool,
) -> io::Result<Option<TcpStream>> {
    let mut attempts = JoinSet::new();
    for address in addresses {
        attempts.spawn(async move {
            let mut attempts = JoinSet::new();
            for resolved in lookup_host((address.host.as_str(), address.election_port)).await? {
                attempts.spawn(TcpStream::connect(resolved));
            }
            first(attempts).await
        });
    }
    let mut stream = first(attempts).await?;
    stream.write_all(handshake).await?;
    if is_kept {
        return Ok(Some(stream));
    }
    stream.shutdown().await?;
    Ok(None)
}

/// The first attempt that succeeds; the others are given up.
async fn first(mut attempts: JoinSet<io::Result<TcpStream>>) -> io::Result<TcpStream> {
    let mut failure = io::Error::from(io::ErrorKind::NotFound);
    while let Some(Ok(outcome)) = attempts.join_next().await {
        match outcome {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Sends and receives until the connection ends.
pub(super) async fn serve(
    mut stream: TcpStream,
    unread: BytesMut,
    with: ServerId,
    outgoing: watch::Receiver<Option<Bytes>>,
    deliver: &Deliver,
) -> io::Result<()> {
    notice_silence(&stream)?;
    let (reader, writer) = stream.split();
    tokio::select! {
        outcome = receive(reader, unread, with, deliver) => outcome,
        outcome = send_newest(writer, outgoing) => outcome,
    }
}

/// The protocol has no keepalive of its own: without this a peer that lost its power looks alive for ever.
fn notice_silence(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new()
        .with_time(SILENCE_MAX)
        .with_interval(Duration::from_secs(1));
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(SILENCE_MAX))?;
    Ok(())
}

async fn receive(
    mut reader: impl AsyncRead + Unpin,
    mut unread: BytesMut,
    from: ServerId,
    deliver: &Deliver,
) -> io::Result<()> {
    loop {
        while let Some(body) = pop_frame(&mut unread)? {
            deliver(PeerEvent::Received { from, body });
        }
        if reader.read_buf(&mut unread).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// A length and as many bytes, if they are all there.
fn pop_frame(unread: &mut BytesMut) -> io::Result<Option<Bytes>> {
    let Some(length) = unread.first_chunk() else {
        return Ok(None);
    };
    let length = i32::from_be_bytes(*length);
    let length_bytes = usize::try_from(length).unwrap_or(0);
    if length_bytes == 0 || length_bytes > FRAME_BYTES_MAX {
        let text = format!("a message of {length} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    if unread.len() < 4 + length_bytes {
        return Ok(None);
    }
    unread.advance(4);
    Ok(Some(unread.split_to(length_bytes).freeze()))
}

async fn send_newest(
    mut writer: impl AsyncWrite + Unpin,
    mut outgoing: watch::Receiver<Option<Bytes>>,
) -> io::Result<()> {
    while outgoing.changed().await.is_ok() {
        let newest = outgoing.borrow_and_update().clone();
        let Some(body) = newest else { continue };
        let length = i32::try_from(body.len()).map_err(io::Error::other)?;
        let frame = [&length.to_be_bytes()[..], &body].concat();
        writer.write_all(&frame).await?;
    }
    Err(io::ErrorKind::ConnectionAborted.into())
}

/// The longest message that the reference takes.
const FRAME_BYTES_MAX: usize = 524_288;
/// Peers that have not confirmed what was sent for so long are gone.
const SILENCE_MAX: Duration = Duration::from_secs(5);
