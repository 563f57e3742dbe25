//! `member add` and `member remove`: judged, shown, and asked for.

use std::process::ExitCode;
use std::time::Duration;

use super::client::{Client, Failure};
use super::plan::{Finding, Gravity, Plan, Quorum, Standing, names, plan, synced};
use super::{EXIT_UNEXPECTED, How, Place, Seen, Settings, Streams, Wish, guessed, line, look, see, standing};
use crate::cli::EXIT_ARGUMENTS;
use crate::cli::status_all::{Row, target};
use crate::cli::words::Deadline;
use crate::ids::ServerId;
use crate::proto::acl::{Acl, perms};
use crate::proto::error_code::ErrorCode;
use crate::quorum::members::Members;

/// Shows what the wish leads to, and asks for it unless it is a dry run.
pub(super) fn run(
    wish: Result<Wish, String>,
    how: How,
    settings: Settings,
    streams: &mut Streams<'_>,
) -> anyhow::Result<ExitCode> {
    let wish = match wish {
        Ok(wish) => wish,
        Err(reason) => {
            writeln!(streams.err, "error: {reason}")?;
            return Ok(ExitCode::from(EXIT_ARGUMENTS));
        }
    };
    let place = Place::find(how.access, settings, streams)?;
    let seen = see(&place)?;
    let everybody = everybody(&seen.members, &wish);
    let rows = look(&everybody, &place.own)?;
    let mut standing = standing(&rows);
    check_ensemble(&seen, &rows, &mut standing);
    let mut plan = plan(&seen.members, &wish, &standing);
    if let Some(asked) = how.from_version.filter(|asked| *asked != seen.members.version) {
        let text = format!(
            "version {asked:x} was asked for, and version {:x} is in force: the members have changed since; \
             `zkserver member list` shows them",
            seen.members.version
        );
        plan.findings.insert(
            0,
            Finding {
                gravity: Gravity::Error,
                text,
            },
        );
    }
    plan.findings.extend(check_permission(&seen, &place));
    plan.findings
        .extend(guessed(&everybody, &rows).map(Finding::warning));
    show(&seen, &plan, &standing, &place, streams)?;
    if plan.is_stopped(how.force) {
        let can_be_forced = !plan.is_stopped(true);
        let hint = if can_be_forced {
            "; --force asks in spite of dangers"
        } else {
            ""
        };
        writeln!(streams.err, "Nothing was asked for{hint}.")?;
        return Ok(ExitCode::from(EXIT_UNEXPECTED));
    }
    if how.dry_run {
        writeln!(streams.out, "Nothing was asked for (--dry-run).")?;
        return Ok(ExitCode::SUCCESS);
    }
    ask(&place, &seen, &wish, &plan, streams)
}

/// Who is not a member yet may follow somebody else's leader: what follows this one shows this configuration.
fn check_ensemble(seen: &Seen, rows: &[Row], standing: &mut Standing) {
    let is_strange = |id: &ServerId| !seen.members.servers.contains_key(id);
    for row in rows {
        let Some(id) = row.target.id.filter(is_strange) else {
            continue;
        };
        if row.answer.is_err() {
            continue;
        }
        let shown = Client::connect(std::slice::from_ref(&row.target), None)
            .map_err(|error| format!("{error:#}"))
            .and_then(|mut client| {
                let text = client.sync().and_then(|()| client.config());
                client.close();
                text.map_err(|failure| failure.to_string())
            });
        let trouble = match shown.map(|text| Members::parse(&text)) {
            Ok(Ok(members)) if members == seen.members => continue,
            Ok(Ok(members)) => format!(
                "at {} is a server of another ensemble, or one that is behind: it shows the members \
                 {members} of version {:x}",
                row.target.address(),
                members.version
            ),
            // One that is alone says so by its mode.
            Ok(Err(_)) => continue,
            Err(reason) => reason,
        };
        standing.in_sync.remove(&id);
        standing.modes.remove(&id);
        standing.troubles.insert(id, trouble);
    }
}

/// The members and those that are to become some; where lines differ, the new one counts.
fn everybody(members: &Members, wish: &Wish) -> Members {
    let mut everybody = members.clone();
    if let Wish::Add { joining, .. } = wish {
        everybody.servers.extend(joining.iter().cloned());
    }
    everybody
}

fn show(
    seen: &Seen,
    plan: &Plan,
    standing: &Standing,
    place: &Place,
    streams: &mut Streams<'_>,
) -> anyhow::Result<()> {
    let present = &seen.members;
    writeln!(
        streams.out,
        "Configuration version {:x}, seen at {} as {}:",
        present.version,
        seen.at,
        who(place)
    )?;
    if let Some(next) = &plan.next {
        streams.out.write_all(difference(present, next).as_bytes())?;
        let (before, after) = (Quorum::of(present), Quorum::of(next));
        writeln!(
            streams.out,
            "Participants before: {}, a quorum is {}, in sync are {}.",
            before.voters,
            before.size,
            names(&synced(present, standing))
        )?;
        writeln!(
            streams.out,
            "Participants after:  {}, a quorum is {}, in sync are {}.",
            after.voters,
            after.size,
            names(&synced(next, standing))
        )?;
    }
    for Finding { gravity, text } in &plan.findings {
        let word = match gravity {
            Gravity::Error => "error",
            Gravity::Danger => "danger",
            Gravity::Warning => "warning",
        };
        writeln!(streams.err, "{word}: {text}")?;
    }
    Ok(())
}

/// Every line of both, those that go and come marked.
fn difference(present: &Members, next: &Members) -> String {
    let mut ids: Vec<ServerId> = present
        .servers
        .keys()
        .chain(next.servers.keys())
        .copied()
        .collect();
    ids.sort();
    ids.dedup();
    let mut text = String::new();
    for id in ids {
        let (old, new) = (present.servers.get(&id), next.servers.get(&id));
        if old == new {
            text.extend(old.map(|member| format!("  {}\n", line(id, member))));
        } else {
            text.extend(old.map(|member| format!("- {}\n", line(id, member))));
            text.extend(new.map(|member| format!("+ {}\n", line(id, member))));
        }
    }
    text
}

fn who(place: &Place) -> String {
    match &place.identity {
        Some(identity) => format!("digest:{}", identity.user()),
        None => "nobody in particular".to_owned(),
    }
}

/// Whether the server would let it be asked for, as far as it says.
fn check_permission(seen: &Seen, place: &Place) -> Option<Finding> {
    let (acl, ids) = (seen.acl.as_ref()?, seen.ids.as_ref()?);
    let is_granted = |entry: &Acl| {
        entry.id.scheme == "world"
            || ids.iter().any(|(scheme, user)| {
                let theirs = entry.id.id.split(':').next().unwrap_or_default();
                // Hashes are hidden from most, and addresses may be ranges.
                *scheme == entry.id.scheme && (scheme == "ip" || theirs == user || entry.id.id == *user)
            })
    };
    let mut writers = acl.iter().filter(|entry| entry.perms & perms::WRITE != 0);
    let may = ids.iter().any(|(scheme, _)| scheme == "super") || writers.any(is_granted);
    (!may).then(|| Finding::danger(not_allowed(seen, place)))
}

fn not_allowed(seen: &Seen, place: &Place) -> String {
    let acl = seen.acl.as_deref().unwrap_or_default();
    let writers = acl.iter().filter(|entry| entry.perms & perms::WRITE != 0);
    let writers: Vec<String> = writers
        .map(|entry| format!("{}:{}", entry.id.scheme, entry.id.id))
        .collect();
    let besides = match writers.is_empty() {
        true => String::new(),
        false => format!(" and {}", writers.join(", ")),
    };
    let identity = match place.identity {
        Some(_) => "",
        None => " Name a file with user:password by --auth-file.",
    };
    format!(
        "NoAuth: {} may not change the members, only the superuser{besides} may.{identity} The superuser \
         is who DigestAuthenticationProvider.superDigest in zoo.cfg names, and gives the right to others by \
         zkCli's setAcl /zookeeper/config world:anyone:r,digest:USER:HASH:rw",
        who(place)
    )
}

fn ask(
    place: &Place,
    seen: &Seen,
    wish: &Wish,
    plan: &Plan,
    streams: &mut Streams<'_>,
) -> anyhow::Result<ExitCode> {
    let Some(next) = &plan.next else {
        return Ok(ExitCode::from(EXIT_UNEXPECTED));
    };
    let mut client = Client::connect(&place.servers, place.identity.as_ref())?;
    let at = client.address();
    let text = match client.reconfig(&plan.change, seen.members.version as i64) {
        Ok(text) => {
            client.close();
            text
        }
        Err(Failure::Lost(_)) => {
            writeln!(
                streams.err,
                "{at} ended the connection before it answered; looking for the outcome"
            )?;
            match outcome(place, seen, next) {
                Some(text) => text,
                None => {
                    writeln!(
                        streams.err,
                        "error: whether the change was made is not known: version {:x} is still shown, \
                         or none. Look at `zkserver member list` before you ask again",
                        seen.members.version
                    )?;
                    return Ok(ExitCode::from(EXIT_UNEXPECTED));
                }
            }
        }
        Err(Failure::Refused(error, code)) => {
            client.close();
            let text = refusal(error, code, seen, place);
            writeln!(streams.err, "error: {at}: {text}")?;
            return Ok(ExitCode::from(EXIT_UNEXPECTED));
        }
    };
    report(&text, next, wish, streams)
}

/// What is in force once somebody serves again; `None` where that is what was in force before.
fn outcome(place: &Place, seen: &Seen, next: &Members) -> Option<String> {
    let mut servers = target::of_members(next, &place.own);
    servers.extend(place.servers.iter().cloned());
    let deadline = Deadline::start(OUTCOME_TIMEOUT);
    while deadline.left().is_ok() {
        if let Ok(mut client) = Client::connect(&servers, place.identity.as_ref()) {
            let text = client.sync().and_then(|()| client.config()).ok();
            client.close();
            let members = text.as_ref().and_then(|text| Members::parse(text).ok());
            if members.is_some_and(|members| members.version != seen.members.version) {
                return text;
            }
        }
        pause();
    }
    None
}

fn report(text: &str, next: &Members, wish: &Wish, streams: &mut Streams<'_>) -> anyhow::Result<ExitCode> {
    let members = Members::parse(text)?;
    writeln!(
        streams.out,
        "Configuration version {:x} is in force: {members}.",
        members.version
    )?;
    if members.servers != next.servers {
        writeln!(
            streams.err,
            "error: these are not the members that were asked for: somebody else was faster. Look at \
             `zkserver member list` before you ask again"
        )?;
        return Ok(ExitCode::from(EXIT_UNEXPECTED));
    }
    if let Wish::Remove(leaving) = wish {
        writeln!(
            streams.out,
            "Stop what was removed ({}): until then it follows without a vote.",
            names(leaving)
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

fn refusal(error: Option<ErrorCode>, code: i32, seen: &Seen, place: &Place) -> String {
    let version = seen.members.version;
    match error {
        Some(ErrorCode::NoAuth) => not_allowed(seen, place),
        Some(ErrorCode::ReconfigDisabled) => "ReconfigDisabled: set reconfigEnabled=true in zoo.cfg of \
             every server and restart them one after the other, the leader last"
            .to_owned(),
        Some(ErrorCode::BadVersion) => format!(
            "BadVersion: the members have changed since version {version:x} was seen; look at \
             `zkserver member list` and ask again"
        ),
        Some(ErrorCode::NewConfigNoQuorum) => "NewConfigNoQuorum: of the new participants no quorum is in \
             sync with the leader. Let servers that join follow first, and wait a moment after a change of \
             the leader"
            .to_owned(),
        Some(ErrorCode::ReconfigInProgress) => "ReconfigInProgress: another change is under way; look at \
             `zkserver member list` when it is done, and ask again"
            .to_owned(),
        Some(ErrorCode::BadArguments | ErrorCode::MarshallingError) => format!(
            "the leader does not take this change (error {code}); its log says why. Fewer than two \
             participants need standaloneEnabled=false, several addresses of a server need \
             multiAddress.enabled=true"
        ),
        Some(ErrorCode::Unimplemented) => "Unimplemented: the server is not one of an ensemble".to_owned(),
        Some(error) => format!("{error:?} ({code})"),
        None => format!("error {code}"),
    }
}

/// Servers are asked again and again: there is no event for an ensemble that serves again.
#[expect(clippy::disallowed_methods, reason = "see above")]
fn pause() {
    std::thread::sleep(POLL);
}

/// Long enough for the election of another leader.
const OUTCOME_TIMEOUT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_shows_every_line() {
        let members = |text: &str| Members::parse(text).unwrap();
        let present = members("server.1=a:1:2;5\nserver.2=b:1:2;5\nserver.10=c:1:2;5");
        let next = members("server.1=a:1:2;5\nserver.2=b:1:2:observer;5\nserver.11=d:1:2;5");
        let expected = "  server.1=a:1:2:participant;0.0.0.0:5\n\
                        - server.2=b:1:2:participant;0.0.0.0:5\n\
                        + server.2=b:1:2:observer;0.0.0.0:5\n\
                        - server.10=c:1:2:participant;0.0.0.0:5\n\
                        + server.11=d:1:2:participant;0.0.0.0:5\n";
        assert_eq!(difference(&present, &next), expected);
    }
}
