//! How a run ends that ends badly.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};

use super::plan::Plan;
use super::run::{self, Summary};
use super::world::trace::LINES;

/// What was broken, and what was said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The number of an invariant, or the place of an assertion.
    pub law: String,
    pub text: String,
}

thread_local! {
    static LAST: RefCell<Option<Failure>> = const { RefCell::new(None) };
}

/// From now on, panics are kept for whoever catches them, and not printed.
pub fn keep_quiet() {
    std::panic::set_hook(Box::new(|info| {
        let failure = Failure::new(info);
        LAST.with(|last| *last.borrow_mut() = Some(failure));
    }));
}

impl Failure {
    fn new(info: &PanicHookInfo<'_>) -> Failure {
        let text = info
            .payload_as_str()
            .unwrap_or("a panic without words")
            .to_owned();
        let place = info
            .location()
            .map_or_else(String::new, |at| format!("{}:{}", at.file(), at.line()));
        Failure {
            law: law_in(&text).unwrap_or(place),
            text,
        }
    }
}

/// The number of an invariant, where one is named at the beginning or behind `failed: `.
fn law_in(text: &str) -> Option<String> {
    let said = text.split_once("failed: ").map_or(text, |(_, said)| said);
    let (law, _) = said.split_once(": ")?;
    let number = law.strip_prefix('I')?;
    number.chars().all(|c| c.is_ascii_digit()).then(|| law.to_owned())
}

/// Carries out a plan to its end, whatever that is.
pub fn attempt(plan: &Plan) -> Result<Summary, Failure> {
    caught(plan, false)
}

/// The same, with what happened on the way, line by line.
pub fn attempt_with_trace(plan: &Plan) -> (Vec<String>, Result<Summary, Failure>) {
    LINES.with(|lines| lines.borrow_mut().clear());
    let outcome = caught(plan, true);
    (
        LINES.with(|lines| std::mem::take(&mut *lines.borrow_mut())),
        outcome,
    )
}

fn caught(plan: &Plan, is_traced: bool) -> Result<Summary, Failure> {
    let plan = plan.clone();
    let outcome = catch_unwind(AssertUnwindSafe(|| run::run(plan, is_traced)));
    outcome.map_err(|_| {
        let last = LAST.with(|last| last.borrow_mut().take());
        last.expect("the hook was called")
    })
}
