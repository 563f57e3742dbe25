//! A follower with observers behind it, and an observer that goes round the voters, packet by packet.

use bytes::Bytes;

use super::{config, entry, packets};
use crate::clock::Millis;
use crate::ids::{Epoch, ServerId, SessionId, Zxid};
use crate::proto::quorum::{
    ForwardedRequest, Handover, LearnerInfo, PROTOCOL_VERSION, PacketType, QuorumPacket, is_zkserver_leader,
    leader_info,
};
use crate::zab::*;

const NOW: Millis = Millis(0);
/// To the leader.
const UP: LinkId = LinkId(5);
const A: LinkId = LinkId(11);
const B: LinkId = LinkId(12);

fn zxid(epoch: i64, counter: u32) -> Zxid {
    Zxid::new(Epoch(epoch), counter)
}

/// Server 1 follows server 3 in epoch 2, which began with <1,5>. Memory goes back to <1,3>.
struct Master {
    learner: Learner,
    /// What it said when it began to serve.
    began: Vec<Output>,
}

impl Master {
    fn new() -> Master {
        Master::with(true, |_| {})
    }

    fn with(is_leader_zkserver: bool, change: impl FnOnce(&mut ZabConfig)) -> Master {
        let history = History {
            last_logged: zxid(1, 5),
            last_applied: zxid(1, 5),
            accepted_epoch: Epoch(1),
            current_epoch: Epoch(1),
        };
        let mut log = CommittedLog::new(zxid(1, 3), COMMIT_LOG_COUNT);
        log.push(entry(zxid(1, 4), 1));
        log.push(entry(zxid(1, 5), 1));
        let mut config = config(1, 3);
        config.has_observer_masters = true;
        change(&mut config);
        let role = (ServerId(3), None);
        let learner = Learner::new(config, NOW, history, log, role, Standing::Whole, &mut Vec::new());
        let mut master = Master {
            learner,
            began: Vec::new(),
        };
        master.step(Input::LinkUp(UP));
        let info = leader_info(is_leader_zkserver);
        master.packet(UP, PacketType::LeaderInfo, zxid(2, 0), &info);
        let (accepted, current) = (Epoch(2), Epoch(1));
        master.step(Input::EpochsSaved { accepted, current });
        master.lead(PacketType::Diff, zxid(1, 5));
        master.lead(PacketType::NewLeader, zxid(2, 0));
        let current = Epoch(2);
        master.step(Input::EpochsSaved { accepted, current });
        master.began = master.lead(PacketType::UpToDate, Zxid(-1));
        master
    }

    fn step_at(&mut self, now: Millis, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        self.learner.step(now, input, &mut out);
        out
    }

    fn step(&mut self, input: Input) -> Vec<Output> {
        self.step_at(NOW, input)
    }

    fn packet(&mut self, link: LinkId, kind: PacketType, zxid: Zxid, data: &[u8]) -> Vec<Output> {
        let data = (!data.is_empty()).then(|| Bytes::copy_from_slice(data));
        self.step(Input::Packet(link, QuorumPacket::new(kind, zxid, data)))
    }

    /// The leader says something.
    fn lead(&mut self, kind: PacketType, zxid: Zxid) -> Vec<Output> {
        let data = match kind {
            PacketType::Proposal => entry(zxid, 1).encoded,
            _ => Bytes::new(),
        };
        self.packet(UP, kind, zxid, &data)
    }

    fn commit(&mut self, counter: u32) -> Vec<Output> {
        self.lead(PacketType::Proposal, zxid(2, counter));
        self.lead(PacketType::Commit, zxid(2, counter))
    }

    fn hello(&mut self, link: LinkId, server: i64, accepted: i64, is_zkserver: bool) -> Vec<Output> {
        self.step(Input::LinkUp(link));
        let info = LearnerInfo {
            server: ServerId(server),
            protocol_version: PROTOCOL_VERSION,
            config_version: 0,
            is_zkserver,
            wants_snapshot: false,
        };
        let zxid = zxid(accepted, 0);
        self.packet(link, PacketType::ObserverInfo, zxid, &info.to_bytes())
    }

    fn ack_epoch(&mut self, link: LinkId, last: Zxid) -> Vec<Output> {
        self.packet(link, PacketType::AckEpoch, last, &[0, 0, 0, 1])
    }

    /// With an observer of ours that serves, server 8, and a foreign one, server 9.
    fn serving() -> Master {
        let mut master = Master::new();
        for (link, server, is_zkserver) in [(A, 8, true), (B, 9, false)] {
            master.hello(link, server, 1, is_zkserver);
            master.ack_epoch(link, zxid(1, 5));
            let out = master.packet(link, PacketType::Ack, zxid(2, 0), &[]);
            assert_eq!(sent(&out, link), [(PacketType::UpToDate, Zxid(-1))]);
        }
        assert_eq!(master.learner.synced_observers(), Some(2));
        master
    }
}

fn all(out: &[Output], link: LinkId) -> Vec<QuorumPacket> {
    let send = |output: &Output| match output {
        Output::Send(to, bytes) if *to == link => packets(bytes),
        _ => Vec::new(),
    };
    out.iter().flat_map(send).collect()
}

/// What is sent on a connection, in words.
fn sent(out: &[Output], link: LinkId) -> Vec<(PacketType, Zxid)> {
    let packets = all(out, link).into_iter();
    packets.map(|packet| (packet.kind, packet.zxid)).collect()
}

fn closed(out: &[Output]) -> Vec<LinkId> {
    let close = |output: &Output| match output {
        Output::Close { link, .. } => Some(*link),
        _ => None,
    };
    out.iter().filter_map(close).collect()
}

#[test]
fn a_follower_serves_observers_once_it_serves_and_only_if_it_is_to() {
    let master = Master::new();
    let listens = |out: &[Output]| out.contains(&Output::ListenForObservers);
    assert!(listens(&master.began));
    assert_eq!(master.learner.synced_observers(), Some(0));
    let mut plain = Master::with(true, |config| config.has_observer_masters = false);
    assert!(!listens(&plain.began));
    assert_eq!(closed(&plain.step(Input::LinkUp(A))), [A]);
}

#[test]
fn an_observer_joins_the_epoch_of_the_leader_and_gets_what_it_lacks() {
    let mut master = Master::new();
    let out = master.hello(A, 8, 1, true);
    let info = &all(&out, A)[0];
    assert_eq!((info.kind, info.zxid), (PacketType::LeaderInfo, zxid(2, 0)));
    assert!(is_zkserver_leader(info.data.as_ref().unwrap()));
    let out = master.ack_epoch(A, zxid(1, 4));
    let expected = [
        (PacketType::Diff, zxid(1, 5)),
        (PacketType::Proposal, zxid(1, 5)),
        (PacketType::Commit, zxid(1, 5)),
        (PacketType::NewLeader, zxid(2, 0)),
    ];
    assert_eq!(sent(&out, A), expected);
    let in_force = config(1, 3).configs.committed().text().clone();
    assert_eq!(all(&out, A)[3].data, Some(in_force));
    // What is committed meanwhile comes behind it.
    let out = master.commit(1);
    assert_eq!(sent(&out, A), [(PacketType::Inform, zxid(2, 1))]);
    assert_eq!(all(&out, A)[0].data, Some(entry(zxid(2, 1), 1).encoded));
    let out = master.packet(A, PacketType::Ack, zxid(2, 0), &[]);
    assert_eq!(sent(&out, A), [(PacketType::UpToDate, Zxid(-1))]);
    assert_eq!(master.packet(A, PacketType::Ack, zxid(2, 0), &[]), []);
}

#[test]
fn observers_are_told_of_what_is_committed_and_of_nothing_else() {
    let mut master = Master::serving();
    let out = master.lead(PacketType::Proposal, zxid(2, 1));
    assert_eq!((sent(&out, A), sent(&out, B)), (vec![], vec![]));
    assert_eq!(out, [Output::AppendLog(entry(zxid(2, 1), 1))]);
    let upto = zxid(2, 1);
    let out = master.step(Input::LogDurable { upto });
    assert_eq!((sent(&out, A), sent(&out, B)), (vec![], vec![]));
    let out = master.lead(PacketType::Commit, zxid(2, 1));
    let inform = vec![(PacketType::Inform, zxid(2, 1))];
    assert_eq!((sent(&out, A), sent(&out, B)), (inform.clone(), inform));
    // Who joins with less than that gets the same.
    master.lead(PacketType::Proposal, zxid(2, 2));
    master.step(Input::LinkDown(A));
    master.hello(LinkId(13), 8, 2, true);
    let out = master.ack_epoch(LinkId(13), zxid(1, 5));
    let kinds: Vec<PacketType> = sent(&out, LinkId(13)).iter().map(|(kind, _)| *kind).collect();
    let expected = [
        PacketType::Diff,
        PacketType::Proposal,
        PacketType::Commit,
        PacketType::NewLeader,
    ];
    assert_eq!(kinds, expected, "<2,2> is only proposed");
}

#[test]
fn a_reconfiguration_is_passed_on_with_who_is_to_lead() {
    let mut master = Master::serving();
    master.lead(PacketType::Proposal, zxid(2, 1));
    let designated = 7i64.to_be_bytes();
    let out = master.packet(UP, PacketType::CommitAndActivate, zxid(2, 1), &designated);
    let told = &all(&out, A)[0];
    assert_eq!(
        (told.kind, told.zxid),
        (PacketType::InformAndActivate, zxid(2, 1))
    );
    let expected = [&designated[..], &entry(zxid(2, 1), 1).encoded[..]].concat();
    assert_eq!(told.data.as_deref(), Some(&expected[..]));
}

#[test]
fn who_is_ahead_waits_for_what_comes_and_nothing_committed_is_cut_away() {
    let mut master = Master::new();
    master.lead(PacketType::Proposal, zxid(2, 1));
    for (link, server, last) in [(A, 8, zxid(2, 2)), (B, 9, zxid(2, 1))] {
        master.hello(link, server, 2, server == 8);
        assert_eq!(master.ack_epoch(link, last), []);
    }
    let out = master.lead(PacketType::Commit, zxid(2, 1));
    assert_eq!(sent(&out, A), []);
    let nothing_missing = |last| vec![(PacketType::Diff, last), (PacketType::NewLeader, zxid(2, 0))];
    assert_eq!(sent(&out, B), nothing_missing(zxid(2, 1)));
    let out = master.commit(2);
    assert_eq!(sent(&out, A), nothing_missing(zxid(2, 2)));
    assert_eq!(sent(&out, B), [(PacketType::Inform, zxid(2, 2))]);
}

#[test]
fn an_image_for_who_was_ahead_shows_what_it_has_waited_for() {
    let mut master = Master::with(true, |config| config.force_snapshot = true);
    master.lead(PacketType::Proposal, zxid(2, 1));
    master.hello(A, 8, 2, true);
    assert_eq!(master.ack_epoch(A, zxid(2, 1)), []);
    let out = master.lead(PacketType::Commit, zxid(2, 1));
    assert!(
        matches!(out[..], [Output::Commit(_), Output::SendSnapshot { .. }]),
        "{out:?}"
    );
}

#[test]
fn an_old_tail_is_cut_and_who_cannot_be_helped_otherwise_gets_an_image() {
    let mut master = Master::new();
    master.hello(A, 8, 1, true);
    let out = master.ack_epoch(A, zxid(1, 9));
    assert_eq!(
        sent(&out, A),
        [
            (PacketType::Trunc, zxid(1, 5)),
            (PacketType::NewLeader, zxid(2, 0))
        ]
    );
    // Apache's would keep what was cut; and the mark of the epoch is no transaction to wait for.
    for (server, last) in [(9, zxid(1, 9)), (8, zxid(2, 0)), (8, Zxid(-1)), (8, zxid(0, 7))] {
        let mut master = Master::with(true, |config| config.may_read_log = false);
        master.hello(B, server, 1, server == 8);
        let out = master.ack_epoch(B, last);
        let [Output::SendSnapshot { link: B, then }] = &out[..] else {
            panic!("{last}: {out:?}")
        };
        assert_eq!(packets(&then[0])[0].zxid, zxid(2, 0));
        let least = if server == 9 { zxid(2, 0) } else { Zxid::ZERO };
        assert_eq!(master.learner.least_image_zxid(B), least);
        // It is told of everything from here on.
        assert_eq!(sent(&master.commit(1), B), [(PacketType::Inform, zxid(2, 1))]);
        master.step(Input::SnapshotSent(B));
        let out = master.packet(B, PacketType::Ack, zxid(2, 0), &[]);
        assert_eq!(sent(&out, B), [(PacketType::UpToDate, Zxid(-1))]);
    }
}

#[test]
fn an_older_part_of_the_history_comes_from_the_log() {
    let read = |link, entries| Input::LogRead { link, entries };
    let mut master = Master::new();
    master.hello(A, 8, 1, true);
    let (link, after, upto) = (A, zxid(1, 1), zxid(1, 3));
    assert_eq!(
        master.ack_epoch(A, after),
        [Output::ReadLog { link, after, upto }]
    );
    assert_eq!(sent(&master.commit(1), A), [], "not before its turn");
    let entries = vec![entry(zxid(1, 2), 1), entry(zxid(1, 3), 1)];
    let out = master.step(read(A, Some(entries)));
    let proposed: Vec<Zxid> = sent(&out, A)
        .into_iter()
        .filter(|(kind, _)| *kind == PacketType::Proposal)
        .map(|(_, zxid)| zxid)
        .collect();
    assert_eq!(
        proposed,
        [zxid(1, 2), zxid(1, 3), zxid(1, 4), zxid(1, 5), zxid(2, 1)]
    );
    // A log that has a hole, or nothing to say, proves nothing.
    for entries in [None, Some(vec![entry(zxid(1, 3), 1)])] {
        let mut master = Master::new();
        master.hello(A, 8, 1, true);
        master.ack_epoch(A, after);
        let out = master.step(read(A, entries));
        assert!(matches!(out[..], [Output::SendSnapshot { .. }]), "{out:?}");
    }
}

#[test]
fn who_does_not_belong_here_is_closed() {
    let mut master = Master::new();
    master.step(Input::LinkUp(A));
    let follower = master.packet(A, PacketType::FollowerInfo, zxid(1, 0), &[0; 20]);
    assert_eq!(closed(&follower), [A]);
    assert_eq!(closed(&master.hello(A, 77, 1, true)), [A], "a stranger");
    assert_eq!(
        closed(&master.hello(A, 1, 1, true)),
        [A],
        "this server's own number"
    );
    assert_eq!(closed(&master.hello(A, 8, 3, true)), [A], "it has promised more");
    master.hello(A, 8, 2, true);
    assert_eq!(closed(&master.packet(A, PacketType::Ping, Zxid(0), &[])), [A]);
    master.hello(A, 8, 2, true);
    assert_eq!(
        closed(&master.hello(B, 8, 2, true)),
        [A],
        "it has connected again"
    );
    master.ack_epoch(B, zxid(1, 5));
    assert_eq!(closed(&master.packet(B, PacketType::Request, Zxid(-1), &[])), [B]);
    for (kind, data) in [
        (PacketType::Request, &[1][..]),
        (PacketType::Revalidate, &[1]),
        (PacketType::Ping, &[1]),
        (PacketType::Proposal, &[]),
    ] {
        let mut master = Master::serving();
        assert_eq!(closed(&master.packet(A, kind, Zxid(0), data)), [A], "{kind:?}");
        assert_eq!(master.learner.synced_observers(), Some(1));
        assert!(master.learner.is_active(), "the follower goes on");
    }
}

#[test]
fn pings_come_with_the_leaders_and_what_observers_have_heard_goes_to_the_leader() {
    let mut master = Master::serving();
    master.commit(1);
    let ping = |master: &mut Master, now| {
        let packet = QuorumPacket::new(PacketType::Ping, zxid(2, 1), None);
        master.step_at(Millis(now), Input::Packet(UP, packet))
    };
    let asked = [(PacketType::Ping, zxid(2, 1))];
    let out = ping(&mut master, 400);
    assert_eq!((&sent(&out, A)[..], &sent(&out, B)[..]), (&asked[..], &asked[..]));
    // The leader's pings for a sync are not all passed on.
    let out = ping(&mut master, 500);
    assert_eq!((sent(&out, A), sent(&out, UP)), (vec![], asked.to_vec()));
    assert_eq!(sent(&ping(&mut master, 900), A), asked);
    let heard = [0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0x0f, 0xa0];
    let out = master.packet(A, PacketType::Ping, zxid(2, 1), &heard);
    let sessions = vec![(SessionId(7), 4000)];
    assert_eq!(out, [Output::LearnerPing { from: A, sessions }]);
    // A was heard from at 0, B as well: both have been silent for longer than syncLimit.
    assert_eq!(closed(&ping(&mut master, 5000)), []);
    assert_eq!(closed(&ping(&mut master, 5001)), [A, B]);
}

#[test]
fn requests_syncs_and_questions_are_passed_on_and_answers_find_their_way_back() {
    let mut master = Master::serving();
    let request = |op| ForwardedRequest {
        session: SessionId(7),
        cxid: 3,
        op,
        body: Bytes::from_static(b"body"),
    };
    let out = master.packet(A, PacketType::Request, Zxid(-1), &request(5).to_bytes());
    let [
        Output::Request {
            from: A,
            request: passed_on,
            ..
        },
    ] = &out[..]
    else {
        panic!("{out:?}")
    };
    assert_eq!(*passed_on, request(5));
    // Syncs keep their order among those of all observers and of this server's own clients.
    let sync = request(9).to_bytes();
    let out = master.packet(A, PacketType::Request, Zxid(-1), &sync);
    assert_eq!(all(&out, UP)[0].data, Some(sync.clone()));
    let mut out = Vec::new();
    let body = Bytes::from_static(&[0, 0, 0, 1, b'/']);
    master
        .learner
        .send_sync(SessionId(1), 4, body, Vec::new(), &mut out);
    master.packet(B, PacketType::Request, Zxid(-1), &sync);
    let answer = (PacketType::Sync, Zxid(0));
    assert_eq!(sent(&master.lead(PacketType::Sync, Zxid(0)), A), [answer]);
    assert_eq!(master.lead(PacketType::Sync, Zxid(0)), [Output::SyncReply]);
    master.step(Input::LinkDown(B));
    assert_eq!(
        master.lead(PacketType::Sync, Zxid(0)),
        [],
        "who asked is gone, and has had its turn"
    );
    assert_eq!(master.lead(PacketType::Sync, Zxid(0)), [], "nobody has asked");
    let question = [0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0x0f, 0xa0];
    let out = master.packet(A, PacketType::Revalidate, Zxid(-1), &question);
    let [
        Output::Revalidate {
            from: A,
            timeout_ms: 4000,
            ..
        },
    ] = &out[..]
    else {
        panic!("{out:?}")
    };
    let mut out = Vec::new();
    master.learner.revalidated(A, SessionId(7), true, &mut out);
    assert_eq!(
        all(&out, A)[0].data.as_deref(),
        Some(&[0, 0, 0, 0, 0, 0, 0, 7, 1][..])
    );
}

#[test]
fn a_sync_is_answered_behind_all_that_is_committed_before_it() {
    let mut master = Master::serving();
    let sync = ForwardedRequest {
        session: SessionId(7),
        cxid: 3,
        op: 9,
        body: Bytes::new(),
    };
    master.packet(A, PacketType::Request, Zxid(-1), &sync.to_bytes());
    let mut out = master.commit(1);
    out.extend(master.lead(PacketType::Sync, Zxid(0)));
    let expected = [(PacketType::Inform, zxid(2, 1)), (PacketType::Sync, Zxid(0))];
    assert_eq!(sent(&out, A), expected);
}

#[test]
fn a_request_of_a_session_that_has_moved_is_marked_for_the_leader() {
    let master = Master::serving();
    for (has_moved, zxid) in [(false, Zxid(-1)), (true, Zxid(0))] {
        let request = ForwardedRequest {
            session: SessionId(7),
            cxid: 3,
            op: 5,
            body: Bytes::new(),
        };
        let mut out = Vec::new();
        master.learner.relay(&request, Vec::new(), has_moved, &mut out);
        assert_eq!(sent(&out, UP), [(PacketType::Request, zxid)]);
    }
    // Only ours are told that a session is gone.
    let mut out = Vec::new();
    master.learner.session_moved(A, SessionId(7), &mut out);
    master.learner.session_moved(B, SessionId(7), &mut out);
    assert_eq!(sent(&out, A), [(PacketType::Revalidate, Zxid(0))]);
    assert_eq!(sent(&out, B), []);
}

#[test]
fn observers_go_with_the_role_and_learn_who_leads_next_if_they_can() {
    let mut master = Master::serving();
    let out = master.step(Input::LinkDown(UP));
    assert_eq!(closed(&out), [A, B]);
    assert!(matches!(out.last(), Some(Output::RoleEnded { .. })));
    assert_eq!(master.learner.synced_observers(), None);
    assert_eq!(master.packet(A, PacketType::Ping, Zxid(0), &[]), []);

    let mut master = Master::serving();
    let handover = Handover {
        leader: ServerId(2),
        zxid: zxid(1, 5),
        election_epoch: 4,
        peer_epoch: 2,
    };
    let out = master.packet(UP, PacketType::UpToDate, zxid(1, 5), &handover.to_bytes());
    assert_eq!(sent(&out, A), [(PacketType::UpToDate, zxid(1, 5))]);
    assert_eq!(sent(&out, B), []);
    assert_eq!(closed(&out), [A, B, UP]);
}

#[test]
fn what_a_foreign_leader_does_not_promise_its_follower_does_not_either() {
    let mut master = Master::with(false, |_| {});
    let out = master.hello(A, 8, 1, true);
    assert!(!is_zkserver_leader(all(&out, A)[0].data.as_ref().unwrap()));
}

/// Server 9 observes, with server 2 as leader.
fn observer(masters: Masters) -> (Learner, Vec<Output>) {
    let history = History::default();
    let log = CommittedLog::new(Zxid::ZERO, COMMIT_LOG_COUNT);
    let role = (ServerId(2), Some(masters));
    let mut out = Vec::new();
    let config = config(9, 3);
    let learner = Learner::new(config, NOW, history, log, role, Standing::Whole, &mut out);
    (learner, out)
}

#[test]
fn an_observer_goes_round_the_followers_and_on_from_role_to_role() {
    let mut masters = Masters::new(0, 7);
    masters.set_voters(&[ServerId(1), ServerId(2), ServerId(3)]);
    let mut tried = Vec::new();
    for attempts in [9, 4] {
        let (mut learner, mut out) = observer(masters);
        let mut now = NOW;
        for attempt in 1..=attempts {
            let Some(Output::ConnectToMaster { master }) = out.pop() else {
                panic!("{attempt}: {out:?}")
            };
            tried.push(master.0);
            assert_eq!(learner.master(), Some(master));
            learner.step(now, Input::LinkDown(LinkId(attempt)), &mut out);
            if let Some(at) = learner.next_deadline() {
                now = at;
                learner.step(now, Input::Tick, &mut out);
            }
        }
        if attempts == 9 {
            assert!(matches!(out[..], [Output::RoleEnded { .. }]), "{out:?}");
        }
        masters = learner.take_masters().unwrap();
    }
    let pairs: Vec<_> = tried.windows(2).collect();
    assert!(pairs.iter().all(|pair| pair[0] != pair[1]), "in turn: {tried:?}");
    assert!(!tried.contains(&2), "the leader serves no observers there");
}

#[test]
fn an_observer_that_waits_before_it_connects_is_not_late_for_it() {
    let (learner, out) = observer(Masters::new(600_000, 3));
    assert_eq!(out, []);
    let at = learner.next_deadline().unwrap();
    assert!(
        at > Millis(10_000),
        "the test is about more than initLimit: {at:?}"
    );
    let (mut learner, _) = observer(Masters::new(600_000, 3));
    let mut out = Vec::new();
    learner.step(Millis(at.0 - 1), Input::Tick, &mut out);
    assert_eq!(out, []);
    learner.step(at, Input::Tick, &mut out);
    assert_eq!(out, [Output::Connect { leader: ServerId(2) }]);
    assert_eq!(learner.next_deadline(), Some(at + Millis(10_000)));
}
