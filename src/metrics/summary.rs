//! Counters and summaries. Each value of one is exact; several read together may be from moments apart.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Goes up.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// The sum of what was added.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Back to zero.
    pub fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// The least, the greatest and the mean of what was recorded (AvgMinMaxCounter).
#[derive(Debug)]
pub struct Summary {
    min: AtomicU64,
    max: AtomicU64,
    count: AtomicU64,
    sum: AtomicU64,
}

impl Default for Summary {
    fn default() -> Summary {
        Summary {
            min: AtomicU64::new(u64::MAX),
            max: AtomicU64::new(0),
            count: AtomicU64::new(0),
            sum: AtomicU64::new(0),
        }
    }
}

impl Summary {
    /// Records a value.
    pub fn record(&self, value: u64) {
        self.record_many(value, 1);
    }

    /// Records the same value several times for the price of once: for requests executed together.
    pub fn record_many(&self, value: u64, times: u64) {
        if times == 0 {
            return;
        }
        self.count.fetch_add(times, Ordering::Relaxed);
        self.sum.fetch_add(value.wrapping_mul(times), Ordering::Relaxed);
        // Looked at before they are written: extremes are rare, and a shared write is dear.
        if value < self.min.load(Ordering::Relaxed) {
            self.min.fetch_min(value, Ordering::Relaxed);
        }
        if value > self.max.load(Ordering::Relaxed) {
            self.max.fetch_max(value, Ordering::Relaxed);
        }
    }

    /// How many values.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// All of them together.
    pub fn sum(&self) -> u64 {
        self.sum.load(Ordering::Relaxed)
    }

    /// The least, 0 if there is none.
    pub fn min(&self) -> u64 {
        match self.min.load(Ordering::Relaxed) {
            u64::MAX => 0,
            min => min,
        }
    }

    /// The greatest, 0 if there is none.
    pub fn max(&self) -> u64 {
        self.max.load(Ordering::Relaxed)
    }

    /// The mean, to four decimals, 0 if there is none.
    pub fn avg(&self) -> f64 {
        match self.count() {
            0 => 0.0,
            count => (self.sum() as f64 / count as f64 * 1e4).round() / 1e4,
        }
    }

    /// As if nothing had been recorded.
    pub fn reset(&self) {
        self.min.store(u64::MAX, Ordering::Relaxed);
        self.max.store(0, Ordering::Relaxed);
        self.count.store(0, Ordering::Relaxed);
        self.sum.store(0, Ordering::Relaxed);
    }
}

/// A summary that knows its quantiles (AvgMinMaxPercentileCounter), to within a sixteenth.
#[derive(Debug)]
pub struct Histogram {
    summary: Summary,
    buckets: [AtomicU64; BUCKETS],
}

/// Below which values half, 95 %, 99 % and 99.9 % of all lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quantiles {
    /// The median.
    pub p50: u64,
    /// 95 %.
    pub p95: u64,
    /// 99 %.
    pub p99: u64,
    /// 99.9 %.
    pub p999: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram {
            summary: Summary::default(),
            buckets: [const { AtomicU64::new(0) }; BUCKETS],
        }
    }
}

impl Histogram {
    /// Records a value.
    pub fn record(&self, value: u64) {
        self.record_many(value, 1);
    }

    /// Records the same value several times for the price of once.
    pub fn record_many(&self, value: u64, times: u64) {
        self.summary.record_many(value, times);
        self.buckets[bucket_of(value)].fetch_add(times, Ordering::Relaxed);
    }

    /// Least, greatest, mean, count and sum.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// All four at once.
    pub fn quantiles(&self) -> Quantiles {
        let counts: Vec<u64> = self
            .buckets
            .iter()
            .map(|bucket| bucket.load(Ordering::Relaxed))
            .collect();
        let total: u64 = counts.iter().sum();
        let at = |per_mille: u64| {
            let rank = (total * per_mille).div_ceil(1000).max(1);
            let mut seen = 0;
            let bucket = counts.iter().position(|count| {
                seen += count;
                seen >= rank
            });
            bucket.map_or(0, |bucket| greatest_of(bucket).min(self.summary.max()))
        };
        Quantiles {
            p50: at(500),
            p95: at(950),
            p99: at(990),
            p999: at(999),
        }
    }

    /// As if nothing had been recorded.
    pub fn reset(&self) {
        self.summary.reset();
        self.buckets
            .iter()
            .for_each(|bucket| bucket.store(0, Ordering::Relaxed));
    }
}

/// The last, the least and the greatest size of a reply, in bytes; -1 before the first (BufferStats).
#[derive(Debug)]
pub struct ResponseSize {
    last: AtomicI64,
    min: AtomicI64,
    max: AtomicI64,
}

impl Default for ResponseSize {
    fn default() -> ResponseSize {
        ResponseSize {
            last: AtomicI64::new(-1),
            min: AtomicI64::new(-1),
            max: AtomicI64::new(-1),
        }
    }
}

impl ResponseSize {
    /// Records the size of a reply.
    pub fn record(&self, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.last.store(bytes, Ordering::Relaxed);
        let min = self.min.load(Ordering::Relaxed);
        if min == -1 || bytes < min {
            self.min.store(bytes, Ordering::Relaxed);
        }
        if bytes > self.max.load(Ordering::Relaxed) {
            self.max.fetch_max(bytes, Ordering::Relaxed);
        }
    }

    /// The last.
    pub fn last(&self) -> i64 {
        self.last.load(Ordering::Relaxed)
    }

    /// The least.
    pub fn min(&self) -> i64 {
        self.min.load(Ordering::Relaxed)
    }

    /// The greatest.
    pub fn max(&self) -> i64 {
        self.max.load(Ordering::Relaxed)
    }

    /// As if there had been none.
    pub fn reset(&self) {
        for field in [&self.last, &self.min, &self.max] {
            field.store(-1, Ordering::Relaxed);
        }
    }
}

/// Values up to 31 have a bucket each; above, sixteen buckets share every power of two, up to the last one.
fn bucket_of(value: u64) -> usize {
    if value < 2 * PER_POWER {
        return value as usize;
    }
    let shift = u64::from(value.ilog2()) - PER_POWER.ilog2() as u64;
    ((shift * PER_POWER + (value >> shift)) as usize).min(BUCKETS - 1)
}

fn greatest_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket == BUCKETS as u64 - 1 {
        return u64::MAX;
    }
    if bucket < 2 * PER_POWER {
        return bucket;
    }
    let shift = bucket / PER_POWER - 1;
    ((bucket - shift * PER_POWER + 1) << shift) - 1
}

const PER_POWER: u64 = 16;
/// Enough for values of 2^24, which is hours of milliseconds.
const BUCKETS: usize = 21 * PER_POWER as usize;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_knows_its_extremes_and_its_mean() {
        let summary = Summary::default();
        assert_eq!((summary.min(), summary.max(), summary.avg()), (0, 0, 0.0));
        summary.record(5);
        summary.record_many(2, 2);
        summary.record_many(9000, 0);
        assert_eq!(
            (summary.min(), summary.max(), summary.count(), summary.sum()),
            (2, 5, 3, 9)
        );
        assert_eq!(summary.avg(), 3.0);
        summary.record_many(0, 3);
        summary.record(1);
        assert_eq!(summary.avg(), 1.4286);
        summary.reset();
        assert_eq!(
            (summary.min(), summary.max(), summary.count(), summary.sum()),
            (0, 0, 0, 0)
        );
    }

    #[test]
    fn buckets_are_narrow_and_in_order() {
        let mut previous = 0;
        for value in 0..20_000_000u64 {
            let bucket = bucket_of(value);
            assert!(bucket == previous || bucket == previous + 1);
            assert!(greatest_of(bucket) >= value);
            if bucket < BUCKETS - 1 {
                assert!(greatest_of(bucket) <= value + value / 16);
            }
            previous = bucket;
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_those_of_the_values() {
        let histogram = Histogram::default();
        assert_eq!(histogram.quantiles(), Quantiles::default());
        histogram.record(7);
        let seven = Quantiles {
            p50: 7,
            p95: 7,
            p99: 7,
            p999: 7,
        };
        assert_eq!(histogram.quantiles(), seven);
        histogram.reset();
        (1..=1000).for_each(|value| histogram.record(value));
        let quantiles = histogram.quantiles();
        assert!((500..=531).contains(&quantiles.p50), "{quantiles:?}");
        assert!((950..=1000).contains(&quantiles.p95), "{quantiles:?}");
        assert!((999..=1000).contains(&quantiles.p999), "{quantiles:?}");
    }

    #[test]
    fn response_sizes_begin_and_are_reset_to_none() {
        let size = ResponseSize::default();
        assert_eq!((size.last(), size.min(), size.max()), (-1, -1, -1));
        [20, 16, 18].into_iter().for_each(|bytes| size.record(bytes));
        assert_eq!((size.last(), size.min(), size.max()), (18, 16, 20));
        size.reset();
        assert_eq!((size.last(), size.min(), size.max()), (-1, -1, -1));
    }
}
