//! `member list|add|remove`: who the members of an ensemble are, and how they change while it serves, asked
//! for by an ordinary client under the operator's own identity.
//!
//! Invariant: a change is asked for only if the configuration that was judged is still in force.

mod change;
mod client;
mod identity;
mod list;
mod plan;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::status_all::target::{self, Own, Target};
use super::status_all::{self, Row};
use super::{EXIT_UNEXPECTED, Settings, Streams};
use crate::config::members;
use crate::config::server_config::LearnerType;
use crate::ids::ServerId;
use crate::proto::acl::Acl;
use crate::quorum::members::{Member, Members};
use crate::quorum::reconfig::Change;

use client::{Client, Failure, Ids};
use identity::Identity;
use plan::Standing;

/// `member` and what is behind it.
#[derive(Debug, Args)]
pub(super) struct MemberArgs {
    #[command(subcommand)]
    command: MemberCommand,
}

#[derive(Debug, Subcommand)]
enum MemberCommand {
    /// Print the members in force: lines, roles, who leads, who can be reached.
    List(ListArgs),
    /// Add servers that follow already, or give members new lines.
    Add(AddArgs),
    /// Remove members.
    Remove(RemoveArgs),
}

/// Whom to ask, and as whom.
#[derive(Debug, Args)]
struct Access {
    /// Servers to ask, one after the other until one serves (otherwise those of the configuration file).
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    server: Vec<String>,
    /// Configuration file that names the servers: a path, or a name in the configuration directory.
    #[arg(long, value_name = "CONFIG", conflicts_with = "server")]
    config_file: Option<PathBuf>,
    /// File whose first line is user:password, of the scheme digest (otherwise ZKSERVER_AUTH_FILE, or
    /// user:password itself in ZKSERVER_AUTH).
    #[arg(long, value_name = "FILE")]
    auth_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ListArgs {
    #[command(flatten)]
    access: Access,
    /// Print one JSON object instead.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct AddArgs {
    /// Lines as in server.4=host:2888:3888:participant;2181, with or without the role.
    #[arg(required = true, value_name = "server.N=LINE")]
    lines: Vec<String>,
    /// The servers are members already, and get these lines instead of theirs.
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
struct RemoveArgs {
    /// Numbers of the servers that leave.
    #[arg(required = true, value_name = "N")]
    numbers: Vec<i64>,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
struct How {
    #[command(flatten)]
    access: Access,
    /// Print what it would lead to, and ask for nothing.
    #[arg(long)]
    dry_run: bool,
    /// Ask for it in spite of dangers; the leader still refuses what it cannot do.
    #[arg(long)]
    force: bool,
    /// Ask for it only if this version (hexadecimal, as list prints it) is in force.
    #[arg(long, value_name = "VERSION", value_parser = parse_version)]
    from_version: Option<u64>,
}

/// What an operator wants.
#[derive(Clone, Debug)]
enum Wish {
    Add {
        joining: Vec<(ServerId, Member)>,
        replaces: bool,
    },
    Remove(Vec<ServerId>),
}

impl Wish {
    fn change(&self) -> Change {
        let joined = |parts: Vec<String>| Some(parts.join(","));
        match self {
            Wish::Add { joining, .. } => Change {
                joining: joined(joining.iter().map(|(id, member)| line(*id, member)).collect()),
                ..Change::default()
            },
            Wish::Remove(leaving) => Change {
                leaving: joined(leaving.iter().map(|id| id.0.to_string()).collect()),
                ..Change::default()
            },
        }
    }
}

/// Runs the subcommand.
pub(super) fn run(
    args: MemberArgs,
    settings: Settings,
    streams: &mut Streams<'_>,
) -> anyhow::Result<ExitCode> {
    match args.command {
        MemberCommand::List(args) => {
            let place = Place::find(args.access, settings, streams)?;
            list::list(&place, args.json, streams)
        }
        MemberCommand::Add(args) => {
            let joining: Result<Vec<_>, String> = args.lines.iter().map(|text| parse_line(text)).collect();
            let wish = joining.map(|joining| Wish::Add {
                joining,
                replaces: args.replace,
            });
            change::run(wish, args.how, settings, streams)
        }
        MemberCommand::Remove(args) => {
            let leaving = args.numbers.into_iter().map(ServerId).collect();
            change::run(Ok(Wish::Remove(leaving)), args.how, settings, streams)
        }
    }
}

/// The servers to ask, and as whom.
struct Place {
    servers: Vec<Target>,
    own: Own,
    identity: Option<Identity>,
}

impl Place {
    fn find(access: Access, settings: Settings, streams: &mut Streams<'_>) -> anyhow::Result<Place> {
        if !access.server.is_empty() {
            let auth_file = access.auth_file.as_deref();
            let identity = Identity::find(auth_file, &settings.environment, streams.err)?;
            let servers: Result<Vec<Target>, _> = access.server.iter().map(|text| server(text)).collect();
            let servers = servers?;
            let places = servers
                .iter()
                .filter_map(|server| Some((server.hosts.first()?.clone(), server.port?)));
            let own = Own {
                port: servers.first().and_then(|server| server.port),
                known: places.collect(),
                ..Own::default()
            };
            return Ok(Place {
                servers,
                own,
                identity,
            });
        }
        let setup = settings.setup(super::ConfigArg {
            config: access.config_file,
        });
        let setup = setup.map_err(|problem| {
            anyhow::anyhow!(
                "{problem}; name a server with --server HOST:PORT, or the file with --config-file"
            )
        })?;
        let identity = Identity::find(access.auth_file.as_deref(), &setup.environment, streams.err)?;
        let config = &setup.loaded.config;
        let own = Own::of(config);
        let servers = match config.ensemble.is_distributed() {
            true => target::of_members(&members(&config.ensemble), &own),
            false => vec![Target {
                id: None,
                role: None,
                hosts: vec![own.host.clone().unwrap_or_else(|| "localhost".to_owned())],
                port: own.port,
            }],
        };
        Ok(Place {
            servers,
            own,
            identity,
        })
    }
}

/// What one server showed.
struct Seen {
    members: Members,
    /// Where it was shown.
    at: String,
    /// `None` where it is not shown.
    acl: Option<Vec<Acl>>,
    /// `None` where the server does not say.
    ids: Option<Ids>,
}

/// Asks the first server that serves for the configuration in force, once it has caught up with its leader.
fn see(place: &Place) -> anyhow::Result<Seen> {
    let mut client = Client::connect(&place.servers, place.identity.as_ref())?;
    let at = client.address().to_string();
    let failed = |failure: Failure| anyhow::anyhow!("{at}: /zookeeper/config cannot be read: {failure}");
    client.sync().map_err(failed)?;
    let text = client.config().map_err(failed)?;
    if text.is_empty() {
        anyhow::bail!(
            "{at}: the server is alone and has no members; an ensemble of one that others can join is \
             started with standaloneEnabled=false and a server line"
        );
    }
    let members = Members::parse(&text)
        .map_err(|error| anyhow::anyhow!("{at}: /zookeeper/config names no ensemble: {error}"))?;
    let acl = client.acl().ok();
    // Last, for servers before 3.7 may end the connection over it.
    let ids = client.ids().ok();
    client.close();
    Ok(Seen {
        members,
        at,
        acl,
        ids,
    })
}

/// Asks every server of these members how it does.
fn look(members: &Members, own: &Own) -> anyhow::Result<Vec<Row>> {
    status_all::ask(target::of_members(members, own))
}

/// Who did not answer at a port that was only guessed.
fn guessed(members: &Members, rows: &[Row]) -> Option<String> {
    let is_guessed = |row: &&Row| {
        let member = row.target.id.and_then(|id| members.servers.get(&id));
        row.answer.is_err() && member.is_some_and(|member| member.client_address.is_none())
    };
    let guessed: Vec<&Row> = rows.iter().filter(is_guessed).collect();
    let ids: Vec<ServerId> = guessed.iter().filter_map(|row| row.target.id).collect();
    let first = guessed.first()?;
    Some(format!(
        "no line says where clients connect to {}, and {} was a guess: name the places of all servers with \
         --server HOST:PORT,HOST:PORT",
        plan::names(&ids),
        first.target.address()
    ))
}

fn standing(rows: &[Row]) -> Standing {
    let mut standing = Standing::default();
    let mut leaders = Vec::new();
    for row in rows {
        let Some(id) = row.target.id else { continue };
        match &row.answer {
            Ok(figures) => {
                if matches!(figures.mode.as_str(), "leader" | "follower") {
                    standing.in_sync.insert(id);
                }
                if figures.mode == "leader" {
                    leaders.push(id);
                }
                standing.modes.insert(id, figures.mode.clone());
            }
            Err(trouble) => {
                standing.troubles.insert(id, trouble.to_string());
            }
        }
    }
    standing.leader = match leaders[..] {
        [leader] => Some(leader),
        _ => None,
    };
    standing
}

fn line(id: ServerId, member: &Member) -> String {
    format!("server.{}={member}", id.0)
}

fn parse_line(text: &str) -> Result<(ServerId, Member), String> {
    let wrong = |reason: &str| format!("\"{text}\": {reason}, as in {LINE_EXAMPLE}");
    let (key, value) = text
        .split_once('=')
        .ok_or_else(|| wrong("a line is server.N=address"))?;
    let number = key
        .trim()
        .strip_prefix("server.")
        .and_then(|number| number.parse().ok());
    let id = number.filter(|id| *id >= 0).map(ServerId);
    let id = id.ok_or_else(|| wrong("the key is server.N, N a whole number"))?;
    if value.contains(',') {
        return Err(wrong(
            "a line has no comma; give several lines as several arguments",
        ));
    }
    let member = Member::parse(value.trim()).map_err(wrong)?;
    if member.client_address.is_none() {
        return Err(wrong("the port for clients is missing, behind a semicolon"));
    }
    Ok((id, member))
}

fn server(text: &str) -> anyhow::Result<Target> {
    let parts = text.trim().rsplit_once(':');
    let port = parts
        .and_then(|(_, port)| port.parse().ok())
        .filter(|port| *port != 0);
    match (parts, port) {
        (Some((host, _)), Some(port)) if !host.is_empty() => Ok(Target {
            id: None,
            role: None::<LearnerType>,
            hosts: vec![host.trim_start_matches('[').trim_end_matches(']').to_owned()],
            port: Some(port),
        }),
        _ => anyhow::bail!("--server {text}: it must be HOST:PORT, where clients connect, as in zk1:2181"),
    }
}

fn parse_version(text: &str) -> Result<u64, String> {
    let digits = text.trim_start_matches("0x");
    u64::from_str_radix(digits, 16).map_err(|_| "a version is hexadecimal, as in 100000000".to_owned())
}

const LINE_EXAMPLE: &str = "server.4=host:2888:3888:participant;2181";

#[cfg(test)]
mod tests;
