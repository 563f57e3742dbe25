//! Counters that connections and the core add to without a lock.

use std::sync::atomic::{AtomicI32, AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::ids::Zxid;
use crate::proto::opcode::OpCode;

/// Request latency in milliseconds since the last reset.
#[derive(Debug)]
pub struct Latency {
    count: AtomicU64,
    total: AtomicU64,
    min: AtomicU32,
    max: AtomicU32,
    last: AtomicU32,
}

impl Default for Latency {
    fn default() -> Latency {
        Latency {
            count: AtomicU64::new(0),
            total: AtomicU64::new(0),
            min: AtomicU32::new(u32::MAX),
            max: AtomicU32::new(0),
            last: AtomicU32::new(0),
        }
    }
}

impl Latency {
    /// Adds `count` requests that took `ms` each.
    pub fn record(&self, count: u64, ms: u64) {
        self.count.fetch_add(count, Relaxed);
        self.total.fetch_add(count * ms, Relaxed);
        let ms = u32::try_from(ms).unwrap_or(u32::MAX);
        self.last.store(ms, Relaxed);
        if ms < self.min.load(Relaxed) {
            self.min.fetch_min(ms, Relaxed);
        }
        if ms > self.max.load(Relaxed) {
            self.max.fetch_max(ms, Relaxed);
        }
    }

    /// Starts over.
    pub fn reset(&self) {
        self.count.store(0, Relaxed);
        self.total.store(0, Relaxed);
        self.min.store(u32::MAX, Relaxed);
        self.max.store(0, Relaxed);
        self.last.store(0, Relaxed);
    }

    /// The shortest, 0 when there is none.
    pub fn min(&self) -> u64 {
        match self.min.load(Relaxed) {
            u32::MAX => 0,
            ms => ms.into(),
        }
    }

    /// The longest.
    pub fn max(&self) -> u64 {
        self.max.load(Relaxed).into()
    }

    /// The most recent.
    pub fn last(&self) -> u64 {
        self.last.load(Relaxed).into()
    }

    /// The mean, 0 when there is none.
    pub fn avg(&self) -> f64 {
        match self.count.load(Relaxed) {
            0 => 0.0,
            count => self.total.load(Relaxed) as f64 / count as f64,
        }
    }
}

/// Counters of the whole server.
#[derive(Debug, Default)]
pub struct ServerStats {
    /// Of every answered request.
    pub latency: Latency,
    /// Frames from clients, four-letter words included.
    pub packets_received: AtomicU64,
    /// Frames and texts to clients.
    pub packets_sent: AtomicU64,
    /// Auth packets that were refused.
    pub auth_failed: AtomicU64,
    /// Syncs of the log that took longer than the warning threshold.
    pub slow_fsyncs: AtomicU64,
}

impl ServerStats {
    /// What `srst` resets.
    pub fn reset(&self) {
        self.latency.reset();
        self.packets_received.store(0, Relaxed);
        self.packets_sent.store(0, Relaxed);
    }
}

/// Counters of one connection, for `cons`.
#[derive(Debug)]
pub struct ConnStats {
    /// When the connection came, milliseconds since the Unix epoch.
    pub established: i64,
    /// Frames received.
    pub received: AtomicU64,
    /// Frames sent.
    pub sent: AtomicU64,
    /// Requests not answered yet.
    pub outstanding: AtomicI32,
    /// The last operation's code, [`ConnStats::NO_OP`] after a reset.
    pub last_op: AtomicI32,
    /// The last xid that was not negative, -1 after a reset.
    pub last_cxid: AtomicI32,
    /// The zxid of the last reply, -1 after a reset.
    pub last_zxid: AtomicI64,
    /// When the last reply was made, in monotonic milliseconds.
    pub last_response: AtomicI64,
    /// Of the connection's requests.
    pub latency: Latency,
}

impl ConnStats {
    /// Stands for "no operation since the reset".
    pub const NO_OP: i32 = i32::MIN;

    /// Of a connection that came at `wall_ms`.
    pub fn new(wall_ms: i64) -> ConnStats {
        ConnStats {
            established: wall_ms,
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            outstanding: AtomicI32::new(0),
            last_op: AtomicI32::new(Self::NO_OP),
            last_cxid: AtomicI32::new(0),
            last_zxid: AtomicI64::new(0),
            last_response: AtomicI64::new(0),
            latency: Latency::default(),
        }
    }

    /// What `crst` resets.
    pub fn reset(&self) {
        self.received.store(0, Relaxed);
        self.sent.store(0, Relaxed);
        self.last_op.store(Self::NO_OP, Relaxed);
        self.last_cxid.store(-1, Relaxed);
        self.last_zxid.store(-1, Relaxed);
        self.last_response.store(0, Relaxed);
        self.latency.reset();
    }

    /// Notes the last of a batch of requests.
    pub fn note(&self, op: OpCode, xid: i32, zxid: Zxid, mono_ms: u64) {
        self.last_op.store(op.code(), Relaxed);
        if xid >= 0 {
            self.last_cxid.store(xid, Relaxed);
        }
        self.last_zxid.store(zxid.0, Relaxed);
        self.last_response.store(mono_ms as i64, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_knows_its_extremes_and_mean() {
        let latency = Latency::default();
        assert_eq!((latency.min(), latency.max(), latency.avg()), (0, 0, 0.0));
        latency.record(3, 2);
        latency.record(1, 10);
        assert_eq!(
            (latency.min(), latency.max(), latency.avg(), latency.last()),
            (2, 10, 4.0, 10)
        );
        latency.reset();
        assert_eq!((latency.min(), latency.max()), (0, 0));
    }
}
