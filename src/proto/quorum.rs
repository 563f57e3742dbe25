//! What leader and learners say to each other (QuorumPacket, LearnerInfo): bare records one after another,
//! without a frame around them.

use bytes::Bytes;

use super::acl::Id;
use super::jute::{DecodeError, Put, Reader};
use crate::ids::{ServerId, SessionId, Zxid};

/// The version of the learner's protocol that every release since 3.4 speaks.
pub const PROTOCOL_VERSION: i32 = 0x1_0000;
/// What follows the image of a snapshot on the wire.
pub const SNAPSHOT_SIGNATURE: &str = "BenWasHere";

macro_rules! packet_types {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// What a packet says (Leader.java).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum PacketType { $($(#[$doc])* $name = $code,)* }

        impl PacketType {
            /// The type with this number, if there is one.
            pub fn from_code(code: i32) -> Option<PacketType> {
                match code { $($code => Some(PacketType::$name),)* _ => None }
            }
        }
    };
}

packet_types! {
    /// A learner forwards a client's request.
    Request = 1,
    /// The leader proposes a transaction to a follower.
    Proposal = 2,
    /// A learner has it on disk.
    Ack = 3,
    /// A follower may apply what was proposed.
    Commit = 4,
    /// Both ways; a learner answers with the sessions it has heard from.
    Ping = 5,
    /// May this session go on at another server.
    Revalidate = 6,
    /// The learner's oldest sync is answered.
    Sync = 7,
    /// Proposal and commit in one, for observers.
    Inform = 8,
    /// A commit that changes the membership.
    CommitAndActivate = 9,
    /// The history is complete; the epoch begins.
    NewLeader = 10,
    /// A follower's first packet.
    FollowerInfo = 11,
    /// The learner may serve.
    UpToDate = 12,
    /// The learner keeps everything it has.
    Diff = 13,
    /// The learner cuts its log behind a transaction.
    Trunc = 14,
    /// The image of a snapshot follows.
    Snap = 15,
    /// An observer's first packet.
    ObserverInfo = 16,
    /// The epoch that is to begin.
    LeaderInfo = 17,
    /// A learner takes part in the epoch and says what it holds.
    AckEpoch = 18,
    /// An inform that changes the membership.
    InformAndActivate = 19,
}

/// One record of the stream between leader and learner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumPacket {
    /// What it says.
    pub kind: PacketType,
    /// By the type a transaction, an epoch in the upper half, or nothing.
    pub zxid: Zxid,
    /// By the type; null and empty differ.
    pub data: Option<Bytes>,
    /// The identities of the client, with requests.
    pub authinfo: Option<Vec<Id>>,
}

impl QuorumPacket {
    /// A packet without identities.
    pub fn new(kind: PacketType, zxid: Zxid, data: Option<Bytes>) -> QuorumPacket {
        QuorumPacket {
            kind,
            zxid,
            data,
            authinfo: None,
        }
    }

    /// Appends the record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_int(self.kind as i32);
        out.put_long(self.zxid.0);
        out.put_buffer(self.data.as_deref());
        let Some(ids) = &self.authinfo else {
            return out.put_int(-1);
        };
        out.put_count(ids.len());
        for id in ids {
            out.put_string(&id.scheme);
            out.put_string(&id.id);
        }
    }

    /// The record by itself.
    pub fn to_bytes(&self) -> Bytes {
        let data_bytes = self.data.as_ref().map_or(0, Bytes::len);
        let mut out = Vec::with_capacity(SMALLEST_BYTES + data_bytes);
        self.encode(&mut out);
        Bytes::from(out)
    }

    /// Takes the first record off `bytes` and says how long it was; `None` if it is not all there yet.
    ///
    /// No field may be longer than `field_bytes_max`. After an error the stream cannot be read on.
    pub fn decode(
        bytes: &[u8],
        field_bytes_max: usize,
    ) -> Result<Option<(QuorumPacket, usize)>, DecodeError> {
        let mut reader = Reader::new(bytes);
        match decode(&mut reader, field_bytes_max) {
            Ok(packet) => Ok(Some((packet, bytes.len() - reader.rest().len()))),
            Err(DecodeError::Truncated) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn decode(reader: &mut Reader<'_>, field_bytes_max: usize) -> Result<QuorumPacket, DecodeError> {
    let code = reader.int()?;
    let kind = PacketType::from_code(code).ok_or(DecodeError::UnknownType(code))?;
    let zxid = Zxid(reader.long()?);
    let data = bounded(reader, field_bytes_max)?.map(Bytes::copy_from_slice);
    let authinfo = match reader.int()? {
        -1 => None,
        count => {
            let is_sane = usize::try_from(count).is_ok_and(|count| count <= IDS_MAX);
            if !is_sane {
                return Err(DecodeError::UnreasonableLength(count));
            }
            let mut ids = Vec::new();
            for _ in 0..count {
                let scheme = text(bounded(reader, field_bytes_max)?);
                let id = text(bounded(reader, field_bytes_max)?);
                ids.push(Id { scheme, id });
            }
            Some(ids)
        }
    };
    Ok(QuorumPacket {
        kind,
        zxid,
        data,
        authinfo,
    })
}

/// A buffer whose length is judged before its bytes are there.
fn bounded<'a>(reader: &mut Reader<'a>, bytes_max: usize) -> Result<Option<&'a [u8]>, DecodeError> {
    let mut ahead = *reader;
    let length = ahead.int()?;
    if length != -1 && usize::try_from(length).map_or(true, |length| length > bytes_max) {
        return Err(DecodeError::UnreasonableLength(length));
    }
    reader.buffer()
}

fn text(bytes: Option<&[u8]>) -> String {
    String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
}

/// Who a learner is: the data of its first packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LearnerInfo {
    /// `myid`.
    pub server: ServerId,
    /// [`PROTOCOL_VERSION`]; 0 from those that do not say.
    pub protocol_version: i32,
    /// The version of the membership it has.
    pub config_version: i64,
    /// Whether it is a zkserver. It says so behind the fields that Apache's leaders look at.
    pub is_zkserver: bool,
    /// Whether it takes nothing but a snapshot, wherever its history ends. Only a zkserver says so.
    pub wants_snapshot: bool,
}

impl LearnerInfo {
    /// The data of the packet.
    pub fn to_bytes(self) -> Bytes {
        let mut out = Vec::with_capacity(29);
        out.put_long(self.server.0);
        out.put_int(self.protocol_version);
        out.put_long(self.config_version);
        if self.is_zkserver {
            out.put_long(ZKSERVER_MARK);
            out.put_bool(self.wants_snapshot);
        }
        Bytes::from(out)
    }

    /// Older learners say less, down to nothing but their id.
    pub fn decode(data: &[u8]) -> Result<LearnerInfo, DecodeError> {
        let mut reader = Reader::new(data);
        let server = ServerId(reader.long()?);
        let protocol_version = reader.int().unwrap_or(0);
        let config_version = reader.long().unwrap_or(0);
        let is_zkserver = reader.long() == Ok(ZKSERVER_MARK);
        Ok(LearnerInfo {
            server,
            protocol_version,
            config_version,
            is_zkserver,
            wants_snapshot: is_zkserver && reader.bool() == Ok(true),
        })
    }
}

/// What the data of a LEADERINFO says besides the protocol's version: whether the leader is a zkserver.
/// Apache's learners look at the version only.
pub fn leader_info(is_zkserver: bool) -> Bytes {
    let mut out = Vec::with_capacity(12);
    out.put_int(PROTOCOL_VERSION);
    if is_zkserver {
        out.put_long(ZKSERVER_MARK);
    }
    Bytes::from(out)
}

/// Whether the data of a LEADERINFO is that of a zkserver.
pub fn is_zkserver_leader(data: &[u8]) -> bool {
    let mut reader = Reader::new(data);
    reader.int().is_ok() && reader.long() == Ok(ZKSERVER_MARK)
}

/// Who is to lead after the present leader, which is about to end: the data of an UPTODATE within the
/// broadcast, which only a zkserver sends, and only to its like.
///
/// It is the vote that an election would have ended with. Whoever is named still has to win an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handover {
    /// The next leader.
    pub leader: ServerId,
    /// The last transaction that everybody has been sent.
    pub zxid: Zxid,
    /// The round of that election.
    pub election_epoch: i64,
    /// The epoch that is about to end.
    pub peer_epoch: i64,
}

impl Handover {
    /// A round that stands for the one behind that of whoever is told.
    pub const NEXT_ROUND: i64 = -1;

    /// The data of the packet.
    pub fn to_bytes(self) -> Bytes {
        let mut out = Vec::with_capacity(40);
        out.put_long(ZKSERVER_MARK);
        out.put_long(self.leader.0);
        out.put_long(self.zxid.0);
        out.put_long(self.election_epoch);
        out.put_long(self.peer_epoch);
        Bytes::from(out)
    }

    /// `None` for an UPTODATE that says nothing of the kind.
    pub fn decode(data: &[u8]) -> Option<Handover> {
        let mut reader = Reader::new(data);
        if reader.long().ok()? != ZKSERVER_MARK {
            return None;
        }
        Some(Handover {
            leader: ServerId(reader.long().ok()?),
            zxid: Zxid(reader.long().ok()?),
            election_epoch: reader.long().ok()?,
            peer_epoch: reader.long().ok()?,
        })
    }
}

/// A client's request on its way from a learner to the leader: the data of a REQUEST.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardedRequest {
    /// Whose.
    pub session: SessionId,
    /// The client's xid.
    pub cxid: i32,
    /// The operation's number.
    pub op: i32,
    /// As the client sent it.
    pub body: Bytes,
}

impl ForwardedRequest {
    /// The data of the packet.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = Vec::with_capacity(16 + self.body.len());
        out.put_long(self.session.0);
        out.put_int(self.cxid);
        out.put_int(self.op);
        out.extend_from_slice(&self.body);
        Bytes::from(out)
    }

    /// Takes the data apart without copying the body.
    pub fn decode(data: &Bytes) -> Result<ForwardedRequest, DecodeError> {
        let mut reader = Reader::new(data);
        let session = SessionId(reader.long()?);
        let cxid = reader.int()?;
        let op = reader.int()?;
        let body = data.slice(data.len() - reader.rest().len()..);
        Ok(ForwardedRequest {
            session,
            cxid,
            op,
            body,
        })
    }
}

/// A session and its timeout in milliseconds: one entry of a ping's answer, or the question of a REVALIDATE.
pub fn put_session(out: &mut Vec<u8>, session: SessionId, timeout_ms: i32) {
    out.put_long(session.0);
    out.put_int(timeout_ms);
}

/// The sessions in a ping's answer. Less than a whole entry at the end is an error.
pub fn decode_sessions(data: &[u8]) -> Result<Vec<(SessionId, i32)>, DecodeError> {
    let mut reader = Reader::new(data);
    let mut sessions = Vec::with_capacity(data.len() / 12);
    while !reader.is_empty() {
        sessions.push((SessionId(reader.long()?), reader.int()?));
    }
    Ok(sessions)
}

/// No client has more identities.
const IDS_MAX: usize = 1024;
/// Type, zxid, and two nulls.
const SMALLEST_BYTES: usize = 20;
/// "zkserver".
const ZKSERVER_MARK: i64 = 0x7a6b_7365_7276_6572;

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(pair).collect()
    }

    const FOLLOWER_INFO: &str = "0000000b 0000000000000000 00000014 0000000000000001 00010000 \
                                 0000000000000000 ffffffff";
    const REQUEST: &str = "00000001 ffffffffffffffff 0000003e 0100000f585b0000 00000001 00000001 00000002 \
         2f61 00000005 68656c6c6f 00000001 0000001f 00000005 776f726c64 00000006 616e796f6e65 00000000 \
         00000001 00000002 6970 00000009 3132372e302e302e31";

    #[test]
    fn packets_of_a_live_ensemble_are_read_and_written_the_same() {
        let bytes = hex(FOLLOWER_INFO);
        let (packet, used) = QuorumPacket::decode(&bytes, 100).unwrap().unwrap();
        assert_eq!((packet.kind, used), (PacketType::FollowerInfo, bytes.len()));
        let info = LearnerInfo::decode(packet.data.as_ref().unwrap()).unwrap();
        let expected = LearnerInfo {
            server: ServerId(1),
            protocol_version: PROTOCOL_VERSION,
            config_version: 0,
            is_zkserver: false,
            wants_snapshot: false,
        };
        assert_eq!(info, expected);
        assert_eq!(Some(info.to_bytes()), packet.data);
        assert_eq!(packet.to_bytes(), bytes);

        let bytes = hex(REQUEST);
        let (packet, used) = QuorumPacket::decode(&bytes, 100).unwrap().unwrap();
        assert_eq!(used, bytes.len());
        let request = ForwardedRequest::decode(packet.data.as_ref().unwrap()).unwrap();
        assert_eq!((request.cxid, request.op, request.body.len()), (1, 1, 46));
        assert_eq!(Some(request.to_bytes()), packet.data);
        assert_eq!(packet.authinfo.as_ref().unwrap()[0].id, "127.0.0.1");
        assert_eq!(packet.to_bytes(), bytes);
    }

    #[test]
    fn a_packet_is_waited_for_until_its_last_byte() {
        let mut bytes = hex(REQUEST);
        for length in 0..bytes.len() {
            assert_eq!(QuorumPacket::decode(&bytes[..length], 100), Ok(None), "{length}");
        }
        let whole = bytes.len();
        bytes.extend_from_slice(&[0, 0, 0]);
        assert_eq!(QuorumPacket::decode(&bytes, 100).unwrap().unwrap().1, whole);
    }

    #[test]
    fn strangers_are_told_by_their_first_bytes() {
        let refused = |text: &str| QuorumPacket::decode(&hex(text), 100).unwrap_err();
        // "ruok", "GET ", a length and an id below what there can be.
        assert_eq!(refused("72756f6b"), DecodeError::UnknownType(0x7275_6f6b));
        assert_eq!(refused("47455420"), DecodeError::UnknownType(0x4745_5420));
        let long = refused("00000005 0000000000000000 00000065");
        assert_eq!(long, DecodeError::UnreasonableLength(101));
        let negative = refused("00000005 0000000000000000 fffffffe");
        assert_eq!(negative, DecodeError::UnreasonableLength(-2));
        let ids = refused("00000005 0000000000000000 ffffffff 7fffffff");
        assert_eq!(ids, DecodeError::UnreasonableLength(i32::MAX));
        let id = refused("00000005 0000000000000000 ffffffff 00000001 7fffffff");
        assert_eq!(id, DecodeError::UnreasonableLength(i32::MAX));
    }

    #[test]
    fn learners_say_as_much_as_their_release_knows() {
        let ours = LearnerInfo {
            server: ServerId(3),
            protocol_version: PROTOCOL_VERSION,
            config_version: 7,
            is_zkserver: true,
            wants_snapshot: true,
        };
        assert_eq!(LearnerInfo::decode(&ours.to_bytes()), Ok(ours));
        assert_eq!(ours.to_bytes().len(), 29);
        let unmarked = LearnerInfo::decode(&ours.to_bytes()[..28]).unwrap();
        assert!(unmarked.is_zkserver && !unmarked.wants_snapshot);
        let old = LearnerInfo::decode(&ours.to_bytes()[..8]).unwrap();
        assert_eq!((old.server, old.protocol_version), (ServerId(3), 0));
        assert!(LearnerInfo::decode(&[0; 7]).is_err());
    }

    #[test]
    fn what_only_zkservers_say_is_told_from_what_apache_says() {
        assert!(is_zkserver_leader(&leader_info(true)));
        assert!(!is_zkserver_leader(&leader_info(false)));
        assert_eq!(leader_info(true)[..4], [0, 1, 0, 0]);
        let handover = Handover {
            leader: ServerId(2),
            zxid: Zxid(0x1_0000_0007),
            election_epoch: 4,
            peer_epoch: 1,
        };
        let bytes = handover.to_bytes();
        assert_eq!(Handover::decode(&bytes), Some(handover));
        assert_eq!(Handover::decode(&bytes[..39]), None);
        assert_eq!(Handover::decode(b""), None);
    }

    #[test]
    fn the_sessions_of_a_ping_are_whole() {
        let mut data = Vec::new();
        put_session(&mut data, SessionId(0x0100_000f_585b_0000), 10_000);
        assert_eq!(data, hex("0100000f585b0000 00002710"));
        assert_eq!(
            decode_sessions(&data),
            Ok(vec![(SessionId(0x0100_000f_585b_0000), 10_000)])
        );
        assert_eq!(decode_sessions(&[]), Ok(Vec::new()));
        assert_eq!(decode_sessions(&data[..11]), Err(DecodeError::Truncated));
    }
}
