//! Random requests, of which most are legal and many meet each other.

use zkserver::prng::Prng;

use super::model::jute::Writer;
use super::model::op;

const PATHS: &[&str] = &[
    "/a", "/a", "/b", "/c", "/a/x", "/a/y", "/b/x", "/b/y", "/a/x/k", "/b/x/k", "/c/x", "/c/y", "/t", "/t/x",
];
const ODD_PATHS: &[&str] = &[
    "",
    "a",
    "/",
    "/a/",
    "/a//x",
    "/a/./x",
    "/zookeeper",
    "/zookeeper/quota",
    "/a/\u{1}",
];
const ACLS: &[&[(i32, &str, &str)]] = &[
    &[(31, "world", "anyone")],
    &[(31, "auth", "")],
    &[(3, "world", "anyone"), (31, "auth", "x")],
    &[(1, "world", "anyone")],
    &[
        (15, "world", "anyone"),
        (16, "digest", "one:x"),
        (16, "ip", "10.0.0.1"),
    ],
    &[(15, "world", "anyone"), (31, "auth", "")],
    &[(31, "digest", "one:tSfQCAlOTwGlVxLPVW7B9z+TwLo=")],
    &[(16, "world", "anyone")],
    &[(29, "ip", "127.0.0.0/8")],
    &[(31, "ip", "10.0.0.1")],
    &[(30, "world", "anyone"), (30, "world", "anyone")],
    &[],
    &[(31, "world", "someone")],
    &[(31, "digest", "a:b:c")],
    &[(31, "none", "x")],
];
const USERS: &[&str] = &["one:1", "two:2", "three"];

/// Makes requests.
pub struct Maker {
    prng: Prng,
    made: u64,
}

impl Maker {
    pub fn new(seed: u64) -> Maker {
        let prng = Prng::new(seed);
        Maker { prng, made: 0 }
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.prng.below(bound)
    }
}

fn pick<'a, T: ?Sized>(maker: &mut Maker, among: &[&'a T]) -> &'a T {
    among[usize::try_from(maker.prng.below(among.len() as u64)).unwrap()]
}

/// The names at the top change with time: what nobody may touch any more is left behind.
fn path(maker: &mut Maker) -> String {
    if maker.prng.below(25) == 0 {
        return pick(maker, ODD_PATHS).to_owned();
    }
    let path = pick(maker, PATHS);
    let (top, rest) = path.split_at(2);
    format!("{top}{}{rest}", maker.made / 500)
}

fn version(maker: &mut Maker) -> i32 {
    [-1, -1, -1, 0, 1, 2][usize::try_from(maker.prng.below(6)).unwrap()]
}

fn write_acls(maker: &mut Maker, writer: &mut Writer) {
    let acls = if maker.prng.below(10) < 7 {
        ACLS[0]
    } else {
        pick(maker, ACLS)
    };
    writer.count(acls.len());
    for (perms, scheme, id) in acls {
        writer.int(*perms).text(scheme).text(id);
    }
}

fn write_data(maker: &mut Maker, writer: &mut Writer) {
    match maker.prng.below(8) {
        0 => writer.buffer(None),
        1 => writer.buffer(Some(b"")),
        _ => writer.buffer(Some(&maker.prng.next_u64().to_be_bytes())),
    };
}

fn create(maker: &mut Maker, opcode: i32, writer: &mut Writer) {
    writer.text(&path(maker));
    write_data(maker, writer);
    write_acls(maker, writer);
    let unknown = if maker.prng.below(2) == 0 { 5 } else { 9 };
    // A container with the flag of ephemeral nodes is deleted by Apache if its session closes at once.
    let flags: &[i32] = match opcode {
        op::CREATE_CONTAINER => &[0, 2, 4, 4, 4, 4, unknown],
        op::CREATE_TTL => &[5, 5, 5, 6, 6, 0, 4, unknown],
        _ => &[0, 0, 0, 0, 1, 2, 3, 4, unknown],
    };
    writer.int(*pick(maker, &flags.iter().collect::<Vec<_>>()));
    if opcode == op::CREATE_TTL {
        writer.long(1 + i64::try_from(maker.prng.below(1000)).unwrap());
    }
}

fn versioned(maker: &mut Maker, opcode: i32, writer: &mut Writer) {
    writer.text(&path(maker));
    match opcode {
        op::SET_DATA => write_data(maker, writer),
        op::SET_ACL => write_acls(maker, writer),
        _ => {}
    }
    writer.int(version(maker));
}

fn multi(maker: &mut Maker, writer: &mut Writer) {
    for _ in 0..maker.prng.below(5) {
        let opcode = [
            op::CREATE,
            op::CREATE2,
            op::DELETE,
            op::SET_DATA,
            op::CHECK,
            op::CREATE_CONTAINER,
            op::CREATE_TTL,
        ][usize::try_from(maker.prng.below(7)).unwrap()];
        writer.int(opcode).boolean(false).int(-1);
        match opcode {
            op::CREATE | op::CREATE2 | op::CREATE_CONTAINER | op::CREATE_TTL => create(maker, opcode, writer),
            _ => versioned(maker, opcode, writer),
        }
    }
    writer.int(-1).boolean(true).int(-1);
}

fn multi_read(maker: &mut Maker, writer: &mut Writer) {
    for _ in 0..maker.prng.below(4) {
        let opcode = pick(maker, &[&op::GET_DATA, &op::GET_CHILDREN]);
        writer.int(*opcode).boolean(false).int(-1);
        writer.text(&path(maker)).boolean(false);
    }
    writer.int(-1).boolean(true).int(-1);
}

/// setWatches with what the client has seen last.
pub fn set_watches(maker: &mut Maker, since: i64) -> (i32, Vec<u8>) {
    let mut writer = Writer::new();
    writer.long(since);
    let opcode = if maker.prng.below(2) == 0 {
        op::SET_WATCHES
    } else {
        op::SET_WATCHES2
    };
    for _ in 0..if opcode == op::SET_WATCHES { 3 } else { 5 } {
        let paths: Vec<String> = (0..maker.prng.below(4)).map(|_| path(maker)).collect();
        writer.texts(paths.iter());
    }
    (opcode, writer.done())
}

/// Any request but the end of the session.
pub fn request(maker: &mut Maker) -> (i32, Vec<u8>) {
    maker.made += 1;
    let mut writer = Writer::new();
    let opcode = match maker.prng.below(40) {
        0..5 => op::CREATE,
        5..7 => op::CREATE2,
        7 => *pick(maker, &[&op::CREATE_CONTAINER, &op::CREATE_TTL]),
        8..13 => op::DELETE,
        13..17 => op::SET_DATA,
        17..19 => op::SET_ACL,
        19..22 => op::MULTI,
        22..25 => op::EXISTS,
        25..28 => op::GET_DATA,
        28..30 => op::GET_ACL,
        30 => op::GET_CHILDREN,
        31..33 => op::GET_CHILDREN2,
        33 => op::MULTI_READ,
        34 => op::GET_EPHEMERALS,
        35 => op::GET_ALL_CHILDREN_NUMBER,
        36 => op::SYNC,
        37 => op::ADD_WATCH,
        38 => [op::REMOVE_WATCHES, op::CHECK_WATCHES][usize::try_from(maker.prng.below(2)).unwrap()],
        _ => [op::AUTH, op::PING, op::CREATE_TTL][usize::try_from(maker.prng.below(3)).unwrap()],
    };
    match opcode {
        op::CREATE | op::CREATE2 | op::CREATE_CONTAINER | op::CREATE_TTL => {
            create(maker, opcode, &mut writer);
        }
        op::DELETE | op::SET_DATA | op::SET_ACL => versioned(maker, opcode, &mut writer),
        op::MULTI => multi(maker, &mut writer),
        op::MULTI_READ => multi_read(maker, &mut writer),
        op::EXISTS | op::GET_DATA | op::GET_CHILDREN | op::GET_CHILDREN2 => {
            writer.text(&path(maker)).boolean(maker.prng.below(2) == 0);
        }
        op::GET_EPHEMERALS => {
            writer.text(pick(maker, &["/", "/a", "", "/b/x"]));
        }
        op::ADD_WATCH => {
            writer
                .text(&path(maker))
                .int(i32::try_from(maker.prng.below(2)).unwrap());
        }
        op::REMOVE_WATCHES | op::CHECK_WATCHES => {
            writer
                .text(&path(maker))
                .int(1 + i32::try_from(maker.prng.below(5)).unwrap());
        }
        op::AUTH => {
            writer
                .int(0)
                .text("digest")
                .buffer(Some(pick(maker, USERS).as_bytes()));
        }
        op::PING => {}
        _ => {
            writer.text(&path(maker));
        }
    }
    (opcode, writer.done())
}
