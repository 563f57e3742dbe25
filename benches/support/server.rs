//! A server that stands alone, without its threads, sockets, clocks and disk: connections, a replica and the
//! encoding of a log, called in turn as the threads call them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use zkserver::auth::ip_id;
use zkserver::client::{ClientConn, Submit};
use zkserver::clock::{Millis, Now};
use zkserver::ids::{ConnId, ServerId, Zxid};
use zkserver::proto::jute::Put;
use zkserver::replica::{Input, Output, Outputs, Replica};
use zkserver::session::tracker::SessionTracker;
use zkserver::shared::{ConnShared, Shared};
use zkserver::storage::log_writer::LogWriter;
use zkserver::storage::{Compression, StorageConfig};
use zkserver::tree::DataTree;

use super::configs::{Limits, START, TICK, client_config, now, replica_config};
use super::no_disk::NoDisk;

/// A server, and its ends of its clients' connections.
pub struct Server {
    /// The state.
    pub shared: Arc<Shared>,
    conns: Vec<ClientConn>,
    replica: Replica,
    log: LogWriter<NoDisk>,
    outputs: Outputs,
    submits: Vec<Submit>,
    now: Now,
    /// The last that was appended to the log.
    appended: Zxid,
}

impl Server {
    /// One that serves this tree and takes no snapshots.
    pub fn new(tree: DataTree) -> Server {
        let limits = Limits {
            snap_count: Some(1 << 40),
            ..Limits::default()
        };
        let now = now(START);
        let shared = Arc::new(Shared::new(tree, SessionTracker::new(Millis(TICK), 1), 1));
        shared.is_serving.store(true, Relaxed);
        let mut replica = Replica::new(Arc::clone(&shared), replica_config(ServerId(1), &limits), now, 1);
        let mut outputs = Outputs::default();
        replica.start(now, &mut outputs);
        let mut server = Server {
            shared,
            conns: Vec::new(),
            replica,
            log: LogWriter::new(NoDisk, &storage_config()),
            outputs,
            submits: Vec::new(),
            now,
            appended: Zxid::ZERO,
        };
        server.execute();
        server
    }

    /// A client with a session. Returns the number of its connection.
    pub fn connect(&mut self) -> usize {
        let at = self.conns.len();
        let peer = "127.0.0.1:40000".parse().expect("an address");
        let shared = ConnShared::new(
            ConnId(at as u64),
            0,
            peer,
            Arc::from([ip_id(peer.ip())]),
            self.now.wall_ms,
        );
        let config = client_config(&Limits::default());
        self.conns.push(ClientConn::new(config, Arc::new(shared)));
        self.submit(at, &connect_request());
        self.commit();
        assert!(self.drain(at) > 0, "the session is open");
        at
    }

    /// The connection's number among all, as watches know it.
    pub fn conn_id(&self, at: usize) -> ConnId {
        self.conns[at].shared().id
    }

    /// A client's thread: requests arrive, reads are answered. Returns the bytes that were answered.
    pub fn read(&mut self, at: usize, requests: &[u8]) -> usize {
        self.conns[at].input_buffer().extend_from_slice(requests);
        self.drain(at)
    }

    /// A client's thread, then the core and the log as far as they get without the disk: requests arrive, are
    /// proposed, and their transactions are appended.
    pub fn submit(&mut self, at: usize, requests: &[u8]) {
        self.read(at, requests);
        let conn = Arc::clone(self.conns[at].shared());
        for submit in self.submits.drain(..) {
            let input = match submit {
                Submit::Connect(request) => Input::Connect {
                    conn: Arc::clone(&conn),
                    request,
                },
                Submit::Request(request) => Input::Client(request),
            };
            self.replica.handle(self.now, input, &mut self.outputs);
        }
        self.execute();
    }

    /// What was appended is on disk: it is applied, watches fire, and replies are in the outboxes.
    pub fn commit(&mut self) {
        self.log.sync().expect("a disk that never fails");
        let durable = Input::LogDurable { upto: self.appended };
        self.replica.handle(self.now, durable, &mut self.outputs);
        self.execute();
    }

    /// A client's thread that was woken: what the outbox holds is sent. Returns the bytes of it.
    pub fn drain(&mut self, at: usize) -> usize {
        let conn = &mut self.conns[at];
        let has_more = conn.advance(self.now, &self.shared, &mut self.submits);
        assert!(!has_more && !conn.is_closing(), "a batch is answered at once");
        let bytes = conn.output().len();
        conn.sent(bytes);
        bytes
    }

    /// Requests of one client on their whole way. Returns the bytes of the replies.
    pub fn write(&mut self, at: usize, requests: &[u8]) -> usize {
        self.submit(at, requests);
        self.commit();
        self.drain(at)
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "what only members say")]
    fn execute(&mut self) {
        for output in self.outputs.list.drain(..) {
            match output {
                Output::AppendLog(entry) => {
                    self.log.append(entry.zxid, &entry.encoded);
                    self.appended = entry.zxid;
                }
                Output::RollLog => self.log.roll(),
                Output::Serving(_) => {}
                other => panic!("a server that stands alone says {other:?}"),
            }
        }
        self.outputs.wake.clear();
    }
}

/// Where nothing is written.
pub fn storage_config() -> StorageConfig {
    StorageConfig {
        snap_dir: PathBuf::from("/version-2"),
        log_dir: PathBuf::from("/version-2"),
        prealloc_bytes: 64 << 20,
        force_sync: true,
        compression: Compression::default(),
        trust_empty_snapshot: false,
        digest_enabled: true,
        log_size_limit: None,
        record_bytes_max: 8 << 20,
        autocreate: true,
        may_begin_empty: true,
    }
}

/// A client asks for a session of 30 s.
fn connect_request() -> Vec<u8> {
    let mut payload = Vec::new();
    payload.put_int(0);
    payload.put_long(0);
    payload.put_int(30_000);
    payload.put_long(0);
    payload.put_buffer(Some(&[0; 16]));
    payload.put_bool(false);
    let mut frame = Vec::new();
    frame.put_buffer(Some(&payload));
    frame
}
