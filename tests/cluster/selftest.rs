//! The checks are checked: a good history passes, and each planted fault is reported.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::wgl::{self, Action, Op, Outcome, Verdict};

pub fn run() -> ExitCode {
    linearizability();
    println!("the checks find what is planted");
    ExitCode::SUCCESS
}

fn op(called: u64, returned: u64, action: Action, outcome: Outcome) -> Op {
    Op {
        called,
        returned,
        action,
        outcome,
    }
}

fn verdict(ops: &[Op]) -> Verdict {
    wgl::check(ops, Instant::now() + Duration::from_secs(10))
}

fn linearizability() {
    use Outcome::{BadVersion, Done, NoNode, Unknown, Value, Version};
    let made = op(1, 2, Action::Create(1), Done);
    let wrong = |ops: &[Op]| assert_eq!(verdict(ops), Verdict::Wrong, "{ops:?}");
    let good = |ops: &[Op]| assert_eq!(verdict(ops), Verdict::Linearizable, "{ops:?}");
    good(&[]);
    good(&[made, op(3, 4, Action::Read, Value(1, 0))]);
    good(&[
        made,
        op(3, 6, Action::Set(2, -1), Version(1)),
        op(4, 5, Action::Read, Value(1, 0)),
    ]);
    good(&[
        made,
        op(3, 6, Action::Set(2, -1), Version(1)),
        op(4, 5, Action::Read, Value(2, 1)),
    ]);
    // A stale read, a lost write, a write that is done twice, a version that cannot be.
    wrong(&[
        made,
        op(3, 4, Action::Set(2, -1), Version(1)),
        op(5, 6, Action::Read, Value(1, 0)),
    ]);
    wrong(&[
        made,
        op(3, 4, Action::Set(2, 0), Version(1)),
        op(5, 6, Action::Set(3, 0), Version(1)),
    ]);
    wrong(&[made, op(3, 4, Action::Set(2, -1), Version(2))]);
    wrong(&[made, op(3, 4, Action::Set(2, 5), Version(1))]);
    wrong(&[
        op(3, 4, Action::Read, Value(1, 0)),
        op(5, 6, Action::Create(1), Done),
    ]);
    wrong(&[
        made,
        op(3, 4, Action::Delete(-1), Done),
        op(5, 6, Action::Set(1, -1), BadVersion),
    ]);
    good(&[
        made,
        op(3, 4, Action::Delete(0), Done),
        op(5, 6, Action::Set(1, -1), NoNode),
    ]);
    // Without an answer it may have been done late, or never, but not twice.
    let unknown = op(3, 0, Action::Set(2, -1), Unknown);
    good(&[made, unknown, op(5, 6, Action::Read, Value(1, 0))]);
    good(&[
        made,
        unknown,
        op(5, 6, Action::Read, Value(1, 0)),
        op(7, 8, Action::Read, Value(2, 1)),
    ]);
    wrong(&[
        made,
        unknown,
        op(5, 6, Action::Read, Value(2, 1)),
        op(7, 8, Action::Read, Value(1, 0)),
    ]);
    wrong(&[made, unknown, op(5, 6, Action::Read, Value(2, 2))]);
    assert_eq!(wgl::check(&crowd(), Instant::now()), Verdict::OutOfTime);
}

/// So many at once, with one that cannot be, that no search ends.
fn crowd() -> Vec<Op> {
    let made = op(1, 2, Action::Create(1), Outcome::Done);
    let many = (0..40).map(|value| op(3, 0, Action::Set(value + 2, -1), Outcome::Unknown));
    let odd = op(4, 5, Action::Read, Outcome::Value(99, 7));
    std::iter::once(made).chain(many).chain([odd]).collect()
}
