//! The deterministic simulator: whole ensembles of production code on a network, disks, processes and clocks
//! that fail as a seed says. See `tests/README.md`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may panic and says what it does"
)]
#![allow(
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_methods,
    reason = "a test asks for one thing and no other, and measures time"
)]

mod check;
mod failure;
mod fleet;
mod generate;
mod marks;
#[path = "../model/mod.rs"]
mod model;
#[cfg(feature = "mutants")]
mod mutants;
mod options;
mod plan;
mod requests;
mod run;
mod shrink;
mod users;
mod waiting;
#[path = "../world/mod.rs"]
mod world;

use std::process::ExitCode;

fn main() -> ExitCode {
    match options::parse(std::env::args().skip(1)).and_then(options::Options::carry_out) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
