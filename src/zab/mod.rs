//! ZAB, the atomic broadcast: what is proposed by the leader and acknowledged by a quorum's disks is
//! committed, in the order of proposal.
//!
//! A standalone server is the leader of an ensemble of one.

mod broadcast;

pub use broadcast::{Broadcast, LogEntry};
