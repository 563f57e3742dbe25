//! The `zkserver` command.

fn main() {}
