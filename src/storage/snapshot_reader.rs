//! Reads snapshots, ours and Apache's, in one pass (FileSnap, SerializeUtils, DataTree).
//!
//! All sums are verified. Which sections follow the nodes is told from what is left of the file, not from
//! settings: the writer's need not be ours.

use std::borrow::Cow;
use std::io::{self, Read};

use simd_adler32::Adler32;
use thiserror::Error;

use super::codec::Decoder;
use super::data_dir::SnapshotFile;
use super::disk::{Disk, FileReader};
use super::snapshot_writer::SNAPSHOT_MAGIC;
use crate::ids::{SessionId, Zxid};
use crate::proto::acl::RawAcls;
use crate::proto::jute::{DecodeError, Reader};
use crate::proto::stat::StatPersisted;
use crate::tree::{DataTree, LoadError};

/// Why a file is not a snapshot. Offsets are in the uncompressed stream.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// The file could not be read or decompressed.
    #[error("cannot be read at offset {offset}: {source}")]
    Io {
        /// How far it was read.
        offset: u64,
        /// Why not further.
        source: io::Error,
    },
    /// It ends too early.
    #[error("ends at offset {0} in the middle of a record")]
    CutShort(u64),
    /// It is something else.
    #[error("does not start with ZKSN")]
    Magic,
    /// A length that is negative or beyond `jute.maxbuffer`.
    #[error("length {length} at offset {offset} is out of range (jute.maxbuffer allows {max})")]
    Length {
        /// Where.
        offset: u64,
        /// What it says.
        length: i32,
        /// What is allowed.
        max: usize,
    },
    /// A sum does not match, or there is something unknown behind the nodes.
    #[error("checksum mismatch behind the nodes at offset {0}: the file is damaged")]
    Checksum(u64),
    /// What another server sent does not end as it should.
    #[error("no signature behind the nodes at offset {0}")]
    Signature(u64),
    /// A record makes no sense.
    #[error("bad record at offset {offset}: {source}")]
    Record {
        /// Where it starts.
        offset: u64,
        /// What is wrong.
        source: DecodeError,
    },
    /// The nodes are not a tree.
    #[error("bad entry at offset {offset}: {source}")]
    Node {
        /// Where it starts.
        offset: u64,
        /// What is wrong.
        source: LoadError,
    },
}

/// One node as stored.
#[derive(Clone, Debug)]
pub struct SnapshotNode<'a> {
    /// Empty for the root.
    pub path: Cow<'a, str>,
    /// Null and empty differ.
    pub data: Option<&'a [u8]>,
    /// A number in the snapshot's list of ACLs, or -1.
    pub acl: i64,
    /// The bookkeeping.
    pub stat: StatPersisted,
}

/// Takes what a snapshot holds, in its order.
pub trait SnapshotSink {
    /// A session and its timeout in milliseconds.
    fn session(&mut self, session: SessionId, timeout_ms: i32);
    /// An ACL and the number the nodes call it by.
    fn acl(&mut self, id: i64, acl: &RawAcls<'_>) -> Result<(), LoadError>;
    /// A node; parents come first.
    fn node(&mut self, node: &SnapshotNode<'_>) -> Result<(), LoadError>;
}

/// Verifies without keeping anything.
impl SnapshotSink for () {
    fn session(&mut self, _: SessionId, _: i32) {}

    fn acl(&mut self, _: i64, _: &RawAcls<'_>) -> Result<(), LoadError> {
        Ok(())
    }

    fn node(&mut self, _: &SnapshotNode<'_>) -> Result<(), LoadError> {
        Ok(())
    }
}

impl SnapshotSink for DataTree {
    fn session(&mut self, session: SessionId, timeout_ms: i32) {
        self.load_session(session, timeout_ms);
    }

    fn acl(&mut self, id: i64, acl: &RawAcls<'_>) -> Result<(), LoadError> {
        self.load_acl(id, acl)
    }

    fn node(&mut self, node: &SnapshotNode<'_>) -> Result<(), LoadError> {
        self.load_node(&node.path, node.data, node.acl, node.stat)
    }
}

/// The digest a snapshot claims to lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotDigest {
    /// The transaction after which it holds; later than the file's zxid in Apache's fuzzy snapshots.
    pub zxid: Zxid,
    /// The way of computing it.
    pub version: i32,
    /// The digest; 0 where the version is not ours.
    pub digest: u64,
}

/// What follows the nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapshotTail {
    /// Absent if the writer had digests off, or is older than 3.6.
    pub digest: Option<SnapshotDigest>,
    /// Absent if the writer is older than 3.9.
    pub last_zxid: Option<Zxid>,
    /// Nodes read, the root included.
    pub nodes: u64,
}

/// Reads and verifies a whole snapshot.
pub fn read<D: Disk>(
    disk: &D,
    file: &SnapshotFile,
    record_bytes_max: usize,
    sink: &mut impl SnapshotSink,
) -> Result<SnapshotTail, SnapshotError> {
    let opened = disk.open_read(&file.path);
    let opened = opened.map_err(|source| SnapshotError::Io { offset: 0, source })?;
    let decoder = Decoder::new(FileReader::new(opened), file.compression);
    let window = usize::try_from(file.len).map_or(WINDOW_BYTES, |len| len.clamp(64, WINDOW_BYTES));
    read_stream(decoder, window, record_bytes_max, sink)
}

/// Loads a snapshot into a tree of its own.
pub fn load<D: Disk>(
    disk: &D,
    file: &SnapshotFile,
    record_bytes_max: usize,
    hash_seed: u64,
) -> Result<(DataTree, SnapshotTail), SnapshotError> {
    let mut tree = DataTree::empty(hash_seed);
    let tail = read(disk, file, record_bytes_max, &mut tree)?;
    tree.finish_load(file.zxid);
    Ok((tree, tail))
}

/// Reads an uncompressed stream of unknown length.
pub fn read_stream<R: Read>(
    source: R,
    window_bytes: usize,
    record_bytes_max: usize,
    sink: &mut impl SnapshotSink,
) -> Result<SnapshotTail, SnapshotError> {
    let mut window = Window::new(source, window_bytes, record_bytes_max);
    if window.fields(16)?.int().ok() != Some(SNAPSHOT_MAGIC) {
        return Err(SnapshotError::Magic);
    }
    window.consume(16);
    let nodes = read_content(&mut window, sink)?;
    let tail = window.tail()?;
    Ok(SnapshotTail { nodes, ..tail })
}

/// Reads a snapshot as servers send it to each other: without header and sums, with a signature behind it.
/// The answer is what was read beyond that.
pub(super) fn read_wire<R: Read>(
    source: R,
    record_bytes_max: usize,
    signature: &str,
    sink: &mut impl SnapshotSink,
) -> Result<Vec<u8>, SnapshotError> {
    let mut window = Window::new(source, WINDOW_BYTES, record_bytes_max);
    read_content(&mut window, sink)?;
    let at = window.offset();
    let bytes = 4 + signature.len();
    if window.fields(bytes)?.string().at(at)? != signature {
        return Err(SnapshotError::Signature(at));
    }
    window.consume(bytes);
    Ok(window.buf[window.start..window.end].to_vec())
}

/// Sessions, ACLs and nodes; how many nodes there were.
fn read_content<R: Read>(window: &mut Window<R>, sink: &mut impl SnapshotSink) -> Result<u64, SnapshotError> {
    for _ in 0..window.count()? {
        let at = window.offset();
        let mut fields = window.fields(12)?;
        let session = fields.long().and_then(|id| Ok((SessionId(id), fields.int()?)));
        let (session, timeout_ms) = session.at(at)?;
        sink.session(session, timeout_ms);
        window.consume(12);
    }
    for _ in 0..window.count()? {
        let at = window.offset();
        let bytes = window.acl_bytes()?;
        let mut fields = window.fields(bytes)?;
        let entry = fields
            .long()
            .and_then(|id| Ok((id, RawAcls::decode(&mut fields)?)));
        let (id, acl) = entry.at(at)?;
        sink.acl(id, &acl).at(at)?;
        window.consume(bytes);
    }
    let mut nodes = 0;
    while read_node(window, sink)? {
        nodes += 1;
    }
    Ok(nodes)
}

/// False at the end of the nodes.
fn read_node<R: Read>(window: &mut Window<R>, sink: &mut impl SnapshotSink) -> Result<bool, SnapshotError> {
    let at = window.offset();
    let path_bytes = window.length_at(0)?.ok_or(DecodeError::Null).at(at)?;
    if path_bytes == 1 && window.fields(5)?.rest().ends_with(b"/") {
        window.consume(5);
        return Ok(false);
    }
    let data_at = 4 + path_bytes;
    let data_bytes = window.length_at(data_at)?;
    let rest_at = data_at + 4 + data_bytes.unwrap_or(0);
    let bytes = rest_at + NODE_FIXED_BYTES;
    let fields = window.fields(bytes)?.rest();
    let decoded = {
        let mut fixed = Reader::new(&fields[rest_at..]);
        fixed
            .long()
            .and_then(|acl| Ok((acl, StatPersisted::decode(&mut fixed)?)))
    };
    let (acl, stat) = decoded.at(at)?;
    let node = SnapshotNode {
        path: String::from_utf8_lossy(&fields[4..data_at]),
        data: data_bytes.map(|count| &fields[data_at + 4..][..count]),
        acl,
        stat,
    };
    sink.node(&node).at(at)?;
    window.consume(bytes);
    Ok(true)
}

/// Says where a record is that makes no sense.
trait At<T> {
    fn at(self, offset: u64) -> Result<T, SnapshotError>;
}

impl<T> At<T> for Result<T, DecodeError> {
    fn at(self, offset: u64) -> Result<T, SnapshotError> {
        self.map_err(|source| SnapshotError::Record { offset, source })
    }
}

impl<T> At<T> for Result<T, LoadError> {
    fn at(self, offset: u64) -> Result<T, SnapshotError> {
        self.map_err(|source| SnapshotError::Node { offset, source })
    }
}

/// A part of the stream, large enough for the record at hand; what left it has been summed.
struct Window<R> {
    source: R,
    buf: Vec<u8>,
    start: usize,
    end: usize,
    /// `buf[..summed]` is in the sum.
    summed: usize,
    /// The offset of `buf[0]` in the stream.
    base: u64,
    sum: Adler32,
    record_bytes_max: usize,
}

impl<R: Read> Window<R> {
    fn new(source: R, window_bytes: usize, record_bytes_max: usize) -> Window<R> {
        Window {
            source,
            buf: vec![0; window_bytes],
            start: 0,
            end: 0,
            summed: 0,
            base: 0,
            sum: Adler32::new(),
            record_bytes_max,
        }
    }

    /// The next `count` bytes, which stay next until they are consumed.
    fn fields(&mut self, count: usize) -> Result<Reader<'_>, SnapshotError> {
        if self.end - self.start < count && self.fill(count)? < count {
            return Err(SnapshotError::CutShort(self.base + self.end as u64));
        }
        Ok(Reader::new(&self.buf[self.start..][..count]))
    }

    fn consume(&mut self, count: usize) {
        self.start += count;
        assert!(self.start <= self.end, "only what was there is consumed");
    }

    fn offset(&self) -> u64 {
        self.base + self.start as u64
    }

    /// Reads on until `count` bytes are there or the stream ends; how many are there.
    fn fill(&mut self, count: usize) -> Result<usize, SnapshotError> {
        self.sum_consumed();
        self.buf.copy_within(self.start..self.end, 0);
        self.base += self.start as u64;
        self.end -= self.start;
        (self.start, self.summed) = (0, 0);
        while self.end < count {
            if self.end == self.buf.len() {
                // Grows with what arrived, not with what is claimed.
                self.buf.resize(2 * self.buf.len(), 0);
            }
            match self.source.read(&mut self.buf[self.end..]) {
                Ok(0) => break,
                Ok(read) => self.end += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    let offset = self.base + self.end as u64;
                    return Err(SnapshotError::Io { offset, source });
                }
            }
        }
        Ok(self.end)
    }

    fn sum_consumed(&mut self) {
        self.sum.write(&self.buf[self.summed..self.start]);
        self.summed = self.start;
    }

    /// The count before a list; none is a negative one (Java's loops count down to 0).
    fn count(&mut self) -> Result<i32, SnapshotError> {
        let at = self.offset();
        let count = self.fields(4)?.int().at(at)?;
        self.consume(4);
        Ok(count)
    }

    /// A length field `at` bytes ahead, `None` for null.
    fn length_at(&mut self, at: usize) -> Result<Option<usize>, SnapshotError> {
        let offset = self.offset() + at as u64;
        let bytes = self.fields(at + 4)?.rest();
        let length = Reader::new(&bytes[at..]).int().at(offset)?;
        if length == -1 {
            return Ok(None);
        }
        match usize::try_from(length) {
            Ok(count) if count <= self.record_bytes_max => Ok(Some(count)),
            _ => Err(SnapshotError::Length {
                offset,
                length,
                max: self.record_bytes_max,
            }),
        }
    }

    /// The size of an entry of the ACL map: id and list.
    fn acl_bytes(&mut self) -> Result<usize, SnapshotError> {
        let mut bytes = 12;
        let at = self.offset();
        let count = Reader::new(&self.fields(bytes)?.rest()[8..]).int().at(at)?;
        for _ in 0..count {
            bytes += 4;
            for _ in ["scheme", "id"] {
                bytes += 4 + self.length_at(bytes)?.unwrap_or(0);
            }
            if bytes > self.record_bytes_max {
                return Err(DecodeError::UnreasonableLength(count)).at(at);
            }
        }
        Ok(bytes)
    }

    /// Everything behind the nodes.
    fn tail(mut self) -> Result<SnapshotTail, SnapshotError> {
        let offset = self.offset();
        let count = self.fill(TAIL_BYTES_MAX + 1)?;
        let rest = &self.buf[..count];
        if count < SEAL_BYTES {
            return Err(SnapshotError::CutShort(self.base + count as u64));
        }
        let layouts = [(true, true), (true, false), (false, true), (false, false)];
        layouts
            .into_iter()
            .filter(|_| count <= TAIL_BYTES_MAX)
            .find_map(|(has_digest, has_zxid)| decode_tail(&self.sum, rest, has_digest, has_zxid))
            .ok_or(SnapshotError::Checksum(offset))
    }
}

/// Seal, then the sections that are there, each with a seal, then the end.
fn decode_tail(sum: &Adler32, bytes: &[u8], has_digest: bool, has_zxid: bool) -> Option<SnapshotTail> {
    let mut reader = Reader::new(bytes);
    let mut tail = SnapshotTail::default();
    take_seal(sum, bytes, &mut reader)?;
    if has_digest {
        let zxid = Zxid(reader.long().ok()?);
        let version = reader.int().ok()?;
        let digest = if version < 2 {
            // Releases before 3.6.0 wrote hexadecimal digits.
            u64::from_str_radix(&reader.string().ok()?, 16).unwrap_or(0)
        } else {
            reader.long().ok()? as u64
        };
        tail.digest = Some(SnapshotDigest {
            zxid,
            version,
            digest,
        });
        take_seal(sum, bytes, &mut reader)?;
    }
    if has_zxid {
        tail.last_zxid = Some(Zxid(reader.long().ok()?));
        take_seal(sum, bytes, &mut reader)?;
    }
    reader.is_empty().then_some(tail)
}

/// The sum of everything before it, then "/".
fn take_seal(sum: &Adler32, bytes: &[u8], reader: &mut Reader<'_>) -> Option<()> {
    let mut sum = sum.clone();
    sum.write(&bytes[..bytes.len() - reader.rest().len()]);
    let is_sum = reader.long().ok()? == i64::from(sum.finish());
    (is_sum && reader.take(5).ok()? == SEAL_END).then_some(())
}

const WINDOW_BYTES: usize = 1 << 20;
/// ACL number and stat.
const NODE_FIXED_BYTES: usize = 8 + 60;
const SEAL_BYTES: usize = 13;
const SEAL_END: [u8; 5] = [0, 0, 0, 1, b'/'];
/// Both sections with their seals, the digest in its old form.
const TAIL_BYTES_MAX: usize = 256;
