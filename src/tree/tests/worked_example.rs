//! A log that an Apache server wrote, with the digest after every transaction, and the tree it makes.

use super::super::*;
use crate::proto::error_code::ErrorCode;
use crate::proto::txn;

/// 23 records of a 3.9.3 server behind the file header of 16 bytes.
const LOG: &str = include_str!("worked_example.hex");

#[test]
fn the_log_of_a_real_server_gives_its_digests_and_its_tree() {
    let bytes = from_hex(LOG);
    let mut tree = DataTree::new(7);
    assert_eq!(tree.digest(), 1_371_985_504);
    let (mut rest, mut records, mut digests) = (&bytes[16..], 0, 0);
    while let Some((length, after)) = rest.get(8..).and_then(|rest| rest.split_first_chunk()) {
        let (body, after) = after.split_at(u32::from_be_bytes(*length) as usize);
        let logged = txn::decode(body).unwrap();
        let result = tree.process_txn(&logged.header, &logged.txn, &mut ());
        if let Some(expected) = logged.digest {
            assert_eq!(tree.digest(), expected.digest, "after {}", logged.header.zxid);
            digests += 1;
        }
        let expected = match logged.header.zxid {
            Zxid(12 | 14) => ErrorCode::NoNode,
            Zxid(15) => ErrorCode::BadArguments,
            _ => ErrorCode::Ok,
        };
        assert_eq!(result.error, expected, "of {}", logged.header.zxid);
        records += 1;
        assert_eq!(after[0], b'B');
        rest = &after[1..];
    }
    assert_eq!((records, digests), (23, 21));
    assert_eq!(
        (tree.digest(), tree.last_processed_zxid()),
        (15_740_110_229, Zxid(0x17))
    );
    assert_eq!(
        Vec::from_iter(tree.sessions()),
        [(&SessionId(0x0100_000d_067f_0002), &30_000)]
    );
    assert_eq!(tree.ephemerals(SessionId(0x0100_000d_067f_0002)), ["/e3"]);
    let mut lines = vec![];
    render(&tree, tree.lookup("").unwrap(), &mut lines);
    lines.sort();
    assert_eq!(lines.join("\n"), TREE.trim());
}

/// Path, length of data, bytes of the ACL, the times past the first creation, zxids, versions, owner.
fn render(tree: &DataTree, node: NodeRef<'_>, lines: &mut Vec<String>) {
    let (stat, acl) = (node.persisted(), tree.acl(node.acl_id()));
    let time = |time: i64| if time == 0 { 0 } else { time - 1_795_223_253_724 };
    lines.push(format!(
        "{} {:?} acl {}/{} z {}/{}/{} t {}/{} v {}/{}/{} owner {:x}",
        node.path(),
        node.data().map(|data| String::from_utf8_lossy(data).into_owned()),
        node.acl_id().on_disk(),
        acl.list.len(),
        stat.czxid.0,
        stat.mzxid.0,
        stat.pzxid.0,
        time(stat.ctime),
        time(stat.mtime),
        stat.version,
        stat.cversion,
        stat.aversion,
        stat.ephemeral_owner,
    ));
    node.children().for_each(|child| render(tree, child, lines));
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// What the server's own snapshot says.
const TREE: &str = r#"
/ Some("") acl -1/1 z 0/0/23 t 0/0 v 0/9/0 owner 0
/a Some("hello2") acl 2/1 z 2/8/19 t 0/30 v 1/3/0 owner 0
/a/s-0000000001 None acl 3/2 z 4/4/4 t 18/18 v 0/0/1 owner 0
/box Some("") acl 2/1 z 7/7/7 t 26/26 v 0/0/0 owner 8000000000000000
/e3 Some("E") acl 2/1 z 23/23/23 t 68916/68916 v 0/0/0 owner 100000d067f0002
/m2 Some("") acl 2/1 z 13/13/13 t 47/47 v 0/0/0 owner 0
/ttl Some("t") acl 2/1 z 6/6/6 t 24/24 v 0/0/0 owner ff000000000927c0
/zookeeper Some("") acl -1/1 z 0/0/0 t 0/0 v 0/0/0 owner 0
/zookeeper/config Some("") acl 1/1 z 0/0/0 t 0/0 v 0/0/-1 owner 0
/zookeeper/quota Some("") acl -1/1 z 0/0/0 t 0/0 v 0/0/0 owner 0
"#;
