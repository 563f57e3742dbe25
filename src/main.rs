//! The `zkserver` command.

use std::process::ExitCode;

/// Many small blocks that live long: the system's allocator would keep more memory for them.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    zkserver::cli::main()
}
