//! What lies on a disk: logs and snapshots as the readers find them, and whole directories as a start does.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zkserver::ids::Zxid;
use zkserver::proto::txn;
use zkserver::storage::codec::Encoder;
use zkserver::storage::data_dir::{self, SnapshotFile};
use zkserver::storage::disk::{DirEntry, Disk, DiskFile};
use zkserver::storage::log_reader::{LogReader, Step};
use zkserver::storage::snapshot_reader::{self, SnapshotError, SnapshotTail};
use zkserver::storage::{Compression, StorageConfig, record, recovery, snapshot_writer};
use zkserver::tree::DataTree;

use super::sim_disk::SimDisk;
use super::{corpus, for_each_input, mutator};

/// `jute.maxbuffer` and its extra size in these tests: what a decompressor may be made to hold.
pub const RECORD_BYTES_MAX: usize = 32 * 1024;

/// A disk of one file that is only read, so that what a reader allocates is all that is allocated.
#[derive(Clone)]
struct OneFile(Arc<[u8]>);

impl Disk for OneFile {
    type File = OneFile;
    type Lock = ();

    fn create(&self, _: &Path) -> io::Result<OneFile> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn open_read(&self, _: &Path) -> io::Result<OneFile> {
        Ok(self.clone())
    }

    fn open_write(&self, path: &Path) -> io::Result<OneFile> {
        self.create(path)
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn remove(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn list(&self, _: &Path) -> io::Result<Vec<DirEntry>> {
        Ok(Vec::new())
    }

    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn exists(&self, _: &Path) -> io::Result<bool> {
        Ok(true)
    }

    fn lock(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

impl DiskFile for OneFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|at| self.0.get(at..));
        let rest = rest.unwrap_or_default();
        let count = rest.len().min(buf.len());
        buf[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_all_at(&mut self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync_data(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn sync_all(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn allocate(&mut self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn truncate(&mut self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }
}

/// Logs: of every kind of transaction, with reserve behind them, and without a record.
pub fn logs() -> Vec<Vec<u8>> {
    let mut log = Vec::new();
    record::encode_log_header(&mut log);
    let empty = log.clone();
    for (number, bytes) in corpus::txns().iter().enumerate() {
        let mut logged = txn::decode(bytes).expect("a transaction");
        logged.header.zxid = Zxid(number as i64 + 1);
        let mut body = Vec::new();
        // The digests of the corpus are not this tree's.
        txn::encode(&logged.header, &logged.txn, None, &mut body);
        record::encode_record(&body, &mut log);
    }
    let reserved = [&log[..], &[0; 100]].concat();
    vec![log, reserved, empty]
}

/// The same tree in a compression, plain also without its optional sections.
pub fn snapshots(compression: Compression) -> Vec<Vec<u8>> {
    let mut tree = DataTree::new(1);
    for bytes in corpus::txns() {
        let logged = txn::decode(&bytes).expect("a transaction");
        tree.process_txn(&logged.header, &logged.txn, &mut ());
    }
    let disk = SimDisk::default();
    let config = storage_config(compression);
    disk.create_dir_all(&config.snap_dir).expect("a directory");
    let file = snapshot_writer::write_tree(&disk, &config, &mut tree).expect("a snapshot");
    let whole = disk.content(&file.path);
    if compression != Compression::None {
        return vec![whole];
    }
    let zxid_bytes = 8 + 13;
    let digest_bytes = 20 + 13;
    let without_zxid = whole[..whole.len() - zxid_bytes].to_vec();
    let without_both = without_zxid[..without_zxid.len() - digest_bytes].to_vec();
    vec![whole, without_zxid, without_both]
}

/// Every record, then everything that recovery asks about what is behind them.
pub fn run_log(bytes: &[u8]) {
    let disk = OneFile(bytes.into());
    let mut reader = LogReader::open(&disk, Path::new("log.1"), RECORD_BYTES_MAX).expect("it can be read");
    let mut behind = 0;
    let end = loop {
        match reader.next_record().expect("it can be read") {
            Step::Record { offset, body, .. } => {
                assert!(offset >= behind && body.len() < bytes.len());
                behind = offset + 1;
                drop(txn::decode(body));
            }
            Step::End { offset } | Step::Bad { offset, .. } => break offset,
        }
    };
    let data_end = reader.data_end(end).expect("it can be read");
    assert!((end..=end.max(bytes.len() as u64)).contains(&data_end));
    let data = reader.find_data(end).expect("it can be read");
    assert_eq!(data.is_some(), data_end > end);
    if let Some((offset, _)) = reader.find_record(end, Zxid(0)).expect("it can be read") {
        reader.seek(offset);
        let step = reader.next_record().expect("it can be read");
        assert!(matches!(step, Step::Record { .. }), "{step:?}");
    }
}

/// Without a tree: what is allocated is the reader's.
pub fn run_snapshot(compression: Compression, bytes: &[u8]) {
    drop(read_snapshot(compression, bytes.into()));
}

/// Into a tree, which takes its nodes by the thousand.
pub fn run_load(bytes: &[u8]) {
    let file = snapshot_file(Compression::None, bytes.len());
    let loaded = snapshot_reader::load(&OneFile(bytes.into()), &file, RECORD_BYTES_MAX, 1);
    if let Ok((tree, _)) = loaded {
        assert_eq!(tree.descendants_count("/"), Some(tree.node_count() - 2));
    }
}

fn read_snapshot(compression: Compression, bytes: Arc<[u8]>) -> Result<SnapshotTail, SnapshotError> {
    let file = snapshot_file(compression, bytes.len());
    snapshot_reader::read(&OneFile(bytes), &file, RECORD_BYTES_MAX, &mut ())
}

fn snapshot_file(compression: Compression, bytes: usize) -> SnapshotFile {
    SnapshotFile {
        zxid: Zxid(9),
        compression,
        path: PathBuf::from("snapshot.9"),
        len: bytes as u64,
    }
}

fn storage_config(compression: Compression) -> StorageConfig {
    let dir = PathBuf::from("/data/version-2");
    StorageConfig {
        snap_dir: dir.clone(),
        log_dir: dir,
        prealloc_bytes: 0,
        force_sync: true,
        compression,
        trust_empty_snapshot: false,
        digest_enabled: true,
        log_size_limit: None,
        record_bytes_max: RECORD_BYTES_MAX,
        autocreate: true,
        may_begin_empty: true,
    }
}

/// Bytes changed behind a checksum seldom get past it. So they are changed before they are compressed.
#[test]
fn compressed_snapshots_are_read_as_plain_ones_are() {
    let plain = snapshots(Compression::None);
    for_each_input(40_000, |number, prng| {
        let bytes = mutator::mutate(prng, &plain);
        let compression = [Compression::Gzip, Compression::Snappy][number as usize % 2];
        let mut encoder = Encoder::new(Vec::new(), compression);
        encoder.write_all(&bytes).expect("into memory");
        let compressed = encoder.finish().expect("into memory");
        let read = read_snapshot(compression, compressed.into()).map_err(|error| error.to_string());
        let expected = read_snapshot(Compression::None, bytes.into()).map_err(|error| error.to_string());
        assert_eq!(read, expected);
    });
}

/// A directory is refused and left as it is, or opened; then opening it again comes to the same state.
#[test]
fn directories_of_any_content_are_opened_once_and_for_all_or_refused() {
    let (logs, snapshots) = (logs(), snapshots(Compression::None));
    let first = vec![first_snapshot()];
    for_each_input(40_000, |_, prng| {
        let config = storage_config(Compression::None);
        let disk = SimDisk::default();
        drop(data_dir::open(&disk, &config).expect("an empty directory"));
        let seeds = if prng.below(4) == 0 { &snapshots } else { &first };
        let snapshot = match prng.below(3) {
            0 => mutator::mutate(prng, seeds),
            _ => seeds[0].clone(),
        };
        disk.put(&config.snap_dir.join("snapshot.0"), snapshot);
        disk.put(&config.log_dir.join("log.1"), mutator::mutate(prng, &logs));
        let Ok(once) = recovery::recover(&disk, &config, 1) else {
            return;
        };
        let again = recovery::recover(&disk, &config, 1).expect("what was opened opens");
        assert_eq!(again.last_zxid, once.last_zxid);
        assert_eq!(again.tree.digest(), once.tree.digest());
        assert_eq!(again.report.torn, None);
    });
}

/// What stands before the logs of [`logs`].
fn first_snapshot() -> Vec<u8> {
    let disk = SimDisk::default();
    let config = storage_config(Compression::None);
    drop(data_dir::open(&disk, &config).expect("an empty directory"));
    recovery::recover(&disk, &config, 1).expect("an empty directory");
    disk.content(&config.snap_dir.join("snapshot.0"))
}

#[test]
fn the_files_are_well_formed() {
    for compression in [Compression::None, Compression::Gzip, Compression::Snappy] {
        for bytes in snapshots(compression) {
            assert!(
                read_snapshot(compression, bytes.into()).is_ok(),
                "{compression:?}"
            );
        }
    }
    let config = storage_config(Compression::None);
    let disk = SimDisk::default();
    drop(data_dir::open(&disk, &config).expect("an empty directory"));
    disk.put(&config.snap_dir.join("snapshot.0"), first_snapshot());
    disk.put(&config.log_dir.join("log.1"), logs()[0].clone());
    let recovered = recovery::recover(&disk, &config, 1).expect("a whole log");
    assert_eq!(recovered.report.txns_replayed, corpus::txns().len() as u64);
}
