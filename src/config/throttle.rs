//! What connections and requests are held to when there are many: the keys, and what they set.

use super::draft::Draft;
use super::keys::{BYTES, INT_MAX, INT_MIN, Key, MILLIS, Rule, narrow, property};
use crate::session::ConnectionThrottleConfig;

/// What connections and requests are held to when there are many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThrottleConfig {
    /// `request_throttle_max_requests`: beyond so many in the pipeline others wait; 0 = no limit.
    pub requests_max: u32,
    /// `request_throttle_stall_time`: how long they wait until it is looked at again.
    pub stall_ms: u32,
    /// `request_throttle_drop_stale`: stale requests are dropped, with their connection.
    pub drops_stale: bool,
    /// `request_stale_connection_check`: a request is stale whose client is gone.
    pub is_gone_stale: bool,
    /// `request_stale_latency_check`: a request is stale that has waited longer than its session's timeout.
    pub is_late_stale: bool,
    /// `throttled_op_wait_time`: a request that has waited longer is refused; None = off.
    pub wait_max_ms: Option<u32>,
    /// `largeRequestThreshold`, in bytes: beyond it a request is large; None = off.
    pub large_threshold: Option<u32>,
    /// `largeRequestMaxBytes`: bytes of all large requests that are not answered yet.
    pub large_bytes_max: u32,
    /// `enableEagerACLCheck`: a member looks at ACLs before it asks the leader.
    pub checks_acls_early: bool,
    /// `connection_throttle_*`: which connect requests go on.
    pub connections: ConnectionThrottleConfig,
}

impl Default for ThrottleConfig {
    fn default() -> Self {
        ThrottleConfig {
            requests_max: 0,
            stall_ms: 100,
            drops_stale: true,
            is_gone_stale: true,
            is_late_stale: false,
            wait_max_ms: None,
            large_threshold: None,
            large_bytes_max: 100 << 20,
            checks_acls_early: false,
            connections: ConnectionThrottleConfig::default(),
        }
    }
}

/// The keys.
pub(super) static THROTTLE_KEYS: &[Key] = &[
    property(
        "request_throttle_max_requests",
        Rule::Int(0, INT_MAX, "requests, 0 = no limit", |d, v| {
            throttle(d).requests_max = narrow(v)
        }),
    ),
    property(
        "request_throttle_stall_time",
        Rule::Int(1, INT_MAX, MILLIS, |d, v| throttle(d).stall_ms = narrow(v)),
    ),
    property(
        "request_throttle_drop_stale",
        Rule::Bool(|d, v| throttle(d).drops_stale = v),
    ),
    property(
        "request_stale_connection_check",
        Rule::Bool(|d, v| throttle(d).is_gone_stale = v),
    ),
    property(
        "request_stale_latency_check",
        Rule::Bool(|d, v| throttle(d).is_late_stale = v),
    ),
    property(
        "throttled_op_wait_time",
        Rule::Int(INT_MIN, INT_MAX, "milliseconds, below 1 = off", |d, v| {
            throttle(d).wait_max_ms = (v > 0).then(|| narrow(v));
        }),
    ),
    property(
        "largeRequestThreshold",
        Rule::Int(INT_MIN, INT_MAX, "bytes, below 1 = off", |d, v| {
            throttle(d).large_threshold = (v > 0).then(|| narrow(v));
        }),
    ),
    property(
        "largeRequestMaxBytes",
        Rule::Int(1, INT_MAX, BYTES, |d, v| throttle(d).large_bytes_max = narrow(v)),
    ),
    property(
        "enableEagerACLCheck",
        Rule::Bool(|d, v| throttle(d).checks_acls_early = v),
    ),
    property(
        "connection_throttle_tokens",
        Rule::Int(0, INT_MAX, "connect requests, 0 = no limit", |d, v| {
            connections(d).tokens = narrow(v)
        }),
    ),
    property(
        "connection_throttle_fill_time",
        Rule::Int(1, INT_MAX, MILLIS, |d, v| connections(d).fill_time_ms = narrow(v)),
    ),
    property(
        "connection_throttle_fill_count",
        Rule::Int(0, INT_MAX, "connect requests", |d, v| {
            connections(d).fill_count = narrow(v)
        }),
    ),
    property(
        "connection_throttle_freeze_time",
        Rule::Int(-1, INT_MAX, "milliseconds, -1 = off", |d, v| {
            connections(d).freeze_time_ms = (v >= 0).then(|| narrow(v));
        }),
    ),
    property(
        "connection_throttle_drop_increase",
        Rule::Word(|d, v| probability(v).map(|v| connections(d).drop_increase = v)),
    ),
    property(
        "connection_throttle_drop_decrease",
        Rule::Word(|d, v| probability(v).map(|v| connections(d).drop_decrease = v)),
    ),
    property(
        "connection_throttle_decrease_ratio",
        Rule::Word(|d, v| probability(v).map(|v| connections(d).decrease_ratio = v)),
    ),
    property(
        "connection_throttle_weight_enabled",
        Rule::Bool(|d, v| connections(d).is_weighed = v),
    ),
    property(
        "connection_throttle_global_session_weight",
        Rule::Int(1, INT_MAX, TOKENS, |d, v| {
            connections(d).global_weight = narrow(v)
        }),
    ),
    property(
        "connection_throttle_renew_session_weight",
        Rule::Int(1, INT_MAX, TOKENS, |d, v| connections(d).renew_weight = narrow(v)),
    ),
    property(
        "connection_throttle_local_session_weight",
        Rule::Int(1, INT_MAX, TOKENS, |d, v| connections(d).local_weight = narrow(v)),
    ),
];

fn throttle(draft: &mut Draft) -> &mut ThrottleConfig {
    &mut draft.config.throttle
}

fn connections(draft: &mut Draft) -> &mut ConnectionThrottleConfig {
    &mut draft.config.throttle.connections
}

/// A number from 0 to 1, in millionths.
fn probability(text: &str) -> Result<u32, String> {
    let number: Option<f64> = text.parse().ok().filter(|number| (0.0..=1.0).contains(number));
    match number {
        Some(number) => Ok((number * 1e6).round() as u32),
        None => Err(format!(
            "found \"{text}\", it must be a number from 0 to 1, as in 0.02"
        )),
    }
}

const TOKENS: &str = "tokens";
