//! Who a connection is, what an access control list lets it do, and what a requested list becomes.
//!
//! Schemes with a provider: `digest`, unless switched off, and `ip`. `world` is built in. Entries of any
//! other scheme never match.

mod digest;
mod ip;

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::limits::JUTE_MAXBUFFER;
use crate::proto::acl::{Acl, Id, RawAcls};
use crate::proto::error_code::ErrorCode;
use crate::proto::request::AuthRequest;
use crate::tree::AclList;

pub use ip::ip_id;

/// What the configuration says about identities. Not `Debug`: the digest of the super user is a secret.
#[derive(Clone)]
pub struct AuthConfig {
    /// The digest id of the super user, `user:base64(hash)`.
    pub super_digest: Option<String>,
    /// Whether the scheme `digest` is offered.
    pub digest_enabled: bool,
    /// The hash in digest ids.
    pub digest_alg: DigestAlg,
    /// Whether every check passes.
    pub skip_acl: bool,
}

/// The hash in digest ids (DigestAuthenticationProvider).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestAlg {
    /// SHA-1, which every client library computes.
    Sha1,
}

/// `world:anyone` with all permissions, as a list's bytes: the ACL of almost every node.
pub const OPEN_ACL: &[u8; 27] = b"\0\0\0\x01\0\0\0\x1f\0\0\0\x05world\0\0\0\x06anyone";

/// Whether a connection with these identities has one of the wanted permissions (ZooKeeperServer.checkACL).
pub fn check_acl(config: &AuthConfig, acl: &AclList, wanted: i32, ids: &[Id]) -> bool {
    acl.world_perms & wanted != 0
        || config.skip_acl
        || acl.list.is_empty()
        || ids.iter().any(|id| id.scheme == "super")
        || acl.list.iter().any(|entry| grants(config, entry, wanted, ids))
}

/// The list that is stored for a requested one: duplicates dropped, `auth` replaced by the identities of the
/// connection (PrepRequestProcessor.fixupACL).
///
/// Fails with `InvalidAcl` for an empty list or an entry that nobody could match, and with `MarshallingError`
/// if the expanded list is longer than any record may be.
pub fn fixup_acl<'a>(config: &AuthConfig, acl: &RawAcls<'a>, ids: &[Id]) -> Result<RawAcls<'a>, ErrorCode> {
    if acl.bytes() == OPEN_ACL {
        return Ok(acl.clone());
    }
    let requested = acl.to_list().unwrap_or_default();
    if requested.is_empty() {
        return Err(ErrorCode::InvalidAcl);
    }
    let requested = without_duplicates(&requested, &acl.nulls())?;
    let mut fixed = Vec::with_capacity(requested.len());
    let mut expanded_bytes = 0;
    for (entry, has_null_id) in requested {
        if entry.id.scheme == "auth" {
            let before = fixed.len();
            fixed.extend(expand_auth(config, entry.perms, ids));
            if fixed.len() == before {
                return Err(ErrorCode::InvalidAcl);
            }
            expanded_bytes += fixed[before..].iter().map(entry_bytes).sum::<usize>();
        } else if has_null_id
            && (entry.id.scheme == "world" || Provider::of(config, &entry.id.scheme).is_some())
        {
            // The reference looks into the id of a scheme that it knows, and fails over it.
            return Err(ErrorCode::MarshallingError);
        } else if is_valid(config, &entry.id) {
            fixed.push(entry.clone());
        } else {
            return Err(ErrorCode::InvalidAcl);
        }
        if expanded_bytes > EXPANDED_BYTES_MAX {
            return Err(ErrorCode::MarshallingError);
        }
    }
    Ok(RawAcls::from_list(&fixed))
}

/// The entries that differ from those before them, each with whether its id is null. The reference compares
/// permissions, scheme and id in this order, and fails where it comes to one that is null.
fn without_duplicates<'a>(
    requested: &'a [Acl],
    nulls: &[(bool, bool)],
) -> Result<Vec<(&'a Acl, bool)>, ErrorCode> {
    let mut seen = BTreeSet::new();
    let mut perms = BTreeSet::new();
    let mut schemes = BTreeSet::new();
    let mut kept = Vec::with_capacity(requested.len());
    for (entry, (has_null_scheme, has_null_id)) in requested.iter().zip(nulls.iter().copied()) {
        let is_scheme_compared = !perms.insert(entry.perms);
        let is_id_compared = !schemes.insert((entry.perms, &entry.id.scheme));
        if is_scheme_compared && has_null_scheme || is_id_compared && has_null_id {
            return Err(ErrorCode::MarshallingError);
        }
        if seen.insert((entry.perms, &entry.id.scheme, &entry.id.id)) {
            kept.push((entry, has_null_id));
        }
    }
    Ok(kept)
}

/// The identities that an auth request adds to its connection, or `AuthFailed`.
pub fn authenticate(
    config: &AuthConfig,
    peer: IpAddr,
    request: &AuthRequest<'_>,
) -> Result<Vec<Id>, ErrorCode> {
    let scheme = request.scheme.as_deref().ok_or(ErrorCode::AuthFailed)?;
    match Provider::of(config, scheme).ok_or(ErrorCode::AuthFailed)? {
        Provider::Ip => Ok(vec![ip_id(peer)]),
        Provider::Digest => {
            let credentials = String::from_utf8_lossy(request.auth.ok_or(ErrorCode::AuthFailed)?);
            let id = digest::digest_id(config.digest_alg, &credentials);
            let is_super = config.super_digest.as_deref() == Some(&*id);
            let super_id = is_super.then(|| new_id("super", String::new()));
            Ok(super_id.into_iter().chain([new_id("digest", id)]).collect())
        }
    }
}

/// The list as shown to a caller who may read but not administer: hashes hidden.
pub fn masked(list: &[Acl]) -> Vec<Acl> {
    let mask = |acl: &Acl| {
        let mut acl = acl.clone();
        if acl.id.scheme == "digest"
            && let Some(colon) = acl.id.id.find(':')
        {
            acl.id.id.replace_range(colon.., ":x");
        }
        acl
    };
    list.iter().map(mask).collect()
}

/// The user name that whoAmI shows for an identity; empty for schemes without a provider.
pub fn user_of(id: &Id) -> String {
    match id.scheme.as_str() {
        "digest" => digest::user(&id.id).to_owned(),
        "ip" => id.id.clone(),
        _ => String::new(),
    }
}

/// The schemes that have a provider.
#[derive(Clone, Copy)]
enum Provider {
    Digest,
    Ip,
}

impl Provider {
    fn of(config: &AuthConfig, scheme: &str) -> Option<Provider> {
        match scheme {
            "digest" => config.digest_enabled.then_some(Provider::Digest),
            "ip" => Some(Provider::Ip),
            _ => None,
        }
    }
}

fn grants(config: &AuthConfig, entry: &Acl, wanted: i32, ids: &[Id]) -> bool {
    if entry.perms & wanted == 0 {
        return false;
    }
    let Some(provider) = Provider::of(config, &entry.id.scheme) else {
        return false;
    };
    let mut same_scheme = ids.iter().filter(|id| id.scheme == entry.id.scheme);
    same_scheme.any(|id| match provider {
        Provider::Digest => id.id == entry.id.id,
        Provider::Ip => ip::matches(&id.id, &entry.id.id),
    })
}

fn is_valid(config: &AuthConfig, id: &Id) -> bool {
    if id.scheme == "world" {
        return id.id == "anyone";
    }
    match Provider::of(config, &id.scheme) {
        Some(Provider::Digest) => digest::is_valid(&id.id),
        Some(Provider::Ip) => ip::is_valid(&id.id),
        None => false,
    }
}

/// Of the providers only `digest` counts as proof of who somebody is.
fn expand_auth(config: &AuthConfig, perms: i32, ids: &[Id]) -> impl Iterator<Item = Acl> {
    let is_proven = |id: &&Id| matches!(Provider::of(config, &id.scheme), Some(Provider::Digest));
    ids.iter().filter(is_proven).map(move |id| Acl {
        perms,
        id: id.clone(),
    })
}

fn entry_bytes(entry: &Acl) -> usize {
    12 + entry.id.scheme.len() + entry.id.id.len()
}

fn new_id(scheme: &str, id: String) -> Id {
    Id {
        scheme: scheme.to_owned(),
        id,
    }
}

/// A request may repeat `auth` with thousands of permissions, and a connection may have many identities.
const EXPANDED_BYTES_MAX: usize = 2 * JUTE_MAXBUFFER;

#[cfg(test)]
mod tests;
