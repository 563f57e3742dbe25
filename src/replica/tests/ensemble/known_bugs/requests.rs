//! Sessions, and what clients may ask for.

use super::*;
use crate::ids::SessionId;
use crate::proto::opcode::OpCode;

#[test]
fn zk_2926_a_session_is_in_the_table_once_it_is_committed() {
    let mut world = Ensemble::of(3, 0);
    let (leader, [first, second]) = (world.leader(), world.followers());
    for at in [first, second] {
        world.silence(leader, at);
    }
    let client = world.connect(leader, 10_000, SessionId(0), &[0; 16]);
    world.pass(10);
    assert_eq!(
        world.nodes[leader].disk.last().counter(),
        1,
        "it is proposed and logged"
    );
    assert_eq!(world.lines(client), [""; 0]);
    let sessions = |world: &Ensemble, at: usize| {
        let tree = world.nodes[at].up().shared.tree.read();
        tree.sessions().len()
    };
    assert_eq!(sessions(&world, leader), 0, "a snapshot would show it");
    world.crash(leader);
    world.mend();
    world.serve();
    world.start(leader);
    world.serve();
    world.agree();
    assert_eq!([0, 1, 2].map(|at| sessions(&world, at)), [0, 0, 0]);
}

#[test]
fn cve_2026_79993_no_client_sends_what_only_servers_make() {
    let mut world = Ensemble::of(3, 1);
    let leader = world.leader();
    let owner = world.session(leader, 40_000);
    world.ask(owner, &[create("/c", "")]);
    world.agree();
    for at in [leader, world.followers()[0], 3] {
        for op in [OpCode::DeleteContainer, OpCode::CreateSession, OpCode::Error] {
            let client = world.session(at, 10_000);
            world.agree();
            let before = world.nodes[leader].last_zxid();
            let lines = world.ask(
                client,
                &[Ask::new(op, |out| {
                    use crate::proto::jute::Put;
                    out.put_string("/c");
                })],
            );
            assert!(lines[0].ends_with(" error -6"), "{op:?} at {at}: {lines:?}");
            world.pass(10);
            assert!(world.clients[client].client.is_closed);
            assert_eq!(world.nodes[leader].last_zxid(), before, "{op:?} is in no log");
            assert!(world.shows(leader, "/c"));
        }
    }
}

#[test]
fn cve_2026_100300_no_content_of_a_quota_node_stops_a_server() {
    let mut world = Ensemble::of(3, 0);
    let [first, _] = world.followers();
    let client = world.session(first, 40_000);
    let quota = "/zookeeper/quota/a";
    let limits = format!("{quota}/zookeeper_limits");
    let stats = format!("{quota}/zookeeper_stats");
    let made = [create("/a", ""), create(quota, "")];
    assert!(
        world
            .ask(client, &made)
            .iter()
            .all(|line| !line.contains("error"))
    );
    for content in [
        "",
        "count",
        "count=,bytes=",
        "count=99999999999999999999",
        "\u{0}=\u{0}",
        "=,=",
    ] {
        let lines = world.ask(
            client,
            &[
                create(&limits, content),
                create(&stats, content),
                create("/a/child", content),
                set("/a", content, -1),
                delete("/a/child", -1),
                delete(&limits, -1),
                create(&limits, content),
                set(&limits, content, -1),
                delete(&limits, -1),
                delete(&stats, -1),
            ],
        );
        assert!(lines.iter().all(|line| !line.contains("error")), "{lines:?}");
    }
    world.ask(client, &[create(&limits, "count=x"), create(&stats, "\u{0}")]);
    world.agree();
    for at in 0..3 {
        world.crash(at);
    }
    (0..3).for_each(|at| world.start(at));
    world.serve();
    world.agree();
    assert!(world.shows(first, &limits));
}
