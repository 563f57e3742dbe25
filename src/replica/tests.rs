//! A replica with its connections: what clients send, and exactly what comes back.

pub(crate) mod client;
pub(crate) mod frames;
pub(crate) mod harness;

mod ensemble;
mod events;
mod order;
mod scripts;
mod sessions;
mod snapshots;
