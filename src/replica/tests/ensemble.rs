//! Whole ensembles in memory: real replicas with the real ends of their clients' connections, on a network,
//! disks and a clock that the tests have in their hands.
//!
//! Whatever a test is about, at every step all servers that serve show beginnings of one history, with the
//! digests that it says, and no epoch has two leaders; in the end no request is left that nobody waits for.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a test asks for one thing and no other"
)]

mod clients;
mod disk;
mod history;
mod network;
mod node;
mod setup;
mod world;

mod damage;
mod handing_over;
mod moves;
mod random;
mod role_ends;
mod serving;
mod syncing;
