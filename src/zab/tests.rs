//! Whole ensembles under faults, and single roles step by step.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a test asks for one thing and no other"
)]

mod leading;
mod learning;
mod observer_master;
mod sim;

use bytes::Bytes;
use sim::World;

use super::{LogEntry, ZabConfig};
use crate::ids::{ServerId, SessionId, Zxid};
use crate::proto::quorum::{PacketType, QuorumPacket};
use crate::proto::txn::{self, Txn, TxnHeader};
use crate::quorum::configs::Configs;
use crate::quorum::members::Members;

thread_local! {
    /// What stands for the last counter of an epoch, which no test lives to see.
    pub(crate) static COUNTER_MAX: std::cell::Cell<u32> = const { std::cell::Cell::new(u32::MAX) };
}

fn config(me: i64, voters: i64) -> ZabConfig {
    ZabConfig {
        me: ServerId(me),
        configs: Configs::new(members(voters, 0)),
        reconfig_enabled: false,
        tick_ms: 1000,
        init_limit: 10,
        sync_limit: 5,
        max_epoch_wait_ms: None,
        force_snapshot: false,
        may_read_log: true,
        truncates_apache: false,
        sync_asks_quorum: true,
        has_observer_masters: false,
    }
}

/// Nine servers, of whom the first ones vote.
fn members(voters: i64, version: u64) -> Members {
    let member = |id: i64| {
        let role = if id <= voters { "participant" } else { "observer" };
        format!("server.{id}=h{id}:1:2:{role}\n")
    };
    let text = (1..=9).map(member).collect::<String>() + &format!("version={version:x}");
    Members::parse(&text).unwrap()
}

/// A transaction that is told from others of the same zxid by its number.
fn entry(zxid: Zxid, number: i64) -> LogEntry {
    let header = TxnHeader {
        client_id: SessionId(1),
        cxid: 0,
        zxid,
        time: number,
        code: -1,
    };
    let mut encoded = Vec::new();
    txn::encode(&header, &Txn::Error(-110), None, &mut encoded);
    LogEntry {
        zxid,
        encoded: Bytes::from(encoded),
    }
}

fn packets(bytes: &Bytes) -> Vec<QuorumPacket> {
    let (mut packets, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let (packet, used) = QuorumPacket::decode(&bytes[at..], 1 << 20).unwrap().unwrap();
        packets.push(packet);
        at += used;
    }
    packets
}

/// Runs one seed, then heals; how much was committed and how many epochs there were.
fn run(seed: u64, voters: usize, observers: usize, has_observer_masters: bool) -> World {
    let mut world = World::new(seed, voters, observers, has_observer_masters);
    for _ in 0..6000 {
        world.step();
    }
    world.heal();
    world
}

#[test]
fn nothing_committed_is_lost_whatever_fails_and_whoever_is_elected() {
    let (mut committed, mut epochs) = (0, 0);
    let mut plans = std::collections::BTreeMap::new();
    for seed in 0..SEEDS {
        let (voters, observers) = [(3, 0), (3, 1), (5, 0), (2, 1)][seed as usize % 4];
        let world = run(seed, voters, observers, false);
        committed += world.committed_count();
        epochs += world.epochs_count();
        for (plan, count) in &world.plans {
            *plans.entry(*plan).or_insert(0) += count;
        }
    }
    assert!(committed > 1000 && epochs > 200, "{committed} in {epochs} epochs");
    assert_eq!(plans.len(), 3, "every way of synchronizing: {plans:?}");
}

#[test]
fn observers_behind_followers_hold_nothing_but_what_is_committed() {
    let mut committed = 0;
    let mut plans = std::collections::BTreeMap::new();
    for seed in 0..SEEDS {
        let world = run(1000 + seed, 3, 2, true);
        committed += world.committed_count();
        for (plan, count) in &world.plans_of_observers {
            *plans.entry(*plan).or_insert(0) += count;
        }
    }
    assert!(committed > 1000, "{committed}");
    assert!(plans[&PacketType::Diff] > 100, "{plans:?}");
    assert!(plans[&PacketType::Snap] > 100, "{plans:?}");
    // What an observer holds is committed, so there is nothing to cut.
    assert_eq!(plans.get(&PacketType::Trunc), None);
}

const SEEDS: u64 = 200;
