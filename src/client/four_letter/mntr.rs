//! `mntr`: everything that is measured, for monitoring agents.

use std::fmt::{self, Write};

use super::{ServerView, double};
use crate::metrics::{Metric, Summary};

/// Version and state first, then gauges, then counters and summaries.
pub(super) fn mntr(out: &mut String, server: &dyn ServerView) -> fmt::Result {
    let status = server.status();
    let (latency_min, latency_avg, latency_max) = status.latency_ms;
    line(out, "version", &status.version)?;
    line(out, "server_state", status.mode.name())?;
    line(out, "avg_latency", double(latency_avg))?;
    line(out, "min_latency", latency_min)?;
    line(out, "max_latency", latency_max)?;
    line(out, "packets_received", status.received)?;
    line(out, "packets_sent", status.sent)?;
    line(out, "num_alive_connections", status.connections_count)?;
    line(out, "outstanding_requests", status.outstanding)?;
    line(out, "znode_count", status.node_count)?;

    let gauges = server.gauges();
    line(out, "ephemerals_count", gauges.ephemerals_count)?;
    line(out, "watch_count", gauges.watch_count)?;
    line(out, "approximate_data_size", gauges.approximate_data_size)?;
    line(out, "global_sessions", gauges.global_sessions)?;
    line(out, "uptime", gauges.uptime_ms)?;
    line(
        out,
        "open_file_descriptor_count",
        gauges.open_file_descriptor_count,
    )?;
    line(out, "max_file_descriptor_count", gauges.max_file_descriptor_count)?;
    line(out, "auth_failed_count", gauges.auth_failed_count)?;

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

fn put_metric(out: &mut String, name: &str, metric: Metric<'_>) -> fmt::Result {
    match metric {
        Metric::Counter(counter) => line(out, name, counter.value()),
        Metric::Summary(summary) => put_summary(out, name, summary),
        Metric::Histogram(histogram) => {
            put_summary(out, name, histogram.summary())?;
            let quantiles = histogram.quantiles();
            writeln!(out, "zk_p50_{name}\t{}", quantiles.p50)?;
            writeln!(out, "zk_p95_{name}\t{}", quantiles.p95)?;
            writeln!(out, "zk_p99_{name}\t{}", quantiles.p99)?;
            writeln!(out, "zk_p999_{name}\t{}", quantiles.p999)
        }
    }
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

/// Gauges of what this server does not do: drop connections by chance, local sessions, TLS.
const NOT_OFFERED: &[(&str, &str)] = &[
    ("connection_drop_probability", "0.0"),
    ("local_sessions", "0"),
    ("outstanding_tls_handshake", "0"),
    ("non_mtls_remote_conn_count", "0"),
    ("non_mtls_local_conn_count", "0"),
];
