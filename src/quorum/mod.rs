//! Who counts, and how many of them are enough.

pub mod configs;
pub mod members;
pub mod reconfig;
pub mod verifier;
