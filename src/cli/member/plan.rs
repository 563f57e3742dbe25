//! What a change of the members would lead to, and whether it should be asked for. Nothing is asked here.

use std::collections::{BTreeMap, BTreeSet};

use super::Wish;
use crate::ids::ServerId;
use crate::quorum::members::{Member, Members};
use crate::quorum::reconfig::{self, Change, Rules};
use crate::quorum::verifier::AckSet;

/// How the servers are doing, as far as can be seen from here.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// Leads, or follows and so holds what was committed.
    pub(super) in_sync: BTreeSet<ServerId>,
    /// The one that leads, if there is one.
    pub(super) leader: Option<ServerId>,
    /// In `srvr`'s word, of those that serve.
    pub(super) modes: BTreeMap<ServerId, String>,
    /// Why the others do not.
    pub(super) troubles: BTreeMap<ServerId, String>,
}

/// A change, and what is to be said about it.
#[derive(Debug)]
pub(super) struct Plan {
    /// What is asked for.
    pub(super) change: Change,
    /// The members after it; `None` where it leads nowhere.
    pub(super) next: Option<Members>,
    /// Errors first, then dangers, then warnings.
    pub(super) findings: Vec<Finding>,
}

/// One remark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// How bad it is.
    pub(super) gravity: Gravity,
    /// What is wrong, and what to do.
    pub(super) text: String,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Gravity {
    /// Cannot be asked for.
    Error,
    /// Only asked for with `--force`.
    Danger,
    /// Asked for all the same.
    Warning,
}

impl Finding {
    /// Not asked for without `--force`.
    pub(super) fn danger(text: String) -> Finding {
        Finding {
            gravity: Gravity::Danger,
            text,
        }
    }

    /// Asked for all the same.
    pub(super) fn warning(text: String) -> Finding {
        Finding {
            gravity: Gravity::Warning,
            text,
        }
    }

    fn error(text: String) -> Finding {
        Finding {
            gravity: Gravity::Error,
            text,
        }
    }
}

/// Judges a wish by the members in force and by how everybody is doing.
pub(super) fn plan(present: &Members, wish: &Wish, standing: &Standing) -> Plan {
    let mut findings = Vec::new();
    check_numbers(present, wish, &mut findings);
    let change = wish.change();
    let next = match reconfig::apply(present, &change, RULES) {
        Ok(next) => Some(next),
        Err(refusal) => {
            let mut text = refusal.reason;
            if !present.groups.is_empty() {
                text.push_str(
                    ". With groups the whole list has to be replaced: `reconfig -members` of zkCli does",
                );
            }
            findings.push(Finding::error(text));
            None
        }
    };
    if let Some(next) = &next {
        check_places(next, wish, &mut findings);
        check_version(present, &mut findings);
        check_quorum(present, next, standing, &mut findings);
        check_joining(wish, standing, &mut findings);
        check_leader(next, standing, &mut findings);
    }
    findings.sort_by_key(|finding| finding.gravity);
    Plan {
        change,
        next,
        findings,
    }
}

impl Plan {
    /// What stands against it. With force, only what makes it impossible.
    pub(super) fn is_stopped(&self, is_forced: bool) -> bool {
        let worst = if is_forced {
            Gravity::Error
        } else {
            Gravity::Danger
        };
        self.findings.iter().any(|finding| finding.gravity <= worst)
    }
}

fn check_numbers(present: &Members, wish: &Wish, findings: &mut Vec<Finding>) {
    match wish {
        Wish::Remove(leaving) => {
            for id in leaving.iter().filter(|id| !present.servers.contains_key(id)) {
                let text = format!("server {} is not a member; the members are {present}", id.0);
                findings.push(Finding::error(text));
            }
        }
        Wish::Add { joining, replaces } => {
            for (at, (id, member)) in joining.iter().enumerate() {
                if joining[..at].iter().any(|(other, _)| other == id) {
                    findings.push(Finding::error(format!("server {} is named twice", id.0)));
                }
                let text = match (present.servers.get(id), replaces) {
                    (Some(old), false) => format!(
                        "server {} is a member already, server.{}={old}; take another number, or say \
                         --replace to give it the new line",
                        id.0, id.0
                    ),
                    (Some(old), true) if old == member => {
                        format!(
                            "server {} has this line already, there is nothing to change",
                            id.0
                        )
                    }
                    (None, true) => format!(
                        "server {} is not a member, so --replace is not for it; the members are {present}",
                        id.0
                    ),
                    (Some(_), true) | (None, false) => continue,
                };
                findings.push(Finding::error(text));
            }
        }
    }
}

/// The server lets pass what is only the same place if both are on the same machine, and here they cannot be
/// both at once.
fn check_places(next: &Members, wish: &Wish, findings: &mut Vec<Finding>) {
    let Wish::Add { joining, .. } = wish else { return };
    for (id, member) in joining {
        let own = places(member);
        for (other, theirs) in next.servers.iter().filter(|(other, _)| *other != id) {
            let theirs = places(theirs);
            if let Some((host, port)) = own.iter().find(|place| theirs.contains(place)) {
                let text = format!(
                    "server {} is at {host}:{port} already, with server {}",
                    other.0, id.0
                );
                findings.push(Finding::error(text));
            }
        }
    }
}

fn places(member: &Member) -> BTreeSet<(String, u16)> {
    let peers = member.addresses.iter().flat_map(|address| {
        [address.quorum_port, address.election_port].map(|port| (address.host.to_ascii_lowercase(), port))
    });
    let client = member.client_address.iter();
    let mut places: BTreeSet<_> = peers
        .chain(client.map(|(host, port)| (host.to_ascii_lowercase(), *port)))
        .collect();
    places.retain(|(host, _)| !matches!(host.as_str(), "0.0.0.0" | "::"));
    places
}

fn check_version(present: &Members, findings: &mut Vec<Finding>) {
    if present.version == 0 {
        let text = "the configuration has version 0, so that reconfiguration seems to be off: set \
                    reconfigEnabled=true in zoo.cfg of every server and restart them one after the other";
        findings.push(Finding::danger(text.to_owned()));
    }
}

fn check_quorum(present: &Members, next: &Members, standing: &Standing, findings: &mut Vec<Finding>) {
    let (before, after) = (spare(present, standing), spare(next, standing));
    let quorum = Quorum::of(next);
    if !next.verifier().contains_quorum(&in_sync(standing)) {
        findings.push(Finding::danger(format!(
            "of the participants after the change, {} {} in sync as seen from here, and {} are a quorum: the \
             leader would refuse it (NewConfigNoQuorum). Let the servers follow first",
            names(&synced(next, standing)),
            are(synced(next, standing).len()),
            quorum.size
        )));
    } else if after < before && after < 1 {
        findings.push(Finding::danger(format!(
            "after the change every participant in sync ({}) is needed for a quorum of {}: one more that \
             fails stops the ensemble",
            names(&synced(next, standing)),
            quorum.size
        )));
    }
    let present_voters = Quorum::of(present).voters;
    if quorum.voters == 1 {
        findings.push(Finding::warning(
            "one participant is left: when it fails, nothing is served, and only servers with \
             standaloneEnabled=false take such a list"
                .to_owned(),
        ));
    } else if quorum.voters.is_multiple_of(2) && quorum.voters != present_voters {
        findings.push(Finding::warning(format!(
            "{} participants, an even number, bear no more failures than {}",
            quorum.voters,
            quorum.voters - 1
        )));
    }
}

fn check_joining(wish: &Wish, standing: &Standing, findings: &mut Vec<Finding>) {
    let Wish::Add { joining, .. } = wish else { return };
    for (id, _) in joining {
        match standing.modes.get(id).map(String::as_str) {
            Some("follower" | "observer") => {}
            // A member that leads is told of by `check_leader`.
            Some("leader") if standing.leader == Some(*id) => {}
            Some(mode) => findings.push(Finding::danger(format!(
                "server {} serves clients as {mode}, not as one that follows this ensemble: start it with \
                 the members' lines and its own in its zoo.cfg, on an empty data directory",
                id.0
            ))),
            None => {
                let none = "not asked".to_owned();
                let trouble = standing.troubles.get(id).unwrap_or(&none);
                findings.push(Finding::warning(format!(
                    "server {} does not follow yet ({trouble}): it counts as failed until it does. Start it \
                     first, with the members' lines and its own in its zoo.cfg",
                    id.0
                )));
            }
        }
    }
}

fn check_leader(next: &Members, standing: &Standing, findings: &mut Vec<Finding>) {
    if let Some(leader) = standing.leader
        && !next.is_participant(leader)
    {
        findings.push(Finding::warning(format!(
            "server {} leads: it hands over to another one, and clients of all servers wait for a moment",
            leader.0
        )));
    }
}

/// How many more participants may fail, as far as can be seen; 0 with groups, where it depends on which.
fn spare(members: &Members, standing: &Standing) -> i64 {
    if !members.groups.is_empty() {
        return 0;
    }
    synced(members, standing).len() as i64 - Quorum::of(members).size as i64
}

/// The participants that are in sync.
pub(super) fn synced(members: &Members, standing: &Standing) -> Vec<ServerId> {
    let verifier = members.verifier();
    verifier
        .voters()
        .filter(|id| standing.in_sync.contains(id))
        .collect()
}

fn in_sync(standing: &Standing) -> AckSet {
    standing.in_sync.iter().copied().collect()
}

/// How many there are, and how many are enough where majorities decide.
pub(super) struct Quorum {
    /// Participants.
    pub(super) voters: usize,
    /// A majority of them.
    pub(super) size: usize,
}

impl Quorum {
    /// Of these members.
    pub(super) fn of(members: &Members) -> Quorum {
        let voters = members.verifier().voters().count();
        Quorum {
            voters,
            size: voters / 2 + 1,
        }
    }
}

/// `1, 2 and so on`, or `none`.
pub(super) fn names(ids: &[ServerId]) -> String {
    if ids.is_empty() {
        return "none".to_owned();
    }
    let names: Vec<String> = ids.iter().map(|id| id.0.to_string()).collect();
    names.join(", ")
}

fn are(count: usize) -> &'static str {
    if count > 1 { "are" } else { "is" }
}

/// What a server of other settings takes or refuses is its own affair: it answers for itself.
const RULES: Rules = Rules {
    standalone_enabled: false,
    is_multi_address_enabled: true,
};

#[cfg(test)]
mod tests;
