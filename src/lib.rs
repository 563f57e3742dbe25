//! `zkserver`: a coordination server that ZooKeeper clients, tools and ensembles accept as ZooKeeper.
//!
//! In reading order, each rung using only those above it:
//! vocabulary, bytes and types, pure state, protocols, the composed replica, drivers.

pub mod clock;
pub mod ids;
pub mod limits;
pub mod metrics;
pub mod prng;

pub mod proto;

pub mod auth;
pub mod prep;
pub mod read;
pub mod session;
pub mod tree;
pub mod watch;

pub mod client;
pub mod storage;

pub mod cli;
pub mod config;
pub mod server;
