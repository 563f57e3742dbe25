//! The tree against a naive one, against what real servers did, and within its memory.

mod history;
mod listings;
mod model;
mod rules;
mod snapshots;
mod worked_example;
