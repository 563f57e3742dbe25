//! The command line.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::failure::{self, Failure, attempt, attempt_with_trace};
use super::fleet::Fleet;
use super::generate;
use super::plan::{Plan, Tier};
use super::shrink::shrink;

/// What is asked for.
#[derive(Debug, Default)]
pub struct Options {
    tiers: Vec<Tier>,
    seed: Option<u64>,
    replay: Option<PathBuf>,
    from: Option<u64>,
    count: Option<u64>,
    seconds: Option<u64>,
    keep: Option<PathBuf>,
    mutants: Option<Vec<String>>,
    tries: Option<u64>,
    prints_marks: bool,
    is_long: bool,
}

const USAGE: &str = "usage: sim [--tier protocol|full] then one of
  --seed N          one run of each tier, with all that happens in it
  --replay FILE     the run of a plan that was kept
  --seeds N         so many runs from --from S on (or from a fresh seed), for --seconds T at most;
                    --marks prints the marks, --long fails if one of them was never come across
  --mutants A,B     how many seeds it takes to catch these bugs, or all of them; --tries T times,
                    --seeds N at most (only with the feature mutants and the profile sim)
  nothing           a short look: the plans that are kept, and some seeds
--keep DIR is where shrunk plans of failures go";

pub fn parse(args: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options::default();
    let mut args = args;
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value\n{USAGE}"));
        let number = |text: String| {
            text.parse::<u64>()
                .map_err(|_| format!("{text} is not a number\n{USAGE}"))
        };
        match arg.as_str() {
            "--tier" => options.tiers.push(match value()?.as_str() {
                "protocol" => Tier::Protocol,
                "full" => Tier::Full,
                other => return Err(format!("there is no tier {other}\n{USAGE}")),
            }),
            "--seed" => options.seed = Some(number(value()?)?),
            "--replay" => options.replay = Some(value()?.into()),
            "--from" => options.from = Some(number(value()?)?),
            "--seeds" => options.count = Some(number(value()?)?),
            "--seconds" => options.seconds = Some(number(value()?)?),
            "--keep" => options.keep = Some(value()?.into()),
            "--mutants" => {
                let names = value()?;
                let names = names.split(',').filter(|name| !name.is_empty() && *name != "all");
                options.mutants = Some(names.map(str::to_owned).collect());
            }
            "--tries" => options.tries = Some(number(value()?)?),
            "--marks" => options.prints_marks = true,
            "--long" => options.is_long = true,
            // What the test runner says to every test.
            "--quiet" | "-q" | "--nocapture" => {}
            _ => return Err(format!("{arg} is not known\n{USAGE}")),
        }
    }
    if options.tiers.is_empty() {
        options.tiers = vec![Tier::Protocol, Tier::Full];
    }
    Ok(options)
}

impl Options {
    /// True if all went well.
    pub fn carry_out(self) -> Result<bool, String> {
        failure::keep_quiet();
        if let Some(path) = &self.replay {
            return Ok(replay(&read(path)?));
        }
        if let Some(seed) = self.seed {
            let runs = self.tiers.iter().map(|tier| replay(&generate::plan(*tier, seed)));
            return Ok(runs.filter(|is_good| !is_good).count() == 0);
        }
        if let Some(names) = &self.mutants {
            return self.hunt(names);
        }
        if self.count.is_some() || self.seconds.is_some() {
            let runs: Vec<bool> = self.tiers.iter().map(|tier| self.many(*tier)).collect();
            return Ok(runs.into_iter().all(|is_good| is_good));
        }
        Ok(self.short())
    }

    #[cfg(feature = "mutants")]
    fn hunt(&self, names: &[String]) -> Result<bool, String> {
        super::mutants::hunt(names, self.tries.unwrap_or(5), self.count.unwrap_or(2000))
    }

    #[cfg(not(feature = "mutants"))]
    fn hunt(&self, _names: &[String]) -> Result<bool, String> {
        let tries = self
            .tries
            .map_or(String::new(), |tries| format!(" --tries {tries}"));
        Err(format!(
            "bugs are in no ordinary build: cargo test --profile sim --features mutants --test sim -- \
             --mutants all{tries}"
        ))
    }

    fn many(&self, tier: Tier) -> bool {
        if !canary() {
            return false;
        }
        let fleet = Fleet {
            tier,
            from: self.from.unwrap_or_else(fresh),
            count: self.count.unwrap_or(u64::MAX / 4),
            limit: self.seconds.map(Duration::from_secs),
            failures_max: 20,
        };
        let report = fleet.run();
        report.print(tier, fleet.from);
        if self.prints_marks {
            for (name, count) in &report.totals.marks.counts {
                println!("  {count:>12} {name}");
            }
        }
        let missing = match self.is_long {
            true => report.totals.marks.missing(tier),
            false => Vec::new(),
        };
        if !missing.is_empty() {
            println!("never come across: {}", missing.join(", "));
        }
        for (seed, failure) in &report.failures {
            println!("seed {seed}: {}", first_line(failure));
        }
        if let Some((seed, failure)) = report.failures.first() {
            self.keep(&generate::plan(tier, *seed), failure);
        }
        report.failures.is_empty() && missing.is_empty()
    }

    /// Shrinks the plan of a failure and writes it down.
    fn keep(&self, plan: &Plan, failure: &Failure) {
        let short = shrink(plan, &failure.law, SHRINK_BUDGET);
        let dir = self.keep.clone().unwrap_or_else(|| "target/sim".into());
        let path = dir.join(format!("{:?}-{}.plan", plan.tier, plan.seed).to_lowercase());
        let written = std::fs::create_dir_all(&dir).and_then(|()| std::fs::write(&path, short.to_text()));
        match written {
            Ok(()) => println!(
                "{} of {} steps are left: sim --replay {}",
                short.steps.len(),
                plan.steps.len(),
                path.display()
            ),
            Err(error) => println!("cannot write {}: {error}", path.display()),
        }
    }

    fn short(&self) -> bool {
        let mut is_good = canary() && kept_plans();
        for (tier, count) in [(Tier::Protocol, 400), (Tier::Full, 60)] {
            let fleet = Fleet {
                tier,
                from: 0,
                count,
                limit: None,
                failures_max: 3,
            };
            let report = fleet.run();
            report.print(tier, 0);
            for (seed, failure) in &report.failures {
                println!("seed {seed}: {}", first_line(failure));
            }
            is_good &= report.failures.is_empty();
        }
        is_good
    }
}

/// A network that changes what it carries has to be noticed, or nothing else would be.
fn canary() -> bool {
    let mut plan = generate::plan(Tier::Protocol, 0);
    plan.is_canary = true;
    match attempt(&plan) {
        Ok(_) => {
            println!("a proposal was changed on its way, and no law was broken: no result counts");
            false
        }
        Err(failure) => {
            println!("the canary died, as it has to: {}", first_line(&failure));
            true
        }
    }
}

/// What was once found does not come back.
fn kept_plans() -> bool {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sim/plans");
    let entries = std::fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "there are kept plans");
    let mut is_good = true;
    for path in paths {
        let name = path.file_name().unwrap_or_default().display().to_string();
        match read(&path).map(|plan| attempt(&plan)) {
            Ok(Ok(_)) => {}
            Ok(Err(failure)) => {
                println!("{name}: {}", first_line(&failure));
                is_good = false;
            }
            Err(error) => {
                println!("{error}");
                is_good = false;
            }
        }
    }
    is_good
}

/// Shows a run from its beginning to its end.
fn replay(plan: &Plan) -> bool {
    let (lines, outcome) = attempt_with_trace(plan);
    lines.iter().for_each(|line| println!("{line}"));
    match outcome {
        Ok(summary) => {
            println!(
                "{:?} {}: as it should be, {:#x}",
                plan.tier, plan.seed, summary.hash
            );
            true
        }
        Err(failure) => {
            println!(
                "{:?} {}: {} broken: {}",
                plan.tier, plan.seed, failure.law, failure.text
            );
            false
        }
    }
}

fn read(path: &Path) -> Result<Plan, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Plan::from_text(&text).map_err(|error| format!("{}: {error}", path.display()))
}

fn first_line(failure: &Failure) -> String {
    let text: String = failure.text.replace('\n', " ").chars().take(300).collect();
    format!("{} broken: {text}", failure.law)
}

/// Differs from day to day; it is printed.
fn fresh() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| now.as_millis() as u64 * 1000)
}

const SHRINK_BUDGET: Duration = Duration::from_secs(60);
