//! Many runs on all cores.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::failure::{Failure, attempt};
use super::generate;
use super::plan::Tier;
use super::run::{Summary, Totals};

/// Which runs.
#[derive(Clone, Copy, Debug)]
pub struct Fleet {
    pub tier: Tier,
    pub from: u64,
    pub count: u64,
    /// Ends earlier then.
    pub limit: Option<Duration>,
    /// Ends at so many failures.
    pub failures_max: usize,
}

/// What they came to.
#[derive(Default)]
pub struct Report {
    pub seeds: u64,
    pub twice: u64,
    pub took: Duration,
    pub totals: Totals,
    pub failures: Vec<(u64, Failure)>,
}

impl Fleet {
    pub fn run(self) -> Report {
        let start = Instant::now();
        let next = AtomicU64::new(self.from);
        let report = Mutex::new(Report::default());
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| self.work(&next, &report, start));
            }
        });
        let mut report = report.into_inner().unwrap();
        report.took = start.elapsed();
        report.failures.sort_by_key(|(seed, _)| *seed);
        report
    }

    fn work(&self, next: &AtomicU64, report: &Mutex<Report>, start: Instant) {
        let mut own = Report::default();
        loop {
            let seed = next.fetch_add(1, Relaxed);
            let is_late = self.limit.is_some_and(|limit| start.elapsed() > limit);
            if seed >= self.from + self.count || is_late {
                break;
            }
            own.seeds += 1;
            match self.one(seed, &mut own) {
                Ok(summary) => own.totals.add(&summary.totals),
                Err(failure) => own.failures.push((seed, failure)),
            }
            if own.failures.len() >= self.failures_max {
                next.store(u64::MAX / 2, Relaxed);
            }
        }
        report.lock().unwrap().merge(own);
    }

    /// One run; one in a hundred is made twice, and has to be the same.
    fn one(&self, seed: u64, own: &mut Report) -> Result<Summary, Failure> {
        let plan = generate::plan(self.tier, seed);
        let summary = attempt(&plan)?;
        if seed.is_multiple_of(100) {
            own.twice += 1;
            let again = attempt(&plan)?;
            if again.hash != summary.hash {
                return Err(Failure {
                    law: "the same seed".into(),
                    text: format!("two runs differ: {:#x} and {:#x}", summary.hash, again.hash),
                });
            }
        }
        Ok(summary)
    }
}

impl Report {
    fn merge(&mut self, other: Report) {
        self.seeds += other.seeds;
        self.twice += other.twice;
        self.totals.add(&other.totals);
        self.failures.extend(other.failures);
    }

    pub fn print(&self, tier: Tier, from: u64) {
        let seconds = self.took.as_secs_f64();
        println!(
            "{tier:?}: {} seeds from {from} in {seconds:.1} s ({:.0} a minute), {} of them twice",
            self.seeds,
            self.seeds as f64 * 60.0 / seconds.max(0.001),
            self.twice
        );
        println!(
            "  {:.1} hours of simulated time, {} inputs, {} answers, {} commits, {} epochs",
            self.totals.virtual_ms as f64 / 3_600_000.0,
            self.totals.inputs,
            self.totals.answers,
            self.totals.commits,
            self.totals.epochs
        );
    }
}
