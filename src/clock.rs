//! Time as data. Nothing here reads a clock: `server::clock` does, and hands the reading down.

use std::ops::{Add, Sub};

/// Milliseconds on a monotonic clock with an arbitrary origin, or a span of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl Add for Millis {
    type Output = Millis;
    fn add(self, other: Millis) -> Millis {
        Millis(self.0 + other.0)
    }
}

impl Sub for Millis {
    type Output = Millis;
    /// Saturates at zero: a reading taken on another thread may be a little ahead.
    fn sub(self, other: Millis) -> Millis {
        Millis(self.0.saturating_sub(other.0))
    }
}

/// One reading of both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For every decision.
    pub mono: Millis,
    /// Milliseconds since the Unix epoch. It lands in `TxnHeader::time` and in log lines, nowhere else.
    pub wall_ms: i64,
}
