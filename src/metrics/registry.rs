//! Every metric that ZooKeeper's monitoring knows, under its name (ServerMetrics).
//!
//! Dashboards break over a missing name, so those are here, too, that nothing in this server moves.

use super::set::{CounterSet, MetricSet};
use super::summary::{Counter, Histogram, Summary};

/// One metric, for whoever prints them all.
#[derive(Clone, Copy, Debug)]
pub enum Metric<'a> {
    /// A number that goes up.
    Counter(&'a Counter),
    /// Least, greatest, mean, count and sum.
    Summary(&'a Summary),
    /// The same, and quantiles.
    Histogram(&'a Histogram),
    /// A summary for each server.
    SummarySet(&'a MetricSet<Summary>),
    /// A summary with quantiles for each server.
    HistogramSet(&'a MetricSet<Histogram>),
    /// A counter for each name.
    CounterSet(&'a CounterSet),
}

macro_rules! metrics {
    (
        counters { $($counter:ident)* }
        summaries { $($summary:ident)* }
        histograms { $($histogram:ident)* }
        summary_sets { $($summary_set:ident)* }
        histogram_sets { $($histogram_set:ident)* }
        counter_sets { $($counter_set:ident)* }
    ) => {
        /// All counters and summaries of a server.
        #[derive(Debug, Default)]
        pub struct Metrics {
            $(#[doc = concat!("Counts `zk_", stringify!($counter), "`.")] pub $counter: Counter,)*
            $(#[doc = concat!("Sums up `", stringify!($summary), "`.")] pub $summary: Summary,)*
            $(#[doc = concat!("Sums up `", stringify!($histogram), "`, with quantiles.")]
            pub $histogram: Histogram,)*
            $(#[doc = concat!("Sums up `N_", stringify!($summary_set), "` of server N.")]
            pub $summary_set: MetricSet<Summary>,)*
            $(#[doc = concat!("Sums up `N_", stringify!($histogram_set), "` of server N, with quantiles.")]
            pub $histogram_set: MetricSet<Histogram>,)*
            $(#[doc = concat!("Counts `NAME_", stringify!($counter_set), "` for each name.")]
            pub $counter_set: CounterSet,)*
        }

        impl Metrics {
            /// All of them with their names, in no order that means anything.
            pub fn visit<'a>(&'a self, visit: &mut dyn FnMut(&'static str, Metric<'a>)) {
                $(visit(stringify!($counter), Metric::Counter(&self.$counter));)*
                $(visit(stringify!($summary), Metric::Summary(&self.$summary));)*
                $(visit(stringify!($histogram), Metric::Histogram(&self.$histogram));)*
                $(visit(stringify!($summary_set), Metric::SummarySet(&self.$summary_set));)*
                $(visit(stringify!($histogram_set), Metric::HistogramSet(&self.$histogram_set));)*
                $(visit(stringify!($counter_set), Metric::CounterSet(&self.$counter_set));)*
            }
        }
    };
}

metrics! {
    counters {
        add_dead_watcher_stall_time bytes_received_count cnxn_closed_without_zk_server_running
        commit_count connection_drop_count connection_rejected connection_request_count
        connection_revalidate_count dead_watchers_cleared dead_watchers_queued diff_count
        digest_mismatches_count ensemble_auth_fail ensemble_auth_skip ensemble_auth_success
        insecure_admin_count large_requests_rejected learner_commit_received_count
        learner_proposal_received_count looking_count outstanding_changes_queued
        outstanding_changes_removed prep_processor_request_queued proposal_count
        quit_leading_due_to_disloyal_voter request_commit_queued request_throttle_wait_count
        requests_not_forwarded_to_commit_processor response_bytes response_packet_cache_hits
        response_packet_cache_misses response_packet_get_children_cache_hits
        response_packet_get_children_cache_misses restore_error_count restore_rate_limited_count
        revalidate_count sessionless_connections_expired skip_learner_request_to_next_processor_count
        snap_count snapshot_error_count snapshot_rate_limited_count stale_replies stale_requests
        stale_requests_dropped stale_sessions_expired sync_processor_request_queued throttled_ops
        tls_handshake_exceeded unrecoverable_error_count unsuccessful_handshake watch_bytes
    }
    summaries {
        commit_commit_proc_req_queued commit_process_time
        concurrent_request_processing_in_commit_processor connection_token_deficit dbinittime
        election_time follower_sync_time fsynctime inflight_diff_count inflight_snap_count
        leader_unavailable_time learner_request_processor_queue_size netty_queued_buffer_capacity
        node_changed_watch_count node_children_watch_count node_created_watch_count
        node_deleted_watch_count observer_sync_time pending_session_queue_size prep_process_time
        prep_processor_queue_size proposal_process_time read_commit_proc_issued
        read_commit_proc_req_queued reads_after_write_in_session_queue reads_issued_from_session_queue
        requests_in_session_queue restore_time session_queues_drained snapshottime socket_closing_time
        startup_snap_load_time startup_txns_load_time startup_txns_loaded sync_process_time
        sync_processor_batch_size sync_processor_queue_size
        time_waiting_empty_pool_in_commit_processor_read_ms unavailable_time
        write_batch_time_in_commit_processor write_commit_proc_issued write_commit_proc_req_queued
    }
    histograms {
        close_session_prep_time commit_propagation_latency dead_watchers_cleaner_latency jvm_pause_time_ms
        local_write_committed_time_ms om_commit_process_time_ms om_proposal_process_time_ms
        prep_processor_queue_time_ms propagation_latency proposal_ack_creation_latency proposal_latency
        quorum_ack_latency read_commitproc_time_ms read_final_proc_time_ms readlatency
        request_throttle_queue_time_ms server_write_committed_time_ms
        sync_processor_queue_and_flush_time_ms sync_processor_queue_flush_time_ms
        sync_processor_queue_time_ms updatelatency write_commitproc_time_ms write_final_proc_time_ms
    }
    summary_sets { learner_handler_qp_size }
    histogram_sets { ack_latency learner_handler_qp_time_ms }
    counter_sets { large_replies quota_exceeded_error_per_namespace }
}

impl Metrics {
    /// As if nothing had been recorded.
    pub fn reset(&self) {
        self.visit(&mut |_, metric| match metric {
            Metric::Counter(counter) => counter.reset(),
            Metric::Summary(summary) => summary.reset(),
            Metric::Histogram(histogram) => histogram.reset(),
            Metric::SummarySet(set) => set.each(&mut |_, summary| summary.reset()),
            Metric::HistogramSet(set) => set.each(&mut |_, histogram| histogram.reset()),
            Metric::CounterSet(set) => set.each(&mut |_, counter| counter.reset()),
        });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_metric_has_its_own_name() {
        let metrics = Metrics::default();
        let (mut names, mut count) = (BTreeSet::new(), 0);
        metrics.visit(&mut |name, _| {
            names.insert(name);
            count += 1;
        });
        assert_eq!((names.len(), count), (121, 121));
        assert!(names.contains("fsynctime"));
    }

    #[test]
    fn a_reset_reaches_all_kinds() {
        let metrics = Metrics::default();
        metrics.commit_count.add(1);
        metrics.fsynctime.record(2);
        metrics.readlatency.record(3);
        let (one, two) = (1, 2);
        metrics
            .learner_handler_qp_size
            .record(one, |queue| queue.record(4));
        metrics.ack_latency.record(two, |latency| latency.record(5));
        metrics.reset();
        assert_eq!(metrics.commit_count.value(), 0);
        assert_eq!(metrics.fsynctime.count(), 0);
        assert_eq!(metrics.readlatency.quantiles().p50, 0);
        let (mut sizes, mut latencies) = (Vec::new(), Vec::new());
        let each_size = &mut |server, size: &Summary| sizes.push((server, size.count()));
        metrics.learner_handler_qp_size.each(each_size);
        let each_latency =
            &mut |server, latency: &Histogram| latencies.push((server, latency.quantiles().p50));
        metrics.ack_latency.each(each_latency);
        assert_eq!(
            (sizes, latencies),
            (vec![(one, 0)], vec![(two, 0)]),
            "names stay where their values go"
        );
    }
}
