use super::*;

fn members(count: i64, more: &str) -> Members {
    let mut text: String = (1..=count)
        .map(|id| format!("server.{id}=h{id}:2888:3888;2181\n"))
        .collect();
    text.push_str(more);
    text.push_str("version=100000000");
    Members::parse(&text).unwrap()
}

/// These follow, the first one leads.
fn standing(serving: &[i64]) -> Standing {
    let mut standing = Standing {
        leader: serving.first().copied().map(ServerId),
        ..Standing::default()
    };
    for (at, id) in serving.iter().copied().map(ServerId).enumerate() {
        let mode = if at == 0 { "leader" } else { "follower" };
        standing.in_sync.insert(id);
        standing.modes.insert(id, mode.to_owned());
    }
    standing
}

fn adding(lines: &[&str], replaces: bool) -> Wish {
    let joining = lines.iter().map(|line| super::super::parse_line(line).unwrap());
    Wish::Add {
        joining: joining.collect(),
        replaces,
    }
}

fn removing(ids: &[i64]) -> Wish {
    Wish::Remove(ids.iter().copied().map(ServerId).collect())
}

fn add(serving: &[i64], lines: &[&str]) -> Plan {
    plan(&members(3, ""), &adding(lines, false), &standing(serving))
}

#[track_caller]
fn assert_findings(plan: &Plan, expected: &[(Gravity, &str)]) {
    let found: Vec<(Gravity, &str)> = plan
        .findings
        .iter()
        .map(|it| (it.gravity, it.text.as_str()))
        .collect();
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for ((gravity, text), (expected, part)) in found.iter().zip(expected) {
        assert_eq!(gravity, expected, "{text}");
        assert!(text.contains(part), "{text}");
    }
}

const FOUR: &str = "server.4=h4:2888:3888:participant;2181";
const FIVE: &str = "server.5=h5:2888:3888;2181";

#[test]
fn two_that_follow_may_join_without_a_word() {
    let plan = add(&[1, 2, 3, 4, 5], &[FOUR, FIVE]);
    assert_findings(&plan, &[]);
    assert_eq!(
        plan.change.joining.as_deref(),
        Some("server.4=h4:2888:3888:participant;0.0.0.0:2181,server.5=h5:2888:3888:participant;0.0.0.0:2181")
    );
    assert_eq!(plan.next.as_ref().map(|next| next.servers.len()), Some(5));
    assert!(!plan.is_stopped(false));
}

#[test]
fn an_even_number_is_no_gain() {
    let plan = add(&[1, 2, 3, 4], &[FOUR]);
    assert_findings(&plan, &[(Gravity::Warning, "4 participants, an even number")]);
    assert!(!plan.is_stopped(false));
    let observer = add(&[1, 2, 3], &["server.4=h4:1:2:observer;5"]);
    assert_findings(&observer, &[(Gravity::Warning, "server 4 does not follow yet")]);
}

#[test]
fn who_does_not_follow_counts_as_failed() {
    let plan = add(&[1, 2, 3], &[FOUR, FIVE]);
    assert_findings(
        &plan,
        &[
            (Gravity::Danger, "every participant in sync (1, 2, 3) is needed"),
            (Gravity::Warning, "server 4 does not follow yet"),
            (Gravity::Warning, "server 5 does not follow yet"),
        ],
    );
    assert!(plan.is_stopped(false));
    assert!(!plan.is_stopped(true));
    let plan = add(&[1, 2], &[FOUR, FIVE]);
    assert!(plan.findings[0].text.contains("NewConfigNoQuorum"), "{plan:?}");
    let mut elsewhere = standing(&[1, 2, 3]);
    elsewhere.modes.insert(ServerId(4), "standalone".to_owned());
    let judged = super::plan(&members(3, ""), &adding(&[FOUR], false), &elsewhere);
    assert_findings(
        &judged,
        &[
            (Gravity::Danger, "every participant in sync (1, 2, 3) is needed"),
            (Gravity::Danger, "serves clients as standalone"),
            (Gravity::Warning, "an even number"),
        ],
    );
}

#[track_caller]
fn assert_error(plan: &Plan, part: &str) {
    let finding = &plan.findings[0];
    assert_eq!(finding.gravity, Gravity::Error, "{plan:#?}");
    assert!(finding.text.contains(part), "{plan:#?}");
    assert!(plan.is_stopped(true));
}

#[test]
fn numbers_are_taken_once() {
    let three = "server.3=h9:2888:3888;2181";
    assert_error(&add(&[1, 2, 3], &[three]), "server 3 is a member already");
    assert_error(&add(&[1, 2, 3], &[FOUR, FOUR]), "server 4 is named twice");
    let replaced = |line: &str| plan(&members(3, ""), &adding(&[line], true), &standing(&[1, 2, 3]));
    assert_findings(&replaced(three), &[]);
    assert_error(&replaced("server.3=h3:2888:3888;2181"), "nothing to change");
    assert_error(&replaced(FOUR), "server 4 is not a member");
    let leave = |ids: &[i64]| plan(&members(5, ""), &removing(ids), &standing(&[1, 2, 3, 4, 5]));
    assert_error(
        &leave(&[4, 9]),
        "server 9 is not a member; the members are 1, 2, 3, 4, 5",
    );
    assert_findings(&leave(&[4, 5]), &[]);
}

#[test]
fn places_are_taken_once_on_loopback_too() {
    let taken = "server.4=h3:2888:4000;2190";
    assert_error(&add(&[1, 2, 3], &[taken]), "server 3 is at h3:2888 already");
    let here = members(3, "server.7=127.0.0.1:1:2;127.0.0.1:3\n");
    for (line, place) in [
        ("server.4=127.0.0.1:2:9;127.0.0.1:8", "127.0.0.1:2"),
        ("server.4=127.0.0.1:7:9;127.0.0.1:3", "127.0.0.1:3"),
    ] {
        let judged = plan(&here, &adding(&[line], false), &standing(&[1, 2, 3, 7]));
        assert_error(&judged, &format!("server 7 is at {place} already"));
    }
    // Every host has a wildcard of its own.
    let judged = plan(
        &here,
        &adding(&["server.4=h4:1:2;2181"], false),
        &standing(&[1, 2, 3, 4, 7]),
    );
    assert_findings(&judged, &[]);
}

#[test]
fn what_leaves_may_leave_too_few() {
    let leave =
        |count, ids: &[i64], serving: &[i64]| plan(&members(count, ""), &removing(ids), &standing(serving));
    assert_findings(
        &leave(3, &[3], &[1, 2, 3]),
        &[
            (
                Gravity::Danger,
                "every participant in sync (1, 2) is needed for a quorum of 2",
            ),
            (Gravity::Warning, "2 participants, an even number"),
        ],
    );
    // The one that is dead.
    assert_findings(&leave(4, &[4], &[1, 2, 3]), &[]);
    // Not the one that is dead.
    assert_findings(
        &leave(5, &[4, 3], &[1, 2, 3, 4]),
        &[(Gravity::Danger, "every participant in sync (1, 2) is needed")],
    );
    assert_findings(
        &leave(3, &[1, 2], &[1, 3]),
        &[
            (Gravity::Warning, "one participant is left"),
            (Gravity::Warning, "server 1 leads: it hands over"),
        ],
    );
    assert_error(&leave(2, &[1, 2], &[1, 2]), "at least 1 participants");
}

#[test]
fn where_reconfiguration_is_off_is_seen() {
    let mut off = members(3, "");
    off.version = 0;
    let judged = plan(&off, &adding(&[FOUR, FIVE], false), &standing(&[1, 2, 3, 4, 5]));
    assert_findings(&judged, &[(Gravity::Danger, "reconfigEnabled=true")]);
}

#[test]
fn groups_are_replaced_as_a_whole() {
    let grouped = members(3, "group.1=1:2:3\n");
    let judged = plan(&grouped, &removing(&[3]), &standing(&[1, 2, 3]));
    assert_error(&judged, "`reconfig -members` of zkCli");
    assert!(judged.next.is_none());
}
