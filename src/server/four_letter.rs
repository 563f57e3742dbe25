//! What four-letter words show of this process.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::clock::Clock;
use super::in_force::InForce;
use crate::client::four_letter::{
    Conf, Connection, Gauges, ServerView, SessionStats, Status, Whitelist, respond,
};
use crate::clock::{Millis, Now};
use crate::ids::{ConnId, SessionId};
use crate::metrics::{Metrics, ResponseSize};
use crate::proto::frame::FourLetterWord;
use crate::proto::opcode::OpCode;
use crate::shared::{ConnShared, Mode, RoleStatus, Shared, ZabState};

/// Answers four-letter words for one server.
pub struct FourLetterAnswers {
    /// Which words are answered.
    pub whitelist: Whitelist,
    /// The lines of `conf` that stay what they are.
    pub conf: Conf,
    /// The others.
    pub in_force: InForce,
    /// The snapshot and the log directory.
    pub dirs: (PathBuf, PathBuf),
    /// The state.
    pub shared: Arc<Shared>,
    /// The clocks.
    pub clock: Clock,
    /// When the server began to serve.
    pub started: Millis,
    /// Whether clients get sessions that only this server knows.
    pub has_local_sessions: bool,
}

impl FourLetterAnswers {
    /// The whole text.
    pub fn answer(&self, word: FourLetterWord, rest: &[u8], asking: ConnId) -> String {
        let view = View {
            answers: self,
            asking,
            now: self.clock.now(),
        };
        respond(word, rest, &self.whitelist, &view)
    }
}

/// The server as it is while one word is answered.
struct View<'a> {
    answers: &'a FourLetterAnswers,
    asking: ConnId,
    now: Now,
}

impl View<'_> {
    fn shared(&self) -> &Shared {
        &self.answers.shared
    }

    fn conns(&self) -> Vec<Arc<ConnShared>> {
        self.shared().conns.lock().values().cloned().collect()
    }

    fn sessions_by_conn(&self) -> BTreeMap<ConnId, SessionId> {
        self.conns()
            .iter()
            .map(|conn| (conn.id, conn.session_id()))
            .collect()
    }

    fn walls(&self, buckets: Vec<(Millis, Vec<SessionId>)>) -> Vec<(i64, Vec<SessionId>)> {
        let buckets = buckets.into_iter();
        buckets.map(|(at, sessions)| (self.wall(at), sessions)).collect()
    }

    /// A monotonic time as wall clock, milliseconds since the Unix epoch.
    fn wall(&self, at: Millis) -> i64 {
        self.now.wall_ms + at.0 as i64 - self.now.mono.0 as i64
    }
}

impl ServerView for View<'_> {
    fn is_serving(&self) -> bool {
        // A member between two roles has nothing to show.
        let role = self.role();
        let is_active = match role.mode {
            Mode::Standalone => true,
            Mode::ReadOnly => return self.shared().is_read_only.load(Relaxed),
            Mode::Looking | Mode::Leader | Mode::Follower | Mode::Observer => {
                role.state == ZabState::Broadcast
            }
        };
        is_active && self.shared().is_serving.load(Relaxed)
    }

    fn damage(&self) -> Option<String> {
        self.shared().damage.lock().clone()
    }

    fn environment(&self) -> Vec<(String, String)> {
        environment()
    }

    fn status(&self) -> Status {
        let shared = self.shared();
        let (zxid, node_count) = {
            let tree = shared.tree.read();
            (tree.last_processed_zxid(), tree.node_count())
        };
        let latency = &shared.stats.latency;
        Status {
            version: version_text(),
            latency_ms: (latency.min(), latency.avg(), latency.max()),
            received: shared.stats.packets_received.load(Relaxed),
            sent: shared.stats.packets_sent.load(Relaxed),
            connections_count: shared.conns.lock().len(),
            outstanding: shared.outstanding.load(Relaxed),
            zxid,
            node_count,
        }
    }

    fn role(&self) -> RoleStatus {
        let mut role = self.shared().role.lock().clone();
        if let Some(leading) = &mut role.leading {
            let size = &self.shared().proposal_size;
            leading.proposal_bytes = [size.last(), size.min(), size.max()];
        }
        role
    }

    fn gauges(&self) -> Gauges {
        let shared = self.shared();
        let active_since = shared.role.lock().active_since_ms.map(Millis);
        let (ephemerals_count, approximate_data_size, global_sessions, quotas) = {
            let tree = shared.tree.read();
            (
                tree.ephemerals_count(),
                tree.approximate_data_size(),
                tree.sessions().len(),
                tree.quota_totals(),
            )
        };
        Gauges {
            ephemerals_count,
            watch_count: shared.watches.count(),
            approximate_data_size,
            global_sessions,
            local_sessions: shared.local_sessions.lock().len(),
            uptime_ms: (self.now.mono - active_since.unwrap_or(self.answers.started)).0,
            open_file_descriptor_count: fs::read_dir("/proc/self/fd").map_or(0, |dir| dir.count() as u64),
            max_file_descriptor_count: rustix::process::getrlimit(rustix::process::Resource::Nofile)
                .current
                .unwrap_or(u64::MAX >> 1),
            auth_failed_count: shared.stats.auth_failed.load(Relaxed),
            quotas,
            connection_drop_probability: shared.connection_throttle.lock().drop_probability(),
        }
    }

    fn metrics(&self) -> &Metrics {
        &self.answers.shared.metrics
    }

    fn response_size(&self) -> &ResponseSize {
        &self.answers.shared.response_size
    }

    fn conf(&self) -> Conf {
        let mut conf = self.answers.conf.clone();
        self.answers.in_force.fill(&mut conf);
        conf
    }

    fn connections(&self) -> Vec<Connection> {
        self.conns()
            .iter()
            .map(|conn| connection(conn, conn.id == self.asking))
            .collect()
    }

    fn session_buckets(&self) -> Vec<(i64, Vec<SessionId>)> {
        self.walls(self.shared().sessions.lock().buckets())
    }

    fn local_session_buckets(&self) -> Option<Vec<(i64, Vec<SessionId>)>> {
        let buckets = || self.shared().local_sessions.lock().buckets();
        let is_read_only = self.shared().is_read_only.load(Relaxed);
        (self.answers.has_local_sessions || is_read_only).then(|| self.walls(buckets()))
    }

    fn global_sessions(&self) -> Vec<(SessionId, i32)> {
        let tree = self.shared().tree.read();
        let sessions = tree.sessions().iter();
        sessions
            .map(|(session, timeout_ms)| (*session, *timeout_ms))
            .collect()
    }

    fn ephemerals(&self) -> Vec<(SessionId, Vec<String>)> {
        self.shared().tree.read().sessions_with_ephemerals()
    }

    fn connection_buckets(&self) -> Vec<(i64, Vec<(SocketAddr, SessionId)>)> {
        let mut buckets: BTreeMap<i64, Vec<(SocketAddr, SessionId)>> = BTreeMap::new();
        for conn in self.conns() {
            let timeout = Millis(
                u64::try_from(conn.timeout_ms())
                    .unwrap_or(0)
                    .max(CONNECTION_BUCKET_MS),
            );
            let at = conn.last_heard().0.max(self.now.mono.0) + timeout.0;
            let bucket = (at / CONNECTION_BUCKET_MS + 1) * CONNECTION_BUCKET_MS;
            buckets
                .entry(self.wall(Millis(bucket)))
                .or_default()
                .push((conn.peer, conn.session_id()));
        }
        buckets.into_iter().collect()
    }

    fn watch_summary(&self) -> (usize, usize, usize) {
        self.shared().watches.summary()
    }

    fn watches_by_session(&self) -> Vec<(SessionId, Vec<String>)> {
        let sessions = self.sessions_by_conn();
        let by_conn = self.shared().watches.by_connection();
        by_conn
            .into_iter()
            .filter_map(|(conn, paths)| Some((*sessions.get(&conn)?, paths)))
            .collect()
    }

    fn watches_by_path(&self) -> Vec<(String, Vec<SessionId>)> {
        let sessions = self.sessions_by_conn();
        let known = |conns: Vec<ConnId>| {
            conns
                .iter()
                .filter_map(|conn| sessions.get(conn).copied())
                .collect()
        };
        self.shared()
            .watches
            .by_path()
            .into_iter()
            .map(|(path, conns)| (path, known(conns)))
            .collect()
    }

    fn dir_sizes(&self) -> (u64, u64) {
        let (snapshots, logs) = &self.answers.dirs;
        (dir_bytes(snapshots), dir_bytes(logs))
    }

    fn reset_connection_stats(&self) {
        self.conns().iter().for_each(|conn| conn.stats.reset());
    }

    fn reset_server_stats(&self) {
        self.shared().stats.reset();
        self.shared().metrics.reset();
        self.shared().response_size.reset();
        self.shared().proposal_size.reset();
    }
}

/// The version as monitoring expects it: Apache's number whose contract this server keeps, then our own
/// where Apache has its revision.
pub fn version_text() -> String {
    format!(
        "3.9.5-zkserver-{}, built on 2026-11-21 00:00 UTC",
        env!("CARGO_PKG_VERSION")
    )
}

/// `key=value` of `envi`. Names of the Java machine have no value here.
fn environment() -> Vec<(String, String)> {
    let uname = rustix::system::uname();
    let text = |value: &std::ffi::CStr| value.to_string_lossy().into_owned();
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| NO_VALUE.into());
    let memory = memory_mb();
    let directory = std::env::current_dir().map_or(NO_VALUE.into(), |dir| dir.display().to_string());
    let own = [
        ("zookeeper.version", version_text()),
        ("host.name", text(uname.nodename())),
        ("os.name", text(uname.sysname())),
        ("os.arch", text(uname.machine())),
        ("os.version", text(uname.release())),
        ("user.name", variable("USER")),
        ("user.home", variable("HOME")),
        ("user.dir", directory),
        ("os.memory.free", format!("{}MB", memory.0)),
        ("os.memory.max", format!("{}MB", memory.1)),
        ("os.memory.total", format!("{}MB", memory.1)),
    ];
    let java = JAVA_NAMES.map(|name| (name, NO_VALUE.to_string()));
    let mut lines: Vec<(&str, String)> = own.into();
    lines.splice(2..2, java);
    lines
        .into_iter()
        .map(|(key, value)| (key.to_string(), value))
        .collect()
}

/// Available and whole memory of the machine, in MiB.
fn memory_mb() -> (u64, u64) {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
            .unwrap_or(0)
            / 1024
    };
    (line("MemAvailable:"), line("MemTotal:"))
}

fn connection(conn: &ConnShared, is_asking: bool) -> Connection {
    let stats = &conn.stats;
    let session = conn.session_id();
    let latency = &stats.latency;
    Connection {
        peer: SocketAddr::new(canonical(conn.peer.ip()), conn.peer.port()),
        interest: u8::from(!is_asking),
        queued: u64::try_from(stats.outstanding.load(Relaxed)).unwrap_or(0),
        received: stats.received.load(Relaxed),
        sent: stats.sent.load(Relaxed),
        session: (session != SessionId(0)).then(|| SessionStats {
            session,
            last_op: OpCode::from_code(stats.last_op.load(Relaxed)),
            established: stats.established,
            timeout_ms: conn.timeout_ms(),
            last_cxid: Some(stats.last_cxid.load(Relaxed)).filter(|cxid| *cxid >= 0),
            last_zxid: crate::ids::Zxid(stats.last_zxid.load(Relaxed)),
            last_response_ms: stats.last_response.load(Relaxed),
            latency_ms: [latency.last(), latency.min(), latency.avg() as u64, latency.max()],
        }),
    }
}

fn canonical(ip: IpAddr) -> IpAddr {
    if ip.is_unspecified() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    } else {
        ip.to_canonical()
    }
}

/// Bytes of all files under a directory, preallocated room included.
pub fn dir_bytes(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => dir_bytes(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

/// Apache's connection buckets are as wide as the time that a connection may stay without a session.
const CONNECTION_BUCKET_MS: u64 = 10_000;
const NO_VALUE: &str = "<NA>";
const JAVA_NAMES: [&str; 7] = [
    "java.version",
    "java.vendor",
    "java.home",
    "java.class.path",
    "java.library.path",
    "java.io.tmpdir",
    "java.compiler",
];

#[cfg(test)]
mod tests;
