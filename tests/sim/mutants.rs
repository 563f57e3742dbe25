//! How many seeds it takes to catch each deliberate bug (`src/mutants.rs`).

use std::time::Duration;

use zkserver::mutants::{self, Mutant};

use super::fleet::Fleet;
use super::plan::Tier;

/// Runs the simulator against bugs and prints what it took. True if all that have to be caught were.
pub fn hunt(names: &[String], tries: u64, seeds_max: u64) -> Result<bool, String> {
    let meant: Vec<Mutant> = match names {
        [] => Mutant::ALL.to_vec(),
        names => names.iter().map(|name| name.parse()).collect::<Result<_, _>>()?,
    };
    // Without a bug the same seeds are good, or catching one proves nothing.
    mutants::set_counter_max(COUNTER_MAX);
    let mut is_good = true;
    for mutant in meant {
        mutants::set(Some(mutant));
        let full = median(Tier::Full, tries, seeds_max);
        // Who asks once asks whether, not how soon.
        let protocol = match tries == 1 && full.seeds <= seeds_max {
            true => Found::not_tried(),
            false => median(Tier::Protocol, tries, seeds_max),
        };
        let is_caught = protocol.seeds.min(full.seeds) <= seeds_max;
        is_good &= is_caught;
        let words = |found: &Found| match found.seeds {
            NOT_TRIED => "not tried".to_owned(),
            seeds if seeds > seeds_max => format!("not in {seeds_max}"),
            seeds => format!("{seeds} ({})", found.laws.join(" ")),
        };
        println!(
            "{mutant:?}: protocol {}, full {}{}",
            words(&protocol),
            words(&full),
            if is_caught { "" } else { ": NOT CAUGHT" }
        );
    }
    mutants::set(None);
    Ok(is_good)
}

struct Found {
    /// The median of the seeds that it took; more than asked for if it was not caught.
    seeds: u64,
    laws: Vec<String>,
}

impl Found {
    fn not_tried() -> Found {
        Found {
            seeds: NOT_TRIED,
            laws: Vec::new(),
        }
    }
}

const NOT_TRIED: u64 = u64::MAX - 1;

fn median(tier: Tier, tries: u64, seeds_max: u64) -> Found {
    let mut counts = Vec::new();
    let mut laws = Vec::new();
    for number in 0..tries {
        let fleet = Fleet {
            tier,
            from: (number + 1) * 100_000_000,
            count: seeds_max,
            limit: Some(LIMIT),
            failures_max: 1,
        };
        let report = fleet.run();
        match report.failures.first() {
            Some((seed, failure)) => {
                counts.push(seed - fleet.from + 1);
                laws.push(failure.law.clone());
            }
            None => counts.push(u64::MAX),
        }
    }
    counts.sort_unstable();
    laws.sort_unstable();
    laws.dedup();
    Found {
        seeds: counts[counts.len() / 2],
        laws,
    }
}

/// Epochs end early, so that one bug can be met at all.
const COUNTER_MAX: u32 = 40;
/// A bug that makes servers hang takes no longer.
const LIMIT: Duration = Duration::from_secs(60);
