//! The newest transactions, for learners that are a little behind (ZKDatabase.committedLog).
//!
//! Between `base` and `last` nothing is missing: what is added follows what is there, whatever phase it comes
//! from. So a learner whose last transaction is in the window needs just what comes after it.

use std::collections::VecDeque;

use bytes::Bytes;

use super::LogEntry;
use crate::ids::Zxid;
use crate::proto::jute::Reader;
use crate::proto::txn;

/// A part of the history without a gap, up to its end.
#[derive(Clone, Debug)]
pub struct CommittedLog {
    /// The transaction before the first entry. What is known of it is just that it is the one before.
    base: Zxid,
    entries: VecDeque<LogEntry>,
    bytes: usize,
    entries_max: usize,
}

impl CommittedLog {
    /// Nothing after `last`, the last transaction of the tree. `entries_max` is `commitLogCount`, at least 1.
    pub fn new(last: Zxid, entries_max: usize) -> CommittedLog {
        CommittedLog {
            base: last,
            entries: VecDeque::new(),
            bytes: 0,
            entries_max,
        }
    }

    /// From the newest transactions of the log as recovery read them, the last of which is `last`.
    pub fn recovered(tail: Vec<Bytes>, last: Zxid, entries_max: usize) -> CommittedLog {
        let mut log = CommittedLog::new(last, entries_max);
        let mut is_first = true;
        for encoded in tail {
            let Ok(header) = txn::decode_header(&mut Reader::new(&encoded)) else {
                return CommittedLog::new(last, entries_max);
            };
            let zxid = header.zxid;
            if is_first {
                // Without what came before it, the first of an epoch proves nothing but itself.
                log.base = Zxid(zxid.0 - i64::from(zxid.counter() > 1));
                is_first = false;
                if log.base == zxid {
                    continue;
                }
            }
            if !follows(log.last(), zxid) {
                return CommittedLog::new(last, entries_max);
            }
            log.push(LogEntry { zxid, encoded });
        }
        if log.last() == last {
            log
        } else {
            CommittedLog::new(last, entries_max)
        }
    }

    /// The end of the history.
    pub fn last(&self) -> Zxid {
        self.entries.back().map_or(self.base, |entry| entry.zxid)
    }

    /// The transaction before the oldest entry.
    pub fn base(&self) -> Zxid {
        self.base
    }

    /// The newest entry, if there is one.
    pub fn newest(&self) -> Option<&LogEntry> {
        self.entries.back()
    }

    /// Takes the next transaction. It must follow the last.
    pub fn push(&mut self, entry: LogEntry) {
        let last = self.last();
        assert!(
            follows(last, entry.zxid),
            "{} is committed after {last}: a gap",
            entry.zxid
        );
        self.bytes += entry.encoded.len();
        self.entries.push_back(entry);
        while self.entries.len() > self.entries_max || (self.bytes > BYTES_MAX && self.entries.len() > 1) {
            let Some(oldest) = self.entries.pop_front() else {
                break;
            };
            self.bytes -= oldest.encoded.len();
            self.base = oldest.zxid;
        }
    }

    /// The history ends at `last` now: a snapshot took its place, or it was cut there.
    pub fn reset(&mut self, last: Zxid) {
        while let Some(newest) = self.entries.back()
            && newest.zxid > last
        {
            self.bytes -= newest.encoded.len();
            self.entries.pop_back();
        }
        if self.last() != last {
            *self = CommittedLog::new(last, self.entries_max);
        }
    }

    /// What comes after `zxid`, oldest first.
    pub fn after(&self, zxid: Zxid) -> impl Iterator<Item = &LogEntry> {
        let from = self.entries.partition_point(|entry| entry.zxid <= zxid);
        self.entries.range(from..)
    }

    /// The newest transaction of the window that is not above `zxid`; the base counts.
    pub fn floor(&self, zxid: Zxid) -> Option<Zxid> {
        let above = self.entries.partition_point(|entry| entry.zxid <= zxid);
        match above.checked_sub(1) {
            Some(at) => Some(self.entries[at].zxid),
            None => Some(self.base).filter(|base| *base <= zxid),
        }
    }
}

/// Whether a transaction can come right after another: the next of its epoch, or the first of a later one.
pub fn follows(last: Zxid, zxid: Zxid) -> bool {
    if last.epoch() == zxid.epoch() {
        zxid == last.next()
    } else {
        zxid.epoch() > last.epoch() && zxid.counter() == 1
    }
}

/// The default and least of `commitLogCount`.
pub const COMMIT_LOG_COUNT: usize = 500;
/// However large the transactions are, no more is kept.
const BYTES_MAX: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Epoch, SessionId};
    use crate::proto::txn::{Txn, TxnHeader};

    fn zxid(epoch: i64, counter: u32) -> Zxid {
        Zxid::new(Epoch(epoch), counter)
    }

    fn entry(zxid: Zxid) -> LogEntry {
        let header = TxnHeader {
            client_id: SessionId(1),
            cxid: 0,
            zxid,
            time: 0,
            code: -1,
        };
        let mut encoded = Vec::new();
        txn::encode(&header, &Txn::Error(-110), None, &mut encoded);
        LogEntry {
            zxid,
            encoded: Bytes::from(encoded),
        }
    }

    fn window(log: &CommittedLog) -> (Zxid, usize, Zxid) {
        (log.base(), log.after(log.base()).count(), log.last())
    }

    #[test]
    fn the_window_moves_and_never_has_a_gap() {
        let mut log = CommittedLog::new(zxid(1, 7), COMMIT_LOG_COUNT);
        for counter in 8..600 {
            log.push(entry(zxid(1, counter)));
        }
        log.push(entry(zxid(3, 1)));
        assert_eq!(window(&log), (zxid(1, 100), 500, zxid(3, 1)));
        assert_eq!(log.after(zxid(1, 598)).count(), 2);
        assert_eq!(log.floor(zxid(2, 9)), Some(zxid(1, 599)));
        assert_eq!(log.floor(zxid(1, 100)), Some(zxid(1, 100)));
        assert_eq!(log.floor(zxid(1, 99)), None);
        log.reset(zxid(1, 599));
        assert_eq!(window(&log), (zxid(1, 100), 499, zxid(1, 599)));
        log.reset(zxid(4, 9));
        assert_eq!(window(&log), (zxid(4, 9), 0, zxid(4, 9)));
    }

    #[test]
    #[should_panic(expected = "a gap")]
    fn what_does_not_follow_is_not_taken() {
        CommittedLog::new(zxid(1, 7), COMMIT_LOG_COUNT).push(entry(zxid(2, 2)));
    }

    #[test]
    fn recovery_proves_as_much_as_its_tail_shows() {
        let tail = |zxids: &[Zxid]| zxids.iter().map(|zxid| entry(*zxid).encoded).collect::<Vec<_>>();
        let recovered =
            |zxids: &[Zxid], last| window(&CommittedLog::recovered(tail(zxids), last, COMMIT_LOG_COUNT));
        assert_eq!(recovered(&[], zxid(1, 3)), (zxid(1, 3), 0, zxid(1, 3)));
        let run = [zxid(1, 3), zxid(1, 4), zxid(2, 1)];
        assert_eq!(recovered(&run, zxid(2, 1)), (zxid(1, 2), 3, zxid(2, 1)));
        let first = [zxid(1, 1), zxid(1, 2)];
        assert_eq!(recovered(&first, zxid(1, 2)), (zxid(1, 1), 1, zxid(1, 2)));
        let gap = [zxid(1, 3), zxid(2, 4)];
        assert_eq!(recovered(&gap, zxid(2, 4)), (zxid(2, 4), 0, zxid(2, 4)));
    }
}
