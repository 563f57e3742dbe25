//! The client port, which goes elsewhere when a reconfiguration says so (ServerCnxnFactory.reconfigure).
//! Connections that are there stay.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle as Task;

use super::listen;
use super::workers::Workers;
use crate::config::ServerConfig;
use crate::config::server_config::ClientPortConfig;
use crate::ids::ServerId;
use crate::quorum::configs::Configs;

/// The core's end.
#[derive(Debug)]
pub struct ClientPortHandle {
    me: Option<ServerId>,
    wanted: watch::Sender<ClientPortConfig>,
}

impl ClientPortHandle {
    /// Clients are served where this server's line says, if it says so.
    pub fn use_configs(&self, configs: &Configs) {
        let servers = &configs.committed().members().servers;
        let own = self.me.and_then(|me| servers.get(&me));
        let Some((host, port)) = own.and_then(|own| own.client_address.clone()) else {
            return;
        };
        self.wanted.send_if_modified(|wanted| {
            let is_everywhere = |host: &str| matches!(host, "0.0.0.0" | "::");
            let is_there = match &wanted.host {
                Some(present) => *present == host,
                None => is_everywhere(&host),
            };
            let is_other = !is_there || wanted.port != Some(port);
            (wanted.host, wanted.port) = (Some(host), Some(port));
            is_other
        });
    }
}

/// Both ends, for the port as configured.
pub fn handle(config: &ServerConfig) -> (ClientPortHandle, watch::Receiver<ClientPortConfig>) {
    let (wanted, changes) = watch::channel(config.client_port.clone());
    let me = config.ensemble.my_id;
    (ClientPortHandle { me, wanted }, changes)
}

/// Accepts where it is listened already, and later where it is wanted.
pub fn accept(
    listener: Option<TcpListener>,
    workers: Arc<Workers>,
    changes: watch::Receiver<ClientPortConfig>,
) -> io::Result<Task<()>> {
    match &listener {
        Some(listener) => tracing::info!("binding to port {}", listener.local_addr()?),
        None => tracing::warn!("clientPort is not set: no client is served"),
    }
    Ok(tokio::spawn(serve(listener, workers, changes)))
}

async fn serve(
    mut listener: Option<TcpListener>,
    workers: Arc<Workers>,
    mut changes: watch::Receiver<ClientPortConfig>,
) {
    loop {
        let accepting = async {
            match listener.take() {
                Some(listener) => Arc::clone(&workers).accept(listener).await,
                None => std::future::pending().await,
            }
        };
        let has_changed = tokio::select! {
            () = accepting => return,
            changed = changes.changed() => changed.is_ok(),
        };
        if !has_changed {
            // The core has ended.
            return std::future::pending().await;
        }
        listener = bind(&mut changes).await;
    }
}

/// Listens where it is wanted, however long that takes.
async fn bind(changes: &mut watch::Receiver<ClientPortConfig>) -> Option<TcpListener> {
    loop {
        let wanted = changes.borrow_and_update().clone();
        match listen::client_listener(&wanted) {
            Ok(listener) => {
                let address = listener.as_ref().and_then(|listener| listener.local_addr().ok());
                tracing::info!("clients are served at {address:?} from now on");
                return listener;
            }
            Err(error) => tracing::error!("{error}; it is tried again each second"),
        }
        tokio::time::sleep(BIND_PAUSE).await;
    }
}

const BIND_PAUSE: Duration = Duration::from_secs(1);
