//! Listens for learners, and tells them from strangers by their first packet.

use std::fmt::Write;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::link::{self, Peer};
use super::links::Role;
use super::{Driver, Port};
use crate::ids::ServerId;
use crate::proto::quorum::{PacketType, QuorumPacket};
use crate::server::listen::peer_listener;

/// Accepts on one of the addresses until the task is aborted, however long the address cannot be had.
pub(super) async fn listen(driver: Arc<Driver>, role: Role, kind: Port, host: String, port: u16) {
    let shown = if host.is_empty() { "every interface" } else { &host };
    let mut is_failing = false;
    loop {
        let bound = peer_listener(&host, port).await;
        match bound.and_then(|listener| Ok((listener.local_addr()?, listener))) {
            Ok((address, listener)) => {
                match kind {
                    Port::Quorum => tracing::info!("listening for learners on {address}"),
                    Port::ObserverMaster => tracing::info!("listening for observers on {address}"),
                }
                driver
                    .local_addrs
                    .send_modify(|addresses| addresses.push(address));
                return accept(&driver, role, listener).await;
            }
            Err(error) => {
                if !is_failing {
                    match kind {
                        Port::Quorum => warn_of_deafness(driver.config.me, shown, port, &error),
                        Port::ObserverMaster => warn_of_absence(shown, port, &error),
                    }
                }
                is_failing = true;
                sleep(BIND_PAUSE).await;
            }
        }
    }
}

fn warn_of_deafness(me: ServerId, host: &str, port: u16, error: &io::Error) {
    tracing::error!(
        "cannot listen on {host}, quorum port {port}: {error}. No server can follow this one meanwhile; it \
         is tried again each second. Another process may use the port, or the server.{} line does not name \
         this machine (quorumListenOnAllIPs=true listens on every interface)",
        me.0
    );
}

fn warn_of_absence(host: &str, port: u16, error: &io::Error) {
    tracing::error!(
        "cannot listen on {host}, observerMasterPort {port}: {error}. Observers can learn from other \
         followers only meanwhile; it is tried again each second. Another process may use the port"
    );
}

/// Lets each connection begin at its own pace.
async fn accept(driver: &Arc<Driver>, role: Role, listener: TcpListener) {
    let mut greetings = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = greetings.join_next() => continue,
        };
        let (mut stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection on the quorum port");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if greetings.len() >= GREETINGS_MAX {
            tracing::warn!("closing a connection on the quorum port from {address}: too many are silent");
            continue;
        }
        let driver = Arc::clone(driver);
        greetings.spawn(async move {
            match greet(&mut stream, driver.config.hello_timeout).await {
                Ok(unread) => link::begin(&driver, role, Peer::Learner(address), stream, unread),
                Err(reason) => tracing::warn!(
                    "closing a connection on the quorum port from {address}, which is no learner: {reason}"
                ),
            }
        });
    }
}

/// Reads until the first packet of a learner is whole. Nothing is taken off what was read.
async fn greet(stream: &mut TcpStream, patience: Duration) -> Result<BytesMut, String> {
    let mut unread = BytesMut::with_capacity(HELLO_BYTES_MAX);
    let greeting = timeout(patience, read_hello(stream, &mut unread)).await;
    let reason = match greeting {
        Ok(Ok(())) => return Ok(unread),
        Ok(Err(reason)) => reason,
        Err(_) => format!("no first packet within {} ms", patience.as_millis()),
    };
    match describe(&unread) {
        Some(description) => Err(format!("{reason}; {description}")),
        None => Err(reason),
    }
}

async fn read_hello(stream: &mut TcpStream, unread: &mut BytesMut) -> Result<(), String> {
    loop {
        match QuorumPacket::decode(unread, HELLO_BYTES_MAX) {
            Ok(Some((packet, _))) => {
                let kinds = [PacketType::FollowerInfo, PacketType::ObserverInfo];
                let is_learner = kinds.contains(&packet.kind);
                let refusal = || format!("its first packet is of the type {:?}", packet.kind);
                return is_learner.then_some(()).ok_or_else(refusal);
            }
            Ok(None) if unread.len() >= HELLO_BYTES_MAX => return Err("its first packet is too long".into()),
            Ok(None) => {}
            Err(error) => return Err(error.to_string()),
        }
        match stream.read_buf(unread).await {
            Ok(0) => return Err("it has ended".into()),
            Ok(_) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// What came, in words; `None` if nothing did.
pub(super) fn describe(bytes: &[u8]) -> Option<String> {
    let known = match bytes {
        [] => return None,
        [0x16, 0x03, ..] => "a TLS handshake: that server has sslQuorum=true, and this one has not",
        [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0 | 1, ..] => "the handshake of an election port",
        [0, 0, 0, 44 | 45, 0, 0, 0, 0, ..] => "a ZooKeeper client, for which there is the client port",
        [b'G', b'E', b'T', b' ', ..] | [b'H', b'E', b'A', b'D', ..] | [b'P', b'O', b'S', b'T', ..] => {
            "an HTTP request, for which there is the admin server"
        }
        [a, b, c, d] | [a, b, c, d, b'\r' | b'\n', ..]
            if [a, b, c, d].iter().all(|byte| byte.is_ascii_lowercase()) =>
        {
            "a four-letter word, for which there is the client port"
        }
        _ => "",
    };
    let start = &bytes[..bytes.len().min(SHOWN_BYTES_MAX)];
    let mut text = format!("it sent \"{}\"", start.escape_ascii());
    if !known.is_empty() {
        let _ = write!(text, ", which looks like {known}");
    }
    Some(text)
}

/// Connections on one address that may be open without having said who they are.
const GREETINGS_MAX: usize = 1000;
/// No learner says more about itself. What comes right behind it may be read with it.
const HELLO_BYTES_MAX: usize = 4096;
/// So much of what a stranger sent is shown.
const SHOWN_BYTES_MAX: usize = 16;
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const BIND_PAUSE: Duration = Duration::from_secs(1);
