//! `member list`: the members in force, and how each of them does.

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::{Place, Seen, Streams, guessed, look, see};
use crate::cli::status_all::Row;
use crate::cli::status_all::table::{Side, aligned, role_name, shown};
use crate::cli::status_all::verdict::{self, Verdict};
use crate::config::server_config::LearnerType;
use crate::ids::ServerId;
use crate::quorum::members::{Member, Members};

/// Prints the members; succeeds when a quorum of them serves, as far as can be seen.
pub(super) fn list(place: &Place, is_json: bool, streams: &mut Streams<'_>) -> anyhow::Result<ExitCode> {
    let seen = see(place)?;
    let rows = look(&seen.members, &place.own)?;
    let verdict = verdict::judge(&rows, Some(&seen.members));
    if is_json {
        writeln!(streams.out, "{:#}", object(&seen, &rows, &verdict))?;
        return Ok(verdict.exit_code());
    }
    streams
        .out
        .write_all(table(&seen.members, &rows, &verdict).as_bytes())?;
    writeln!(
        streams.out,
        "Configuration version {:x}, seen at {}.",
        seen.members.version, seen.at
    )?;
    for line in verdict.lines() {
        writeln!(streams.out, "{line}")?;
    }
    if let Some(text) = guessed(&seen.members, &rows) {
        writeln!(streams.err, "warning: {text}")?;
    }
    Ok(verdict.exit_code())
}

fn table(members: &Members, rows: &[Row], verdict: &Verdict) -> String {
    let has_groups = !members.groups.is_empty();
    let mut columns = COLUMNS.to_vec();
    if has_groups {
        columns.splice(4..4, [("group", Side::Right), ("weight", Side::Right)]);
    }
    let (groups, verifier) = (groups(members), members.verifier());
    let cells = |row: &Row| {
        let id = row.target.id?;
        let member = members.servers.get(&id)?;
        let (figures, error) = match &row.answer {
            Ok(figures) => (Some(figures), None),
            Err(trouble) => (None, Some(trouble.to_string())),
        };
        let mut cells = vec![
            id.0.to_string(),
            role_name(role(member)).to_owned(),
            peer_addresses(member).join("|"),
            client_address(row),
            shown(figures.map(|figures| &figures.mode)),
            shown(figures.and_then(|figures| verdict.lag(figures))),
            shown(error),
        ];
        if has_groups {
            cells.splice(4..4, [shown(groups.get(&id)), verifier.weight(id).to_string()]);
        }
        Some(cells)
    };
    let cells: Vec<Vec<String>> = rows.iter().filter_map(cells).collect();
    aligned(&columns, &cells)
}

fn object(seen: &Seen, rows: &[Row], verdict: &Verdict) -> Value {
    let (groups, verifier) = (groups(&seen.members), seen.members.verifier());
    let member = |row: &Row| {
        let id = row.target.id?;
        let member = seen.members.servers.get(&id)?;
        let figures = row.answer.as_ref().ok();
        Some(json!({
            "id": id.0,
            "line": super::line(id, member),
            "role": role_name(role(member)),
            "peer_addresses": peer_addresses(member),
            "client_address": client_address(row),
            "group": groups.get(&id),
            "weight": verifier.weight(id),
            "mode": figures.map(|figures| &figures.mode),
            "zxid": figures.and_then(|figures| figures.zxid).map(|zxid| zxid.to_string()),
            "lag": figures.and_then(|figures| verdict.lag(figures)),
            "error": row.answer.as_ref().err().map(ToString::to_string),
        }))
    };
    let members: Vec<Value> = rows.iter().filter_map(member).collect();
    let leaders: Vec<i64> = verdict.leaders.iter().map(|id| id.0).collect();
    json!({
        "version": format!("{:x}", seen.members.version),
        "seen_at": seen.at,
        "members": members,
        "leaders": leaders,
        "is_serving": verdict.is_serving,
        "verdict": verdict.lines(),
    })
}

fn groups(members: &Members) -> BTreeMap<ServerId, i64> {
    let groups = members.groups.iter();
    groups
        .flat_map(|(group, servers)| servers.iter().map(|id| (*id, *group)))
        .collect()
}

fn role(member: &Member) -> LearnerType {
    match member.is_observer {
        true => LearnerType::Observer,
        false => LearnerType::Participant,
    }
}

/// As in `host:2888:3888`.
fn peer_addresses(member: &Member) -> Vec<String> {
    let text = |host: &str| match host.contains(':') {
        true => format!("[{host}]"),
        false => host.to_owned(),
    };
    let addresses = member.addresses.iter();
    addresses
        .map(|it| format!("{}:{}:{}", text(&it.host), it.quorum_port, it.election_port))
        .collect()
}

fn client_address(row: &Row) -> String {
    row.target.address()
}

const COLUMNS: [(&str, Side); 7] = [
    ("id", Side::Right),
    ("role", Side::Left),
    ("peers", Side::Left),
    ("clients", Side::Left),
    ("mode", Side::Left),
    ("lag", Side::Right),
    ("error", Side::Left),
];
