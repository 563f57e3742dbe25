//! The scheme `digest` (DigestAuthenticationProvider): `user:base64(SHA-1("user:password"))`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use super::DigestAlg;

/// The id of somebody who knows the credentials, `user:password`. Without a colon all of it is the user.
pub(super) fn digest_id(alg: DigestAlg, credentials: &str) -> String {
    let hash = match alg {
        DigestAlg::Sha1 => Sha1::digest(credentials.as_bytes()),
    };
    format!("{}:{}", user(credentials), STANDARD.encode(hash))
}

/// What stands before the first colon.
pub(super) fn user(id: &str) -> &str {
    id.split_once(':').map_or(id, |(user, _)| user)
}

/// Whether an ACL may name it: two parts, as Java's `split(":")` counts, which drops empty parts at the end.
pub(super) fn is_valid(id: &str) -> bool {
    let parts = id.trim_end_matches(':');
    !parts.is_empty() && parts.matches(':').count() == 1
}
