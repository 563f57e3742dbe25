//! The last step of reading a configuration: defaults that depend on other keys, and rules between keys.

use std::collections::BTreeMap;

use crate::ids::ServerId;
use crate::quorum::members::Members;
use crate::session::ConnectionThrottleConfig;

use super::draft::Draft;
use super::dynamic;
use super::dynamic_files::next_file;
use super::env::Environment;
use super::load::{ClientPortPlace, Setting};
use super::my_id;
use super::problem::{Origin, Problem};
use super::server_config::{EnsembleConfig, HostPort, LearnerType, QuorumServer, ServerConfig};
use super::value;

/// Where each key of the file was set.
pub(super) struct Lines {
    /// The file; where there is none, what stands for it.
    pub whole: Origin,
    /// Line by key.
    pub lines: BTreeMap<String, Origin>,
}

impl Lines {
    /// The line of the key, else the file as a whole.
    pub fn of(&self, key: &str) -> Origin {
        self.lines.get(key).unwrap_or(&self.whole).clone()
    }
}

/// Completes `draft.config`.
pub(super) fn finish(
    draft: &mut Draft,
    members: &[Setting],
    lines: &Lines,
    environment: &Environment,
    problems: &mut Vec<Problem>,
) -> ClientPortPlace {
    finish_sessions(draft, lines, problems);
    finish_auth(draft, lines, problems);
    finish_weights(&mut draft.config.throttle.connections, lines, problems);
    finish_storage(draft, lines, problems);
    draft.config.request.jute_max_buffer_extra = draft
        .extra_size
        .unwrap_or(draft.config.request.jute_max_buffer.max(1_024));
    read_members(draft, members, problems);
    if let Some(path) = &draft.dynamic_config_file {
        draft.config.ensemble.version = version_of(path);
        draft.config.ensemble.has_dynamic_file = true;
        read_next(draft, problems);
    }
    draft.my_id = my_id::find(draft, environment, problems);
    draft.config.ensemble.my_id = draft.my_id.as_ref().map(|my_id| my_id.id);
    let place = finish_client_port(draft, lines, problems);
    check_roles(draft, lines, problems);
    finish_intervals(&mut draft.config.ensemble, lines, problems);
    check_ensemble(&draft.config.ensemble, lines, problems);
    check_my_id(draft, lines, problems);
    finish_extended_types(draft, lines, problems);
    check_observer_master_port(&draft.config, lines, problems);
    check_reconfig(&draft.config, lines, problems);
    place
}

/// What was proposed to follow the list in the dynamic file. Without it this server could go by a list that
/// is no longer in force.
fn read_next(draft: &mut Draft, problems: &mut Vec<Problem>) {
    let Some(path) = draft.config.source.path().map(next_file) else {
        return;
    };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
        Err(error) => {
            let text = format!("cannot be read: {error}");
            return problems.push(Problem::error(Origin::File(path), text));
        }
    };
    match Members::parse(&text) {
        Ok(next) => draft.config.ensemble.next = Some(next),
        Err(error) => {
            let text = format!(
                "is not the configuration that a server writes when one is proposed: {error}; restore it, \
                 or remove it if no reconfiguration was under way"
            );
            problems.push(Problem::error(Origin::File(path), text));
        }
    }
}

/// Where the members may change, their files are written by the server.
fn check_reconfig(config: &ServerConfig, lines: &Lines, problems: &mut Vec<Problem>) {
    let ensemble = &config.ensemble;
    if !ensemble.reconfig_enabled || !ensemble.is_distributed() {
        return;
    }
    let file = config.source.path();
    if file.is_none_or(|file| file.extension().is_some_and(|extension| extension == "toml")) {
        let text = "reconfigEnabled: the server has to rewrite its configuration when the members change, \
                    and can do that only where it is a file in the format of zoo.cfg";
        problems.push(Problem::error(lines.of("reconfigEnabled"), text));
    }
    if config.auth.skip_acl {
        let text = "reconfigEnabled: with skipACL=yes every client may change the members";
        problems.push(Problem::warning(lines.of("reconfigEnabled"), text));
    }
}

fn finish_sessions(draft: &mut Draft, lines: &Lines, problems: &mut Vec<Problem>) {
    let session = &mut draft.config.session;
    let ticks = |count: u32| session.tick_time_ms.saturating_mul(count).min(TIMEOUT_MAX_MS);
    let (min, max) = (
        draft.min_session_timeout_ms.unwrap_or(ticks(2)),
        draft.max_session_timeout_ms.unwrap_or(ticks(20)),
    );
    session.min_session_timeout_ms = min;
    session.max_session_timeout_ms = max;
    if min > max {
        let key = if draft.max_session_timeout_ms.is_some() {
            "maxSessionTimeout"
        } else {
            "minSessionTimeout"
        };
        let text = format!(
            "minSessionTimeout must not be larger than maxSessionTimeout: found {min} and {max} ms \
             (not set, they are 2 and 20 times tickTime)"
        );
        problems.push(Problem::error(lines.of(key), text));
    }
}

/// Who has to be known, and to whom. A scheme that is not offered would lock everybody out.
fn finish_auth(draft: &mut Draft, lines: &Lines, problems: &mut Vec<Problem>) {
    if !draft.enforces_auth {
        return;
    }
    let mut schemes = Vec::new();
    let mut others = Vec::new();
    for scheme in &draft.auth_schemes {
        match scheme.as_str() {
            "ip" => schemes.push(scheme.clone()),
            "digest" if draft.config.auth.digest_enabled => schemes.push(scheme.clone()),
            _ => others.push(scheme.as_str()),
        }
    }
    let key = "enforce.auth.schemes";
    if draft.auth_schemes.is_empty() {
        let text = "enforce.auth.enabled is true, but enforce.auth.schemes is not set: name the schemes that \
                    clients may authenticate with, as in enforce.auth.schemes=digest";
        problems.push(Problem::error(lines.of("enforce.auth.enabled"), text));
    } else if schemes.is_empty() {
        let text = format!(
            "{key}: Authentication scheme {} is not available here, so no client could be served; available \
             are digest, unless it is disabled, and ip",
            others.join(", ")
        );
        problems.push(Problem::error(lines.of(key), text));
    } else if !others.is_empty() {
        let text = format!(
            "{key}: Authentication scheme {} is not available here: clients have to use {}",
            others.join(", "),
            schemes.join(" or ")
        );
        problems.push(Problem::warning(lines.of(key), text));
    }
    draft.config.auth.enforced_schemes = schemes;
}

/// No session weighs less than one that only one server knows.
fn finish_weights(config: &mut ConnectionThrottleConfig, lines: &Lines, problems: &mut Vec<Problem>) {
    let least = config.local_weight;
    for (weight, key) in [
        (
            &mut config.global_weight,
            "connection_throttle_global_session_weight",
        ),
        (
            &mut config.renew_weight,
            "connection_throttle_renew_session_weight",
        ),
    ] {
        if *weight < least {
            let text = format!("{key}: {weight} is less than the weight of local sessions, {least} is used");
            problems.push(Problem::warning(lines.of(key), text));
            *weight = least;
        }
    }
}

fn finish_storage(draft: &mut Draft, lines: &Lines, problems: &mut Vec<Problem>) {
    let storage = &mut draft.config.storage;
    match &draft.data_dir {
        Some(dir) => storage.data_dir.clone_from(dir),
        // With a wrong value there is an error already.
        None if lines.lines.contains_key("dataDir") => {}
        None => {
            let text = "dataDir is not set: add a line dataDir=/path/of/the/data";
            problems.push(Problem::error(lines.whole.clone(), text));
        }
    }
    storage.data_log_dir = draft
        .data_log_dir
        .clone()
        .unwrap_or_else(|| storage.data_dir.clone());
}

fn read_members(draft: &mut Draft, members: &[Setting], problems: &mut Vec<Problem>) {
    let ensemble = &mut draft.config.ensemble;
    let mut origins = BTreeMap::new();
    for setting in members {
        let (text, has_comment) = value::without_comment(&setting.value);
        if has_comment {
            let text = format!(
                "{}: read as \"{text}\"; a comment needs a line of its own",
                setting.name
            );
            problems.push(Problem::warning(setting.origin.clone(), text));
        }
        let read = read_member(ensemble, &setting.name, text)
            .and_then(|()| check_number_is_new(&mut origins, setting));
        if let Err(reason) = read {
            problems.push(Problem::error(setting.origin.clone(), reason));
        }
    }
    check_addresses(ensemble, &origins, problems);
    for (id, groups) in groups_by_member(ensemble) {
        if groups > 1 {
            let text = format!("server {} is in more than one group", id.0);
            problems.push(Problem::error(group_origin(members), text));
        }
        if !ensemble.servers.contains_key(&id) {
            let text = format!("server {} is in a group, but there is no line server.{0}", id.0);
            problems.push(Problem::error(group_origin(members), text));
        }
    }
    if !ensemble.groups.is_empty() {
        let grouped = groups_by_member(ensemble);
        for (id, server) in &ensemble.servers {
            if server.learner_type == LearnerType::Participant && !grouped.contains_key(id) {
                let text = format!("server {} does not belong to a group", id.0);
                problems.push(Problem::error(group_origin(members), text));
            }
        }
    }
}

fn read_member(ensemble: &mut EnsembleConfig, name: &str, text: &str) -> Result<(), String> {
    let number = dynamic::number_of(name)?;
    let in_key = |reason: String| format!("{name}: {reason}");
    if name.starts_with("server.") {
        let server = dynamic::server(text).map_err(in_key)?;
        if server.addresses.len() > 1 && !ensemble.is_multi_address_enabled {
            return Err(format!(
                "{name}: several addresses need multiAddress.enabled=true"
            ));
        }
        ensemble.servers.insert(ServerId(number), server);
    } else if name.starts_with("group.") {
        ensemble
            .groups
            .insert(number, dynamic::group(text).map_err(in_key)?);
    } else {
        let weight = value::decimal(text).and_then(|weight| u64::try_from(weight).ok());
        let weight = weight
            .ok_or_else(|| format!("{name}: found \"{text}\", it must be a whole number, 0 or more"))?;
        ensemble.weights.insert(ServerId(number), weight);
    }
    Ok(())
}

/// Two lines for one number are two opinions about one server.
fn check_number_is_new(origins: &mut BTreeMap<ServerId, Origin>, setting: &Setting) -> Result<(), String> {
    if !setting.name.starts_with("server.") {
        return Ok(());
    }
    let id = ServerId(dynamic::number_of(&setting.name)?);
    match origins.insert(id, setting.origin.clone()) {
        None => Ok(()),
        Some(earlier) => Err(format!(
            "{}: server {} is already at {earlier}; every server has one line and a number of its own",
            setting.name, id.0
        )),
    }
}

/// Two servers cannot listen on one port: each would be taken for the other.
fn check_addresses(
    ensemble: &EnsembleConfig,
    origins: &BTreeMap<ServerId, Origin>,
    problems: &mut Vec<Problem>,
) {
    let mut owners: BTreeMap<(String, u16), ServerId> = BTreeMap::new();
    for (&id, server) in &ensemble.servers {
        for address in &server.addresses {
            for port in [address.quorum_port, address.election_port] {
                let place = (address.host.to_ascii_lowercase(), port);
                let owner = *owners.entry(place).or_insert(id);
                if owner == id {
                    continue;
                }
                let host = HostPort {
                    host: address.host.clone(),
                    port,
                };
                let at = |id: ServerId| origins.get(&id).cloned().unwrap_or(Origin::CommandLine);
                let text = format!(
                    "server.{}: {host} is server.{}'s already ({}); every server needs ports of its own",
                    id.0,
                    owner.0,
                    at(owner)
                );
                problems.push(Problem::error(at(id), text));
            }
        }
    }
}

fn groups_by_member(ensemble: &EnsembleConfig) -> BTreeMap<ServerId, u32> {
    let mut counts = BTreeMap::new();
    for id in ensemble.groups.values().flatten() {
        *counts.entry(*id).or_insert(0) += 1;
    }
    counts
}

fn group_origin(members: &[Setting]) -> Origin {
    let group = members.iter().find(|setting| setting.name.starts_with("group."));
    group.map_or(Origin::CommandLine, |setting| setting.origin.clone())
}

/// The hexadecimal number after the last dot of the name; none is 0.
fn version_of(path: &std::path::Path) -> u64 {
    let suffix = path.extension().and_then(|suffix| suffix.to_str());
    suffix
        .and_then(|suffix| u64::from_str_radix(suffix, 16).ok())
        .unwrap_or(0)
}

fn finish_client_port(draft: &mut Draft, lines: &Lines, problems: &mut Vec<Problem>) -> ClientPortPlace {
    let own = own_server(&draft.config.ensemble).and_then(|server| server.client_address.clone());
    let client_port = &mut draft.config.client_port;
    client_port.secure_port = draft.secure_port.filter(|&port| port != 0);
    if client_port.secure_port.is_some() {
        let text = "secureClientPort: known, has no effect yet (no TLS, no client can connect to it)";
        problems.push(Problem::warning(lines.of("secureClientPort"), text));
    }
    // Apache takes 0 as not set; here it means any free port, but never beside a TLS port.
    let is_off = draft.client_port == Some(0) && client_port.secure_port.is_some();
    client_port.port = draft.client_port.filter(|_| !is_off);
    for (host, port, key) in [
        (&client_port.host, draft.client_port, "clientPort"),
        (
            &client_port.secure_host,
            client_port.secure_port,
            "secureClientPort",
        ),
    ] {
        if host.is_some() && port.is_none() && !lines.lines.contains_key(key) {
            let address = format!("{key}Address");
            let text = format!("{address} is set but {key} is not set");
            problems.push(Problem::error(lines.of(&address), text));
        }
    }
    match (client_port.port, own) {
        (Some(port), Some(line)) => {
            let host = client_port.host.as_deref().unwrap_or(WILDCARD);
            if port != line.port || (!is_wildcard(host) && host != line.host) {
                let text = format!(
                    "client address for this server in the configuration file is {host}:{port}, \
                     its server line says {line}: they must agree"
                );
                problems.push(Problem::error(lines.of("clientPort"), text));
            }
            client_port.host = Some(line.host);
            ClientPortPlace::Key
        }
        (Some(_), None) => ClientPortPlace::Key,
        (None, Some(line)) => {
            client_port.port = Some(line.port);
            client_port.host = Some(line.host);
            match draft.dynamic_config_file {
                Some(_) => ClientPortPlace::DynamicFile,
                None => ClientPortPlace::ServerLine,
            }
        }
        (None, None) => {
            if !lines.lines.contains_key("clientPort") {
                let text = "clientPort is not set: no client can connect; add a line clientPort=2181";
                problems.push(Problem::warning(lines.whole.clone(), text));
            }
            ClientPortPlace::Missing
        }
    }
}

fn own_server(ensemble: &EnsembleConfig) -> Option<&QuorumServer> {
    ensemble.servers.get(&ensemble.my_id?)
}

fn is_wildcard(host: &str) -> bool {
    host == WILDCARD || host == "::"
}

fn check_roles(draft: &mut Draft, lines: &Lines, problems: &mut Vec<Problem>) {
    let ensemble = &mut draft.config.ensemble;
    let role = own_server(ensemble).map(|server| server.learner_type);
    match (draft.peer_type, role) {
        (Some(peer_type), Some(role)) if peer_type != role => {
            let text = "peerType: differs from the role in this server's server.N line, which counts";
            problems.push(Problem::warning(lines.of("peerType"), text));
        }
        (_, _) => {}
    }
    ensemble.peer_type = role.or(draft.peer_type).unwrap_or_default();
}

/// Rules for the member list, and those that hold only where the quorum protocols run.
fn check_ensemble(ensemble: &EnsembleConfig, lines: &Lines, problems: &mut Vec<Problem>) {
    let participants = ensemble.participants_count();
    let whole_file = || lines.whole.clone();
    if participants == 0 && !ensemble.standalone_enabled {
        let text = "standaloneEnabled = false then number of participants should be >0: add server.N lines";
        problems.push(Problem::error(lines.of("standaloneEnabled"), text));
    }
    if participants <= 1 && ensemble.standalone_enabled && ensemble.servers.len() > participants {
        problems.push(Problem::error(
            whole_file(),
            "observers need an ensemble of at least two participants",
        ));
    }
    if !ensemble.is_distributed() {
        return;
    }
    if participants == 2 {
        let text = "No server failure will be tolerated. You need at least 3 servers.";
        problems.push(Problem::warning(whole_file(), text));
    } else if participants.is_multiple_of(2) {
        let text = "Non-optimal configuration, consider an odd number of servers.";
        problems.push(Problem::warning(whole_file(), text));
    }
    for (limit, key) in [
        (ensemble.init_limit_ticks, "initLimit"),
        (ensemble.sync_limit_ticks, "syncLimit"),
    ] {
        if limit.is_none() {
            problems.push(Problem::error(
                lines.of(key),
                format!("{key} is not set: an ensemble needs it (usual: 10 and 5)"),
            ));
        }
    }
}

fn check_my_id(draft: &Draft, lines: &Lines, problems: &mut Vec<Problem>) {
    let ensemble = &draft.config.ensemble;
    if !ensemble.is_distributed() {
        return;
    }
    match &draft.my_id {
        None if problems.iter().any(|problem| my_id::is_about(&problem.origin)) => {}
        None => {
            let text = "myid file is missing: write the N of this server's server.N line into <dataDir>/myid \
                        (or say it in ZOO_MY_ID)";
            problems.push(Problem::error(lines.of("dataDir"), text));
        }
        Some(my_id) if !ensemble.servers.contains_key(&my_id.id) => {
            let list = draft.dynamic_config_file.clone();
            let list = list.map_or(lines.whole.clone(), Origin::File);
            let ids: Vec<String> = ensemble.servers.keys().map(|id| id.0.to_string()).collect();
            let mut text = format!(
                "My id {0} not in the peer list: {1} says {0}, and the server.N lines here have the numbers \
                 {2}; correct the one, or add a line server.{0}",
                my_id.id.0,
                my_id.place,
                ids.join(", ")
            );
            if ensemble.version > 0 {
                text.push_str(&format!(
                    ". A reconfiguration has made this list (version {:x}): if it removed this server, leave \
                     it stopped, or let it join anew, with the members' lines and its own in zoo.cfg instead \
                     of dynamicConfigFile, and `zkserver member add`",
                    ensemble.version
                ));
            }
            problems.push(Problem::error(list, text));
        }
        Some(_) => {}
    }
}

/// The top byte of session ids is the server's number, and all ones mark TTL nodes: a server of this number
/// has no TTL nodes (EphemeralType.validateServerId). It need not say so.
fn finish_extended_types(draft: &mut Draft, lines: &Lines, problems: &mut Vec<Problem>) {
    let my_id = draft.config.ensemble.my_id;
    let too_large =
        my_id.filter(|id| draft.config.ensemble.is_distributed() && id.0 > MAX_EXTENDED_SERVER_ID);
    if let (Some(true), Some(id)) = (draft.extended_types, too_large) {
        let text = format!(
            "extendedTypesEnabled is true but Server ID is too large: myid says {}, with TTL nodes it must \
             not be above {MAX_EXTENDED_SERVER_ID}; give this server another id or remove the line",
            id.0
        );
        problems.push(Problem::error(lines.of("extendedTypesEnabled"), text));
    }
    draft.config.request.extended_types_enabled = draft.extended_types.unwrap_or(too_large.is_none());
}

/// A follower listens on it beside its other ports.
fn check_observer_master_port(config: &ServerConfig, lines: &Lines, problems: &mut Vec<Problem>) {
    let ensemble = &config.ensemble;
    let Some(port) = ensemble.observer_master_port else {
        return;
    };
    let own = ensemble.my_id.and_then(|my_id| ensemble.servers.get(&my_id));
    let addresses = own.into_iter().flat_map(|server| &server.addresses);
    let of_peers = addresses.flat_map(|address| {
        [
            (address.quorum_port, "quorum"),
            (address.election_port, "election"),
        ]
    });
    let of_clients = config.client_port.port.map(|port| (port, "client"));
    if let Some((_, name)) = of_peers.chain(of_clients).find(|(used, _)| *used == port) {
        let key = "observerMasterPort";
        let text =
            format!("{key}: {port} is this server's {name} port already; observers need one of their own");
        problems.push(Problem::error(lines.of(key), text));
    }
}

/// The first wait of an election is never longer than the longest.
fn finish_intervals(ensemble: &mut EnsembleConfig, lines: &Lines, problems: &mut Vec<Problem>) {
    let (min, max) = (ensemble.fle_min_interval_ms, ensemble.fle_max_interval_ms);
    if max < min {
        let key = "fastleader.maxNotificationInterval";
        let text = format!("{key}: {max} is less than fastleader.minNotificationInterval, {min} is used");
        problems.push(Problem::warning(lines.of(key), text));
        ensemble.fle_max_interval_ms = min;
    }
}

/// EphemeralType.MAX_EXTENDED_SERVER_ID.
const MAX_EXTENDED_SERVER_ID: i64 = 254;
const WILDCARD: &str = "0.0.0.0";
const TIMEOUT_MAX_MS: u32 = i32::MAX as u32;
