//! Who asks: `user:password` from a file or a variable, never from the command line, where every process of
//! the machine could read it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::{fs, io};

use anyhow::{Context, bail};

use crate::config::{Environment, Secret};

/// An identity of the scheme `digest`.
pub(super) struct Identity {
    user: String,
    credentials: Secret<String>,
}

impl Identity {
    /// From `--auth-file`, else `ZKSERVER_AUTH_FILE`, else `ZKSERVER_AUTH`; `None` where none of them is set.
    /// Files that others may read are named in a warning.
    pub(super) fn find(
        file: Option<&Path>,
        environment: &Environment,
        err: &mut dyn io::Write,
    ) -> anyhow::Result<Option<Identity>> {
        let named = environment.variable(FILE_VARIABLE).map(Path::new);
        if let Some(path) = file.or(named) {
            return Identity::of_file(path, err).map(Some);
        }
        let Some(text) = environment.variable(VARIABLE) else {
            return Ok(None);
        };
        Identity::parse(text)
            .with_context(|| format!("the variable {VARIABLE}"))
            .map(Some)
    }

    /// The user, for sentences.
    pub(super) fn user(&self) -> &str {
        &self.user
    }

    /// What the scheme sends.
    pub(super) fn credentials(&self) -> &str {
        self.credentials.expose()
    }

    fn of_file(path: &Path, err: &mut dyn io::Write) -> anyhow::Result<Identity> {
        let shown = path.display();
        let text = fs::read_to_string(path).with_context(|| format!("the identity in {shown}"))?;
        let mode = fs::metadata(path).map(|metadata| metadata.permissions().mode());
        if mode.is_ok_and(|mode| mode & OTHERS != 0) {
            writeln!(
                err,
                "warning: others may read the identity in {shown}: chmod 600 {shown}"
            )?;
        }
        Identity::parse(&text).with_context(|| format!("the identity in {shown}"))
    }

    fn parse(text: &str) -> anyhow::Result<Identity> {
        let line = text.lines().next().unwrap_or_default();
        let Some((user, password)) = line.split_once(':') else {
            bail!("its first line must be user:password");
        };
        if user.is_empty() || password.is_empty() {
            bail!("its first line must be user:password, and neither of them empty");
        }
        Ok(Identity {
            user: user.to_owned(),
            credentials: Secret::new(line.to_owned()),
        })
    }
}

/// What members of the group and everybody else may do.
const OTHERS: u32 = 0o077;
/// Holds `user:password`.
const VARIABLE: &str = "ZKSERVER_AUTH";
/// Names the file that does.
const FILE_VARIABLE: &str = "ZKSERVER_AUTH_FILE";

#[cfg(test)]
mod tests {
    use super::*;

    fn find(file: Option<&Path>, pairs: &[(&str, &str)]) -> (anyhow::Result<Option<Identity>>, String) {
        let mut err = Vec::new();
        let found = Identity::find(file, &Environment::from_pairs(pairs), &mut err);
        (found, String::from_utf8(err).unwrap())
    }

    #[test]
    fn the_file_comes_before_the_variable() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("identity");
        fs::write(&path, "ops:a:b\nanything\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let variable = [("ZKSERVER_AUTH", "other:c")];
        let (found, err) = find(Some(&path), &variable);
        let found = found.unwrap().unwrap();
        assert_eq!((found.user(), found.credentials()), ("ops", "ops:a:b"));
        assert_eq!(err, "");
        let named = path.display().to_string();
        let (found, _) = find(None, &[variable[0], ("ZKSERVER_AUTH_FILE", &named)]);
        assert_eq!(found.unwrap().unwrap().user(), "ops");
        let (found, _) = find(None, &variable);
        assert_eq!(found.unwrap().unwrap().user(), "other");
        assert!(find(None, &[]).0.unwrap().is_none());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(find(Some(&path), &[]).1.contains("chmod 600"));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_content() {
        for text in ["hunter2", "", "hunter2:", ":hunter2"] {
            let error = Identity::parse(text).err().unwrap();
            assert!(!format!("{error:#}").contains("hunter2"), "{error:#}");
        }
        let (found, _) = find(Some(Path::new("/nowhere/identity")), &[]);
        assert!(format!("{:#}", found.err().unwrap()).contains("/nowhere/identity"));
    }
}
