//! The threads that serve clients: each a runtime of its own, on which its connections stay.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
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
use super::wakes::Wakes;
use crate::auth::ip_id;
use crate::client::{ClientConfig, ClientConn};
use crate::ids::ConnId;
use crate::proto::acl::Id;
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
    per_address: Mutex<BTreeMap<IpAddr, OfAddress>>,
    wakes: Arc<Wakes>,
}

struct Worker {
    streams: UnboundedSender<Accepted>,
    count: Arc<AtomicUsize>,
}

struct Accepted {
    stream: StdStream,
    peer: SocketAddr,
    ids: Arc<[Id]>,
}

/// The connections of one client address.
struct OfAddress {
    count: u32,
    /// The identity that all of them begin with.
    ids: Arc<[Id]>,
}

impl Workers {
    /// Starts as many threads as there are to be woken.
    pub fn start(
        context: Arc<ClientContext>,
        client_config: Arc<ClientConfig>,
        accept_config: AcceptConfig,
        wakes: Arc<Wakes>,
    ) -> io::Result<Arc<Workers>> {
        let mut workers = Vec::new();
        let mut queues = Vec::new();
        for _ in 0..wakes.threads() {
            let (streams, queue) = unbounded_channel();
            workers.push(Worker {
                streams,
                count: Arc::new(AtomicUsize::new(0)),
            });
            queues.push(queue);
        }
        let per_address = Mutex::new(BTreeMap::new());
        let next_id = AtomicU64::new(1);
        let all = Arc::new(Workers {
            context,
            client_config,
            accept_config,
            workers,
            next_id,
            per_address,
            wakes,
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
        let _ = worker.streams.send(Accepted {
            stream,
            peer: SocketAddr::new(ip, peer.port()),
            ids: self.ids_of_one_more(ip),
        });
        Ok(())
    }

    fn ids_of_one_more(&self, ip: IpAddr) -> Arc<[Id]> {
        let mut per_address = self.per_address.lock();
        let address = per_address.entry(ip).or_insert_with(|| OfAddress {
            count: 0,
            ids: Arc::from([ip_id(ip)]),
        });
        address.count += 1;
        Arc::clone(&address.ids)
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
        let of_address = self
            .per_address
            .lock()
            .get(&ip)
            .map_or(0, |address| address.count);
        (per_address_max > 0 && of_address >= per_address_max).then_some(per_address_max)
    }

    async fn serve(self: Arc<Workers>, at: usize, mut queue: UnboundedReceiver<Accepted>) {
        let wakes = Arc::clone(&self.wakes);
        tokio::spawn(async move { wakes.pass_on(at).await });
        while let Some(Accepted { stream, peer, ids }) = queue.recv().await {
            let id = ConnId(self.next_id.fetch_add(1, Relaxed));
            let wall_ms = self.context.clock.now().wall_ms;
            let conn = Arc::new(ConnShared::new(id, at as u32, peer, ids, wall_ms));
            let all = Arc::clone(&self);
            tokio::spawn(async move {
                let mut stream = match TcpStream::from_std(stream) {
                    Ok(stream) => stream,
                    Err(error) => {
                        tracing::warn!(peer = %conn.peer, %error, "cannot serve a connection");
                        return all.released(&conn);
                    }
                };
                let ClientContext { shared, .. } = &*all.context;
                shared.conns.lock().insert(conn.id, Arc::clone(&conn));
                let mut client = ClientConn::new(Arc::clone(&all.client_config), Arc::clone(&conn));
                client_task::run(&all.context, &mut stream, &mut client).await;
                shared.conns.lock().remove(&conn.id);
                all.released(&conn);
            });
        }
    }

    fn released(&self, conn: &ConnShared) {
        self.workers[conn.thread as usize].count.fetch_sub(1, Relaxed);
        let mut per_address = self.per_address.lock();
        if let Entry::Occupied(mut address) = per_address.entry(conn.peer.ip()) {
            address.get_mut().count -= 1;
            if address.get().count == 0 {
                address.remove();
            }
        }
    }
}

/// How long accepting pauses when the system refuses.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
