//! A session of the recorder: it goes from member to member, keeps its watches, and writes down all it sees.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use zkserver::prng::Prng;

use crate::history::{Event, What};
use crate::wire::{self, In, Link, Out, code, op};

const CONNECT_WAIT: Duration = Duration::from_secs(1);
const ANSWER_WAIT: Duration = Duration::from_secs(3);

/// What all sessions of one run share.
pub struct Run {
    pub servers: Vec<SocketAddr>,
    pub started: Instant,
    pub end: Instant,
    file: Mutex<BufWriter<File>>,
    conns: AtomicU32,
    /// Numbers that make every value of a run unique.
    pub unique: AtomicU64,
    pub register_ops: AtomicU64,
    pub set_ops: AtomicU64,
}

impl Run {
    pub fn new(servers: Vec<SocketAddr>, seconds: f64, file: File) -> Run {
        let started = Instant::now();
        Run {
            servers,
            started,
            end: started + Duration::from_secs_f64(seconds),
            file: Mutex::new(BufWriter::new(file)),
            conns: AtomicU32::new(0),
            unique: AtomicU64::new(0),
            register_ops: AtomicU64::new(0),
            set_ops: AtomicU64::new(0),
        }
    }

    pub fn is_over(&self) -> bool {
        Instant::now() >= self.end
    }

    fn now(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }

    fn note(&self, at: u64, conn: u32, what: What) {
        let line = Event { at, conn, what }.line();
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(file, "{line}").expect("the history can be written");
    }

    pub fn flush(&self) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.flush().expect("the history can be written");
    }
}

/// The connection is no more, or there was none.
pub struct Lost;

/// Opcode and record.
pub type Request = (i32, Vec<u8>);

pub struct Reply {
    pub zxid: i64,
    pub err: i32,
    pub body: Vec<u8>,
}

/// The five lists of setWatches2, in its order.
#[derive(Default)]
struct Watches {
    data: BTreeSet<String>,
    exist: BTreeSet<String>,
    child: BTreeSet<String>,
    persistent: BTreeSet<String>,
    recursive: BTreeSet<String>,
}

impl Watches {
    fn is_empty(&self) -> bool {
        self.lists().iter().all(|list| list.is_empty())
    }

    fn lists(&self) -> [&BTreeSet<String>; 5] {
        [
            &self.data,
            &self.exist,
            &self.child,
            &self.persistent,
            &self.recursive,
        ]
    }

    /// What a client has after an answer to a request that sets a watch.
    fn register(&mut self, code: i32, body: &[u8], err: i32) {
        let mut body = In(body);
        let path = body.string().unwrap_or_default().to_owned();
        if code == op::ADD_WATCH && err == 0 {
            let recursive = body.int().is_ok_and(|mode| mode == 1);
            let list = if recursive {
                &mut self.recursive
            } else {
                &mut self.persistent
            };
            list.insert(path);
            return;
        }
        if code == op::REMOVE_WATCHES && err == 0 {
            self.removed(body.int().unwrap_or(0), &path);
            return;
        }
        if !body.bool().unwrap_or(false) {
            return;
        }
        match (code, err) {
            (op::EXISTS, code::NO_NODE) => self.exist.insert(path),
            (op::EXISTS | op::GET_DATA, 0) => self.data.insert(path),
            (op::GET_CHILDREN | op::GET_CHILDREN2, 0) => self.child.insert(path),
            _ => false,
        };
    }

    /// By the kinds of removeWatches.
    fn removed(&mut self, kind: i32, path: &str) {
        if matches!(kind, 1 | 3) {
            self.child.remove(path);
        }
        if matches!(kind, 2 | 3) {
            self.data.remove(path);
            self.exist.remove(path);
        }
        if matches!(kind, 3 | 4) {
            self.persistent.remove(path);
        }
        if matches!(kind, 3 | 5) {
            self.recursive.remove(path);
        }
    }

    fn fired(&mut self, kind: i32, path: &str) {
        // 1 created, 2 deleted, 3 data changed, 4 children changed
        if kind != 4 {
            self.data.remove(path);
            self.exist.remove(path);
        }
        if kind == 2 || kind == 4 {
            self.child.remove(path);
        }
    }
}

pub struct Session<'a> {
    pub run: &'a Run,
    pub number: usize,
    pub rng: Prng,
    pub id: i64,
    password: Vec<u8>,
    timeout: i32,
    /// Goes on over all connections of a session: in the log, session and xid tell a request.
    xid: i32,
    last_zxid: i64,
    link: Option<(u32, Link)>,
    watches: Watches,
    /// The user of the digest scheme that every connection gives, if any.
    pub user: Option<&'static str>,
    pub memory: crate::workload::Memory,
}

impl<'a> Session<'a> {
    pub fn new(run: &'a Run, number: usize, seed: u64) -> Session<'a> {
        Session {
            run,
            number,
            rng: Prng::new(seed ^ (number as u64 + 1).wrapping_mul(0x9e37_79b9)),
            id: 0,
            password: vec![0; 16],
            timeout: 0,
            xid: 0,
            last_zxid: 0,
            link: None,
            watches: Watches::default(),
            user: [None, Some("u0:p0"), Some("u1:p1")][number % 3],
            memory: crate::workload::Memory::default(),
        }
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.rng.below(100) < percent
    }

    pub fn is_connected(&self) -> bool {
        self.link.is_some()
    }

    /// The next connection belongs to a new session.
    pub fn forget(&mut self) {
        self.lose();
        self.id = 0;
        self.password = vec![0; 16];
        self.xid = 0;
        self.last_zxid = 0;
        self.watches = Watches::default();
        self.memory = crate::workload::Memory::default();
    }

    /// Gives the connection up.
    pub fn lose(&mut self) {
        if let Some((conn, _)) = self.link.take() {
            self.run.note(self.run.now(), conn, What::Lost);
        }
    }

    /// Connects to a random member, with the session if there is one.
    pub fn connect(&mut self) -> Result<(), Lost> {
        let server = self.rng.below(self.run.servers.len() as u64) as usize;
        if self.id == 0 {
            self.timeout = 3000 + 1000 * self.rng.below(5) as i32;
        }
        let mut link = Link::open(self.run.servers[server], CONNECT_WAIT).map_err(|_| Lost)?;
        let conn = 1 + self.run.conns.fetch_add(1, Ordering::Relaxed);
        let frame = wire::connect_request(self.last_zxid, self.timeout, self.id, &self.password);
        let opening = What::Opening {
            server: server as u64 + 1,
            address: link.own_address(),
            frame: frame.clone(),
        };
        self.run.note(self.run.now(), conn, opening);
        let answer = link.send(&[frame]).and_then(|()| link.receive(ANSWER_WAIT));
        let Some(answer) = answer.ok().flatten() else {
            self.run.note(self.run.now(), conn, What::Lost);
            return Err(Lost);
        };
        let welcome = wire::welcome(&answer).expect("the answer to a ConnectRequest is whole");
        let opened = What::Opened {
            session: welcome.session,
            frame: answer,
        };
        self.run.note(self.run.now(), conn, opened);
        if welcome.session == 0 {
            self.forget();
            return Err(Lost);
        }
        (self.id, self.password) = (welcome.session, welcome.password);
        self.link = Some((conn, link));
        self.introduce()
    }

    /// What a client sends before all else: who it is, and the watches it had.
    fn introduce(&mut self) -> Result<(), Lost> {
        let mut first = Vec::new();
        if let Some(user) = self.user {
            let body = Out::default().int(0).string("digest").string(user);
            first.push((wire::AUTH_XID, op::AUTH, body.0));
        }
        if !self.watches.is_empty() {
            let out = Out::default().long(self.last_zxid);
            let lists = self.watches.lists();
            // As Apache's clients do: servers of before 3.6 know three lists only.
            let has_persistent = !lists[3].is_empty() || !lists[4].is_empty();
            let (code, count) = if has_persistent {
                (op::SET_WATCHES2, 5)
            } else {
                (op::SET_WATCHES, 3)
            };
            let body = lists[..count]
                .iter()
                .fold(out, |out, list| out.strings(list.iter()));
            first.push((wire::SET_WATCHES_XID, code, body.0));
        }
        self.exchange(first).map(drop)
    }

    /// Sends all of them before the first answer is read.
    pub fn batch(&mut self, requests: Vec<Request>) -> Result<Vec<Reply>, Lost> {
        let numbered = requests.into_iter().map(|(code, body)| {
            self.xid += 1;
            (self.xid, code, body)
        });
        let numbered = numbered.collect();
        self.exchange(numbered)
    }

    pub fn ask(&mut self, code: i32, body: Vec<u8>) -> Result<Reply, Lost> {
        Ok(self.batch(vec![(code, body)])?.remove(0))
    }

    fn exchange(&mut self, requests: Vec<(i32, i32, Vec<u8>)>) -> Result<Vec<Reply>, Lost> {
        let (conn, link) = self.link.as_mut().ok_or(Lost)?;
        let conn = *conn;
        for (xid, code, body) in &requests {
            let asked = What::Asked {
                xid: *xid,
                code: *code,
                body: body.clone(),
            };
            self.run.note(self.run.now(), conn, asked);
        }
        let frame = |(xid, code, body): &(i32, i32, Vec<u8>)| Out::default().int(*xid).int(*code).raw(body).0;
        let frames: Vec<Vec<u8>> = requests.iter().map(frame).collect();
        if link.send(&frames).is_err() {
            self.lose();
            return Err(Lost);
        }
        let mut replies = Vec::new();
        for (xid, code, body) in requests {
            let reply = self.reply(conn, xid)?;
            self.watches.register(code, &body, reply.err);
            replies.push(reply);
        }
        Ok(replies)
    }

    fn reply(&mut self, conn: u32, xid: i32) -> Result<Reply, Lost> {
        let deadline = Instant::now() + ANSWER_WAIT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Some((got, reply)) = self.read(left)? else {
                self.lose();
                return Err(Lost);
            };
            if got == wire::EVENT_XID {
                continue;
            }
            let Reply { zxid, err, body } = &reply;
            let answered = What::Answered {
                xid: got,
                zxid: *zxid,
                err: *err,
                body: body.clone(),
            };
            self.run.note(self.run.now(), conn, answered);
            if got != xid {
                self.lose();
                return Err(Lost);
            }
            if reply.zxid > 0 {
                self.last_zxid = self.last_zxid.max(reply.zxid);
            }
            return Ok(reply);
        }
    }

    /// The next frame with its xid; events are written down here. None when there is none in time.
    fn read(&mut self, wait: Duration) -> Result<Option<(i32, Reply)>, Lost> {
        let (conn, link) = self.link.as_mut().ok_or(Lost)?;
        let conn = *conn;
        let Ok(frame) = link.receive(wait) else {
            self.lose();
            return Err(Lost);
        };
        let Some(frame) = frame else { return Ok(None) };
        let mut body = In(&frame);
        let mut parse = || -> Result<(i32, Reply), wire::Malformed> {
            let (xid, zxid, err) = (body.int()?, body.long()?, body.int()?);
            let body = body.0.to_vec();
            Ok((xid, Reply { zxid, err, body }))
        };
        let (xid, reply) = parse().expect("a reply has a header");
        if xid == wire::EVENT_XID {
            let mut event = In(&reply.body);
            let (kind, state) = (event.int().unwrap_or(0), event.int().unwrap_or(0));
            let path = event.string().unwrap_or_default().to_owned();
            self.watches.fired(kind, &path);
            let zxid = reply.zxid;
            let fired = What::Fired {
                zxid,
                kind,
                state,
                path,
            };
            self.run.note(self.run.now(), conn, fired);
        }
        Ok(Some((xid, reply)))
    }

    /// Takes events for some time.
    pub fn idle(&mut self, wait: Duration) -> Result<(), Lost> {
        let deadline = Instant::now() + wait;
        while self.is_connected() {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.read(left)? {
                Some((wire::EVENT_XID, _)) => {}
                Some(_) => panic!("a reply that nobody asked for"),
                None => return Ok(()),
            }
        }
        std::thread::sleep(wait);
        Ok(())
    }
}
