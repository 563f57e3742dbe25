//! The scheme `ip` (IPAuthenticationProvider): addresses, and `address/bits` in ACLs.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::proto::acl::Id;

/// The identity that every connection has from the start. Addresses have Java's text form: IPv6 without
/// compression, IPv4-mapped addresses as IPv4.
pub fn ip_id(peer: IpAddr) -> Id {
    super::new_id("ip", java_text(peer))
}

/// Whether an ACL may name it.
pub(super) fn is_valid(network: &str) -> bool {
    parse_network(network).is_some()
}

/// Whether the peer's address lies in the network.
pub(super) fn matches(peer: &str, network: &str) -> bool {
    let (Some((network, bits)), Some(peer)) = (parse_network(network), parse_address(peer)) else {
        return false;
    };
    match (network, peer) {
        (IpAddr::V4(network), IpAddr::V4(peer)) => {
            let difference = network.to_bits() ^ peer.to_bits();
            difference.checked_shr(32 - bits).unwrap_or(0) == 0
        }
        (IpAddr::V6(network), IpAddr::V6(peer)) => {
            let difference = network.to_bits() ^ peer.to_bits();
            difference.checked_shr(128 - bits).unwrap_or(0) == 0
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

fn java_text(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let mut text = String::with_capacity(39);
            for (index, segment) in address.segments().into_iter().enumerate() {
                let colon = if index > 0 { ":" } else { "" };
                write!(text, "{colon}{segment:x}").expect("a String takes everything");
            }
            text
        }
    }
}

/// The address and how many of its leading bits count.
fn parse_network(text: &str) -> Option<(IpAddr, u32)> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let address = parse_address(address)?;
    let width = if address.is_ipv4() { 32 } else { 128 };
    let bits = match bits {
        Some(bits) => u32::try_from(bits.parse::<i32>().ok()?).ok()?,
        None => width,
    };
    (bits <= width).then_some((address, bits))
}

fn parse_address(text: &str) -> Option<IpAddr> {
    match (text.contains(':'), text.contains('.')) {
        (true, false) => text.parse().ok().map(Ipv6Addr::into),
        (false, true) => parse_ipv4(text).map(IpAddr::V4),
        (true, true) | (false, false) => None,
    }
}

/// Four numbers as Java's `Integer.parseInt` takes them: leading zeros are decimal.
fn parse_ipv4(text: &str) -> Option<Ipv4Addr> {
    let mut parts = text.split('.');
    let mut octets = [0; 4];
    for octet in &mut octets {
        *octet = u8::try_from(parts.next()?.parse::<i32>().ok()?).ok()?;
    }
    parts.next().is_none().then(|| octets.into())
}
