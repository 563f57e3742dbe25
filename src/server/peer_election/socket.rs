//! Sockets between servers, of either port: how they are connected, and how the loss of a host is noticed.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;

/// Connects to whichever address answers first; the other attempts are given up. Names are looked up anew.
pub async fn connect_any(addresses: impl IntoIterator<Item = (String, u16)>) -> io::Result<TcpStream> {
    let mut attempts = JoinSet::new();
    for (host, port) in addresses {
        attempts.spawn(async move {
            let mut attempts = JoinSet::new();
            for resolved in lookup_host((host.as_str(), port)).await? {
                attempts.spawn(async move { refuse_oneself(TcpStream::connect(resolved).await?) });
            }
            first(attempts).await
        });
    }
    first(attempts).await
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

/// Where nobody listens on this machine, the system may give the caller that very port, and connect the
/// socket with itself.
fn refuse_oneself(stream: TcpStream) -> io::Result<TcpStream> {
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}

/// A peer that lost its power looks alive for ever without this: the election port has no keepalive of its
/// own, and on the quorum port not all phases have one.
pub fn notice_silence(stream: &TcpStream, silence_max: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new()
        .with_time(SILENCE_MAX)
        .with_interval(Duration::from_secs(1));
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(silence_max))?;
    Ok(())
}

/// Peers that have not confirmed what was sent for so long are gone, unless they may take longer.
pub const SILENCE_MAX: Duration = Duration::from_secs(5);
