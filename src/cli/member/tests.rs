use super::*;

#[test]
fn lines_are_read_strictly() {
    let (id, member) = parse_line("server.4=h:2888:3888;2181").unwrap();
    assert_eq!(line(id, &member), "server.4=h:2888:3888:participant;0.0.0.0:2181");
    let (_, member) = parse_line(" server.4 = [::1]:1:2:observer;[::1]:3").unwrap();
    assert!(member.is_observer);
    for (text, part) in [
        ("4=h:2888:3888;2181", "the key is server.N"),
        ("server.x=h:2888:3888;2181", "the key is server.N"),
        ("server.-1=h:2888:3888;2181", "the key is server.N"),
        ("server.4", "server.N=address"),
        ("server.4=h:2888:3888", "the port for clients is missing"),
        ("server.4=h:2888;2181", LINE_EXAMPLE),
        ("server.4=h:1:2;3,server.5=i:1:2;3", "several arguments"),
    ] {
        let error = parse_line(text).unwrap_err();
        assert!(error.contains(part) && error.contains(text), "{error}");
    }
}

#[test]
fn servers_have_a_port() {
    for (text, address) in [("zk1:2181", "zk1:2181"), ("[::1]:5", "[::1]:5"), (" a:5 ", "a:5")] {
        assert_eq!(server(text).unwrap().address(), address);
    }
    for text in ["zk1", "zk1:", ":2181", "zk1:0", "zk1:x", ""] {
        assert!(server(text).is_err(), "{text}");
    }
    assert_eq!(parse_version("0x1A"), Ok(0x1a));
    assert_eq!(parse_version("100000000"), Ok(0x1_0000_0000));
    assert!(parse_version("v1").is_err());
}
