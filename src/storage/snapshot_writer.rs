//! Writes a snapshot while the tree goes on changing (FileSnap, SerializeUtils).
//!
//! The file appears under its name only when it is whole and durable: it is written under another name that
//! no reader looks at, synced, renamed, and the directory synced. Memory is bounded by the caller's chunks.

use std::io;
use std::path::Path;

use simd_adler32::Adler32;

use super::StorageConfig;
use super::codec::Encoder;
use super::data_dir::{SnapshotFile, snapshot_name};
use super::disk::{Disk, DiskContext, DiskError, DiskFile};
use crate::proto::jute::Put;
use crate::tree::{DataTree, SnapshotCursor, SnapshotHead};

/// Writes the snapshot that `head` begins. `chunks` appends node records (`DataTree::snapshot_chunk`) and
/// answers true with the last. After an error nothing is left under a snapshot's name.
pub fn write<D: Disk>(
    disk: &D,
    config: &StorageConfig,
    head: &SnapshotHead,
    chunks: impl FnMut(&mut Vec<u8>) -> bool,
) -> Result<SnapshotFile, DiskError> {
    let temporary = config.snap_dir.join(TEMPORARY_NAME);
    let path = config.snap_dir.join(snapshot_name(head.zxid, config.compression));
    let written = write_temporary(disk, config, head, chunks, &temporary).and_then(|len| {
        let renamed = disk.rename(&temporary, &path);
        renamed.doing("rename a snapshot to", &path).map(|()| len)
    });
    let len = match written {
        Ok(len) => len,
        Err(error) => {
            // If this fails, too: it is overwritten by the next snapshot and removed by the next start.
            let _ = disk.remove(&temporary);
            return Err(error);
        }
    };
    disk.sync_dir(&config.snap_dir).doing("sync", &config.snap_dir)?;
    Ok(SnapshotFile {
        zxid: head.zxid,
        compression: config.compression,
        path,
        len,
    })
}

/// Writes the tree as it is, by somebody who need not share it.
pub fn write_tree<D: Disk>(
    disk: &D,
    config: &StorageConfig,
    tree: &mut DataTree,
) -> Result<SnapshotFile, DiskError> {
    let head = tree.snapshot_begin();
    let mut cursor = SnapshotCursor::default();
    let result = write(disk, config, &head, |out| {
        tree.snapshot_chunk(&mut cursor, out, CHUNK_BYTES)
    });
    tree.snapshot_end();
    result
}

/// Removes what a crash left of a snapshot that was being written.
pub fn remove_temporary<D: Disk>(disk: &D, snap_dir: &Path) -> Result<(), DiskError> {
    let temporary = snap_dir.join(TEMPORARY_NAME);
    if disk.exists(&temporary).doing("look for", &temporary)? {
        disk.remove(&temporary).doing("remove", &temporary)?;
    }
    Ok(())
}

/// Writes a whole snapshot under whatever name and syncs it; the length of the file.
pub(super) fn write_temporary<D: Disk>(
    disk: &D,
    config: &StorageConfig,
    head: &SnapshotHead,
    mut chunks: impl FnMut(&mut Vec<u8>) -> bool,
    path: &Path,
) -> Result<u64, DiskError> {
    let file = disk.create(path).doing("create", path)?;
    let target = Target {
        file,
        buffered: Vec::new(),
        written: 0,
        unsynced: 0,
    };
    let mut sealed = Sealed {
        encoder: Encoder::new(target, config.compression),
        sum: Adler32::new(),
    };
    let mut chunk = Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 4);
    encode_head(head, &mut chunk);
    sealed.write(&mut chunk).doing("write", path)?;
    let mut is_last = false;
    while !is_last {
        is_last = chunks(&mut chunk);
        sealed.write(&mut chunk).doing("write", path)?;
    }
    chunk.put_string("/");
    sealed.write_with_seal(&mut chunk).doing("write", path)?;
    let has_digest = config.digest_enabled && head.zxid.0 > 0;
    chunk.put_long(if has_digest { head.zxid.0 } else { 0 });
    chunk.put_int(DIGEST_VERSION);
    chunk.put_long(if has_digest { head.digest as i64 } else { 0 });
    sealed.write_with_seal(&mut chunk).doing("write", path)?;
    chunk.put_long(head.zxid.0);
    sealed.write_with_seal(&mut chunk).doing("write", path)?;
    let mut target = sealed.encoder.finish().doing("write", path)?;
    target.flush_buffer().doing("write", path)?;
    target.file.sync_all().doing("sync", path)?;
    Ok(target.written)
}

fn encode_head(head: &SnapshotHead, out: &mut Vec<u8>) {
    out.put_int(SNAPSHOT_MAGIC);
    out.put_int(2);
    out.put_long(-1);
    encode_lists(head, out);
}

/// Sessions and ACLs.
pub(super) fn encode_lists(head: &SnapshotHead, out: &mut Vec<u8>) {
    out.put_count(head.sessions.len());
    for &(session, timeout_ms) in &head.sessions {
        out.put_long(session.0);
        out.put_int(timeout_ms);
    }
    out.put_count(head.acls.len());
    for (id, acl) in &head.acls {
        out.put_long(*id);
        out.extend_from_slice(acl.bytes());
    }
}

/// Sums everything before it is compressed.
struct Sealed<F: DiskFile> {
    encoder: Encoder<Target<F>>,
    sum: Adler32,
}

impl<F: DiskFile> Sealed<F> {
    fn write(&mut self, chunk: &mut Vec<u8>) -> io::Result<()> {
        self.sum.write(chunk);
        self.encoder.write_all(chunk)?;
        chunk.clear();
        Ok(())
    }

    fn write_with_seal(&mut self, chunk: &mut Vec<u8>) -> io::Result<()> {
        self.write(chunk)?;
        chunk.put_long(i64::from(self.sum.finish()));
        chunk.put_string("/");
        self.write(chunk)
    }
}

/// The file, written in large pieces.
struct Target<F> {
    file: F,
    buffered: Vec<u8>,
    written: u64,
    unsynced: u64,
}

impl<F: DiskFile> Target<F> {
    fn flush_buffer(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.buffered, self.written)?;
        self.written += self.buffered.len() as u64;
        self.unsynced += self.buffered.len() as u64;
        self.buffered.clear();
        // Dirty pages in bulk would make the log's next sync wait for them.
        if self.unsynced >= UNSYNCED_BYTES_MAX {
            self.file.sync_data()?;
            self.unsynced = 0;
        }
        Ok(())
    }
}

impl<F: DiskFile> io::Write for Target<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffered.extend_from_slice(bytes);
        if self.buffered.len() >= CHUNK_BYTES {
            self.flush_buffer()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a snapshot starts with: `ZKSN`.
pub const SNAPSHOT_MAGIC: i32 = 0x5a4b_534e;
/// The way of computing digests that 3.9 knows.
pub const DIGEST_VERSION: i32 = 2;
/// A good size for the chunks of nodes.
pub const CHUNK_BYTES: usize = 256 * 1024;
/// One name for all: there is one snapshot at a time, and what a crash leaves does not add up.
const TEMPORARY_NAME: &str = "zkserver.snapshot.tmp";
/// Little, because a sync of the log may have to wait for one of this.
const UNSYNCED_BYTES_MAX: u64 = 1 << 20;
