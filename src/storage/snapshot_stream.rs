//! A snapshot between servers: what follows a SNAP packet (SerializeUtils.serializeSnapshot, LearnerHandler,
//! Learner.syncWithLeader), and how it takes the place of everything that was there.
//!
//! The stream is a snapshot file without header, sums and compression, with a signature at its end. It
//! becomes this server's state in one step: before the mark is durable nothing has happened, after it the
//! rest is done by the next start at the latest. No log from before it is left that could be taken for its
//! history.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::StorageConfig;
use super::data_dir::{self, SnapshotFile, parse_snapshot_name, snapshot_name};
use super::disk::{Disk, DiskContext, DiskError, read_if_there};
use super::epochs;
use super::log_ends::LogEnds;
use super::snapshot_reader::{SnapshotError, read_wire};
use super::snapshot_writer::{CHUNK_BYTES, encode_lists, write_temporary};
use super::synced_mark::Synced;
use crate::ids::Zxid;
use crate::proto::jute::Put;
use crate::proto::quorum::SNAPSHOT_SIGNATURE;
use crate::tree::{DataTree, SnapshotCursor, SnapshotHead};

/// What the stream begins with. Chunks of nodes follow (`DataTree::snapshot_chunk`), then [`encode_end`].
pub fn encode_begin(head: &SnapshotHead, out: &mut Vec<u8>) {
    encode_lists(head, out);
}

/// What the stream ends with: the mark behind the nodes, and the signature.
pub fn encode_end(out: &mut Vec<u8>) {
    out.put_string("/");
    out.put_string(SNAPSHOT_SIGNATURE);
}

/// The tree that a stream shows as of `zxid`, and the bytes that were read behind the stream's end: the next
/// packets begin there.
///
/// An Apache leader's image may show parts of later transactions, which then follow as packets and have to be
/// applied as after a recovery; its digest is not to be compared before NEWLEADER.
pub fn receive<R: Read>(
    source: R,
    zxid: Zxid,
    record_bytes_max: usize,
    hash_seed: u64,
) -> Result<(DataTree, Vec<u8>), SnapshotError> {
    let mut tree = DataTree::empty(hash_seed);
    let behind = read_wire(source, record_bytes_max, SNAPSHOT_SIGNATURE, &mut tree)?;
    tree.finish_load(zxid);
    Ok((tree, behind))
}

/// What becomes of the files whose place a received tree takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Former {
    /// They go.
    Removed,
    /// They are damaged and may be wanted: they get names that no server reads.
    SetAside,
}

/// What an installation did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// The snapshot that holds the tree.
    pub file: SnapshotFile,
    /// The new names of what was set aside.
    pub aside: Vec<PathBuf>,
}

/// Puts a received tree in the place of all logs and snapshots; durable when it returns. No log may be open
/// for writing. An error is final: the process must end.
pub fn install<D: Disk>(
    disk: &D,
    config: &StorageConfig,
    tree: &mut DataTree,
    former: Former,
) -> Result<Installed, DiskError> {
    let head = tree.snapshot_begin();
    let temporary = config.snap_dir.join(TEMPORARY_NAME);
    let mut cursor = SnapshotCursor::default();
    let written = write_temporary(
        disk,
        config,
        &head,
        |out| tree.snapshot_chunk(&mut cursor, out, CHUNK_BYTES),
        &temporary,
    );
    tree.snapshot_end();
    let len = written?;
    let name = snapshot_name(head.zxid, config.compression);
    // The mark must not outlive a crash that the snapshot does not.
    disk.sync_dir(&config.snap_dir).doing("sync", &config.snap_dir)?;
    // From here on the old state is given up.
    let mark = Mark {
        aside: match former {
            Former::Removed => None,
            Former::SetAside => Some(next_aside(disk, config)?),
        },
        name,
    };
    epochs::replace(disk, &config.snap_dir, MARK_NAME, &mark.to_text())?;
    let aside = finish_install(disk, config)?;
    let file = SnapshotFile {
        zxid: head.zxid,
        compression: config.compression,
        path: config.snap_dir.join(mark.name),
        len,
    };
    Ok(Installed { file, aside })
}

/// Does what is left of an installation that a crash has interrupted; to be called before anything is read.
/// The new names of what is set aside.
pub fn finish_install<D: Disk>(disk: &D, config: &StorageConfig) -> Result<Vec<PathBuf>, DiskError> {
    let dir = &config.snap_dir;
    let (mark, temporary) = (dir.join(MARK_NAME), dir.join(TEMPORARY_NAME));
    let Some(found) = read_mark(disk, &mark)? else {
        if disk.exists(&temporary).doing("look for", &temporary)? {
            disk.remove(&temporary).doing("remove", &temporary)?;
        }
        return Ok(Vec::new());
    };
    let path = dir.join(&found.name);
    if disk.exists(&temporary).doing("look for", &temporary)? {
        disk.rename(&temporary, &path)
            .doing("rename a snapshot to", &path)?;
        disk.sync_dir(dir).doing("sync", dir)?;
    }
    if !disk.exists(&path).doing("look for", &path)? {
        // Nothing goes before its replacement is there.
        let lost = std::io::Error::other(format!("it names {}, which is not there", path.display()));
        return Err(lost).doing("finish the installation of", &mark);
    }
    // The logs that they speak of go, too.
    Synced::forget(disk, &config.log_dir)?;
    LogEnds::forget_behind(disk, &config.log_dir, Zxid::ZERO)?;
    let aside = clear(disk, config, &path, found.aside)?;
    disk.sync_dir(&config.log_dir).doing("sync", &config.log_dir)?;
    disk.sync_dir(dir).doing("sync", dir)?;
    disk.remove(&mark).doing("remove", &mark)?;
    disk.sync_dir(dir).doing("sync", dir)?;
    Ok(aside)
}

/// Takes all logs and snapshots but one out of the way; the new names of what is set aside.
fn clear<D: Disk>(
    disk: &D,
    config: &StorageConfig,
    installed: &Path,
    aside: Option<u64>,
) -> Result<Vec<PathBuf>, DiskError> {
    let listing = data_dir::list(disk, config)?;
    let others = listing.snapshots.iter().map(|file| &file.path);
    let logs = listing.logs.iter().map(|file| &file.path);
    let mut renamed = Vec::new();
    for other in others.filter(|other| *other != installed).chain(logs) {
        let Some(number) = aside else {
            disk.remove(other).doing("remove", other)?;
            continue;
        };
        let name = other.file_name().unwrap_or_default().to_string_lossy();
        let to = other.with_file_name(format!("{ASIDE_PREFIX}{number}.{name}"));
        disk.rename(other, &to).doing("rename a file to", &to)?;
        renamed.push(to);
    }
    Ok(renamed)
}

/// A number under which nothing was set aside so far.
fn next_aside<D: Disk>(disk: &D, config: &StorageConfig) -> Result<u64, DiskError> {
    let mut next = 1;
    for dir in [&config.snap_dir, &config.log_dir] {
        for entry in disk.list(dir).doing("list", dir)? {
            let number = entry
                .name
                .strip_prefix(ASIDE_PREFIX)
                .and_then(|rest| rest.split_once('.')?.0.parse::<u64>().ok());
            next = next.max(number.map_or(0, |number| number.saturating_add(1)));
        }
    }
    Ok(next)
}

/// What is to be there, and what becomes of the rest.
struct Mark {
    /// The snapshot's.
    name: String,
    /// The number under which the rest is set aside; `None` if it goes.
    aside: Option<u64>,
}

impl Mark {
    fn to_text(&self) -> String {
        match self.aside {
            None => self.name.clone(),
            Some(number) => format!("{} {number}", self.name),
        }
    }

    fn parse(text: &str) -> Option<Mark> {
        let (name, aside) = match text.split_once(' ') {
            None => (text, None),
            Some((name, number)) => (name, Some(number.parse().ok()?)),
        };
        parse_snapshot_name(name)?;
        Some(Mark {
            name: name.to_owned(),
            aside,
        })
    }
}

/// What the mark says, if there is one.
fn read_mark<D: Disk>(disk: &D, mark: &Path) -> Result<Option<Mark>, DiskError> {
    let Some(bytes) = read_if_there(disk, mark, MARK_BYTES_MAX)? else {
        return Ok(None);
    };
    match std::str::from_utf8(&bytes).ok().and_then(Mark::parse) {
        Some(found) => Ok(Some(found)),
        None => Err(std::io::Error::other("it does not name a snapshot")).doing("read", mark),
    }
}

/// Not a name that a snapshot under way has, or that a start removes.
const TEMPORARY_NAME: &str = "zkserver.install.snapshot";
const MARK_NAME: &str = "zkserver.install";
const MARK_BYTES_MAX: u64 = 256;
/// No server, Apache's neither, takes names that begin so for logs or snapshots.
const ASIDE_PREFIX: &str = "damaged.";
