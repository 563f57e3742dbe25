//! Watches: who wants to hear of which node. They belong to connections, live in memory, and die with those.

pub mod manager;
mod mode;
pub mod reestablish;
mod watchers;

pub use manager::{Deliver, Fired, WatchManager};
pub use mode::{WatchKind, WatchMode};

/// Watches of a null path are kept as watches of this one. Nothing ever happens there, and Apache's server
/// lists them under this name.
pub const NULL_PATH: &str = "null";
