//! Reads one transaction log, record by record, and says exactly where and how it stops being one.
//!
//! The reader judges nothing: whether a bad record is a torn tail or damage depends on what follows, and is
//! decided in `log_repair` and `replay`.

use std::path::{Path, PathBuf};

use super::disk::{Disk, DiskContext, DiskError, DiskFile, read_full_at};
use super::record::{
    Damage, LOG_HEADER_BYTES, RECORD_OVERHEAD, RECORD_PREFIX_BYTES, RecordPrefix, body_zxid, is_log_header,
};
use crate::ids::Zxid;

/// A log, from front to back.
#[derive(Debug)]
pub struct LogReader<F> {
    path: PathBuf,
    file: F,
    len: u64,
    record_bytes_max: usize,
    has_header: bool,
    /// A part of the file; `buf[start..end]` comes next.
    buf: Vec<u8>,
    start: usize,
    end: usize,
    /// The offset of `buf[0]` in the file.
    base: u64,
}

/// What comes next in a log.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// A record whose sum is right.
    Record {
        /// Where it starts.
        offset: u64,
        /// Of its transaction.
        zxid: Zxid,
        /// The encoded transaction.
        body: &'a [u8],
    },
    /// No more records: a zero length, or the end of the file.
    End {
        /// Where the next record would start.
        offset: u64,
    },
    /// Something that is no record.
    Bad {
        /// Where it starts.
        offset: u64,
        /// How it is bad.
        damage: Damage,
    },
}

impl<F: DiskFile> LogReader<F> {
    /// Opens a log and looks at its header.
    pub fn open<D: Disk<File = F>>(
        disk: &D,
        path: &Path,
        record_bytes_max: usize,
    ) -> Result<LogReader<F>, DiskError> {
        let file = disk.open_read(path).doing("open", path)?;
        let len = file.len().doing("open", path)?;
        let window = usize::try_from(len).map_or(WINDOW_BYTES, |len| len.clamp(64, WINDOW_BYTES));
        let mut reader = LogReader {
            path: path.to_path_buf(),
            file,
            len,
            record_bytes_max,
            has_header: false,
            buf: vec![0; window],
            start: 0,
            end: 0,
            base: 0,
        };
        let header = reader.peek(LOG_HEADER_BYTES as usize)?;
        reader.has_header = is_log_header(header);
        if reader.has_header {
            reader.start += LOG_HEADER_BYTES as usize;
        }
        Ok(reader)
    }

    /// The next record, or why there is none. After an end or a bad record it says the same again.
    pub fn next_record(&mut self) -> Result<Step<'_>, DiskError> {
        let offset = self.base + self.start as u64;
        let bad = |damage| Ok(Step::Bad { offset, damage });
        if !self.has_header {
            return bad(Damage::Header);
        }
        let prefix = self.peek(RECORD_PREFIX_BYTES)?;
        let Some(prefix) = prefix.first_chunk() else {
            // Less than a prefix of nothing but zeros is preallocated room.
            return match prefix.iter().all(|&byte| byte == 0) {
                true => Ok(Step::End { offset }),
                false => bad(Damage::CutShort),
            };
        };
        let prefix = RecordPrefix::decode(prefix);
        if prefix.length == 0 {
            return match prefix.checksum {
                0 => Ok(Step::End { offset }),
                _ => bad(Damage::Length(0)),
            };
        }
        let left = usize::try_from(self.len - offset).unwrap_or(usize::MAX);
        let room = left.saturating_sub(RECORD_OVERHEAD as usize);
        let length = match prefix.body_bytes(self.record_bytes_max.max(room)) {
            Ok(length) if length > room => return bad(Damage::CutShort),
            Ok(length) => length,
            Err(damage) => return bad(damage),
        };
        let total = length + RECORD_OVERHEAD as usize;
        if self.peek(total)?.len() < total {
            return bad(Damage::CutShort);
        }
        let start = self.start;
        let record = &self.buf[start..start + total];
        let (body, mark) = (&record[RECORD_PREFIX_BYTES..total - 1], record[total - 1]);
        if let Err(damage) = prefix.verify(body, mark) {
            return bad(damage);
        }
        let zxid = body_zxid(body).expect("a body is at least a header");
        self.start += total;
        Ok(Step::Record { offset, zxid, body })
    }

    /// Goes on at an offset where a record starts.
    pub fn seek(&mut self, offset: u64) {
        self.base = offset;
        self.has_header = true;
        (self.start, self.end) = (0, 0);
    }

    /// The length of the file.
    pub fn file_bytes(&self) -> u64 {
        self.len
    }

    /// The first byte at or after `offset` that is not zero.
    pub fn find_data(&self, offset: u64) -> Result<Option<u64>, DiskError> {
        let mut found = None;
        self.scan(offset, 1, |at, bytes| {
            found = bytes.iter().position(|&byte| byte != 0).map(|i| at + i as u64);
            Ok(found.is_some())
        })?;
        Ok(found)
    }

    /// The offset behind the last byte at or after `offset` that is not zero; `offset` if there is none.
    pub fn data_end(&self, offset: u64) -> Result<u64, DiskError> {
        let mut end = offset;
        self.scan(offset, 1, |at, bytes| {
            if let Some(i) = bytes.iter().rposition(|&byte| byte != 0) {
                end = at + i as u64 + 1;
            }
            Ok(false)
        })?;
        Ok(end)
    }

    /// The first record at or after `offset` that is whole and newer than `after`: what proves that the bytes
    /// before it are not just a torn tail.
    pub fn find_record(&self, offset: u64, after: Zxid) -> Result<Option<(u64, Zxid)>, DiskError> {
        let mut found = None;
        self.scan(offset, RECORD_PREFIX_BYTES, |at, bytes| {
            for (i, prefix) in bytes.array_windows().enumerate() {
                // The upper half of a checksum is zero, that of a length nearly always.
                if prefix[..4] != [0; 4] || prefix[8] != 0 {
                    continue;
                }
                let candidate = self.record_at(at + i as u64, &RecordPrefix::decode(prefix))?;
                if let Some(zxid) = candidate.filter(|&zxid| zxid > after) {
                    found = Some((at + i as u64, zxid));
                    return Ok(true);
                }
            }
            Ok(false)
        })?;
        Ok(found)
    }

    /// Reads some bytes aside, for a report or a judgement.
    pub fn bytes_at(&self, offset: u64, count: usize) -> Result<Vec<u8>, DiskError> {
        let mut bytes = vec![0; count];
        let read = read_full_at(&self.file, &mut bytes, offset).doing("read", &self.path)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    fn record_at(&self, offset: u64, prefix: &RecordPrefix) -> Result<Option<Zxid>, DiskError> {
        let Ok(length) = prefix.body_bytes(self.record_bytes_max) else {
            return Ok(None);
        };
        let body_at = offset + RECORD_PREFIX_BYTES as u64;
        let mark = self.bytes_at(body_at + length as u64, 1)?;
        if mark != [super::record::RECORD_MARK] {
            return Ok(None);
        }
        let body = self.bytes_at(body_at, length)?;
        let is_whole = body.len() == length && prefix.verify(&body, mark[0]).is_ok();
        Ok(body_zxid(&body).filter(|_| is_whole))
    }

    /// Hands out the file from `offset` on in pieces that overlap by `overlap - 1` bytes, until told to stop.
    fn scan(
        &self,
        mut offset: u64,
        overlap: usize,
        mut piece: impl FnMut(u64, &[u8]) -> Result<bool, DiskError>,
    ) -> Result<(), DiskError> {
        let left = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut buf = vec![0; left.min(WINDOW_BYTES)];
        while offset < self.len {
            let count = read_full_at(&self.file, &mut buf, offset).doing("read", &self.path)?;
            let is_last = count < buf.len() || offset + count as u64 >= self.len;
            if piece(offset, &buf[..count])? || is_last {
                break;
            }
            offset += (count + 1 - overlap) as u64;
        }
        Ok(())
    }

    /// The next `count` bytes, or what is left of them.
    fn peek(&mut self, count: usize) -> Result<&[u8], DiskError> {
        if self.end - self.start < count {
            self.buf.copy_within(self.start..self.end, 0);
            self.base += self.start as u64;
            self.end -= self.start;
            self.start = 0;
            if self.buf.len() < count {
                self.buf.resize(count, 0);
            }
            let at = self.base + self.end as u64;
            let room = &mut self.buf[self.end..];
            self.end += read_full_at(&self.file, room, at).doing("read", &self.path)?;
        }
        let end = self.end.min(self.start + count);
        Ok(&self.buf[self.start..end])
    }
}

const WINDOW_BYTES: usize = 1 << 20;
