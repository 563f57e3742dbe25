//! The lines that name the members of an ensemble: `server.N`, `group.G`, `weight.N`, and the file `myid`.
//! Host names stay text: they may not resolve yet when the server starts.

use std::fmt;

use crate::ids::ServerId;

use super::server_config::{HostPort, LearnerType, QuorumAddress, QuorumServer};
use super::value::decimal;

/// The key belongs to the member list, which may be in a file of its own.
pub(super) fn is_member_key(key: &str) -> bool {
    MEMBER_PREFIXES.iter().any(|prefix| key.starts_with(prefix))
}

/// The number in `server.N`, `group.G` or `weight.N`.
pub(super) fn number_of(key: &str) -> Result<i64, String> {
    let number = key.split_once('.').and_then(|(_, number)| decimal(number.trim()));
    match number {
        Some(number) if number >= 0 => Ok(number),
        _ => Err(format!(
            "{key}: the part after the dot must be a whole number, 0 or more"
        )),
    }
}

/// The value of a `server.N` line.
pub(super) fn server(value: &str) -> Result<QuorumServer, String> {
    let wrong_form = || format!("found \"{value}\", {SERVER_FORM}");
    let (server_part, client_part) = match value.split_once(';') {
        Some((server_part, client_part)) => (server_part, Some(client_part.trim())),
        None => (value, None),
    };
    let mut addresses = Vec::new();
    let mut role: Option<LearnerType> = None;
    for part in server_part.split('|') {
        let fields = host_and_fields(part.trim()).ok_or_else(wrong_form)?;
        let (host, quorum, election, word) = match fields.as_slice() {
            [host, quorum, election] => (host, quorum, election, None),
            [host, quorum, election, word] => (host, quorum, election, Some(word)),
            _ => return Err(wrong_form()),
        };
        let address = QuorumAddress {
            host: host.to_string(),
            quorum_port: port(quorum, "quorum port")?,
            election_port: port(election, "election port")?,
        };
        if address.quorum_port == address.election_port {
            return Err(format!(
                "found \"{value}\", quorum port and election port must differ"
            ));
        }
        addresses.push(address);
        if let Some(word) = word {
            let found = learner_type(word)?;
            if role.is_some_and(|known| known != found) {
                return Err(format!(
                    "found \"{value}\", all addresses of a server must have the same role"
                ));
            }
            role = Some(found);
        }
    }
    let client_address = client_part
        .filter(|part| !part.is_empty())
        .map(client_address)
        .transpose()?;
    Ok(QuorumServer {
        addresses,
        learner_type: role.unwrap_or_default(),
        client_address,
    })
}

/// `participant` or `observer`, in any case.
pub(super) fn learner_type(word: &str) -> Result<LearnerType, String> {
    match word.trim().to_ascii_lowercase().as_str() {
        "participant" => Ok(LearnerType::Participant),
        "observer" => Ok(LearnerType::Observer),
        _ => Err(format!("found \"{word}\", allowed are participant and observer")),
    }
}

/// The value of a `group.G` line: server numbers joined by `:`.
pub(super) fn group(value: &str) -> Result<Vec<ServerId>, String> {
    let members: Option<Vec<_>> = value
        .split(':')
        .map(|part| decimal(part.trim()).map(ServerId))
        .collect();
    members
        .ok_or_else(|| format!("found \"{value}\", it must be server numbers joined by colons, as in 1:2:3"))
}

/// The content of the file `myid`: its first line, a number and nothing else.
pub(super) fn my_id(content: &[u8]) -> Result<ServerId, String> {
    let end = content
        .iter()
        .position(|&b| b == b'\n' || b == b'\r')
        .unwrap_or(content.len());
    let line = String::from_utf8_lossy(&content[..end]);
    match decimal(&line) {
        Some(id) if id >= 0 => Ok(ServerId(id)),
        _ if line.is_empty() => {
            Err("is empty, it must hold the number N of this server's server.N line".to_owned())
        }
        _ => Err(format!(
            "found \"{line}\", the first line must be a number (usually 1 to 255) without any blanks"
        )),
    }
}

impl fmt::Display for QuorumServer {
    /// The value of the `server.N` line, as ZooKeeper writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = match self.learner_type {
            LearnerType::Participant => "participant",
            LearnerType::Observer => "observer",
        };
        for (index, address) in self.addresses.iter().enumerate() {
            let separator = if index == 0 { "" } else { "|" };
            let host = Bracketed(&address.host);
            write!(
                f,
                "{separator}{host}:{}:{}:{role}",
                address.quorum_port, address.election_port
            )?;
        }
        match &self.client_address {
            Some(address) => write!(f, ";{address}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for HostPort {
    /// `host:port`, an IPv6 address in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", Bracketed(&self.host), self.port)
    }
}

struct Bracketed<'a>(&'a str);

impl fmt::Display for Bracketed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.contains(':') {
            write!(f, "[{}]", self.0)
        } else {
            f.write_str(self.0)
        }
    }
}

/// `[clientHost:]clientPort`.
fn client_address(part: &str) -> Result<HostPort, String> {
    let wrong_form = || format!("found \"{part}\" after the semicolon, it must be a port or host:port");
    let fields = host_and_fields(part).ok_or_else(wrong_form)?;
    match fields.as_slice() {
        [text] => Ok(HostPort {
            host: "0.0.0.0".to_owned(),
            port: port(text, "client port")?,
        }),
        [host, text] => Ok(HostPort {
            host: host.to_string(),
            port: port(text, "client port")?,
        }),
        _ => Err(wrong_form()),
    }
}

/// Splits at colons; an IPv6 address in brackets is one field. None if a bracket is open or a field empty.
fn host_and_fields(text: &str) -> Option<Vec<&str>> {
    let mut fields = Vec::new();
    let mut rest = Some(text);
    if let Some(inner) = text.strip_prefix('[') {
        let (host, tail) = inner.split_once(']')?;
        fields.push(host);
        rest = if tail.is_empty() {
            None
        } else {
            Some(tail.strip_prefix(':')?)
        };
    }
    fields.extend(rest.into_iter().flat_map(|rest| rest.split(':')).map(str::trim));
    let is_clean = fields
        .iter()
        .all(|field| !field.is_empty() && !field.contains(char::is_whitespace));
    is_clean.then_some(fields)
}

fn port(text: &str, what: &str) -> Result<u16, String> {
    match decimal(text).and_then(|number| u16::try_from(number).ok()) {
        Some(number) if number > 0 => Ok(number),
        _ => Err(format!(
            "found {what} \"{text}\", it must be a whole number from 1 to 65535"
        )),
    }
}

const MEMBER_PREFIXES: [&str; 3] = ["server.", "group.", "weight."];
const SERVER_FORM: &str = "it must be host:quorumPort:electionPort[:participant|:observer]\
     [;[clientHost:]clientPort] (several addresses joined by |, IPv6 addresses in brackets)";

#[cfg(test)]
mod tests {
    use super::{group, my_id, number_of, server};
    use crate::ids::ServerId;

    #[test]
    fn server_lines_parse_and_print() {
        for (text, printed) in [
            ("h:2888:3888", "h:2888:3888:participant"),
            ("h:2888:3888:participant", "h:2888:3888:participant"),
            ("h:2888:3888:OBSERVER", "h:2888:3888:observer"),
            ("h:2888:3888:observer ", "h:2888:3888:observer"),
            ("h:2888:3888;2181", "h:2888:3888:participant;0.0.0.0:2181"),
            ("h:2888:3888; 2181 ", "h:2888:3888:participant;0.0.0.0:2181"),
            ("h:2888:3888;", "h:2888:3888:participant"),
            ("h:2888:3888:observer;c:2181", "h:2888:3888:observer;c:2181"),
            ("[::1]:2888:3888", "[::1]:2888:3888:participant"),
            (
                "[fe80::1]:2888:3888:observer;[::]:2181",
                "[fe80::1]:2888:3888:observer;[::]:2181",
            ),
            ("a:1:2|b:3:4", "a:1:2:participant|b:3:4:participant"),
            (
                "a:1:2:observer|[::1]:3:4:observer;5",
                "a:1:2:observer|[::1]:3:4:observer;0.0.0.0:5",
            ),
            ("a:1:2|b:3:4:observer", "a:1:2:observer|b:3:4:observer"),
        ] {
            let parsed = server(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(parsed.to_string(), printed, "{text}");
            assert_eq!(server(printed).as_ref(), Ok(&parsed), "{printed}");
        }
    }

    #[test]
    fn wrong_server_lines_are_refused() {
        for (text, part) in [
            ("", "it must be host:quorumPort"),
            ("h", "it must be host:quorumPort"),
            ("h:2888", "it must be host:quorumPort"),
            (":2888:3888", "it must be host:quorumPort"),
            ("h:2888:3888:observer:x", "it must be host:quorumPort"),
            ("::1:2888:3888", "it must be host:quorumPort"),
            ("[::1:2888:3888", "it must be host:quorumPort"),
            ("[::1]x:2888:3888", "it must be host:quorumPort"),
            ("h x:2888:3888", "it must be host:quorumPort"),
            ("h:2888:3888|", "it must be host:quorumPort"),
            ("h:2888:2888", "must differ"),
            ("h:0:3888", "quorum port \"0\""),
            ("h:2888:65536", "election port \"65536\""),
            ("h:2888:abc", "election port \"abc\""),
            ("h:2888:3888:leader", "allowed are participant and observer"),
            ("a:1:2:observer|b:3:4:participant", "the same role"),
            ("h:2888:3888;c:d:2181", "after the semicolon"),
            ("h:2888:3888;2181;2182", "client port \"2181;2182\""),
            ("h:2888:3888;70000", "client port \"70000\""),
        ] {
            let error = server(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn keys_groups_and_ids_have_numbers() {
        assert_eq!(number_of("server.12"), Ok(12));
        for key in ["server.", "server.x", "server.-1", "server.1.2"] {
            assert!(number_of(key).is_err(), "{key}");
        }
        assert_eq!(group("1:2"), Ok(vec![ServerId(1), ServerId(2)]));
        for value in ["", "1,2", "1::2", "a"] {
            assert!(group(value).is_err(), "{value}");
        }
    }

    #[test]
    fn my_id_is_strict() {
        for content in ["7", "7\n", "7\r\n", "+7", "7\nanything"] {
            assert_eq!(my_id(content.as_bytes()), Ok(ServerId(7)), "{content:?}");
        }
        for (content, part) in [
            ("", "is empty"),
            ("\n7", "is empty"),
            (" 7", "without any blanks"),
            ("7 ", "\"7 \""),
            ("-1", "\"-1\""),
        ] {
            let error = my_id(content.as_bytes()).expect_err(content);
            assert!(error.contains(part), "{content:?}: {error}");
        }
    }
}
