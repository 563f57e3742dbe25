//! What a history shows by itself, without the logs of the members.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::history::{Call, hex};
use crate::wgl::{self, Action, Op, Outcome, Verdict};
use crate::wire::{In, Malformed, Stat, code, op};
use crate::workload;

/// A key with more operations is not searched.
const KEY_OPS_MAX: usize = 200;
const SEARCH_TIME: Duration = Duration::from_secs(60);

/// What was found: sentences about what may not be, and how much was looked at.
#[derive(Default)]
pub struct Findings {
    pub violations: Vec<String>,
    pub checked: BTreeMap<&'static str, u64>,
}

impl Findings {
    pub fn wrong(&mut self, text: String) {
        self.violations.push(text);
    }

    pub fn count(&mut self, kind: &'static str, more: u64) {
        *self.checked.entry(kind).or_default() += more;
    }
}

/// Everything that needs no log. `sync_reads`: a read behind a sync shows all that was done before the sync.
pub fn check(calls: &[Call], sync_reads: bool, found: &mut Findings) {
    zxids_of_sessions(calls, found);
    order_of_writes(calls, found);
    unique_names(calls, found);
    queue(calls, found);
    fence(calls, found);
    bank(calls, found);
    linearizable(calls, sync_reads, found);
}

/// A session never goes back, on whatever member. Its connections follow each other.
fn zxids_of_sessions(calls: &[Call], found: &mut Findings) {
    let mut newest: BTreeMap<i64, i64> = BTreeMap::new();
    let mut last: BTreeMap<u32, i32> = BTreeMap::new();
    for call in calls {
        let Some(answer) = call.answer.as_ref().filter(|answer| answer.zxid > 0) else {
            continue;
        };
        let max = newest.entry(call.session).or_default();
        if answer.zxid < *max {
            let (session, zxid) = (call.session, answer.zxid);
            found.wrong(format!(
                "I10: session {session:x} goes back from {max:x} to {zxid:x}"
            ));
        }
        *max = answer.zxid.max(*max);
        if call.xid > 0
            && last
                .insert(call.conn, call.xid)
                .is_some_and(|before| before >= call.xid)
        {
            found.wrong(format!(
                "I11: connection {} has xid {} again",
                call.conn, call.xid
            ));
        }
        found.count("zxid of a session", 1);
    }
}

fn is_write(code: i32) -> bool {
    matches!(
        code,
        op::CREATE | op::CREATE2 | op::DELETE | op::SET_DATA | op::SET_ACL | op::MULTI
    )
}

/// A write that was answered before another was sent has the smaller zxid, and no two have the same.
fn order_of_writes(calls: &[Call], found: &mut Findings) {
    let writes = || {
        calls
            .iter()
            .filter(|call| is_write(call.code) && call.success().is_some())
    };
    let mut by_return: Vec<(u64, i64)> = writes()
        .filter_map(|call| call.success().map(|answer| (answer.at, answer.zxid)))
        .collect();
    by_return.sort_unstable();
    let mut by_call: Vec<&Call> = writes().collect();
    by_call.sort_by_key(|call| call.asked);
    let mut returned = by_return.iter().peekable();
    let mut newest = 0;
    let mut seen = BTreeMap::new();
    for call in by_call {
        while let Some((_, zxid)) = returned.next_if(|(at, _)| *at < call.asked) {
            newest = newest.max(*zxid);
        }
        let Some(answer) = call.success() else { continue };
        if answer.zxid <= newest {
            let zxid = answer.zxid;
            found.wrong(format!(
                "I8: {} has zxid {zxid:x} after {newest:x} was answered",
                name(call)
            ));
        }
        if let Some(other) = seen.insert(answer.zxid, name(call)) {
            found.wrong(format!(
                "I8: zxid {:x} of {other} and of {}",
                answer.zxid,
                name(call)
            ));
        }
        found.count("order of writes", 1);
    }
}

fn name(call: &Call) -> String {
    format!("op {} of session {:x}, xid {}", call.code, call.session, call.xid)
}

fn path(call: &Call) -> &str {
    In(&call.body).string().unwrap_or_default()
}

/// The path in the answer to a create.
fn created(call: &Call) -> Option<&str> {
    let answer = call
        .success()
        .filter(|_| matches!(call.code, op::CREATE | op::CREATE2))?;
    In(&answer.body).string().ok()
}

/// Sequential names of one parent grow with the zxid, and none is given twice.
fn unique_names(calls: &[Call], found: &mut Findings) {
    let mut parents: BTreeMap<&str, Vec<(i64, &str, &str)>> = BTreeMap::new();
    for call in calls {
        let Some(made) = created(call).filter(|made| *made != path(call)) else {
            continue;
        };
        let Some((parent, _)) = made.rsplit_once('/') else {
            continue;
        };
        let zxid = call.success().map_or(0, |answer| answer.zxid);
        let digits = &made[made.len() - 10..];
        parents.entry(parent).or_default().push((zxid, digits, made));
        found.count("sequence number", 1);
    }
    for names in parents.values_mut() {
        names.sort_unstable();
        for pair in names.windows(2) {
            if pair[0].1 >= pair[1].1 {
                found.wrong(format!("I16: {} and then {}", pair[0].2, pair[1].2));
            }
        }
    }
}

/// An item is taken once, and was offered.
fn queue(calls: &[Call], found: &mut Findings) {
    let in_queue = |path: &str| path.starts_with("/queue/");
    let offers_unknown = calls
        .iter()
        .any(|call| call.code == op::CREATE && in_queue(path(call)) && call.answer.is_none());
    let offered: Vec<&str> = calls
        .iter()
        .filter_map(created)
        .filter(|made| in_queue(made))
        .collect();
    let mut taken = BTreeMap::new();
    for call in calls
        .iter()
        .filter(|call| call.code == op::DELETE && in_queue(path(call)))
    {
        if call.success().is_none() {
            continue;
        }
        if let Some(other) = taken.insert(path(call), name(call)) {
            found.wrong(format!(
                "queue: {} is taken by {other} and by {}",
                path(call),
                name(call)
            ));
        }
        if !offers_unknown && !offered.contains(&path(call)) {
            found.wrong(format!("queue: {} was never offered", path(call)));
        }
        found.count("item of the queue", 1);
    }
}

/// Who writes a fence later has made its node later.
fn fence(calls: &[Call], found: &mut Findings) {
    let mut fences: BTreeMap<&str, Vec<(i64, i64)>> = BTreeMap::new();
    for call in calls.iter().filter(|call| call.code == op::MULTI) {
        if let Some((answer, (path, token))) = call.success().zip(token(call)) {
            fences.entry(path).or_default().push((answer.zxid, token));
        }
    }
    for (path, writes) in &mut fences {
        writes.sort_unstable();
        for pair in writes.windows(2) {
            if pair[0].1 > pair[1].1 {
                found.wrong(format!("{path}: token {} and then {}", pair[0].1, pair[1].1));
            }
        }
        found.count("token of a lock", writes.len() as u64);
    }
}

/// The fence that a multi writes behind the check of its node, and what it writes there.
fn token(call: &Call) -> Option<(&str, i64)> {
    let mut body = In(&call.body);
    body.take(9).ok()?;
    body.string().ok()?;
    body.take(13).ok()?;
    let path = body.string().ok().filter(|path| path.starts_with("/fence/"))?;
    let token = std::str::from_utf8(body.buffer().ok()?).ok()?.parse().ok()?;
    Some((path, token))
}

/// Money is moved, never made.
fn bank(calls: &[Call], found: &mut Findings) {
    let count = workload::ACCOUNTS as usize;
    for call in calls.iter().filter(|call| call.code == op::MULTI_READ) {
        let Some(accounts) = call
            .success()
            .and_then(|answer| workload::accounts(&answer.body, count))
        else {
            continue;
        };
        let sum: i64 = accounts.iter().map(|(balance, _)| balance).sum();
        if sum != workload::BALANCE * count as i64 {
            found.wrong(format!("bank: {} shows {accounts:?}, {sum} in all", name(call)));
        }
        found.count("sum of the bank", 1);
    }
}

/// The keys that only single requests change.
fn is_key(path: &str) -> bool {
    path.starts_with("/reg/") || path.starts_with("/set/")
}

fn linearizable(calls: &[Call], sync_reads: bool, found: &mut Findings) {
    let mut values = BTreeMap::new();
    let mut keys: BTreeMap<&str, Vec<Op>> = BTreeMap::new();
    let mut before: BTreeMap<u32, &Call> = BTreeMap::new();
    for call in calls {
        let sync = before
            .insert(call.conn, call)
            .filter(|sync| sync.code == op::SYNC);
        if !is_key(path(call)) || call.code == op::SYNC {
            continue;
        }
        match operation(call, sync.filter(|_| sync_reads), &mut values) {
            Ok(Some(op)) => keys.entry(path(call)).or_default().push(op),
            Ok(None) => {}
            Err(Malformed) => found.wrong(format!("{}: a malformed answer", name(call))),
        }
    }
    let deadline = Instant::now() + SEARCH_TIME;
    for (path, ops) in keys {
        let count = ops.len() as u64;
        if ops.len() > KEY_OPS_MAX {
            found.count("not linearized: too many for one key", count);
            continue;
        }
        match wgl::check(&ops, deadline) {
            Verdict::Linearizable => found.count("linearized", count),
            Verdict::OutOfTime => found.count("not linearized: out of time", count),
            Verdict::Wrong => found.wrong(format!("linearizability: {path}: {ops:?}")),
        }
    }
}

/// What a call means for its key; None when it tells nothing.
fn operation(
    call: &Call,
    sync: Option<&Call>,
    values: &mut BTreeMap<String, u64>,
) -> Result<Option<Op>, Malformed> {
    let mut body = In(&call.body);
    body.string()?;
    let next = values.len() as u64;
    let mut number = |bytes: &[u8]| *values.entry(hex(bytes)).or_insert(next);
    let action = match call.code {
        op::CREATE | op::CREATE2 => Action::Create(number(body.buffer()?)),
        op::SET_DATA => Action::Set(number(body.buffer()?), body.int()?),
        op::DELETE => Action::Delete(body.int()?),
        op::GET_DATA | op::EXISTS => Action::Read,
        _ => return Ok(None),
    };
    let is_read = action == Action::Read;
    if is_read && sync.is_none_or(|sync| sync.success().is_none()) {
        return Ok(None);
    }
    let Some(answer) = &call.answer else {
        let op = Op {
            called: call.asked,
            returned: u64::MAX,
            action,
            outcome: Outcome::Unknown,
        };
        return Ok(Some(op).filter(|_| !is_read));
    };
    let mut shown = In(&answer.body);
    let version = |stat: Stat| stat.version;
    let outcome = match (answer.err, call.code) {
        (0, op::SET_DATA | op::EXISTS) => Outcome::Version(version(shown.stat()?)),
        (0, op::GET_DATA) => {
            let value = number(shown.buffer()?);
            Outcome::Value(value, version(shown.stat()?))
        }
        (0, _) => Outcome::Done,
        (code::NO_NODE, _) => Outcome::NoNode,
        (code::BAD_VERSION, _) => Outcome::BadVersion,
        (code::NODE_EXISTS, _) => Outcome::NodeExists,
        // Refused for reasons that have nothing to do with the key.
        _ => return Ok(None),
    };
    Ok(Some(Op {
        called: sync.filter(|_| is_read).unwrap_or(call).asked,
        returned: answer.at,
        action,
        outcome,
    }))
}
