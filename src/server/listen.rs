//! Listening sockets.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener as StdListener, ToSocketAddrs};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, lookup_host};

use super::start_error::{ListenError, StartError};
use crate::config::server_config::ClientPortConfig;

/// Opens the client port: on the configured host, else on every interface. Of a host with addresses of both
/// families the older one counts, as in Java: clients that were told a name try it first.
pub fn client_listener(config: &ClientPortConfig) -> Result<Option<TcpListener>, StartError> {
    let Some(port) = config.port else { return Ok(None) };
    let listener = match &config.host {
        Some(host) => {
            let address = resolve(host, port).map_err(StartError::Listen)?;
            bind(address, config.listen_backlog).map_err(|error| refused(address, error))?
        }
        None => {
            let both = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
            match bind(both, config.listen_backlog) {
                // On a system without the newer family.
                Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                    let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
                    bind(address, config.listen_backlog).map_err(|error| refused(address, error))?
                }
                bound => bound.map_err(|error| refused(both, error))?,
            }
        }
    };
    Ok(Some(TcpListener::from_std(listener)?))
}

fn resolve(host: &str, port: u16) -> Result<SocketAddr, ListenError> {
    let unknown = |error| ListenError::Unknown {
        host: host.to_owned(),
        error,
    };
    let addresses = (host, port).to_socket_addrs().map_err(unknown)?;
    let preferred = addresses.min_by_key(SocketAddr::is_ipv6);
    preferred.ok_or_else(|| unknown(io::ErrorKind::NotFound.into()))
}

fn refused(address: SocketAddr, error: io::Error) -> StartError {
    StartError::Listen(ListenError::Refused { address, error })
}

/// A listening socket that a runtime can take over.
pub fn bind(address: SocketAddr, backlog: u32) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // One socket serves both families where the system has both.
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

/// Opens a port for peers on the first of the host's addresses that can be had; an empty host is every
/// interface.
pub async fn peer_listener(host: &str, port: u16) -> io::Result<TcpListener> {
    let candidates: Vec<SocketAddr> = if host.is_empty() {
        let both = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        vec![both, SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))]
    } else {
        lookup_host((host, port)).await?.collect()
    };
    let mut failure = io::Error::from(io::ErrorKind::NotFound);
    for address in candidates {
        match bind(address, PEER_BACKLOG) {
            Ok(listener) => return TcpListener::from_std(listener),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

const PEER_BACKLOG: u32 = 128;
