//! The operating system's disk while the data directory is read at the start: says what is read and how far,
//! so that a long start is no silent one.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::clock::Clock;
use super::os_disk::OsDisk;
use crate::storage::disk::{DirEntry, Disk, DiskFile};

/// Calls through to [`OsDisk`].
#[derive(Clone)]
pub struct LoadingDisk {
    clock: Clock,
    shown: Arc<Mutex<Shown>>,
}

/// What was said last.
struct Shown {
    /// Which file is read.
    path: PathBuf,
    /// When a line of progress came, or the start, in monotonic milliseconds.
    at: u64,
}

/// A file that is read, with the path under which it was opened.
pub struct LoadingFile {
    file: File,
    path: PathBuf,
    /// The length when it was opened, if it is a log or a snapshot.
    history_bytes: Option<u64>,
    disk: LoadingDisk,
}

impl LoadingDisk {
    /// Shows progress from here on.
    pub fn new(clock: Clock) -> LoadingDisk {
        let (path, at) = (PathBuf::new(), clock.now().mono.0);
        let shown = Arc::new(Mutex::new(Shown { path, at }));
        LoadingDisk { clock, shown }
    }

    fn file(&self, file: File, path: &Path) -> io::Result<LoadingFile> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let history_bytes = match name.starts_with("snapshot.") || name.starts_with("log.") {
            true => Some(file.metadata()?.len()),
            false => None,
        };
        Ok(LoadingFile {
            file,
            path: path.to_path_buf(),
            history_bytes,
            disk: self.clone(),
        })
    }
}

impl LoadingFile {
    fn show(&self, offset: u64, bytes: u64) {
        let path = self.path.display();
        let mut shown = self.disk.shown.lock();
        if shown.path != self.path {
            shown.path.clone_from(&self.path);
            tracing::info!("Reading {path} ({bytes} bytes)");
        }
        let now = self.disk.clock.now().mono.0;
        if now >= shown.at + PROGRESS_MS {
            shown.at = now;
            let percent = offset * 100 / bytes.max(1);
            tracing::info!("loading the database: {percent} % of {path}");
        }
    }
}

impl Disk for LoadingDisk {
    type File = LoadingFile;
    type Lock = File;

    fn create(&self, path: &Path) -> io::Result<LoadingFile> {
        self.file(OsDisk.create(path)?, path)
    }

    fn open_read(&self, path: &Path) -> io::Result<LoadingFile> {
        self.file(OsDisk.open_read(path)?, path)
    }

    fn open_write(&self, path: &Path) -> io::Result<LoadingFile> {
        self.file(OsDisk.open_write(path)?, path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        OsDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        OsDisk.remove(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        OsDisk.list(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        OsDisk.create_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        OsDisk.sync_dir(dir)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        OsDisk.exists(path)
    }

    fn lock(&self, path: &Path) -> io::Result<File> {
        OsDisk.lock(path)
    }
}

impl DiskFile for LoadingFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        if let Some(bytes) = self.history_bytes {
            self.show(offset, bytes);
        }
        DiskFile::read_at(&self.file, buf, offset)
    }

    fn write_all_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        DiskFile::write_all_at(&mut self.file, bytes, offset)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        DiskFile::sync_data(&mut self.file)
    }

    fn sync_all(&mut self) -> io::Result<()> {
        DiskFile::sync_all(&mut self.file)
    }

    fn allocate(&mut self, len: u64) -> io::Result<()> {
        self.file.allocate(len)
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.file.truncate(len)
    }

    fn len(&self) -> io::Result<u64> {
        DiskFile::len(&self.file)
    }
}

/// A line of progress is due so often.
const PROGRESS_MS: u64 = 1_000;
