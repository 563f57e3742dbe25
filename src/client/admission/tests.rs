//! Requests that wait, large ones, and clients that do not say who they are.

use std::sync::atomic::Ordering::Relaxed;

use super::AdmissionConfig;
use crate::clock::Millis;
use crate::ids::SessionId;
use crate::proto::jute::Put;
use crate::proto::opcode::OpCode;
use crate::replica::tests::harness::{Limits, World};
use crate::replica::tests::world::client::connect;
use crate::replica::tests::world::configs::now;
use crate::replica::tests::world::frames::*;
use crate::session::{ConnectionThrottle, ConnectionThrottleConfig};

const NONE: [&str; 0] = [];

fn world(admission: AdmissionConfig) -> World {
    World::with(Limits {
        admission,
        ..Limits::default()
    })
}

fn later(world: &mut World, ms: u64) {
    world.now = now(world.now.mono.0 + ms);
}

#[test]
fn a_request_waits_while_there_are_as_many_as_may_be() {
    let mut world = world(AdmissionConfig {
        requests_max: 1,
        stall_ms: 100,
        ..AdmissionConfig::default()
    });
    let (first, second) = (world.session(4000), world.session(4000));
    world.send(first, &[create("/a", "")]);
    world.core();
    world.send(second, &[ping(), create("/b", ""), ping()]);
    assert_eq!(world.lines(second), ["-2 @2"], "what needs no room goes on");
    assert_eq!(world.outstanding(), 1);
    let retry_at = world.clients[second].conn.retry_at();
    assert_eq!(retry_at, Some(world.now.mono + Millis(100)));
    later(&mut world, 100);
    world.advance(second);
    assert_eq!(world.shared.metrics.request_throttle_wait_count.value(), 2);
    world.finish();
    world.advance(second);
    world.finish();
    assert_eq!(world.lines(second), ["2 @4 /b", "-2 @4"]);
    assert_eq!(world.clients[second].conn.retry_at(), None);
    let waited = world.shared.metrics.request_throttle_queue_time_ms.summary();
    assert_eq!((waited.count(), waited.max()), (2, 100));
}

#[test]
fn what_has_waited_too_long_is_refused_but_never_a_ping_or_an_end() {
    let mut world = world(AdmissionConfig {
        requests_max: 1,
        stall_ms: 100,
        wait_max_ms: Some(500),
        ..AdmissionConfig::default()
    });
    let (first, second) = (world.session(4000), world.session(4000));
    world.send(first, &[create("/a", "")]);
    world.core();
    world.send(second, &[create("/b", ""), get("/a"), ping()]);
    later(&mut world, 501);
    world.finish();
    world.advance(second);
    // What came later has not waited.
    world.send(second, &[create("/d", ""), close()]);
    world.finish();
    world.advance(second);
    world.finish();
    assert_eq!(
        world.lines(second),
        ["1 @3 error -127", "2 @3 error -127", "-2 @3", "4 @4 /d", "5 @5"]
    );
    assert_eq!(world.shared.metrics.throttled_ops.value(), 2);
}

#[test]
fn the_end_of_a_session_waits_and_is_never_refused() {
    let mut world = world(AdmissionConfig {
        requests_max: 1,
        stall_ms: 100,
        wait_max_ms: Some(500),
        drops_late: true,
        ..AdmissionConfig::default()
    });
    let (first, second) = (world.session(40_000), world.session(4000));
    world.send(first, &[create("/a", "")]);
    world.core();
    world.send(second, &[close()]);
    later(&mut world, 5000);
    world.finish();
    world.advance(second);
    world.finish();
    assert_eq!(world.lines(second), ["1 @4"]);
}

#[test]
fn a_request_that_has_waited_longer_than_its_session_lives_ends_its_connection() {
    for drops_late in [true, false] {
        let mut world = world(AdmissionConfig {
            requests_max: 1,
            stall_ms: 100,
            drops_late,
            ..AdmissionConfig::default()
        });
        let (first, second) = (world.session(40_000), world.session(4000));
        world.send(first, &[create("/a", "")]);
        world.core();
        world.send(second, &[create("/b", "")]);
        later(&mut world, 4001);
        world.advance(second);
        assert_eq!(world.clients[second].is_closed, drops_late);
        let dropped = world.shared.metrics.stale_requests_dropped.value();
        assert_eq!(dropped, u64::from(drops_late));
    }
}

#[test]
fn what_waits_is_done_without_its_client_unless_it_goes_with_it() {
    for drops_gone in [true, false] {
        let mut world = world(AdmissionConfig {
            requests_max: 1,
            stall_ms: 100,
            drops_gone,
            ..AdmissionConfig::default()
        });
        let (first, second) = (world.session(4000), world.session(4000));
        world.send(first, &[create("/a", "")]);
        world.core();
        world.send(second, &[create("/b", ""), create("/c", "")]);
        assert_eq!(world.clients[second].conn.client_is_gone(), drops_gone);
        if drops_gone {
            let shared = std::sync::Arc::clone(&world.shared);
            world.clients[second].conn.hang_up(&shared);
            assert_eq!(world.shared.metrics.stale_requests_dropped.value(), 1);
            continue;
        }
        assert!(!world.clients[second].conn.is_done_alone());
        for _ in 0..3 {
            world.finish();
            later(&mut world, 100);
            world.advance(second);
        }
        assert!(world.clients[second].conn.is_done_alone());
        assert!(world.lines(second).is_empty());
        world.finish();
        world.lines(first);
        assert_eq!(world.ask(first, &[get("/c")]), ["2 @5  v0"]);
    }
}

#[test]
fn large_requests_have_so_many_bytes_between_them() {
    let mut world = world(AdmissionConfig {
        large_threshold: Some(1000),
        large_bytes_max: 3000,
        ..AdmissionConfig::default()
    });
    let clients: Vec<usize> = (0..4).map(|_| world.session(4000)).collect();
    let large = |path| create(path, &"x".repeat(1200));
    world.send(clients[0], &[large("/a")]);
    world.send(clients[1], &[large("/b"), create("/small", "")]);
    world.core();
    let held = world.shared.large_request_bytes.load(Relaxed);
    assert!((2400..3000).contains(&held), "{held}");
    world.send(clients[2], &[large("/c")]);
    assert!(world.clients[clients[2]].is_closed);
    // It is refused as soon as its length is there.
    let mut length = Vec::new();
    length.put_int(1200);
    world.receive(clients[3], &length);
    assert!(world.clients[clients[3]].is_closed);
    assert_eq!(world.shared.metrics.large_requests_rejected.value(), 2);
    world.finish();
    assert_eq!(world.lines(clients[1]).len(), 2);
    assert_eq!(world.shared.large_request_bytes.load(Relaxed), 0);
    let other = world.session(4000);
    assert_eq!(world.ask(other, &[large("/c")]).len(), 1);
    // What was under way when its connection went is not counted any more.
    world.send(other, &[large("/d")]);
    world.hang_up(other);
    let shared = std::sync::Arc::clone(&world.shared);
    world.clients[other].conn.hang_up(&shared);
    assert_eq!(world.shared.large_request_bytes.load(Relaxed), 0);
}

#[test]
fn a_client_that_does_not_say_who_it_is_is_refused_whatever_it_asks() {
    let limits = || AdmissionConfig {
        enforced_schemes: vec!["digest".into(), "other".into()],
        ..AdmissionConfig::default()
    };
    let unknown = Ask::new(OpCode::Error, |_| {});
    for ask in [get("/"), create("/a", ""), close(), unknown] {
        let mut world = world(limits());
        let client = world.session(4000);
        assert_eq!(world.ask(client, &[ask, get("/")]), ["1 @0 error -124"]);
        assert!(world.clients[client].is_closed);
    }
    let mut world = world(limits());
    let client = world.session(4000);
    world.send(client, &[ping()]);
    // Errors echo the xid, even of a ping.
    let mut expected = Vec::new();
    expected.put_int(16);
    expected.put_int(1);
    expected.put_long(0);
    expected.put_int(-124);
    assert_eq!(world.clients[client].bytes, expected);
    world.clients[client].bytes.clear();
    let client = world.session(4000);
    let lines = world.ask(client, &[auth("digest", "user:pass"), create("/a", ""), ping()]);
    assert_eq!(lines, ["1 @0", "2 @3 /a", "-2 @3"]);
    let client = world.session(4000);
    let lines = world.ask(client, &[auth("ip", ""), get("/a")]);
    assert_eq!(lines, ["1 @0", "2 @0 error -124"]);
}

#[test]
fn every_client_is_known_by_its_address() {
    let mut world = world(AdmissionConfig {
        enforced_schemes: vec!["ip".into()],
        ..AdmissionConfig::default()
    });
    let client = world.session(4000);
    assert_eq!(world.ask(client, &[create("/a", "")]), ["1 @2 /a"]);
}

#[test]
fn connect_requests_are_throttled() {
    let mut world = World::new();
    let first = world.session(4000);
    let throttle = ConnectionThrottle::new(
        ConnectionThrottleConfig {
            tokens: 4,
            fill_time_ms: 100,
            is_weighed: true,
            ..ConnectionThrottleConfig::default()
        },
        world.now.mono,
        1,
    );
    *world.shared.connection_throttle.lock() = throttle;
    // Twelve tokens: three for each new session, two for each that goes on.
    let clients: Vec<usize> = (0..3).map(|_| world.session(4000)).collect();
    let renewed = world.renewal(first, 4000);
    assert_eq!(world.lines(renewed), ["connected 4000"]);
    let refused = world.accept();
    world.receive(refused, &connect(0, 4000, SessionId(0), &[]));
    assert!(world.clients[refused].is_closed);
    assert_eq!(world.lines(refused), NONE);
    assert_eq!(world.shared.metrics.connection_rejected.value(), 1);
    assert_eq!(world.shared.metrics.connection_token_deficit.max(), 11);
    assert_eq!(world.ask(clients[0], &[create("/a", "")]).len(), 1);
    later(&mut world, 101);
    assert_eq!(world.session(4000), refused + 1);
}
