//! The `zkserver` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    zkserver::cli::main()
}
