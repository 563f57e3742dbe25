//! Which file is the configuration: the rules of zkServer.sh, then the usual places.
//! Invariant: what was named must be there; built-in defaults apply only when nothing was named or found.

use std::path::{Path, PathBuf};

use super::container;
use super::env::Environment;
use super::problem::{Origin, Problem};
use super::server_config::ConfigSource;

/// What the command line says about the configuration.
#[derive(Debug, Clone, Default)]
pub struct ConfigRequest {
    /// `--config DIR`.
    pub config_dir: Option<PathBuf>,
    /// The argument after the subcommand: a path, or a file name in the configuration directory.
    pub config: Option<PathBuf>,
}

/// What was found.
#[derive(Debug, Clone)]
pub struct Located {
    /// The configuration.
    pub source: ConfigSource,
    /// Directories that were looked through.
    pub searched: Vec<PathBuf>,
    /// Doubts met on the way.
    pub problems: Vec<Problem>,
}

/// Finds the configuration. `environment` takes over `zookeeper-env.sh` and `java.env` of its directory, and
/// the content of files that its variables name.
pub fn locate(
    request: &ConfigRequest,
    environment: &mut Environment,
    search_dirs: &[PathBuf],
) -> Result<Located, Problem> {
    let mut problems = container::read_files(environment);
    let variable_dir = environment.variable("ZOOCFGDIR").map(PathBuf::from);
    let named_dir = request.config_dir.clone().or(variable_dir);
    if let Some(dir) = &named_dir {
        source_fragments(dir, environment, &mut problems);
    }
    // The official image's name for the directory, which need not be there.
    let image_dir = environment.variable("ZOO_CONF_DIR").map(PathBuf::from);
    let search_dirs: Vec<PathBuf> = image_dir.into_iter().chain(search_dirs.iter().cloned()).collect();
    let name = request
        .config
        .clone()
        .or_else(|| environment.variable("ZOOCFG").map(PathBuf::from));
    let has_variables = container::is_configured(environment);
    let found = match (name, &named_dir) {
        (Some(path), _) if !is_bare(&path) => Some(named_path(path)?),
        (Some(name), Some(dir)) => Some(named_in(&name, std::slice::from_ref(dir))?),
        (Some(name), None) => Some(named_in(&name, &search_dirs)?),
        // An image sets ZOOCFGDIR also where it leaves the directory empty and variables are all there is.
        (None, Some(dir)) if request.config_dir.is_none() && has_variables => default_file(dir),
        (None, Some(dir)) => Some(named_path(dir.clone())?),
        (None, None) => search_dirs.iter().find_map(|dir| default_file(dir)),
    };
    let (source, searched) = match found {
        Some(file) => {
            if named_dir.is_none() {
                source_fragments(parent_of(&file), environment, &mut problems);
            }
            (ConfigSource::File(file), Vec::new())
        }
        None if has_variables => (ConfigSource::Variables, search_dirs),
        None => (ConfigSource::BuiltIn, search_dirs),
    };
    Ok(Located {
        source,
        searched,
        problems,
    })
}

/// The directories to look through when none is named: by zkServer.sh's rule, then the usual places.
pub fn search_dirs(program: Option<&Path>) -> Vec<PathBuf> {
    let beside = program.and_then(Path::parent).and_then(Path::parent);
    let relative = beside
        .into_iter()
        .flat_map(|root| [root.join("conf"), root.join("etc/zookeeper")]);
    relative
        .chain(["/etc/zkserver", "/etc/zookeeper/conf"].map(PathBuf::from))
        .collect()
}

/// A path names a file, or a directory with a file of the default name.
fn named_path(path: PathBuf) -> Result<PathBuf, Problem> {
    if path.is_file() {
        return Ok(path);
    }
    if path.is_dir() {
        return default_file(&path).ok_or_else(|| missing(&path.join(DEFAULT_FILES[0])));
    }
    Err(missing(&path))
}

/// A bare file name is looked up in the configuration directories, at last in the working directory.
fn named_in(name: &Path, dirs: &[PathBuf]) -> Result<PathBuf, Problem> {
    let candidates = dirs.iter().map(|dir| dir.join(name)).chain([name.to_owned()]);
    let first = dirs.first().map_or_else(|| name.to_owned(), |dir| dir.join(name));
    candidates
        .into_iter()
        .find(|path| path.is_file())
        .ok_or_else(|| missing(&first))
}

fn default_file(dir: &Path) -> Option<PathBuf> {
    DEFAULT_FILES
        .iter()
        .map(|name| dir.join(name))
        .find(|path| path.is_file())
}

fn source_fragments(dir: &Path, environment: &mut Environment, problems: &mut Vec<Problem>) {
    for name in ["zookeeper-env.sh", "java.env"] {
        let path = dir.join(name);
        let Ok(fragment) = std::fs::read(&path) else {
            continue;
        };
        for line in environment.source(&String::from_utf8_lossy(&fragment)) {
            let text = "not a plain NAME=value line, so it has no effect (shell fragments are read, not run)";
            problems.push(Problem::warning(Origin::Line(path.clone(), line), text));
        }
    }
}

fn missing(path: &Path) -> Problem {
    let text = format!(
        "{} file is missing: name a configuration file or directory that exists",
        path.display()
    );
    Problem::error(Origin::CommandLine, text)
}

fn is_bare(path: &Path) -> bool {
    path.components().count() == 1 && path.file_name().is_some_and(|name| name == path.as_os_str())
}

fn parent_of(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new(""))
}

const DEFAULT_FILES: [&str; 2] = ["zoo.cfg", "zoo.toml"];

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::{ConfigRequest, locate, search_dirs};
    use crate::config::env::Environment;
    use crate::config::server_config::ConfigSource;

    struct Places {
        root: tempfile::TempDir,
    }

    impl Places {
        fn new(files: &[&str]) -> Places {
            let root = tempfile::tempdir().unwrap();
            for file in files {
                let path = root.path().join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, "").unwrap();
            }
            Places { root }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.root.path().join(name)
        }

        /// The file found, below the root; or the error text.
        fn find(&self, dir: Option<&str>, config: Option<&str>, variables: &[(&str, &str)]) -> String {
            let request = ConfigRequest {
                config_dir: dir.map(|dir| self.path(dir)),
                config: config.map(|text| {
                    if text.contains('/') {
                        self.path(text)
                    } else {
                        PathBuf::from(text)
                    }
                }),
            };
            let mut environment = Environment::from_pairs(variables);
            let search = [self.path("first"), self.path("second")];
            match locate(&request, &mut environment, &search) {
                Ok(located) => match located.source {
                    ConfigSource::BuiltIn => "built in".to_owned(),
                    ConfigSource::Variables => "variables".to_owned(),
                    ConfigSource::File(path) => self.below_root(&path),
                },
                Err(problem) => problem.to_string(),
            }
        }

        fn below_root(&self, path: &Path) -> String {
            path.strip_prefix(self.root.path()).unwrap().display().to_string()
        }
    }

    #[test]
    fn the_rules_of_the_script_then_the_usual_places() {
        let places = Places::new(&[
            "second/zoo.cfg",
            "second/x.cfg",
            "d/zoo.cfg",
            "d/y.cfg",
            "t/zoo.toml",
            "e/other",
        ]);
        let d = places.path("d").display().to_string();
        let d_cfgdir = [("ZOOCFGDIR", d.as_str())];
        let d_both = [("ZOOCFGDIR", d.as_str()), ("ZOOCFG", "y.cfg")];
        assert_eq!(places.find(None, None, &[]), "second/zoo.cfg");
        assert_eq!(places.find(None, Some("x.cfg"), &[]), "second/x.cfg");
        assert_eq!(places.find(None, None, &[("ZOOCFG", "x.cfg")]), "second/x.cfg");
        assert_eq!(places.find(None, None, &d_cfgdir), "d/zoo.cfg");
        assert_eq!(places.find(None, None, &d_both), "d/y.cfg");
        assert_eq!(places.find(None, Some("zoo.cfg"), &d_both), "d/zoo.cfg");
        assert_eq!(places.find(Some("t"), None, &d_cfgdir), "t/zoo.toml");
        assert_eq!(places.find(Some("d"), Some("e/other"), &[]), "e/other");
        assert_eq!(places.find(None, Some("t/"), &[]), "t/zoo.toml");
    }

    #[test]
    fn what_was_named_must_be_there() {
        let places = Places::new(&["second/zoo.cfg", "e/other"]);
        for (dir, config, variables) in [
            (Some("e"), None, &[][..]),
            (Some("none"), None, &[]),
            (None, Some("none.cfg"), &[]),
            (None, Some("e/none.cfg"), &[]),
            (None, None, &[("ZOOCFG", "none.cfg")]),
            (None, None, &[("ZOOCFGDIR", "/nowhere/at/all")]),
        ] {
            let found = places.find(dir, config, variables);
            assert!(found.contains(" file is missing"), "{dir:?} {config:?}: {found}");
        }
    }

    #[test]
    fn built_in_defaults_only_when_nothing_is_there() {
        let places = Places::new(&["e/other"]);
        assert_eq!(places.find(None, None, &[]), "built in");
    }

    #[test]
    fn variables_stand_in_for_a_file_that_is_not_there() {
        let places = Places::new(&["second/zoo.cfg", "d/zoo.cfg", "e/other", "e/alt.cfg"]);
        let text = |name| places.path(name).display().to_string();
        let (d, e, f) = (text("d"), text("e"), text("f"));
        let id = ("ZOO_MY_ID", "1");
        assert_eq!(places.find(None, None, &[id]), "second/zoo.cfg");
        assert_eq!(places.find(None, None, &[id, ("ZOOCFGDIR", &d)]), "d/zoo.cfg");
        assert_eq!(places.find(None, None, &[id, ("ZOO_CONF_DIR", &d)]), "d/zoo.cfg");
        assert_eq!(
            places.find(None, None, &[id, ("ZOO_CONF_DIR", &f)]),
            "second/zoo.cfg"
        );
        assert_eq!(places.find(None, None, &[id, ("ZOOCFGDIR", &e)]), "variables");
        assert_eq!(places.find(None, None, &[id, ("ZOOCFGDIR", &f)]), "variables");
        let alt = [id, ("ZOOCFGDIR", e.as_str()), ("ZOOCFG", "alt.cfg")];
        assert_eq!(places.find(None, None, &alt), "e/alt.cfg");
        // What the command line names must be there all the same.
        assert!(places.find(Some("e"), None, &[id]).contains("is missing"));
        assert!(places.find(None, Some("e/none"), &[id]).contains("is missing"));
        let empty = Places::new(&["x"]);
        for (name, value, found) in [
            ("ZOO_MY_ID", "1", "variables"),
            ("ZOO_SERVER_ID", "1", "variables"),
            ("MYID", "1", "variables"),
            ("ZOO_SERVERS", "a", "variables"),
            ("SERVERS", "a", "variables"),
            ("ZOO_TICK_TIME", "1", "variables"),
            ("ZOO_CFG_tickTime", "1", "variables"),
            ("ZOO_CFG_EXTRA", "tickTime=1", "variables"),
            ("ZOO_DATA_DIR", "", "built in"),
            ("ZOO_LOG_LEVEL", "debug", "built in"),
            ("ZOO_LOG_DIR", "/x", "built in"),
            ("ZOO_CFG_SERVICE_HOST", "10.0.0.1", "built in"),
            ("SERVERS", "tcp://10.0.0.1:2181", "built in"),
        ] {
            assert_eq!(empty.find(None, None, &[(name, value)]), found, "{name}={value}");
        }
    }

    #[test]
    fn fragments_beside_the_file_extend_the_environment() {
        let places = Places::new(&["d/zoo.cfg", "d/alt.cfg"]);
        fs::write(places.path("d/zookeeper-env.sh"), "ZOOCFG=alt.cfg\nif x\n").unwrap();
        fs::write(places.path("d/java.env"), "export JVMFLAGS=-Dx=1").unwrap();
        let request = ConfigRequest {
            config_dir: Some(places.path("d")),
            config: None,
        };
        let mut environment = Environment::from_pairs(&[]);
        let located = locate(&request, &mut environment, &[]).unwrap();
        assert_eq!(located.source.path(), Some(places.path("d/alt.cfg").as_path()));
        assert_eq!(environment.variable("JVMFLAGS"), Some("-Dx=1"));
        assert_eq!(located.problems.len(), 1);
        assert!(
            located.problems[0].to_string().contains("zookeeper-env.sh:2: "),
            "{}",
            located.problems[0]
        );
    }

    #[test]
    fn the_places_beside_the_program_come_first() {
        let dirs = search_dirs(Some(Path::new("/opt/zk/bin/zkserver")));
        let texts: Vec<_> = dirs.iter().map(|dir| dir.display().to_string()).collect();
        assert_eq!(
            texts,
            [
                "/opt/zk/conf",
                "/opt/zk/etc/zookeeper",
                "/etc/zkserver",
                "/etc/zookeeper/conf"
            ]
        );
        assert_eq!(search_dirs(None).len(), 2);
    }
}
