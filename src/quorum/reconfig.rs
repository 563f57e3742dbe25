//! From a reconfig request to the configuration that it asks for (PrepRequestProcessor, the case of reconfig;
//! QuorumPeerConfig.parseDynamicConfig). Whoever asks gets Apache's error codes; why is for the log.

use super::members::{Member, MemberAddress, Members, MembersError};
use crate::ids::ServerId;
use crate::proto::error_code::ErrorCode;

/// What a request asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// `server.N=..` lines joined by commas: servers that join, or change.
    pub joining: Option<String>,
    /// Numbers joined by commas: servers that leave.
    pub leaving: Option<String>,
    /// All members instead, lines joined by commas or newlines.
    pub new_members: Option<String>,
}

/// By which rules a change is judged.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// `standaloneEnabled`: an ensemble of one is not one.
    pub standalone_enabled: bool,
    /// `multiAddress.enabled`.
    pub is_multi_address_enabled: bool,
}

/// Why a change is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What the client is told.
    pub error: ErrorCode,
    /// For the log.
    pub reason: String,
}

/// The members after a change. Their version is still that of `present`.
pub fn apply(present: &Members, change: &Change, rules: Rules) -> Result<Members, Refusal> {
    let mut next = match &change.new_members {
        Some(text) => replacement(text, rules)?,
        None => increment(present, change)?,
    };
    next.version = present.version;
    for (server, member) in &next.servers {
        check_member(*server, member, rules)?;
    }
    let voters = next.servers.values().filter(|member| !member.is_observer).count();
    let least = if rules.standalone_enabled { 2 } else { 1 };
    if voters < least {
        return Err(bad(format!(
            "the new configuration must include at least {least} participants"
        )));
    }
    Ok(next)
}

fn replacement(text: &str, rules: Rules) -> Result<Members, Refusal> {
    let text = text.replace(',', "\n");
    for (key, _) in Members::lines(&text) {
        let is_known = key == "version"
            || key.starts_with("server.")
            || key.starts_with("group")
            || key.starts_with("weight");
        if !is_known {
            return Err(bad(format!("unrecognised parameter: {key}")));
        }
        let number = key.split_once('.').map(|(_, number)| number.parse::<i64>());
        if let Some(Err(_)) = number {
            return Err(unreadable(format!("\"{key}\" has no number")));
        }
    }
    Members::parse(&text).map_err(|error| match error {
        // Apache does not expect this one here, unless there is nobody at all.
        MembersError::NoParticipant if !rules.standalone_enabled || text.contains("server.") => {
            unreadable(error.to_string())
        }
        MembersError::NoParticipant | MembersError::Line { .. } | MembersError::Group(_) => {
            bad(error.to_string())
        }
    })
}

fn increment(present: &Members, change: &Change) -> Result<Members, Refusal> {
    if !present.groups.is_empty() || !present.weights.is_empty() {
        let reason = "servers can be added and removed one by one only where majorities decide";
        return Err(bad(reason.into()));
    }
    let mut next = present.clone();
    for leaving in parts(change.leaving.as_deref()) {
        let server = leaving.parse().map(ServerId);
        let server = server.map_err(|_| unreadable(format!("\"{leaving}\" is not a number")))?;
        next.servers.remove(&server);
    }
    for joining in parts(change.joining.as_deref()) {
        let halves: Vec<&str> = joining
            .split('=')
            .map(str::trim)
            .filter(|half| !half.is_empty())
            .collect();
        let [name, value] = halves[..] else {
            return Err(bad(format!("\"{joining}\" is not of the form server.N=address")));
        };
        let number = name.rsplit('.').next().unwrap_or(name);
        let server = number.parse().map(ServerId);
        let server = server.map_err(|_| unreadable(format!("\"{name}\" has no number")))?;
        let member = Member::parse(value).map_err(|reason| bad(format!("\"{joining}\": {reason}")))?;
        if member.client_address.is_none() {
            return Err(bad(format!(
                "\"{joining}\": at least three ports have to be named, the one for clients behind a semicolon"
            )));
        }
        for (other, theirs) in next.servers.iter().filter(|(other, _)| **other != server) {
            if let Some(place) = common_place(&member, theirs) {
                return Err(bad(format!("server {} is at {place} already", other.0)));
            }
        }
        next.servers.insert(server, member);
    }
    Ok(next)
}

fn check_member(server: ServerId, member: &Member, rules: Rules) -> Result<(), Refusal> {
    let wrong = |reason: &str| Err(bad(format!("server.{}: {reason}", server.0)));
    if server.0 < 0 {
        return wrong("the number is negative");
    }
    if member.addresses.len() > 1 && !rules.is_multi_address_enabled {
        return wrong("several addresses need multiAddress.enabled=true");
    }
    for MemberAddress {
        host,
        quorum_port,
        election_port,
    } in &member.addresses
    {
        if quorum_port == election_port {
            return wrong("quorum port and election port must differ");
        }
        if *quorum_port == 0 || *election_port == 0 || !is_host(host) {
            return wrong("not a host with two ports");
        }
    }
    match &member.client_address {
        Some((host, _)) if !is_host(host) => wrong("not a host for clients"),
        Some(_) | None => Ok(()),
    }
}

/// What is in a configuration goes to files and to other servers, where nothing else may be read from it.
fn is_host(host: &str) -> bool {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
    !host.is_empty() && host.chars().all(is_fine)
}

/// Host and port that both name, other than those that mean a different place for each
/// (QuorumServer.checkAddressDuplicate).
fn common_place(one: &Member, other: &Member) -> Option<String> {
    let theirs = places(other);
    let mut common = places(one).into_iter().filter(|place| theirs.contains(place));
    common.next().map(|(host, port)| format!("{host}:{port}"))
}

fn places(member: &Member) -> Vec<(String, u16)> {
    let mut places = Vec::new();
    for address in &member.addresses {
        places.push((address.host.to_ascii_lowercase(), address.quorum_port));
        places.push((address.host.to_ascii_lowercase(), address.election_port));
    }
    if let Some((host, port)) = &member.client_address {
        places.push((host.to_ascii_lowercase(), *port));
    }
    let is_everywhere =
        |host: &str| matches!(host, "0.0.0.0" | "::" | "::1" | "localhost") || host.starts_with("127.");
    places.retain(|(host, _)| !is_everywhere(host));
    places
}

fn parts(list: Option<&str>) -> impl Iterator<Item = &str> {
    let parts = list.unwrap_or_default().split(',').map(str::trim);
    parts.filter(|part| !part.is_empty())
}

fn bad(reason: String) -> Refusal {
    Refusal {
        error: ErrorCode::BadArguments,
        reason,
    }
}

/// What Apache fails over where it expects no failure.
fn unreadable(reason: String) -> Refusal {
    Refusal {
        error: ErrorCode::MarshallingError,
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        standalone_enabled: true,
        is_multi_address_enabled: false,
    };

    fn three() -> Members {
        let text =
            "server.1=a:2888:3888;2181\nserver.2=b:2888:3888;2181\nserver.3=c:2888:3888;2181\nversion=5";
        Members::parse(text).unwrap()
    }

    fn change(joining: &str, leaving: &str, new_members: Option<&str>) -> Change {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Change {
            joining: some(joining),
            leaving: some(leaving),
            new_members: new_members.map(str::to_owned),
        }
    }

    fn after(joining: &str, leaving: &str) -> Result<String, ErrorCode> {
        let next = apply(&three(), &change(joining, leaving, None), RULES);
        next.map(|next| next.to_string()).map_err(|refusal| refusal.error)
    }

    fn replaced(text: &str, rules: Rules) -> Result<String, ErrorCode> {
        let next = apply(&three(), &change("", "", Some(text)), rules);
        next.map(|next| next.to_text()).map_err(|refusal| refusal.error)
    }

    #[test]
    fn servers_join_leave_and_change() {
        let four = "server.4=d:2888:3888:observer;2181";
        assert_eq!(after(four, ""), Ok("1, 2, 3, 4 (observer)".into()));
        assert_eq!(after(four, "1, 3"), Err(ErrorCode::BadArguments));
        assert_eq!(
            after("server.4=d:1:2;3, server.5 = e:1:2;3", "3"),
            Ok("1, 2, 4, 5".into())
        );
        assert_eq!(
            after("server.2=b:2888:3888:observer;2181", ""),
            Ok("1, 2 (observer), 3".into())
        );
        assert_eq!(after("", "9"), Ok("1, 2, 3".into()));
        assert_eq!(after("4=d:1:2;3", ""), Ok("1, 2, 3, 4".into()));
        assert_eq!(after("", ""), Ok("1, 2, 3".into()));
    }

    #[test]
    fn bad_increments_are_refused_with_apaches_codes() {
        use ErrorCode::{BadArguments, MarshallingError};
        for (joining, leaving, error) in [
            ("server.4=d:1:2", "", BadArguments),
            ("server.4=d:1:1;3", "", BadArguments),
            ("server.4=d:1;3", "", BadArguments),
            ("server.4=d:1:2:boss;3", "", BadArguments),
            ("server.4=d:1:2;x", "", BadArguments),
            ("server.4=d:0:2;3", "", BadArguments),
            ("server.4=d e:1:2;3", "", BadArguments),
            ("server.4=d:1:2|e:1:2;3", "", BadArguments),
            ("server.4", "", BadArguments),
            ("server.4=d:1:2=x;3", "", BadArguments),
            ("server.x=d:1:2;3", "", MarshallingError),
            ("server.-4=d:1:2;3", "", BadArguments),
            ("server.4=A:9:3888;3", "", BadArguments),
            ("server.4=d:1:2;a:2888", "", BadArguments),
            ("", "x", MarshallingError),
            ("", "1,2", BadArguments),
        ] {
            assert_eq!(after(joining, leaving), Err(error), "{joining} {leaving}");
        }
        // Loopback is another place for each, or a test that knows what it does.
        assert!(after("server.4=localhost:1:2;3,server.5=localhost:1:2;3", "").is_ok());
        let mut grouped = three();
        grouped
            .groups
            .insert(1, vec![ServerId(1), ServerId(2), ServerId(3)]);
        let refused = apply(&grouped, &change("", "3", None), RULES).unwrap_err();
        assert_eq!(refused.error, BadArguments);
    }

    #[test]
    fn all_members_can_be_replaced() {
        use ErrorCode::{BadArguments, MarshallingError};
        let text = "server.4=d:1:2;3,server.5=e:1:2:observer;3,server.6=f:1:2";
        let lines = "server.4=d:1:2:participant;0.0.0.0:3\nserver.5=e:1:2:observer;0.0.0.0:3\n\
                     server.6=f:1:2:participant\nversion=5";
        assert_eq!(replaced(text, RULES), Ok(lines.into()));
        assert_eq!(replaced(&format!("{text}\nversion=99"), RULES), Ok(lines.into()));
        for (text, error) in [
            ("", BadArguments),
            ("server.4=d:1:2;3", BadArguments),
            ("server.4=d:1:2:observer;3", MarshallingError),
            ("server.x=d:1:2;3,server.5=d:3:4", MarshallingError),
            ("server.4=d:1:2;3,clientPort=7", BadArguments),
            ("server.4=d,server.5=d:3:4", BadArguments),
            ("server.4=d:1:2,server.5=e:1:2,group.1=4", BadArguments),
        ] {
            assert_eq!(replaced(text, RULES), Err(error), "{text}");
        }
        let alone = Rules {
            standalone_enabled: false,
            ..RULES
        };
        assert!(replaced("server.4=d:1:2;3", alone).is_ok());
        assert_eq!(replaced("", alone), Err(MarshallingError));
        let grouped = "server.1=a:1:2,server.2=b:1:2,group.1=1,group.2=2,weight.1=3";
        assert!(
            replaced(grouped, RULES)
                .unwrap()
                .contains("weight.1=3\nweight.2=1")
        );
    }
}
