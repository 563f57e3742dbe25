//! Identifiers as newtypes, so that an epoch never passes for a counter nor a session for a server.

use std::fmt;

/// A transaction id: the epoch in the upper 32 bits, the counter within the epoch in the lower 32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Zxid(pub i64);

impl Zxid {
    /// The zxid before the first transaction ever.
    pub const ZERO: Zxid = Zxid(0);

    /// Puts an epoch and a counter together.
    pub const fn new(epoch: Epoch, counter: u32) -> Zxid {
        Zxid(epoch.0 << 32 | counter as i64)
    }

    /// The epoch of the leader that proposed it.
    pub const fn epoch(self) -> Epoch {
        Epoch((self.0 as u64 >> 32) as i64)
    }

    /// The position within the epoch.
    pub const fn counter(self) -> u32 {
        self.0 as u32
    }

    /// The zxid that follows in the same epoch. The caller sees to it that the counter does not wrap.
    pub const fn next(self) -> Zxid {
        Zxid(self.0 + 1)
    }
}

impl fmt::Display for Zxid {
    /// Hexadecimal with `0x`, as ZooKeeper prints zxids.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

/// The number of a leader's reign.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub i64);

/// A member of the ensemble: `myid`, `sid` on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(pub i64);

/// A client's session. May be negative; printed as unsigned hexadecimal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub i64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

/// One accepted client connection; never reused within a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zxid_takes_apart_into_epoch_and_counter() {
        let zxid = Zxid::new(Epoch(3), 0xffff_fffe);
        assert_eq!(zxid, Zxid(0x3_ffff_fffe));
        assert_eq!((zxid.epoch(), zxid.counter()), (Epoch(3), 0xffff_fffe));
        assert_eq!(Zxid(-1).epoch(), Epoch(0xffff_ffff));
        assert_eq!(zxid.to_string(), "0x3fffffffe");
    }
}
