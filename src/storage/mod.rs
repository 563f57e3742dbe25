//! Durable state in ZooKeeper's own files: transaction logs and snapshots that Apache ZooKeeper opens, and
//! that are read when Apache wrote them.
//!
//! Everything goes through [`disk::Disk`], so that tests can fail and crash every single call.

pub mod codec;
pub mod data_dir;
pub mod disk;
pub mod epochs;
pub mod log_ends;
pub mod log_range;
pub mod log_reader;
pub mod log_truncate;
pub mod log_writer;
pub mod purge;
pub mod record;
pub mod recovery;
pub mod snapshot_reader;
pub mod snapshot_stream;
pub mod snapshot_writer;
pub mod synced_mark;

mod log_repair;
mod replay;

use std::path::PathBuf;

/// Where and how things are stored.
#[derive(Clone, Debug)]
pub struct StorageConfig {
    /// `<dataDir>/version-2`.
    pub snap_dir: PathBuf,
    /// `<dataLogDir>/version-2`.
    pub log_dir: PathBuf,
    /// `preAllocSize` in bytes; 0 for none.
    pub prealloc_bytes: u64,
    /// `forceSync`. Without it a crash of the machine loses acknowledged writes.
    pub force_sync: bool,
    /// `snapshot.compression.method`.
    pub compression: Compression,
    /// `snapshot.trust.empty`: logs without any snapshot are replayed from the start.
    pub trust_empty_snapshot: bool,
    /// `digest.enabled`: digests are compared at recovery and written into snapshots.
    pub digest_enabled: bool,
    /// `txnLogSizeLimitInKb` in bytes: a log that grew beyond it is the last of its file.
    pub log_size_limit: Option<u64>,
    /// `jute.maxbuffer` and its extra size: the longest transaction and the longest znode data, in bytes.
    pub record_bytes_max: usize,
    /// `zookeeper.datadir.autocreate`: missing directories are created.
    pub autocreate: bool,
    /// That there is no database may mean that there never was one. False for a member with
    /// `zookeeper.db.autocreate` off, unless the file `initialize` was put there: it may as well be lost.
    pub may_begin_empty: bool,
}

/// How a snapshot is compressed; its name says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Plain.
    #[default]
    None,
    /// One gzip member, `.gz`.
    Gzip,
    /// The stream of snappy-java, `.snappy`.
    Snappy,
}

impl Compression {
    /// What the file's name ends with.
    pub fn suffix(self) -> &'static str {
        match self {
            Compression::None => "",
            Compression::Gzip => ".gz",
            Compression::Snappy => ".snappy",
        }
    }
}
