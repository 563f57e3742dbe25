//! A leader, packet by packet.

use bytes::Bytes;

use super::{config, entry, packets};
use crate::clock::Millis;
use crate::ids::{Epoch, ServerId, SessionId, Zxid};
use crate::proto::quorum::{ForwardedRequest, LearnerInfo, PROTOCOL_VERSION, PacketType, QuorumPacket};
use crate::zab::*;

const NOW: Millis = Millis(0);
const A: LinkId = LinkId(11);
const B: LinkId = LinkId(12);

fn zxid(epoch: i64, counter: u32) -> Zxid {
    Zxid::new(Epoch(epoch), counter)
}

/// Leader 3 of three, with history up to <1,2>.
struct Lead {
    leader: Leader,
    out: Vec<Output>,
}

impl Lead {
    fn new() -> Lead {
        Lead::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut ZabConfig)) -> Lead {
        let mut config = config(3, 3);
        change(&mut config);
        let mut log = CommittedLog::new(zxid(1, 0), COMMIT_LOG_COUNT);
        log.push(entry(zxid(1, 1), 1));
        log.push(entry(zxid(1, 2), 2));
        let history = History {
            last_logged: zxid(1, 2),
            last_applied: zxid(1, 2),
            accepted_epoch: Epoch(1),
            current_epoch: Epoch(1),
        };
        let mut out = Vec::new();
        let leader = Leader::new(config, NOW, history, log, &mut out);
        Lead { leader, out }
    }

    fn step(&mut self, now: Millis, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        self.leader.step(now, input, &mut out);
        out
    }

    fn packet(&mut self, link: LinkId, kind: PacketType, zxid: Zxid, data: &[u8]) -> Vec<Output> {
        let data = (!data.is_empty()).then(|| Bytes::copy_from_slice(data));
        self.step(NOW, Input::Packet(link, QuorumPacket::new(kind, zxid, data)))
    }

    fn hello(&mut self, link: LinkId, server: i64, accepted: i64, kind: PacketType) -> Vec<Output> {
        self.step(NOW, Input::LinkUp(link));
        let info = LearnerInfo {
            server: ServerId(server),
            protocol_version: PROTOCOL_VERSION,
            config_version: 0,
            is_zkserver: false,
            wants_snapshot: false,
        };
        self.packet(link, kind, zxid(accepted, 0), &info.to_bytes())
    }

    fn ack_epoch(&mut self, link: LinkId, current: i32, last: Zxid) -> Vec<Output> {
        self.packet(link, PacketType::AckEpoch, last, &current.to_be_bytes())
    }

    fn saved(&mut self, accepted: i64, current: i64) -> Vec<Output> {
        let (accepted, current) = (Epoch(accepted), Epoch(current));
        self.step(NOW, Input::EpochsSaved { accepted, current })
    }

    /// With server 1 as follower, at <1,2>.
    fn active() -> Lead {
        Lead::new().activate()
    }

    fn activate(mut self) -> Lead {
        self.hello(A, 1, 1, PacketType::FollowerInfo);
        self.saved(2, 1);
        self.ack_epoch(A, 1, zxid(1, 2));
        self.saved(2, 2);
        let out = self.packet(A, PacketType::Ack, zxid(2, 0), &[]);
        assert!(out.contains(&Output::Active { epoch: Epoch(2) }));
        self
    }

    fn propose(&mut self, now: Millis, counter: u32) -> Vec<Output> {
        let mut out = Vec::new();
        self.leader.propose(now, entry(zxid(2, counter), 9), &mut out);
        out
    }
}

/// What is sent on a connection, in words.
fn sent(out: &[Output], link: LinkId) -> Vec<(PacketType, Zxid)> {
    let mut all = Vec::new();
    for output in out {
        if let Output::Send(to, bytes) = output
            && *to == link
        {
            all.extend(
                packets(bytes)
                    .into_iter()
                    .map(|packet| (packet.kind, packet.zxid)),
            );
        }
    }
    all
}

fn closed(out: &[Output]) -> Vec<LinkId> {
    let close = |output: &Output| match output {
        Output::Close { link, .. } => Some(*link),
        _ => None,
    };
    out.iter().filter_map(close).collect()
}

fn has_ended(out: &[Output]) -> bool {
    out.iter()
        .any(|output| matches!(output, Output::RoleEnded { .. }))
}

#[test]
fn an_epoch_is_on_disk_before_anybody_is_told_and_before_newleader_leaves() {
    let mut lead = Lead::new();
    assert_eq!(lead.out, [Output::Listen]);
    let out = lead.hello(A, 1, 4, PacketType::FollowerInfo);
    let save = |accepted, current| Output::SaveEpochs {
        accepted: Epoch(accepted),
        current: Epoch(current),
    };
    assert_eq!(out, [save(5, 1)]);
    assert_eq!(sent(&lead.saved(5, 1), A), [(PacketType::LeaderInfo, zxid(5, 0))]);
    assert_eq!(lead.ack_epoch(A, 1, zxid(1, 2)), [save(5, 5)]);
    let out = lead.saved(5, 5);
    assert_eq!(
        sent(&out, A),
        [
            (PacketType::Diff, zxid(1, 2)),
            (PacketType::NewLeader, zxid(5, 0))
        ]
    );
    let out = lead.packet(A, PacketType::Ack, zxid(5, 0), &[]);
    assert_eq!(out[0], Output::Active { epoch: Epoch(5) });
    assert_eq!(sent(&out, A), [(PacketType::UpToDate, Zxid(-1))]);
}

#[test]
fn who_asks_for_a_snapshot_gets_one_and_counts_if_it_says_what_it_holds() {
    for (current, last, counts) in [(1, zxid(1, 2), true), (-1, Zxid(-1), false)] {
        let mut lead = Lead::new();
        lead.step(NOW, Input::LinkUp(A));
        let info = LearnerInfo {
            server: ServerId(1),
            protocol_version: PROTOCOL_VERSION,
            config_version: 0,
            is_zkserver: true,
            wants_snapshot: true,
        };
        lead.packet(A, PacketType::FollowerInfo, zxid(1, 0), &info.to_bytes());
        lead.saved(2, 1);
        assert_eq!(!lead.ack_epoch(A, current, last).is_empty(), counts);
        let out = lead.saved(2, 2);
        let is_snapshot = |output: &Output| matches!(output, Output::SendSnapshot { link: A, .. });
        assert_eq!(out.iter().any(is_snapshot), counts, "{out:?}");
    }
}

#[test]
fn observers_raise_the_epoch_but_make_no_quorum() {
    let mut lead = Lead::new();
    assert_eq!(lead.hello(A, 8, 6, PacketType::ObserverInfo), []);
    let out = lead.hello(B, 2, 1, PacketType::FollowerInfo);
    let (accepted, current) = (Epoch(7), Epoch(1));
    assert_eq!(out, [Output::SaveEpochs { accepted, current }]);
    lead.saved(7, 1);
    assert_eq!(lead.ack_epoch(A, 1, zxid(1, 1)), []);
    assert!(!lead.ack_epoch(B, 1, zxid(1, 1)).is_empty());
    lead.saved(7, 7);
    assert_eq!(lead.packet(A, PacketType::Ack, zxid(7, 0), &[]), []);
    assert!(!lead.packet(B, PacketType::Ack, zxid(7, 0), &[]).is_empty());
}

#[test]
fn who_is_ahead_or_had_accepted_the_epoch_does_not_count() {
    let mut lead = Lead::new();
    lead.hello(A, 1, 1, PacketType::FollowerInfo);
    lead.saved(2, 1);
    assert_eq!(lead.ack_epoch(A, -1, zxid(1, 9)), []);
    for (current, last) in [(1, zxid(1, 3)), (2, zxid(1, 1))] {
        lead.hello(B, 2, 1, PacketType::FollowerInfo);
        let out = lead.ack_epoch(B, current, last);
        assert_eq!((closed(&out), out.len()), (vec![B], 1));
    }
}

#[test]
fn strangers_cost_a_connection_and_nothing_else() {
    let mut lead = Lead::active();
    let before = lead.leader.status();
    let hello = |kind, server, accepted, version| {
        let info = LearnerInfo {
            server: ServerId(server),
            protocol_version: PROTOCOL_VERSION,
            config_version: version,
            is_zkserver: false,
            wants_snapshot: false,
        };
        QuorumPacket::new(kind, Zxid::new(Epoch(accepted), 0), Some(info.to_bytes()))
    };
    let table = [
        hello(PacketType::Proposal, 1, 1, 0),
        hello(PacketType::FollowerInfo, 3, 1, 0),
        hello(PacketType::FollowerInfo, 2, 1, 99),
        hello(PacketType::FollowerInfo, 2, 0xffff_ffff, 0),
        QuorumPacket::new(PacketType::FollowerInfo, Zxid(0), None),
    ];
    for packet in table {
        lead.step(NOW, Input::LinkUp(B));
        let out = lead.step(NOW, Input::Packet(B, packet));
        assert_eq!(closed(&out), [B]);
        assert_eq!(lead.leader.status(), before);
    }
    // One that is known sends what only leaders send, or acknowledges what nobody proposed.
    let out = lead.packet(A, PacketType::Proposal, zxid(2, 1), &[]);
    assert_eq!(closed(&out), [A]);
    let mut lead = Lead::active();
    let out = lead.packet(A, PacketType::Ack, zxid(2, 1), &[]);
    assert_eq!(closed(&out), [A]);
}

#[test]
fn a_proposal_leaves_before_the_own_disk_has_it_and_commits_with_a_quorum() {
    let mut lead = Lead::active();
    let out = lead.propose(NOW, 1);
    assert_eq!(sent(&out, A), [(PacketType::Proposal, zxid(2, 1))]);
    assert!(matches!(out.last(), Some(Output::AppendLog(_))));
    assert_eq!(lead.packet(A, PacketType::Ack, zxid(2, 1), &[]), []);
    let out = lead.step(NOW, Input::LogDurable { upto: zxid(2, 1) });
    assert_eq!(out[0], Output::Commit(entry(zxid(2, 1), 9)));
    assert_eq!(sent(&out, A), [(PacketType::Commit, zxid(2, 1))]);
}

#[test]
fn a_late_learner_gets_what_is_under_way_and_then_each_commit_once() {
    let mut lead = Lead::active();
    lead.propose(NOW, 1);
    lead.step(NOW, Input::LogDurable { upto: zxid(2, 1) });
    lead.packet(A, PacketType::Ack, zxid(2, 1), &[]);
    lead.propose(NOW, 2);
    lead.hello(B, 2, 2, PacketType::FollowerInfo);
    let out = lead.ack_epoch(B, -1, zxid(1, 1));
    let (proposal, commit) = (PacketType::Proposal, PacketType::Commit);
    assert_eq!(
        sent(&out, B),
        [
            (PacketType::Diff, zxid(2, 1)),
            (proposal, zxid(1, 2)),
            (commit, zxid(1, 2)),
            (proposal, zxid(2, 1)),
            (commit, zxid(2, 1)),
            (proposal, zxid(2, 2)),
            (PacketType::NewLeader, zxid(2, 0)),
        ]
    );
    // An observer gets history as proposals and commits, then informs.
    let observer = LinkId(13);
    lead.hello(observer, 9, 2, PacketType::ObserverInfo);
    let out = lead.ack_epoch(observer, -1, zxid(2, 1));
    assert_eq!(
        sent(&out, observer),
        [
            (PacketType::Diff, zxid(2, 1)),
            (PacketType::NewLeader, zxid(2, 0))
        ]
    );
    lead.step(NOW, Input::LogDurable { upto: zxid(2, 2) });
    let out = lead.packet(A, PacketType::Ack, zxid(2, 2), &[]);
    assert_eq!(sent(&out, B), [(commit, zxid(2, 2))]);
    assert_eq!(sent(&out, observer), [(PacketType::Inform, zxid(2, 2))]);
}

#[test]
fn zk_4685_an_acknowledgement_before_that_of_newleader_is_kept_for_later() {
    let mut lead = Lead::active();
    lead.propose(NOW, 1);
    lead.step(NOW, Input::LogDurable { upto: zxid(2, 1) });
    lead.step(NOW, Input::LinkDown(A));
    lead.hello(B, 2, 2, PacketType::FollowerInfo);
    lead.ack_epoch(B, -1, zxid(1, 2));
    assert_eq!(lead.packet(B, PacketType::Ack, zxid(2, 1), &[]), []);
    let out = lead.packet(B, PacketType::Ack, zxid(2, 0), &[]);
    assert_eq!(
        sent(&out, B),
        [(PacketType::Commit, zxid(2, 1)), (PacketType::UpToDate, Zxid(-1))]
    );
}

#[test]
fn who_comes_back_with_less_has_to_acknowledge_again() {
    let mut lead = Lead::active();
    lead.propose(NOW, 1);
    lead.packet(A, PacketType::Ack, zxid(2, 1), &[]);
    lead.step(NOW, Input::LinkDown(A));
    lead.hello(B, 1, 2, PacketType::FollowerInfo);
    let out = lead.ack_epoch(B, -1, zxid(2, 1));
    assert!(
        matches!(out[0], Output::SendSnapshot { link: B, .. }),
        "Apache's are not cut"
    );
    let out = lead.step(NOW, Input::LogDurable { upto: zxid(2, 1) });
    assert_eq!(out, [], "what it acknowledged once is no longer there");
    lead.step(NOW, Input::SnapshotSent(B));
    lead.packet(B, PacketType::Ack, zxid(2, 0), &[]);
    assert!(!lead.packet(B, PacketType::Ack, zxid(2, 1), &[]).is_empty());
}

#[test]
fn an_image_for_apache_is_ahead_of_all_that_its_log_keeps() {
    let mut lead = Lead::active();
    lead.hello(B, 2, 1, PacketType::FollowerInfo);
    let out = lead.ack_epoch(B, 1, zxid(1, 9));
    assert!(matches!(out[0], Output::SendSnapshot { link: B, .. }), "{out:?}");
    assert_eq!(lead.leader.least_image_zxid(B), zxid(2, 0));
    let ours = LinkId(13);
    lead.step(NOW, Input::LinkUp(ours));
    let info = LearnerInfo {
        server: ServerId(2),
        protocol_version: PROTOCOL_VERSION,
        config_version: 0,
        is_zkserver: true,
        wants_snapshot: false,
    };
    lead.packet(ours, PacketType::FollowerInfo, zxid(1, 0), &info.to_bytes());
    assert_eq!(
        lead.leader.least_image_zxid(ours),
        Zxid::ZERO,
        "ours put it in the place of the log"
    );
}

#[test]
fn the_log_serves_who_is_behind_memory_if_it_proves_to_have_no_gap() {
    for (entries, expected) in [
        (
            Some(vec![entry(zxid(0, 5), 5), entry(zxid(1, 1), 6)]),
            PacketType::Diff,
        ),
        (Some(vec![entry(zxid(0, 6), 6)]), PacketType::Snap),
        (Some(vec![entry(zxid(0, 5), 5)]), PacketType::Snap),
        (None, PacketType::Snap),
    ] {
        let mut lead = Lead::active();
        lead.hello(B, 2, 2, PacketType::FollowerInfo);
        let out = lead.ack_epoch(B, -1, zxid(0, 4));
        let (after, upto) = (zxid(0, 4), zxid(1, 0));
        assert_eq!(out, [Output::ReadLog { link: B, after, upto }]);
        let out = lead.step(NOW, Input::LogRead { link: B, entries });
        let has_snapshot = matches!(out[0], Output::SendSnapshot { .. });
        assert_eq!(has_snapshot, expected == PacketType::Snap);
        if !has_snapshot {
            let zxids: Vec<Zxid> = sent(&out, B).into_iter().map(|sent| sent.1).collect();
            let pairs = [
                zxid(0, 5),
                zxid(0, 5),
                zxid(1, 1),
                zxid(1, 1),
                zxid(1, 2),
                zxid(1, 2),
            ];
            assert_eq!(zxids[1..7], pairs);
        }
    }
}

#[test]
fn the_last_counter_of_an_epoch_is_never_used() {
    let mut lead = Lead::active();
    let out = lead.propose(NOW, 1);
    assert!(!has_ended(&out));
    let mut out = Vec::new();
    lead.leader.propose(NOW, entry(zxid(2, u32::MAX), 9), &mut out);
    assert!(has_ended(&out) && !out.iter().any(|output| matches!(output, Output::AppendLog(_))));
    assert_eq!(lead.step(NOW, Input::LogDurable { upto: zxid(2, 1) }), []);
}

#[test]
fn without_a_quorum_in_time_it_ends() {
    // Nobody comes.
    let mut lead = Lead::new();
    assert!(!has_ended(&lead.step(Millis(9_999), Input::Tick)));
    assert!(has_ended(&lead.step(Millis(10_000), Input::Tick)));
    // Its followers leave: the next whole tick sees it.
    let mut lead = Lead::active();
    lead.step(NOW, Input::LinkDown(A));
    assert!(!has_ended(&lead.step(Millis(500), Input::Tick)));
    assert!(has_ended(&lead.step(Millis(1000), Input::Tick)));
    // A follower stays silent.
    let mut lead = Lead::active();
    let mut ended_at = None;
    for ms in (500..20_000).step_by(500) {
        if has_ended(&lead.step(Millis(ms), Input::Tick)) {
            ended_at = Some(ms);
            break;
        }
    }
    assert_eq!(ended_at, Some(6000));
}

#[test]
fn a_follower_that_answers_but_does_not_log_is_closed() {
    let mut lead = Lead::active();
    lead.propose(NOW, 1);
    for ms in (500..=5500).step_by(500) {
        let out = lead.step(Millis(ms), Input::Tick);
        let is_late = ms > 5000;
        assert_eq!(closed(&out), if is_late { vec![A] } else { vec![] }, "{ms}");
        let pong = QuorumPacket::new(PacketType::Ping, zxid(2, 1), Some(Bytes::new()));
        lead.step(Millis(ms), Input::Packet(A, pong));
    }
}

#[test]
fn zk_3109_a_voter_that_looks_elsewhere_ends_a_leader_that_has_none() {
    let mut lead = Lead::with(|config| config.max_epoch_wait_ms = Some(300));
    let mut out = Vec::new();
    lead.leader.voter_looking(Millis(299), ServerId(1), &mut out);
    assert_eq!(out, []);
    lead.leader.voter_looking(Millis(300), ServerId(1), &mut out);
    assert!(has_ended(&out));
}

#[test]
fn who_is_outvoted_ends_unless_a_quorum_has_come() {
    let mut out = Vec::new();
    Lead::with(|_| {}).leader.outvoted(ServerId(1), &mut out);
    assert!(has_ended(&out));
    out.clear();
    Lead::active().leader.outvoted(ServerId(1), &mut out);
    assert_eq!(out, []);
}

#[test]
fn a_sync_waits_for_the_commits_before_it_and_for_a_quorum_that_still_follows() {
    let mut lead = Lead::active();
    lead.propose(NOW, 1);
    let mut out = Vec::new();
    lead.leader.sync_requested(None, &mut out);
    assert_eq!(sent(&out, A), [(PacketType::Ping, zxid(2, 1))]);
    let request = ForwardedRequest {
        session: SessionId(1),
        cxid: 7,
        op: 9,
        body: Bytes::from_static(&[0, 0, 0, 1, b'/']),
    };
    assert_eq!(
        lead.packet(A, PacketType::Request, Zxid(-1), &request.to_bytes()),
        []
    );
    // The first round is confirmed, its transaction is not committed; a second round begins.
    let pong = |lead: &mut Lead| {
        let pong = QuorumPacket::new(PacketType::Ping, zxid(2, 1), Some(Bytes::new()));
        lead.step(NOW, Input::Packet(A, pong))
    };
    let out = pong(&mut lead);
    assert_eq!(sent(&out, A), [(PacketType::Ping, zxid(2, 1))]);
    assert!(!out.contains(&Output::SyncReply));
    lead.packet(A, PacketType::Ack, zxid(2, 1), &[]);
    let out = lead.step(NOW, Input::LogDurable { upto: zxid(2, 1) });
    assert_eq!(out.last(), Some(&Output::SyncReply));
    let out = pong(&mut lead);
    assert_eq!(sent(&out, A), [(PacketType::Sync, Zxid(0))]);
}

#[test]
fn a_sync_is_answered_before_anything_commits_that_was_proposed_behind_it() {
    let mut lead = Lead::active();
    lead.propose(NOW, 1);
    let request = ForwardedRequest {
        session: SessionId(1),
        cxid: 7,
        op: 9,
        body: Bytes::from_static(&[0, 0, 0, 1, b'/']),
    };
    lead.packet(A, PacketType::Request, Zxid(-1), &request.to_bytes());
    lead.propose(NOW, 2);
    lead.packet(A, PacketType::Ack, zxid(2, 2), &[]);
    let out = lead.step(NOW, Input::LogDurable { upto: zxid(2, 2) });
    assert_eq!(
        sent(&out, A),
        [
            (PacketType::Commit, zxid(2, 1)),
            (PacketType::Sync, Zxid(0)),
            (PacketType::Commit, zxid(2, 2)),
        ]
    );
}

#[test]
fn an_ensemble_of_one_leads_alone() {
    let mut out = Vec::new();
    let log = CommittedLog::new(Zxid::ZERO, COMMIT_LOG_COUNT);
    let mut leader = Leader::new(config(1, 1), NOW, History::default(), log, &mut out);
    let saved = |current| Input::EpochsSaved {
        accepted: Epoch(1),
        current: Epoch(current),
    };
    leader.step(NOW, saved(0), &mut out);
    leader.step(NOW, saved(1), &mut out);
    assert!(leader.is_active());
    out.clear();
    leader.propose(NOW, entry(zxid(1, 1), 1), &mut out);
    leader.sync_requested(None, &mut out);
    leader.step(NOW, Input::LogDurable { upto: zxid(1, 1) }, &mut out);
    let entry = entry(zxid(1, 1), 1);
    assert_eq!(
        out,
        [
            Output::AppendLog(entry.clone()),
            Output::Commit(entry),
            Output::SyncReply
        ]
    );
}
