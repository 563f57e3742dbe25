mod ensemble;
mod throttle;
mod values;

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{ClientPortPlace, Loaded, load};
use crate::config::env::Environment;
use crate::config::problem::Severity;
use crate::config::server_config::{ConfigSource, FourLetterConfig, ServerConfig};

/// A directory with a configuration file in it.
struct Place {
    dir: TempDir,
    name: &'static str,
}

impl Place {
    fn new(name: &'static str, text: &str) -> Place {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(name), text).unwrap();
        Place { dir, name }
    }

    /// A `zoo.cfg` with a data directory and a client port as its first two lines.
    fn zoo_cfg(lines: &str) -> Place {
        Place::new("zoo.cfg", &format!("dataDir=/zk\nclientPort=2181\n{lines}"))
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join(self.name)
    }

    fn load(&self) -> Loaded {
        self.load_with(&[])
    }

    fn load_with(&self, variables: &[(&str, &str)]) -> Loaded {
        load(
            &ConfigSource::File(self.path()),
            &Environment::from_pairs(variables),
        )
    }

    /// Texts of the problems, with `<dir>` for the directory.
    fn problems(&self, loaded: &Loaded, severity: Severity) -> Vec<String> {
        let dir = self.dir.path().display().to_string();
        let chosen = loaded
            .problems
            .iter()
            .filter(|problem| problem.severity == severity);
        chosen
            .map(|problem| problem.to_string().replace(&dir, "<dir>"))
            .collect()
    }
}

#[track_caller]
fn accepted(lines: &str) -> ServerConfig {
    let place = Place::zoo_cfg(lines);
    let loaded = place.load();
    assert_eq!(place.problems(&loaded, Severity::Error), [""; 0], "{lines}");
    loaded.config
}

#[test]
fn nothing_named_and_nothing_found_is_the_default() {
    let loaded = load(&ConfigSource::BuiltIn, &Environment::from_pairs(&[]));
    assert_eq!(loaded.config, ServerConfig::default());
    assert_eq!(loaded.problems, []);
    assert_eq!(loaded.client_port_place, ClientPortPlace::Key);
    assert_eq!(loaded.config.client_port.port, Some(2181));
    assert_eq!(loaded.config.client_port.host.as_deref(), Some("127.0.0.1"));
    assert_eq!(loaded.config.storage.data_dir, Path::new("./data"));
}

#[test]
fn a_minimal_file_takes_the_defaults_and_listens_everywhere() {
    let config = accepted("");
    let mut expected = ServerConfig {
        source: config.source.clone(),
        ..ServerConfig::default()
    };
    expected.client_port.host = None;
    expected.storage.data_dir = PathBuf::from("/zk");
    expected.storage.data_log_dir = PathBuf::from("/zk");
    assert_eq!(config, expected);
}

#[test]
fn all_errors_come_at_once() {
    let place = Place::new(
        "zoo.cfg",
        "tickTime=x\nclientPortAddress=h\nforceSync=1\nserver.1=h\n",
    );
    let errors = place.problems(&place.load(), Severity::Error);
    let places: Vec<_> = errors
        .iter()
        .map(|error| error.split(' ').next().unwrap_or_default())
        .collect();
    assert_eq!(
        places,
        [
            "<dir>/zoo.cfg:1:",
            "<dir>/zoo.cfg:3:",
            "<dir>/zoo.cfg:",
            "<dir>/zoo.cfg:4:",
            "<dir>/zoo.cfg:2:"
        ]
    );
    assert!(errors[2].contains("dataDir is not set"), "{errors:?}");
    assert!(
        errors[4].contains("clientPortAddress is set but clientPort is not set"),
        "{errors:?}"
    );
}

#[test]
fn a_wrong_value_is_reported_alone() {
    for text in ["dataDir=\nclientPort=2181", "dataDir=/zk\nclientPort=x"] {
        let place = Place::new("zoo.cfg", text);
        let loaded = place.load();
        assert_eq!(loaded.problems.len(), 1, "{:?}", loaded.problems);
    }
}

#[test]
fn a_missing_file_is_an_error() {
    let loaded = load(
        &ConfigSource::File(PathBuf::from("/nowhere/zoo.cfg")),
        &Environment::from_pairs(&[]),
    );
    assert!(
        loaded.problems[0]
            .to_string()
            .starts_with("/nowhere/zoo.cfg: cannot be read"),
        "{:?}",
        loaded.problems
    );
}

#[test]
fn cve_2014_0085_no_secret_is_shown() {
    let lines = "DigestAuthenticationProvider.superDigest=super:hunter2\nssl.keyStore.password=hunter2\n\
                 SASLAuthenticationProvider.superPassword=hunter2\nxyzPassword=hunter2\nsuperUser=hunter2\n";
    let loaded = Place::zoo_cfg(lines).load();
    assert_eq!(
        loaded
            .config
            .auth
            .super_digest
            .as_ref()
            .map(|secret| secret.expose().as_str()),
        Some("super:hunter2")
    );
    assert!(!format!("{loaded:?}").contains("hunter2"));
    assert_eq!(loaded.problems.len(), 4);
}

#[test]
fn java_flags_give_way_to_the_file_but_for_java_properties() {
    let flags = "-Xmx1g -Dzookeeper.snapCount=10 -Dzookeeper.maxCnxns=5 -Djute.maxbuffer=3000 -DsnapCount=99 \
                 -Dzookeeper.tickTime=1 -Dzookeeper.snapCuont=1 -Dfile.encoding=UTF-8";
    let place = Place::zoo_cfg("maxCnxns=6\njute.maxbuffer=2000");
    let loaded = place.load_with(&[
        ("SERVER_JVMFLAGS", flags),
        ("JVMFLAGS", "-Dzookeeper.snapCount=20"),
    ]);
    assert_eq!(loaded.config.storage.snap_count, Some(20));
    assert_eq!(loaded.config.client_port.max_cnxns, 6);
    assert_eq!(loaded.config.request.jute_max_buffer, 3_000);
    assert_eq!(loaded.config.session.tick_time_ms, 3_000);
    let warnings = place.problems(&loaded, Severity::Warning);
    assert_eq!(
        warnings,
        [
            "SERVER_JVMFLAGS: -Dzookeeper.tickTime: has no effect, \
             tickTime is read from the configuration file only",
            "SERVER_JVMFLAGS: snapCuont: unknown key, it has no effect; did you mean snapCount?",
            "<dir>/zoo.cfg:4: jute.maxbuffer: takes effect here; Apache reads it only as -Djute.maxbuffer=.. \
             and ignores this line",
        ]
    );
}

#[test]
fn the_variable_against_creation_counts() {
    let loaded = Place::zoo_cfg("").load_with(&[("ZOO_DATADIR_AUTOCREATE_DISABLE", "1")]);
    assert!(!loaded.config.storage.auto_create);
}

#[test]
fn a_toml_file_gives_the_same_structure() {
    let text = "dataDir = \"/zk\"\nclientPort = 2181\ntickTime = 2_000\n\
                4lw.commands.whitelist = [\"ruok\", \"cons\"]\n\
                [autopurge]\npurgeInterval = 0\n";
    let place = Place::new("zoo.toml", text);
    let loaded = place.load();
    assert_eq!(loaded.problems, []);
    let properties = "tickTime=2000\n4lw.commands.whitelist=ruok,cons\nautopurge.purgeInterval=0";
    let mut expected = accepted(properties);
    expected.source = ConfigSource::File(place.path());
    assert_eq!(loaded.config, expected);
    let wrong = Place::new(
        "zoo.toml",
        "dataDir = \"/zk\"\nclientPort = 2181\n[nio]\nsessionlessCnxnTimeout = \"x\"",
    );
    let errors = wrong.problems(&wrong.load(), Severity::Error);
    assert_eq!(errors.len(), 1);
    assert!(
        errors[0].starts_with("<dir>/zoo.toml:4: nio.sessionlessCnxnTimeout: found \"x\""),
        "{errors:?}"
    );
}

#[test]
fn the_sample_is_without_fault_and_says_the_defaults() {
    // The machine may have a myid where the sample keeps its data.
    let text = include_str!("../../../conf/zoo.cfg").replace("/var/lib/zookeeper", "/nonexistent/zookeeper");
    let loaded = Place::new("zoo.cfg", &text).load();
    assert_eq!(loaded.problems, []);
    assert_eq!(loaded.config.four_letter, FourLetterConfig::default());
    assert_eq!(loaded.config.purge, ServerConfig::default().purge);
    // Lines that are commented out are well-formed, too; super:.. has the form of a digest.
    let all = text.lines().map(|line| match line.strip_prefix('#') {
        Some(setting) if setting.contains('=') && !setting.starts_with(' ') => format!("{setting}\n"),
        _ => format!("{line}\n"),
    });
    let loaded = Place::new("zoo.cfg", &all.collect::<String>()).load();
    assert_eq!(
        loaded.problems.len(),
        1,
        "only jute.maxbuffer is doubtful: {:?}",
        loaded.problems
    );
}
