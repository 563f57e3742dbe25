//! `mntr`: everything that is measured, for monitoring agents.

use std::fmt::{self, Write};

use super::{Gauges, ServerView, double, mode_name};
use crate::metrics::{Histogram, Metric, Summary};
use crate::shared::{LeadingStatus, Mode, RoleStatus, ZabState};

/// Version and states first, then gauges, then counters and summaries.
pub(super) fn mntr(out: &mut String, server: &dyn ServerView) -> fmt::Result {
    let status = server.status();
    let role = server.role();
    let (latency_min, latency_avg, latency_max) = status.latency_ms;
    line(out, "version", &status.version)?;
    line(out, "server_state", mode_name(role.mode))?;
    if let Some(name) = peer_name(role.mode) {
        line(out, "peer_state", format!("{name}{}", state_suffix(role.state)))?;
    }
    line(out, "avg_latency", double(latency_avg))?;
    line(out, "min_latency", latency_min)?;
    line(out, "max_latency", latency_max)?;
    line(out, "packets_received", status.received)?;
    line(out, "packets_sent", status.sent)?;
    line(out, "num_alive_connections", status.connections_count)?;
    line(out, "outstanding_requests", status.outstanding)?;
    line(out, "znode_count", status.node_count)?;

    let gauges = server.gauges();
    put_gauges(out, &gauges)?;
    let ensemble = server.conf().ensemble.filter(|_| role.mode != Mode::ReadOnly);
    if let Some(ensemble) = ensemble {
        line(out, "quorum_size", ensemble.quorum_size)?;
    }
    put_role(out, &role, &gauges)?;
    put_quotas(out, &gauges)?;

    let size = server.response_size();
    line(out, "last_client_response_size", size.last())?;
    line(out, "min_client_response_size", size.min())?;
    line(out, "max_client_response_size", size.max())?;

    NOT_OFFERED
        .iter()
        .try_for_each(|(name, value)| line(out, name, value))?;
    let mut written = Ok(());
    server.metrics().visit(&mut |name, metric| {
        written = written.and_then(|()| put_metric(out, name, metric));
    });
    written
}

fn put_gauges(out: &mut String, gauges: &Gauges) -> fmt::Result {
    line(out, "ephemerals_count", gauges.ephemerals_count)?;
    line(out, "watch_count", gauges.watch_count)?;
    line(out, "approximate_data_size", gauges.approximate_data_size)?;
    line(out, "global_sessions", gauges.global_sessions)?;
    line(out, "local_sessions", gauges.local_sessions)?;
    line(out, "uptime", gauges.uptime_ms)?;
    line(
        out,
        "open_file_descriptor_count",
        gauges.open_file_descriptor_count,
    )?;
    line(out, "max_file_descriptor_count", gauges.max_file_descriptor_count)?;
    line(out, "auth_failed_count", gauges.auth_failed_count)?;
    line(
        out,
        "connection_drop_probability",
        double(gauges.connection_drop_probability),
    )
}

fn put_quotas(out: &mut String, gauges: &Gauges) -> fmt::Result {
    for (namespace, totals) in &gauges.quotas {
        // A blank or a line end would break the form.
        let namespace = namespace.replace(char::is_whitespace, "_");
        for (name, value) in [
            ("quota_count_limit_per_namespace", totals.count_limit),
            ("quota_bytes_limit_per_namespace", totals.bytes_limit),
            ("quota_count_usage_per_namespace", totals.count_used),
            ("quota_bytes_usage_per_namespace", totals.bytes_used),
        ] {
            if let Some(value) = value {
                line(out, &format!("{namespace}_{name}"), value)?;
            }
        }
    }
    Ok(())
}

/// What only one role has.
fn put_role(out: &mut String, role: &RoleStatus, gauges: &Gauges) -> fmt::Result {
    match (role.mode, &role.leading) {
        (Mode::Leader, Some(leading)) => {
            line(out, "leader_uptime", gauges.uptime_ms)?;
            put_leading(out, leading)
        }
        (Mode::Observer, _) => line(
            out,
            "observer_master_id",
            role.observer_master.or(role.leader).map_or(-1, |master| master.0),
        ),
        (Mode::Follower, _) => match role.synced_observers {
            Some(count) => line(out, "synced_observers", count),
            None => Ok(()),
        },
        (Mode::Standalone | Mode::Looking | Mode::ReadOnly | Mode::Leader, _) => Ok(()),
    }
}

fn put_leading(out: &mut String, leading: &LeadingStatus) -> fmt::Result {
    let non_voting = leading.synced_non_voting_followers;
    line(out, "learners", leading.learners.len())?;
    // Apache counts those without a vote in both.
    line(out, "synced_followers", leading.synced_followers + non_voting)?;
    line(out, "synced_non_voting_followers", non_voting)?;
    line(out, "synced_observers", leading.synced_observers)?;
    line(out, "pending_syncs", leading.pending_syncs)?;
    let [last, min, max] = leading.proposal_bytes;
    line(out, "last_proposal_size", last)?;
    line(out, "min_proposal_size", min)?;
    line(out, "max_proposal_size", max)
}

/// The part as a state of the peer (QuorumPeer.getPeerState); a server that is alone is no peer, and one that
/// is read-only does not say.
fn peer_name(mode: Mode) -> Option<&'static str> {
    match mode {
        Mode::Standalone | Mode::ReadOnly => None,
        Mode::Looking => Some("looking"),
        Mode::Leader => Some("leading"),
        Mode::Follower => Some("following"),
        Mode::Observer => Some("observing"),
    }
}

fn state_suffix(state: ZabState) -> &'static str {
    match state {
        ZabState::Election => "",
        ZabState::Discovery => " - discovery",
        ZabState::Synchronization => " - synchronization",
        ZabState::Broadcast => " - broadcast",
    }
}

fn put_metric(out: &mut String, name: &str, metric: Metric<'_>) -> fmt::Result {
    match metric {
        Metric::Counter(counter) => line(out, name, counter.value()),
        Metric::Summary(summary) => put_summary(out, name, summary),
        Metric::Histogram(histogram) => put_histogram(out, name, histogram),
        Metric::SummarySet(set) => {
            let mut written = Ok(());
            set.each(&mut |server, summary| {
                written = written.and_then(|()| put_summary(out, &format!("{server}_{name}"), summary));
            });
            written
        }
        Metric::HistogramSet(set) => {
            let mut written = Ok(());
            set.each(&mut |server, histogram| {
                written = written.and_then(|()| put_histogram(out, &format!("{server}_{name}"), histogram));
            });
            written
        }
        Metric::CounterSet(set) => {
            let mut written = Ok(());
            set.each(&mut |key, counter| {
                written = written.and_then(|()| {
                    line(
                        out,
                        &format!("{}_{name}", key.replace(char::is_whitespace, "_")),
                        counter.value(),
                    )
                });
            });
            written
        }
    }
}

fn put_histogram(out: &mut String, name: &str, histogram: &Histogram) -> fmt::Result {
    put_summary(out, name, histogram.summary())?;
    let quantiles = histogram.quantiles();
    writeln!(out, "zk_p50_{name}\t{}", quantiles.p50)?;
    writeln!(out, "zk_p95_{name}\t{}", quantiles.p95)?;
    writeln!(out, "zk_p99_{name}\t{}", quantiles.p99)?;
    writeln!(out, "zk_p999_{name}\t{}", quantiles.p999)
}

fn put_summary(out: &mut String, name: &str, summary: &Summary) -> fmt::Result {
    writeln!(out, "zk_avg_{name}\t{}", double(summary.avg()))?;
    writeln!(out, "zk_min_{name}\t{}", summary.min())?;
    writeln!(out, "zk_max_{name}\t{}", summary.max())?;
    writeln!(out, "zk_cnt_{name}\t{}", summary.count())?;
    writeln!(out, "zk_sum_{name}\t{}", summary.sum())
}

fn line(out: &mut String, name: &str, value: impl fmt::Display) -> fmt::Result {
    writeln!(out, "zk_{name}\t{value}")
}

/// Gauges of what this server does not do: TLS.
const NOT_OFFERED: &[(&str, &str)] = &[
    ("outstanding_tls_handshake", "0"),
    ("non_mtls_remote_conn_count", "0"),
    ("non_mtls_local_conn_count", "0"),
];
