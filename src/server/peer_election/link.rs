//! One connection of the election port: how it is made, and what goes over it.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::socket::{SILENCE_MAX, connect_any, notice_silence};
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
    let addresses = addresses
        .into_iter()
        .map(|address| (address.host, address.election_port));
    let mut stream = connect_any(addresses).await?;
    stream.write_all(handshake).await?;
    if is_kept {
        return Ok(Some(stream));
    }
    stream.shutdown().await?;
    Ok(None)
}

/// Sends and receives until the connection ends.
pub(super) async fn serve(
    mut stream: TcpStream,
    unread: BytesMut,
    with: ServerId,
    outgoing: watch::Receiver<Option<Bytes>>,
    deliver: &Deliver,
) -> io::Result<()> {
    notice_silence(&stream, SILENCE_MAX)?;
    let (reader, writer) = stream.split();
    tokio::select! {
        outcome = receive(reader, unread, with, deliver) => outcome,
        outcome = send_newest(writer, outgoing) => outcome,
    }
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
