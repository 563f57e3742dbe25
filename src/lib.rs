//! `zkserver`: a coordination server that ZooKeeper clients, tools and ensembles accept as ZooKeeper.
//!
//! In reading order, each rung using only those above it. A read takes `server::client_task`, `client`,
//! `read`, `tree`, and touches no other thread. A write goes on from `client` to `replica`, which prepares it
//! (`prep`), has it agreed on (`zab`) and logged (`storage`), and applies it (`tree`, `watch`).
//!
//! Architecture invariants:
//!
//! * What decides has no IO, clock, entropy, threads or async; it takes an input and says what to do.
//! * Outputs are unconditional; what needs durability is said by the handler of "durable".
//! * The core thread is the only writer of the tree. Reads run where the client is served.
//! * Crash beats corrupt: a broken invariant or a failed write of the log ends the process.

/// Tests inside the crate share their tools with those outside.
#[cfg(test)]
extern crate self as zkserver;

// Vocabulary.
pub mod clock;
pub mod ids;
pub mod limits;
pub mod metrics;
pub mod mutants;
pub mod prng;

// Bytes and types.
pub mod proto;

// Pure state.
pub mod auth;
pub mod prep;
pub mod read;
pub mod session;
pub mod shared;
pub mod tree;
pub mod watch;

// Protocols.
pub mod election;
pub mod quorum;
pub mod zab;

// Composed, still without threads and sockets.
pub mod client;
pub mod replica;
pub mod storage;

// Drivers.
pub mod cli;
pub mod config;
pub mod server;
