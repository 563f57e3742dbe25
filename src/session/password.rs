//! Session ids and the passwords that go with them. Both are what Apache's servers make, so that a session
//! can move between theirs and ours in one ensemble.

use crate::ids::{ServerId, SessionId};

/// Hands out session ids: the server's id in the top byte, its start time below, counting up from there.
#[derive(Clone, Debug)]
pub struct SessionIds {
    next: i64,
}

impl SessionIds {
    /// Starts where SessionTrackerImpl.initializeNextSessionId does. `mono_ms` is a monotonic clock that goes
    /// on over restarts of the process, or the ids of an earlier run may come again. Standalone servers are
    /// server 1.
    pub fn new(server_id: ServerId, mono_ms: u64) -> SessionIds {
        let time = (mono_ms << 24) >> 8;
        let next = time as i64 | server_id.0 << 56;
        SessionIds { next }.without_the_forbidden_one()
    }

    /// An id that this server has not given before. Never 0.
    pub fn next_id(&mut self) -> SessionId {
        let id = self.next;
        self.next = id.wrapping_add(1);
        *self = self.clone().without_the_forbidden_one();
        SessionId(id)
    }

    /// 0 means no session, and the least long marks containers among the owners of nodes (EphemeralType).
    fn without_the_forbidden_one(mut self) -> SessionIds {
        if self.next == 0 || self.next == i64::MIN {
            self.next += 1;
        }
        self
    }
}

/// The password of a session (ZooKeeperServer.generatePasswd): 16 bytes of `java.util.Random` seeded with the
/// id. It is no secret from someone who knows the id and the recipe; servers of one ensemble have to agree on
/// it.
pub fn password(session: SessionId) -> [u8; 16] {
    let mut state = session.0 ^ SUPER_SECRET ^ MULTIPLIER;
    let mut passwd = [0; 16];
    for chunk in passwd.chunks_exact_mut(4) {
        state = state.wrapping_mul(MULTIPLIER).wrapping_add(0xb) & MASK;
        chunk.copy_from_slice(&((state >> 16) as u32).to_le_bytes());
    }
    passwd
}

/// Whether a client that presents `passwd` may go on with the session.
pub fn is_password(session: SessionId, passwd: &[u8]) -> bool {
    session != SessionId(0) && passwd == password(session)
}

const SUPER_SECRET: i64 = 0xb341_5c00;
const MULTIPLIER: i64 = 0x5_deec_e66d;
const MASK: i64 = (1 << 48) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn passwords_are_those_of_the_reference_server() {
        let session = SessionId(0x100_000f_d47f_0003);
        assert_eq!(hex(&password(session)), "a0b399572448c4f1548bb1e7da2abfac");
        assert_eq!(
            hex(&password(SessionId(0x100_000f_d47f_0000))),
            "b3d49357c493a33649ce1813adb3d379"
        );
        assert!(is_password(session, &password(session)));
        assert!(!is_password(session, &password(SessionId(1))));
        assert!(!is_password(session, &[]));
        assert!(!is_password(SessionId(0), &password(SessionId(0))));
    }

    #[test]
    fn negative_ids_have_passwords_too() {
        assert_ne!(password(SessionId(-1)), password(SessionId(-2)));
        assert!(is_password(SessionId(i64::MIN), &password(SessionId(i64::MIN))));
    }

    #[test]
    fn ids_carry_the_server_and_the_time_and_count_up() {
        let mut ids = SessionIds::new(ServerId(1), 0x12_3456_789a_bcde);
        assert_eq!(ids.next_id(), SessionId(0x0156_789a_bcde_0000));
        assert_eq!(ids.next_id(), SessionId(0x0156_789a_bcde_0001));
        assert_eq!(
            SessionIds::new(ServerId(255), 1).next_id().to_string(),
            "0xff00000000010000"
        );
    }

    #[test]
    fn the_two_ids_with_a_meaning_are_skipped() {
        assert_eq!(SessionIds::new(ServerId(0), 0).next_id(), SessionId(1));
        assert_eq!(
            SessionIds::new(ServerId(128), 0).next_id(),
            SessionId(i64::MIN + 1)
        );
        let mut ids = SessionIds { next: -1 };
        assert_eq!((ids.next_id(), ids.next_id()), (SessionId(-1), SessionId(1)));
        let mut ids = SessionIds { next: i64::MAX };
        assert_eq!(
            (ids.next_id(), ids.next_id()),
            (SessionId(i64::MAX), SessionId(i64::MIN + 1))
        );
    }
}
