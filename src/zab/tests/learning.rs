//! A learner, packet by packet.

use bytes::Bytes;

use super::{config, entry, packets};
use crate::clock::Millis;
use crate::ids::{Epoch, ServerId, SessionId, Zxid};
use crate::proto::quorum::{LearnerInfo, PacketType, QuorumPacket, leader_info};
use crate::zab::*;

const NOW: Millis = Millis(0);
const LINK: LinkId = LinkId(5);

fn zxid(epoch: i64, counter: u32) -> Zxid {
    Zxid::new(Epoch(epoch), counter)
}

/// Server 1, at <1,5>, before epoch 2.
struct Learn(Learner);

impl Learn {
    fn new(is_observer: bool, standing: Standing) -> Learn {
        let history = History {
            last_logged: zxid(1, 5),
            last_applied: zxid(1, 5),
            accepted_epoch: Epoch(1),
            current_epoch: Epoch(1),
        };
        let mut out = Vec::new();
        let log = CommittedLog::new(zxid(1, 5), COMMIT_LOG_COUNT);
        let role = (ServerId(3), is_observer.then(Masters::default));
        let learner = Learner::new(config(1, 3), NOW, history, log, role, standing, &mut out);
        assert_eq!(out, [Output::Connect { leader: ServerId(3) }]);
        Learn(learner)
    }

    fn step(&mut self, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        self.0.step(NOW, input, &mut out);
        out
    }

    fn send(&mut self, kind: PacketType, zxid: Zxid) -> Vec<Output> {
        let data = match kind {
            PacketType::Proposal | PacketType::Inform => Some(entry(zxid, 1).encoded),
            _ => None,
        };
        self.step(Input::Packet(LINK, QuorumPacket::new(kind, zxid, data)))
    }

    fn saved(&mut self, accepted: i64, current: i64) -> Vec<Output> {
        let (accepted, current) = (Epoch(accepted), Epoch(current));
        self.step(Input::EpochsSaved { accepted, current })
    }

    fn durable(&mut self, upto: Zxid) -> Vec<Output> {
        self.step(Input::LogDurable { upto })
    }

    /// Up to the point where DIFF, TRUNC or SNAP comes.
    fn discovered(is_observer: bool) -> Learn {
        let mut learn = Learn::new(is_observer, Standing::Whole);
        learn.step(Input::LinkUp(LINK));
        learn.send(PacketType::LeaderInfo, zxid(2, 0));
        assert_eq!(acks(&learn.saved(2, 1)), [(PacketType::AckEpoch, zxid(1, 5))]);
        learn
    }

    fn broadcasting(is_observer: bool) -> Learn {
        let mut learn = Learn::discovered(is_observer);
        learn.send(PacketType::Diff, zxid(1, 5));
        learn.send(PacketType::NewLeader, zxid(2, 0));
        learn.saved(2, 2);
        let out = learn.send(PacketType::UpToDate, Zxid(-1));
        assert_eq!(out[1], Output::Active { epoch: Epoch(2) });
        learn
    }
}

fn sent(out: &[Output]) -> Vec<Bytes> {
    let send = |output: &Output| match output {
        Output::Send(_, bytes) => Some(bytes.clone()),
        _ => None,
    };
    out.iter().filter_map(send).collect()
}

fn acks(out: &[Output]) -> Vec<(PacketType, Zxid)> {
    let packets = sent(out).into_iter().flat_map(|bytes| packets(&bytes));
    packets.map(|packet| (packet.kind, packet.zxid)).collect()
}

fn ended(out: &[Output]) -> Option<bool> {
    out.iter().find_map(|output| match output {
        Output::RoleEnded { needs_snapshot, .. } => Some(*needs_snapshot),
        _ => None,
    })
}

fn log_and_commit(zxid: Zxid) -> [Output; 2] {
    [Output::AppendLog(entry(zxid, 1)), Output::Commit(entry(zxid, 1))]
}

const ACK: PacketType = PacketType::Ack;

#[test]
fn an_epoch_is_accepted_on_disk_before_it_is_joined() {
    let mut learn = Learn::new(false, Standing::Whole);
    let out = learn.step(Input::LinkUp(LINK));
    assert_eq!(acks(&out), [(PacketType::FollowerInfo, zxid(1, 0))]);
    let out = learn.send(PacketType::LeaderInfo, zxid(4, 0));
    let (accepted, current) = (Epoch(4), Epoch(1));
    assert_eq!(out, [Output::SaveEpochs { accepted, current }]);
    let data = |out: &[Output]| match &out[0] {
        Output::Send(_, bytes) => packets(bytes)[0].data.clone().unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!(data(&learn.saved(4, 1))[..], [0, 0, 0, 1]);
    // The same epoch again does not count; an older one is refused.
    let mut again = Learn::new(true, Standing::Whole);
    again.step(Input::LinkUp(LINK));
    assert_eq!(
        data(&again.send(PacketType::LeaderInfo, zxid(1, 0)))[..],
        [0xff; 4]
    );
    let mut old = Learn::new(false, Standing::Whole);
    old.step(Input::LinkUp(LINK));
    assert_eq!(ended(&old.send(PacketType::LeaderInfo, zxid(0, 0))), Some(false));
}

#[test]
fn history_then_epoch_then_acknowledgement() {
    let mut learn = Learn::discovered(false);
    assert_eq!(learn.send(PacketType::Diff, zxid(9, 9)), []);
    learn.send(PacketType::Proposal, zxid(1, 6));
    assert_eq!(
        learn.send(PacketType::Commit, zxid(1, 6)),
        log_and_commit(zxid(1, 6))
    );
    // Only proposed: neither logged nor acknowledged yet.
    assert_eq!(learn.send(PacketType::Proposal, zxid(2, 1)), []);
    assert_eq!(learn.send(PacketType::Ping, Zxid(0)), []);
    assert_eq!(learn.send(PacketType::NewLeader, zxid(2, 0)), []);
    // What comes meanwhile has to wait.
    assert_eq!(learn.send(PacketType::Proposal, zxid(2, 2)), []);
    assert_eq!(learn.send(PacketType::Commit, zxid(2, 1)), []);
    assert_eq!(learn.send(PacketType::UpToDate, Zxid(-1)), []);
    let out = learn.durable(zxid(1, 6));
    let (accepted, current) = (Epoch(2), Epoch(2));
    assert_eq!(out, [Output::SaveEpochs { accepted, current }]);
    let out = learn.saved(2, 2);
    assert_eq!(acks(&out[..1]), [(ACK, zxid(2, 0))]);
    let rest = [
        Output::AppendLog(entry(zxid(2, 1), 1)),
        Output::AppendLog(entry(zxid(2, 2), 1)),
        Output::Commit(entry(zxid(2, 1), 1)),
    ];
    assert_eq!(out[1..4], rest);
    assert_eq!(acks(&out[4..]), [(ACK, zxid(2, 0))]);
    assert_eq!(out.last(), Some(&Output::Active { epoch: Epoch(2) }));
    assert_eq!(
        acks(&learn.durable(zxid(2, 2))),
        [(ACK, zxid(2, 1)), (ACK, zxid(2, 2))]
    );
}

#[test]
fn a_commit_does_not_wait_for_the_own_disk_but_an_acknowledgement_does() {
    let mut learn = Learn::broadcasting(false);
    let first = entry(zxid(2, 1), 1);
    let out = learn.send(PacketType::Proposal, zxid(2, 1));
    assert_eq!(out, [Output::AppendLog(first.clone())]);
    assert_eq!(
        learn.send(PacketType::Commit, zxid(2, 1)),
        [Output::Commit(first)]
    );
    assert_eq!(acks(&learn.durable(zxid(2, 1))), [(ACK, zxid(2, 1))]);
}

#[test]
fn what_does_not_follow_ends_the_role() {
    // While synchronizing: a hole, also behind a change of epoch, asks for a snapshot.
    for next in [zxid(1, 7), zxid(2, 4)] {
        let mut learn = Learn::discovered(false);
        learn.send(PacketType::Diff, zxid(1, 5));
        assert_eq!(
            ended(&learn.send(PacketType::Proposal, next)),
            Some(true),
            "{next}"
        );
    }
    // While broadcasting: a hole, a repetition.
    for next in [zxid(2, 3), zxid(2, 1), zxid(3, 1 << 20)] {
        let mut learn = Learn::broadcasting(false);
        learn.send(PacketType::Proposal, zxid(2, 1));
        assert_eq!(
            ended(&learn.send(PacketType::Proposal, next)),
            Some(false),
            "{next}"
        );
    }
    // A commit of what was not proposed, or out of order.
    let mut learn = Learn::discovered(false);
    learn.send(PacketType::Diff, zxid(1, 5));
    assert_eq!(ended(&learn.send(PacketType::Commit, zxid(1, 6))), Some(false));
    let mut learn = Learn::broadcasting(false);
    learn.send(PacketType::Proposal, zxid(2, 1));
    learn.send(PacketType::Proposal, zxid(2, 2));
    assert_eq!(ended(&learn.send(PacketType::Commit, zxid(2, 2))), Some(false));
    // A packet that holds another transaction, or none.
    for data in [entry(zxid(2, 7), 1).encoded, Bytes::from_static(b"?")] {
        let mut learn = Learn::broadcasting(false);
        let packet = QuorumPacket::new(PacketType::Proposal, zxid(2, 1), Some(data));
        assert_eq!(ended(&learn.step(Input::Packet(LINK, packet))), Some(false));
    }
}

#[test]
fn packets_out_of_turn_end_the_role() {
    let mut learn = Learn::new(false, Standing::Whole);
    learn.step(Input::LinkUp(LINK));
    assert_eq!(ended(&learn.send(PacketType::Proposal, zxid(2, 1))), Some(false));
    let mut learn = Learn::discovered(false);
    assert_eq!(ended(&learn.send(PacketType::UpToDate, Zxid(-1))), Some(false));
    let mut learn = Learn::discovered(false);
    learn.send(PacketType::Diff, zxid(1, 5));
    assert_eq!(ended(&learn.send(PacketType::UpToDate, Zxid(-1))), Some(false));
    let mut learn = Learn::discovered(false);
    learn.send(PacketType::Diff, zxid(1, 5));
    assert_eq!(ended(&learn.send(PacketType::NewLeader, zxid(3, 0))), Some(false));
    let mut learn = Learn::broadcasting(false);
    assert_eq!(ended(&learn.send(PacketType::Snap, zxid(2, 1))), Some(false));
    assert_eq!(
        learn.send(PacketType::Ping, Zxid(0)),
        [],
        "an ended role says nothing"
    );
}

#[test]
fn a_snapshot_is_history_only_once_it_is_durable() {
    let mut learn = Learn::discovered(false);
    let out = learn.send(PacketType::Snap, zxid(2, 7));
    let install = Output::InstallSnapshot {
        link: LINK,
        zxid: zxid(2, 7),
    };
    assert_eq!(out, [install]);
    // An image may show what its history repeats.
    for z in [zxid(2, 6), zxid(2, 7), zxid(2, 8)] {
        assert_eq!(learn.send(PacketType::Proposal, z), []);
        assert_eq!(learn.send(PacketType::Commit, z), []);
    }
    assert_eq!(learn.send(PacketType::NewLeader, zxid(2, 0)), []);
    let out = learn.step(Input::SnapshotInstalled { zxid: zxid(2, 7) });
    assert_eq!(out, log_and_commit(zxid(2, 8)));
    assert_eq!(learn.durable(zxid(2, 8)).len(), 1);
    assert_eq!(acks(&learn.saved(2, 2)), [(ACK, zxid(2, 0))]);
    let (window, uncommitted) = learn.0.into_parts();
    assert_eq!((window.base(), window.last()), (zxid(2, 7), zxid(2, 8)));
    assert_eq!(uncommitted, []);
}

#[test]
fn an_image_may_show_what_is_proposed_behind_newleader() {
    let mut learn = Learn::discovered(false);
    learn.send(PacketType::Snap, zxid(2, 3));
    learn.step(Input::SnapshotInstalled { zxid: zxid(2, 3) });
    assert_eq!(learn.send(PacketType::Proposal, zxid(2, 1)), []);
    learn.send(PacketType::NewLeader, zxid(2, 0));
    assert_eq!(acks(&learn.saved(2, 2)), [(ACK, zxid(2, 0))]);
    for counter in 2..=3 {
        assert_eq!(learn.send(PacketType::Proposal, zxid(2, counter)), []);
        assert_eq!(learn.send(PacketType::Commit, zxid(2, counter)), []);
    }
    let out = learn.send(PacketType::Proposal, zxid(2, 4));
    assert_eq!(out, [Output::AppendLog(entry(zxid(2, 4), 1))]);
}

/// If the leader is gone before the snapshot is there, this server may be needed by what was proposed.
#[test]
fn what_is_proposed_is_seen_before_the_snapshot_that_holds_it_is_there() {
    let mut learn = Learn::discovered(false);
    learn.0.config.reconfig_enabled = true;
    learn.send(PacketType::Snap, zxid(1, 9));
    let text = "server.1=h1:1:2\nserver.3=h3:1:2\nserver.4=h4:1:2\nversion=100000008";
    let packet = QuorumPacket::new(PacketType::NewLeader, zxid(2, 0), Some(text.into()));
    let out = learn.step(Input::Packet(LINK, packet));
    let [Output::ConfigProposed(configs)] = &out[..] else {
        panic!("{out:?}");
    };
    assert_eq!(configs.last_seen().version(), 0x1_0000_0008);
    let out = learn.step(Input::SnapshotInstalled { zxid: zxid(1, 9) });
    let is_proposed = |output: &Output| matches!(output, Output::ConfigProposed(_));
    assert!(!out.iter().any(is_proposed), "once is enough: {out:?}");
}

#[test]
fn a_cut_that_does_not_come_out_asks_for_a_snapshot() {
    let trunc = |to| {
        let mut learn = Learn::discovered(false);
        let out = learn.send(PacketType::Trunc, to);
        (learn, out)
    };
    let (mut learn, out) = trunc(zxid(1, 3));
    assert_eq!(out, [Output::TruncateLog { to: zxid(1, 3) }]);
    assert_eq!(learn.step(Input::SnapshotInstalled { zxid: zxid(1, 3) }), []);
    let (mut learn, _) = trunc(zxid(1, 3));
    assert_eq!(
        ended(&learn.step(Input::SnapshotInstalled { zxid: zxid(1, 2) })),
        Some(true)
    );
    let (mut learn, _) = trunc(zxid(1, 3));
    let reason = "no snapshot".to_string();
    assert_eq!(ended(&learn.step(Input::CannotTruncate { reason })), Some(true));
    let (_, out) = trunc(zxid(1, 6));
    assert_eq!(ended(&out), Some(true));
}

#[test]
fn who_takes_nothing_but_a_snapshot_says_so_and_counts_only_with_a_whole_log() {
    let nothing = (Zxid(-1), Some(vec![0xff; 4]));
    let all = (zxid(1, 5), Some(vec![0, 0, 0, 1]));
    for (standing, is_zkserver, expected) in [
        (Standing::Damaged, true, &nothing),
        (Standing::Damaged, false, &nothing),
        (Standing::NeedsSnapshot, false, &nothing),
        (Standing::NeedsSnapshot, true, &all),
        (Standing::Whole, true, &all),
    ] {
        let mut learn = Learn::new(false, standing);
        let hello = &packets(&sent(&learn.step(Input::LinkUp(LINK)))[0])[0];
        let info = LearnerInfo::decode(hello.data.as_ref().unwrap()).unwrap();
        assert_eq!(info.wants_snapshot, standing != Standing::Whole);
        let data = Some(leader_info(is_zkserver));
        let packet = QuorumPacket::new(PacketType::LeaderInfo, zxid(2, 0), data);
        learn.step(Input::Packet(LINK, packet));
        let packet = &packets(&sent(&learn.saved(2, 1))[0])[0];
        assert_eq!(
            &(packet.zxid, packet.data.as_deref().map(<[u8]>::to_vec)),
            expected
        );
        // Whatever else comes does not fit what it holds.
        let out = learn.send(PacketType::Trunc, zxid(1, 5));
        assert_eq!(ended(&out), (standing != Standing::Whole).then_some(true));
    }
}

#[test]
fn observers_take_both_forms_of_history_and_acknowledge_no_transaction() {
    let mut learn = Learn::discovered(true);
    learn.send(PacketType::Diff, zxid(1, 6));
    learn.send(PacketType::Proposal, zxid(1, 6));
    assert_eq!(
        learn.send(PacketType::Commit, zxid(1, 6)),
        log_and_commit(zxid(1, 6))
    );
    assert_eq!(
        learn.send(PacketType::Inform, zxid(2, 1)),
        log_and_commit(zxid(2, 1))
    );
    // Old leaders tell observers what is under way.
    learn.send(PacketType::Proposal, zxid(2, 2));
    learn.send(PacketType::NewLeader, zxid(2, 0));
    learn.durable(zxid(2, 1));
    assert_eq!(acks(&learn.saved(2, 2)), [(ACK, zxid(2, 0))]);
    let out = learn.send(PacketType::UpToDate, Zxid(-1));
    assert_eq!(out.last(), Some(&Output::Active { epoch: Epoch(2) }));
    assert_eq!(
        learn.send(PacketType::Inform, zxid(2, 2)),
        log_and_commit(zxid(2, 2))
    );
    let mut data = vec![0; 8];
    data.extend_from_slice(&entry(zxid(2, 3), 1).encoded);
    let activate = QuorumPacket::new(PacketType::InformAndActivate, zxid(2, 3), Some(Bytes::from(data)));
    assert_eq!(
        learn.step(Input::Packet(LINK, activate)),
        log_and_commit(zxid(2, 3))
    );
    assert_eq!(acks(&learn.durable(zxid(2, 3))), []);
    assert_eq!(learn.send(PacketType::Proposal, zxid(2, 9)), []);
}

#[test]
fn a_ping_is_answered_with_the_sessions_heard_from() {
    let mut learn = Learn::broadcasting(false);
    learn.0.touch(SessionId(7), 4000);
    let answer = |out: Vec<Output>| match &out[0] {
        Output::Send(_, bytes) => packets(bytes).remove(0),
        other => panic!("{other:?}"),
    };
    let first = answer(learn.send(PacketType::Ping, zxid(2, 1)));
    assert_eq!(
        first.data.unwrap()[..],
        [0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0x0f, 0xa0]
    );
    let second = answer(learn.send(PacketType::Ping, zxid(2, 1)));
    assert_eq!((second.zxid, second.data), (zxid(2, 1), Some(Bytes::new())));
}

#[test]
fn syncs_and_sessions_are_asked_of_the_leader() {
    let mut learn = Learn::broadcasting(false);
    assert_eq!(learn.send(PacketType::Sync, Zxid(0)), [], "nobody asked");
    let mut out = Vec::new();
    let body = Bytes::from_static(&[0, 0, 0, 1, b'/']);
    learn.0.send_sync(SessionId(1), 4, body, Vec::new(), &mut out);
    learn.0.revalidate(SessionId(9), 4000, &mut out);
    assert_eq!(
        acks(&out),
        [
            (PacketType::Request, Zxid(-1)),
            (PacketType::Revalidate, Zxid(-1))
        ]
    );
    assert_eq!(learn.send(PacketType::Sync, Zxid(0)), [Output::SyncReply]);
    let data = Some(Bytes::from_static(&[0, 0, 0, 0, 0, 0, 0, 9, 1]));
    let answer = QuorumPacket::new(PacketType::Revalidate, Zxid(-1), data);
    let (session, valid) = (SessionId(9), true);
    assert_eq!(
        learn.step(Input::Packet(LINK, answer)),
        [Output::Revalidated { session, valid }]
    );
}

#[test]
fn a_leader_that_is_not_there_or_silent_is_given_up() {
    let mut learner = Learn::new(false, Standing::Whole).0;
    let (mut now, mut attempts) = (NOW, 1);
    let mut out = Vec::new();
    loop {
        learner.step(now, Input::LinkDown(LinkId(attempts)), &mut out);
        if ended(&out).is_some() {
            break;
        }
        now = learner.next_deadline().unwrap();
        learner.step(now, Input::Tick, &mut out);
        assert_eq!(out.pop(), Some(Output::Connect { leader: ServerId(3) }));
        attempts += 1;
    }
    assert_eq!((attempts, now), (9, Millis(550)));

    let mut learn = Learn::broadcasting(false);
    assert_eq!(learn.0.next_deadline(), Some(Millis(5000)));
    let mut out = Vec::new();
    learn.0.step(Millis(4999), Input::Tick, &mut out);
    assert_eq!(out, []);
    learn.0.step(Millis(5000), Input::Tick, &mut out);
    assert_eq!(ended(&out), Some(false));
    let mut learn = Learn::broadcasting(false);
    assert_eq!(ended(&learn.step(Input::LinkDown(LINK))), Some(false));
}

#[test]
fn what_was_logged_and_not_committed_goes_on_to_the_next_role() {
    let mut learn = Learn::broadcasting(false);
    learn.send(PacketType::Proposal, zxid(2, 1));
    learn.send(PacketType::Commit, zxid(2, 1));
    learn.send(PacketType::Proposal, zxid(2, 2));
    let (window, uncommitted) = learn.0.into_parts();
    assert_eq!(window.last(), zxid(2, 1));
    assert_eq!(uncommitted, [entry(zxid(2, 2), 1)]);
}

#[test]
fn zk_4394_a_commit_behind_newleader_finds_the_proposal_before_it() {
    let mut learn = Learn::discovered(false);
    learn.send(PacketType::Diff, zxid(2, 1));
    learn.send(PacketType::Proposal, zxid(2, 1));
    assert_eq!(
        learn.send(PacketType::Commit, zxid(2, 1)),
        log_and_commit(zxid(2, 1))
    );
    assert_eq!(learn.send(PacketType::Proposal, zxid(2, 2)), []);
    assert_eq!(learn.send(PacketType::NewLeader, zxid(2, 0)), []);
    // It comes while the disk is still at the history.
    assert_eq!(learn.send(PacketType::Commit, zxid(2, 2)), []);
    learn.durable(zxid(2, 1));
    let out = learn.saved(2, 2);
    assert_eq!(acks(&out), [(ACK, zxid(2, 0))]);
    assert!(ended(&out).is_none(), "{out:?}");
    let committed = out.iter().filter(|output| matches!(output, Output::Commit(_)));
    assert_eq!(committed.count(), 1, "{out:?}");
    assert_eq!(acks(&learn.durable(zxid(2, 2))), [(ACK, zxid(2, 2))]);
    let out = learn.send(PacketType::UpToDate, Zxid(-1));
    assert_eq!(out[1], Output::Active { epoch: Epoch(2) });
    // One that matches nothing is an end, and no more.
    assert_eq!(ended(&learn.send(PacketType::Commit, zxid(2, 4))), Some(false));
}
