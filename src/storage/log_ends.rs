//! Where finished logs end: `zkserver.ends`, beside the logs.
//!
//! The log's format has no link back, and the first transaction of an epoch may follow anything. So a log
//! that has lost its tail at the border of a record, and that a log of a later epoch follows, reads as whole.
//! This file says where each log ended once nothing more could be appended to it; what ends before that is
//! damaged.
//!
//! One line for each log, with a checksum of its own. It is replaced as a whole: after a crash it is the old
//! or the new one.

use std::fmt::Write;
use std::path::Path;

use super::StorageConfig;
use super::data_dir::{self, LogFile};
use super::disk::{Disk, DiskError, read_if_there};
use super::epochs;
use crate::ids::Zxid;

/// Where a log ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FinishedLog {
    /// Which log, by the zxid in its name.
    pub log: Zxid,
    /// The last transaction of the history at that time: its own last one, or that of a snapshot which had
    /// overtaken it.
    pub last: Zxid,
    /// The offset behind it.
    pub offset: u64,
}

/// The ends that are known, in the order in which they became known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogEnds(Vec<FinishedLog>);

impl LogEnds {
    /// What the file beside the logs says; lines that are damaged say nothing.
    pub fn load<D: Disk>(disk: &D, log_dir: &Path) -> Result<LogEnds, DiskError> {
        let bytes = read_if_there(disk, &log_dir.join(ENDS_NAME), u64::MAX)?.unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        Ok(LogEnds(text.lines().filter_map(FinishedLog::parse).collect()))
    }

    /// Where this log ended, if that is known.
    pub fn of(&self, log: Zxid) -> Option<FinishedLog> {
        self.0.iter().copied().find(|end| end.log == log)
    }

    /// The first log that is not there and has held transactions behind `base`.
    pub fn missing(&self, logs: &[LogFile], base: Zxid) -> Option<FinishedLog> {
        let is_there = |end: &FinishedLog| logs.iter().any(|log| log.zxid == end.log);
        self.0
            .iter()
            .copied()
            .find(|end| end.last > base && !is_there(end))
    }

    /// Nothing more will be appended to a log, all of which is durable. Durable when it returns.
    ///
    /// What is known never becomes less: who has read less of the log had a snapshot of the rest.
    pub fn add<D: Disk>(disk: &D, config: &StorageConfig, end: FinishedLog) -> Result<(), DiskError> {
        let mut ends = LogEnds::load(disk, &config.log_dir)?;
        if ends.of(end.log).is_some_and(|known| known.last >= end.last) {
            return Ok(());
        }
        let listing = data_dir::list(disk, config)?;
        // Every start is from this snapshot or a newer one, so the file stays as small as the purge keeps the
        // directory.
        let oldest = listing.snapshots.last().map(|file| file.zxid);
        ends.0
            .retain(|known| known.log != end.log && oldest.is_none_or(|oldest| known.last > oldest));
        ends.0.push(end);
        ends.replace(disk, &config.log_dir)
    }

    /// Takes back, durably, where the logs end that reach beyond `to`: they are going to be cut, or to go.
    pub fn forget_behind<D: Disk>(disk: &D, log_dir: &Path, to: Zxid) -> Result<(), DiskError> {
        let known = LogEnds::load(disk, log_dir)?;
        let mut kept = known.clone();
        kept.0.retain(|end| end.last <= to);
        match kept == known {
            true => Ok(()),
            false => kept.replace(disk, log_dir),
        }
    }

    fn replace<D: Disk>(&self, disk: &D, log_dir: &Path) -> Result<(), DiskError> {
        let mut text = String::new();
        for end in &self.0 {
            end.encode(&mut text);
        }
        epochs::replace(disk, log_dir, ENDS_NAME, &text)
    }
}

impl FinishedLog {
    fn encode(&self, out: &mut String) {
        let FinishedLog { log, last, offset } = self;
        let fields = format!("{:x} {:x} {offset}", log.0, last.0);
        let sum = crc32fast::hash(fields.as_bytes());
        writeln!(out, "{fields} {sum:08x}").expect("a string takes everything");
    }

    fn parse(line: &str) -> Option<FinishedLog> {
        let (fields, _) = line.rsplit_once(' ')?;
        let mut words = fields.split(' ');
        let zxid = |word: &str| i64::from_str_radix(word, 16).ok().map(Zxid);
        let end = FinishedLog {
            log: zxid(words.next()?)?,
            last: zxid(words.next()?)?,
            offset: words.next()?.parse().ok()?,
        };
        let mut whole = String::new();
        end.encode(&mut whole);
        (whole.trim_end() == line).then_some(end)
    }
}

const ENDS_NAME: &str = "zkserver.ends";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_damaged_says_nothing() {
        let end = FinishedLog {
            log: Zxid(0x1_0000_0001),
            last: Zxid(0x1_0000_002a),
            offset: 4711,
        };
        let mut line = String::new();
        end.encode(&mut line);
        let line = line.trim_end();
        assert_eq!(FinishedLog::parse(line), Some(end));
        for at in 0..line.len() {
            assert_eq!(FinishedLog::parse(&line[..at]), None, "cut at {at}");
            for bit in 0..7 {
                let mut bytes = line.as_bytes().to_vec();
                bytes[at] ^= 1 << bit;
                let damaged = String::from_utf8(bytes).expect("still of seven bits");
                assert_eq!(FinishedLog::parse(&damaged), None, "{damaged:?}");
            }
        }
    }

    #[test]
    fn only_what_is_not_in_the_base_can_be_missing() {
        let end = |log, last| FinishedLog {
            log: Zxid(log),
            last: Zxid(last),
            offset: 100,
        };
        let ends = LogEnds(vec![end(1, 5), end(6, 9)]);
        let log = |zxid| LogFile {
            zxid: Zxid(zxid),
            path: data_dir::log_name(Zxid(zxid)).into(),
            len: 100,
        };
        assert_eq!(ends.missing(&[log(1), log(6)], Zxid(0)), None);
        assert_eq!(ends.missing(&[log(6)], Zxid(4)), Some(end(1, 5)));
        assert_eq!(ends.missing(&[log(6)], Zxid(5)), None);
        assert_eq!(ends.missing(&[], Zxid(5)), Some(end(6, 9)));
    }
}
