//! The environment as zkServer.sh sees it: variables, shell fragments beside `zoo.cfg`, Java's `-D` flags.
//! Only plain assignments of the fragments are understood; nothing is executed.

use std::collections::{BTreeMap, BTreeSet};

/// Environment variables, possibly extended by shell fragments.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    /// Names of those whose values came from files.
    from_files: BTreeSet<String>,
    /// The name of the machine, as the kernel has it.
    node_name: Option<String>,
}

/// A `-Dname=value` flag.
pub(super) struct JavaProperty {
    /// The variable that holds the flag.
    pub variable: &'static str,
    /// Name, with the `zookeeper.` in front of it.
    pub name: String,
    /// Value.
    pub value: String,
}

impl Environment {
    /// The environment of this process. Variables that are not UTF-8 are left out.
    pub fn of_process() -> Environment {
        let variables = std::env::vars_os();
        let texts =
            variables.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Environment {
            variables: texts.collect(),
            from_files: BTreeSet::new(),
            node_name: Some(rustix::system::uname().nodename().to_string_lossy().into_owned()),
        }
    }

    /// An environment of these variables only.
    pub fn from_pairs(pairs: &[(&str, &str)]) -> Environment {
        let variables = pairs
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()));
        Environment {
            variables: variables.collect(),
            from_files: BTreeSet::new(),
            node_name: None,
        }
    }

    /// The value of a variable; one that is empty counts as not set.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// All variables that are not empty, by name.
    pub(super) fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.variables.iter();
        all.map(|(name, value)| (name.as_str(), value.as_str()))
            .filter(|(_, value)| !value.is_empty())
    }

    /// Sets a variable to what a file holds.
    pub(super) fn set_from_file(&mut self, name: &str, content: &str) {
        self.variables.insert(name.to_owned(), content.to_owned());
        self.from_files.insert(name.to_owned());
    }

    /// The value of this variable came from a file.
    pub(super) fn is_from_file(&self, name: &str) -> bool {
        self.from_files.contains(name)
    }

    /// Names that this host or pod goes by, the most deliberate first.
    pub(super) fn host_names(&self) -> Vec<&str> {
        let variables = ["POD_NAME", "HOSTNAME"].into_iter();
        let names = variables.filter_map(|name| self.variable(name));
        names.chain(self.node_name.as_deref()).collect()
    }

    /// Takes over the assignments of a shell fragment. Returns the numbers of the lines that are none.
    pub(super) fn source(&mut self, fragment: &str) -> Vec<u32> {
        let mut others = Vec::new();
        for (line, number) in fragment.lines().zip(1u32..) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match self.assignment(line) {
                Some(Assignment::Set(name, value)) => {
                    self.variables.insert(name, value);
                }
                Some(Assignment::ExportOnly) => {}
                None => others.push(number),
            }
        }
        others
    }

    /// The `-D` flags for a server. Later ones win, as in Java: SERVER_JVMFLAGS come before JVMFLAGS.
    pub(super) fn java_properties(&self) -> Vec<JavaProperty> {
        let mut properties = Vec::new();
        for variable in ["SERVER_JVMFLAGS", "JVMFLAGS"] {
            for word in words(self.variable(variable).unwrap_or_default()) {
                if let Some(definition) = word.strip_prefix("-D") {
                    let (name, value) = definition.split_once('=').unwrap_or((definition, ""));
                    properties.push(JavaProperty {
                        variable,
                        name: name.to_owned(),
                        value: value.to_owned(),
                    });
                }
            }
        }
        properties
    }

    fn assignment(&self, line: &str) -> Option<Assignment> {
        let body = line.strip_prefix("export ").map_or(line, str::trim_start);
        let name_end = body
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .unwrap_or(body.len());
        let (name, rest) = body.split_at(name_end);
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        if rest.is_empty() && body.len() < line.len() {
            return Some(Assignment::ExportOnly);
        }
        let value = self.shell_word(rest.strip_prefix('=')?)?;
        Some(Assignment::Set(name.to_owned(), value))
    }

    /// The one shell word that follows `=`; None if there is more than a plain word.
    fn shell_word(&self, text: &str) -> Option<String> {
        let mut word = String::new();
        let mut quote: Option<char> = None;
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            rest = &rest[c.len_utf8()..];
            match (quote, c) {
                (Some('\''), '\'') | (Some('"'), '"') => quote = None,
                (Some('\''), other) => word.push(other),
                (None, '\'' | '"') => quote = Some(c),
                (_, '\\') => {
                    let escaped = rest.chars().next()?;
                    word.push(escaped);
                    rest = &rest[escaped.len_utf8()..];
                }
                (_, '`') => return None,
                (_, '$') => {
                    let (name, length) = variable_reference(rest)?;
                    word.push_str(self.variables.get(name).map_or("", String::as_str));
                    rest = &rest[length..];
                }
                (None, ' ' | '\t' | ';') => {
                    let rest = rest.trim_start_matches([' ', '\t', ';']);
                    return (rest.is_empty() || rest.starts_with('#')).then_some(word);
                }
                (None, '&' | '|' | '<' | '>' | '(' | ')') => return None,
                (_, other) => word.push(other),
            }
        }
        quote.is_none().then_some(word)
    }
}

enum Assignment {
    Set(String, String),
    ExportOnly,
}

/// The name after a `$`, and the bytes it takes.
fn variable_reference(text: &str) -> Option<(&str, usize)> {
    let is_name =
        |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if let Some(inner) = text.strip_prefix('{') {
        let (name, _) = inner.split_once('}')?;
        return is_name(name).then_some((name, name.len() + 2));
    }
    let end = text
        .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .unwrap_or(text.len());
    is_name(&text[..end]).then_some((&text[..end], end))
}

/// Splits flags at blanks; quotes keep blanks and vanish.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    for c in text.chars() {
        match (quote, c) {
            (Some(open), _) if open == c => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, _) if c.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::Environment;

    #[test]
    fn plain_assignments_of_a_fragment_are_taken_over() {
        let mut environment = Environment::from_pairs(&[("HOME", "/h"), ("JVMFLAGS", "-Dold=1")]);
        let fragment = r#"
            # comment
            ZOO_LOG_DIR=/var/log/zk   # trailing
            export ZOOCFG="other.cfg"
            A='$HOME "x"';
            B="$HOME/${HOME}x\"q"
            C=$HOME/y
            export JVMFLAGS="$JVMFLAGS -Djute.maxbuffer=4194304"
            export C
            D=
            if [ -f x ]; then
            E=$(hostname)
            F=`hostname`
            G="open
            H=1 command
            source other
        "#;
        assert_eq!(environment.source(fragment), [11, 12, 13, 14, 15, 16]);
        for (name, value) in [
            ("ZOO_LOG_DIR", Some("/var/log/zk")),
            ("ZOOCFG", Some("other.cfg")),
            ("A", Some("$HOME \"x\"")),
            ("B", Some("/h//hx\"q")),
            ("C", Some("/h/y")),
            ("D", None),
            ("E", None),
            ("H", None),
            ("JVMFLAGS", Some("-Dold=1 -Djute.maxbuffer=4194304")),
        ] {
            assert_eq!(environment.variable(name), value, "{name}");
        }
    }

    #[test]
    fn java_flags_are_found_in_the_order_in_which_they_win() {
        let environment = Environment::from_pairs(&[
            ("JVMFLAGS", "-Xmx1g -Da=2"),
            ("SERVER_JVMFLAGS", "-Da=1  -Db='x y' \"-Dc=z\" -Dd"),
        ]);
        let found: Vec<_> = environment
            .java_properties()
            .into_iter()
            .map(|property| format!("{} {}={}", property.variable, property.name, property.value))
            .collect();
        assert_eq!(
            found,
            [
                "SERVER_JVMFLAGS a=1",
                "SERVER_JVMFLAGS b=x y",
                "SERVER_JVMFLAGS c=z",
                "SERVER_JVMFLAGS d=",
                "JVMFLAGS a=2"
            ]
        );
    }

    #[test]
    fn any_fragment_is_read_without_panic() {
        let mut state = 7u64;
        for _ in 0..20_000 {
            let text: String = (0..16)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    ['A', '=', '$', '{', '}', '"', '\'', '\\', ' ', 'é', ';', '`']
                        [(state >> 33) as usize % 12]
                })
                .collect();
            let mut environment = Environment::from_pairs(&[("A", "v")]);
            environment.source(&text);
        }
    }
}
