use super::*;
use crate::proto::acl::perms;
use crate::proto::jute::{Put, Reader};

fn config() -> AuthConfig {
    AuthConfig {
        super_digest: Some("super:lK75jTNcA+U9vtVEw5vB51mj/w4=".to_owned()),
        digest_enabled: true,
        digest_alg: DigestAlg::Sha1,
        skip_acl: false,
    }
}

fn id(scheme: &str, id: &str) -> Id {
    new_id(scheme, id.to_owned())
}

fn acl(perms: i32, scheme: &str, text: &str) -> Acl {
    Acl {
        perms,
        id: id(scheme, text),
    }
}

fn check(list: &[Acl], wanted: i32, ids: &[Id]) -> bool {
    check_acl(&config(), &AclList::new(&RawAcls::from_list(list)), wanted, ids)
}

fn fixup(list: &[Acl], ids: &[Id]) -> Result<Vec<Acl>, ErrorCode> {
    fixup_acl(&config(), &RawAcls::from_list(list), ids).map(|raw| raw.to_list().unwrap())
}

fn auth(scheme: &'static str, auth: Option<&'static [u8]>) -> AuthRequest<'static> {
    AuthRequest {
        scheme: Some(scheme.into()),
        auth,
    }
}

const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 2, 3));

#[test]
fn digest_ids_are_the_reference_servers() {
    for (credentials, expected) in [
        ("user:pass", "user:smGaoVKd/cQkjm7b88GyorAUz20="),
        ("super:secret", "super:lK75jTNcA+U9vtVEw5vB51mj/w4="),
        // Values of `openssl dgst -sha1 -binary | base64`.
        ("", ":2jmj7l5rSw0yVb/vlWAYkK/YBwk="),
        ("user", "user:Et6pb+wgWTVmq3VpLJlJWWgzrck="),
        ("a:b:c", "a:cLzgnoJ6mP5qz3w+mwvPE2vDgu0="),
    ] {
        assert_eq!(
            digest::digest_id(DigestAlg::Sha1, credentials),
            expected,
            "{credentials}"
        );
    }
}

#[test]
fn authentication_adds_ids_or_fails() {
    let digest = |text| id("digest", text);
    let user = digest("user:smGaoVKd/cQkjm7b88GyorAUz20=");
    assert_eq!(
        authenticate(&config(), PEER, &auth("digest", Some(b"user:pass"))),
        Ok(vec![user])
    );
    assert_eq!(
        authenticate(&config(), PEER, &auth("digest", Some(b"super:secret"))),
        Ok(vec![
            id("super", ""),
            digest("super:lK75jTNcA+U9vtVEw5vB51mj/w4=")
        ])
    );
    assert_eq!(
        authenticate(&config(), PEER, &auth("ip", None)),
        Ok(vec![id("ip", "10.1.2.3")])
    );
    assert!(authenticate(&config(), PEER, &auth("digest", Some(b""))).is_ok());
    assert_eq!(
        authenticate(&config(), PEER, &auth("digest", None)),
        Err(ErrorCode::AuthFailed)
    );
    for scheme in ["world", "auth", "super", "sasl", "x509", "", "nosuch", "Digest"] {
        let request = auth(scheme, Some(b"user:pass"));
        assert_eq!(
            authenticate(&config(), PEER, &request),
            Err(ErrorCode::AuthFailed),
            "{scheme}"
        );
    }
    let null = AuthRequest {
        scheme: None,
        auth: Some(b"user:pass"),
    };
    assert_eq!(authenticate(&config(), PEER, &null), Err(ErrorCode::AuthFailed));
    let mut without_digest = config();
    without_digest.digest_enabled = false;
    let request = auth("digest", Some(b"user:pass"));
    assert_eq!(
        authenticate(&without_digest, PEER, &request),
        Err(ErrorCode::AuthFailed)
    );
}

#[test]
fn addresses_have_javas_text_form() {
    for (address, expected) in [
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "0:0:0:0:0:0:0:1"),
        ("2001:db8::a00", "2001:db8:0:0:0:0:0:a00"),
        ("::ffff:192.0.2.9", "192.0.2.9"),
    ] {
        assert_eq!(ip_id(address.parse().unwrap()), id("ip", expected));
    }
}

#[test]
fn networks_match_by_their_leading_bits_within_a_family() {
    for (network, peer, expected) in [
        ("10.1.2.3", "10.1.2.3", true),
        ("10.1.2.3", "10.1.2.4", false),
        ("10.1.0.0/16", "10.1.255.255", true),
        ("10.1.0.0/16", "10.2.0.0", false),
        ("10.1.2.2/31", "10.1.2.3", true),
        ("10.1.2.2/32", "10.1.2.3", false),
        ("255.255.255.255/0", "1.2.3.4", true),
        ("010.1.2.3", "10.1.2.3", true),
        ("2001:db8::/32", "2001:db8:0:0:0:0:0:1", true),
        ("2001:db8::/32", "2001:db9:0:0:0:0:0:1", false),
        ("::1", "0:0:0:0:0:0:0:1", true),
        ("::/0", "2001:db8:0:0:0:0:0:1", true),
        ("::/0", "10.1.2.3", false),
        ("0.0.0.0/0", "0:0:0:0:0:0:0:1", false),
    ] {
        assert_eq!(ip::matches(peer, network), expected, "{peer} in {network}");
    }
    for bad in [
        "",
        "10.1.2",
        "10.1.2.3.4",
        "10.1.2.256",
        "10.1.2.-1",
        "10.1.2.3/33",
        "10.1.2.3/-1",
        "10.1.2.3/",
        "10.1.2.3/8/8",
        "a.b.c.d",
        "1:2",
        "::1/129",
        "1::2::3",
        "12345::",
        ":1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:8::",
        "fe80::1%eth0",
        "[::1]",
        "::ffff:10.1.2.3",
        "localhost",
        "/8",
    ] {
        assert!(!ip::is_valid(bad), "{bad}");
    }
    for good in [
        "10.1.2.3",
        "0.0.0.0/0",
        "10.1.2.3/32",
        "::",
        "::1/128",
        "2001:db8::/32",
    ] {
        assert!(ip::is_valid(good), "{good}");
    }
}

#[test]
fn a_check_needs_one_entry_with_a_wanted_bit_for_one_of_the_ids() {
    let ids = [id("ip", "10.1.2.3"), id("digest", "u:h")];
    assert!(check(&[Acl::world(perms::READ)], perms::READ, &[]));
    assert!(!check(&[Acl::world(perms::READ)], perms::WRITE, &ids));
    assert!(check(&[Acl::world(perms::READ)], perms::READ | perms::ADMIN, &[]));
    assert!(check(&[acl(31, "digest", "u:h")], perms::WRITE, &ids));
    assert!(!check(&[acl(31 - 2, "digest", "u:h")], perms::WRITE, &ids));
    assert!(!check(&[acl(31, "digest", "u:other")], perms::WRITE, &ids));
    assert!(check(&[acl(31, "ip", "10.0.0.0/8")], perms::WRITE, &ids));
    assert!(!check(&[acl(31, "ip", "11.0.0.0/8")], perms::WRITE, &ids));
    assert!(check(
        &[acl(1, "ip", "10.0.0.0/8"), acl(2, "digest", "u:h")],
        perms::WRITE,
        &ids
    ));
    assert!(!check(
        &[acl(31, "sasl", "u:h"), acl(31, "auth", "")],
        perms::WRITE,
        &[id("sasl", "u:h")]
    ));
    assert!(
        check(&[], perms::ALL, &[]),
        "an empty list lets everybody do everything"
    );
    assert!(check(
        &[acl(0, "digest", "u:other")],
        perms::DELETE,
        &[id("super", "")]
    ));
    assert!(!check(&[acl(0, "digest", "u:other")], perms::DELETE, &ids));

    let list = AclList::new(&RawAcls::from_list(&[acl(31, "digest", "u:h")]));
    let mut other = config();
    other.digest_enabled = false;
    assert!(!check_acl(&other, &list, perms::READ, &ids));
    other.skip_acl = true;
    assert!(check_acl(&other, &list, perms::READ, &[]));
}

#[test]
fn a_requested_list_is_validated_and_expanded() {
    let ids = [
        id("ip", "10.1.2.3"),
        id("super", ""),
        id("digest", "u:h"),
        id("digest", "v:i"),
    ];
    assert_eq!(
        OPEN_ACL[..],
        RawAcls::from_list(&[Acl::world(perms::ALL)]).bytes()[..]
    );
    let kept = [
        Acl::world(-1),
        acl(0, "ip", "10.0.0.0/8"),
        acl(31, "digest", "a:b"),
    ];
    assert_eq!(fixup(&kept, &ids).as_deref(), Ok(&kept[..]));
    let twice = [
        kept[2].clone(),
        kept[0].clone(),
        kept[2].clone(),
        acl(30, "digest", "a:b"),
    ];
    assert_eq!(
        fixup(&twice, &[]),
        Ok(vec![kept[2].clone(), kept[0].clone(), acl(30, "digest", "a:b")])
    );
    assert_eq!(
        fixup(&[acl(5, "auth", "whatever"), Acl::world(1)], &ids),
        Ok(vec![
            acl(5, "digest", "u:h"),
            acl(5, "digest", "v:i"),
            Acl::world(1)
        ])
    );
    assert_eq!(
        fixup(&[acl(5, "auth", "")], &ids[..2]),
        Err(ErrorCode::InvalidAcl)
    );
    let refused = [
        ("world", "any"),
        ("world", ""),
        ("", ""),
        ("sasl", "u"),
        ("x509", "CN=a"),
        ("super", ""),
        ("digest", "a"),
        ("digest", "a:"),
        ("digest", ""),
        ("digest", ":"),
        ("digest", "a:b:c"),
        ("digest", "a::b"),
        ("ip", "10.1"),
        ("nosuch", "a"),
    ];
    for (scheme, text) in refused {
        assert_eq!(
            fixup(&[Acl::world(1), acl(1, scheme, text)], &ids),
            Err(ErrorCode::InvalidAcl),
            "{scheme}:{text}"
        );
    }
    for text in ["a:b", ":b", "a:b:", "a:b::"] {
        assert!(fixup(&[acl(1, "digest", text)], &[]).is_ok(), "{text}");
    }
    assert_eq!(fixup(&[], &ids), Err(ErrorCode::InvalidAcl));
    let null = RawAcls::decode(&mut crate::proto::jute::Reader::new(&[0xff; 4])).unwrap();
    assert_eq!(fixup_acl(&config(), &null, &ids), Err(ErrorCode::InvalidAcl));
}

#[test]
fn an_expansion_is_bounded() {
    let ids: Vec<Id> = (0..200)
        .map(|i| id("digest", &format!("user{i}:{}", "h".repeat(1000))))
        .collect();
    let list = |count| (0..count).map(|perms| acl(perms, "auth", "")).collect::<Vec<_>>();
    assert_eq!(fixup(&list(5), &ids).map(|list| list.len()), Ok(1000));
    assert_eq!(fixup(&list(60_000), &ids), Err(ErrorCode::MarshallingError));
}

#[test]
fn hashes_are_hidden_and_users_shown() {
    let list = [
        acl(1, "digest", "user:smGa=:x"),
        acl(1, "ip", "::1"),
        Acl::world(31),
    ];
    assert_eq!(
        masked(&list),
        [acl(1, "digest", "user:x"), acl(1, "ip", "::1"), Acl::world(31)]
    );
    assert_eq!(user_of(&id("digest", "user:hash")), "user");
    assert_eq!(user_of(&id("ip", "0:0:0:0:0:0:0:1")), "0:0:0:0:0:0:0:1");
    assert_eq!(user_of(&id("super", "x")), "");
}

#[test]
fn a_null_that_the_reference_comes_to_is_undecodable() {
    let raw = |entries: &[(i32, Option<&str>, Option<&str>)]| {
        let mut out = Vec::new();
        out.put_count(entries.len());
        for (perms, scheme, id) in entries {
            out.put_int(*perms);
            out.put_buffer(scheme.map(str::as_bytes));
            out.put_buffer(id.map(str::as_bytes));
        }
        out
    };
    let table = [
        (vec![(1, Some("digest"), None)], ErrorCode::MarshallingError),
        (vec![(1, Some("world"), None)], ErrorCode::MarshallingError),
        (vec![(1, Some("nosuch"), None)], ErrorCode::InvalidAcl),
        (vec![(1, None, Some("anyone"))], ErrorCode::InvalidAcl),
        (
            vec![(1, Some("ip"), Some("::bad")), (1, None, Some("x"))],
            ErrorCode::MarshallingError,
        ),
        (
            vec![(1, Some("digest"), Some("::")), (1, Some("digest"), None)],
            ErrorCode::MarshallingError,
        ),
        (
            vec![(1, Some("digest"), Some("::")), (2, Some("digest"), None)],
            ErrorCode::InvalidAcl,
        ),
    ];
    for (entries, expected) in table {
        let bytes = raw(&entries);
        let acl = RawAcls::decode(&mut Reader::new(&bytes)).unwrap();
        assert_eq!(fixup_acl(&config(), &acl, &[]), Err(expected), "{entries:?}");
    }
}
