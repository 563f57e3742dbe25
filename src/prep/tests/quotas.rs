//! What quotas let through.

use super::*;
use ErrorCode::{BadVersion, Ok, QuotaExceeded};

fn server(limits: &str, is_enforced: bool) -> Server {
    let config = PrepConfig {
        enforce_quota: is_enforced,
        ..config()
    };
    let mut server = Server::with(DataTree::new(1), config);
    let limits = Op::Create(
        OpCode::Create,
        "/zookeeper/quota/q/zookeeper_limits".into(),
        Some(limits.as_bytes().to_vec()),
        open(),
        0,
    );
    for op in [
        create("/q", 0),
        create("/zookeeper/quota/q", 0),
        limits,
        create("/zookeeper/quota/q/zookeeper_stats", 0),
    ] {
        assert_eq!(server.run(&op), Ok, "{op:?}");
    }
    server
}

fn stats(server: &Server) -> String {
    let node = server.tree.lookup("/zookeeper/quota/q/zookeeper_stats").unwrap();
    String::from_utf8(node.data().unwrap().to_vec()).unwrap()
}

/// The lines that the operator sees.
fn exceeded(server: &mut Server) -> Vec<String> {
    let exceeded = server.prep.take_exceeded();
    exceeded.iter().map(ToString::to_string).collect()
}

#[test]
fn a_hard_limit_refuses_and_a_soft_one_warns() {
    let mut server = server("count=3,bytes=20=;byteHardLimit=12;countHardLimit=4", true);
    assert_eq!(stats(&server), "count=1,bytes=4");
    assert_eq!(server.run(&create("/q/a", 0)), Ok);
    assert_eq!(server.run(&create("/q/a/b", 0)), Ok);
    assert_eq!(stats(&server), "count=3,bytes=12");
    assert_eq!(exceeded(&mut server), [""; 0]);
    assert_eq!(server.run(&create("/q/a/c", 0)), QuotaExceeded);
    let bytes = "Quota exceeded: /q [current bytes=16, hardByteLimit=12]";
    assert_eq!(exceeded(&mut server), [bytes]);
    assert_eq!(server.run(&set_data("/q/a", b"more")), Ok, "no more than before");
    assert_eq!(server.run(&set_data("/q/a", b"more!")), QuotaExceeded);
    assert_eq!(server.run(&set_data("/q/a", b"less")), Ok);
    assert_eq!(server.run(&Op::SetData("/q/a".into(), None, -1)), Ok);
    assert_eq!(server.run(&create_with("/q/d", &open())), Ok);
    assert_eq!(server.run(&create_with("/q/e", &open())), QuotaExceeded);
    let told = server.prep.take_exceeded().pop().unwrap();
    assert_eq!((told.namespace.as_str(), told.is_hard), ("q", true));
    assert_eq!(
        told.to_string(),
        "Quota exceeded: /q [current count=5, hardCountLimit=4]"
    );
    assert_eq!(server.run(&delete("/q/d")), Ok);
    assert_eq!(server.run(&create("/other", 0)), Ok);

    let limits = b"count=2,bytes=5";
    assert_eq!(
        server.run(&set_data("/zookeeper/quota/q/zookeeper_limits", limits)),
        Ok
    );
    assert_eq!(server.run(&create("/q/f", 0)), Ok);
    assert_eq!(
        exceeded(&mut server),
        [
            "Quota exceeded: /q [current count=4, softCountLimit=2]",
            "Quota exceeded: /q [current bytes=12, softByteLimit=5]"
        ]
    );
    assert_eq!(server.run(&delete("/zookeeper/quota/q/zookeeper_limits")), Ok);
    assert_eq!(server.run(&create("/q/g", 0)), Ok);
    assert_eq!(exceeded(&mut server), [""; 0]);
    assert_eq!(stats(&server), "count=4,bytes=12", "nobody counts any more");
}

#[test]
fn what_is_not_enforced_is_not_looked_at() {
    let mut server = server("count=1,bytes=1=;countHardLimit=1", false);
    assert_eq!(server.run(&create("/q/a", 0)), Ok);
    assert_eq!(exceeded(&mut server), [""; 0]);
    assert_eq!(stats(&server), "count=2,bytes=8");
}

#[test]
fn only_what_is_applied_counts() {
    let mut server = server("countHardLimit=2", true);
    let multi = Op::Multi(vec![create("/q/a", 0), create("/q/b", 0)]);
    assert_eq!(server.submit(&multi).1, None);
    assert_eq!(server.submit(&create("/q/c", 0)).1, None, "still one node");
    // The length of data that is under way counts, the use that it leads to does not.
    let limits = b"byteHardLimit=9";
    assert_eq!(
        server
            .submit(&set_data("/zookeeper/quota/q/zookeeper_limits", limits))
            .1,
        None
    );
    let mut server = self::server("byteHardLimit=9", true);
    assert_eq!(server.submit(&set_data("/q", b"12345678")).1, None);
    assert_eq!(server.submit(&set_data("/q", b"123456789abcd")).1, None, "4 + 5");
    assert_eq!(server.submit(&set_data("/q", b"123456789abcdefghi")).1, None);
}

#[test]
fn a_quota_stands_between_permission_and_version() {
    let mut server = server("byteHardLimit=4", true);
    let wrong_version = |data: &[u8]| Op::SetData("/q".into(), Some(data.to_vec()), 9);
    assert_eq!(server.run(&wrong_version(b"12345")), QuotaExceeded);
    assert_eq!(server.run(&wrong_version(b"1234")), BadVersion);
    assert_eq!(server.run(&create("/q/a", 0)), QuotaExceeded);
    let multi = Op::Multi(vec![create("/x", 0), create("/q/a", 0)]);
    assert_eq!(server.run(&multi), QuotaExceeded);
    assert!(server.tree.lookup("/x").is_none());
}

#[test]
fn texts_that_are_none_do_no_harm() {
    for limits in ["", "x", "count=", ",count=0", "countHardLimit=zero"] {
        let mut server = server(limits, true);
        assert_eq!(server.run(&create("/q/a", 0)), Ok, "{limits}");
        assert_eq!(stats(&server), "count=2,bytes=8");
    }
    let mut server = server("countHardLimit=1", true);
    assert_eq!(server.run(&create("/q/a", 0)), QuotaExceeded);
    let stats_path = "/zookeeper/quota/q/zookeeper_stats";
    for text in [Some("x"), None, Some("count=9999999999999999999"), Some(",")] {
        let set = Op::SetData(stats_path.into(), text.map(|text| text.into()), -1);
        assert_eq!(server.run(&set), Ok, "{text:?}");
        let path = format!("/q/{}", server.zxid.0);
        assert_eq!(server.run(&create(&path, 0)), Ok, "{text:?}");
    }
    assert_eq!(stats(&server), "count=0,bytes=3", "from -1 each");
    for path in [
        "/zookeeper/quota/zookeeper_limits",
        "/zookeeper/quota/zookeeper_stats",
    ] {
        assert_eq!(server.run(&create(path, 0)), Ok, "{path}");
    }
    assert_eq!(server.run(&create("/z", 0)), Ok, "the root has no quota");
    assert_eq!(server.run(&delete("/zookeeper/quota/zookeeper_limits")), Ok);
    // Apache's server dies of these.
    assert_eq!(server.run(&create("/zookeeper/zookeeper_limits", 0)), Ok);
    assert_eq!(server.run(&delete("/zookeeper/zookeeper_limits")), Ok);
}
