//! A configuration and a data directory of a test's own, and the program run on them.

use std::fs::{self, File};
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tempfile::TempDir;

/// `conf/zoo.cfg` and `data` in a directory that is the working directory of every command.
pub struct Place {
    dir: TempDir,
}

/// What a command wrote and returned.
#[derive(Debug)]
pub struct Outcome {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Place {
    /// With these lines behind `dataDir`.
    pub fn new(lines: &str) -> Place {
        let place = Place::empty();
        fs::create_dir(place.path("conf")).unwrap();
        place.write_config(lines);
        place
    }

    /// Without any configuration.
    pub fn empty() -> Place {
        let dir = tempfile::tempdir().unwrap();
        Place { dir }
    }

    pub fn write_config(&self, lines: &str) {
        let text = format!("dataDir={}\n{lines}", self.path("data").display());
        fs::write(self.config(), text).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn config(&self) -> PathBuf {
        self.path("conf/zoo.cfg")
    }

    pub fn pid_file(&self) -> PathBuf {
        self.path("data/zookeeper_server.pid")
    }

    /// The program with nothing of this process's environment.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(words).env_clear().current_dir(self.dir.path());
        command
    }

    /// Runs a subcommand on the configuration to its end.
    pub fn run(&self, subcommand: &str) -> Outcome {
        let config = self.config();
        self.finish(&mut self.command(&[subcommand, config.to_str().unwrap()]))
    }

    /// Runs a command to its end.
    pub fn finish(&self, command: &mut Command) -> Outcome {
        let (out, err) = (self.path("stdout"), self.path("stderr"));
        let mut child = command
            .stdin(Stdio::null())
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&err).unwrap())
            .spawn()
            .unwrap();
        let code = end_of(&mut child).code();
        Outcome {
            code,
            out: fs::read_to_string(out).unwrap(),
            err: fs::read_to_string(err).unwrap(),
        }
    }

    /// Starts a server in the foreground and waits until it serves.
    pub fn serve(&self) -> Server {
        let config = self.config();
        let server = self.spawn(&mut self.command(&["start-foreground", config.to_str().unwrap()]));
        server.wait_for("serving clients");
        server
    }

    /// Starts a command that goes on.
    pub fn spawn(&self, command: &mut Command) -> Server {
        let (log, err) = (self.path("log"), self.path("err"));
        let child = command
            .stdin(Stdio::null())
            .stdout(File::create(&log).unwrap())
            .stderr(File::create(&err).unwrap())
            .spawn()
            .unwrap();
        Server { child, log, err }
    }

    /// Ends the server that the pid file names when the test ends, however it ends.
    pub fn stop_at_last(&self) -> StopAtLast {
        StopAtLast(self.pid_file())
    }
}

/// A process that is ended when dropped.
pub struct Server {
    pub child: Child,
    log: PathBuf,
    err: PathBuf,
}

impl Server {
    /// What it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Waits for a line with `text` and returns it.
    pub fn wait_for(&self, text: &str) -> String {
        let found = eventually(|| {
            let log = self.log();
            let line = log.split_inclusive('\n').find(|line| line.contains(text));
            line.filter(|line| line.ends_with('\n')).map(str::to_owned)
        });
        let err = fs::read_to_string(&self.err).unwrap();
        found.unwrap_or_else(|| panic!("no line with {text:?} in:\n{}{err}", self.log()))
    }

    /// The client port, as the log tells it.
    pub fn port(&self) -> u16 {
        let line = self.wait_for("binding to port ");
        let (_, rest) = line.split_once("binding to port ").unwrap();
        let address = rest.split_whitespace().next().unwrap();
        address.rsplit_once(':').unwrap().1.parse().unwrap()
    }

    pub fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    /// Asks it to end; how it did.
    pub fn stop(mut self) -> ExitStatus {
        self.terminate();
        end_of(&mut self.child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// See [`Place::stop_at_last`].
pub struct StopAtLast(PathBuf);

impl Drop for StopAtLast {
    fn drop(&mut self) {
        if let Some(pid) = pid_in(&self.0) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// The process that a pid file names.
pub fn pid_in(path: &Path) -> Option<Pid> {
    let text = fs::read_to_string(path).ok()?;
    assert!(text.bytes().all(|byte| byte.is_ascii_digit()), "{text:?}");
    Pid::from_raw(text.parse().unwrap())
}

/// Whether the process is there. One that nobody has waited for yet counts as gone.
pub fn is_alive(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    let is_zombie = stat.is_ok_and(|stat| stat.contains(") Z "));
    test_kill_process(pid).is_ok() && !is_zombie
}

/// A port that nothing listened on a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// Asks until there is an answer; `None` when it takes too long.
pub fn eventually<T>(mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    for _ in 0..PATIENCE.as_millis() / POLL.as_millis() {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        pause();
    }
    ask()
}

fn end_of(child: &mut Child) -> ExitStatus {
    let ended: Option<io::Result<ExitStatus>> = eventually(|| child.try_wait().transpose());
    if ended.is_none() {
        let _ = child.kill();
    }
    ended.expect("the process ends in time").unwrap()
}

#[expect(
    clippy::disallowed_methods,
    reason = "only between two looks, never instead of one"
)]
fn pause() {
    std::thread::sleep(POLL);
}

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_zkserver");
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);
