//! Listening sockets.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener as StdListener, ToSocketAddrs};

use anyhow::Context;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

use crate::config::server_config::ClientPortConfig;

/// Opens the client port: on the configured host, else on every interface.
pub fn client_listener(config: &ClientPortConfig) -> anyhow::Result<Option<TcpListener>> {
    let Some(port) = config.port else { return Ok(None) };
    let candidates = match &config.host {
        Some(host) => (host.as_str(), port)
            .to_socket_addrs()
            .with_context(|| format!("clientPortAddress {host} is not known"))?
            .collect(),
        None => vec![
            SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
            SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
        ],
    };
    let mut failure = None;
    for address in candidates {
        match bind(address, config.listen_backlog) {
            Ok(listener) => return Ok(Some(TcpListener::from_std(listener)?)),
            Err(error) => failure = Some(anyhow::Error::from(error).context(bind_advice(address))),
        }
    }
    Err(failure.unwrap_or_else(|| anyhow::anyhow!("clientPortAddress has no address")))
}

fn bind(address: SocketAddr, backlog: u32) -> io::Result<StdListener> {
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

fn bind_advice(address: SocketAddr) -> String {
    format!(
        "cannot listen on {address}: another server may run already (zkserver status); \
         clientPort and clientPortAddress choose another address"
    )
}
