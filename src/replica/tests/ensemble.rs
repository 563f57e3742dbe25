//! What happens in an ensemble, told step by step.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a test asks for one thing and no other"
)]

use super::world::{disk, ensemble as world, setup};

mod damage;
mod early_acl;
mod handing_over;
mod known_bugs;
mod local_sessions;
mod moves;
mod observer_masters;
mod read_only;
mod reconfig;
mod role_ends;
mod serving;
mod syncing;
