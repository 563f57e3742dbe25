//! From a file and the environment to a checked [`ServerConfig`]. All problems are collected.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::container;
use super::draft::Draft;
use super::dynamic;
use super::env::Environment;
use super::finish;
use super::keys::{Key, Place, Rule};
use super::known_keys::{self, Known};
use super::my_id::MyId;
use super::problem::{Origin, Problem, Severity};
use super::properties::{self, Property};
use super::server_config::{ConfigSource, ServerConfig};
use super::toml;
use super::value;

/// A configuration as read, and what is wrong with it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration. With errors among the problems it is only good for looking at.
    pub config: ServerConfig,
    /// Errors and warnings in the order of the file.
    pub problems: Vec<Problem>,
    /// Where the client port was found.
    pub client_port_place: ClientPortPlace,
    /// What was taken from where, for values that are in no file.
    pub notes: Vec<String>,
    /// Which server this is, if anything says so.
    pub my_id: Option<MyId>,
}

/// Where the client port was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientPortPlace {
    /// The key `clientPort`, or the built-in default.
    Key,
    /// The `;` part of the own `server.N` line.
    ServerLine,
    /// The same, in the dynamic configuration file.
    DynamicFile,
    /// Nowhere.
    Missing,
}

impl Loaded {
    /// The server must not start.
    pub fn has_errors(&self) -> bool {
        self.problems
            .iter()
            .any(|problem| problem.severity == Severity::Error)
    }
}

/// Reads a configuration.
pub fn load(source: &ConfigSource, environment: &Environment) -> Loaded {
    let mut problems = Vec::new();
    let mut notes = Vec::new();
    let (mut draft, settings) = match source {
        ConfigSource::BuiltIn => (built_in_draft(), Vec::new()),
        ConfigSource::Variables => {
            let taken = container::settings(environment);
            problems.extend(taken.problems);
            notes = taken.notes;
            (Draft::for_file(), taken.settings)
        }
        ConfigSource::File(path) => {
            let (properties, file_problems) = read_file(path);
            problems.extend(file_problems);
            let settings = file_settings(path, properties, &mut problems);
            (Draft::for_file(), settings)
        }
    };
    draft.config.source = source.clone();
    let (members, settings): (Vec<_>, Vec<_>) = settings
        .into_iter()
        .partition(|s| dynamic::is_member_key(&s.name));
    let (properties_below, properties_above) = flag_settings(environment, &mut problems);
    for setting in properties_below.iter().chain(&settings).chain(&properties_above) {
        apply(&mut draft, setting, &mut problems);
    }
    if environment.variable("ZOO_DATADIR_AUTOCREATE_DISABLE").is_some() {
        draft.config.storage.auto_create = false;
    }
    let mut lines: BTreeMap<String, Origin> = BTreeMap::new();
    lines.extend(
        settings
            .iter()
            .chain(&members)
            .map(|setting| (setting.name.clone(), setting.origin.clone())),
    );
    let whole = match source.path() {
        Some(path) => Origin::File(path.to_owned()),
        None => members
            .first()
            .map_or(Origin::CommandLine, |member| member.origin.clone()),
    };
    let lines = finish::Lines { whole, lines };
    let members = member_settings(&draft, members, &lines, &mut problems);
    if let Some(path) = source.path() {
        problems.extend(container::shadowed(environment, path, &settings, &members));
    }
    let client_port_place = finish::finish(&mut draft, &members, &lines, environment, &mut problems);
    if let Some(my_id) = draft.my_id.as_ref().filter(|my_id| !my_id.is_in_file()) {
        notes.push(format!("myid={} from {}", my_id.id.0, my_id.place));
    }
    Loaded {
        config: draft.config,
        problems,
        client_port_place,
        notes,
        my_id: draft.my_id,
    }
}

/// One setting with its place.
pub(super) struct Setting {
    /// Key without `zookeeper.` in front.
    pub name: String,
    /// Value without blanks around it.
    pub value: String,
    /// Where it was made.
    pub origin: Origin,
}

fn built_in_draft() -> Draft {
    let config = ServerConfig::default();
    let mut draft = Draft::for_file();
    draft.client_port = config.client_port.port;
    draft.data_dir = Some(config.storage.data_dir.clone());
    draft.config = config;
    draft
}

fn read_file(path: &Path) -> (Vec<Property>, Vec<Problem>) {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            let text = format!("cannot be read: {error}");
            return (
                Vec::new(),
                vec![Problem::error(Origin::File(path.to_owned()), text)],
            );
        }
    };
    let mut problems = Vec::new();
    let content = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let (properties, errors) = if path.extension().is_some_and(|extension| extension == "toml") {
        match std::str::from_utf8(content) {
            Ok(text) => toml::parse(text),
            Err(_) => {
                problems.push(Problem::error(
                    Origin::File(path.to_owned()),
                    "not valid UTF-8, as TOML must be",
                ));
                (Vec::new(), Vec::new())
            }
        }
    } else {
        let (properties, errors) = properties::parse(content);
        problems.extend(
            properties
                .iter()
                .filter_map(|property| warn_of_mangled_text(path, property)),
        );
        (properties, errors)
    };
    problems.extend(
        errors
            .into_iter()
            .map(|e| Problem::error(Origin::Line(path.to_owned(), e.line), e.text)),
    );
    (properties, problems)
}

fn warn_of_mangled_text(path: &Path, property: &Property) -> Option<Problem> {
    if property
        .value
        .chars()
        .all(|c| !('\u{80}'..='\u{ff}').contains(&c))
    {
        return None;
    }
    let text = format!(
        "{}: text beyond ASCII is read as ISO-8859-1, as Java does; write \\uXXXX for such characters",
        property.key
    );
    Some(Problem::warning(
        Origin::Line(path.to_owned(), property.line),
        text,
    ))
}

/// Settings of the file, in file order.
fn file_settings(path: &Path, properties: Vec<Property>, problems: &mut Vec<Problem>) -> Vec<Setting> {
    let mut settings: Vec<Setting> = Vec::new();
    for property in properties {
        let name = property.key.trim();
        let name = name.strip_prefix(PREFIX).unwrap_or(name).to_owned();
        let origin = Origin::Line(path.to_owned(), property.line);
        let value = property.value.trim().to_owned();
        let setting = Setting { name, value, origin };
        keep_last(&mut settings, setting, problems);
    }
    settings
}

/// Adds a setting; it counts instead of an earlier one of its name. `server.N` settings are all kept: which
/// of two is meant, nobody can guess.
pub(super) fn keep_last(settings: &mut Vec<Setting>, setting: Setting, problems: &mut Vec<Problem>) {
    let name = &setting.name;
    let earlier = settings.iter().position(|setting| setting.name == *name);
    if let Some(at) = earlier.filter(|_| !name.starts_with("server.")) {
        let earlier = settings.remove(at);
        let what = match setting.origin {
            Origin::Variable(_) => "variable",
            Origin::Line(..) | Origin::File(_) | Origin::CommandLine => "line",
        };
        let text = format!("{name}: already set at {}, this {what} counts", earlier.origin);
        problems.push(Problem::warning(setting.origin.clone(), text));
    }
    settings.push(setting);
}

/// `-D` flags: those that the file overrides, and those that override the file.
fn flag_settings(environment: &Environment, problems: &mut Vec<Problem>) -> (Vec<Setting>, Vec<Setting>) {
    let mut below = Vec::new();
    let mut above = Vec::new();
    for property in environment.java_properties() {
        let origin = Origin::Variable(property.variable.to_owned());
        let prefixed = property.name.strip_prefix(PREFIX);
        let name = prefixed.unwrap_or(&property.name).to_owned();
        // Other flags are for the Java virtual machine and its libraries.
        if prefixed.is_none() && !known_keys::is_java_property(&name) {
            continue;
        }
        if let Some(Known::Acting(Key {
            place: Place::File, ..
        })) = known_keys::find(&name)
        {
            let text = format!(
                "-D{}: has no effect, {name} is read from the configuration file only",
                property.name
            );
            problems.push(Problem::warning(origin, text));
            continue;
        }
        let is_above = known_keys::is_java_property(&name);
        let setting = Setting {
            name,
            value: property.value.trim().to_owned(),
            origin,
        };
        if is_above {
            above.push(setting)
        } else {
            below.push(setting)
        }
    }
    (below, above)
}

fn apply(draft: &mut Draft, setting: &Setting, problems: &mut Vec<Problem>) {
    let name = &setting.name;
    match known_keys::find(name) {
        Some(Known::Acting(key)) => apply_acting(draft, key, setting, problems),
        Some(Known::Passive(rule)) => problems.extend(passive_problem(rule, setting)),
        None => {
            let hint = match known_keys::nearest(name) {
                Some(known) => format!("did you mean {known}?"),
                None => "no known key resembles it".to_owned(),
            };
            let text = format!("{name}: unknown key, it has no effect; {hint}");
            problems.push(Problem::warning(setting.origin.clone(), text));
        }
    }
}

fn apply_acting(draft: &mut Draft, key: &Key, setting: &Setting, problems: &mut Vec<Problem>) {
    let is_literal = matches!(key.rule, Rule::Path(_) | Rule::Secret(_));
    let (bare, has_comment) = value::without_comment(&setting.value);
    let text = if is_literal { setting.value.as_str() } else { bare };
    if has_comment && !is_literal {
        let text = format!(
            "{}: read as \"{text}\"; a comment needs a line of its own",
            key.name
        );
        problems.push(Problem::warning(setting.origin.clone(), text));
    }
    match set(draft, key, text) {
        Ok(()) => {
            for doubt in draft.doubts.drain(..) {
                problems.push(Problem::warning(
                    setting.origin.clone(),
                    format!("{}: {doubt}", key.name),
                ));
            }
        }
        Err(reason) => {
            draft.doubts.clear();
            problems.push(Problem::error(
                setting.origin.clone(),
                format!("{}: {reason}", key.name),
            ));
        }
    }
    let is_file = matches!(setting.origin, Origin::Line(..));
    if key.place == Place::JavaProperty && is_file {
        let text = format!(
            "{}: takes effect here; Apache reads it only as -D{0}=.. and ignores this line",
            key.name
        );
        problems.push(Problem::warning(setting.origin.clone(), text));
    }
}

fn set(draft: &mut Draft, key: &Key, text: &str) -> Result<(), String> {
    match &key.rule {
        Rule::Int(least, most, unit, setter) => {
            let number = if key.place == Place::File {
                value::decimal(text)
            } else {
                value::any_radix(text)
            };
            match number.filter(|number| (least..=most).contains(&number)) {
                Some(number) => setter(draft, number),
                None => {
                    return Err(format!(
                        "found \"{text}\", it must be a whole number from {least} to {most} ({unit})"
                    ));
                }
            }
        }
        Rule::Bool(setter) => setter(draft, word_of(text, "true", "false")?),
        Rule::YesNo(setter) => setter(draft, word_of(text, "yes", "no")?),
        Rule::Word(setter) | Rule::Secret(setter) => setter(draft, text)?,
        Rule::Path(setter) => {
            let doubts = path_doubts(text)?;
            draft.doubts.extend(doubts);
            setter(draft, PathBuf::from(text));
        }
        Rule::NotYet(_) | Rule::Required(..) | Rule::JvmOnly | Rule::Misnamed(_) => {
            unreachable!("{} is among the acting keys", key.name)
        }
    }
    Ok(())
}

fn word_of(text: &str, yes: &str, no: &str) -> Result<bool, String> {
    if text.eq_ignore_ascii_case(yes) {
        Ok(true)
    } else if text.eq_ignore_ascii_case(no) {
        Ok(false)
    } else {
        Err(format!("found \"{text}\", allowed are {yes} and {no}"))
    }
}

fn path_doubts(text: &str) -> Result<Vec<String>, String> {
    if text.is_empty() {
        return Err("found nothing, it must be a path".to_owned());
    }
    let mut doubts = Vec::new();
    if text.contains(" #") {
        doubts.push(format!(
            "the path is \"{text}\": a comment needs a line of its own"
        ));
    }
    if text.starts_with('~') || text.contains("${") {
        doubts.push(format!(
            "the path \"{text}\" is taken literally, ~ and ${{..}} are not replaced"
        ));
    } else if !text.starts_with('/') && !text.starts_with("./") {
        doubts.push(format!(
            "\"{text}\" is relative to the working directory; start it with ./ if that is meant"
        ));
    }
    Ok(doubts)
}

fn passive_problem(rule: &Rule, setting: &Setting) -> Option<Problem> {
    let name = &setting.name;
    let origin = setting.origin.clone();
    match rule {
        Rule::NotYet(quiet) if setting.value.eq_ignore_ascii_case(quiet) => None,
        Rule::Required(quiet, _) if setting.value.eq_ignore_ascii_case(quiet) => None,
        Rule::NotYet(_) => Some(Problem::warning(
            origin,
            format!("{name}: known, has no effect yet"),
        )),
        Rule::JvmOnly => {
            let text = format!("{name}: known, concerns Apache's Java program only and has no effect here");
            Some(Problem::warning(origin, text))
        }
        Rule::Misnamed(real) => {
            let text = format!("{name}: has no effect in Apache either, the key that it reads is {real}");
            Some(Problem::warning(origin, text))
        }
        Rule::Required(quiet, reason) => {
            let text = format!(
                "{name}: cannot be honoured yet and must not be ignored: {reason}; only {quiet} is allowed"
            );
            Some(Problem::error(origin, text))
        }
        Rule::Int(..) | Rule::Bool(_) | Rule::YesNo(_) | Rule::Word(_) | Rule::Path(_) | Rule::Secret(_) => {
            unreachable!("{name} is not among the acting keys")
        }
    }
}

/// The member lines: from the main file, or from the file that `dynamicConfigFile` names.
fn member_settings(
    draft: &Draft,
    members: Vec<Setting>,
    lines: &finish::Lines,
    problems: &mut Vec<Problem>,
) -> Vec<Setting> {
    let Some(dynamic_path) = &draft.dynamic_config_file else {
        return members;
    };
    for setting in &members {
        let text = format!(
            "parameter: {} must be in a separate dynamic config file ({})",
            setting.name,
            dynamic_path.display()
        );
        problems.push(Problem::error(setting.origin.clone(), text));
    }
    if !dynamic_path.is_file() {
        let text = format!("dynamicConfigFile: {} file is missing", dynamic_path.display());
        problems.push(Problem::error(lines.of("dynamicConfigFile"), text));
        return Vec::new();
    }
    let (properties, file_problems) = read_file(dynamic_path);
    problems.extend(file_problems);
    let (members, others): (Vec<_>, Vec<_>) = file_settings(dynamic_path, properties, problems)
        .into_iter()
        .partition(|setting| dynamic::is_member_key(&setting.name));
    for setting in others {
        let text = format!(
            "{}: only server.N, group.G and weight.N may be in a dynamic config file",
            setting.name
        );
        problems.push(Problem::error(setting.origin, text));
    }
    members
}

const PREFIX: &str = "zookeeper.";

#[cfg(test)]
mod tests;
