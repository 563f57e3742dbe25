//! How many connect requests are let through (BlueThrottle): tokens that come back with time, and, while they
//! are used up, connections that are dropped by chance.

use crate::clock::Millis;
use crate::prng::Prng;

/// The keys `connection_throttle_*`. Probabilities are in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionThrottleConfig {
    /// `tokens`: as many connect requests at once; 0 for any number.
    pub tokens: u32,
    /// `fill_time`, in milliseconds: after more than this tokens come back.
    pub fill_time_ms: u32,
    /// `fill_count`: how many come back in that time.
    pub fill_count: u32,
    /// `freeze_time`, in milliseconds between two changes of the probability; `None` drops nothing by chance.
    pub freeze_time_ms: Option<u32>,
    /// `drop_increase`: how much more is dropped while there is no token.
    pub drop_increase: u32,
    /// `drop_decrease`: how much less is dropped while there are enough.
    pub drop_decrease: u32,
    /// `decrease_ratio`: which part of the tokens may be used up for that.
    pub decrease_ratio: u32,
    /// `weight_enabled`: a connect request takes as many tokens as its kind of session is worth.
    pub is_weighed: bool,
    /// `global_session_weight`.
    pub global_weight: u32,
    /// `renew_session_weight`.
    pub renew_weight: u32,
    /// `local_session_weight`.
    pub local_weight: u32,
}

impl Default for ConnectionThrottleConfig {
    fn default() -> ConnectionThrottleConfig {
        ConnectionThrottleConfig {
            tokens: 0,
            fill_time_ms: 1,
            fill_count: 1,
            freeze_time_ms: None,
            drop_increase: 20_000,
            drop_decrease: 2_000,
            decrease_ratio: 0,
            is_weighed: false,
            global_weight: 3,
            renew_weight: 2,
            local_weight: 1,
        }
    }
}

/// What a connect request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectKind {
    /// A session that the whole ensemble knows.
    Global,
    /// One that only this server knows.
    Local,
    /// A session that there is already.
    Renewal,
}

/// Lets connect requests through, or not.
#[derive(Clone, Debug)]
pub struct ConnectionThrottle {
    config: ConnectionThrottleConfig,
    tokens_max: u64,
    tokens: u64,
    fill_count: u64,
    filled_at: Millis,
    frozen_at: Millis,
    /// In millionths.
    drop: u32,
    prng: Prng,
}

impl ConnectionThrottle {
    /// One with all its tokens.
    pub fn new(config: ConnectionThrottleConfig, now: Millis, seed: u64) -> ConnectionThrottle {
        let weight = match config.is_weighed {
            true => u64::from(config.global_weight),
            false => 1,
        };
        let tokens_max = u64::from(config.tokens) * weight;
        ConnectionThrottle {
            config,
            tokens_max,
            tokens: tokens_max,
            fill_count: u64::from(config.fill_count) * weight,
            filled_at: now,
            frozen_at: now,
            drop: 0,
            prng: Prng::new(seed),
        }
    }

    /// Whether a connect request may go on; its tokens are taken then.
    pub fn admit(&mut self, now: Millis, kind: ConnectKind) -> bool {
        if self.tokens_max == 0 {
            return true;
        }
        self.fill(now);
        if let Some(freeze_time_ms) = self.config.freeze_time_ms
            && self.is_dropped(now, Millis(freeze_time_ms.into()))
        {
            return false;
        }
        let need = self.need(kind);
        if self.tokens < need {
            return false;
        }
        self.tokens -= need;
        true
    }

    /// How many tokens are taken.
    pub fn deficit(&self) -> u64 {
        self.tokens_max - self.tokens
    }

    /// The probability with which a connect request is dropped.
    pub fn drop_probability(&self) -> f64 {
        f64::from(self.drop) / f64::from(CERTAIN)
    }

    fn need(&self, kind: ConnectKind) -> u64 {
        let weight = match kind {
            _ if !self.config.is_weighed => 1,
            ConnectKind::Global => self.config.global_weight,
            ConnectKind::Local => self.config.local_weight,
            ConnectKind::Renewal => self.config.renew_weight,
        };
        weight.into()
    }

    fn fill(&mut self, now: Millis) {
        let since = (now - self.filled_at).0;
        let fill_time_ms = u64::from(self.config.fill_time_ms.max(1));
        if since > fill_time_ms {
            let refill = u128::from(since) * u128::from(self.fill_count) / u128::from(fill_time_ms);
            let refill = u64::try_from(refill).unwrap_or(u64::MAX);
            self.tokens = self.tokens.saturating_add(refill).min(self.tokens_max);
            self.filled_at = now;
        }
    }

    /// BLUE: the probability goes up while all tokens are taken and down while few are, a step at a time.
    fn is_dropped(&mut self, now: Millis, freeze_time: Millis) -> bool {
        if now - self.frozen_at > freeze_time {
            let taken = self.deficit();
            let few = (self.tokens_max * u64::from(self.config.decrease_ratio) + u64::from(CERTAIN) / 2)
                / u64::from(CERTAIN);
            if taken == self.tokens_max && self.drop < CERTAIN {
                self.drop = self.drop.saturating_add(self.config.drop_increase).min(CERTAIN);
            } else if taken <= few {
                self.drop = self.drop.saturating_sub(self.config.drop_decrease);
            }
            self.frozen_at = now;
        }
        self.drop > 0 && self.prng.below(CERTAIN.into()) < u64::from(self.drop)
    }
}

/// A probability of one.
const CERTAIN: u32 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn throttle(config: ConnectionThrottleConfig) -> ConnectionThrottle {
        ConnectionThrottle::new(config, Millis(0), 1)
    }

    fn admitted(throttle: &mut ConnectionThrottle, now: u64, kind: ConnectKind, tries: usize) -> usize {
        let tries = (0..tries).filter(|_| throttle.admit(Millis(now), kind));
        tries.count()
    }

    #[test]
    fn without_tokens_everybody_is_let_through() {
        let mut throttle = throttle(ConnectionThrottleConfig::default());
        assert_eq!(admitted(&mut throttle, 0, ConnectKind::Global, 10_000), 10_000);
    }

    #[test]
    fn tokens_come_back_with_time() {
        let mut throttle = throttle(ConnectionThrottleConfig {
            tokens: 10,
            fill_time_ms: 100,
            fill_count: 2,
            ..ConnectionThrottleConfig::default()
        });
        assert_eq!(admitted(&mut throttle, 0, ConnectKind::Global, 30), 10);
        assert_eq!(throttle.deficit(), 10);
        assert_eq!(admitted(&mut throttle, 100, ConnectKind::Renewal, 30), 0);
        assert_eq!(admitted(&mut throttle, 150, ConnectKind::Renewal, 30), 3);
        assert_eq!(admitted(&mut throttle, u64::MAX, ConnectKind::Local, 30), 10);
        assert_eq!(throttle.drop_probability(), 0.0);
    }

    #[test]
    fn sessions_weigh_what_they_cost() {
        let config = ConnectionThrottleConfig {
            tokens: 4,
            is_weighed: true,
            ..ConnectionThrottleConfig::default()
        };
        for (kind, count) in [
            (ConnectKind::Global, 4),
            (ConnectKind::Renewal, 6),
            (ConnectKind::Local, 12),
        ] {
            assert_eq!(admitted(&mut throttle(config), 0, kind, 30), count, "{kind:?}");
        }
    }

    #[test]
    fn chance_grows_while_there_is_no_token_and_shrinks_when_there_are() {
        let mut throttle = throttle(ConnectionThrottleConfig {
            tokens: 1,
            fill_time_ms: 1_000_000,
            freeze_time_ms: Some(10),
            drop_increase: 300_000,
            drop_decrease: 600_000,
            ..ConnectionThrottleConfig::default()
        });
        assert!(throttle.admit(Millis(0), ConnectKind::Global));
        for (at, drop) in [(11, 0.3), (21, 0.3), (22, 0.6), (33, 0.9), (44, 1.0), (55, 1.0)] {
            assert!(!throttle.admit(Millis(at), ConnectKind::Global));
            assert!((throttle.drop_probability() - drop).abs() < 1e-9, "{at}");
        }
        // The token is back, but the next is still dropped by chance at first.
        for (at, drop) in [(3_000_000, 0.4), (3_000_011, 0.0)] {
            throttle.admit(Millis(at), ConnectKind::Global);
            throttle.tokens = 1;
            assert!((throttle.drop_probability() - drop).abs() < 1e-9, "{at}");
        }
        assert!(throttle.admit(Millis(3_000_022), ConnectKind::Global));
    }
}
