//! Client sessions: their ids, their passwords, and when they expire.
//!
//! Time comes in as an argument; nothing here acts on an expiry. The caller asks which sessions are due and
//! decides to close them, or to touch those that were heard of since.

pub mod connection_throttle;
pub mod expiry;
pub mod password;
pub mod tracker;

pub use connection_throttle::{ConnectKind, ConnectionThrottle, ConnectionThrottleConfig};
pub use password::SessionIds;
pub use tracker::SessionTracker;
