//! One metric for each of the other servers of an ensemble (SummarySet), or for each of some names
//! (CounterSet).

use std::collections::BTreeMap;

use parking_lot::RwLock;

use super::summary::Counter;

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

/// Counters by name. A name has none before something is counted for it.
#[derive(Debug, Default)]
pub struct CounterSet(RwLock<BTreeMap<String, Counter>>);

impl CounterSet {
    /// Counts.
    pub fn add(&self, name: &str, count: u64) {
        if let Some(counter) = self.0.read().get(name) {
            return counter.add(count);
        }
        self.0.write().entry(name.to_owned()).or_default().add(count);
    }

    /// Shows each, in the order of the names.
    pub fn each(&self, visit: &mut dyn FnMut(&str, &Counter)) {
        self.0
            .read()
            .iter()
            .for_each(|(name, counter)| visit(name, counter));
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

    #[test]
    fn each_name_has_a_counter_once_it_is_counted() {
        let set = CounterSet::default();
        for (name, count) in [("b", 1), ("a", 5), ("b", 7)] {
            set.add(name, count);
        }
        let mut seen = Vec::new();
        set.each(&mut |name, counter| seen.push((name.to_owned(), counter.value())));
        assert_eq!(seen, [("a".to_owned(), 5), ("b".to_owned(), 8)]);
    }
}
