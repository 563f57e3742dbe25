//! What storage asks of a disk. `server::os_disk` answers for the operating system, the tests for a disk that
//! loses, tears and refuses what a real one may.
//!
//! A write is durable once `sync_data` or `sync_all` of its file returned; a name, once `sync_dir` of its
//! directory did. Nothing else is.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// One entry of a directory that is not itself a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The file's name, without the directory.
    pub name: String,
    /// Apparent size in bytes.
    pub len: u64,
    /// Last change, milliseconds since the Unix epoch; 0 where unknown.
    pub mtime_ms: i64,
}

/// A file system. Handles are cheap to clone and share their state.
pub trait Disk: Clone + Send + Sync + 'static {
    /// An open file.
    type File: DiskFile;
    /// Held for as long as the value lives.
    type Lock: Send + 'static;

    /// Opens for reading and writing; an existing file becomes empty.
    fn create(&self, path: &Path) -> io::Result<Self::File>;
    /// Opens an existing file for reading.
    fn open_read(&self, path: &Path) -> io::Result<Self::File>;
    /// Opens an existing file for reading and writing, content untouched.
    fn open_write(&self, path: &Path) -> io::Result<Self::File>;
    /// Gives a file another name, replacing what had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// The files of a directory, sorted by name. Names that are not UTF-8 are left out: none of ours.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;
    /// Creates a directory and those above it; durable when it returns.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Makes creations, renames and removals in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Whether a file or directory has this name.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Creates the file if need be and locks it against other processes; `WouldBlock` when another holds it.
    fn lock(&self, path: &Path) -> io::Result<Self::Lock>;
}

/// An open file. Positions are bytes from its start.
pub trait DiskFile: Send + 'static {
    /// Reads at most `buf.len()` bytes; 0 means the end of the file.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `bytes`, growing the file if need be.
    fn write_all_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes content and length durable.
    fn sync_data(&mut self) -> io::Result<()>;
    /// Makes content, length and other attributes durable.
    fn sync_all(&mut self) -> io::Result<()>;
    /// Grows the file to `len` with zeros, reserving the room where the file system can.
    fn allocate(&mut self, len: u64) -> io::Result<()>;
    /// Cuts the file to `len`.
    fn truncate(&mut self, len: u64) -> io::Result<()>;
    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether it holds nothing.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// A call to the disk that failed: what was tried, on which file, and what the disk said.
#[derive(Debug, Error)]
#[error("cannot {doing} {}: {source}{}", .path.display(), advice(source))]
pub struct DiskError {
    /// A verb.
    pub doing: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// The disk's answer.
    pub source: io::Error,
}

/// What to do, where the disk's answer leaves no doubt.
fn advice(error: &io::Error) -> &'static str {
    use io::ErrorKind;
    #[expect(clippy::wildcard_enum_match_arm, reason = "the system's errors are not ours")]
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "; make room there",
        ErrorKind::PermissionDenied => "; it must belong to the user that runs the server",
        ErrorKind::ReadOnlyFilesystem => "; its file system must be writable",
        _ => "",
    }
}

/// Says what was tried when a call failed.
pub trait DiskContext<T> {
    /// Adds the verb and the path.
    fn doing(self, doing: &'static str, path: &Path) -> Result<T, DiskError>;
}

impl<T> DiskContext<T> for io::Result<T> {
    fn doing(self, doing: &'static str, path: &Path) -> Result<T, DiskError> {
        self.map_err(|source| DiskError {
            doing,
            path: path.to_path_buf(),
            source,
        })
    }
}

/// Reads a file from front to back.
#[derive(Debug)]
pub struct FileReader<F> {
    file: F,
    offset: u64,
}

impl<F: DiskFile> FileReader<F> {
    /// Starts at the front.
    pub fn new(file: F) -> FileReader<F> {
        FileReader { file, offset: 0 }
    }
}

impl<F: DiskFile> Read for FileReader<F> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buf, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

/// What a small file holds, at most `bytes_max` of it; `None` if it is not there.
pub fn read_if_there<D: Disk>(disk: &D, path: &Path, bytes_max: u64) -> Result<Option<Vec<u8>>, DiskError> {
    if !disk.exists(path).doing("look for", path)? {
        return Ok(None);
    }
    let file = disk.open_read(path).doing("open", path)?;
    let mut bytes = Vec::new();
    let mut head = FileReader::new(file).take(bytes_max);
    head.read_to_end(&mut bytes).doing("read", path)?;
    Ok(Some(bytes))
}

/// Fills `buf` from `offset` on as far as the file goes; the bytes read.
pub fn read_full_at<F: DiskFile>(file: &F, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buf.len() {
        match file.read_at(&mut buf[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
