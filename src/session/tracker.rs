//! Who is alive: every session with its timeout and the bucket it expires in (SessionTrackerImpl).

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use super::expiry::ExpiryQueue;
use crate::clock::Millis;
use crate::ids::SessionId;

/// The sessions that this server keeps alive, or lets expire.
#[derive(Debug)]
pub struct SessionTracker {
    sessions: HashMap<SessionId, Session, foldhash::fast::FixedState>,
    expiry: ExpiryQueue<SessionId>,
}

#[derive(Debug)]
struct Session {
    timeout_ms: i32,
    /// `None` once it is closing: it cannot expire a second time.
    deadline: Option<Millis>,
}

impl SessionTracker {
    /// A tracker of no sessions. Expiry is counted in ticks of `tick`.
    pub fn new(tick: Millis, hash_seed: u64) -> SessionTracker {
        SessionTracker {
            sessions: HashMap::with_hasher(foldhash::fast::FixedState::with_seed(hash_seed)),
            expiry: ExpiryQueue::new(tick),
        }
    }

    /// Another tracker of no sessions, with the same ticks.
    pub fn another(&self) -> SessionTracker {
        SessionTracker {
            sessions: HashMap::with_hasher(self.sessions.hasher().clone()),
            expiry: self.expiry.another(),
        }
    }

    /// Tracks a session from `now` on. One that is known already is touched, unless it is closing, and gets
    /// this timeout.
    pub fn add(&mut self, session: SessionId, timeout_ms: i32, now: Millis) {
        match self.sessions.entry(session) {
            Entry::Occupied(mut known) => known.get_mut().timeout_ms = timeout_ms,
            Entry::Vacant(vacant) => {
                let deadline = self.expiry.deadline(now, timeout(timeout_ms));
                self.expiry.insert(session, deadline);
                vacant.insert(Session {
                    timeout_ms,
                    deadline: Some(deadline),
                });
                return;
            }
        }
        self.touch(session, now);
    }

    /// Something was heard of the session at `now`. Says whether it is alive: known, and not closing.
    /// Touches may come late and out of order; none makes a session expire earlier than one before it did.
    pub fn touch(&mut self, session: SessionId, now: Millis) -> bool {
        let Some(known) = self.sessions.get_mut(&session) else {
            return false;
        };
        let Some(old) = known.deadline else {
            return false;
        };
        let deadline = self.expiry.deadline(now, timeout(known.timeout_ms));
        if deadline > old {
            self.expiry.remove(session, old);
            self.expiry.insert(session, deadline);
            known.deadline = Some(deadline);
        }
        true
    }

    /// Gives a session another timeout, counted from `now`. Unless it is closing, it may expire earlier than
    /// before: its client has agreed.
    pub fn set_timeout(&mut self, session: SessionId, timeout_ms: i32, now: Millis) {
        let Some(known) = self.sessions.get_mut(&session) else {
            return;
        };
        known.timeout_ms = timeout_ms;
        if let Some(old) = known.deadline {
            let deadline = self.expiry.deadline(now, timeout(timeout_ms));
            self.expiry.remove(session, old);
            self.expiry.insert(session, deadline);
            known.deadline = Some(deadline);
        }
    }

    /// Its end has been proposed: it can neither be touched nor expire any more.
    pub fn set_closing(&mut self, session: SessionId) {
        if let Some(known) = self.sessions.get_mut(&session)
            && let Some(deadline) = known.deadline.take()
        {
            self.expiry.remove(session, deadline);
        }
    }

    /// Its end has been applied.
    pub fn remove(&mut self, session: SessionId) {
        self.set_closing(session);
        self.sessions.remove(&session);
    }

    /// Whether the session is known and its end has been proposed.
    pub fn is_closing(&self, session: SessionId) -> bool {
        self.closing(session) == Some(true)
    }

    /// Whether the end of the session has been proposed; `None` if it is not known.
    pub fn closing(&self, session: SessionId) -> Option<bool> {
        self.sessions.get(&session).map(|known| known.deadline.is_none())
    }

    /// Whether the session is known, closing or not.
    pub fn contains(&self, session: SessionId) -> bool {
        self.sessions.contains_key(&session)
    }

    /// The session's timeout in milliseconds.
    pub fn timeout(&self, session: SessionId) -> Option<i32> {
        self.sessions.get(&session).map(|known| known.timeout_ms)
    }

    /// Forgets all sessions: others see to them now.
    pub fn clear(&mut self) {
        self.sessions.clear();
        self.expiry.clear();
    }

    /// How many sessions are known.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether no session is known.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// The sessions whose time is up at `now`, sorted. They stay due until they are touched, closing or
    /// removed.
    pub fn due(&self, now: Millis) -> Vec<SessionId> {
        self.expiry.due(now)
    }

    /// When a session is due next.
    pub fn next_deadline(&self) -> Option<Millis> {
        self.expiry.next_deadline()
    }

    /// The deadlines in order, each with the sessions that expire then, sorted.
    pub fn buckets(&self) -> Vec<(Millis, Vec<SessionId>)> {
        self.expiry
            .buckets()
            .map(|(deadline, bucket)| (deadline, bucket.iter().copied().collect()))
            .collect()
    }
}

/// A timeout that came from a log may be anything; a negative one is none at all.
fn timeout(timeout_ms: i32) -> Millis {
    Millis(u64::try_from(timeout_ms).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: SessionId = SessionId(-7);
    const B: SessionId = SessionId(5);

    fn tracker() -> SessionTracker {
        SessionTracker::new(Millis(2000), 1)
    }

    #[test]
    fn a_session_expires_between_its_timeout_and_one_tick_more() {
        let mut tracker = tracker();
        tracker.add(B, 4000, Millis(1000));
        tracker.add(A, 4000, Millis(1500));
        assert_eq!(tracker.next_deadline(), Some(Millis(6000)));
        assert!(tracker.due(Millis(5999)).is_empty());
        assert_eq!(tracker.due(Millis(6000)), [A, B]);
        assert_eq!(tracker.buckets(), [(Millis(6000), vec![A, B])]);
        assert!(tracker.touch(A, Millis(5000)));
        assert_eq!(tracker.due(Millis(6000)), [B]);
        assert_eq!(tracker.due(Millis(9999)), [B]);
        assert_eq!(tracker.due(Millis(10_000)), [A, B]);
    }

    #[test]
    fn a_late_touch_takes_nothing_back() {
        let mut tracker = tracker();
        tracker.add(A, 4000, Millis(9000));
        assert!(tracker.touch(A, Millis(1000)));
        assert_eq!(tracker.next_deadline(), Some(Millis(14_000)));
    }

    #[test]
    fn a_closing_session_is_neither_touched_nor_due() {
        let mut tracker = tracker();
        tracker.add(A, 4000, Millis(0));
        assert!(!tracker.is_closing(A));
        tracker.set_closing(A);
        assert!(tracker.is_closing(A) && tracker.contains(A));
        assert!(!tracker.touch(A, Millis(1)));
        tracker.add(A, 4000, Millis(1));
        assert!(tracker.is_closing(A));
        assert_eq!(
            (tracker.due(Millis(99_999)), tracker.next_deadline()),
            (vec![], None)
        );
        tracker.remove(A);
        assert!(!tracker.contains(A) && !tracker.is_closing(A) && tracker.is_empty());
    }

    #[test]
    fn unknown_sessions_are_no_ones_business() {
        let mut tracker = tracker();
        assert!(!tracker.touch(A, Millis(0)));
        tracker.set_timeout(A, 1, Millis(0));
        tracker.set_closing(A);
        tracker.remove(A);
        assert_eq!((tracker.timeout(A), tracker.len()), (None, 0));
    }

    #[test]
    fn another_timeout_counts_from_now_on_even_if_it_is_shorter() {
        let mut tracker = tracker();
        tracker.add(A, 4000, Millis(0));
        tracker.set_timeout(A, 20_000, Millis(1000));
        assert_eq!(
            (tracker.timeout(A), tracker.next_deadline()),
            (Some(20_000), Some(Millis(22_000)))
        );
        tracker.set_timeout(A, 4000, Millis(1000));
        assert_eq!(tracker.next_deadline(), Some(Millis(6000)));
        tracker.set_closing(A);
        tracker.set_timeout(A, 8000, Millis(1000));
        assert!(tracker.is_closing(A) && tracker.next_deadline().is_none());
        tracker.add(B, -1, Millis(0));
        assert_eq!(tracker.next_deadline(), Some(Millis(2000)));
    }
}
