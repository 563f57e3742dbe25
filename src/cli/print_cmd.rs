//! `print-cmd` and `version`.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use super::{Setup, Streams, control};

/// Prints the command line that `start` runs, quoted for a shell.
pub fn print_cmd(setup: &Setup, streams: &mut Streams<'_>) -> anyhow::Result<ExitCode> {
    for word in server_command(setup)? {
        write!(streams.out, "{} ", quoted(&word.to_string_lossy()))?;
    }
    let output = control::output_file(setup);
    writeln!(
        streams.out,
        "> {} 2>&1 < /dev/null",
        quoted(&output.to_string_lossy())
    )?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the version. Scripts look for the number after `ZooKeeper, version`.
pub fn version(out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let ours = env!("CARGO_PKG_VERSION");
    writeln!(
        out,
        "zkserver {ours}, compatible with Apache ZooKeeper, version {COMPATIBLE_VERSION}"
    )?;
    Ok(ExitCode::SUCCESS)
}

/// Program and arguments of a server with this setup.
pub(super) fn server_command(setup: &Setup) -> std::io::Result<Vec<OsString>> {
    let mut words = vec![std::env::current_exe()?.into_os_string()];
    words.extend(setup.handed_on.options.iter().cloned());
    words.push("start-foreground".into());
    words.extend(
        setup
            .handed_on
            .config
            .iter()
            .map(|path| path.clone().into_os_string()),
    );
    Ok(words)
}

fn quoted(word: &str) -> String {
    let mut quoted = String::from("\"");
    for c in word.chars() {
        if matches!(c, '\\' | '"' | '$' | '`') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted + "\""
}

/// The release whose files, protocol and answers are the yardstick.
pub const COMPATIBLE_VERSION: &str = "3.9.5";
