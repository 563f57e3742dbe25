//! The list of servers in a variable: `server.1=a:2888:3888;2181 server.2=..` as the official image has it,
//! `a:2888:3888,b:2888:3888` as Bitnami's has it, or only `a,b,c`.

use std::collections::BTreeMap;

use super::Taken;
use crate::config::dynamic;
use crate::config::load::Setting;
use crate::config::problem::{Origin, Problem};

/// Adds the `server.N` settings of the list.
pub(super) fn read(text: &str, origin: &Origin, taken: &mut Taken) {
    // A semicolon separates servers only where it does not stand before a client port.
    let has_names = text.contains('=');
    let is_separator = |c: char| c.is_whitespace() || c == ',' || (c == ';' && !has_names);
    let entries = text.split(is_separator).filter(|entry| !entry.is_empty());
    for (entry, position) in entries.zip(1u32..) {
        let (name, value) = match entry.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None if has_names => {
                let text = format!(
                    "found \"{entry}\" among server.N=host:port:port entries: every entry needs its number, \
                     or none does"
                );
                taken.problems.push(Problem::error(origin.clone(), text));
                continue;
            }
            None => unnamed(entry, position),
        };
        taken.add(&name, &value, origin.clone());
    }
}

/// Servers by key, in one spelling; those that cannot be read as they are.
pub(super) fn listed(settings: &[Setting]) -> BTreeMap<&str, String> {
    let servers = settings
        .iter()
        .filter(|setting| setting.name.starts_with("server."));
    let spelt = |value: &str| dynamic::server(value).map_or(value.to_owned(), |server| server.to_string());
    servers
        .map(|setting| (setting.name.as_str(), spelt(&setting.value)))
        .collect()
}

/// The list for people.
pub(super) fn in_words(settings: &[Setting]) -> String {
    let servers = settings
        .iter()
        .filter(|setting| setting.name.starts_with("server."));
    let lines: Vec<String> = servers
        .map(|setting| format!("{}={}", setting.name, setting.value))
        .collect();
    if lines.is_empty() {
        return "nothing about servers".to_owned();
    }
    lines.join(" ")
}

/// An entry without `server.N=`: its number is its place, or stands behind `::`. Ports may be left out.
fn unnamed(entry: &str, position: u32) -> (String, String) {
    // The colons of an address in brackets are its own.
    let host_end = match entry.find(']') {
        Some(at) if entry.starts_with('[') => at + 1,
        _ => 0,
    };
    let (host, rest) = entry.split_at(host_end);
    let (rest, number) = match rest.rsplit_once("::") {
        Some((rest, number)) => (rest, number.to_owned()),
        None => (rest, position.to_string()),
    };
    let address = format!("{host}{rest}");
    let ports = if rest.contains(':') { "" } else { DEFAULT_PORTS };
    (format!("server.{number}"), address + ports)
}

const DEFAULT_PORTS: &str = ":2888:3888";
