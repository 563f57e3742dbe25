//! `check`: configuration, myid and data directory, in words, without starting and without changing anything.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use rustix::fs::{Access, FlockOperation, access, flock, statvfs};

use super::{EXIT_ARGUMENTS, EXIT_DATA_DIR, Setup, Streams, report, run};
use crate::config::server_config::StorageConfig;
use crate::config::{Origin, Problem, Severity};

/// Prints what is wrong and how to mend it.
/// Exit codes: 0 the server would start, 2 the configuration is wrong, 3 the data is.
pub fn check(setup: &Setup, streams: &mut Streams<'_>) -> anyhow::Result<ExitCode> {
    let config = &setup.loaded.config;
    let mut config_problems = setup.loaded.problems.clone();
    if let Err(reason) = run::is_served(&config.ensemble) {
        config_problems.push(Problem::error(Origin::CommandLine, reason));
    }
    section(streams.out, "configuration", &config_problems)?;
    match config.ensemble.my_id {
        Some(id) => writeln!(streams.out, "myid: {}", id.0)?,
        None => writeln!(streams.out, "myid: none (a standalone server needs none)")?,
    }
    // Directories that a wrong configuration names say nothing about the data.
    let data_problems = if setup.loaded.has_errors() {
        Vec::new()
    } else {
        check_storage(&config.storage)
    };
    if !setup.loaded.has_errors() {
        section(streams.out, "data", &data_problems)?;
    }
    let is_wrong = |problems: &[Problem]| problems.iter().any(|problem| problem.severity == Severity::Error);
    if is_wrong(&config_problems) {
        writeln!(streams.out, "The server would not start with this configuration.")?;
        return Ok(ExitCode::from(EXIT_ARGUMENTS));
    }
    if is_wrong(&data_problems) {
        writeln!(streams.out, "The server would not start on this data.")?;
        return Ok(ExitCode::from(EXIT_DATA_DIR));
    }
    writeln!(streams.out, "The server would start.")?;
    Ok(ExitCode::SUCCESS)
}

fn section(out: &mut dyn Write, name: &str, problems: &[Problem]) -> io::Result<()> {
    if problems.is_empty() {
        return writeln!(out, "{name}: nothing wrong");
    }
    writeln!(out, "{name}:")?;
    report(problems, Severity::Error, out)?;
    report(problems, Severity::Warning, out)
}

/// What can be seen of the data directories from outside.
fn check_storage(storage: &StorageConfig) -> Vec<Problem> {
    let mut problems = Vec::new();
    check_dir("dataDir", &storage.data_dir, storage, &mut problems);
    if storage.is_log_dir_separate() {
        check_dir("dataLogDir", &storage.data_log_dir, storage, &mut problems);
    }
    let snap_names = Names::of(&storage.snap_dir(), &mut problems);
    let log_names = if storage.is_log_dir_separate() {
        let log_names = Names::of(&storage.log_dir(), &mut problems);
        if let Some(name) = snap_names.logs.first() {
            problems.push(misplaced(
                &storage.snap_dir(),
                name,
                "Snapshot directory has log files",
            ));
        }
        if let Some(name) = log_names.snapshots.first() {
            problems.push(misplaced(
                &storage.log_dir(),
                name,
                "Log directory has snapshot files",
            ));
        }
        log_names.logs
    } else {
        snap_names.logs
    };
    if snap_names.snapshots.is_empty() && !log_names.is_empty() && !storage.snapshot_trust_empty {
        let text = "No snapshot found, but there are log entries: a snapshot was lost. Restore it; \
                    only when the data never had one (ZooKeeper 3.4), \
                    set snapshot.trust.empty=true for one start";
        problems.push(Problem::error(Origin::File(storage.snap_dir()), text));
    }
    problems
}

fn misplaced(dir: &Path, name: &str, text: &str) -> Problem {
    let text = format!(
        "{text} (the first is {name}). Check if dataLogDir and dataDir configuration is correct; \
         if dataLogDir is new, move the files log.* there and the files snapshot.* to dataDir"
    );
    Problem::error(Origin::File(dir.to_owned()), text)
}

fn check_dir(key: &str, dir: &Path, storage: &StorageConfig, problems: &mut Vec<Problem>) {
    let origin = Origin::File(dir.to_owned());
    if !dir.exists() {
        problems.push(missing_dir(key, dir, storage));
        return;
    }
    if !dir.is_dir() {
        problems.push(Problem::error(
            origin,
            format!("{key} is not a directory: name one"),
        ));
        return;
    }
    let version_dir = dir.join("version-2");
    for inner in [dir, &version_dir] {
        if inner.is_dir() && access(inner, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK).is_err() {
            let text = "cannot be read and written by this user: chown it to the user that runs the server";
            problems.push(Problem::error(Origin::File(inner.to_owned()), text));
        }
    }
    if !version_dir.is_dir() && !storage.auto_create {
        problems.push(missing_dir(key, &version_dir, storage));
    }
    if is_locked(&dir.join(LOCK_NAME)) {
        let text = "a server is running on this directory: another one would not start";
        problems.push(Problem::warning(origin.clone(), text));
    }
    let Ok(space) = statvfs(dir) else {
        return;
    };
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let wanted = storage.pre_alloc_bytes.saturating_mul(2).max(FREE_BYTES_MIN);
    if free < wanted {
        let text = format!(
            "only {} MiB free: make room, or name a larger disk in {key}",
            free >> 20
        );
        problems.push(Problem::warning(origin, text));
    }
}

fn missing_dir(key: &str, dir: &Path, storage: &StorageConfig) -> Problem {
    let origin = Origin::File(dir.to_owned());
    if !storage.auto_create {
        let text = format!(
            "{key} is missing and may not be created (datadir.autocreate): create it or correct {key}"
        );
        return Problem::error(origin, text);
    }
    let nearest = dir.ancestors().find(|ancestor| ancestor.exists());
    match nearest {
        Some(nearest)
            if access(nearest, Access::WRITE_OK | Access::EXEC_OK).is_err() || !nearest.is_dir() =>
        {
            let text = format!(
                "{key} is missing and cannot be created in {}: create it",
                nearest.display()
            );
            Problem::error(origin, text)
        }
        Some(_) | None => Problem::warning(origin, format!("{key} is missing and will be created, empty")),
    }
}

/// Names of data files in a directory.
#[derive(Default)]
struct Names {
    logs: Vec<String>,
    snapshots: Vec<String>,
}

impl Names {
    fn of(dir: &Path, problems: &mut Vec<Problem>) -> Names {
        let mut names = Names::default();
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return names,
            Err(error) => {
                problems.push(Problem::error(
                    Origin::File(dir.to_owned()),
                    format!("cannot be read: {error}"),
                ));
                return names;
            }
        };
        let mut found: Vec<String> = entries
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        found.sort();
        for name in found {
            match kind_of(&name) {
                Some(Kind::Log) => names.logs.push(name),
                Some(Kind::Snapshot) => names.snapshots.push(name),
                Some(Kind::Doubtful) => {
                    let text = "is not a name of a log or snapshot: it is left alone here, \
                                but Apache would read or delete it; move it elsewhere";
                    problems.push(Problem::warning(Origin::File(dir.join(name)), text));
                }
                None => {}
            }
        }
        names
    }
}

enum Kind {
    Log,
    Snapshot,
    /// The name begins as a data file's, but goes on otherwise.
    Doubtful,
}

fn kind_of(name: &str) -> Option<Kind> {
    let is_zxid = |text: &str| !text.is_empty() && u64::from_str_radix(text, 16).is_ok();
    if let Some(zxid) = name.strip_prefix("log.") {
        return Some(if is_zxid(zxid) { Kind::Log } else { Kind::Doubtful });
    }
    let rest = name.strip_prefix("snapshot.")?;
    let zxid = rest
        .strip_suffix(".gz")
        .or_else(|| rest.strip_suffix(".snappy"))
        .unwrap_or(rest);
    Some(if is_zxid(zxid) {
        Kind::Snapshot
    } else {
        Kind::Doubtful
    })
}

/// Another process holds the lock file.
fn is_locked(path: &Path) -> bool {
    let Ok(file) = fs::File::open(path) else {
        return false;
    };
    flock(&file, FlockOperation::NonBlockingLockShared)
        .is_err_and(|error| error == rustix::io::Errno::WOULDBLOCK)
}

const LOCK_NAME: &str = "zkserver.lock";
const FREE_BYTES_MIN: u64 = 64 << 20;
