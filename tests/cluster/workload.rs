//! What the sessions do: registers, sets, unique ids, a queue, a lock with fencing, members, a stream of
//! events, a bank, access control lists that change, and sessions that come and go.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::session::{Lost, Reply, Request, Run, Session};
use crate::wire::{self, EPHEMERAL, In, OPEN, PERSISTENT, SEQUENTIAL, code, op};

pub const ACCOUNTS: u64 = 5;
const LOCKS: u64 = 6;
pub const BALANCE: i64 = 100;
/// So many operations for each generation of keys: a key stays below what the checker for histories can do.
const REGISTERS: u64 = 4;
const REGISTER_OPS: u64 = 130 * REGISTERS;
const ELEMENTS: u64 = 6;
const SET_OPS: u64 = 130 * ELEMENTS;
const ROOTS: &[&str] = &[
    "/reg", "/set", "/ids", "/ids/a", "/ids/b", "/queue", "/lock", "/fence", "/members", "/stream", "/bank",
    "/acl",
];

/// What a session knows from earlier answers.
#[derive(Default)]
pub struct Memory {
    versions: BTreeMap<String, i32>,
    own_id: Option<String>,
}

/// The nodes that all others start from.
pub fn set_up(session: &mut Session) -> Result<(), Lost> {
    let mut nodes: Vec<Request> = ROOTS
        .iter()
        .map(|path| (op::CREATE, wire::create(path, b"", OPEN, PERSISTENT)))
        .collect();
    for number in 0..LOCKS {
        for parent in ["/lock", "/fence"] {
            let path = format!("{parent}/{number}");
            nodes.push((op::CREATE, wire::create(&path, b"", OPEN, PERSISTENT)));
        }
    }
    for account in 0..ACCOUNTS {
        let data = BALANCE.to_string();
        let path = format!("/bank/{account}");
        nodes.push((op::CREATE, wire::create(&path, data.as_bytes(), OPEN, PERSISTENT)));
    }
    let replies = session.batch(nodes)?;
    assert!(
        replies.iter().all(|reply| reply.err == 0),
        "the nodes to start from are made"
    );
    Ok(())
}

/// One step of a workload drawn by its weight.
pub fn step(session: &mut Session) -> Result<(), Lost> {
    match session.rng.below(100) {
        0..22 => register(session),
        22..35 => some_of(session, set),
        35..45 => unique_ids(session),
        45..53 => queue(session),
        53..60 => lock(session),
        60..67 => members(session),
        67..79 => some_of(session, stream),
        79..88 => bank(session),
        88..97 => acl(session),
        _ => churn(session),
    }
}

fn value(session: &Session) -> Vec<u8> {
    let number = session.run.unique.fetch_add(1, Ordering::Relaxed);
    format!("{number}{}", "-".repeat(number as usize % 60)).into_bytes()
}

/// The path of one of `keys` keys, of a generation that changes with the count of operations.
fn rotating(session: &mut Session, count: fn(&Run) -> &AtomicU64, root: &str, keys: u64, ops: u64) -> String {
    let generation = count(session.run).fetch_add(1, Ordering::Relaxed) / ops;
    let key = session.rng.below(keys);
    format!("{root}/{generation}-{key}")
}

fn stat_of(reply: &Reply, data_before: bool) -> Option<wire::Stat> {
    let mut body = In(&reply.body);
    if reply.err != 0 || (data_before && body.buffer().is_err()) {
        return None;
    }
    body.stat().ok()
}

fn learn(session: &mut Session, path: &str, reply: &Reply, data_before: bool) {
    if let Some(stat) = stat_of(reply, data_before) {
        session.memory.versions.insert(path.to_owned(), stat.version);
    }
}

fn register(session: &mut Session) -> Result<(), Lost> {
    let path = rotating(session, |run| &run.register_ops, "/reg", REGISTERS, REGISTER_OPS);
    let known = session.memory.versions.get(&path).copied();
    match session.rng.below(20) {
        0..6 => {
            let body = wire::set_data(&path, &value(session), -1);
            let reply = session.ask(op::SET_DATA, body)?;
            learn(session, &path, &reply, false);
            if reply.err == code::NO_NODE {
                session.ask(op::CREATE, wire::create(&path, &value(session), OPEN, PERSISTENT))?;
            }
        }
        6..11 => {
            let body = wire::set_data(&path, &value(session), known.unwrap_or(0));
            let reply = session.ask(op::SET_DATA, body)?;
            learn(session, &path, &reply, false);
        }
        11 => {
            session.ask(op::DELETE, wire::path_version(&path, known.unwrap_or(-1)))?;
        }
        12 => {
            let reply = session.ask(op::GET_DATA, wire::path_watch(&path, false))?;
            learn(session, &path, &reply, true);
        }
        _ => {
            let sync = (op::SYNC, wire::path_only(&path));
            let get = (op::GET_DATA, wire::path_watch(&path, false));
            let replies = session.batch(vec![sync, get])?;
            learn(session, &path, &replies[1], true);
        }
    }
    Ok(())
}

/// Several on their way at once.
fn some_of(session: &mut Session, draw: fn(&mut Session) -> Vec<Request>) -> Result<(), Lost> {
    let count = 1 + session.rng.below(4);
    let requests = (0..count).flat_map(|_| draw(session)).collect();
    session.batch(requests).map(drop)
}

fn set(session: &mut Session) -> Vec<Request> {
    let path = rotating(session, |run| &run.set_ops, "/set", ELEMENTS, SET_OPS);
    match session.rng.below(10) {
        0..3 => vec![(
            op::CREATE2,
            wire::create(&path, &value(session), OPEN, PERSISTENT),
        )],
        3..5 => vec![(op::DELETE, wire::path_version(&path, -1))],
        5..8 => {
            let sync = (op::SYNC, wire::path_only("/set"));
            vec![sync, (op::EXISTS, wire::path_watch(&path, false))]
        }
        _ => vec![(op::GET_CHILDREN2, wire::path_watch("/set", false))],
    }
}

fn unique_ids(session: &mut Session) -> Result<(), Lost> {
    let parent = if session.chance(50) { "/ids/a" } else { "/ids/b" };
    if let Some(own) = session.memory.own_id.take() {
        session.ask(op::DELETE, wire::path_version(&own, -1))?;
        return Ok(());
    }
    let code = if session.chance(50) {
        op::CREATE
    } else {
        op::CREATE2
    };
    let body = wire::create(&format!("{parent}/id-"), b"", OPEN, SEQUENTIAL);
    let reply = session.ask(code, body)?;
    if reply.err == 0 && session.chance(90) {
        session.memory.own_id = In(&reply.body).string().ok().map(str::to_owned);
    }
    Ok(())
}

/// The names below a node, sorted by the ten digits at their ends.
fn children(session: &mut Session, path: &str, watch: bool) -> Result<Vec<String>, Lost> {
    let reply = session.ask(op::GET_CHILDREN, wire::path_watch(path, watch))?;
    let mut names = In(&reply.body).strings().unwrap_or_default();
    names.sort_by_key(|name| name[name.len().saturating_sub(10)..].to_owned());
    Ok(names)
}

fn queue(session: &mut Session) -> Result<(), Lost> {
    if session.chance(50) {
        let body = wire::create("/queue/q-", &value(session), OPEN, SEQUENTIAL);
        session.ask(op::CREATE, body)?;
    } else if let Some(first) = children(session, "/queue", false)?.first() {
        session.ask(op::DELETE, wire::path_version(&format!("/queue/{first}"), -1))?;
    }
    Ok(())
}

/// The holder writes the zxid that made its node into the fence: it never becomes smaller.
fn lock(session: &mut Session) -> Result<(), Lost> {
    let prefix = format!("{:x}-", session.id);
    let number = session.rng.below(LOCKS);
    let parent = format!("/lock/{number}");
    let names = children(session, &parent, false)?;
    let Some(own) = names.iter().find(|name| name.starts_with(&prefix)) else {
        let body = wire::create(&format!("{parent}/{prefix}"), b"", OPEN, EPHEMERAL + SEQUENTIAL);
        session.ask(op::CREATE, body)?;
        return Ok(());
    };
    let own_path = format!("{parent}/{own}");
    if names.first() == Some(own) {
        let stat = session.ask(op::EXISTS, wire::path_watch(&own_path, false))?;
        if let Some(stat) = stat_of(&stat, false) {
            let token = stat.czxid.to_string();
            let check = (op::CHECK, wire::path_version(&own_path, -1));
            let fence = (
                op::SET_DATA,
                wire::set_data(&format!("/fence/{number}"), token.as_bytes(), -1),
            );
            session.ask(op::MULTI, wire::multi(&[check, fence]))?;
        }
        if session.chance(80) {
            session.ask(op::DELETE, wire::path_version(&own_path, -1))?;
        }
    }
    Ok(())
}

fn members(session: &mut Session) -> Result<(), Lost> {
    let own = format!("/members/{}", session.number);
    let other = format!("/members/{}", session.rng.below(10));
    match session.rng.below(6) {
        0 | 1 => session
            .ask(op::CREATE, wire::create(&own, b"", OPEN, EPHEMERAL))
            .map(drop),
        2 => session.ask(op::DELETE, wire::path_version(&own, -1)).map(drop),
        3 => children(session, "/members", true).map(drop),
        4 => session.ask(op::EXISTS, wire::path_watch(&other, true)).map(drop),
        _ => session.ask(op::GET_EPHEMERALS, wire::path_only("/")).map(drop),
    }
}

fn stream(session: &mut Session) -> Vec<Request> {
    let path = format!("/stream/{}", session.rng.below(6));
    let request = match session.rng.below(14) {
        0..3 => (op::SET_DATA, wire::set_data(&path, &value(session), -1)),
        3 | 4 => (op::CREATE, wire::create(&path, &value(session), OPEN, PERSISTENT)),
        5 => (op::DELETE, wire::path_version(&path, -1)),
        6 | 7 => (op::GET_DATA, wire::path_watch(&path, true)),
        8 | 9 => (op::EXISTS, wire::path_watch(&path, true)),
        10 => (op::GET_CHILDREN2, wire::path_watch("/stream", true)),
        11 | 12 => {
            let recursive = session.chance(50);
            let watched = if recursive { "/stream".to_owned() } else { path };
            let body = wire::Out::default().string(&watched).int(recursive.into());
            (op::ADD_WATCH, body.0)
        }
        _ => {
            let watched = if session.chance(30) {
                "/stream".to_owned()
            } else {
                path
            };
            let kind = 1 + session.rng.below(5) as i32;
            let code = if session.chance(50) {
                op::REMOVE_WATCHES
            } else {
                op::CHECK_WATCHES
            };
            (code, wire::Out::default().string(&watched).int(kind).0)
        }
    };
    vec![request]
}

/// (balance, version)
fn account(part: &mut In) -> Result<(i64, i32), wire::Malformed> {
    let (code, _, err) = (part.int()?, part.bool()?, part.int()?);
    if code != op::GET_DATA || err != 0 {
        return Err(wire::Malformed);
    }
    let data = std::str::from_utf8(part.buffer()?).map_err(|_| wire::Malformed)?;
    let balance = data.parse().map_err(|_| wire::Malformed)?;
    Ok((balance, part.stat()?.version))
}

/// The accounts in the answer to a multiRead.
pub fn accounts(body: &[u8], count: usize) -> Option<Vec<(i64, i32)>> {
    let mut body = In(body);
    (0..count).map(|_| account(&mut body).ok()).collect()
}

fn bank(session: &mut Session) -> Result<(), Lost> {
    let from = session.rng.below(ACCOUNTS);
    let to = (from + 1 + session.rng.below(ACCOUNTS - 1)) % ACCOUNTS;
    let all = session.chance(30);
    let chosen: Vec<u64> = if all {
        (0..ACCOUNTS).collect()
    } else {
        vec![from, to]
    };
    let reads: Vec<Request> = chosen
        .iter()
        .map(|number| (op::GET_DATA, wire::path_watch(&format!("/bank/{number}"), false)))
        .collect();
    let reply = session.ask(op::MULTI_READ, wire::multi(&reads))?;
    let Some(found) = accounts(&reply.body, reads.len()).filter(|_| !all && reply.err == 0) else {
        return Ok(());
    };
    let amount = session.rng.below(20) as i64;
    let write = |number: u64, (balance, version): (i64, i32), change: i64| {
        let data = (balance + change).to_string();
        let body = wire::set_data(&format!("/bank/{number}"), data.as_bytes(), version);
        (op::SET_DATA, body)
    };
    let parts = [write(from, found[0], -amount), write(to, found[1], amount)];
    session.ask(op::MULTI, wire::multi(&parts)).map(drop)
}

const CREATOR: &[wire::Acl] = &[(31, "auth", "")];
/// Nobody may write, and anybody may change that.
const SEALED: &[wire::Acl] = &[(17, "world", "anyone")];
const READERS: &[wire::Acl] = &[(1, "world", "anyone"), (30, "auth", "")];

fn acl(session: &mut Session) -> Result<(), Lost> {
    let path = format!("/acl/{}", session.rng.below(3));
    let list = match session.rng.below(6) {
        0..3 => OPEN,
        3 => SEALED,
        4 => CREATOR,
        _ => READERS,
    };
    let set_data = (op::SET_DATA, wire::set_data(&path, &value(session), -1));
    match session.rng.below(10) {
        0 | 1 => session
            .ask(op::CREATE, wire::create(&path, b"", list, PERSISTENT))
            .map(drop),
        2 => session.ask(op::DELETE, wire::path_version(&path, -1)).map(drop),
        3 => session.ask(op::SET_ACL, wire::set_acl(&path, list, -1)).map(drop),
        // The second comes while the first is on its way.
        4 | 5 => {
            let change = (op::SET_ACL, wire::set_acl(&path, list, -1));
            session.batch(vec![change, set_data]).map(drop)
        }
        6 => session.ask(op::GET_ACL, wire::path_only(&path)).map(drop),
        7 => session.batch(vec![set_data]).map(drop),
        _ => session
            .ask(op::GET_DATA, wire::path_watch(&path, false))
            .map(drop),
    }
}

/// A session ends, is left to expire, or goes on at another member after a while.
fn churn(session: &mut Session) -> Result<(), Lost> {
    match session.rng.below(8) {
        0 | 1 => {
            // The node comes while the end of its session is on its way.
            let path = format!("/members/{}-", session.number);
            let node = wire::create(&path, b"", OPEN, EPHEMERAL + SEQUENTIAL);
            session.batch(vec![(op::CREATE, node), (op::CLOSE_SESSION, Vec::new())])?;
            session.forget();
        }
        2 => session.forget(),
        _ => {
            session.lose();
            let wait = session.rng.below(400);
            session.idle(Duration::from_millis(wait))?;
        }
    }
    Err(Lost)
}
