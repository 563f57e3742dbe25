//! When a server that looks for a leader does something without being asked.

use super::ElectionConfig;
use crate::clock::Millis;

/// The due times of one search.
#[derive(Clone, Debug)]
pub(super) struct Timers {
    resend_at: Millis,
    interval_ms: u64,
    dial_at: Millis,
    finalize_at: Option<Millis>,
}

impl Timers {
    pub fn new(now: Millis, config: &ElectionConfig) -> Timers {
        Timers {
            resend_at: now + Millis(config.min_interval_ms),
            interval_ms: config.min_interval_ms,
            dial_at: now + Millis(DIAL_INTERVAL_MS),
            finalize_at: None,
        }
    }

    /// The first of the due times.
    pub fn next(&self) -> Millis {
        let regular = self.resend_at.min(self.dial_at);
        self.finalize_at.map_or(regular, |at| at.min(regular))
    }

    /// Whether to tell the own vote again. Each time the pause doubles.
    pub fn resend(&mut self, now: Millis, config: &ElectionConfig) -> bool {
        if now < self.resend_at {
            return false;
        }
        self.interval_ms = self.interval_ms.saturating_mul(2).min(config.max_interval_ms);
        self.resend_at = now + Millis(self.interval_ms);
        true
    }

    /// The next time is soon: something is happening among the others.
    pub fn hasten(&mut self, now: Millis, config: &ElectionConfig) {
        self.interval_ms = config.min_interval_ms;
        self.resend_at = self.resend_at.min(now + Millis(self.interval_ms));
    }

    /// Whether to dial those that cannot be reached. The pause stays short: after a partition heals,
    /// nothing else brings its sides together.
    pub fn dial(&mut self, now: Millis) -> bool {
        if now < self.dial_at {
            return false;
        }
        self.dial_at = now + Millis(DIAL_INTERVAL_MS);
        true
    }

    /// A quorum agrees: from now on better votes have this long to arrive.
    pub fn arm_finalize(&mut self, now: Millis, config: &ElectionConfig) {
        let at = now + Millis(config.finalize_wait_ms);
        self.finalize_at.get_or_insert(at);
    }

    /// The quorum agrees no longer, or on something else.
    pub fn cancel_finalize(&mut self) {
        self.finalize_at = None;
    }

    /// Whether nothing better has come in time.
    pub fn is_final(&self, now: Millis) -> bool {
        self.finalize_at.is_some_and(|at| at <= now)
    }
}

/// Pause between two attempts to reach those that cannot be reached.
const DIAL_INTERVAL_MS: u64 = 1000;
