//! The variables by which containers are configured: those of the official image and of Bitnami's, and the
//! older `SERVERS`. They become settings as a file would make them, and are checked like those.
//!
//! Invariant: a configuration file wins over all of them, and no variable is passed over in silence.

mod servers;

use std::path::Path;

use super::env::Environment;
use super::keys::{Key, Rule};
use super::known_keys::{self, Known, edit_distance};
use super::load::{Setting, keep_last};
use super::problem::{Origin, Problem};

/// What the variables say.
#[derive(Default)]
pub(super) struct Taken {
    /// Settings, each key once.
    pub settings: Vec<Setting>,
    /// One line for each setting: what was taken from where.
    pub notes: Vec<String>,
    /// What is wrong with the variables themselves.
    pub problems: Vec<Problem>,
}

/// There are variables to build a configuration from.
pub(super) fn is_configured(environment: &Environment) -> bool {
    own_variables(environment).any(|(name, _)| {
        by_name(name).is_some()
            || LIST_VARIABLES.contains(&name)
            || ID_VARIABLES.contains(&name)
            || name.starts_with(KEY_PREFIX)
            || name == EXTRA
    })
}

/// Replaces `NAME_FILE` by `NAME` with the content of that file, for every variable that is known here.
pub(super) fn read_files(environment: &mut Environment) -> Vec<Problem> {
    let mut problems = Vec::new();
    let pointers: Vec<(String, String)> = own_variables(environment)
        .filter_map(|(name, path)| Some((name.strip_suffix(FILE_SUFFIX)?, path)))
        .filter(|(name, _)| is_known(name))
        .map(|(name, path)| (name.to_owned(), path.to_owned()))
        .collect();
    for (name, path) in pointers {
        let origin = Origin::Variable(name.clone() + FILE_SUFFIX);
        if environment.variable(&name).is_some() {
            let text = format!("counts; {name} is set besides, and has no effect");
            problems.push(Problem::warning(origin.clone(), text));
        }
        match std::fs::read_to_string(&path) {
            Ok(content) => environment.set_from_file(&name, content.trim_end_matches(['\n', '\r'])),
            Err(error) => {
                let text = format!("{path} cannot be read: {error}");
                problems.push(Problem::error(origin, text));
            }
        }
    }
    problems
}

/// The settings of a server that has no configuration file.
pub(super) fn settings(environment: &Environment) -> Taken {
    let mut taken = explicit(environment);
    taken.problems.extend(strangers(environment));
    for setting in &taken.settings {
        let value = shown(&setting.name, &setting.value);
        taken
            .notes
            .push(format!("{}={value} from {}", setting.name, setting.origin));
    }
    for (key, value) in defaults(&taken.settings) {
        taken
            .notes
            .push(format!("{key}={value}, the default in containers"));
        taken.settings.push(Setting {
            name: key.to_owned(),
            value: value.to_owned(),
            origin: Origin::CommandLine,
        });
    }
    taken
}

/// Warnings for the variables that say other than the file does. `settings` and `members` are the file's.
pub(super) fn shadowed(
    environment: &Environment,
    path: &Path,
    settings: &[Setting],
    members: &[Setting],
) -> Vec<Problem> {
    let taken = explicit(environment);
    let mut problems = Vec::new();
    for setting in taken
        .settings
        .iter()
        .filter(|setting| !setting.name.starts_with("server."))
    {
        let rival = settings
            .iter()
            .chain(members)
            .find(|rival| rival.name == setting.name);
        let counts = match rival {
            Some(rival) if rival.value == setting.value => continue,
            Some(rival) => {
                let value = shown(&rival.name, &rival.value);
                format!("{} counts, which says {}={value}", rival.origin, rival.name)
            }
            None => format!("{} counts, which does not set it", path.display()),
        };
        let value = shown(&setting.name, &setting.value);
        let text = format!("{}={value} has no effect: {counts}", setting.name);
        problems.push(Problem::warning(setting.origin.clone(), text));
    }
    let is_demanded =
        |variable: &&Variable| environment.variable(variable.name).and_then(is_on) == Some(true);
    let demands = VARIABLES
        .iter()
        .filter(|variable| matches!(variable.form, Form::Demand));
    for variable in demands.filter(is_demanded) {
        let text = format!("has no effect: {} counts, which does not set it", path.display());
        problems.push(Problem::warning(origin(environment, variable.name), text));
    }
    let listed = servers::listed(&taken.settings);
    if !listed.is_empty() && listed != servers::listed(members) {
        let origin = taken.settings.iter().find(|s| s.name.starts_with("server."));
        let origin = origin.map_or(Origin::CommandLine, |setting| setting.origin.clone());
        let text = format!(
            "{} has no effect: {} counts, which says {}",
            servers::in_words(&taken.settings),
            path.display(),
            servers::in_words(members)
        );
        problems.push(Problem::warning(origin, text));
    }
    problems
}

/// What was said by somebody, without defaults.
fn explicit(environment: &Environment) -> Taken {
    let mut taken = Taken::default();
    for variable in VARIABLES {
        let Some(text) = environment.variable(variable.name) else {
            continue;
        };
        if let Some(value) = variable.form.value(text) {
            taken.add(variable.key, &value, origin(environment, variable.name));
        } else if matches!(variable.form, Form::Demand) && is_on(text) == Some(true) {
            let text = "cannot be honoured yet and must not be ignored: clients that do not authenticate \
                        would be served all the same; only no is allowed";
            let problem = Problem::error(origin(environment, variable.name), text);
            taken.problems.push(problem);
        }
    }
    let mut lists = LIST_VARIABLES
        .iter()
        .filter_map(|name| Some((*name, environment.variable(name)?)));
    if let Some((name, text)) = lists.next() {
        for (loser, _) in lists {
            let text = format!("has no effect beside {name}");
            taken
                .problems
                .push(Problem::warning(origin(environment, loser), text));
        }
        servers::read(text, &origin(environment, name), &mut taken);
    }
    for entry in environment.variable(EXTRA).unwrap_or_default().split_whitespace() {
        match entry.split_once('=') {
            Some((key, value)) => taken.add(key, value, origin(environment, EXTRA)),
            None => {
                let text = format!("found \"{entry}\", it must be key=value, several of them with blanks");
                let problem = Problem::error(origin(environment, EXTRA), text);
                taken.problems.push(problem);
            }
        }
    }
    for (name, value) in own_variables(environment) {
        if let Some(key) = name.strip_prefix(KEY_PREFIX).filter(|_| name != EXTRA) {
            let pointer = key.strip_suffix(FILE_SUFFIX).unwrap_or_default();
            // Its content stands in the variable of the shorter name.
            if environment.variable(&format!("{KEY_PREFIX}{pointer}")).is_none() {
                taken.add(&key_of(key), value, origin(environment, name));
            }
        }
    }
    taken
}

impl Taken {
    fn add(&mut self, key: &str, value: &str, origin: Origin) {
        let name = key.strip_prefix("zookeeper.").unwrap_or(key).to_owned();
        let value = value.trim().to_owned();
        let setting = Setting { name, value, origin };
        keep_last(&mut self.settings, setting, &mut self.problems);
    }
}

/// Variables that look like ours and are not known.
fn strangers(environment: &Environment) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, _) in own_variables(environment).filter(|(name, _)| name.starts_with("ZOO_")) {
        let stem = name.strip_suffix(FILE_SUFFIX).unwrap_or(name);
        if is_known(name) || is_known(stem) || ELSEWHERE.contains(&name) {
            continue;
        }
        let is_later = LATER_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        let text = match nearest(name) {
            _ if is_later => "known, has no effect yet".to_owned(),
            Some(known) => format!("unknown variable, it has no effect; did you mean {known}?"),
            None => "unknown variable, it has no effect; no known one resembles it".to_owned(),
        };
        problems.push(Problem::warning(Origin::Variable(name.to_owned()), text));
    }
    problems
}

/// What a server gets in a container although nobody said it.
fn defaults(settings: &[Setting]) -> Vec<(&'static str, &'static str)> {
    let is_set = |key: &str| settings.iter().any(|setting| setting.name == key);
    let mut defaults = vec![("tickTime", "2000"), ("initLimit", "5"), ("syncLimit", "2")];
    // A place of their own for logs is part of the image's layout, not of one that somebody else chose.
    if !is_set("dataDir") {
        defaults.extend([("dataDir", "/data"), ("dataLogDir", "/datalog")]);
    }
    let has_client_part =
        |setting: &Setting| setting.name.starts_with("server.") && setting.value.contains(';');
    if !settings.iter().any(has_client_part) {
        defaults.push(("clientPort", "2181"));
    }
    defaults.retain(|(key, _)| !is_set(key));
    defaults
}

/// All variables but those that Kubernetes sets for services whose names happen to begin like ours.
fn own_variables(environment: &Environment) -> impl Iterator<Item = (&str, &str)> {
    environment.variables().filter(|(name, value)| {
        let is_link = value.starts_with("tcp://")
            || value.starts_with("udp://")
            || name.ends_with("_SERVICE_HOST")
            || name.contains("_SERVICE_PORT")
            || name.contains("_TCP_")
            || name.contains("_UDP_");
        !is_link
    })
}

/// `foo_bar` is foo.bar, unless ZooKeeper's own name has the underscores.
fn key_of(name: &str) -> String {
    let dotted = name.replace('_', ".");
    if known_keys::find(&dotted).is_none() && known_keys::find(name).is_some() {
        return name.to_owned();
    }
    dotted
}

/// A value for people: secrets stay hidden, also those whose keys are only known by their sound.
fn shown(key: &str, value: &str) -> String {
    let is_secret = matches!(
        known_keys::find(key),
        Some(Known::Acting(Key {
            rule: Rule::Secret(_),
            ..
        }))
    );
    let lower = key.to_ascii_lowercase();
    if is_secret || lower.contains("passw") || lower.contains("superdigest") {
        return "(secret)".to_owned();
    }
    value.to_owned()
}

fn origin(environment: &Environment, name: &str) -> Origin {
    let suffix = if environment.is_from_file(name) {
        FILE_SUFFIX
    } else {
        ""
    };
    Origin::Variable(format!("{name}{suffix}"))
}

fn by_name(name: &str) -> Option<&'static Variable> {
    VARIABLES.iter().find(|variable| variable.name == name)
}

fn is_known(name: &str) -> bool {
    let is_key = name.starts_with(KEY_PREFIX) && name.len() > KEY_PREFIX.len();
    by_name(name).is_some() || LIST_VARIABLES.contains(&name) || ID_VARIABLES.contains(&name) || is_key
}

fn nearest(name: &str) -> Option<&'static str> {
    let known = VARIABLES.iter().map(|variable| variable.name);
    known
        .chain(LIST_VARIABLES)
        .chain(ID_VARIABLES)
        .map(|known| (edit_distance(name, known), known))
        .filter(|(distance, _)| *distance <= 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// One variable and the key that it sets.
struct Variable {
    name: &'static str,
    key: &'static str,
    form: Form,
}

/// How the text of a variable becomes the value of its key.
enum Form {
    /// As it is.
    Plain,
    /// yes, true and 1 are true; no, false and 0 are false.
    Switch,
    /// On, it stands for this value; off, for nothing.
    OnMeans(&'static str),
    /// On, it asks for what is not there yet.
    Demand,
}

impl Form {
    fn value(&self, text: &str) -> Option<String> {
        match self {
            Form::Plain => Some(text.to_owned()),
            Form::Switch => Some(is_on(text).map_or(text.to_owned(), |is_on| is_on.to_string())),
            Form::OnMeans(value) => (is_on(text) == Some(true)).then(|| (*value).to_owned()),
            Form::Demand => None,
        }
    }
}

fn is_on(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "yes" | "true" | "1" => Some(true),
        "no" | "false" | "0" => Some(false),
        _ => None,
    }
}

const fn plain(name: &'static str, key: &'static str) -> Variable {
    let form = Form::Plain;
    Variable { name, key, form }
}

const fn switch(name: &'static str, key: &'static str) -> Variable {
    let form = Form::Switch;
    Variable { name, key, form }
}

const fn on_means(name: &'static str, key: &'static str, value: &'static str) -> Variable {
    let form = Form::OnMeans(value);
    Variable { name, key, form }
}

/// Of two for one key, the later one counts.
const VARIABLES: &[Variable] = &[
    plain("ZOO_DATA_DIR", "dataDir"),
    plain("ZOO_DATA_LOG_DIR", "dataLogDir"),
    plain("ZOO_TICK_TIME", "tickTime"),
    plain("ZOO_INIT_LIMIT", "initLimit"),
    plain("ZOO_SYNC_LIMIT", "syncLimit"),
    plain("ZOO_MAX_SESSION_TIMEOUT", "maxSessionTimeout"),
    plain("ZOO_PORT_NUMBER", "clientPort"),
    plain("ZOO_MAX_CLIENT_CNXNS", "maxClientCnxns"),
    plain("ZOO_MAX_CNXNS", "maxCnxns"),
    plain("ZOO_PRE_ALLOC_SIZE", "preAllocSize"),
    plain("ZOO_SNAPCOUNT", "snapCount"),
    plain("ZOO_AUTOPURGE_INTERVAL", "autopurge.purgeInterval"),
    plain("ZOO_AUTOPURGE_PURGEINTERVAL", "autopurge.purgeInterval"),
    plain("ZOO_AUTOPURGE_RETAIN_COUNT", "autopurge.snapRetainCount"),
    plain("ZOO_AUTOPURGE_SNAPRETAINCOUNT", "autopurge.snapRetainCount"),
    plain("ZOO_4LW_COMMANDS_WHITELIST", "4lw.commands.whitelist"),
    plain("ZOO_PEER_TYPE", "peerType"),
    switch("ZOO_STANDALONE_ENABLED", "standaloneEnabled"),
    switch("ZOO_RECONFIG_ENABLED", "reconfigEnabled"),
    switch("ZOO_LISTEN_ALLIPS_ENABLED", "quorumListenOnAllIPs"),
    switch("ZOO_ENABLE_ADMIN_SERVER", "admin.enableServer"),
    switch("ZOO_ADMINSERVER_ENABLED", "admin.enableServer"),
    plain("ZOO_ADMIN_SERVER_ADDRESS", "admin.serverAddress"),
    plain("ZOO_ADMIN_SERVER_PORT_NUMBER", "admin.serverPort"),
    on_means(
        "ZOO_ENABLE_PROMETHEUS_METRICS",
        "metricsProvider.className",
        "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider",
    ),
    plain("ZOO_PROMETHEUS_METRICS_PORT_NUMBER", "metricsProvider.httpPort"),
    switch("ZOO_ENABLE_QUORUM_AUTH", "quorum.auth.enableSasl"),
    on_means("ZOO_TLS_CLIENT_ENABLE", "secureClientPort", "3181"),
    switch("ZOO_TLS_QUORUM_ENABLE", "sslQuorum"),
    Variable {
        name: "ZOO_ENABLE_AUTH",
        key: "",
        form: Form::Demand,
    },
];

/// Variables with a list of servers; the first that is set counts.
const LIST_VARIABLES: [&str; 2] = ["ZOO_SERVERS", "SERVERS"];
/// Variables with the number of this server; the first that is set counts.
pub(super) const ID_VARIABLES: [&str; 3] = ["ZOO_MY_ID", "ZOO_SERVER_ID", "MYID"];
/// Further settings, with blanks between them.
const EXTRA: &str = "ZOO_CFG_EXTRA";
/// Any key, with underscores for dots.
const KEY_PREFIX: &str = "ZOO_CFG_";
const FILE_SUFFIX: &str = "_FILE";
/// Variables that other parts of the program read, and those that concern only the images.
const ELSEWHERE: [&str; 11] = [
    "ZOO_CONF_DIR",
    "ZOO_DATADIR_AUTOCREATE_DISABLE",
    "ZOO_FIPS_MODE",
    "ZOO_HC_TIMEOUT",
    "ZOO_HEAP_SIZE",
    "ZOO_LOG4J_PROP",
    "ZOO_LOG_DIR",
    "ZOO_LOG_FILE",
    "ZOO_LOG_LEVEL",
    "ZOO_NOEXEC",
    "ZOO_USER",
];
/// Users, passwords and certificates of Bitnami's image.
const LATER_PREFIXES: [&str; 5] = [
    "ZOO_TLS_",
    "ZOO_CLIENT_",
    "ZOO_SERVER_USERS",
    "ZOO_SERVER_PASSWORDS",
    "ZOO_QUORUM_",
];

#[cfg(test)]
mod tests;
