//! Parts of the model by themselves: files, permissions, replies, and the past.

use super::model::acl::{allows, authenticated, masked, normalized};
use super::model::jute::Writer;
use super::model::log_file::read_log;
use super::model::{Acl, Identity, Model, code, op, same_reply};

fn log_of(bodies: &[&[u8]], checksums: &[u64]) -> Vec<u8> {
    let mut file = b"ZKLG\0\0\0\x02\0\0\0\0\0\0\0\0".to_vec();
    for (body, checksum) in bodies.iter().zip(checksums) {
        file.extend(checksum.to_be_bytes());
        file.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
        file.extend(*body);
        file.push(b'B');
    }
    file
}

#[test]
fn log_files_are_read_to_their_padding() {
    // The checksums are those of RFC 1950's own text and of zlib.
    let bodies: [&[u8]; 2] = [b"Wikipedia", b"a"];
    let mut file = log_of(&bodies, &[0x11e6_0398, 0x0062_0062]);
    let whole = file.len();
    file.extend([0; 100]);
    assert_eq!(read_log(&file).unwrap(), bodies);
    for torn in whole - 14 + 1..whole {
        assert_eq!(read_log(&file[..torn]).unwrap(), bodies[..1], "{torn}");
    }
    assert_eq!(read_log(&file[..16]).unwrap(), [[0; 0]; 0]);
    assert!(read_log(&log_of(&bodies, &[0x11e6_0398, 1])).is_err());
    assert!(read_log(b"ZKSN\0\0\0\x02\0\0\0\0\0\0\0\0").is_err());
}

#[test]
fn permissions() {
    let me = [Identity::new("ip", "127.0.0.1"), Identity::new("digest", "u:h")];
    let list = |scheme: &str, id: &str| vec![Acl::new(31, scheme, id)];
    assert!(allows(&list("world", "anyone"), 1, &[]));
    assert!(!allows(&list("world", "anyone"), 32, &me));
    assert!(allows(&list("digest", "u:h"), 1, &me) && !allows(&list("digest", "u:g"), 1, &me));
    assert!(allows(&list("ip", "127.0.0.9/28"), 1, &me) && !allows(&list("ip", "127.0.0.9/29"), 1, &me));
    assert!(allows(&list("digest", "x:y"), 1, &[Identity::new("super", "")]));
    assert_eq!(
        normalized(&list("auth", "ignored"), &me),
        Ok(list("digest", "u:h"))
    );
    assert_eq!(normalized(&list("auth", ""), &me[..1]), Err(code::INVALID_ACL));
    for (scheme, id) in [
        ("digest", "a"),
        ("digest", "a:b:c"),
        ("ip", "x"),
        ("super", ""),
        ("world", "x"),
    ] {
        assert_eq!(
            normalized(&list(scheme, id), &me),
            Err(code::INVALID_ACL),
            "{scheme}:{id}"
        );
    }
    assert!(normalized(&list("digest", "a:b:"), &me).is_ok() && normalized(&[], &me).is_err());
    assert_eq!(masked(&Acl::new(1, "digest", "u:h")).who.id, "u:x");
    let mut packet = Writer::new();
    packet.int(0).text("digest").text("user:pass");
    let added = authenticated(&packet.done(), "127.0.0.1", None).unwrap();
    assert_eq!(
        added,
        [Identity::new("digest", "user:smGaoVKd/cQkjm7b88GyorAUz20=")]
    );
}

#[test]
fn children_have_no_order_but_all_else_has() {
    let reply = |names: &[&str], stat: u8| {
        let mut writer = Writer::new();
        writer.texts(names.iter()).raw(&[stat; 68]);
        writer.done()
    };
    let (one, other) = (reply(&["a", "b"], 1), reply(&["b", "a"], 1));
    assert!(same_reply(op::GET_CHILDREN2, &one, &other));
    assert!(!same_reply(op::GET_CHILDREN2, &one, &reply(&["b", "a"], 2)));
    assert!(!same_reply(op::GET_CHILDREN2, &one, &reply(&["a"], 1)));
    assert!(!same_reply(op::GET_DATA, &one, &other));
}

#[test]
fn every_state_of_the_past_can_be_read() {
    let mut model = Model::new();
    let entry = |zxid: i64, opcode: i32, path: &str| {
        let mut writer = Writer::new();
        writer.long(1).int(1).long(zxid).long(0).int(opcode).text(path);
        if opcode == op::CREATE {
            writer.text("d").count(0).boolean(false).int(-1);
        }
        writer.done()
    };
    // Node n comes with zxid n, and those before the last ten go again.
    let mut zxid = 0;
    for number in 1..=200 {
        zxid += 1;
        model
            .apply(&entry(zxid, op::CREATE, &format!("/{number}")))
            .unwrap();
        if number > 10 {
            zxid += 1;
            let path = format!("/{}", number - 10);
            model.apply(&entry(zxid, op::DELETE, &path)).unwrap();
        }
    }
    assert!(model.apply(&entry(zxid + 1, op::DELETE, "/gone")).is_err());
    for zxid in 0..=390 {
        let (came, went) = if zxid <= 10 {
            (zxid, 0)
        } else {
            (10 + (zxid - 9) / 2, (zxid - 10) / 2)
        };
        let children = model.children_at(zxid, "/");
        assert_eq!(
            children.len(),
            usize::try_from(came - went + 1).unwrap(),
            "{zxid}"
        );
        let expected = |number: i64| number > went && number <= came;
        assert!((1..=200).all(|number| {
            let is_child = children.contains(number.to_string().as_str());
            let node = model.node_at(zxid, &format!("/{number}"));
            is_child == expected(number) && node.is_some() == is_child
        }));
        assert_eq!(
            model.node_at(zxid, "/").unwrap().children,
            i32::try_from(came - went + 1).unwrap()
        );
    }
}
