//! Names in a data directory, and whose it is: `version-2/log.<hex>`,
//! `version-2/snapshot.<hex>[.gz|.snappy]`.
//!
//! Only names exactly of that form count. Apache ignores what follows the number and so replays `log.5.bak`;
//! here such files are left alone, with a warning.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::disk::{Disk, DiskContext, DiskError};
use super::{Compression, StorageConfig};
use crate::ids::Zxid;

/// A log by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    /// The number in the name: the zxid of the first record.
    pub zxid: Zxid,
    /// The whole path.
    pub path: PathBuf,
    /// Apparent size.
    pub len: u64,
}

/// A snapshot by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotFile {
    /// The number in the name: every transaction up to it is in the snapshot.
    pub zxid: Zxid,
    /// By the suffix.
    pub compression: Compression,
    /// The whole path.
    pub path: PathBuf,
    /// Apparent size.
    pub len: u64,
}

/// What a pair of directories holds.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Oldest first.
    pub logs: Vec<LogFile>,
    /// Newest first.
    pub snapshots: Vec<SnapshotFile>,
    /// Look like logs or snapshots but are named otherwise.
    pub ignored: Vec<PathBuf>,
}

impl Listing {
    /// What to say about files that are ignored.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        self.ignored.iter().map(|path| {
            format!(
                "{} is not named like a log or a snapshot and is left alone; Apache ZooKeeper would read it: \
                 move it out of the directory",
                path.display()
            )
        })
    }
}

/// Why a data directory cannot be used.
#[derive(Debug, Error)]
pub enum DataDirError {
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// It is not there and must not be made.
    #[error(
        "{} does not exist and zookeeper.datadir.autocreate is false: create it, or correct dataDir",
        .0.display()
    )]
    Missing(PathBuf),
    /// Somebody else has it.
    #[error(
        "{} is in use: another server holds {}. Stop it, or give this server its own dataDir",
        .dir.display(), .lock.display()
    )]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// The lock file in it.
        lock: PathBuf,
    },
    /// `dataDir` and `dataLogDir` are separate now but were not, or were swapped.
    #[error(
        "{} holds {name}, which belongs into {}: move the files there, or correct dataDir and dataLogDir",
        .dir.display(), .belongs.display()
    )]
    Misplaced {
        /// Where it is.
        dir: PathBuf,
        /// The file.
        name: String,
        /// Where it should be.
        belongs: PathBuf,
    },
}

/// Keeps other servers out while it lives.
#[derive(Debug)]
pub struct DataDirLock<D: Disk> {
    _locks: Vec<D::Lock>,
}

/// Creates the directories if that is allowed, locks them, and checks that logs and snapshots are where
/// they belong. To be done before anything is read.
pub fn open<D: Disk>(disk: &D, config: &StorageConfig) -> Result<DataDirLock<D>, DataDirError> {
    let mut locks = Vec::new();
    let mut dirs = vec![&config.snap_dir];
    if config.log_dir != config.snap_dir {
        dirs.push(&config.log_dir);
    }
    for &dir in &dirs {
        if !disk.exists(dir).doing("look for", dir)? {
            if !config.autocreate {
                return Err(DataDirError::Missing(dir.clone()));
            }
            disk.create_dir_all(dir).doing("create", dir)?;
        }
        let lock = dir.parent().unwrap_or(dir).join(LOCK_NAME);
        match disk.lock(&lock) {
            Ok(held) => locks.push(held),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let dir = dir.clone();
                return Err(DataDirError::InUse { dir, lock });
            }
            Err(error) => return Err(error).doing("lock", &lock).map_err(DataDirError::Disk),
        }
    }
    check_places(disk, config)?;
    Ok(DataDirLock { _locks: locks })
}

/// Checks that logs and snapshots are where they belong, if they have a directory each.
pub fn check_places<D: Disk>(disk: &D, config: &StorageConfig) -> Result<(), DataDirError> {
    if config.log_dir == config.snap_dir {
        return Ok(());
    }
    refuse_misplaced(disk, &config.log_dir, "snapshot.", &config.snap_dir)?;
    refuse_misplaced(disk, &config.snap_dir, "log.", &config.log_dir)
}

fn refuse_misplaced<D: Disk>(disk: &D, dir: &Path, prefix: &str, belongs: &Path) -> Result<(), DataDirError> {
    let entries = disk.list(dir).doing("list", dir)?;
    match entries.into_iter().find(|entry| entry.name.starts_with(prefix)) {
        None => Ok(()),
        Some(entry) => Err(DataDirError::Misplaced {
            dir: dir.to_path_buf(),
            name: entry.name,
            belongs: belongs.to_path_buf(),
        }),
    }
}

/// Lists logs and snapshots in their order.
pub fn list<D: Disk>(disk: &D, config: &StorageConfig) -> Result<Listing, DiskError> {
    let mut listing = Listing::default();
    let mut entries = Vec::new();
    for dir in [&config.snap_dir, &config.log_dir] {
        entries.extend(
            disk.list(dir)
                .doing("list", dir)?
                .into_iter()
                .map(|entry| (dir, entry)),
        );
        if config.log_dir == config.snap_dir {
            break;
        }
    }
    for (dir, entry) in entries {
        let path = dir.join(&entry.name);
        let len = entry.len;
        if let Some(zxid) = parse_log_name(&entry.name) {
            listing.logs.push(LogFile { zxid, path, len });
        } else if let Some((zxid, compression)) = parse_snapshot_name(&entry.name) {
            listing.snapshots.push(SnapshotFile {
                zxid,
                compression,
                path,
                len,
            });
        } else if entry.name.starts_with("log.") || entry.name.starts_with("snapshot.") {
            listing.ignored.push(path);
        }
    }
    listing
        .logs
        .sort_by(|a, b| (a.zxid, &a.path).cmp(&(b.zxid, &b.path)));
    listing
        .snapshots
        .sort_by(|a, b| (b.zxid, &b.path).cmp(&(a.zxid, &a.path)));
    Ok(listing)
}

/// `log.<hex>`.
pub fn log_name(first_zxid: Zxid) -> String {
    format!("log.{:x}", first_zxid.0)
}

/// `snapshot.<hex>`, with the suffix of the compression.
pub fn snapshot_name(zxid: Zxid, compression: Compression) -> String {
    format!("snapshot.{:x}{}", zxid.0, compression.suffix())
}

/// The number in a log's name, if the whole name is a log's.
pub fn parse_log_name(name: &str) -> Option<Zxid> {
    parse_hex(name.strip_prefix("log.")?)
}

/// The number in a snapshot's name and its compression, if the whole name is a snapshot's.
pub fn parse_snapshot_name(name: &str) -> Option<(Zxid, Compression)> {
    let rest = name.strip_prefix("snapshot.")?;
    let (hex, compression) = match rest.split_once('.') {
        None => (rest, Compression::None),
        Some((hex, "gz")) => (hex, Compression::Gzip),
        Some((hex, "snappy")) => (hex, Compression::Snappy),
        Some(_) => return None,
    };
    Some((parse_hex(hex)?, compression))
}

fn parse_hex(hex: &str) -> Option<Zxid> {
    let is_hex = !hex.is_empty() && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    let zxid = i64::from_str_radix(hex, 16).ok().filter(|_| is_hex)?;
    Some(Zxid(zxid))
}

/// The lock file in `dataDir` and `dataLogDir`.
pub const LOCK_NAME: &str = "zkserver.lock";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_names_count() {
        assert_eq!(parse_log_name("log.1f"), Some(Zxid(0x1f)));
        assert_eq!(parse_log_name("log.001F"), Some(Zxid(0x1f)));
        for name in [
            "log.",
            "log.29.bak",
            "log.1f.gz",
            "log.-1",
            "log.+1",
            "log.ffffffffffffffff",
            "logs.1",
        ] {
            assert_eq!(parse_log_name(name), None, "{name}");
        }
        assert_eq!(
            parse_snapshot_name("snapshot.30.gz"),
            Some((Zxid(0x30), Compression::Gzip))
        );
        assert_eq!(
            parse_snapshot_name("snapshot.0"),
            Some((Zxid(0), Compression::None))
        );
        for name in ["snapshot.30.tmp", "snapshot.", "snapshot.30.gz.tmp", "snapshot.x"] {
            assert_eq!(parse_snapshot_name(name), None, "{name}");
        }
        for compression in [Compression::None, Compression::Gzip, Compression::Snappy] {
            let name = snapshot_name(Zxid(0x1_0000_002a), compression);
            assert_eq!(
                parse_snapshot_name(&name),
                Some((Zxid(0x1_0000_002a), compression))
            );
        }
    }
}
