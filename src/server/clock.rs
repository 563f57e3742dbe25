//! The only place that reads clocks.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::clock::{Millis, Now};

/// Both clocks of this process. Copies agree.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock whose monotonic time starts here.
    #[expect(clippy::disallowed_methods, reason = "the one place")]
    pub fn start() -> Clock {
        Clock {
            origin: Instant::now(),
        }
    }

    /// Reads both.
    #[expect(clippy::disallowed_methods, reason = "the one place")]
    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            mono: Millis(self.elapsed().as_millis() as u64),
            wall_ms: wall.as_millis() as i64,
        }
    }

    /// What the monotonic clock shows, to the nanosecond.
    pub fn elapsed(&self) -> Duration {
        self.origin.elapsed()
    }

    /// How long it is until the monotonic clock shows `at`; nothing once it has.
    pub fn until(&self, at: Millis) -> Duration {
        Duration::from_millis(at.0).saturating_sub(self.elapsed())
    }

    /// The instant at which the monotonic clock shows `at`.
    pub fn instant(&self, at: Millis) -> Instant {
        self.origin + Duration::from_millis(at.0)
    }
}
