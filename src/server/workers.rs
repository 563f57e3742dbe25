//! The threads that serve clients: each a runtime of its own, on which its connections stay.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream as StdStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::thread::Builder;
use std::time::Duration;

use parking_lot::Mutex;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::client_task::{self, ClientContext};
use crate::auth::ip_id;
use crate::client::{ClientConfig, ClientConn};
use crate::ids::ConnId;
use crate::shared::{ConnShared, HeldBack};

/// Limits on connections.
#[derive(Clone, Copy, Debug)]
pub struct AcceptConfig {
    /// Connections per client address (`maxClientCnxns`); 0 for no limit.
    pub per_address_max: u32,
    /// Connections in all (`maxCnxns`); 0 for no limit.
    pub total_max: u32,
    /// SO_KEEPALIVE on client sockets (`clientTcpKeepAlive`).
    pub keep_alive: bool,
}

/// Client threads, and who connects to them.
pub struct Workers {
    context: Arc<ClientContext>,
    client_config: Arc<ClientConfig>,
    accept_config: AcceptConfig,
    workers: Vec<Worker>,
    next_id: AtomicU64,
    per_address: Mutex<std::collections::BTreeMap<IpAddr, u32>>,
}

struct Worker {
    streams: UnboundedSender<Accepted>,
    count: Arc<AtomicUsize>,
}

struct Accepted {
    stream: StdStream,
    peer: SocketAddr,
}

impl Workers {
    /// Starts `count` threads.
    pub fn start(
        context: Arc<ClientContext>,
        client_config: Arc<ClientConfig>,
        accept_config: AcceptConfig,
        count: usize,
    ) -> io::Result<Arc<Workers>> {
        let mut workers = Vec::new();
        let mut queues = Vec::new();
        for _ in 0..count {
            let (streams, queue) = unbounded_channel();
            workers.push(Worker {
                streams,
                count: Arc::new(AtomicUsize::new(0)),
            });
            queues.push(queue);
        }
        let per_address = Mutex::new(std::collections::BTreeMap::new());
        let next_id = AtomicU64::new(1);
        let all = Arc::new(Workers {
            context,
            client_config,
            accept_config,
            workers,
            next_id,
            per_address,
        });
        for (at, queue) in queues.into_iter().enumerate() {
            let all = Arc::clone(&all);
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            Builder::new()
                .name(format!("client-{at}"))
                .spawn(move || runtime.block_on(all.serve(at, queue)))?;
        }
        Ok(all)
    }

    /// Accepts for as long as the listener lives. Runs on any runtime.
    pub async fn accept(self: Arc<Workers>, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    if let Err(error) = self.admit(stream, peer) {
                        tracing::debug!(%peer, %error, "connection lost while it was accepted");
                    }
                }
                Err(error) => {
                    // Mostly a lack of file descriptors: others have to go before one more can come.
                    self.log_refusal(|held_back| {
                        tracing::warn!(%error, "cannot accept a connection{held_back}");
                    });
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
        let ip = peer.ip().to_canonical();
        if let Some(limit) = self.limit_reached(ip) {
            self.context.shared.metrics.connection_rejected.add(1);
            self.log_refusal(|held_back| {
                tracing::warn!("Too many connections from /{ip} - max is {limit}{held_back}");
            });
            // The reference resets such connections: the client goes on to another server at once.
            return SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        }
        stream.set_nodelay(true)?;
        SockRef::from(&stream).set_keepalive(self.accept_config.keep_alive)?;
        let Some(worker) = self
            .workers
            .iter()
            .min_by_key(|worker| worker.count.load(Relaxed))
        else {
            return Ok(());
        };
        let stream = stream.into_std()?;
        worker.count.fetch_add(1, Relaxed);
        *self.per_address.lock().entry(ip).or_insert(0) += 1;
        let _ = worker.streams.send(Accepted {
            stream,
            peer: SocketAddr::new(ip, peer.port()),
        });
        Ok(())
    }

    fn log_refusal(&self, log: impl FnOnce(HeldBack)) {
        let ClientContext { shared, clock, .. } = &*self.context;
        if let Some(held_back) = shared.line_limiters.refused_connections.admit(clock.now().mono) {
            log(held_back);
        }
    }

    fn limit_reached(&self, ip: IpAddr) -> Option<u32> {
        let AcceptConfig {
            per_address_max,
            total_max,
            ..
        } = self.accept_config;
        let total: usize = self.workers.iter().map(|worker| worker.count.load(Relaxed)).sum();
        if total_max > 0 && total >= total_max as usize {
            return Some(total_max);
        }
        let of_address = self.per_address.lock().get(&ip).copied().unwrap_or(0);
        (per_address_max > 0 && of_address >= per_address_max).then_some(per_address_max)
    }

    async fn serve(self: Arc<Workers>, at: usize, mut queue: UnboundedReceiver<Accepted>) {
        while let Some(Accepted { stream, peer }) = queue.recv().await {
            let all = Arc::clone(&self);
            tokio::spawn(async move {
                all.serve_one(stream, peer).await;
                all.released(at, peer.ip());
            });
        }
    }

    async fn serve_one(&self, stream: StdStream, peer: SocketAddr) {
        let stream = match TcpStream::from_std(stream) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%peer, %error, "cannot serve a connection");
                return;
            }
        };
        let shared = &self.context.shared;
        let id = ConnId(self.next_id.fetch_add(1, Relaxed));
        let wall_ms = self.context.clock.now().wall_ms;
        let conn = Arc::new(ConnShared::new(id, peer, Arc::from([ip_id(peer.ip())]), wall_ms));
        shared.conns.lock().insert(id, Arc::clone(&conn));
        client_task::run(
            &self.context,
            stream,
            ClientConn::new(Arc::clone(&self.client_config), conn),
        )
        .await;
        shared.conns.lock().remove(&id);
    }

    fn released(&self, at: usize, ip: IpAddr) {
        self.workers[at].count.fetch_sub(1, Relaxed);
        let mut per_address = self.per_address.lock();
        if let Some(count) = per_address.get_mut(&ip) {
            *count -= 1;
            if *count == 0 {
                per_address.remove(&ip);
            }
        }
    }
}

/// How long accepting pauses when the system refuses.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
