//! What a connection does at once, and how it is counted.

use std::sync::atomic::Ordering::Relaxed;

use super::ClientConn;
use crate::clock::Now;
use crate::ids::Zxid;
use crate::proto::opcode::OpCode;
use crate::shared::Shared;

/// What was done under one read guard, to be counted once.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) frames: usize,
    pub(super) bytes: usize,
    pub(super) reads: u64,
    /// The last, the least and the greatest reply to a read, in bytes.
    pub(super) reply_bytes: Option<[usize; 3]>,
    pub(super) last: Option<(OpCode, i32)>,
    pub(super) has_more: bool,
}

impl Batch {
    /// A read was answered.
    pub(super) fn add(&mut self, op: OpCode, xid: i32, bytes: usize) {
        let [_, least, greatest] = self.reply_bytes.unwrap_or([bytes; 3]);
        self.reply_bytes = Some([bytes, least.min(bytes), greatest.max(bytes)]);
        self.reads += 1;
        self.last = Some((op, xid));
    }
}

impl ClientConn {
    pub(super) fn count(&self, now: Now, shared: &Shared, batch: &Batch, last_zxid: Zxid) {
        let own = &self.shared.stats;
        own.outstanding.store(self.outstanding as i32, Relaxed);
        if batch.frames > 0 {
            shared
                .stats
                .packets_received
                .fetch_add(batch.frames as u64, Relaxed);
            shared.metrics.bytes_received_count.add(batch.bytes as u64);
            own.received.fetch_add(batch.frames as u64, Relaxed);
        }
        if let Some((op, xid)) = batch.last {
            shared.stats.packets_sent.fetch_add(batch.reads, Relaxed);
            shared.stats.latency.record(batch.reads, 0);
            shared.metrics.readlatency.record_many(0, batch.reads);
            for bytes in batch.reply_bytes.into_iter().flatten().rev() {
                shared.response_size.record(bytes);
            }
            own.sent.fetch_add(batch.reads, Relaxed);
            own.latency.record(batch.reads, 0);
            own.note(op, xid, last_zxid, now.mono.0);
        }
    }
}
