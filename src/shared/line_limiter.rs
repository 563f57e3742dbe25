//! A limit for log lines that a client could flood. What is held back is counted and told with the next line.

use std::fmt;

use parking_lot::Mutex;

use crate::clock::Millis;

/// One limiter for each kind of line, so that a flood of one kind hides no other.
#[derive(Debug, Default)]
pub struct LineLimiters {
    /// Connections over a limit, and those that could not be accepted.
    pub refused_connections: LineLimiter,
    /// Frames of impossible length.
    pub bad_frames: LineLimiter,
    /// Replies that clients may not take.
    pub large_replies: LineLimiter,
    /// Operations that clients may not send.
    pub refused_operations: LineLimiter,
    /// Clients that do not read their events.
    pub unread_events: LineLimiter,
    /// Credentials that were not accepted.
    pub failed_auths: LineLimiter,
    /// Sessions that are unknown, or clients that are ahead of the server.
    pub refused_sessions: LineLimiter,
    /// Sessions that moved to another connection.
    pub renewed_sessions: LineLimiter,
    /// Sessions that expired.
    pub expired_sessions: LineLimiter,
    /// Transactions of a leader that lead to another digest here.
    pub digest_mismatches: LineLimiter,
    /// Containers and TTL nodes that the leader removes.
    pub deleted_containers: LineLimiter,
    /// Writes over a quota.
    pub exceeded_quotas: LineLimiter,
}

/// Lets a bounded number of lines pass per window of time and counts the others.
#[derive(Debug)]
pub struct LineLimiter {
    lines_max: u32,
    window: Millis,
    state: Mutex<Window>,
}

#[derive(Debug, Default)]
struct Window {
    start: Millis,
    passed: u32,
    held_back: u64,
}

/// How many lines were held back since the last that passed; goes at the end of the line that passes now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldBack(pub u64);

impl fmt::Display for HeldBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            count => write!(f, " ({count} more lines of this kind were held back)"),
        }
    }
}

impl Default for LineLimiter {
    fn default() -> LineLimiter {
        LineLimiter::new(LINES_MAX, WINDOW)
    }
}

impl LineLimiter {
    /// At most `lines_max` lines in each `window`.
    pub fn new(lines_max: u32, window: Millis) -> LineLimiter {
        LineLimiter {
            lines_max,
            window,
            state: Mutex::default(),
        }
    }

    /// Whether a line may be logged at this monotonic time.
    pub fn admit(&self, now: Millis) -> Option<HeldBack> {
        let mut state = self.state.lock();
        if now - state.start >= self.window {
            state.start = now;
            state.passed = 0;
        }
        if state.passed >= self.lines_max {
            state.held_back += 1;
            return None;
        }
        state.passed += 1;
        Some(HeldBack(std::mem::take(&mut state.held_back)))
    }
}

const LINES_MAX: u32 = 10;
const WINDOW: Millis = Millis(1000);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_limit_are_counted_and_told_later() {
        let limiter = LineLimiter::new(2, Millis(1_000));
        let admit = |ms| limiter.admit(Millis(ms)).map(|held_back| held_back.0);
        assert_eq!(admit(5_000), Some(0));
        assert_eq!(admit(5_100), Some(0));
        assert_eq!(admit(5_200), None);
        assert_eq!(admit(5_999), None);
        assert_eq!(admit(6_000), Some(2));
        assert_eq!(admit(6_001), Some(0));
        assert_eq!(admit(6_002), None);
        // A time that runs backwards neither panics nor opens the window.
        assert_eq!(admit(10), None);
    }

    #[test]
    fn only_a_flood_is_told_of() {
        assert_eq!(HeldBack(0).to_string(), "");
        assert_eq!(
            HeldBack(7).to_string(),
            " (7 more lines of this kind were held back)"
        );
    }
}
