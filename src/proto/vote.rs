//! What servers say on the election port: the handshake and the notification (QuorumCnxManager,
//! FastLeaderElection). Every form that a server from 3.4.6 on sends is read; today's is written.

use bytes::Bytes;
use thiserror::Error;

use super::jute::{DecodeError, Put, Reader};
use crate::ids::{ServerId, Zxid};

/// What a server does in its ensemble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerState {
    /// Electing a leader.
    Looking,
    /// Voting member with a leader.
    Following,
    /// The leader.
    Leading,
    /// Member without a vote, with a leader.
    Observing,
}

/// A vote, and in which state its sender is. The sender itself is known from the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// The sender's state.
    pub state: PeerState,
    /// Whom it votes for, or follows.
    pub leader: ServerId,
    /// The last zxid of that server, as it told when it stood.
    pub zxid: Zxid,
    /// The round of the election.
    pub election_epoch: i64,
    /// The epoch of that server's history.
    pub peer_epoch: i64,
    /// Version of the form: 2 is today's, 0 is one without this field.
    pub version: i32,
    /// The sender's member list, from version 2 on.
    pub config: Option<String>,
    /// The one that is proposed to follow it, if the sender has seen one. Ours say it behind all that
    /// Apache's servers read.
    pub proposed: Option<String>,
}

/// The first bytes on a connection: who dials, and where it can be dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// Who dials.
    pub server: ServerId,
    /// Its election addresses in the form `host:port`; none before 3.5.
    pub addresses: Vec<String>,
}

/// Why bytes are no handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HandshakeError {
    /// A first word that no server says.
    #[error("protocol version {0} is not known")]
    Version(i64),
    /// An address of impossible length.
    #[error("an address of {0} bytes")]
    AddressLength(i32),
}

impl PeerState {
    /// Its number on the wire.
    pub fn code(self) -> i32 {
        match self {
            PeerState::Looking => 0,
            PeerState::Following => 1,
            PeerState::Leading => 2,
            PeerState::Observing => 3,
        }
    }

    /// The state with this number.
    pub fn from_code(code: i32) -> Option<PeerState> {
        match code {
            0 => Some(PeerState::Looking),
            1 => Some(PeerState::Following),
            2 => Some(PeerState::Leading),
            3 => Some(PeerState::Observing),
            _ => None,
        }
    }
}

impl Notification {
    /// The body of a frame, in the form of version 2 whatever `version` says.
    pub fn encode(&self) -> Bytes {
        let config = self.config.as_deref().unwrap_or_default();
        let mut body = Vec::with_capacity(FIXED_BYTES + config.len());
        body.put_int(self.state.code());
        body.put_long(self.leader.0);
        body.put_long(self.zxid.0);
        body.put_long(self.election_epoch);
        body.put_long(self.peer_epoch);
        body.put_int(VERSION);
        body.put_count(config.len());
        body.extend_from_slice(config.as_bytes());
        if let Some(proposed) = &self.proposed {
            body.put_string(proposed);
        }
        Bytes::from(body)
    }

    /// Reads the body of a frame.
    pub fn decode(body: &[u8]) -> Result<Notification, DecodeError> {
        let mut reader = Reader::new(body);
        let code = reader.int()?;
        let state = PeerState::from_code(code).ok_or(DecodeError::UnknownType(code))?;
        let leader = ServerId(reader.long()?);
        let zxid = Zxid(reader.long()?);
        let election_epoch = reader.long()?;
        // The oldest form ends here; that of 3.4.6 ends after the version, which then counts as none.
        let peer_epoch = if reader.is_empty() {
            zxid.0 >> 32
        } else {
            reader.long()?
        };
        let has_version = body.len() != BYTES_3_3 && body.len() != BYTES_3_4;
        let version = if has_version { reader.int()? } else { 0 };
        let config = if version >= VERSION {
            Some(reader.string()?.into_owned())
        } else {
            None
        };
        // Whatever else may be there is not for this server.
        let proposed = match config.is_some() && !reader.is_empty() {
            true => reader.string().ok().map(|text| text.into_owned()),
            false => None,
        };
        Ok(Notification {
            state,
            leader,
            zxid,
            election_epoch,
            peer_epoch,
            version,
            config,
            proposed,
        })
    }
}

impl Handshake {
    /// The bytes of version 1, with the first address. They must leave in one write: the reference reads
    /// the address with one call.
    pub fn encode(&self) -> Bytes {
        let mut bytes = Vec::new();
        bytes.put_long(HANDSHAKE_V1);
        bytes.put_long(self.server.0);
        let address = self.addresses.first().map(String::as_str).unwrap_or_default();
        bytes.put_string(address);
        Bytes::from(bytes)
    }

    /// Reads it off the front of what has arrived, and says how many bytes it took; `None` if more has to
    /// come. A server older than 3.5 sends its number only, which takes no more than 8 bytes.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Handshake, usize)>, HandshakeError> {
        let mut reader = Reader::new(bytes);
        let Ok(first) = reader.long() else {
            return Ok(None);
        };
        if first >= 0 {
            let handshake = Handshake {
                server: ServerId(first),
                addresses: Vec::new(),
            };
            return Ok(Some((handshake, bytes.len() - reader.rest().len())));
        }
        if first != HANDSHAKE_V1 && first != HANDSHAKE_V2 {
            return Err(HandshakeError::Version(first));
        }
        let (Ok(server), Ok(length)) = (reader.long(), reader.int()) else {
            return Ok(None);
        };
        let length_bytes = usize::try_from(length).unwrap_or(0);
        if length_bytes == 0 || length_bytes > ADDRESS_BYTES_MAX {
            return Err(HandshakeError::AddressLength(length));
        }
        let Ok(address) = reader.take(length_bytes) else {
            return Ok(None);
        };
        let handshake = Handshake {
            server: ServerId(server),
            addresses: String::from_utf8_lossy(address)
                .split('|')
                .map(str::to_owned)
                .collect(),
        };
        Ok(Some((handshake, bytes.len() - reader.rest().len())))
    }
}

/// Version of the notifications that are written.
const VERSION: i32 = 2;
/// Everything before the configuration.
const FIXED_BYTES: usize = 44;
/// Length of a notification from 3.3.
const BYTES_3_3: usize = 28;
/// Length of a notification from 3.4.6 to 3.4.14.
const BYTES_3_4: usize = 40;
/// One address.
const HANDSHAKE_V1: i64 = -65536;
/// Several addresses joined by `|`.
const HANDSHAKE_V2: i64 = -65535;
/// The longest address text that the reference accepts.
const ADDRESS_BYTES_MAX: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    fn captured() -> Notification {
        Notification {
            state: PeerState::Looking,
            leader: ServerId(2),
            zxid: Zxid(0),
            election_epoch: 1,
            peer_epoch: 0,
            version: 2,
            config: Some("server.1=127.0.0.1:22211:22221:participant\nversion=0".to_owned()),
            proposed: None,
        }
    }

    #[test]
    fn a_notification_has_the_bytes_of_the_reference() {
        let body = captured().encode();
        let mut expected = Vec::new();
        expected.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend_from_slice(&[
            0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 52,
        ]);
        expected.extend_from_slice(captured().config.unwrap().as_bytes());
        assert_eq!(body, expected);
        assert_eq!(Notification::decode(&body), Ok(captured()));
    }

    #[test]
    fn what_is_proposed_stands_behind_what_everybody_reads() {
        let mut notification = captured();
        notification.proposed = Some("server.2=h:1:2\nversion=100000002".to_owned());
        let body = notification.encode();
        assert!(body.starts_with(&captured().encode()));
        assert_eq!(Notification::decode(&body), Ok(notification));
        // Somebody else's.
        let mut body = captured().encode().to_vec();
        body.extend_from_slice(&[0, 0, 9, 9, 1]);
        assert_eq!(Notification::decode(&body), Ok(captured()));
    }

    #[test]
    fn older_forms_are_read_and_broken_ones_are_not() {
        let mut notification = captured();
        notification.zxid = Zxid(0x7_0000_0002);
        notification.peer_epoch = 9;
        let body = notification.encode();
        let read = |length: usize| Notification::decode(&body[..length]);
        assert_eq!(read(28).map(|n| (n.peer_epoch, n.version)), Ok((7, 0)));
        assert_eq!(
            read(40).map(|n| (n.peer_epoch, n.version, n.config)),
            Ok((9, 0, None))
        );
        for length in (0..28).chain(29..40).chain(41..body.len()) {
            assert!(read(length).is_err(), "{length} bytes");
        }
        for (at, value) in [(3, 4), (0, 0xff), (40, 0xff), (40, 0x7f)] {
            let mut broken = body.to_vec();
            broken[at] = value;
            assert!(Notification::decode(&broken).is_err(), "byte {at}");
        }
    }

    #[test]
    fn every_state_has_a_number() {
        for code in 0..4 {
            assert_eq!(PeerState::from_code(code).map(PeerState::code), Some(code));
        }
        assert_eq!((PeerState::from_code(4), PeerState::from_code(-1)), (None, None));
    }

    #[test]
    fn zk_3720_the_handshake_is_written_as_every_release_knows_it() {
        for count in [1, 2] {
            let handshake = Handshake {
                server: ServerId(3),
                addresses: vec!["127.0.0.1:3888".to_owned(); count],
            };
            assert_eq!(
                handshake.encode()[..8],
                (-65536i64).to_be_bytes(),
                "{count} addresses"
            );
        }
    }

    #[test]
    fn handshakes_are_read_from_any_number_of_bytes() {
        let one = Handshake {
            server: ServerId(2),
            addresses: vec!["127.0.0.1:22222".to_owned()],
        };
        let bytes = one.encode();
        assert_eq!(bytes.len(), 35);
        assert_eq!(
            bytes[..20],
            [
                0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 15
            ]
        );
        for length in 0..35 {
            assert_eq!(Handshake::decode(&bytes[..length]), Ok(None), "{length}");
        }
        let more = [&bytes[..], b"more"].concat();
        assert_eq!(Handshake::decode(&more), Ok(Some((one, 35))));
        let mut two = vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2];
        two.put_string("127.0.0.2:22222|127.0.0.1:22222");
        let (handshake, used) = Handshake::decode(&two).unwrap().unwrap();
        assert_eq!((handshake.addresses.len(), used), (2, 51));
        let (old, used) = Handshake::decode(&[0, 0, 0, 0, 0, 0, 0, 3]).unwrap().unwrap();
        assert_eq!((old.server, old.addresses.len(), used), (ServerId(3), 0, 8));
    }

    #[test]
    fn strangers_are_told_from_servers() {
        let mut bytes = captured().encode().to_vec();
        bytes[..8].fill(0xff);
        assert_eq!(Handshake::decode(&bytes), Err(HandshakeError::Version(-1)));
        for length in [0, -1, 2049, i32::MAX] {
            let mut bytes = Vec::new();
            bytes.put_long(HANDSHAKE_V1);
            bytes.put_long(1);
            bytes.put_int(length);
            assert_eq!(
                Handshake::decode(&bytes),
                Err(HandshakeError::AddressLength(length))
            );
        }
    }
}
