//! One metric for each of the other servers of an ensemble (SummarySet).

use std::collections::BTreeMap;

use parking_lot::RwLock;

/// Metrics of one kind by the number of a server. A server has none before something is recorded for it.
#[derive(Debug, Default)]
pub struct MetricSet<M>(RwLock<BTreeMap<i64, M>>);

impl<M: Default> MetricSet<M> {
    /// Records something with the metric of a server.
    pub fn record(&self, server: i64, record: impl FnOnce(&M)) {
        if let Some(metric) = self.0.read().get(&server) {
            return record(metric);
        }
        record(self.0.write().entry(server).or_default());
    }

    /// Shows each, in the order of the servers.
    pub fn each(&self, visit: &mut dyn FnMut(i64, &M)) {
        self.0
            .read()
            .iter()
            .for_each(|(server, metric)| visit(*server, metric));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Summary;

    #[test]
    fn each_server_has_a_metric_once_it_is_recorded() {
        let set = MetricSet::<Summary>::default();
        for (server, value) in [(3, 1), (1, 5), (3, 7)] {
            set.record(server, |summary| summary.record(value));
        }
        let mut seen = Vec::new();
        set.each(&mut |server, summary| seen.push((server, summary.count(), summary.sum())));
        assert_eq!(seen, [(1, 1, 5), (3, 2, 8)]);
    }
}
