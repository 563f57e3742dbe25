//! Watches: who wants to hear of which node. They belong to connections, live in memory, and die with those.

pub mod manager;
pub mod reestablish;

pub use manager::{Deliver, WatchKind, WatchManager, WatchTable};
