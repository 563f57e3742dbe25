//! Deliberate bugs, to see that the tests which should catch them do: compiled in by the feature `mutants`
//! only, and then off until [`set`] turns one on.
//!
//! Each is a mistake that a real server has made, or could. Without the feature [`is_on`] is constant, so
//! nothing is left of them; and a release build refuses the feature.

use std::str::FromStr;
#[cfg(feature = "mutants")]
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed};

#[cfg(all(feature = "mutants", not(debug_assertions)))]
compile_error!("the feature `mutants` puts bugs into the server: no release build may have it");

/// A bug. `ZK-n` names the issue of Apache ZooKeeper that was one like it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mutant {
    /// A follower acknowledges a proposal before it is on disk.
    M1,
    /// A follower acknowledges NEWLEADER before the history in front of it is on disk (ZK-3911, ZK-4646,
    /// ZK-4785).
    M2,
    /// A learner saves `currentEpoch` before it has the history of that epoch (ZK-4643).
    M3,
    /// A follower joins an epoch that its disk does not know as accepted, and may join another one of the
    /// same number later.
    M4,
    /// Half of the servers are a quorum.
    M5a,
    /// Observers are counted where only voters may be.
    M5b,
    /// Votes are compared by zxid before they are compared by epoch.
    M6a,
    /// A server votes with the last transaction that it knows to be committed, not with the last it logged.
    M6b,
    /// A learner that is told to cut its log does not (ZK-2845, ZK-5010).
    M7,
    /// The leader commits all that anybody acknowledged as soon as a quorum has acknowledged anything (Zab).
    M8,
    /// A follower loses what is proposed between NEWLEADER and UPTODATE (ZK-4394).
    M9a,
    /// The leader sends its window of history to a learner that ends before the window (ZK-4925).
    M9b,
    /// A tree that is read from a snapshot takes the zxid of a node's last change of data for that of the
    /// last change of its children (ZK-3145, ZK-3306, ZK-4689, ZK-4846).
    M10,
    /// The number in a sequential name is the number of children.
    M11a,
    /// The number of changes of children, from which sequential names come, begins anew with a restore.
    M11b,
    /// The end of a session misses the ephemerals whose creation is under way (ZK-3144).
    M12a,
    /// A new leader counts the timeouts of sessions from long ago (ZK-4837).
    M12b,
    /// A read is answered in front of the events that waited for its connection.
    M13a,
    /// A client that sets its watches again is not told what happened since it saw the nodes.
    M13b,
    /// A persistent watch is used up by its first event.
    M13c,
    /// Recursive watches further up than the parent are not looked for.
    M13d,
    /// A server serves a client that has seen more than it has.
    M14a,
    /// The leader takes requests of a session from a server that no longer has it.
    M14b,
    /// Permissions are checked against the ACL of before a pending change (CVE-2026-100235).
    M15a,
    /// What the first operations of a failed multi would have changed is taken as pending.
    M15b,
    /// A bad record with good ones behind it is taken for the end of the log.
    M16,
    /// The directory is not synced when it gets a new log.
    M17,
    /// A sync of the log that failed is tried again, and believed the second time.
    M18,
    /// A leader that has lost its quorum goes on.
    M19,
    /// Behind the last zxid of an epoch a leader goes on into the next one, which nobody has agreed on.
    M20,
    /// A reconfiguration is committed with a quorum of the old configuration alone.
    M21,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Mutant; 31] = [
        Mutant::M1,
        Mutant::M2,
        Mutant::M3,
        Mutant::M4,
        Mutant::M5a,
        Mutant::M5b,
        Mutant::M6a,
        Mutant::M6b,
        Mutant::M7,
        Mutant::M8,
        Mutant::M9a,
        Mutant::M9b,
        Mutant::M10,
        Mutant::M11a,
        Mutant::M11b,
        Mutant::M12a,
        Mutant::M12b,
        Mutant::M13a,
        Mutant::M13b,
        Mutant::M13c,
        Mutant::M13d,
        Mutant::M14a,
        Mutant::M14b,
        Mutant::M15a,
        Mutant::M15b,
        Mutant::M16,
        Mutant::M17,
        Mutant::M18,
        Mutant::M19,
        Mutant::M20,
        Mutant::M21,
    ];
}

/// By name, as `M7` or `M5a`.
impl FromStr for Mutant {
    type Err = String;

    fn from_str(name: &str) -> Result<Mutant, String> {
        let is_meant = |mutant: &Mutant| format!("{mutant:?}") == name;
        let found = Mutant::ALL.into_iter().find(is_meant);
        found.ok_or_else(|| format!("no mutant is called {name:?}; there are {:?}", Mutant::ALL))
    }
}

/// Of the whole process: a test of mutants runs one at a time.
#[cfg(feature = "mutants")]
static ON: AtomicU8 = AtomicU8::new(NONE);
#[cfg(feature = "mutants")]
static COUNTER_MAX: AtomicU32 = AtomicU32::new(u32::MAX);
#[cfg(feature = "mutants")]
const NONE: u8 = u8::MAX;

/// Turns one on and all others off.
#[cfg(feature = "mutants")]
pub fn set(mutant: Option<Mutant>) {
    ON.store(mutant.map_or(NONE, |mutant| mutant as u8), Relaxed);
}

/// Whether the server has this bug now.
#[cfg(feature = "mutants")]
pub fn is_on(mutant: Mutant) -> bool {
    ON.load(Relaxed) == mutant as u8
}

/// Lets epochs end early, so that a test comes to what M20 gets wrong.
#[cfg(feature = "mutants")]
pub fn set_counter_max(max: u32) {
    COUNTER_MAX.store(max, Relaxed);
}

/// The counter at which an epoch ends.
#[cfg(feature = "mutants")]
pub fn counter_max() -> u32 {
    COUNTER_MAX.load(Relaxed)
}

/// Whether the server has this bug now: never, without the feature.
#[cfg(not(feature = "mutants"))]
pub const fn is_on(_: Mutant) -> bool {
    false
}

/// The counter at which an epoch ends: the largest there is.
#[cfg(not(feature = "mutants"))]
pub const fn counter_max() -> u32 {
    u32::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutant_has_a_name() {
        for mutant in Mutant::ALL {
            assert_eq!(format!("{mutant:?}").parse(), Ok(mutant));
            assert!(!is_on(mutant));
        }
        assert!("M5".parse::<Mutant>().is_err());
    }
}
