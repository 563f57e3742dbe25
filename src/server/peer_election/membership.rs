//! Who may connect on the election port: members, and where they may change, servers that want to become
//! some.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Mesh, Peer};
use crate::ids::ServerId;
use crate::proto::vote::Handshake;
use crate::quorum::members::MemberAddress;

impl Mesh {
    /// The members are others now, or somewhere else.
    pub(super) fn on_members(&mut self, mut addresses: BTreeMap<ServerId, Vec<MemberAddress>>) {
        let me = self.config.me;
        let own = addresses.remove(&me);
        self.handshake = handshake(me, own.as_deref().unwrap_or_default());
        for (server, peer) in &mut self.peers {
            peer.is_member = addresses.contains_key(server);
        }
        // Who has left is answered for as long as it stays connected.
        self.peers.retain(|_, peer| peer.is_member || peer.link.is_some());
        for (server, addresses) in addresses {
            match self.peers.get_mut(&server) {
                Some(peer) => peer.addresses = addresses,
                None => {
                    self.peers.insert(server, Peer::member(addresses));
                }
            }
        }
    }

    /// A server that is no member is let in, too, if it may be: it asks who leads. One with a smaller id has
    /// to be dialled where it says that it is.
    pub(super) fn admit(&mut self, from: ServerId, claimed: &[String]) {
        let config = &self.config;
        if !config.admits_strangers
            || from == config.me
            || self.peers.get(&from).is_some_and(|it| it.is_member)
        {
            return;
        }
        let strangers = self.peers.values().filter(|peer| !peer.is_member).count();
        let addresses: Vec<MemberAddress> =
            claimed.iter().filter_map(|text| election_address(text)).collect();
        match self.peers.get_mut(&from) {
            Some(peer) => peer.addresses = addresses,
            None if strangers >= STRANGERS_MAX => {}
            None => {
                self.peers.insert(from, Peer::stranger(addresses));
            }
        }
    }
}

/// What this server says first on each connection.
pub(super) fn handshake(me: ServerId, own: &[MemberAddress]) -> Bytes {
    let mut addresses: Vec<String> = own.iter().map(MemberAddress::election_text).collect();
    if addresses.is_empty() {
        // Who is not in the list has no address to give; the reference ignores this one.
        addresses.push("0.0.0.0:0".to_owned());
    }
    let handshake = Handshake {
        server: me,
        addresses,
    };
    handshake.encode()
}

/// `host:port`, an IPv6 address in brackets. `None` for what names no host that could be dialled.
fn election_address(text: &str) -> Option<MemberAddress> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let election_port = port.parse().ok().filter(|port| *port != 0)?;
    let is_nowhere = matches!(host, "" | "0.0.0.0" | "::");
    (!is_nowhere).then(|| MemberAddress {
        host: host.to_owned(),
        quorum_port: 0,
        election_port,
    })
}

/// Servers that are no members and may be connected.
const STRANGERS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claimed_address_names_a_host() {
        let read = |text: &str| election_address(text).map(|it| (it.host, it.election_port));
        assert_eq!(read("a.b:3888"), Some(("a.b".into(), 3888)));
        assert_eq!(read("[::1]:3888"), Some(("::1".into(), 3888)));
        for text in [
            "",
            "a",
            "a:",
            "a:0",
            "a:x",
            ":1",
            "0.0.0.0:3888",
            "[::]:1",
            "a:99999",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
