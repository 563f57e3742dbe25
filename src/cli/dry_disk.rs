//! The real disk to read from, and nowhere to write: what recovery would do can be tried without doing it.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::server::os_disk::OsDisk;
use crate::storage::disk::{DirEntry, Disk, DiskFile};

/// Reads as [`OsDisk`] does. What changes something succeeds and does nothing.
#[derive(Clone, Copy, Debug)]
pub struct DryDisk;

/// An existing file, or `None` for one that would have been created.
pub struct DryFile(Option<File>);

impl Disk for DryDisk {
    type File = DryFile;
    type Lock = ();

    fn create(&self, _: &Path) -> io::Result<DryFile> {
        Ok(DryFile(None))
    }

    fn open_read(&self, path: &Path) -> io::Result<DryFile> {
        OsDisk.open_read(path).map(|file| DryFile(Some(file)))
    }

    fn open_write(&self, path: &Path) -> io::Result<DryFile> {
        self.open_read(path)
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn remove(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    /// A directory that would be created is empty.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        match OsDisk.list(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            listed => listed,
        }
    }

    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        OsDisk.exists(path)
    }

    fn lock(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

impl DiskFile for DryFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0
            .as_ref()
            .map_or(Ok(0), |file| DiskFile::read_at(file, buf, offset))
    }

    fn write_all_at(&mut self, _: &[u8], _: u64) -> io::Result<()> {
        Ok(())
    }

    fn sync_data(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn sync_all(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn allocate(&mut self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&mut self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        self.0.as_ref().map_or(Ok(0), DiskFile::len)
    }
}
