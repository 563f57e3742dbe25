//! The files in which a server finds the members at its next start (QuorumPeerConfig.writeDynamicConfig,
//! editStaticConfig): `zoo.cfg.dynamic.<version>` for those in force, `zoo.cfg.dynamic.next` for those that
//! are proposed, and `zoo.cfg` itself, which names the former.
//!
//! Invariant: a file is whole and on disk under its name, or not there under it. Whatever a crash leaves,
//! what was proposed is known until it, or something newer, is in force.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::properties;
use crate::ids::ServerId;
use crate::quorum::configs::{Config, Configs};
use crate::quorum::members::Members;

/// Where the files are.
#[derive(Debug, Clone)]
pub struct DynamicFiles {
    /// `zoo.cfg`.
    static_file: PathBuf,
    /// This server.
    me: ServerId,
}

impl DynamicFiles {
    /// Beside this configuration file.
    pub fn new(static_file: &Path, me: ServerId) -> DynamicFiles {
        DynamicFiles {
            static_file: static_file.to_owned(),
            me,
        }
    }

    /// Keeps the configuration file as it is, and so shows that files can be written here.
    pub fn keep_original(&self) -> io::Result<()> {
        let original = fs::read(&self.static_file)?;
        write_durably(&self.beside(".bak"), &original)
    }

    /// Shows that files can be written here.
    pub fn probe(&self) -> io::Result<()> {
        let probe = self.beside(".dynamic.probe");
        write_durably(&probe, b"")?;
        fs::remove_file(probe)
    }

    /// What is proposed is found at the next start; nothing is, if nothing is proposed.
    pub fn save_proposed(&self, configs: &Configs) -> io::Result<()> {
        match configs.proposed() {
            Some(proposed) => write_durably(&next_file(&self.static_file), lines(proposed, true).as_bytes()),
            None => self.remove_proposed(),
        }
    }

    /// What is in force is found at the next start, and named by the configuration file.
    pub fn save_committed(&self, configs: &Configs) -> io::Result<()> {
        let committed = configs.committed();
        let file = self.beside(&format!(".dynamic.{:x}", committed.members().version));
        write_durably(&file, lines(committed, false).as_bytes())?;
        self.point_to(&file, committed.members())?;
        match configs.proposed() {
            Some(_) => Ok(()),
            None => self.remove_proposed(),
        }
    }

    fn remove_proposed(&self) -> io::Result<()> {
        let next = next_file(&self.static_file);
        match fs::remove_file(&next) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => sync_dir(&next),
        }
    }

    fn point_to(&self, file: &Path, members: &Members) -> io::Result<()> {
        let own = members.servers.get(&self.me);
        let names_client_port = own.is_some_and(|own| own.client_address.is_some());
        // What is behind a link is rewritten, not the link.
        let target = fs::canonicalize(&self.static_file)?;
        let before = fs::read(&target)?;
        let mut after = without_members(&before, names_client_port);
        after.extend_from_slice(b"dynamicConfigFile=");
        after.extend_from_slice(fs::canonicalize(file)?.as_os_str().as_encoded_bytes());
        after.push(b'\n');
        if after == before {
            return Ok(());
        }
        let permissions = fs::metadata(&target)?.permissions();
        write_durably_with(&target, &after, Some(permissions))
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        beside(&self.static_file, suffix)
    }
}

/// Where the configuration that was seen last is, while it is not in force.
pub fn next_file(static_file: &Path) -> PathBuf {
    beside(static_file, ".dynamic.next")
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// Its lines in order, without a newline at the end.
fn lines(config: &Config, has_version: bool) -> String {
    let text = String::from_utf8_lossy(config.text());
    let mut lines: Vec<String> = Members::lines(&text)
        .filter(|(key, _)| has_version || key != "version")
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    lines.sort();
    lines.join("\n")
}

/// The file without the lines that now are elsewhere; all others as they are.
fn without_members(content: &[u8], names_client_port: bool) -> Vec<u8> {
    let start = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let (entries, _) = properties::parse(start);
    let is_dropped = |key: &str| {
        let key = key.trim();
        let key = key.strip_prefix("zookeeper.").unwrap_or(key);
        key.starts_with("server.")
            || key.starts_with("group")
            || key.starts_with("weight")
            || key.starts_with("dynamicConfigFile")
            || key.starts_with("peerType")
            || (names_client_port && key.starts_with("clientPort"))
    };
    let dropped = entries.iter().filter(|entry| is_dropped(&entry.key));
    let dropped: Vec<usize> = dropped.map(|entry| entry.line as usize).collect();
    let mut kept = Vec::with_capacity(content.len());
    let mut is_in_dropped = false;
    for (at, line) in properties::natural_lines(start).into_iter().enumerate() {
        is_in_dropped |= dropped.contains(&(at + 1));
        if !is_in_dropped {
            kept.extend_from_slice(line);
            kept.push(b'\n');
        }
        is_in_dropped &= properties::is_continued(line);
    }
    kept
}

fn write_durably(path: &Path, content: &[u8]) -> io::Result<()> {
    write_durably_with(path, content, None)
}

fn write_durably_with(path: &Path, content: &[u8], permissions: Option<fs::Permissions>) -> io::Result<()> {
    let unfinished = beside(path, ".tmp");
    let mut file = File::create(&unfinished)?;
    if let Some(permissions) = permissions {
        file.set_permissions(permissions)?;
    }
    file.write_all(content)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&unfinished, path)?;
    sync_dir(path)
}

/// Makes names in the file's directory durable.
fn sync_dir(path: &Path) -> io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    File::open(dir.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(version: u64, more: &str) -> Config {
        let text = format!(
            "server.10=c:1:2:participant;0.0.0.0:5\nserver.2=b:1:2:participant\n{more}version={version:x}"
        );
        Config::new(Members::parse(&text).unwrap())
    }

    fn names(dir: &Path) -> Vec<String> {
        let names = fs::read_dir(dir).unwrap();
        let mut names: Vec<String> = names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_files_are_apaches() {
        let dir = tempfile::tempdir().unwrap();
        let static_file = dir.path().join("zoo.cfg");
        let original = "# why\ntickTime=2000\nserver.2=b:1:2\nserver.10=\\\n  c:1:2\n clientPort = 5\n\
                        clientPortAddress=0.0.0.0\ngroupX=1\npeerType=observer\ndataDir=/d";
        fs::write(&static_file, original).unwrap();
        let files = DynamicFiles::new(&static_file, ServerId(10));
        files.keep_original().unwrap();
        files.probe().unwrap();
        let mut configs = Configs::new(config(0, "").members().clone());
        configs.propose(config(0x1_0000_0000, ""));
        files.save_proposed(&configs).unwrap();
        assert_eq!(
            names(dir.path()),
            ["zoo.cfg", "zoo.cfg.bak", "zoo.cfg.dynamic.next"]
        );
        let next = fs::read_to_string(next_file(&static_file)).unwrap();
        let both = "server.10=c:1:2:participant;0.0.0.0:5\nserver.2=b:1:2:participant";
        assert_eq!(next, format!("{both}\nversion=100000000"));
        configs.commit(config(0x1_0000_0000, ""));
        files.save_committed(&configs).unwrap();
        assert_eq!(
            names(dir.path()),
            ["zoo.cfg", "zoo.cfg.bak", "zoo.cfg.dynamic.100000000"]
        );
        let dynamic = fs::canonicalize(dir.path().join("zoo.cfg.dynamic.100000000")).unwrap();
        assert_eq!(fs::read_to_string(&dynamic).unwrap(), both);
        let shown = fs::read_to_string(&static_file).unwrap();
        let expected = format!(
            "# why\ntickTime=2000\ndataDir=/d\ndynamicConfigFile={}\n",
            dynamic.display()
        );
        assert_eq!(shown, expected);
        assert_eq!(
            fs::read_to_string(dir.path().join("zoo.cfg.bak")).unwrap(),
            original
        );
        // The next one takes its place in the file.
        configs.commit(config(0x1_0000_0007, "server.3=d:1:2:observer\n"));
        files.save_committed(&configs).unwrap();
        let shown = fs::read_to_string(&static_file).unwrap();
        assert_eq!(shown, expected.replace("dynamic.100000000", "dynamic.100000007"));
    }

    #[test]
    fn what_is_proposed_outlives_what_comes_into_force_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let static_file = dir.path().join("zoo.cfg");
        fs::write(&static_file, "clientPort=5\n").unwrap();
        let files = DynamicFiles::new(&static_file, ServerId(2));
        let mut configs = Configs::new(config(1, "").members().clone());
        configs.propose(config(9, ""));
        files.save_proposed(&configs).unwrap();
        configs.commit(config(8, ""));
        files.save_committed(&configs).unwrap();
        assert!(next_file(&static_file).exists());
        // This server's line names no port for clients.
        assert!(
            fs::read_to_string(&static_file)
                .unwrap()
                .starts_with("clientPort=5\n")
        );
        configs.propose(config(8, ""));
        files.save_proposed(&configs).unwrap();
        assert!(!next_file(&static_file).exists());
    }
}
