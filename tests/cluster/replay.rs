//! The history beside the log of the members: every answer is what the reference model says.

use std::collections::BTreeMap;
use std::fs;

use crate::blackbox::Findings;
use crate::history::{Call, Event, What};
use crate::logs::{self, Merged};
use crate::model::{Checker, Identity, Model, Opened, Options, ReadRequest, Txn, op, same_reply};
use crate::wire::{self, Out};

/// What is read: the log folders of the members, the files of what they show in the end, and whether Apache's
/// are among them.
pub struct Evidence<'a> {
    pub folders: &'a [String],
    pub trees: &'a [String],
    pub apache: bool,
    /// Last zxids of leaders when a quorum began to follow them.
    pub ends: &'a [i64],
    /// Epochs that a server of ours led; only told beside Apache's.
    pub own_epochs: &'a [i64],
}

pub fn check(events: &[Event], calls: &[Call], evidence: &Evidence, found: &mut Findings) {
    let shown = calls
        .iter()
        .filter_map(|call| call.answer.as_ref())
        .map(|answer| answer.zxid);
    let shown: Vec<i64> = shown.collect();
    let merged = match logs::merge(evidence.folders, &shown, evidence.ends, !evidence.apache) {
        Ok(merged) => merged,
        Err(problem) => return found.wrong(problem),
    };
    found.count("transaction", merged.log.len() as u64);
    found.count("transaction given up", merged.given_up.len() as u64);
    acknowledged(calls, &merged, found);
    final_trees(&merged, evidence.trees, found);
    model(events, &merged, evidence, found);
}

/// Every write that was answered stands in the log once, at the zxid of its answer. What has no answer may
/// stand there.
fn acknowledged(calls: &[Call], merged: &Merged, found: &mut Findings) {
    let mut places: BTreeMap<(i64, i32), Vec<i64>> = BTreeMap::new();
    for (zxid, txn) in &merged.log {
        if let Some((header, _)) = Txn::decode(txn) {
            places
                .entry((header.session, header.cxid))
                .or_default()
                .push(*zxid);
        }
    }
    for call in calls
        .iter()
        .filter(|call| crate::model::records::is_write(call.code))
    {
        let place = places
            .get(&(call.session, call.xid))
            .map_or(&[][..], Vec::as_slice);
        let name = || format!("op {} of session {:x}, xid {}", call.code, call.session, call.xid);
        match &call.answer {
            Some(answer) if answer.err == 0 && place != [answer.zxid] => {
                let zxid = answer.zxid;
                found.wrong(format!(
                    "I5: {} was answered with {zxid:x}, the log has it at {place:x?}",
                    name()
                ));
            }
            Some(_) => found.count("answered write in the log", 1),
            None if place.is_empty() => found.count("write without answer, not done", 1),
            None => found.count("write without answer, done", 1),
        }
        if place.len() > 1 {
            found.wrong(format!("I5: {} stands in the log at {place:x?}", name()));
        }
    }
}

/// What every member shows at the end is what the log makes.
fn final_trees(merged: &Merged, files: &[String], found: &mut Findings) {
    let mut model = Model::new();
    for (zxid, txn) in &merged.log {
        if let Err(problem) = model.apply(txn) {
            found.wrong(format!("I21: {zxid:x}: {problem}"));
        }
    }
    let super_user = [Identity::new("super", "")];
    for file in files {
        let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}"));
        let mut nodes = 0;
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let [path, data, acl] = words[..] else {
                panic!("{file}: {line}")
            };
            // Each member makes this one itself.
            if path == "/zookeeper/config" {
                continue;
            }
            for (opcode, shown) in [(op::GET_DATA, data), (op::GET_ACL, acl)] {
                let shown = crate::history::unhex(shown).expect("hex");
                let body = match opcode {
                    op::GET_DATA => wire::path_watch(path, false),
                    _ => wire::path_only(path),
                };
                let request = ReadRequest {
                    session: 0,
                    ids: &super_user,
                    opcode,
                    body: &body,
                };
                let (code, expected) = model.read(model.zxid(), &request);
                if code != 0 || !same_reply(opcode, &expected, &shown) {
                    let hex = crate::history::hex;
                    let what = format!(
                        "{path} shows {}, the log makes {code} {}",
                        hex(&shown),
                        hex(&expected)
                    );
                    found.wrong(format!("final tree: {file}: {what}"));
                }
            }
            nodes += 1;
        }
        let expected = model
            .nodes()
            .filter(|(path, _)| &***path != "/zookeeper/config")
            .count();
        if nodes != expected {
            found.wrong(format!(
                "final tree: {file} has {nodes} nodes, the log makes {expected}"
            ));
        }
        found.count("node of a final tree", nodes as u64);
    }
    let left = model.nodes().filter(|(_, node)| node.session().is_some()).count();
    if left > 0 {
        found.wrong(format!(
            "I14: {left} ephemeral nodes are left without any session"
        ));
    }
}

/// Everything that the checker of histories looks at. What only Apache's leaders do wrong is told by who led
/// the epoch.
fn model(events: &[Event], merged: &Merged, evidence: &Evidence, found: &mut Findings) {
    let checker = checked(events, merged, evidence.apache, evidence.apache);
    for violation in checker.violations() {
        found.wrong(format!("{}: {}", violation.invariant, violation.text));
    }
    let counts = checker.counts();
    found.count("request judged", counts.judged);
    found.count("read compared", counts.reads);
    found.count("write compared", counts.writes);
    found.count("watch event", counts.events);
    if !evidence.apache {
        return;
    }
    for violation in checked(events, merged, true, false).violations() {
        let zxid = violation
            .text
            .strip_prefix("0x")
            .and_then(|text| text.split(',').next());
        let zxid = zxid.and_then(|zxid| i64::from_str_radix(zxid, 16).ok());
        let Some(epoch) = zxid
            .filter(|_| violation.invariant == "I22")
            .map(|zxid| zxid >> 32)
        else {
            continue;
        };
        if evidence.own_epochs.contains(&epoch) {
            found.wrong(format!("{}: {}", violation.invariant, violation.text));
        } else {
            found.count("known of Apache: CVE-2026-100235", 1);
        }
    }
}

fn checked(events: &[Event], merged: &Merged, apache: bool, stale_acls: bool) -> Checker {
    let mut checker = Checker::new(Options {
        exact_failed_multi: !apache,
        exact_reads: !apache,
        quorum_sync: !apache,
        stale_acls,
        ..Options::default()
    });
    for Event { at, conn, what } in events {
        let conn = u64::from(*conn);
        match what {
            What::Opening {
                server,
                address,
                frame,
            } => {
                let opened = Opened {
                    server: *server,
                    address,
                    at: *at,
                    frame,
                };
                checker.opened(conn, opened);
            }
            What::Opened { session, .. } => checker.bound(conn, *session),
            What::Asked { xid, code, body } => {
                let frame = Out::default().int(*xid).int(*code).raw(body).0;
                checker.request(conn, *at, &frame);
            }
            What::Answered { .. } | What::Fired { .. } | What::Lost => {}
        }
    }
    for txn in merged.log.values() {
        checker.entry(txn);
    }
    for Event { at, conn, what } in events {
        let frame = match what {
            What::Opened { frame, .. } => frame.clone(),
            What::Answered { xid, zxid, err, body } => {
                Out::default().int(*xid).long(*zxid).int(*err).raw(body).0
            }
            What::Fired {
                zxid,
                kind,
                state,
                path,
            } => {
                let head = Out::default().int(wire::EVENT_XID).long(*zxid).int(0);
                head.int(*kind).int(*state).string(path).0
            }
            What::Opening { .. } | What::Asked { .. } | What::Lost => continue,
        };
        checker.received(u64::from(*conn), *at, &frame);
    }
    checker.finish();
    checker
}
