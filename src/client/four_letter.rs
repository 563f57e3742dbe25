//! Four-letter words: what operators, scripts and monitoring ask in place of a first frame (Command and its
//! subclasses). The texts are byte for byte those of Apache's server, since scripts take them apart.
//!
//! Nothing here is known by itself: a [`ServerView`] is asked, and only for what the word shows.

mod java_text;
mod mntr;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;

use crate::ids::{SessionId, Zxid};
use crate::metrics::{Metrics, ResponseSize};
use crate::proto::frame::FourLetterWord;
use crate::proto::opcode::OpCode;
use crate::shared::{Mode, RoleStatus};
use crate::tree::QuotaTotals;

use java_text::{address, date, double};

/// What the words show of a server, and the two things that they do to it.
pub trait ServerView {
    /// Whether requests are served. While they are not, nothing but this and the environment is asked for.
    fn is_serving(&self) -> bool;
    /// Why they are not, if that does not end by itself.
    fn damage(&self) -> Option<String>;
    /// `key=value` lines of `envi` in order; `zookeeper.version` comes first, since clients read no further.
    fn environment(&self) -> Vec<(String, String)>;
    /// The figures of `srvr`.
    fn status(&self) -> Status;
    /// The part in the ensemble.
    fn role(&self) -> RoleStatus;
    /// Gauges beside those of the status.
    fn gauges(&self) -> Gauges;
    /// Everything counted.
    fn metrics(&self) -> &Metrics;
    /// Sizes of replies.
    fn response_size(&self) -> &ResponseSize;
    /// The configuration that is in force.
    fn conf(&self) -> Conf;
    /// All client connections, this one included.
    fn connections(&self) -> Vec<Connection>;
    /// Sessions by the time at which they expire, in milliseconds since the Unix epoch.
    fn session_buckets(&self) -> Vec<(i64, Vec<SessionId>)>;
    /// The same of the sessions that only this server knows; `None` where there are no such.
    fn local_session_buckets(&self) -> Option<Vec<(i64, Vec<SessionId>)>>;
    /// Every session of the ensemble with its timeout in milliseconds, in ascending order.
    fn global_sessions(&self) -> Vec<(SessionId, i32)>;
    /// Paths of ephemerals by owner.
    fn ephemerals(&self) -> Vec<(SessionId, Vec<String>)>;
    /// Connections by the time at which they are closed if nothing is heard, in milliseconds since the epoch.
    /// The session is 0 before the handshake.
    fn connection_buckets(&self) -> Vec<(i64, Vec<(SocketAddr, SessionId)>)>;
    /// Connections that have held data watches, paths with data watches, and data watches.
    fn watch_summary(&self) -> (usize, usize, usize);
    /// Paths with data watches by session.
    fn watches_by_session(&self) -> Vec<(SessionId, Vec<String>)>;
    /// Sessions with data watches by path.
    fn watches_by_path(&self) -> Vec<(String, Vec<SessionId>)>;
    /// Bytes under the snapshot and the log directory.
    fn dir_sizes(&self) -> (u64, u64);
    /// Begins the statistics of all connections again.
    fn reset_connection_stats(&self);
    /// Begins the statistics of the server, its counters and its summaries again.
    fn reset_server_stats(&self);
}

/// The figures of `srvr`.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// As in `3.9.5-<revision>, built on <date>`.
    pub version: String,
    /// Of requests, least, mean and greatest, in milliseconds.
    pub latency_ms: (u64, f64, u64),
    /// Packets received, words included.
    pub received: u64,
    /// Packets sent.
    pub sent: u64,
    /// Open client connections.
    pub connections_count: usize,
    /// Requests under way.
    pub outstanding: usize,
    /// The last one applied.
    pub zxid: Zxid,
    /// As ZooKeeper counts, the root twice.
    pub node_count: usize,
}

/// Gauges of `mntr`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gauges {
    /// Ephemeral nodes.
    pub ephemerals_count: usize,
    /// Watches in both tables.
    pub watch_count: usize,
    /// Bytes of paths and data.
    pub approximate_data_size: u64,
    /// Sessions of the ensemble.
    pub global_sessions: usize,
    /// Sessions that only this server knows.
    pub local_sessions: usize,
    /// Milliseconds since the server began to serve in its present role.
    pub uptime_ms: u64,
    /// Of this process.
    pub open_file_descriptor_count: u64,
    /// The limit of this process.
    pub max_file_descriptor_count: u64,
    /// Refused authentications.
    pub auth_failed_count: u64,
    /// Limits and use of quotas, by nodes of the first level.
    pub quotas: BTreeMap<String, QuotaTotals>,
    /// The chance of a connect request to be dropped.
    pub connection_drop_probability: f64,
}

/// The lines of `conf`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conf {
    /// -1 for none.
    pub client_port: i32,
    /// -1 for none.
    pub secure_client_port: i32,
    /// Where snapshots are, with `version-2`.
    pub data_dir: String,
    /// Where logs are, with `version-2`.
    pub data_log_dir: String,
    /// Milliseconds.
    pub tick_time: i32,
    /// Per address; 0 for any number.
    pub max_client_cnxns: i32,
    /// Milliseconds.
    pub min_session_timeout: i32,
    /// Milliseconds.
    pub max_session_timeout: i32,
    /// -1 for the system's.
    pub client_port_listen_backlog: i32,
    /// 0 when standalone.
    pub server_id: i64,
    /// Of a member of an ensemble.
    pub ensemble: Option<EnsembleConf>,
}

/// What an ensemble adds to `conf`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnsembleConf {
    /// Ticks.
    pub init_limit: i32,
    /// Ticks.
    pub sync_limit: i32,
    /// Of this server, one for each address.
    pub election_ports: Vec<u16>,
    /// Of this server, one for each address.
    pub quorum_ports: Vec<u16>,
    /// Whether this server is listed without a vote.
    pub is_observer: bool,
    /// How many servers vote.
    pub quorum_size: usize,
    /// The list of servers, without a newline at its end.
    pub membership: String,
}

/// One line of `cons`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Whose it is.
    pub peer: SocketAddr,
    /// What the socket is waited for: 1 to read, 4 to write, 5 both, 0 nothing.
    pub interest: u8,
    /// Requests not answered yet.
    pub queued: u64,
    /// Packets received.
    pub received: u64,
    /// Packets sent.
    pub sent: u64,
    /// `None` before the handshake.
    pub session: Option<SessionStats>,
}

/// The part of a line of `cons` that a session adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionStats {
    /// Its id.
    pub session: SessionId,
    /// `None` before the first one and after a reset.
    pub last_op: Option<OpCode>,
    /// When the connection came, milliseconds since the Unix epoch.
    pub established: i64,
    /// Milliseconds.
    pub timeout_ms: i32,
    /// `None` after a reset.
    pub last_cxid: Option<i32>,
    /// Of the last reply, -1 after a reset.
    pub last_zxid: Zxid,
    /// Of the last reply, monotonic milliseconds.
    pub last_response_ms: i64,
    /// Last, least, mean and greatest, milliseconds.
    pub latency_ms: [u64; 4],
}

/// Which words are answered (`4lw.commands.whitelist`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whitelist {
    /// `*`.
    All,
    /// These, and `srvr`.
    Only(Vec<FourLetterWord>),
}

impl Whitelist {
    /// From the value of the key, or its parts. Parts that are no words allow nothing.
    pub fn new<'a>(parts: impl IntoIterator<Item = &'a str>) -> Whitelist {
        let mut words = vec![FourLetterWord::Srvr];
        for part in parts.into_iter().flat_map(|part| part.split(',')).map(str::trim) {
            if part == "*" {
                return Whitelist::All;
            }
            words.extend(FourLetterWord::ALL.iter().filter(|word| word.name() == part));
        }
        Whitelist::Only(words)
    }

    /// Whether the word is answered.
    pub fn allows(&self, word: FourLetterWord) -> bool {
        match self {
            Whitelist::All => true,
            Whitelist::Only(words) => words.contains(&word),
        }
    }
}

/// The whole answer to a word, after which the connection is closed. `rest` is what came behind the word:
/// only `stmk` has a use for it.
pub fn respond(word: FourLetterWord, rest: &[u8], whitelist: &Whitelist, server: &dyn ServerView) -> String {
    if !whitelist.allows(word) {
        return format!(
            "{} is not executed because it is not in the whitelist.\n",
            word.name()
        );
    }
    let mut out = String::new();
    let written = match word {
        FourLetterWord::Ruok => out.write_str("imok"),
        FourLetterWord::Envi => envi(&mut out, server),
        FourLetterWord::Gtmk => write!(out, "{TRACE_MASK}"),
        FourLetterWord::Stmk => stmk(&mut out, rest),
        FourLetterWord::TelnetClose => Ok(()),
        FourLetterWord::Isro if !server.is_serving() => out.write_str("null"),
        // No digests are remembered.
        FourLetterWord::Hash if server.is_serving() => Ok(()),
        FourLetterWord::Hash => out.write_str(NOT_SERVING),
        _ if !server.is_serving() => not_serving(&mut out, server),
        FourLetterWord::Isro => out.write_str(isro(server)),
        FourLetterWord::Conf => conf(&mut out, server),
        FourLetterWord::Cons => cons(&mut out, server),
        FourLetterWord::Crst => {
            server.reset_connection_stats();
            out.write_str("Connection stats reset.\n")
        }
        FourLetterWord::Dirs => dirs(&mut out, server),
        FourLetterWord::Dump => dump(&mut out, server),
        FourLetterWord::Mntr => mntr::mntr(&mut out, server),
        FourLetterWord::Srst => {
            server.reset_server_stats();
            out.write_str("Server stats reset.\n")
        }
        FourLetterWord::Srvr => srvr(&mut out, server),
        FourLetterWord::Stat => stat(&mut out, server),
        FourLetterWord::Wchc => wchc(&mut out, server),
        FourLetterWord::Wchp => wchp(&mut out, server),
        FourLetterWord::Wchs => wchs(&mut out, server),
    };
    written.expect("a string takes all that is written to it");
    out
}

/// What `srvr` and `mntr` call a part (QuorumStats.Provider). The name of `Looking` shows only elsewhere.
pub fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Standalone => "standalone",
        Mode::Looking => "leaderelection",
        Mode::ReadOnly => "read-only",
        Mode::Leader => "leader",
        Mode::Follower => "follower",
        Mode::Observer => "observer",
    }
}

fn envi(out: &mut String, server: &dyn ServerView) -> std::fmt::Result {
    writeln!(out, "Environment:")?;
    server
        .environment()
        .iter()
        .try_for_each(|(key, value)| writeln!(out, "{key}={value}"))
}

/// There is nothing to trace; scripts get their mask back.
fn stmk(out: &mut String, rest: &[u8]) -> std::fmt::Result {
    rest.first_chunk()
        .map_or(Ok(()), |mask| write!(out, "{}", i64::from_be_bytes(*mask)))
}

fn srvr(out: &mut String, server: &dyn ServerView) -> std::fmt::Result {
    let status = server.status();
    let role = server.role();
    writeln!(out, "Zookeeper version: {}", status.version)?;
    read_only(out, &role)?;
    figures(out, &status, &role)
}

/// What `srvr` and `stat` say of a server that has no leader.
fn read_only(out: &mut String, role: &RoleStatus) -> std::fmt::Result {
    match role.mode {
        Mode::ReadOnly => writeln!(out, "READ-ONLY mode; serving only read-only clients"),
        Mode::Standalone | Mode::Looking | Mode::Leader | Mode::Follower | Mode::Observer => Ok(()),
    }
}

fn isro(server: &dyn ServerView) -> &'static str {
    match server.role().mode {
        Mode::ReadOnly => "ro",
        Mode::Standalone | Mode::Looking | Mode::Leader | Mode::Follower | Mode::Observer => "rw",
    }
}

fn stat(out: &mut String, server: &dyn ServerView) -> std::fmt::Result {
    let (status, role) = (server.status(), server.role());
    writeln!(out, "Zookeeper version: {}", status.version)?;
    read_only(out, &role)?;
    writeln!(out, "Clients:")?;
    for connection in server.connections() {
        brief(out, &connection)?;
        out.write_str(")\n")?;
    }
    out.write_str("\n")?;
    figures(out, &status, &role)
}

fn figures(out: &mut String, status: &Status, role: &RoleStatus) -> std::fmt::Result {
    let (min, avg, max) = status.latency_ms;
    writeln!(out, "Latency min/avg/max: {min}/{}/{max}", double(avg))?;
    writeln!(out, "Received: {}", status.received)?;
    writeln!(out, "Sent: {}", status.sent)?;
    writeln!(out, "Connections: {}", status.connections_count)?;
    writeln!(out, "Outstanding: {}", status.outstanding)?;
    writeln!(out, "Zxid: {}", status.zxid)?;
    writeln!(out, "Mode: {}", mode_name(role.mode))?;
    writeln!(out, "Node count: {}", status.node_count)?;
    let Some(leading) = role.leading.as_ref().filter(|_| role.mode == Mode::Leader) else {
        return Ok(());
    };
    let [last, min, max] = leading.proposal_bytes;
    writeln!(out, "Proposal sizes last/min/max: {last}/{min}/{max}")
}

/// A line about a connection up to where its session would go on.
fn brief(out: &mut String, connection: &Connection) -> std::fmt::Result {
    let Connection {
        peer,
        interest,
        queued,
        received,
        sent,
        session: _,
    } = connection;
    let peer = address(peer);
    write!(
        out,
        " {peer}[{interest:x}](queued={queued},recved={received},sent={sent}"
    )
}

fn cons(out: &mut String, server: &dyn ServerView) -> std::fmt::Result {
    for connection in server.connections() {
        brief(out, &connection)?;
        if let Some(session) = &connection.session {
            session_stats(out, session)?;
        }
        out.write_str(")\n")?;
    }
    out.write_str("\n")
}

fn session_stats(out: &mut String, stats: &SessionStats) -> std::fmt::Result {
    write!(out, ",sid={}", stats.session)?;
    write!(out, ",lop={}", stats.last_op.map_or("NA", op_name))?;
    write!(out, ",est={},to={}", stats.established, stats.timeout_ms)?;
    if let Some(cxid) = stats.last_cxid {
        write!(out, ",lcxid=0x{cxid:x}")?;
    }
    write!(out, ",lzxid={},lresp={}", stats.last_zxid, stats.last_response_ms)?;
    let [last, min, avg, max] = stats.latency_ms;
    write!(out, ",llat={last},minlat={min},avglat={avg},maxlat={max}")
}

fn conf(out: &mut String, server: &dyn ServerView) -> std::fmt::Result {
    let conf = server.conf();
    let (data_bytes, log_bytes) = server.dir_sizes();
    writeln!(out, "clientPort={}", conf.client_port)?;
    writeln!(out, "secureClientPort={}", conf.secure_client_port)?;
    writeln!(out, "dataDir={}\ndataDirSize={data_bytes}", conf.data_dir)?;
    writeln!(out, "dataLogDir={}\ndataLogSize={log_bytes}", conf.data_log_dir)?;
    writeln!(out, "tickTime={}", conf.tick_time)?;
    writeln!(out, "maxClientCnxns={}", conf.max_client_cnxns)?;
    writeln!(out, "minSessionTimeout={}", conf.min_session_timeout)?;
    writeln!(out, "maxSessionTimeout={}", conf.max_session_timeout)?;
    writeln!(out, "clientPortListenBacklog={}", conf.client_port_listen_backlog)?;
    writeln!(out, "serverId={}", conf.server_id)?;
    let Some(ensemble) = conf.ensemble else {
        return Ok(());
    };
    ensemble_conf(out, &ensemble)?;
    match server.role().mode {
        Mode::ReadOnly => Ok(()),
        Mode::Standalone | Mode::Looking | Mode::Leader | Mode::Follower | Mode::Observer => {
            write!(out, "membership: \n{}", ensemble.membership)
        }
    }
}

fn ensemble_conf(out: &mut String, conf: &EnsembleConf) -> std::fmt::Result {
    writeln!(
        out,
        "initLimit={}\nsyncLimit={}",
        conf.init_limit, conf.sync_limit
    )?;
    writeln!(out, "electionAlg={FAST_LEADER_ELECTION}")?;
    writeln!(out, "electionPort={}", ports(&conf.election_ports))?;
    writeln!(out, "quorumPort={}", ports(&conf.quorum_ports))?;
    writeln!(out, "peerType={}", u8::from(conf.is_observer))
}

/// Each once, since the addresses of a server usually share theirs.
fn ports(ports: &[u16]) -> String {
    let mut texts: Vec<String> = Vec::new();
    for port in ports.iter().map(u16::to_string) {
        if !texts.contains(&port) {
            texts.push(port);
        }
    }
    texts.join("|")
}

fn dirs(out: &mut String, server: &dyn ServerView) -> std::fmt::Result {
    let (data_bytes, log_bytes) = server.dir_sizes();
    writeln!(out, "datadir_size: {data_bytes}\nlogdir_size: {log_bytes}")
}

fn dump(out: &mut String, server: &dyn ServerView) -> std::fmt::Result {
    writeln!(out, "SessionTracker dump:")?;
    let session_line = |out: &mut String, session: &SessionId| writeln!(out, "\t{session}");
    let local = server.local_session_buckets();
    if let Some(local) = &local {
        buckets(out, "Local Session", local, session_line)?;
    }
    match server.role().mode {
        Mode::Follower | Mode::Observer | Mode::ReadOnly => global_sessions(out, server)?,
        Mode::Standalone | Mode::Leader | Mode::Looking => {
            let what = match local {
                Some(_) => "Global Session",
                None => "Session",
            };
            buckets(out, what, &server.session_buckets(), session_line)?;
        }
    }
    let ephemerals = server.ephemerals();
    writeln!(out, "ephemeral nodes dump:")?;
    writeln!(out, "Sessions with Ephemerals ({}):", ephemerals.len())?;
    for (session, paths) in ephemerals {
        writeln!(out, "{session}:")?;
        paths.iter().try_for_each(|path| writeln!(out, "\t{path}"))?;
    }
    writeln!(out, "Connections dump:")?;
    let connections = server.connection_buckets();
    buckets(out, "Connections", &connections, |out, (peer, session)| {
        writeln!(out, "\tip: {} sessionId: {session}", address(peer))
    })
}

/// Sessions as a learner knows them: when they expire is the leader's affair.
fn global_sessions(out: &mut String, server: &dyn ServerView) -> std::fmt::Result {
    let sessions = server.global_sessions();
    writeln!(out, "Global Sessions({}):", sessions.len())?;
    let mut sessions = sessions.iter();
    sessions.try_for_each(|(session, timeout_ms)| writeln!(out, "{session}\t{timeout_ms}ms"))
}

fn buckets<T>(
    out: &mut String,
    what: &str,
    buckets: &[(i64, Vec<T>)],
    line: impl Fn(&mut String, &T) -> std::fmt::Result,
) -> std::fmt::Result {
    let total: usize = buckets.iter().map(|(_, elements)| elements.len()).sum();
    writeln!(out, "{what} Sets ({})/({total}):", buckets.len())?;
    for (expiry_ms, elements) in buckets {
        writeln!(out, "{} expire at {}:", elements.len(), date(*expiry_ms))?;
        elements.iter().try_for_each(|element| line(out, element))?;
    }
    Ok(())
}

fn wchs(out: &mut String, server: &dyn ServerView) -> std::fmt::Result {
    let (connections, paths, watches) = server.watch_summary();
    writeln!(out, "{connections} connections watching {paths} paths")?;
    writeln!(out, "Total watches:{watches}")
}

fn wchc(out: &mut String, server: &dyn ServerView) -> std::fmt::Result {
    for (session, paths) in server.watches_by_session() {
        writeln!(out, "{session}")?;
        paths.iter().try_for_each(|path| writeln!(out, "\t{path}"))?;
    }
    out.write_str("\n")
}

fn wchp(out: &mut String, server: &dyn ServerView) -> std::fmt::Result {
    for (path, sessions) in server.watches_by_path() {
        writeln!(out, "{path}")?;
        sessions
            .iter()
            .try_for_each(|session| writeln!(out, "\t{session}"))?;
    }
    out.write_str("\n")
}

/// What `cons` calls an operation (FinalRequestProcessor.lastOp).
fn op_name(op: OpCode) -> &'static str {
    match op {
        OpCode::Ping => "PING",
        OpCode::CreateSession => "SESS",
        OpCode::Multi => "MULT",
        OpCode::MultiRead => "MLTR",
        OpCode::Create | OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl => "CREA",
        OpCode::Delete | OpCode::DeleteContainer => "DELE",
        OpCode::SetData => "SETD",
        OpCode::Reconfig => "RECO",
        OpCode::SetAcl => "SETA",
        OpCode::CloseSession => "CLOS",
        OpCode::Sync => "SYNC",
        OpCode::Check => "CHEC",
        OpCode::Exists => "EXIS",
        OpCode::GetData => "GETD",
        OpCode::SetWatches => "SETW",
        OpCode::SetWatches2 => "STW2",
        OpCode::AddWatch => "ADDW",
        OpCode::GetAcl => "GETA",
        OpCode::GetChildren | OpCode::GetChildren2 => "GETC",
        OpCode::GetAllChildrenNumber => "GETACN",
        OpCode::CheckWatches => "CHKW",
        OpCode::RemoveWatches => "REMW",
        OpCode::WhoAmI => "HOMI",
        OpCode::GetEphemerals => "GETE",
        OpCode::Error | OpCode::Auth | OpCode::Sasl => "NA",
    }
}

/// The reference's line; a damaged server says more.
fn not_serving(out: &mut String, server: &dyn ServerView) -> std::fmt::Result {
    writeln!(out, "{NOT_SERVING}")?;
    match server.damage() {
        Some(damage) => writeln!(out, "Damaged, waits for a leader's snapshot: {damage}"),
        None => Ok(()),
    }
}

const NOT_SERVING: &str = "This ZooKeeper instance is not currently serving requests";
/// `electionAlg`: the only one that is left.
const FAST_LEADER_ELECTION: u8 = 3;
/// The mask that Apache's server starts with.
const TRACE_MASK: i64 = 306;

#[cfg(test)]
mod tests;
