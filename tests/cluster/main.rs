//! Histories of real ensembles: `cluster record` makes one, `cluster check` judges it by the logs of the
//! members and by itself, `cluster dump` writes down what a member shows. `tests/cluster/run` does all this
//! with faults. Without arguments it checks the checks.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program of its own, with clocks and threads"
)]

mod blackbox;
mod history;
mod logs;
#[path = "../model/mod.rs"]
mod model;
mod plant;
mod record;
mod replay;
mod selftest;
mod session;
mod wgl;
mod wire;
mod workload;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use crate::blackbox::Findings;
use crate::history::Event;
use crate::replay::Evidence;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let options = Options::parse(&words);
    match words.first().map(String::as_str) {
        Some("record") => {
            let rate = options.number("rate", 350.0);
            let seconds = options.number("seconds", 30.0);
            let out = options.one("out");
            let seed = options.one("seed").parse().expect("--seed is a number");
            record::record(options.servers(), seed, seconds, rate, Path::new(out));
            ExitCode::SUCCESS
        }
        Some("dump") => {
            let done = record::dump(options.servers()[0], Path::new(options.one("out")));
            done.map_or_else(
                |problem| {
                    println!("{problem}");
                    ExitCode::FAILURE
                },
                |_| ExitCode::SUCCESS,
            )
        }
        Some("check") => check(&options),
        _ => selftest::run(),
    }
}

/// Words `--name value...`; a name may come more than once.
struct Options(BTreeMap<String, Vec<String>>);

impl Options {
    fn parse(words: &[String]) -> Options {
        let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut name = "";
        for word in words {
            if let Some(option) = word.strip_prefix("--") {
                name = option;
                all.entry(name.to_owned()).or_default();
            } else {
                all.entry(name.to_owned()).or_default().push(word.clone());
            }
        }
        Options(all)
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn all(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    fn one(&self, name: &str) -> &str {
        self.all(name)
            .first()
            .unwrap_or_else(|| panic!("--{name} is missing"))
    }

    fn number(&self, name: &str, default: f64) -> f64 {
        let given = self.all(name).first();
        given.map_or(default, |text| {
            text.parse().unwrap_or_else(|_| panic!("--{name} is no number"))
        })
    }

    fn servers(&self) -> Vec<SocketAddr> {
        let address = |text: &str| text.parse().unwrap_or_else(|_| panic!("{text} is no address"));
        self.one("servers").split(',').map(address).collect()
    }
}

/// Prints what was checked and what is wrong. With `--plant` a fault is put into the history before: then it
/// is an error, too, unless just that fault is found.
fn check(options: &Options) -> ExitCode {
    let text = fs::read_to_string(options.one("history")).expect("the history can be read");
    let parsed = |line: &str| Event::parse(line).unwrap_or_else(|| panic!("no event: {line}"));
    let mut events: Vec<Event> = text.lines().map(parsed).collect();
    events.sort_by_key(|event| event.at);
    if options.has("plant") && !plant::plant(options.one("plant"), &mut events) {
        println!("there is no place for it");
        return ExitCode::from(3);
    }
    let number = |text: &String| text.parse().expect("the number of an epoch");
    let own_epochs: Vec<i64> = options.all("own-epochs").iter().map(number).collect();
    let zxid = |text: &String| i64::from_str_radix(text, 16).expect("a zxid");
    let ends: Vec<i64> = options.all("ends").iter().map(zxid).collect();
    let evidence = Evidence {
        folders: options.all("logs"),
        trees: options.all("trees"),
        apache: options.has("apache"),
        ends: &ends,
        own_epochs: &own_epochs,
    };
    let found = judged(&events, &evidence);
    for (kind, count) in &found.checked {
        println!("checked {count} {kind}");
    }
    for violation in &found.violations {
        println!("VIOLATION {violation}");
    }
    let is_bad = if options.has("plant") {
        plant::is_found(options.one("plant"), &found)
    } else {
        !found.violations.is_empty()
    };
    if is_bad {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// All there is to say of a history.
fn judged(events: &[Event], evidence: &Evidence) -> Findings {
    let mut found = Findings::default();
    let calls = history::calls(events);
    found.count("operation", calls.len() as u64);
    blackbox::check(&calls, !evidence.apache, &mut found);
    if !evidence.folders.is_empty() {
        replay::check(events, &calls, evidence, &mut found);
    }
    found
}
