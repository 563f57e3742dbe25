//! A disk in memory that does what real ones do: every call is numbered, and can fail or be the last before a
//! crash. What was not synced is then lost, kept or torn by sectors, names that no directory sync made
//! durable come and go, and a failed sync has lost what it should have written.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use images::SECTOR;
use zkserver::prng::Prng;
use zkserver::storage::disk::{DirEntry, Disk, DiskFile};

#[path = "sim_disk/images.rs"]
pub mod images;

/// Clones share the state.
#[derive(Clone, Debug, Default)]
pub struct SimDisk(Arc<Mutex<State>>);

/// What goes wrong, and when. Calls are numbered from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    #[default]
    None,
    /// This call fails with an I/O error; later ones do not.
    FailOnce(u64),
    /// This call and all later ones fail.
    FailFrom(u64),
    /// The machine stops in this call: a write may be done in part, anything else is not done.
    Crash(u64),
}

/// What a crash makes of everything that was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsynced {
    /// The process died, the machine did not.
    Kept,
    Lost,
    /// Every sector and every name by itself.
    Torn(u64),
}

#[derive(Debug, Default)]
struct State {
    calls: u64,
    fault: Fault,
    /// Bytes that can still be written.
    room: Option<u64>,
    is_crashed: bool,
    /// Reads return little, and now and then nothing but that they were interrupted.
    is_choppy: bool,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    renames: Vec<NameChange>,
    dirs: BTreeSet<PathBuf>,
    inodes: Vec<Inode>,
    locks: BTreeSet<PathBuf>,
    trace: Vec<String>,
    recorded: Option<Vec<(String, State)>>,
}

/// A change of names that is not durable: all of it happens, or nothing.
#[derive(Clone, Debug)]
struct NameChange {
    dir: PathBuf,
    gone: Option<PathBuf>,
    there: Option<(PathBuf, usize)>,
}

#[derive(Clone, Debug, Default)]
struct Inode {
    content: Vec<u8>,
    durable: Vec<u8>,
    changes: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

impl SimDisk {
    /// The number of calls so far.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// The calls so far, in words.
    pub fn trace(&self) -> Vec<String> {
        self.state().trace.clone()
    }

    pub fn set_fault(&self, fault: Fault) {
        self.state().fault = fault;
    }

    /// Whether the machine has stopped.
    pub fn is_crashed(&self) -> bool {
        self.state().is_crashed
    }

    /// From here on a read returns some bytes, or is interrupted.
    pub fn set_choppy(&self) {
        self.state().is_choppy = true;
    }

    /// The disk fills up after so many more bytes.
    pub fn set_room(&self, bytes: Option<u64>) {
        self.state().room = bytes;
    }

    /// The disk as the next process finds it. Nothing goes wrong with it, and its calls count from 1.
    pub fn restart(&self, unsynced: Unsynced) -> SimDisk {
        match unsynced {
            Unsynced::Kept => SimDisk(Arc::new(Mutex::new(self.state().moment()))),
            Unsynced::Lost => self.image(SECTOR, &mut || false),
            Unsynced::Torn(seed) => {
                let mut prng = Prng::new(seed);
                // Between nearly all lost and nearly all kept.
                let odds = 1 + prng.below(7);
                self.image(SECTOR, &mut || prng.below(8) < odds)
            }
        }
    }

    /// From here on the disk is kept as it was before every call that changes it, or makes a change durable.
    pub fn record(&self) {
        self.state().recorded = Some(Vec::new());
    }

    /// How many moments were kept so far.
    pub fn recorded_count(&self) -> usize {
        self.state().recorded.as_ref().map_or(0, Vec::len)
    }

    /// What was kept, with the calls that came next, and the disk as it is now.
    pub fn take_recorded(&self) -> Vec<(String, SimDisk)> {
        let mut state = self.state();
        let recorded = state.recorded.take().expect("it was recorded");
        let last = ("the end".to_string(), state.moment());
        let moments = recorded.into_iter().chain([last]);
        moments
            .map(|(next, moment)| (next, SimDisk(Arc::new(Mutex::new(moment)))))
            .collect()
    }

    /// A file's content, without a call.
    pub fn content(&self, path: &Path) -> Vec<u8> {
        let state = self.state();
        state.inodes[state.names[path]].content.clone()
    }

    /// Puts a file there, durably and without a call.
    pub fn put(&self, path: &Path, content: Vec<u8>) {
        let mut state = self.state();
        let inode = state.inodes.len();
        state.inodes.push(Inode {
            durable: content.clone(),
            content,
            changes: Vec::new(),
        });
        state.names.insert(path.into(), inode);
        state.durable_names.insert(path.into(), inode);
        // What is on its way to other names stays so.
        state.renames.retain(|change| !change.concerns(path));
    }

    /// Takes a file away, durably and without a call.
    pub fn take(&self, path: &Path) {
        let mut state = self.state();
        state.names.remove(path).expect("the file is there");
        state.durable_names.remove(path);
        state.renames.clear();
    }

    /// All files, sorted, without a call.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.state().names.keys().cloned().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Counts a call; the state, if the call is to be done.
    fn call(&self, what: &str, path: &Path) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        state.calls += 1;
        let name = format!("{what} {}", path.display());
        if state.recorded.is_some() && CHANGES.contains(&what) {
            let moment = state.moment();
            state
                .recorded
                .get_or_insert_default()
                .push((name.clone(), moment));
        }
        state.trace.push(name);
        let number = state.calls;
        let fails = match state.fault {
            Fault::None => false,
            Fault::FailOnce(at) => number == at,
            Fault::FailFrom(at) => number >= at,
            Fault::Crash(at) => {
                state.is_crashed |= number >= at;
                false
            }
        };
        if state.is_crashed {
            return Err(io::Error::other("the machine has stopped"));
        }
        if fails {
            Err(io::Error::from_raw_os_error(EIO))
        } else {
            Ok(state)
        }
    }

    fn open(&self, path: &Path, what: &str) -> io::Result<SimFile> {
        let state = self.call(what, path)?;
        let inode = *state.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.file(inode, path))
    }

    fn file(&self, inode: usize, path: &Path) -> SimFile {
        SimFile {
            disk: self.clone(),
            inode,
            path: path.into(),
        }
    }
}

impl Disk for SimDisk {
    type File = SimFile;
    type Lock = SimLock;

    fn create(&self, path: &Path) -> io::Result<SimFile> {
        let mut state = self.call("create", path)?;
        let dir = path.parent().unwrap();
        if !state.dirs.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if let Some(&inode) = state.names.get(path) {
            state.inodes[inode].change(Change::Length(0));
            return Ok(self.file(inode, path));
        }
        let inode = state.inodes.len();
        state.inodes.push(Inode::default());
        state.rename(NameChange {
            dir: dir.into(),
            gone: None,
            there: Some((path.into(), inode)),
        });
        Ok(self.file(inode, path))
    }

    fn open_read(&self, path: &Path) -> io::Result<SimFile> {
        self.open(path, "open_read")
    }

    fn open_write(&self, path: &Path) -> io::Result<SimFile> {
        self.open(path, "open_write")
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.call("rename", from)?;
        let inode = *state.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        state.rename(NameChange {
            dir: from.parent().unwrap().into(),
            gone: Some(from.into()),
            there: Some((to.into(), inode)),
        });
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.call("remove", path)?;
        state.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        state.rename(NameChange {
            dir: path.parent().unwrap().into(),
            gone: Some(path.into()),
            there: None,
        });
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let state = self.call("list", dir)?;
        let files = state.names.iter().filter(|(path, _)| path.parent() == Some(dir));
        Ok(files
            .map(|(path, &inode)| DirEntry {
                name: path.file_name().unwrap().to_str().unwrap().into(),
                len: state.inodes[inode].content.len() as u64,
                mtime_ms: 0,
            })
            .collect())
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.call("create_dir_all", dir)?;
        state.dirs.extend(dir.ancestors().map(PathBuf::from));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.call("sync_dir", dir)?;
        let mut names = std::mem::take(&mut state.durable_names);
        state.renames.retain(|change| {
            let is_synced = change.dir == dir;
            if is_synced {
                change.apply(&mut names);
            }
            !is_synced
        });
        state.durable_names = names;
        Ok(())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let state = self.call("exists", path)?;
        Ok(state.dirs.contains(path) || state.names.contains_key(path))
    }

    fn lock(&self, path: &Path) -> io::Result<SimLock> {
        let mut state = self.call("lock", path)?;
        if !state.locks.insert(path.into()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(SimLock {
            disk: self.clone(),
            path: path.into(),
        })
    }
}

/// An open file.
#[derive(Debug)]
pub struct SimFile {
    disk: SimDisk,
    inode: usize,
    path: PathBuf,
}

/// Ends when it is dropped.
#[derive(Debug)]
pub struct SimLock {
    disk: SimDisk,
    path: PathBuf,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.disk.state().locks.remove(&self.path);
    }
}

impl SimFile {
    fn sync(&mut self) -> io::Result<()> {
        match self.disk.call("sync", &self.path) {
            Ok(mut state) => {
                let inode = &mut state.inodes[self.inode];
                for change in std::mem::take(&mut inode.changes) {
                    change.apply(&mut inode.durable);
                }
                Ok(())
            }
            Err(error) => {
                let mut state = self.disk.state();
                if !state.is_crashed {
                    // The pages count as clean now and are never written.
                    state.inodes[self.inode].changes.clear();
                }
                Err(error)
            }
        }
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.call("read_at", &self.path)?;
        let content = &state.inodes[self.inode].content;
        let rest = content.get(offset as usize..).unwrap_or_default();
        let mut count = rest.len().min(buf.len());
        if state.is_choppy {
            if state.calls.is_multiple_of(3) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            count = count.min(1 + state.calls as usize % 97);
        }
        buf[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_all_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let whole = |bytes: &[u8]| Change::Write {
            offset: offset as usize,
            bytes: bytes.into(),
        };
        match self.disk.call("write_all_at", &self.path) {
            Ok(mut state) => {
                let room = state.room.unwrap_or(u64::MAX);
                let count = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
                state.room = state.room.map(|room| room - count as u64);
                state.inodes[self.inode].change(whole(&bytes[..count]));
                if count < bytes.len() {
                    Err(io::Error::from_raw_os_error(ENOSPC))
                } else {
                    Ok(())
                }
            }
            Err(error) => {
                let mut state = self.disk.state();
                if matches!(state.fault, Fault::Crash(at) if at == state.calls) {
                    state.inodes[self.inode].change(whole(bytes));
                } else if !state.is_crashed {
                    state.inodes[self.inode].change(whole(&bytes[..bytes.len() / 2]));
                }
                Err(error)
            }
        }
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.sync()
    }

    fn sync_all(&mut self) -> io::Result<()> {
        self.sync()
    }

    fn allocate(&mut self, len: u64) -> io::Result<()> {
        let mut state = self.disk.call("allocate", &self.path)?;
        let inode = &mut state.inodes[self.inode];
        if (len as usize) > inode.content.len() {
            inode.change(Change::Length(len as usize));
        }
        Ok(())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        let mut state = self.disk.call("truncate", &self.path)?;
        state.inodes[self.inode].change(Change::Length(len as usize));
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        let state = self.disk.call("len", &self.path)?;
        Ok(state.inodes[self.inode].content.len() as u64)
    }
}

impl State {
    /// What is on the disk, synced or not.
    fn moment(&self) -> State {
        State {
            names: self.names.clone(),
            durable_names: self.durable_names.clone(),
            renames: self.renames.clone(),
            dirs: self.dirs.clone(),
            inodes: self.inodes.clone(),
            ..State::default()
        }
    }

    fn rename(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.renames.push(change);
    }
}

impl NameChange {
    fn concerns(&self, path: &Path) -> bool {
        let there = self.there.as_ref().map(|(there, _)| there);
        self.gone.as_deref() == Some(path) || there.is_some_and(|there| there == path)
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        if let Some(gone) = &self.gone {
            names.remove(gone);
        }
        if let Some((path, inode)) = &self.there {
            names.insert(path.clone(), *inode);
        }
    }
}

impl Inode {
    fn change(&mut self, change: Change) {
        change.apply(&mut self.content);
        self.changes.push(change);
    }
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Change::Length(len) => content.resize(*len, 0),
            Change::Write { offset, bytes } => write_into(content, *offset, bytes),
        }
    }
}

fn write_into(content: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = at + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[at..end].copy_from_slice(bytes);
}

/// The calls that change something, or make a change durable.
const CHANGES: [&str; 8] = [
    "create",
    "rename",
    "remove",
    "sync_dir",
    "write_all_at",
    "allocate",
    "truncate",
    "sync",
];
const EIO: i32 = 5;
const ENOSPC: i32 = 28;
