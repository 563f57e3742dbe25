//! The program under the name of ZooKeeper's script: `zkServer.sh` takes the script's words and no others, so
//! that probes, runbooks and images that call it go on working.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::config::Environment;

/// The words as the program's own name would take them, else the script's usage. Under any other name, the
/// words as they are.
pub(super) fn words(words: Vec<OsString>, environment: &Environment) -> Result<Vec<OsString>, String> {
    let Some((program, arguments)) = words.split_first() else {
        return Ok(words);
    };
    if Path::new(program).file_name() != Some(OsStr::new(NAME)) {
        return Ok(words);
    }
    let usage = || format!("Usage: {} {USAGE}", program.to_string_lossy());
    let (config_dir, rest) = match arguments {
        [option, dir, rest @ ..] if option == "--config" => (Some(PathBuf::from(dir)), rest),
        _ => (None, arguments),
    };
    // The script looks at two words and passes over the others.
    let (command, config) = match rest {
        [] => return Err(usage()),
        [command, rest @ ..] => (command, rest.first().filter(|config| !config.is_empty())),
    };
    if !COMMANDS.iter().any(|known| command == known) {
        return Err(usage());
    }
    let has_variable = environment.variable("ZOOCFGDIR").is_some();
    let config_dir = config_dir.or_else(|| {
        let name = config.map_or(Path::new(DEFAULT_FILE), Path::new);
        dir_beside(Path::new(program), name).filter(|_| !has_variable)
    });
    let mut taken = vec![program.clone()];
    taken.extend(
        config_dir
            .into_iter()
            .flat_map(|dir| [OsString::from("--config"), dir.into_os_string()]),
    );
    taken.push(command.clone());
    // A word that looks like an option is a name of a file to the script.
    taken.extend(
        config
            .into_iter()
            .flat_map(|config| ["--".into(), config.clone()]),
    );
    Ok(taken)
}

/// The script's own idea of the configuration directory: beside the directory that it is called in. The
/// program itself may be elsewhere, with only a link here.
fn dir_beside(program: &Path, name: &Path) -> Option<PathBuf> {
    let bin = program.parent().filter(|bin| !bin.as_os_str().is_empty())?;
    let dirs = ["../conf", "../etc/zookeeper"].map(|dir| bin.join(dir));
    dirs.into_iter().find(|dir| dir.join(name).is_file())
}

const NAME: &str = "zkServer.sh";
const COMMANDS: [&str; 7] = [
    "start",
    "start-foreground",
    "stop",
    "version",
    "restart",
    "status",
    "print-cmd",
];
const USAGE: &str = "[--config <conf-dir>] {start|start-foreground|stop|version|restart|status|print-cmd}";
const DEFAULT_FILE: &str = "zoo.cfg";

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::fs;

    use super::words;
    use crate::config::Environment;

    fn taken(line: &str, variables: &[(&str, &str)]) -> String {
        let line: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        match words(line, &Environment::from_pairs(variables)) {
            Ok(words) => {
                let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
                words.join(" ")
            }
            Err(usage) => usage,
        }
    }

    #[test]
    fn by_its_name_the_words_are_those_of_the_script() {
        let usage = "Usage: bin/zkServer.sh [--config <conf-dir>] \
                     {start|start-foreground|stop|version|restart|status|print-cmd}";
        for (line, expected) in [
            ("zkserver", "zkserver"),
            ("bin/zkserver check x", "bin/zkserver check x"),
            ("bin/zkServer.sh", usage),
            ("bin/zkServer.sh --config /d", usage),
            ("bin/zkServer.sh check", usage),
            ("bin/zkServer.sh txnlog x", usage),
            ("bin/zkServer.sh --log-level debug status", usage),
            ("bin/zkServer.sh --help", usage),
            ("zkServer.sh status", "zkServer.sh status"),
            ("zkServer.sh status x.cfg", "zkServer.sh status -- x.cfg"),
            ("zkServer.sh status x.cfg y z", "zkServer.sh status -- x.cfg"),
            (
                "/x/zkServer.sh --config /d start x.cfg",
                "/x/zkServer.sh --config /d start -- x.cfg",
            ),
        ] {
            assert_eq!(taken(line, &[]), expected, "{line}");
        }
    }

    #[test]
    fn the_configuration_beside_a_link_counts_as_it_does_for_the_script() {
        let root = tempfile::tempdir().unwrap();
        let script = root.path().join("bin/zkServer.sh").display().to_string();
        let bin = root.path().join("bin").display().to_string();
        assert_eq!(
            taken(&format!("{script} status"), &[]),
            format!("{script} status")
        );
        fs::create_dir(&bin).unwrap();
        for dir in ["etc/zookeeper", "conf"] {
            fs::create_dir_all(root.path().join(dir)).unwrap();
            fs::write(root.path().join(dir).join("zoo.cfg"), "").unwrap();
            let expected = format!("{script} --config {bin}/../{dir} status");
            assert_eq!(taken(&format!("{script} status"), &[]), expected);
        }
        let line = format!("{script} --config /d status");
        assert_eq!(taken(&line, &[]), line);
        let line = format!("{script} status");
        assert_eq!(taken(&line, &[("ZOOCFGDIR", "/d")]), line);
    }
}
