//! Faults that are put into a history on purpose: each must be found.

use crate::blackbox::Findings;
use crate::history::{Call, Event, What, calls};
use crate::wire::{In, Stat, op};

pub const ALL: &[&str] = &[
    "lost-write",
    "stale-read",
    "double-number",
    "missing-event",
    "early-event",
];

/// The words of a violation that this fault must lead to, one of them.
fn traces(name: &str) -> &'static [&'static str] {
    match name {
        "lost-write" => &["I5"],
        "stale-read" => &["linearizability", "I9"],
        "double-number" => &["I16"],
        _ => &["I13"],
    }
}

/// Whether what was found tells of the planted fault.
pub fn is_found(name: &str, found: &Findings) -> bool {
    let tells = |text: &String| traces(name).iter().any(|trace| text.starts_with(trace));
    found.violations.iter().any(tells)
}

/// Puts the fault into the history; false when there is no place for it.
pub fn plant(name: &str, events: &mut Vec<Event>) -> bool {
    let planted = match name {
        "lost-write" => lost_write(events),
        "stale-read" => stale_read(events),
        "double-number" => double_number(events),
        "missing-event" => missing_event(events),
        "early-event" => early_event(events),
        other => panic!("nothing is called {other}"),
    };
    events.sort_by_key(|event| event.at);
    planted.is_some()
}

/// One more write is answered than was done.
fn lost_write(events: &mut Vec<Event>) -> Option<()> {
    let all = calls(events);
    let is_set = |call: &&Call| call.code == op::SET_DATA && call.success().is_some();
    let sets: Vec<&Call> = all.iter().filter(is_set).collect();
    let set = *sets.get(sets.len() / 2)?;
    let answer = set.success()?.clone();
    let mut add = |at: u64, what: What| {
        let conn = set.conn;
        events.push(Event { at, conn, what });
    };
    let xid = set.xid + 1_000_000;
    let (code, body) = (set.code, set.body.clone());
    add(set.asked, What::Asked { xid, code, body });
    let (zxid, err, body) = (answer.zxid, 0, answer.body);
    add(answer.at, What::Answered { xid, zxid, err, body });
    Some(())
}

/// Gives the answer of this call another body.
fn answer_with(events: &mut [Event], call: &Call, new: &[u8]) {
    for event in events.iter_mut().filter(|event| event.conn == call.conn) {
        if let What::Answered { xid, body, .. } = &mut event.what
            && *xid == call.xid
        {
            *body = new.to_vec();
        }
    }
}

fn version(call: &Call) -> Option<i32> {
    let mut body = In(&call.success()?.body);
    if call.code == op::GET_DATA {
        body.buffer().ok()?;
    }
    body.stat().ok().map(|stat: Stat| stat.version)
}

/// A read behind a sync shows what an earlier one showed, though it was overwritten before the sync.
fn stale_read(events: &mut [Event]) -> Option<()> {
    let all = calls(events);
    for (index, late) in all.iter().enumerate() {
        let sync = all[..index].iter().rev().find(|call| call.conn == late.conn);
        let Some(sync) = sync.filter(|sync| late.code == op::GET_DATA && sync.code == op::SYNC) else {
            continue;
        };
        let done_before = |call: &&Call| {
            call.success().is_some_and(|answer| answer.at < sync.asked)
                && In(&call.body).string().ok() == In(&late.body).string().ok()
        };
        let overwritten = all
            .iter()
            .filter(done_before)
            .any(|call| call.code == op::SET_DATA && version(call) == version(late));
        let mut earlier = all
            .iter()
            .filter(done_before)
            .filter(|call| call.code == op::GET_DATA);
        let old = earlier.find(|call| version(call) < version(late));
        if let Some(old) = old.filter(|_| overwritten && version(late).is_some()) {
            let body = old.success()?.body.clone();
            answer_with(events, late, &body);
            return Some(());
        }
    }
    None
}

fn double_number(events: &mut [Event]) -> Option<()> {
    let all = calls(events);
    let made = |call: &&Call| {
        call.code == op::CREATE
            && call.success().is_some()
            && In(&call.body).string().is_ok_and(|path| path == "/ids/a/id-")
    };
    let mut ids = all.iter().filter(made);
    let (first, second) = (ids.next()?, ids.next()?);
    let body = first.success()?.body.clone();
    answer_with(events, second, &body);
    Some(())
}

/// An event with an answer of at least its zxid behind it, on the same connection.
fn provable(events: &[Event]) -> Option<usize> {
    (0..events.len()).find(|index| {
        let What::Fired { zxid: fired, .. } = events[*index].what else {
            return false;
        };
        let behind = &events[index + 1..];
        behind
            .iter()
            .filter(|event| event.conn == events[*index].conn)
            .any(|event| matches!(event.what, What::Answered { zxid, .. } if zxid >= fired))
    })
}

fn missing_event(events: &mut Vec<Event>) -> Option<()> {
    let index = provable(events)?;
    events.remove(index);
    Some(())
}

/// The event comes when nobody has asked for it yet.
fn early_event(events: &mut [Event]) -> Option<()> {
    let index = provable(events)?;
    let conn = events[index].conn;
    let opened = events
        .iter()
        .find(|event| event.conn == conn && matches!(event.what, What::Opened { .. }));
    events[index].at = opened?.at + 1;
    Some(())
}
