//! What the command line offers.

pub mod dump_log;
pub mod dump_snapshot;

mod readable;
