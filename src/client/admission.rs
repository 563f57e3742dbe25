//! Which requests go on, which wait, and which are refused before anybody looks at them (RequestThrottler,
//! AuthenticationHelper, ZooKeeperServer.checkRequestSize).

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;

use crate::clock::{Millis, Now};
use crate::proto::acl::Id;
use crate::proto::opcode::OpCode;
use crate::shared::Shared;

/// What connections are held to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdmissionConfig {
    /// Requests in the pipeline beyond which others wait (`request_throttle_max_requests`); 0 for any number.
    pub requests_max: usize,
    /// How long they wait until it is looked at again, in milliseconds (`request_throttle_stall_time`).
    pub stall_ms: u64,
    /// Whether requests that wait go with their connection, and are not done without it
    /// (`request_throttle_drop_stale` and `request_stale_connection_check`).
    pub drops_gone: bool,
    /// Whether a connection is closed whose requests have waited for longer than the session's timeout
    /// (`request_throttle_drop_stale` and `request_stale_latency_check`).
    pub drops_late: bool,
    /// A request that has waited for longer is refused, in milliseconds (`throttled_op_wait_time`).
    pub wait_max_ms: Option<u64>,
    /// Beyond so many bytes a request is large (`largeRequestThreshold`).
    pub large_threshold: Option<usize>,
    /// Bytes of all large requests that are not answered yet (`largeRequestMaxBytes`).
    pub large_bytes_max: usize,
    /// A client has to be known to one of these schemes (`enforce.auth.schemes`); none for everybody.
    pub enforced_schemes: Vec<String>,
}

/// Whether a request may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Go,
    /// Not yet.
    Wait,
    /// No longer: it is refused with `ThrottledOp`.
    Throttled,
    /// No longer: its client has given up.
    Late,
}

impl AdmissionConfig {
    /// Whether these identities are enough to be served.
    pub(super) fn is_known(&self, ids: &[Id]) -> bool {
        self.enforced_schemes.is_empty() || ids.iter().any(|id| self.enforced_schemes.contains(&id.scheme))
    }

    /// Whether there is no room for one more request of so many bytes.
    pub(super) fn is_too_large(&self, bytes: usize, shared: &Shared) -> bool {
        let is_large = self.large_threshold.is_some_and(|threshold| bytes > threshold);
        is_large && shared.large_request_bytes.load(Relaxed) + bytes > self.large_bytes_max
    }
}

/// Requests of one connection that wait for room in the pipeline.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Since when, and how many of the received bytes; `None` in the round in which they begin to wait.
    since: Option<(Millis, Option<usize>)>,
    /// When there may be room.
    retry_at: Option<Millis>,
}

impl Waiting {
    pub fn retry_at(&self) -> Option<Millis> {
        self.retry_at
    }

    /// The connection moves on.
    pub fn resume(&mut self) {
        self.retry_at = None;
    }

    /// A round is over in which so many bytes were looked at; so many are left.
    pub fn end_round(&mut self, consumed: usize, left: usize) {
        self.since = match self.since {
            Some((since, None)) => Some((since, Some(left))),
            Some((since, Some(bytes))) if bytes > consumed => Some((since, Some(bytes - consumed))),
            Some(_) | None => None,
        };
    }

    /// Whether a request of `op` may go on.
    pub fn admit(
        &mut self,
        now: Now,
        op: OpCode,
        timeout_ms: i32,
        config: &AdmissionConfig,
        shared: &Shared,
    ) -> Admission {
        if config.requests_max == 0 {
            return Admission::Go;
        }
        let past = self.judge(now, op, timeout_ms, config, shared);
        if past == Admission::Late {
            return past;
        }
        if shared.outstanding.load(Relaxed) >= config.requests_max {
            shared.metrics.request_throttle_wait_count.add(1);
            self.since.get_or_insert((now.mono, None));
            self.retry_at = Some(now.mono + Millis(config.stall_ms));
            return Admission::Wait;
        }
        if past == Admission::Go {
            let waited_ms = self.waited_ms(now);
            shared.metrics.request_throttle_queue_time_ms.record(waited_ms);
        }
        past
    }

    /// Whether a request that takes no room in the pipeline may go on: it may have waited behind others.
    pub fn admit_read(
        &self,
        now: Now,
        op: OpCode,
        timeout_ms: i32,
        config: &AdmissionConfig,
        shared: &Shared,
    ) -> Admission {
        if config.requests_max == 0 {
            return Admission::Go;
        }
        let past = self.judge(now, op, timeout_ms, config, shared);
        if past == Admission::Throttled {
            shared.metrics.throttled_ops.add(1);
        }
        past
    }

    /// What the time that a request has waited makes of it.
    fn judge(
        &self,
        now: Now,
        op: OpCode,
        timeout_ms: i32,
        config: &AdmissionConfig,
        shared: &Shared,
    ) -> Admission {
        let waited_ms = self.waited_ms(now);
        let timeout_ms = u64::try_from(timeout_ms).unwrap_or(0);
        if config.drops_late && op != OpCode::CloseSession && waited_ms > timeout_ms {
            shared.metrics.stale_requests_dropped.add(1);
            return Admission::Late;
        }
        let is_throttlable = !matches!(op, OpCode::Ping | OpCode::CloseSession);
        match is_throttlable && config.wait_max_ms.is_some_and(|max| waited_ms > max) {
            true => Admission::Throttled,
            false => Admission::Go,
        }
    }

    fn waited_ms(&self, now: Now) -> u64 {
        self.since.map_or(0, |(since, _)| (now.mono - since).0)
    }
}

/// Large requests of one connection that are not answered yet.
#[derive(Debug, Default)]
pub(super) struct LargeRequests {
    /// The number of each among the requests, and its bytes.
    held: VecDeque<(u64, usize)>,
    submitted: u64,
    answered: u64,
}

impl LargeRequests {
    /// A request of so many bytes goes on.
    pub fn submitted(&mut self, bytes: usize, config: &AdmissionConfig, shared: &Shared) {
        self.submitted += 1;
        if config.large_threshold.is_some_and(|threshold| bytes > threshold) {
            shared.large_request_bytes.fetch_add(bytes, Relaxed);
            self.held.push_back((self.submitted, bytes));
        }
    }

    /// The oldest requests are answered.
    pub fn answered(&mut self, count: u32, shared: &Shared) {
        self.answered += u64::from(count);
        while let Some((_, bytes)) = self.held.pop_front_if(|(number, _)| *number <= self.answered) {
            shared.large_request_bytes.fetch_sub(bytes, Relaxed);
        }
    }

    /// None will be answered any more.
    pub fn forget(&mut self, shared: &Shared) {
        self.answered = self.submitted;
        self.answered(0, shared);
    }
}

#[cfg(test)]
mod tests;
