//! The command line: zkServer.sh's subcommands with its texts and exit codes, and ours.
//!
//! Subcommands write to the handles they are given; only [`main`] knows the process's own.

pub mod check;
pub mod control;
mod dry_disk;
pub mod dump_log;
pub mod dump_snapshot;
mod member;
pub mod pid_file;
pub mod print_cmd;
mod readable;
pub mod run;
mod script;
pub mod status;
pub mod status_all;
mod words;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::server_config::LogFormat;
use crate::config::{self, ConfigRequest, ConfigSource, Environment, Loaded, Located, Problem, Severity};

/// A coordination server that ZooKeeper clients, tools and ensembles accept as ZooKeeper.
/// Without a subcommand it runs in the foreground.
#[derive(Debug, Parser)]
#[command(name = "zkserver", version, disable_help_subcommand = true)]
struct Arguments {
    /// Directory of the configuration file (otherwise ZOOCFGDIR).
    #[arg(long = "config", value_name = "DIR", global = true)]
    config_dir: Option<PathBuf>,
    /// error, warn, info, debug, trace, or levels by module: info,zkserver::storage=debug.
    #[arg(long, value_name = "LEVEL", global = true)]
    log_level: Option<String>,
    /// Form of log lines.
    #[arg(long, value_name = "FORM", global = true)]
    log_format: Option<LogFormatArg>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormatArg {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the server in the background and write the pid file.
    Start(ConfigArg),
    /// Run the server in the foreground; its log goes to standard output.
    StartForeground(ForegroundArgs),
    /// Stop the server that the pid file names.
    Stop(ConfigArg),
    /// Stop, then start.
    Restart(ConfigArg),
    /// Print the mode of the server; fails when nothing serves. With --all, look at the whole ensemble.
    Status(StatusArgs),
    /// Print the command line that start would run.
    PrintCmd(ConfigArg),
    /// Print the version.
    Version,
    /// Check configuration, myid and data directory without starting, and say what to do.
    Check(ConfigArg),
    /// List, add and remove the members of an ensemble that serves.
    Member(member::MemberArgs),
    /// Print a transaction log.
    Txnlog(dump_log::DumpLogArgs),
    /// Print a snapshot.
    Snapshot(dump_snapshot::DumpSnapshotArgs),
}

#[derive(Debug, Args)]
struct ConfigArg {
    /// Configuration file: a path, or a name in the configuration directory (otherwise ZOOCFG, else zoo.cfg).
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct StatusArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Ask every server of the configuration, and print a table and who leads; fails unless a quorum serves.
    #[arg(long)]
    all: bool,
    /// Print the whole ensemble as one JSON object instead.
    #[arg(long, requires = "all")]
    json: bool,
}

#[derive(Debug, Args)]
struct ForegroundArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Leave the terminal's session first; `start` uses it.
    #[arg(long, hide = true)]
    detach: bool,
}

/// Where a subcommand writes.
pub struct Streams<'a> {
    /// Standard output.
    pub out: &'a mut dyn Write,
    /// Standard error.
    pub err: &'a mut dyn Write,
}

/// A located and loaded configuration, with what the command line says besides.
pub struct Setup {
    /// Where the configuration is.
    pub located: Located,
    /// What it says.
    pub loaded: Loaded,
    /// The environment with the fragments beside the configuration.
    pub environment: Environment,
    /// Arguments that `start` hands on to the server: `--config DIR` and the like, then the file.
    pub handed_on: HandedOn,
}

/// Arguments that a started server gets as they were given.
#[derive(Debug, Clone, Default)]
pub struct HandedOn {
    /// Options before the subcommand.
    pub options: Vec<OsString>,
    /// The configuration argument.
    pub config: Option<PathBuf>,
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let (mut stdout, mut stderr) = (std::io::stdout(), std::io::stderr());
    let streams = &mut Streams {
        out: &mut stdout,
        err: &mut stderr,
    };
    match dispatch(std::env::args_os(), Environment::of_process(), streams) {
        Ok(code) => code,
        Err(error) => {
            // Nobody listens when standard error is closed.
            let _ = writeln!(streams.err, "zkserver: {error:#}");
            ExitCode::from(EXIT_UNEXPECTED)
        }
    }
}

fn dispatch(
    words: impl IntoIterator<Item = OsString>,
    environment: Environment,
    streams: &mut Streams<'_>,
) -> anyhow::Result<ExitCode> {
    let words = match script::words(words.into_iter().collect(), &environment) {
        Ok(words) => words,
        Err(usage) => {
            writeln!(streams.err, "{usage}")?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    let arguments = match Arguments::try_parse_from(words) {
        Ok(arguments) => arguments,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            write!(streams.out, "{error}")?;
            return Ok(ExitCode::SUCCESS);
        }
        Err(error) => {
            writeln!(streams.err, "{USAGE}")?;
            write!(streams.err, "{error}")?;
            return Ok(ExitCode::from(EXIT_ARGUMENTS));
        }
    };
    let default_command = Command::StartForeground(ForegroundArgs {
        config: ConfigArg { config: None },
        detach: false,
    });
    let Arguments {
        config_dir,
        log_level,
        log_format,
        command,
    } = arguments;
    let setting = Settings {
        config_dir,
        log_level,
        log_format,
        environment,
    };
    match command.unwrap_or(default_command) {
        Command::Version => print_cmd::version(streams.out),
        Command::Txnlog(args) => dump_log::run(&args, streams.out).map(|()| ExitCode::SUCCESS),
        Command::Snapshot(args) => dump_snapshot::run(&args, streams.out).map(|()| ExitCode::SUCCESS),
        Command::Start(args) => setting.with_setup(args, streams, control::start),
        Command::Stop(args) => setting.with_setup(args, streams, control::stop),
        Command::Restart(args) => setting.with_setup(args, streams, control::restart),
        Command::Status(args) => {
            let command = match (args.all, args.json) {
                (false, _) => status::status,
                (true, false) => status_all::table,
                (true, true) => status_all::json,
            };
            setting.with_setup(args.config, streams, command)
        }
        Command::PrintCmd(args) => setting.with_setup(args, streams, print_cmd::print_cmd),
        Command::Member(args) => member::run(args, setting, streams),
        Command::Check(args) => setting.with_setup(args, streams, check::check),
        Command::StartForeground(args) => {
            if args.detach {
                // Fails only where the process leads a session already.
                let _ = rustix::process::setsid();
            }
            setting.with_setup(args.config, streams, run::run)
        }
    }
}

/// What holds for every subcommand with a configuration.
struct Settings {
    config_dir: Option<PathBuf>,
    log_level: Option<String>,
    log_format: Option<LogFormatArg>,
    environment: Environment,
}

impl Settings {
    fn with_setup(
        self,
        args: ConfigArg,
        streams: &mut Streams<'_>,
        command: fn(&Setup, &mut Streams<'_>) -> anyhow::Result<ExitCode>,
    ) -> anyhow::Result<ExitCode> {
        match self.setup(args) {
            Ok(setup) => {
                let using = match &setup.located.source {
                    ConfigSource::File(path) => path.display().to_string(),
                    ConfigSource::Variables => {
                        "variables (no configuration file was named or found)".to_owned()
                    }
                    ConfigSource::BuiltIn => {
                        "built-in defaults (no configuration file was named or found)".to_owned()
                    }
                };
                writeln!(streams.err, "Using config: {using}")?;
                command(&setup, streams)
            }
            Err(problem) => {
                report(&[problem], Severity::Error, streams.err)?;
                writeln!(streams.err, "{INVALID_CONFIG}")?;
                Ok(ExitCode::from(EXIT_ARGUMENTS))
            }
        }
    }

    fn setup(mut self, args: ConfigArg) -> Result<Setup, Problem> {
        let handed_on = self.handed_on(&args);
        let request = ConfigRequest {
            config_dir: self.config_dir,
            config: args.config,
        };
        let program = std::env::current_exe().ok();
        let search_dirs = config::search_dirs(program.as_deref());
        let located = config::locate(&request, &mut self.environment, &search_dirs)?;
        let mut loaded = config::load(&located.source, &self.environment);
        loaded.problems.splice(0..0, located.problems.iter().cloned());
        let logging = &mut loaded.config.logging;
        if let Some(level) = self
            .log_level
            .as_deref()
            .or(self.environment.variable("ZOO_LOG_LEVEL"))
        {
            logging.level = level.to_owned();
        }
        match self.log_format {
            Some(LogFormatArg::Text) => logging.format = LogFormat::Text,
            Some(LogFormatArg::Json) => logging.format = LogFormat::Json,
            None => {}
        }
        Ok(Setup {
            located,
            loaded,
            environment: self.environment,
            handed_on,
        })
    }

    fn handed_on(&self, args: &ConfigArg) -> HandedOn {
        let mut options = Vec::new();
        if let Some(dir) = &self.config_dir {
            options.extend(["--config".into(), dir.clone().into_os_string()]);
        }
        if let Some(level) = &self.log_level {
            options.extend(["--log-level".into(), level.into()]);
        }
        let format = self.log_format.map(|format| match format {
            LogFormatArg::Text => "text",
            LogFormatArg::Json => "json",
        });
        options.extend(
            format
                .into_iter()
                .flat_map(|format| ["--log-format".into(), format.into()]),
        );
        HandedOn {
            options,
            config: args.config.clone(),
        }
    }
}

/// Writes the problems of one severity, one per line.
fn report(problems: &[Problem], severity: Severity, out: &mut dyn Write) -> std::io::Result<()> {
    let word = match severity {
        Severity::Warning => "warning",
        Severity::Error => "error",
    };
    for problem in problems.iter().filter(|problem| problem.severity == severity) {
        writeln!(out, "{word}: {problem}")?;
    }
    Ok(())
}

/// Exit codes of ZooKeeper.
const EXIT_UNEXPECTED: u8 = 1;
const EXIT_ARGUMENTS: u8 = 2;
const EXIT_DATA_DIR: u8 = 3;
const INVALID_CONFIG: &str = "Invalid config, exiting abnormally";
const USAGE: &str = "Usage: zkserver [--config <conf-dir>] \
     {start|start-foreground|stop|version|restart|status|print-cmd|check|member|txnlog|snapshot}";

#[cfg(test)]
mod tests;
