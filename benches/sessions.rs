//! Many sessions of clients that behave: they ping, and when a connection breaks they go to the next server
//! with their session and set their watches again. The scripts beside this file start servers and tell it
//! what to do: `storm.py`, `idle.py`, `connect.py`.
//!
//! Lines of JSON come out: one when all sessions are there, one at the end. It goes on when a line comes in.

#![expect(clippy::print_stdout, reason = "it says what it has measured")]

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use clap::Parser;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::task::{LocalSet, spawn_blocking, spawn_local};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use zkserver::auth::OPEN_ACL;
use zkserver::prng::Prng;
use zkserver::proto::event::EventType;
use zkserver::proto::jute::{Put, Reader};
use zkserver::proto::opcode::{OpCode, XID_EVENT, XID_PING};

const XID_SET_WATCHES: i32 = -8;
/// How many sessions are opened at once; no deeper than a listen backlog.
const OPENING_MAX: usize = 256;
/// How long sessions may take to come back before the rest is given up.
const PATIENCE: Duration = Duration::from_secs(90);
/// Ports of an address that are used before the next address is.
const PORTS: u64 = 50_000;
const PORT_MIN: u64 = 10_000;
const ROOT: &str = "/sessions";

#[derive(Parser)]
struct Options {
    #[arg(value_enum)]
    mode: Mode,
    /// host:port[,host:port...]; sessions are spread over them in turn
    #[arg(long, value_delimiter = ',')]
    hosts: Vec<SocketAddr>,
    /// Connections come from this network of 254 addresses; the last byte does not count.
    #[arg(long, default_value = "127.0.1.0")]
    source: Ipv4Addr,
    /// Sessions, or lanes of `cycle`.
    #[arg(long, default_value_t = 5000)]
    count: usize,
    /// Watches of each session, half of them on data and half on children.
    #[arg(long, default_value_t = 20)]
    watches: usize,
    /// What is watched, by sessions in turn.
    #[arg(long, default_value_t = 10_000)]
    znodes: usize,
    #[arg(long, default_value_t = 6000)]
    timeout_ms: i32,
    /// Clients wait up to so long, at random, before they connect again; Java's up to 1,000.
    #[arg(long, default_value_t = 100)]
    pause_ms: u64,
    /// `cycle`: seconds before it counts, and while it does.
    #[arg(long, default_value_t = 5.0)]
    warmup: f64,
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
}

#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum Mode {
    /// Sessions with watches; `kill PID` comes in, and they come back.
    Storm,
    /// Sessions that do nothing, until a line comes in.
    Hold,
    /// Sessions opened and closed one after another on each of `count` lanes.
    Cycle,
}

/// What all sessions share.
struct World {
    options: Options,
    opening: Semaphore,
    changed: Notify,
    /// When each session came back last; none while it is away.
    back: RefCell<Vec<Option<Instant>>>,
    away: Cell<usize>,
    /// Connections that broke or were not to be had.
    lost: Cell<u64>,
    expired: Cell<u64>,
    /// Whether an expired session is gone for good; before, it makes place for a new one.
    is_storm: Cell<bool>,
    connections: Cell<u64>,
    pings: Cell<u64>,
    events: Cell<u64>,
    closed: Cell<u64>,
}

struct Session {
    at: usize,
    id: i64,
    passwd: Vec<u8>,
    last_zxid: i64,
    random: Prng,
}

struct Conn {
    stream: TcpStream,
    input: Vec<u8>,
}

fn main() {
    // As `cargo bench` and `cargo test --benches` call it.
    if std::env::args().nth(1).is_none_or(|word| word.starts_with("--")) {
        println!("sessions: called by storm.py, idle.py and connect.py");
        return;
    }
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let count = options.count;
    let world = Rc::new(World {
        options,
        opening: Semaphore::new(OPENING_MAX),
        changed: Notify::new(),
        back: RefCell::new(vec![None; count]),
        away: Cell::new(count),
        lost: Cell::new(0),
        expired: Cell::new(0),
        is_storm: Cell::new(false),
        connections: Cell::new(0),
        pings: Cell::new(0),
        events: Cell::new(0),
        closed: Cell::new(0),
    });
    let mode = world.options.mode;
    LocalSet::new().block_on(&runtime, async move {
        match mode {
            Mode::Storm => storm(world).await,
            Mode::Hold => hold(world).await,
            Mode::Cycle => cycle(world).await,
        }
    });
    // A task may still wait for a line.
    runtime.shutdown_background();
}

/// The next line that comes in; empty at the end.
async fn line() -> String {
    let read = spawn_blocking(|| {
        let mut text = String::new();
        io::stdin().read_line(&mut text).map(|_| text)
    });
    read.await.expect("it does not panic").unwrap_or_default()
}

fn add(counter: &Cell<u64>) {
    counter.set(counter.get() + 1);
}

// ---- what is measured

async fn open_all(world: &Rc<World>) {
    let start = Instant::now();
    for at in 0..world.options.count {
        let session = Session {
            at,
            id: 0,
            passwd: vec![0; 16],
            last_zxid: 0,
            random: Prng::new(at as u64 + 1),
        };
        spawn_local(live(Rc::clone(world), session));
    }
    while world.away.get() > 0 {
        world.changed.notified().await;
    }
    let ready_s = start.elapsed().as_secs_f64();
    println!("{}", json!({"ready_s": ready_s, "sessions": world.options.count}));
}

async fn storm(world: Rc<World>) {
    fill(&world).await.expect("znodes to watch");
    open_all(&world).await;
    let told = line().await;
    let pid = told.trim().strip_prefix("kill ").and_then(|pid| pid.parse().ok());
    let pid = Pid::from_raw(pid.expect("kill PID")).expect("a process");
    let (lost_before, expired_before) = (world.lost.get(), world.expired.get());
    world.is_storm.set(true);
    let start = Instant::now();
    kill_process(pid, Signal::KILL).expect("the leader runs");
    let is_settled = settle(&world, start).await;
    let back = world.back.borrow().clone();
    let since = |back: Instant| back.checked_duration_since(start);
    let mut back_ms: Vec<f64> = back
        .iter()
        .filter_map(|back| Some(since((*back)?)?.as_secs_f64() * 1e3))
        .collect();
    back_ms.sort_by(f64::total_cmp);
    let at = |part: f64| back_ms.get(((back_ms.len() as f64 * part) as usize).min(back_ms.len().max(1) - 1));
    let events = told_of_changes(&world).await;
    println!(
        "{}",
        json!({
            "settled": is_settled, "sessions": world.options.count, "watches": world.options.watches,
            "came_back": back_ms.len(), "expired": world.expired.get() - expired_before,
            "expired_before": expired_before, "still_away": world.away.get(),
            "first_back_ms": at(0.0), "median_back_ms": at(0.5), "p99_back_ms": at(0.99),
            "all_back_ms": at(1.0),
            "lost_connections": world.lost.get() - lost_before,
            "events_expected": events.0, "events_seen": events.1,
        })
    );
}

/// Waits until every session that is left has been back for longer than a session lives without its client.
async fn settle(world: &World, start: Instant) -> bool {
    let stay = Duration::from_millis(world.options.timeout_ms as u64 + 2000);
    while start.elapsed() < PATIENCE {
        let lost = world.lost.get();
        // Followers take a moment to see that their leader is gone.
        let _ = timeout(Duration::from_millis(200), world.changed.notified()).await;
        if world.away.get() > 0 {
            continue;
        }
        sleep(stay).await;
        if world.lost.get() == lost && world.away.get() == 0 {
            return true;
        }
    }
    false
}

/// Changes what is watched: how many events have to come of it, and how many came.
async fn told_of_changes(world: &World) -> (u64, u64) {
    let Options {
        count,
        watches,
        znodes,
        ..
    } = world.options;
    let step = (znodes / 100).max(1);
    let mut expected = 0;
    for session in 0..count {
        let is_alive = world.back.borrow()[session].is_some();
        let changed = data_watches(session, watches, znodes).filter(|node| node % step == 0);
        expected += changed.count() as u64 * u64::from(is_alive);
    }
    let before = world.events.get();
    let writes = (0..znodes).step_by(step).map(|node| {
        frame(1, OpCode::SetData.code(), |out| {
            out.put_string(&path(node));
            out.put_buffer(Some(b"changed"));
            out.put_int(-1);
        })
    });
    control(world, writes.collect())
        .await
        .expect("a server that takes writes");
    let until = Instant::now() + Duration::from_secs(5);
    while world.events.get() - before < expected && Instant::now() < until {
        sleep(Duration::from_millis(10)).await;
    }
    (expected, world.events.get() - before)
}

async fn hold(world: Rc<World>) {
    open_all(&world).await;
    let (pings, start) = (world.pings.get(), Instant::now());
    line().await;
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{}",
        json!({
            "sessions": world.options.count, "seconds": seconds, "lost_connections": world.lost.get(),
            "expired": world.expired.get(), "still_away": world.away.get(),
            "pings": world.pings.get() - pings,
        })
    );
}

async fn cycle(world: Rc<World>) {
    for lane in 0..world.options.count {
        spawn_local(lane_of_sessions(Rc::clone(&world), lane));
    }
    sleep(Duration::from_secs_f64(world.options.warmup)).await;
    let (closed, lost, start) = (world.closed.get(), world.lost.get(), Instant::now());
    println!("{}", json!({"warm": true}));
    sleep(Duration::from_secs_f64(world.options.seconds)).await;
    let (count, seconds) = (world.closed.get() - closed, start.elapsed().as_secs_f64());
    println!(
        "{}",
        json!({
            "sessions": count, "sessions_per_s": (count as f64 / seconds).round(),
            "failed": world.lost.get() - lost,
        })
    );
}

async fn lane_of_sessions(world: Rc<World>, lane: usize) {
    let hosts = &world.options.hosts;
    loop {
        let mut session = Session {
            at: lane,
            id: 0,
            passwd: vec![0; 16],
            last_zxid: 0,
            random: Prng::new(1),
        };
        let one = async {
            let mut conn = Conn::open(&world, hosts[lane % hosts.len()], &mut session).await?;
            conn.stream
                .write_all(&frame(1, OpCode::CloseSession.code(), |_| ()))
                .await?;
            conn.frame().await
        };
        add(if one.await.is_ok() {
            &world.closed
        } else {
            &world.lost
        });
    }
}

// ---- a client

/// Lives as long as its session.
async fn live(world: Rc<World>, mut session: Session) {
    let hosts = &world.options.hosts;
    let patience = Duration::from_millis(world.options.timeout_ms as u64) / hosts.len() as u32;
    for turn in session.at.. {
        let is_new = session.id == 0;
        let permit = match is_new {
            true => world.opening.acquire().await.ok(),
            false => None,
        };
        let host = hosts[turn % hosts.len()];
        let opened = timeout(patience, Conn::open(&world, host, &mut session));
        match opened.await {
            Ok(Ok(mut conn)) => {
                let watched = conn.watch(&world, &mut session, is_new).await;
                drop(permit);
                if watched.is_ok() {
                    world.is_back(session.at);
                    let _ = conn.serve(&world, &mut session).await;
                }
            }
            Ok(Err(error)) if error.kind() == ErrorKind::PermissionDenied => {
                add(&world.expired);
                if world.is_storm.get() {
                    return world.is_away(session.at, true);
                }
                session.id = 0;
                session.passwd = vec![0; 16];
            }
            Ok(Err(_)) | Err(_) => {}
        }
        add(&world.lost);
        world.is_away(session.at, false);
        let pause = session.random.below(world.options.pause_ms + 1);
        sleep(Duration::from_millis(pause)).await;
    }
}

impl World {
    /// A socket with an address of its own. The kernel would search for a free port, and long once many are
    /// taken.
    fn socket(&self) -> io::Result<TcpSocket> {
        let [a, b, c, _] = self.options.source.octets();
        loop {
            add(&self.connections);
            let at = self.connections.get();
            let address = Ipv4Addr::new(a, b, c, (at / PORTS % 254) as u8 + 1);
            let socket = TcpSocket::new_v4()?;
            socket.set_reuseaddr(true)?;
            match socket.bind((address, (PORT_MIN + at % PORTS) as u16).into()) {
                Err(error) if error.kind() == ErrorKind::AddrInUse => {}
                bound => return bound.map(|()| socket),
            }
        }
    }

    fn is_back(&self, at: usize) {
        self.back.borrow_mut()[at] = Some(Instant::now());
        self.away.set(self.away.get() - 1);
        self.changed.notify_one();
    }

    /// A session that is gone for good is not waited for.
    fn is_away(&self, at: usize, for_good: bool) {
        let was_back = self.back.borrow_mut()[at].take().is_some();
        let away = self.away.get() + usize::from(was_back) - usize::from(for_good);
        self.away.set(away);
        self.changed.notify_one();
    }
}

impl Conn {
    /// Connects and presents the session; `PermissionDenied` if it has expired.
    async fn open(world: &World, host: SocketAddr, session: &mut Session) -> io::Result<Conn> {
        let mut stream = world.socket()?.connect(host).await?;
        stream.set_nodelay(true)?;
        let mut out = vec![0; 4];
        out.put_int(0);
        out.put_long(session.last_zxid);
        out.put_int(world.options.timeout_ms);
        out.put_long(session.id);
        out.put_buffer(Some(&session.passwd));
        out.put_bool(false);
        stream.write_all(&sealed(out)).await?;
        let mut conn = Conn {
            stream,
            input: Vec::new(),
        };
        let answer = conn.frame().await?;
        let mut reader = Reader::new(answer.get(4..).unwrap_or_default());
        let is_granted = reader.int().map_err(invalid)? > 0;
        session.id = reader.long().map_err(invalid)?;
        session.passwd = reader.buffer().map_err(invalid)?.unwrap_or_default().to_vec();
        match is_granted {
            true => Ok(conn),
            false => Err(ErrorKind::PermissionDenied.into()),
        }
    }

    /// Leaves the watches of a new session, or sets those of an old one again, and waits for the answers.
    async fn watch(&mut self, world: &World, session: &mut Session, is_new: bool) -> io::Result<()> {
        let Options { watches, znodes, .. } = world.options;
        if watches == 0 {
            return Ok(());
        }
        let on_data = data_watches(session.at, watches, znodes);
        let on_children = child_watches(session.at, watches, znodes);
        let (mut out, mut answers) = (Vec::new(), 1);
        if is_new {
            let data = on_data.map(|node| (node, OpCode::GetData));
            for (node, op) in data.chain(on_children.map(|node| (node, OpCode::GetChildren2))) {
                out.extend(frame(1, op.code(), |out| {
                    out.put_string(&path(node));
                    out.put_bool(true);
                }));
            }
            answers = watches;
        } else {
            out = frame(XID_SET_WATCHES, OpCode::SetWatches.code(), |out| {
                out.put_long(session.last_zxid);
                put_paths(out, on_data.collect());
                put_paths(out, Vec::new());
                put_paths(out, on_children.collect());
            });
        }
        self.stream.write_all(&out).await?;
        while answers > 0 {
            let xid = self.answer(world, session).await?;
            answers -= usize::from(xid == XID_SET_WATCHES || xid > 0);
        }
        Ok(())
    }

    /// Pings when nothing else was sent for a third of the timeout; ends with the connection.
    async fn serve(&mut self, world: &World, session: &mut Session) -> io::Result<()> {
        let third = Duration::from_millis(world.options.timeout_ms as u64) / 3;
        let ping = frame(XID_PING, OpCode::Ping.code(), |_| ());
        let (mut ping_at, mut heard) = (Instant::now() + third, Instant::now());
        loop {
            tokio::select! {
                answer = self.answer(world, session) => {
                    answer?;
                    heard = Instant::now();
                }
                () = sleep_until(ping_at) => {
                    if heard.elapsed() > third * 2 {
                        return Err(ErrorKind::TimedOut.into());
                    }
                    self.stream.write_all(&ping).await?;
                    add(&world.pings);
                    ping_at += third;
                }
            }
        }
    }

    /// Takes in one reply or event: its xid. An error in it ends the connection.
    async fn answer(&mut self, world: &World, session: &mut Session) -> io::Result<i32> {
        let answer = self.frame().await?;
        let mut reader = Reader::new(&answer);
        let xid = reader.int().map_err(invalid)?;
        let zxid = reader.long().map_err(invalid)?;
        let error = reader.int().map_err(invalid)?;
        session.last_zxid = session.last_zxid.max(zxid);
        if xid == XID_EVENT && reader.int().map_err(invalid)? == EventType::NodeDataChanged as i32 {
            add(&world.events);
        }
        match error {
            0 => Ok(xid),
            _ => Err(io::Error::other(format!("error {error} for {xid}"))),
        }
    }

    /// The next frame. Nothing is lost when this is given up halfway.
    async fn frame(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(length) = self.input.first_chunk::<4>() {
                let end = 4 + u32::from_be_bytes(*length) as usize;
                if self.input.len() >= end {
                    let frame = self.input[4..end].to_vec();
                    self.input.drain(..end);
                    return Ok(frame);
                }
            }
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// The znodes that sessions watch.
async fn fill(world: &World) -> io::Result<()> {
    let paths = (0..world.options.znodes).map(path);
    let creates = std::iter::once(ROOT.to_owned()).chain(paths).map(|path| {
        frame(1, OpCode::Create.code(), |out| {
            out.put_string(&path);
            out.put_buffer(Some(b"data"));
            out.extend_from_slice(OPEN_ACL);
            out.put_int(0);
        })
    });
    control(world, creates.collect()).await
}

/// Has these requests answered in a session of its own.
async fn control(world: &World, requests: Vec<Vec<u8>>) -> io::Result<()> {
    let mut session = Session {
        at: 0,
        id: 0,
        passwd: vec![0; 16],
        last_zxid: 0,
        random: Prng::new(0),
    };
    let mut opened = Err(ErrorKind::NotConnected.into());
    for host in &world.options.hosts {
        if opened.is_err() {
            opened = Conn::open(world, *host, &mut session).await;
        }
    }
    let mut conn = opened?;
    for some in requests.chunks(500) {
        conn.stream.write_all(&some.concat()).await?;
        for _ in some {
            conn.answer(world, &mut session).await?;
        }
    }
    conn.stream
        .write_all(&frame(1, OpCode::CloseSession.code(), |_| ()))
        .await?;
    conn.frame().await.map(|_| ())
}

fn data_watches(session: usize, watches: usize, znodes: usize) -> impl Iterator<Item = usize> {
    (0..watches.div_ceil(2)).map(move |at| (session * watches + at) % znodes)
}

fn child_watches(session: usize, watches: usize, znodes: usize) -> impl Iterator<Item = usize> {
    (watches.div_ceil(2)..watches).map(move |at| (session * watches + at) % znodes)
}

fn path(node: usize) -> String {
    format!("{ROOT}/n{node:07}")
}

fn put_paths(out: &mut Vec<u8>, nodes: Vec<usize>) {
    out.put_count(nodes.len());
    nodes.into_iter().for_each(|node| out.put_string(&path(node)));
}

fn frame(xid: i32, op: i32, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = vec![0; 4];
    out.put_int(xid);
    out.put_int(op);
    write(&mut out);
    sealed(out)
}

/// Writes the length into the first four bytes.
fn sealed(mut out: Vec<u8>) -> Vec<u8> {
    let length = out.len() as u32 - 4;
    out[..4].copy_from_slice(&length.to_be_bytes());
    out
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}
