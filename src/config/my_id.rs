//! Which server this is: the file `myid`, else a variable, else the name of the host or pod.
//! Invariant: the file wins, for the data beside it belongs to that server.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::container::ID_VARIABLES;
use super::draft::Draft;
use super::dynamic;
use super::env::Environment;
use super::problem::{Origin, Problem};
use super::server_config::EnsembleConfig;
use crate::ids::ServerId;

/// The number of this server, and who says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MyId {
    /// The number.
    pub id: ServerId,
    /// Who says so.
    pub place: MyIdPlace,
}

/// Who says which server this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MyIdPlace {
    /// The file `myid`.
    File(PathBuf),
    /// This variable.
    Variable(String),
    /// This name of the host or pod.
    HostName(String),
}

impl std::fmt::Display for MyIdPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            MyIdPlace::File(path) => write!(f, "{}", path.display()),
            MyIdPlace::Variable(name) => f.write_str(name),
            MyIdPlace::HostName(name) => write!(f, "the host name {name}"),
        }
    }
}

impl MyId {
    /// Writes the file `myid`, whole or not at all: Apache's tools look for it, and the data that will be
    /// beside it belongs to this server from now on.
    pub fn write(&self, data_dir: &Path) -> io::Result<()> {
        std::fs::create_dir_all(data_dir)?;
        let unfinished = data_dir.join("myid.unfinished");
        let mut file = File::create(&unfinished)?;
        writeln!(file, "{}", self.id.0)?;
        file.sync_all()?;
        std::fs::rename(unfinished, data_dir.join("myid"))
    }

    /// The file `myid` says so.
    pub fn is_in_file(&self) -> bool {
        matches!(self.place, MyIdPlace::File(_))
    }
}

/// The place is one of those that say which server this is.
pub(super) fn is_about(origin: &Origin) -> bool {
    match origin {
        Origin::File(path) => path.file_name().is_some_and(|name| name == "myid"),
        Origin::Variable(name) => ID_VARIABLES.contains(&name.as_str()),
        Origin::Line(..) | Origin::CommandLine => false,
    }
}

/// Finds the number of this server.
pub(super) fn find(draft: &Draft, environment: &Environment, problems: &mut Vec<Problem>) -> Option<MyId> {
    let ensemble = &draft.config.ensemble;
    let path = draft.config.storage.data_dir.join("myid");
    let file = path.is_file();
    let variable = ID_VARIABLES
        .iter()
        .find_map(|name| Some((*name, environment.variable(name)?)));
    if file {
        let found = from_file(&path, ensemble, problems);
        if let (Some(id), Some((name, text))) = (&found, variable)
            && text.trim() != id.0.to_string()
        {
            let counts = path.display();
            let text = format!("{text} has no effect: {counts} counts, which says {}", id.0);
            problems.push(Problem::warning(Origin::Variable(name.to_owned()), text));
        }
        let place = MyIdPlace::File(path);
        return found.map(|id| MyId { id, place });
    }
    if let Some((name, text)) = variable {
        let place = MyIdPlace::Variable(name.to_owned());
        let origin = Origin::Variable(name.to_owned());
        let read = dynamic::my_id(text.trim().as_bytes());
        let id = accepted(read, origin, ensemble, problems)?;
        return Some(MyId { id, place });
    }
    let names = environment.host_names();
    names.into_iter().find_map(|name| {
        let id = from_host_name(name, ensemble)?;
        let place = MyIdPlace::HostName(name.to_owned());
        Some(MyId { id, place })
    })
}

fn from_file(path: &Path, ensemble: &EnsembleConfig, problems: &mut Vec<Problem>) -> Option<ServerId> {
    let origin = Origin::File(path.to_owned());
    match std::fs::read(path) {
        Ok(content) => accepted(dynamic::my_id(&content), origin, ensemble, problems),
        Err(error) => {
            problems.push(Problem::error(origin, format!("cannot be read: {error}")));
            None
        }
    }
}

fn accepted(
    read: Result<ServerId, String>,
    origin: Origin,
    ensemble: &EnsembleConfig,
    problems: &mut Vec<Problem>,
) -> Option<ServerId> {
    match read {
        Ok(id) => {
            if id.0 > 255 {
                let text = format!(
                    "the id {} is above 255: only its last 8 bits tell sessions of servers apart",
                    id.0
                );
                problems.push(Problem::warning(origin, text));
            }
            return Some(id);
        }
        Err(reason) if ensemble.servers.is_empty() => {
            let effect = match origin {
                Origin::File(_) => ", but Apache does not start on this file",
                Origin::Line(..) | Origin::Variable(_) | Origin::CommandLine => "",
            };
            let text = format!("{reason}; a standalone server does without{effect}");
            problems.push(Problem::warning(origin, text));
        }
        Err(reason) => problems.push(Problem::error(origin, reason)),
    }
    None
}

/// The server whose line names this host; else, for a pod of a StatefulSet such as `zookeeper-0`, its ordinal
/// and one. Where the list has names of that kind and this one is not among them, nothing is guessed.
fn from_host_name(name: &str, ensemble: &EnsembleConfig) -> Option<ServerId> {
    let label = label_of(name);
    let hosts = ensemble.servers.iter().flat_map(|(id, server)| {
        let hosts = server.addresses.iter();
        hosts.map(|address| (*id, label_of(&address.host)))
    });
    let mut named: Vec<ServerId> = hosts
        .clone()
        .filter(|(_, host)| *host == label)
        .map(|(id, _)| id)
        .collect();
    named.dedup();
    match named.as_slice() {
        [id] => return Some(*id),
        // Several servers on one host: its name does not tell them apart.
        [_, _, ..] => return None,
        [] => {}
    }
    // On a host with several servers its name says nothing, however the host is written.
    let distinct: BTreeSet<String> = hosts.clone().map(|(_, host)| host).collect();
    if distinct.len() < ensemble.servers.len() {
        return None;
    }
    let (stem, ordinal) = pod(&label)?;
    let is_sibling = |host: &str| pod(host).is_some_and(|(other, _)| other == stem);
    if hosts.clone().any(|(_, host)| is_sibling(&host)) {
        return None;
    }
    let id = ServerId(ordinal.checked_add(1)?);
    ensemble.servers.contains_key(&id).then_some(id)
}

/// Name and ordinal of a pod.
fn pod(label: &str) -> Option<(&str, i64)> {
    let (stem, digits) = label.rsplit_once('-')?;
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let is_plain = digits == "0" || !digits.starts_with('0');
    if stem.is_empty() || !is_number || !is_plain {
        return None;
    }
    Some((stem, digits.parse().ok()?))
}

/// The first part of a name, in lower case; an address whole.
fn label_of(host: &str) -> String {
    let label = match host.parse::<IpAddr>() {
        Ok(_) => host,
        Err(_) => host.split('.').next().unwrap_or(host),
    };
    label.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::from_host_name;
    use crate::config::dynamic;
    use crate::config::server_config::EnsembleConfig;
    use crate::ids::ServerId;

    #[test]
    fn a_host_name_tells_which_server_it_is() {
        let by_address = ["10.0.0.1", "10.0.0.2", "10.0.0.3"];
        let pods = ["zk-0.zk.ns.svc", "zk-1.zk.ns.svc", "zk-2.zk.ns.svc"];
        let hosts = ["zk-1.example.org", "zk-2", "ZK-3"];
        for (name, list, id) in [
            // By ordinal, where the list says nothing about names.
            ("zookeeper-0", &by_address[..], Some(1)),
            ("zookeeper-2", &by_address, Some(3)),
            ("zookeeper-2.zk.ns.svc.cluster.local", &by_address, Some(3)),
            ("my-zk-1", &by_address, Some(2)),
            ("zookeeper-3", &by_address, None),
            ("zookeeper-01", &by_address, None),
            ("zookeeper", &by_address, None),
            ("-1", &by_address, None),
            ("zookeeper-", &by_address, None),
            ("zookeeper-9223372036854775807", &by_address, None),
            ("10", &by_address, None),
            // By the list, where it has the name.
            ("zk-0", &pods, Some(1)),
            ("zk-2", &pods, Some(3)),
            ("zk-1", &hosts, Some(1)),
            ("zk-3.example.org", &hosts, Some(3)),
            // The list has such names, and not this one.
            ("zk-0", &hosts, None),
            ("other-0", &hosts, Some(1)),
            // Two servers on one host.
            ("a-0", &["a-0", "a-0"], None),
            ("zookeeper-0", &["127.0.0.1", "127.0.0.1"], None),
            ("zookeeper-0", &["127.0.0.1", "127.0.0.2"], Some(1)),
            ("zookeeper-0", &[], None),
        ] {
            let mut ensemble = EnsembleConfig::default();
            for (host, number) in list.iter().zip(1i64..) {
                let server = dynamic::server(&format!("{host}:2888:3888")).unwrap();
                ensemble.servers.insert(ServerId(number), server);
            }
            let found = from_host_name(name, &ensemble);
            assert_eq!(found, id.map(ServerId), "{name} in {list:?}");
        }
    }
}
