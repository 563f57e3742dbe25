//! I8: a write that was answered before another was called has the smaller zxid. And with a quorum asked, a
//! `sync` shows at least what anyone had seen before it was called.

use super::super::records::op;
use super::{Checker, code};

/// At one time, calls come before returns: only what returned strictly before counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Call,
    Return,
}

impl Checker {
    pub(super) fn check_real_time(&mut self) {
        let mut points = Vec::new();
        for (index, request) in self.requests.iter().enumerate() {
            if let Some(committed) = &request.committed {
                points.push((request.at, Kind::Call, committed.zxid, index));
                let returned = request
                    .returned
                    .map(|at| (at, Kind::Return, committed.zxid, index));
                points.extend(returned);
            }
        }
        points.sort_unstable();
        let mut newest = (0, 0);
        for (at, kind, zxid, index) in points {
            match kind {
                Kind::Return => newest = newest.max((zxid, at)),
                Kind::Call if zxid <= newest.0 => {
                    let request = &self.requests[index];
                    let text = format!(
                        "request {} of connection {}, called at {at}, has {zxid:#x}; {:#x} returned at {}",
                        request.xid, request.conn, newest.0, newest.1
                    );
                    self.violation("I8", text);
                }
                Kind::Call => {}
            }
        }
    }

    pub(super) fn check_sync(&mut self) {
        if !self.options.quorum_sync {
            return;
        }
        let seen = std::mem::take(&mut self.seen);
        let mut points: Vec<(u64, Kind, i64, usize)> = Vec::new();
        points.extend(seen.into_iter().map(|(at, zxid)| (at, Kind::Return, zxid, 0)));
        for (index, request) in self.requests.iter().enumerate() {
            if request.opcode == op::SYNC && request.returned.is_some() {
                points.push((request.at, Kind::Call, request.shown, index));
            }
        }
        points.sort_unstable();
        let mut newest = 0;
        for (at, kind, zxid, index) in points {
            match kind {
                Kind::Return => newest = newest.max(zxid),
                Kind::Call if zxid < newest => {
                    let request = &self.requests[index];
                    let text = format!(
                        "sync {} of connection {}, called at {at}, shows {zxid:#x}; {newest:#x} was seen",
                        request.xid, request.conn
                    );
                    self.violation("sync", text);
                }
                Kind::Call => {}
            }
        }
    }
}
