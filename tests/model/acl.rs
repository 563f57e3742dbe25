//! Permissions: the identities of a connection, which lists are legal, and what a list allows.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use super::jute::Reader;
use super::records::{Acl, Identity, code};

pub const READ: i32 = 1;
pub const WRITE: i32 = 2;
pub const CREATE: i32 = 4;
pub const DELETE: i32 = 8;
pub const ADMIN: i32 = 16;

/// The list lets one of the identities do what is wanted.
pub fn allows(acls: &[Acl], wanted: i32, ids: &[Identity]) -> bool {
    let is_super = ids.iter().any(|id| id.scheme == "super");
    let grants = |acl: &Acl| {
        let who = &acl.who;
        let is_anyone = who.scheme == "world" && who.id == "anyone";
        acl.perms & wanted != 0 && (is_anyone || ids.iter().any(|id| matches(id, who)))
    };
    is_super || acls.is_empty() || acls.iter().any(grants)
}

fn matches(id: &Identity, who: &Identity) -> bool {
    id.scheme == who.scheme
        && match who.scheme.as_str() {
            "digest" => id.id == who.id,
            "ip" => is_within(&id.id, &who.id),
            _ => false,
        }
}

/// The bytes of an address and how many bits of them count.
fn address_and_bits(text: &str) -> Option<(Vec<u8>, usize)> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits.parse::<usize>().ok()?)),
        None => (text, None),
    };
    let bytes = match address.parse::<IpAddr>().ok()? {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let bits = bits.unwrap_or(bytes.len() * 8);
    (bits <= bytes.len() * 8).then_some((bytes, bits))
}

fn is_within(address: &str, range: &str) -> bool {
    let Some(((address, _), (range, bits))) = address_and_bits(address).zip(address_and_bits(range)) else {
        return false;
    };
    let bit = |bytes: &[u8], index: usize| bytes[index / 8] >> (7 - index % 8) & 1;
    address.len() == range.len() && (0..bits).all(|index| bit(&address, index) == bit(&range, index))
}

/// A list as it will be stored: without repetitions, `auth` replaced by who the client is.
pub fn normalized(acls: &[Acl], ids: &[Identity]) -> Result<Vec<Acl>, i32> {
    let mut distinct: Vec<&Acl> = Vec::new();
    for acl in acls {
        if !distinct.contains(&acl) {
            distinct.push(acl);
        }
    }
    let mut stored = Vec::new();
    for acl in distinct {
        match (acl.who.scheme.as_str(), acl.who.id.as_str()) {
            ("world", "anyone") => stored.push(acl.clone()),
            ("auth", _) => {
                let before = stored.len();
                let known = ids.iter().filter(|id| id.scheme == "digest");
                stored.extend(known.map(|id| Acl {
                    perms: acl.perms,
                    who: id.clone(),
                }));
                if stored.len() == before {
                    return Err(code::INVALID_ACL);
                }
            }
            ("digest", id) if is_digest(id) => stored.push(acl.clone()),
            ("ip", id) if address_and_bits(id).is_some() => stored.push(acl.clone()),
            _ => return Err(code::INVALID_ACL),
        }
    }
    if stored.is_empty() {
        return Err(code::INVALID_ACL);
    }
    Ok(stored)
}

/// Two parts around a colon; empty parts at the end do not count.
fn is_digest(id: &str) -> bool {
    id.trim_end_matches(':').split(':').count() == 2
}

/// What a client without ADMIN sees of an entry.
pub fn masked(acl: &Acl) -> Acl {
    let mut acl = acl.clone();
    if acl.who.scheme == "digest"
        && let Some((user, _)) = acl.who.id.split_once(':')
    {
        acl.who.id = format!("{user}:x");
    }
    acl
}

/// The identities that an auth packet adds, `None` if it is refused.
pub fn authenticated(body: &[u8], address: &str, super_digest: Option<&str>) -> Option<Vec<Identity>> {
    let mut reader = Reader::new(body);
    reader.int()?;
    let scheme = reader.text()?;
    let auth = reader.buffer()?;
    match (scheme.as_str(), auth) {
        ("ip", _) => Some(vec![Identity::new("ip", address)]),
        ("digest", Some(auth)) => {
            let user = String::from_utf8_lossy(auth);
            let user = user.split(':').next().unwrap_or_default();
            let id = format!("{user}:{}", STANDARD.encode(Sha1::digest(auth)));
            let mut ids = vec![Identity::new("digest", &id)];
            if super_digest == Some(&*id) {
                ids.push(Identity::new("super", ""));
            }
            Some(ids)
        }
        _ => None,
    }
}
