//! The pid file of `start` and `stop`, and what is known about the process it names.

use std::io;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::Setup;

/// A pid file; it need not exist.
pub struct PidFile {
    /// Its path.
    pub path: PathBuf,
}

/// The process that a pid file names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// No file, or nothing in it that is a process id.
    Nobody,
    /// A process that has ended.
    Gone(i32),
    /// A process that runs, but is no ZooKeeper server: the id was given out again.
    Stranger(i32),
    /// A running server.
    Server(i32),
}

impl PidFile {
    /// `ZOOPIDFILE`, else `zookeeper_server.pid` in the data directory.
    pub fn of(setup: &Setup) -> PidFile {
        let path = match setup.environment.variable("ZOOPIDFILE") {
            Some(path) => PathBuf::from(path),
            None => setup.loaded.config.storage.data_dir.join("zookeeper_server.pid"),
        };
        PidFile { path }
    }

    /// Whom the file names.
    pub fn named(&self) -> Named {
        let content = std::fs::read_to_string(&self.path).unwrap_or_default();
        match content.trim().parse().ok().filter(|&pid| pid > 0) {
            None => Named::Nobody,
            Some(pid) if !is_alive(pid) => Named::Gone(pid),
            Some(pid) if is_server(pid) => Named::Server(pid),
            Some(pid) => Named::Stranger(pid),
        }
    }

    /// Writes a process id, digits only, creating the directory.
    pub fn write(&self, pid: u32) -> io::Result<()> {
        if let Some(dir) = self.path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        std::fs::write(&self.path, pid.to_string())
    }

    /// Removes the file.
    pub fn remove(&self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }
}

/// The process runs; one that has ended and waits for its parent does not count.
pub fn is_alive(pid: i32) -> bool {
    let Some(id) = Pid::from_raw(pid) else {
        return false;
    };
    let exists = match test_kill_process(id) {
        Ok(()) => true,
        Err(error) => error == rustix::io::Errno::PERM,
    };
    exists && state_of(pid) != Some('Z')
}

/// Asks the process to end.
pub fn terminate(pid: i32) -> io::Result<()> {
    let id = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(kill_process(id, Signal::TERM)?)
}

/// By its command line, an Apache server counts too. Where that cannot be read, the process is believed.
fn is_server(pid: i32) -> bool {
    match std::fs::read(proc_path(pid, "cmdline")) {
        Ok(line) => {
            let line = String::from_utf8_lossy(&line).to_ascii_lowercase();
            line.is_empty() || ["zkserver", "zookeeper"].iter().any(|name| line.contains(name))
        }
        Err(_) => true,
    }
}

/// The letter after the command name in `/proc/<pid>/stat`.
fn state_of(pid: i32) -> Option<char> {
    let stat = std::fs::read(proc_path(pid, "stat")).ok()?;
    let text = String::from_utf8_lossy(&stat);
    text.rsplit_once(')')?.1.trim_start().chars().next()
}

fn proc_path(pid: i32, name: &str) -> PathBuf {
    Path::new("/proc").join(pid.to_string()).join(name)
}
