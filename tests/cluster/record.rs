//! The recorder: some sessions over all members for some time, and what every member shows in the end.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use zkserver::prng::Prng;

use crate::session::{Run, Session};
use crate::wire::{self, In, Link, Out, op};
use crate::workload;

/// A session does not make up for more than this.
const BEHIND_MAX: Duration = Duration::from_secs(2);

/// Runs the workloads; the history is whole when this returns.
pub fn record(servers: Vec<SocketAddr>, seed: u64, seconds: f64, rate: f64, file: &Path) {
    let file = File::create(file).expect("the history can be written");
    let mut prng = Prng::new(seed);
    let sessions = 6 + prng.below(5) as usize;
    let pause = Duration::from_secs_f64(2.0 * sessions as f64 / rate);
    let run = Run::new(servers, seconds, file);
    first(&run, seed);
    thread::scope(|scope| {
        for number in 0..sessions {
            let run = &run;
            scope.spawn(move || roam(run, number, seed, pause));
        }
    });
    run.flush();
}

fn first(run: &Run, seed: u64) {
    let mut session = Session::new(run, 99, seed);
    session.user = None;
    while session.connect().is_err() {
        assert!(!run.is_over(), "nobody takes the first session");
        thread::sleep(Duration::from_millis(50));
    }
    let done = workload::set_up(&mut session).is_ok() && session.ask(op::CLOSE_SESSION, Vec::new()).is_ok();
    assert!(done, "a connection is lost before any fault");
    session.lose();
}

/// Steps follow each other so far apart in the mean, also when some of them take long.
fn roam(run: &Run, number: usize, seed: u64, pause: Duration) {
    let mut session = Session::new(run, number, seed);
    let mut due = Instant::now();
    while !run.is_over() {
        if !session.is_connected() && session.connect().is_err() {
            thread::sleep(Duration::from_millis(50));
            continue;
        }
        due += Duration::from_nanos(session.rng.below(pause.as_nanos() as u64));
        // Whether the connection is lost is seen at the top.
        drop(session.idle(due.saturating_duration_since(Instant::now())));
        drop(workload::step(&mut session));
        due = due.max(Instant::now() - BEHIND_MAX);
    }
    if session.chance(70) {
        drop(session.ask(op::CLOSE_SESSION, Vec::new()));
    }
    session.lose();
}

/// Writes every node of one member, one line each: path, data, Stat and ACL list, as bytes in hex.
pub fn dump(server: SocketAddr, file: &Path) -> Result<usize, String> {
    let wait = Duration::from_secs(5);
    let mut link = Link::open(server, wait).map_err(|error| error.to_string())?;
    link.send(&[wire::connect_request(0, 10_000, 0, &[0; 16])])
        .map_err(|error| error.to_string())?;
    let answer = link.receive(wait).map_err(|error| error.to_string())?;
    let welcome = wire::welcome(&answer.ok_or("no answer")?).map_err(|_| "a cut answer")?;
    if welcome.session == 0 {
        return Err("no session".to_owned());
    }
    let mut xid = 0;
    let mut ask = |code: i32, body: Vec<u8>| -> Result<(i32, Vec<u8>), String> {
        xid += 1;
        let frame = Out::default().int(xid).int(code).raw(&body).0;
        link.send(&[frame]).map_err(|error| error.to_string())?;
        let reply = link.receive(wait).map_err(|error| error.to_string())?;
        let reply = reply.ok_or("no answer")?;
        let mut head = In(&reply);
        let mut header = || Ok::<_, wire::Malformed>((head.int()?, head.long()?, head.int()?));
        let (_, _, err) = header().map_err(|_| "a cut reply")?;
        Ok((err, head.0.to_vec()))
    };
    let user = Out::default().int(0).string("digest").string("super:admin");
    ask(op::AUTH, user.0)?;
    ask(op::SYNC, wire::path_only("/"))?;
    let mut lines = Vec::new();
    let mut open = vec!["/".to_owned()];
    while let Some(path) = open.pop() {
        let (err, listed) = ask(op::GET_CHILDREN2, wire::path_watch(&path, false))?;
        let (_, data) = ask(op::GET_DATA, wire::path_watch(&path, false))?;
        let (_, acl) = ask(op::GET_ACL, wire::path_only(&path))?;
        if err != 0 {
            return Err(format!("{path} went away: error {err}"));
        }
        let names = In(&listed).strings().map_err(|_| "a cut list of names")?;
        let slash = if path == "/" { "" } else { "/" };
        open.extend(names.iter().map(|name| format!("{path}{slash}{name}")));
        let hex = crate::history::hex;
        lines.push(format!("{path} {} {}", hex(&data), hex(&acl)));
    }
    ask(op::CLOSE_SESSION, Vec::new())?;
    lines.sort();
    let mut out = File::create(file).map_err(|error| error.to_string())?;
    writeln!(out, "{}", lines.join("\n")).map_err(|error| error.to_string())?;
    Ok(lines.len())
}
