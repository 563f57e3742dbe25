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
        Probe {
            election: Election::new(ElectionConfig::new(ServerId(me), Configs::new(members))),
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
        proposed: None,
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
        election: Election::new(ElectionConfig::new(ServerId(7), Configs::new(members_of(3, &[])))),
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
    assert_eq!(probe.election.config.configs.voters().len(), 3);
}

#[test]
fn a_member_that_is_elsewhere_than_its_line_says_is_told_once() {
    let mut probe = Probe::looking();
    let ours = probe.election.config.configs.committed().members().clone();
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

/// One of three servers, or beside them, with the configuration of zxid 3, as `Probe::looking`.
fn reconfigurable(me: i64, is_enabled: bool) -> (Probe, String) {
    let text = "server.1=h1:1:2\nserver.2=h2:1:2\nserver.3=h3:1:2\nversion=3".to_owned();
    let configs = Configs::new(Members::parse(&text).unwrap());
    let text = String::from_utf8_lossy(configs.committed().text()).into_owned();
    let mut config = ElectionConfig::new(ServerId(me), configs);
    config.reconfig_enabled = is_enabled;
    let mut probe = Probe {
        election: Election::new(config),
        now: Millis(0),
        out: Vec::new(),
    };
    probe.start();
    (probe, text)
}

/// Apache's servers drop such a vote. If it is needed nobody ever leads again: here of 1, 2 and 3 the servers
/// 2 and 3 have seen that 1 and 4 are to follow them, and vote for 4.
#[test]
fn a_vote_for_a_stranger_is_explained_by_what_was_proposed() {
    let next = |version: &str| format!("server.1=h1:1:2\nserver.4=h4:1:2\nversion={version}");
    let adopted = |is_enabled, change: fn(&mut Notification)| {
        let (mut probe, text) = reconfigurable(1, is_enabled);
        let mut notification = Notification {
            config: Some(text),
            proposed: Some(next("7")),
            ..vote(Looking, 4, 1)
        };
        change(&mut notification);
        probe.hear(2, notification);
        let is_adopted = |output: &Output| matches!(output, Output::ProposedConfig(it) if it.version() == 7);
        probe.out.iter().any(is_adopted)
    };
    assert!(adopted(true, |_| {}));
    assert!(!adopted(false, |_| {}));
    // Of a history that is behind this one.
    assert!(!adopted(true, |it| it.peer_epoch = 0));
    assert!(!adopted(true, |it| it.zxid = Zxid(4)));
    // It follows another configuration, or none is proposed.
    assert!(!adopted(true, |it| it.config = Some("server.2=h2:1:2\nversion=2".into())));
    assert!(!adopted(true, |it| it.proposed = None));
    // It does not know the stranger either.
    assert!(!adopted(true, |it| it.leader = ServerId(5)));
    // A vote for somebody who is known needs no explanation.
    assert!(!adopted(true, |it| it.leader = ServerId(3)));
    let (mut probe, text) = reconfigurable(1, true);
    probe.hear(
        2,
        Notification {
            config: Some(text),
            proposed: Some(next("5")),
            ..vote(Looking, 4, 1)
        },
    );
    let is_adopted = |output: &Output| matches!(output, Output::ProposedConfig(_));
    // This history has passed it.
    assert!(!probe.out.iter().any(is_adopted));
}

#[test]
fn what_is_proposed_is_told_until_it_is_in_force() {
    let (mut probe, text) = reconfigurable(1, true);
    let told = |probe: &Probe| {
        let body = probe.out.iter().find_map(|output| {
            let Output::Notify { body, .. } = output else {
                return None;
            };
            Some(body.clone())
        });
        let told = Notification::decode(&body.expect("it tells")).unwrap();
        (told.config, told.proposed)
    };
    assert_eq!(told(&probe), (Some(text.clone()), None));
    let mut configs = Configs::new(Members::parse(&text).unwrap());
    let next = Config::parse(b"server.1=h1:1:2\nserver.4=h4:1:2\nversion=7").unwrap();
    configs.propose(next.clone());
    probe.input(Input::Configured(&configs));
    let next_text = String::from_utf8_lossy(next.text()).into_owned();
    assert_eq!(told(&probe), (Some(text), Some(next_text.clone())));
    configs.commit(next);
    probe.input(Input::Configured(&configs));
    assert_eq!(told(&probe), (Some(next_text), None));
}

/// Who is to get a vote and has not heard of it votes for nobody, in a round of its own that no voter joins.
#[test]
fn who_is_to_get_a_vote_learns_of_it_from_a_voter() {
    let hear = |me, round| {
        let (mut probe, text) = reconfigurable(me, true);
        let proposed = Some("server.1=h1:1:2\nserver.4=h4:1:2\nversion=7".to_owned());
        let notification = Notification {
            config: Some(text),
            proposed,
            ..vote(Looking, 2, round)
        };
        probe.hear(2, notification);
        let is_adopted = |output: &Output| matches!(output, Output::ProposedConfig(_));
        probe.out.iter().any(is_adopted)
    };
    for round in [0, 1, 9] {
        assert!(hear(4, round), "{round}");
        assert!(!hear(5, round) && !hear(1, round), "{round}");
    }
}
