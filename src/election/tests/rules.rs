//! Single rules, each by what one server answers to one message.

use super::PeerState::{Following, Leading, Looking, Observing};
use super::*;

/// Server `me` of `members`, and everything that it has said.
struct Probe {
    election: Election,
    now: Millis,
    out: Vec<Output>,
}

impl Probe {
    fn new(me: i64, members: Members) -> Probe {
        let is_observer = !members.is_participant(ServerId(me));
        Probe {
            election: Election::new(ElectionConfig::new(ServerId(me), members, is_observer)),
            now: Millis(0),
            out: Vec::new(),
        }
    }

    /// Server 1 of three, looking with zxid 5 in epoch 1.
    fn looking() -> Probe {
        let mut probe = Probe::new(1, members_of(3, &[]));
        probe.start();
        probe
    }

    fn start(&mut self) {
        let (zxid, peer_epoch) = (Zxid(5), 1);
        self.input(Input::Start { zxid, peer_epoch });
    }

    fn input(&mut self, input: Input<'_>) {
        self.out.clear();
        self.election.step(self.now, input, &mut self.out);
    }

    fn hear(&mut self, from: i64, notification: Notification) {
        let (from, body) = (ServerId(from), notification.encode());
        self.input(Input::Received { from, body: &body });
    }

    /// What went to this server, as state, leader and round.
    fn told(&self, server: i64) -> Vec<(PeerState, i64, i64)> {
        let mut told = Vec::new();
        for output in &self.out {
            if let Output::Notify { to, body } = output
                && *to == ServerId(server)
            {
                let n = Notification::decode(body).unwrap();
                told.push((n.state, n.leader.0, n.election_epoch));
            }
        }
        told
    }
}

/// A vote for `leader` with zxid 5 in epoch 1.
fn vote(state: PeerState, leader: i64, round: i64) -> Notification {
    Notification {
        state,
        leader: ServerId(leader),
        zxid: Zxid(5),
        election_epoch: round,
        peer_epoch: 1,
        version: 2,
        config: None,
    }
}

fn with_config(config: &str) -> Notification {
    Notification {
        config: Some(config.to_owned()),
        ..vote(Looking, 1, 1)
    }
}

#[test]
fn an_earlier_round_is_answered_and_a_later_one_joined() {
    let mut probe = Probe::looking();
    probe.hear(2, vote(Looking, 2, 7));
    assert_eq!(probe.told(3), [(Looking, 2, 7)]);
    probe.hear(3, vote(Looking, 3, 6));
    assert_eq!(probe.told(3), [(Looking, 2, 7)]);
    assert_eq!(probe.told(2), []);
    let worse = Notification {
        zxid: Zxid(4),
        ..vote(Looking, 3, 9)
    };
    probe.hear(3, worse);
    assert_eq!(
        probe.told(2),
        [(Looking, 1, 9)],
        "the later round begins with the own vote"
    );
}

#[test]
fn a_worse_vote_of_the_round_is_answered_but_not_for_ever() {
    let mut probe = Probe::looking();
    let worse = Notification {
        zxid: Zxid(4),
        ..vote(Looking, 2, 1)
    };
    probe.hear(2, worse.clone());
    assert_eq!((probe.told(2), probe.told(3)), (vec![(Looking, 1, 1)], vec![]));
    probe.hear(2, worse.clone());
    assert_eq!(probe.told(2), []);
    probe.now = Millis(10);
    probe.hear(2, worse);
    assert_eq!(probe.told(2), [(Looking, 1, 1)]);
}

#[test]
fn a_crashed_leader_is_not_elected_by_old_votes() {
    for round in [1, 4] {
        let mut probe = Probe::new(1, members_of(5, &[]));
        probe.start();
        for from in [2, 3, 4] {
            probe.hear(from, vote(Following, 5, round));
        }
        assert_eq!(probe.election.state(), Looking, "round {round}");
        probe.hear(5, vote(Leading, 5, round));
        assert_eq!(probe.election.state(), Following, "round {round}");
        assert_eq!(probe.election.vote().election_epoch, round);
    }
}

#[test]
fn zk_975_a_joiner_does_not_lead_because_it_led_before() {
    let mut probe = Probe::looking();
    for from in [2, 3] {
        probe.hear(from, vote(Following, 1, 8));
    }
    assert_eq!(probe.election.state(), Looking);
    let mut probe = Probe::looking();
    for from in [2, 3] {
        probe.hear(from, vote(Following, 1, 1));
    }
    assert_eq!(
        probe.election.state(),
        Leading,
        "they decided this very round before it did"
    );
}

#[test]
fn settled_servers_of_different_epochs_do_not_add_up() {
    let newer = Notification {
        peer_epoch: 9,
        ..vote(Leading, 3, 9)
    };
    let mut probe = Probe::looking();
    probe.hear(2, vote(Following, 3, 8));
    probe.hear(3, newer.clone());
    assert_eq!(probe.election.state(), Looking);
    let joined = Notification {
        peer_epoch: 9,
        ..vote(Following, 3, 8)
    };
    probe.hear(2, joined);
    assert_eq!(probe.election.state(), Following);
    probe.input(Input::EpochJoined { epoch: 10 });
    probe.hear(2, vote(Looking, 2, 1));
    assert_eq!(probe.told(2).len(), 1);
    assert_eq!(probe.election.vote().peer_epoch, 10);
}

#[test]
fn a_dead_candidate_is_not_decided_for_early() {
    let mut probe = Probe::looking();
    probe.hear(2, vote(Looking, 3, 1));
    probe.input(Input::LinkDown(ServerId(3)));
    assert_eq!(probe.election.state(), Looking);
    assert_eq!(probe.election.next_deadline(), Some(Millis(200)));
    probe.input(Input::LinkDown(ServerId(2)));
    probe.now = Millis(200);
    probe.input(Input::Tick);
    assert_eq!(
        probe.election.state(),
        Looking,
        "the vote of a lost server does not count"
    );
}

#[test]
fn the_vote_is_repeated_ever_more_rarely_and_the_lost_are_dialled_every_second() {
    let mut probe = Probe::looking();
    let (mut told_at, mut dialled_at) = (Vec::new(), Vec::new());
    while let Some(at) = probe.election.next_deadline().filter(|at| at.0 <= 6500) {
        probe.now = at;
        probe.input(Input::Tick);
        if !probe.told(2).is_empty() {
            told_at.push(at.0);
        }
        if probe.out.contains(&Output::DialAll) {
            dialled_at.push(at.0);
        }
    }
    assert_eq!(told_at, [200, 600, 1400, 3000, 6200]);
    assert_eq!(dialled_at, [1000, 2000, 3000, 4000, 5000, 6000]);
}

#[test]
fn who_has_no_vote_is_answered_and_never_counted() {
    let mut probe = Probe::new(1, members_of(4, &[4]));
    probe.start();
    let better = Notification {
        zxid: Zxid(9),
        ..vote(Looking, 2, 5)
    };
    for _ in 0..2 {
        probe.hear(4, better.clone());
    }
    assert_eq!(probe.told(4), [], "said once already");
    assert_eq!(probe.election.vote().leader, ServerId(1));
    probe.now = Millis(10);
    probe.hear(4, better);
    assert_eq!(probe.told(4), [(Looking, 1, 1)]);
    probe.hear(2, vote(Looking, 4, 1));
    probe.hear(3, vote(Looking, 4, 1));
    probe.hear(2, vote(Observing, 2, 1));
    assert_eq!(
        probe.election.vote().leader,
        ServerId(1),
        "nobody without a vote is elected"
    );
}

#[test]
fn a_server_without_weight_joins_whom_the_others_elect() {
    let text = "server.1=h:1:2\nserver.2=h:3:4\nserver.3=h:5:6\ngroup.1=1:2:3\nweight.3=0";
    let mut ensemble = Ensemble::new(Members::parse(text).unwrap());
    for (id, zxid) in [(1, 5), (2, 5), (3, 9)] {
        ensemble.boot(id, zxid, 1);
    }
    ensemble.advance(5000);
    assert_eq!(
        ensemble.roles(),
        [(1, Following, 2), (2, Leading, 2), (3, Following, 2)]
    );
}

#[test]
fn a_participant_that_is_in_no_list_follows() {
    let mut probe = Probe {
        election: Election::new(ElectionConfig::new(ServerId(7), members_of(3, &[]), false)),
        now: Millis(0),
        out: Vec::new(),
    };
    probe.start();
    assert_eq!(probe.election.vote().leader, ServerId(i64::MIN));
    probe.hear(2, vote(Following, 3, 4));
    probe.hear(3, vote(Leading, 3, 4));
    assert_eq!(probe.election.state(), Following);
}

#[test]
fn lists_that_differ_are_told_once_and_change_nothing() {
    let mut probe = Probe::looking();
    let theirs = "server.1=x:1:2\nserver.2=x:1:2\nversion=100000000";
    probe.hear(2, with_config(theirs));
    let said = Output::MembersDiffer {
        from: ServerId(2),
        theirs: Members::parse(theirs).unwrap(),
    };
    assert!(probe.out.contains(&said));
    probe.hear(2, with_config(theirs));
    assert!(!probe.out.contains(&said));
    for text in ["", "version=0", "nonsense", &probe.election.members_text.clone()] {
        probe.hear(3, with_config(text));
        assert!(
            probe
                .out
                .iter()
                .all(|output| !matches!(output, Output::MembersDiffer { .. }))
        );
    }
    assert_eq!(probe.election.verifier.voters().count(), 3);
}

#[test]
fn a_member_that_is_elsewhere_than_its_line_says_is_told_once() {
    let mut probe = Probe::looking();
    let ours = probe.election.config.members.clone();
    let mut theirs = ours.clone();
    let member = theirs.servers.get_mut(&ServerId(2)).unwrap();
    member.addresses[0].quorum_port += 1;
    let said = Output::AddressDiffers {
        from: ServerId(2),
        theirs: member.clone(),
        ours: ours.servers[&ServerId(2)].clone(),
    };
    probe.hear(2, with_config(&theirs.to_text()));
    assert!(probe.out.contains(&said));
    probe.hear(2, with_config(&theirs.to_text()));
    assert!(!probe.out.contains(&said));
    // Of others it may think what it likes, and of itself that it is everywhere.
    probe.hear(3, with_config(&theirs.to_text()));
    theirs.servers.get_mut(&ServerId(2)).unwrap().addresses[0].host = "0.0.0.0".into();
    probe.hear(2, with_config(&theirs.to_text()));
    let is_about_places = |output: &Output| matches!(output, Output::AddressDiffers { .. });
    assert!(!probe.out.iter().any(is_about_places));
}

#[test]
fn no_message_ends_the_process() {
    let mut prng = crate::prng::Prng::new(1);
    let mut probe = Probe::looking();
    for _ in 0..20_000 {
        let mut body = vote(Looking, 1, 1).encode().to_vec();
        for _ in 0..prng.below(4) {
            let at = prng.below(body.len() as u64) as usize;
            body[at] = [0, 1, 2, 3, 0x7f, 0x80, 0xff][prng.below(7) as usize];
        }
        body.truncate(prng.below(body.len() as u64 + 8) as usize);
        let from = ServerId(prng.below(5) as i64);
        probe.input(Input::Received { from, body: &body });
        match prng.below(20) {
            0 => probe.start(),
            1 => probe.input(Input::LinkDown(from)),
            2 => {
                probe.now = probe.now + Millis(100);
                probe.input(Input::Tick);
            }
            _ => {}
        }
    }
    let mut probe = Probe::looking();
    probe.hear(2, vote(Looking, 2, i64::MAX));
    assert_eq!(probe.election.vote().election_epoch, 1);
    probe.start();
}
