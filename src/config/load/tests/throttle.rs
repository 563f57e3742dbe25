//! The keys that hold connections and requests back.

use super::{Place, accepted};
use crate::config::problem::Severity;
use crate::config::server_config::ServerConfig;

type Holds = fn(&ServerConfig) -> bool;

const FIELDS: &[(&str, Holds)] = &[
    ("request_throttle_max_requests=7", |c| {
        c.throttle.requests_max == 7
    }),
    ("request_throttle_stall_time=5", |c| c.throttle.stall_ms == 5),
    ("request_throttle_drop_stale=false", |c| !c.throttle.drops_stale),
    ("request_stale_connection_check=false", |c| {
        !c.throttle.is_gone_stale
    }),
    ("request_stale_latency_check=true", |c| c.throttle.is_late_stale),
    ("throttled_op_wait_time=9", |c| c.throttle.wait_max_ms == Some(9)),
    ("throttled_op_wait_time=0", |c| c.throttle.wait_max_ms.is_none()),
    ("largeRequestThreshold=1000", |c| {
        c.throttle.large_threshold == Some(1000)
    }),
    ("largeRequestThreshold=-1", |c| {
        c.throttle.large_threshold.is_none()
    }),
    ("largeRequestMaxBytes=5000", |c| {
        c.throttle.large_bytes_max == 5000
    }),
    ("enableEagerACLCheck=true", |c| c.throttle.checks_acls_early),
    ("connection_throttle_tokens=11", |c| {
        c.throttle.connections.tokens == 11
    }),
    ("connection_throttle_fill_time=12", |c| {
        c.throttle.connections.fill_time_ms == 12
    }),
    ("connection_throttle_fill_count=13", |c| {
        c.throttle.connections.fill_count == 13
    }),
    ("connection_throttle_freeze_time=14", |c| {
        c.throttle.connections.freeze_time_ms == Some(14)
    }),
    ("connection_throttle_freeze_time=-1", |c| {
        c.throttle.connections.freeze_time_ms.is_none()
    }),
    ("connection_throttle_drop_increase=0.5", |c| {
        c.throttle.connections.drop_increase == 500_000
    }),
    ("connection_throttle_drop_decrease=0.001", |c| {
        c.throttle.connections.drop_decrease == 1000
    }),
    ("connection_throttle_decrease_ratio=1", |c| {
        c.throttle.connections.decrease_ratio == 1_000_000
    }),
    ("connection_throttle_weight_enabled=true", |c| {
        c.throttle.connections.is_weighed
    }),
    ("connection_throttle_global_session_weight=5", |c| {
        c.throttle.connections.global_weight == 5
    }),
    ("connection_throttle_renew_session_weight=6", |c| {
        c.throttle.connections.renew_weight == 6
    }),
    ("connection_throttle_local_session_weight=2", |c| {
        c.throttle.connections.local_weight == 2
    }),
    (
        "enforce.auth.enabled=true\nenforce.auth.schemes=digest, ip",
        |c| c.auth.enforced_schemes == ["digest", "ip"],
    ),
    ("enforce.auth.schemes=sasl", |c| {
        c.auth.enforced_schemes.is_empty()
    }),
];

#[test]
fn every_key_sets_its_field() {
    for (line, holds) in FIELDS {
        assert!(holds(&accepted(line)), "{line}");
    }
}

/// What is said of the last of these lines, or of the first.
fn said(lines: &str, severity: Severity) -> Vec<String> {
    let place = Place::zoo_cfg(lines);
    place.problems(&place.load(), severity)
}

#[test]
fn probabilities_and_weights_are_within_their_limits() {
    let said_of = |line: &str| said(line, Severity::Error).join("\n");
    for line in ["drop_increase=1.5", "drop_decrease=-1", "decrease_ratio=x"] {
        let text = said_of(&format!("connection_throttle_{line}"));
        assert!(text.contains("it must be a number from 0 to 1"), "{text}");
    }
    let lines = "connection_throttle_local_session_weight=3";
    let text = said(lines, Severity::Warning).join("\n");
    assert!(
        text.contains("connection_throttle_renew_session_weight: 2 is less than"),
        "{text}"
    );
    assert_eq!(accepted(lines).throttle.connections.renew_weight, 3);
}

#[test]
fn schemes_that_are_not_offered_are_not_waited_for() {
    for (lines, expected) in [
        ("enforce.auth.enabled=true", "enforce.auth.schemes is not set"),
        (
            "enforce.auth.enabled=true\nenforce.auth.schemes=sasl",
            "Authentication scheme sasl is not available here, so no client could be served",
        ),
        (
            "enforce.auth.enabled=true\nenforce.auth.schemes=digest\n\
             DigestAuthenticationProvider.enabled=false",
            "Authentication scheme digest is not available here",
        ),
        (
            "sessionRequireClientSASLAuth=true",
            "clients that do not authenticate would be served",
        ),
    ] {
        let text = said(lines, Severity::Error).join("\n");
        assert!(text.contains(expected), "{lines}: {text}");
    }
    let lines = "enforce.auth.enabled=true\nenforce.auth.schemes=sasl,digest";
    let text = said(lines, Severity::Warning).join("\n");
    assert!(
        text.contains("sasl is not available here: clients have to use digest"),
        "{text}"
    );
    assert_eq!(accepted(lines).auth.enforced_schemes, ["digest"]);
}
