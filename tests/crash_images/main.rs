//! Every image that a crash may leave of a server's disk, recovered and judged: nothing that was acknowledged
//! is missing, nothing is there that was never written, the state is that of a straight replay, no promise
//! went back, and a second crash within the recovery changes nothing.
//!
//!     cargo test --release --test crash_images -- [--images 20000] [--seed 1] [--workload NAME]
//!
//! The disk operations of each workload are recorded once. Every prefix of them has up to 256 images: all
//! there are, or so many drawn with the seed. Where that makes more than are wanted, fewer are drawn of each;
//! where it makes fewer, the workloads are recorded with the next seed.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test that prints its figures and its rate"
)]

mod check;
#[allow(dead_code, reason = "shared with other tests")]
#[path = "../support/history.rs"]
mod history;
mod machine;
#[allow(dead_code, reason = "shared with other tests")]
#[path = "../support/sim_disk.rs"]
mod sim_disk;
mod workloads;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;

use check::{Check, Counts};
use workloads::{ALL, Workload};

struct Options {
    images: u64,
    seed: u64,
    workloads: Vec<Workload>,
}

/// What there is to say of one workload.
#[derive(Default)]
struct Line {
    counts: Counts,
    operations: u64,
    wrong: u64,
}

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(reason) => {
            println!("{reason}");
            return ExitCode::from(2);
        }
    };
    let began = Instant::now();
    let mut lines: BTreeMap<&str, Line> = BTreeMap::new();
    let mut seed = options.seed;
    let done = |lines: &BTreeMap<&str, Line>| lines.values().map(|line| line.counts.images).sum::<u64>();
    while done(&lines) < options.images {
        let wanted = (options.images - done(&lines)).div_ceil(options.workloads.len() as u64);
        for workload in &options.workloads {
            let line = lines.entry(workload.0).or_default();
            run(*workload, seed, wanted, line);
        }
        seed += 1;
    }
    let mut total = Line::default();
    for (name, line) in &lines {
        println!("{name}: {line}");
        total.add(line);
    }
    let took = began.elapsed().as_secs_f64();
    let rate = total.counts.images as f64 / took * 60.0;
    println!(
        "crash images, seeds {}..{seed}: {total}; {took:.1} s, {rate:.0} images a minute",
        options.seed
    );
    match total.wrong {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Records a workload and judges about so many images.
fn run((name, record): Workload, seed: u64, wanted: u64, line: &mut Line) {
    let recording = record(seed);
    let count = recording.moments.len();
    let images_max = wanted.div_ceil(count as u64).clamp(2, IMAGES_OF_ONE_MOMENT) as usize;
    let mut check = Check::new(&recording, seed);
    for (at, moment) in recording.moments.iter().enumerate() {
        let wrong = check.moment(moment, images_max);
        for reason in &wrong {
            line.wrong += 1;
            if line.wrong <= WRONG_SHOWN {
                let next = &moment.next;
                println!(
                    "WRONG: {name}, seed {seed}, before operation {} ({next}), {reason}",
                    at + 1
                );
            }
        }
    }
    line.operations += count as u64 - 1;
    line.counts.images += check.counts.images;
    line.counts.again += check.counts.again;
}

impl Line {
    fn add(&mut self, other: &Line) {
        self.operations += other.operations;
        self.counts.images += other.counts.images;
        self.counts.again += other.counts.again;
        self.wrong += other.wrong;
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Counts { images, again } = self.counts;
        write!(
            f,
            "{} operations, {images} images, {again} crashes within recovery, {} wrong",
            self.operations, self.wrong
        )
    }
}

impl Options {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut options = Options {
            images: IMAGES,
            seed: 1,
            workloads: ALL.to_vec(),
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match word.as_str() {
                "--images" => options.images = number(&value()?)?,
                "--seed" => options.seed = number(&value()?)?,
                "--workload" => {
                    let wanted = value()?;
                    options.workloads.retain(|(name, _)| *name == wanted);
                    if options.workloads.is_empty() {
                        return Err(format!("there is no workload {wanted}"));
                    }
                }
                // What cargo says to every test.
                "--quiet" | "-q" => {}
                other => return Err(format!("{other} is not known: see the head of this file")),
            }
        }
        Ok(options)
    }
}

fn number(word: &str) -> Result<u64, String> {
    word.parse().map_err(|_| format!("{word} is not a number"))
}

/// For a run beside all other tests.
const IMAGES: u64 = 3000;
const IMAGES_OF_ONE_MOMENT: u64 = 256;
const WRONG_SHOWN: u64 = 5;
