//! Who counts, and how many of them are enough.

pub mod members;
pub mod verifier;
