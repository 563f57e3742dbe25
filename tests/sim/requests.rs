//! What users ask for, and how it looks on the wire.

use zkserver::prng::Prng;
use zkserver::proto::acl::{Acl, Id, RawAcls};
use zkserver::proto::jute::Put;
use zkserver::proto::opcode::OpCode;

use super::plan::{Op, Rights, Tier};
use super::world::frames::{self, Ask};
use super::world::setup::member;

const PATHS: [&str; 6] = ["/a", "/b", "/a/x", "/b/y", "/c", "/a/x/z"];

/// Any request.
pub fn draw(prng: &mut Prng, tier: Tier) -> Op {
    match tier {
        Tier::Protocol => draw_simple(prng),
        Tier::Full => draw_any(prng),
    }
}

fn draw_simple(prng: &mut Prng) -> Op {
    let path = draw_path(prng);
    let data = prng.below(1000).to_string();
    let version = [-1, -1, -1, 0, 1][prng.below(5) as usize];
    let acl = Rights::Open;
    match prng.below(40) {
        0..10 => draw_create(prng, path, data, acl),
        10..18 => Op::Set { path, data, version },
        18..21 => Op::Delete { path, version },
        21..23 => {
            let create = Op::Create {
                path,
                data: data.clone(),
                flags: 0,
                acl,
            };
            let set = Op::Set {
                path: "/a".into(),
                data,
                version,
            };
            Op::Multi(vec![create, set])
        }
        23..35 => Op::Get { path, watch: false },
        35..39 => Op::Sync { path: "/".into() },
        _ if prng.below(4) == 0 => Op::Close,
        _ => Op::Get { path, watch: false },
    }
}

fn draw_any(prng: &mut Prng) -> Op {
    let path = draw_path(prng);
    let watch = prng.below(3) == 0;
    match prng.below(65) {
        0..24 => draw_write(prng),
        24..28 => {
            let count = 1 + prng.below(4);
            Op::Multi((0..count).map(|_| draw_write(prng)).collect())
        }
        28..40 => Op::Get { path, watch },
        40..45 => Op::Exists { path, watch },
        45..51 => Op::Children { path, watch },
        51..53 => Op::GetAcl { path },
        53..57 => Op::Sync { path: "/".into() },
        57 | 58 => Op::Auth {
            name: ["ann:a", "bob:b"][prng.below(2) as usize].into(),
        },
        59..64 => draw_watch(prng),
        _ if prng.below(4) == 0 => Op::Close,
        _ => Op::Get { path, watch },
    }
}

fn draw_watch(prng: &mut Prng) -> Op {
    let path = match prng.below(4) {
        0 => "/".into(),
        _ => draw_path(prng),
    };
    let kind = 1 + prng.below(5) as i32;
    match prng.below(5) {
        0..3 => Op::AddWatch {
            path,
            mode: prng.below(2) as i32,
        },
        3 => Op::CheckWatches { path, kind },
        _ => Op::RemoveWatches { path, kind },
    }
}

fn draw_write(prng: &mut Prng) -> Op {
    let path = draw_path(prng);
    let data = prng.below(1000).to_string();
    let version = [-1, -1, -1, 0, 1, 2][prng.below(6) as usize];
    let acl = [
        Rights::Open,
        Rights::Open,
        Rights::Open,
        Rights::ReadOnly,
        Rights::Creator,
        Rights::Owned,
    ];
    let acl = acl[prng.below(6) as usize];
    match prng.below(20) {
        0 => Op::CreateContainer { path },
        1 => {
            let ttl = [1, 500, 3000, 20_000][prng.below(4) as usize];
            Op::CreateTtl { path, ttl }
        }
        2..9 => draw_create(prng, path, data, acl),
        9..14 => Op::Set { path, data, version },
        14..17 => Op::Delete { path, version },
        17..19 => Op::SetAcl { path, acl, version },
        _ => Op::Check { path, version },
    }
}

fn draw_create(prng: &mut Prng, path: String, data: String, acl: Rights) -> Op {
    Op::Create {
        path,
        data,
        flags: [0, 0, 1, 2, 3][prng.below(5) as usize],
        acl,
    }
}

fn draw_path(prng: &mut Prng) -> String {
    PATHS[prng.below(PATHS.len() as u64) as usize].into()
}

/// Any change of the members, of so many servers.
pub fn draw_reconfig(prng: &mut Prng, count: usize) -> Op {
    let server = |prng: &mut Prng| prng.below(count as u64) as usize;
    let joins = |prng: &mut Prng| (server(prng), prng.below(4) == 0);
    let (joined, left) = [(1, 0), (1, 1), (0, 1), (2, 1), (2, 2), (3, 0)][prng.below(6) as usize];
    Op::Reconfig {
        joining: (0..joined).map(|_| joins(prng)).collect(),
        leaving: (0..left).map(|_| server(prng)).collect(),
        is_all: joined == 3,
    }
}

fn reconfig(joining: &[(usize, bool)], leaving: &[usize], is_all: bool) -> Ask {
    let line = |(at, is_observer): &(usize, bool)| {
        let mut member = member(*at, *is_observer);
        member.client_address = Some(("0.0.0.0".into(), 4000));
        format!("server.{}={member}", at + 1)
    };
    let joining: Vec<String> = joining.iter().map(line).collect();
    let leaving: Vec<String> = leaving.iter().map(|at| (at + 1).to_string()).collect();
    let (joining, leaving) = (joining.join(","), leaving.join(","));
    match is_all {
        true => frames::reconfig("", "", &joining, -1),
        false => frames::reconfig(&joining, &leaving, "", -1),
    }
}

impl Op {
    /// As it is sent. A check alone is none that a client may send, so it becomes a read.
    pub fn ask(&self) -> Ask {
        match self {
            Op::Check { path, .. } => frames::get(path),
            Op::Multi(ops) => frames::multi(&ops.iter().map(Op::part).collect::<Vec<_>>()),
            Op::Get { path, watch } => frames::read(OpCode::GetData, path, *watch),
            Op::Exists { path, watch } => frames::read(OpCode::Exists, path, *watch),
            Op::Children { path, watch } => frames::read(OpCode::GetChildren, path, *watch),
            Op::GetAcl { path } => Ask::new(OpCode::GetAcl, |out| out.put_string(path)),
            Op::AddWatch { path, mode } => frames::watch_request(OpCode::AddWatch, path, *mode),
            Op::CheckWatches { path, kind } => frames::watch_request(OpCode::CheckWatches, path, *kind),
            Op::RemoveWatches { path, kind } => frames::watch_request(OpCode::RemoveWatches, path, *kind),
            Op::Sync { path } => frames::sync(path),
            Op::Auth { name } => frames::auth("digest", name),
            Op::Reconfig {
                joining,
                leaving,
                is_all,
            } => reconfig(joining, leaving, *is_all),
            Op::Close => frames::close(),
            Op::Create { .. }
            | Op::CreateContainer { .. }
            | Op::CreateTtl { .. }
            | Op::Delete { .. }
            | Op::Set { .. }
            | Op::SetAcl { .. } => self.part(),
        }
    }

    /// As a part of a multi, or a write by itself.
    fn part(&self) -> Ask {
        match self {
            Op::Create {
                path,
                data,
                flags,
                acl,
            } => Ask::new(OpCode::Create, |out| {
                out.put_string(path);
                out.put_string(data);
                out.extend_from_slice(RawAcls::from_list(&acl.list()).bytes());
                out.put_int(*flags);
            }),
            Op::CreateContainer { path } => frames::create_container(path),
            Op::CreateTtl { path, ttl } => frames::create_ttl(path, *ttl),
            Op::Delete { path, version } => frames::delete(path, *version),
            Op::Set { path, data, version } => frames::set(path, data, *version),
            Op::SetAcl { path, acl, version } => Ask::new(OpCode::SetAcl, |out| {
                out.put_string(path);
                out.extend_from_slice(RawAcls::from_list(&acl.list()).bytes());
                out.put_int(*version);
            }),
            Op::Check { path, version } => Ask::new(OpCode::Check, |out| {
                out.put_string(path);
                out.put_int(*version);
            }),
            Op::Get { .. }
            | Op::Exists { .. }
            | Op::Children { .. }
            | Op::GetAcl { .. }
            | Op::AddWatch { .. }
            | Op::CheckWatches { .. }
            | Op::RemoveWatches { .. }
            | Op::Sync { .. }
            | Op::Multi(_)
            | Op::Auth { .. }
            | Op::Reconfig { .. }
            | Op::Close => self.ask(),
        }
    }

    pub fn is_write(&self) -> bool {
        matches!(
            self,
            Op::Create { .. }
                | Op::CreateContainer { .. }
                | Op::CreateTtl { .. }
                | Op::Delete { .. }
                | Op::Set { .. }
                | Op::SetAcl { .. }
                | Op::Multi(_)
                | Op::Reconfig { .. }
                | Op::Close
        )
    }
}

impl Rights {
    fn list(self) -> Vec<Acl> {
        // The digest of ann:a is that of DigestAuthenticationProvider.
        let ann = "ann:i9V/d2HTT0sehGWzvQcFNipywIQ=";
        match self {
            Rights::Open => vec![Acl::world(31)],
            Rights::ReadOnly => vec![Acl::world(1)],
            Rights::Creator => vec![acl(31, "auth", "")],
            Rights::Owned => vec![acl(31, "digest", ann), Acl::world(1)],
        }
    }
}

fn acl(perms: i32, scheme: &str, id: &str) -> Acl {
    let id = Id {
        scheme: scheme.into(),
        id: id.into(),
    };
    Acl { perms, id }
}
