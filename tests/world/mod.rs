//! Whole ensembles in memory: real replicas with the real ends of their clients' connections, on a network,
//! disks and a clock that tests have in their hands.
//!
//! Whatever a test is about, at every step all servers that serve show beginnings of one history, with the
//! digests that it says, and no epoch has two leaders; in the end no request is left that nobody waits for.

#![allow(
    dead_code,
    missing_docs,
    clippy::unwrap_used,
    reason = "several tests use parts of it"
)]
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a test asks for one thing and no other"
)]

pub mod client;
pub mod clients;
pub mod configs;
pub mod disk;
pub mod draws;
pub mod ensemble;
pub mod execute;
pub mod faults;
pub mod files;
pub mod frames;
pub mod history;
pub mod moments;
pub mod network;
pub mod node;
pub mod setup;
#[path = "../support/sim_disk.rs"]
pub mod sim_disk;
pub mod trace;
