//! A replica with its connections: what clients send, and exactly what comes back.

pub(crate) mod harness;
#[path = "../../tests/world/mod.rs"]
pub(crate) mod world;

mod containers;
mod ensemble;
mod events;
mod order;
mod scripts;
mod sessions;
mod snapshots;
