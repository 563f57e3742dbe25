//! `start`, `stop`, `restart`: zkServer.sh's texts, with its pid file, and without its fixed waits.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::Context as _;

use super::pid_file::{self, Named, PidFile};
use super::{EXIT_UNEXPECTED, Setup, Streams, print_cmd, run};

/// Starts a server in the background.
pub fn start(setup: &Setup, streams: &mut Streams<'_>) -> anyhow::Result<ExitCode> {
    let failed = Ok(ExitCode::from(EXIT_UNEXPECTED));
    let pid_file = PidFile::of(setup);
    if let Some(reason) = run::missing_version_dir(&setup.loaded.config) {
        writeln!(streams.out, "{reason}")?;
        return failed;
    }
    write!(streams.out, "Starting zookeeper ... ")?;
    streams.out.flush()?;
    match pid_file.named() {
        Named::Server(pid) => {
            writeln!(streams.out, "already running as process {pid}.")?;
            return failed;
        }
        Named::Stranger(pid) => {
            let path = pid_file.path.display();
            writeln!(
                streams.err,
                "{path} names process {pid}, which is no ZooKeeper server: starting all the same"
            )?;
        }
        Named::Nobody | Named::Gone(_) => {}
    }
    let mut child = match spawn(setup) {
        Ok(child) => child,
        Err(error) => {
            writeln!(streams.out, "SERVER DID NOT START")?;
            writeln!(streams.err, "{error:#}")?;
            return failed;
        }
    };
    if let Err(error) = pid_file.write(child.id()) {
        writeln!(streams.out, "FAILED TO WRITE PID")?;
        writeln!(
            streams.err,
            "cannot write {}: {error}. The server runs as process {}",
            pid_file.path.display(),
            child.id()
        )?;
        return failed;
    }
    if ends_within(&mut child, START_WATCH)? {
        writeln!(streams.out, "FAILED TO START")?;
        writeln!(streams.err, "the reason is in {}", output_file(setup).display())?;
        return failed;
    }
    writeln!(streams.out, "STARTED")?;
    Ok(ExitCode::SUCCESS)
}

/// Stops the server that the pid file names, and waits for its end.
pub fn stop(setup: &Setup, streams: &mut Streams<'_>) -> anyhow::Result<ExitCode> {
    let pid_file = PidFile::of(setup);
    write!(streams.out, "Stopping zookeeper ... ")?;
    streams.out.flush()?;
    if !pid_file.path.is_file() {
        let path = pid_file.path.display();
        writeln!(streams.out, "no zookeeper to stop (could not find file {path})")?;
        return Ok(ExitCode::SUCCESS);
    }
    let path = pid_file.path.display();
    match pid_file.named() {
        Named::Server(pid) => {
            if let Err(error) = pid_file::terminate(pid) {
                writeln!(streams.out, "FAILED TO STOP")?;
                writeln!(streams.err, "cannot stop process {pid}: {error}")?;
                return Ok(ExitCode::from(EXIT_UNEXPECTED));
            }
            if !is_gone_within(pid, STOP_WATCH) {
                writeln!(streams.out, "FAILED TO STOP")?;
                let seconds = STOP_WATCH.as_secs();
                writeln!(
                    streams.err,
                    "process {pid} still runs {seconds} s after SIGTERM; {path} is kept"
                )?;
                return Ok(ExitCode::from(EXIT_UNEXPECTED));
            }
        }
        Named::Stranger(pid) => {
            writeln!(
                streams.err,
                "{path} names process {pid}, which is no ZooKeeper server and is left alone"
            )?;
        }
        Named::Gone(pid) => writeln!(streams.err, "process {pid} had ended already")?,
        Named::Nobody => writeln!(streams.err, "{path} holds no process id")?,
    }
    pid_file.remove()?;
    writeln!(streams.out, "STOPPED")?;
    Ok(ExitCode::SUCCESS)
}

/// Stops, then starts unless the old server is still there.
pub fn restart(setup: &Setup, streams: &mut Streams<'_>) -> anyhow::Result<ExitCode> {
    let stopped = stop(setup, streams)?;
    if stopped != ExitCode::SUCCESS {
        return Ok(stopped);
    }
    start(setup, streams)
}

/// `zookeeper-$USER-server-$HOSTNAME.out` in the log directory.
pub fn output_file(setup: &Setup) -> PathBuf {
    let user = setup.environment.variable("USER").unwrap_or("unknown");
    let uname = rustix::system::uname();
    let host = uname.nodename().to_string_lossy();
    log_dir(setup).join(format!("zookeeper-{user}-server-{host}.out"))
}

/// `ZOO_LOG_DIR`; else `logs` beside the program's directory if it is there; else the data directory.
fn log_dir(setup: &Setup) -> PathBuf {
    if let Some(dir) = setup.environment.variable("ZOO_LOG_DIR") {
        return PathBuf::from(dir);
    }
    let program = std::env::current_exe().ok();
    let beside = program
        .as_deref()
        .and_then(Path::parent)
        .and_then(Path::parent)
        .map(|root| root.join("logs"));
    beside
        .filter(|dir| dir.is_dir())
        .unwrap_or_else(|| setup.loaded.config.storage.data_dir.clone())
}

fn spawn(setup: &Setup) -> anyhow::Result<Child> {
    let path = output_file(setup);
    let open = || -> io::Result<(File, File)> {
        std::fs::create_dir_all(log_dir(setup))?;
        let file = File::create(&path)?;
        Ok((file.try_clone()?, file))
    };
    let (out, err) =
        open().with_context(|| format!("cannot write {} (ZOO_LOG_DIR says where)", path.display()))?;
    let words = print_cmd::server_command(setup)?;
    let (program, arguments) = words.split_first().context("the command line has a program")?;
    Command::new(program)
        .args(arguments)
        .arg("--detach")
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .spawn()
        .with_context(|| format!("cannot run {}", program.display()))
}

fn ends_within(child: &mut Child, watch: Duration) -> io::Result<bool> {
    for _ in 0..watch.as_millis() / POLL.as_millis() {
        if child.try_wait()?.is_some() {
            return Ok(true);
        }
        pause();
    }
    Ok(child.try_wait()?.is_some())
}

fn is_gone_within(pid: i32, watch: Duration) -> bool {
    for _ in 0..watch.as_millis() / POLL.as_millis() {
        if !pid_file::is_alive(pid) {
            return true;
        }
        pause();
    }
    !pid_file::is_alive(pid)
}

/// Processes are asked again and again: there is no event for the end of one that is not our child.
#[expect(clippy::disallowed_methods, reason = "see above")]
fn pause() {
    std::thread::sleep(POLL);
}

/// A server that lives this long after its start has found its configuration, data and port.
const START_WATCH: Duration = Duration::from_secs(1);
/// How long the end of a server is waited for.
const STOP_WATCH: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);
