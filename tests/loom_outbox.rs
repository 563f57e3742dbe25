//! Why a client never sees a state before the event that announces it: a model of the tree's lock and a
//! connection's outbox, run through every interleaving of the core and a connection.
//!
//! The core changes the tree and puts the event of the change into the outbox. The connection takes what is
//! in the outbox, then answers a read from the tree. It is right as long as the core does both under one
//! write guard, and the connection both under one read guard. Either one done otherwise is found out here.

use std::panic::catch_unwind;

use loom::sync::{Arc, Mutex, RwLock};
use loom::thread;

/// What a connection has sent to its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    /// The change that led to this state.
    Event(u32),
    /// A reply that shows this state.
    State(u32),
}

/// When the core puts an event into the outbox.
#[derive(Clone, Copy)]
enum Push {
    UnderTheGuard,
    BehindTheGuard,
}

/// When a connection empties its outbox.
#[derive(Clone, Copy)]
enum Drain {
    UnderTheGuard,
    BeforeTheGuard,
}

/// The core makes a change while a connection answers two reads.
fn every_interleaving(push: Push, drain: Drain) {
    loom::model(move || {
        let tree = Arc::new(RwLock::new(1));
        let outbox = Arc::new(Mutex::new(Vec::new()));
        let core = thread::spawn({
            let (tree, outbox) = (Arc::clone(&tree), Arc::clone(&outbox));
            move || change(&tree, &outbox, push)
        });
        let mut sent = Vec::new();
        for _ in 0..2 {
            answer(&tree, &outbox, drain, &mut sent);
        }
        core.join().expect("the core does not panic");
        sent.append(&mut outbox.lock().expect("not poisoned"));
        check(&sent);
    });
}

fn change(tree: &RwLock<u32>, outbox: &Mutex<Vec<Sent>>, push: Push) {
    let mut state = tree.write().expect("not poisoned");
    *state = 2;
    if let Push::BehindTheGuard = push {
        drop(state);
        outbox.lock().expect("not poisoned").push(Sent::Event(2));
        return;
    }
    outbox.lock().expect("not poisoned").push(Sent::Event(2));
    drop(state);
}

fn answer(tree: &RwLock<u32>, outbox: &Mutex<Vec<Sent>>, drain: Drain, sent: &mut Vec<Sent>) {
    if let Drain::BeforeTheGuard = drain {
        sent.append(&mut outbox.lock().expect("not poisoned"));
    }
    let state = tree.read().expect("not poisoned");
    if let Drain::UnderTheGuard = drain {
        sent.append(&mut outbox.lock().expect("not poisoned"));
    }
    sent.push(Sent::State(*state));
}

fn check(sent: &[Sent]) {
    let event = sent.iter().position(|sent| *sent == Sent::Event(2));
    let event = event.expect("no event is lost");
    let shown = sent.iter().position(|sent| *sent == Sent::State(2));
    assert!(
        shown.is_none_or(|shown| event < shown),
        "a client would see state 2 before its event: {sent:?}"
    );
}

#[test]
fn an_event_comes_before_the_state_in_every_interleaving() {
    every_interleaving(Push::UnderTheGuard, Drain::UnderTheGuard);
}

#[test]
fn an_event_pushed_behind_the_write_guard_comes_too_late() {
    assert_found_out(Push::BehindTheGuard, Drain::UnderTheGuard);
}

#[test]
fn an_outbox_drained_before_the_read_guard_is_drained_too_early() {
    assert_found_out(Push::UnderTheGuard, Drain::BeforeTheGuard);
}

fn assert_found_out(push: Push, drain: Drain) {
    let panic = catch_unwind(|| every_interleaving(push, drain)).expect_err("every interleaving passes");
    let message = panic.downcast_ref::<String>().expect("a formatted message");
    assert!(
        message.starts_with("a client would see state 2 before its event"),
        "{message}"
    );
}
