//! Each check finds what it is there for, and nothing in a history that is right.

use super::model::jute::Writer;
use super::model::{Checker, Opened, Options, code, op};

/// Tells a history. Sessions 1 and 2 are opened by zxids 1 and 2, on connections 1 and 2 of servers 1 and 2.
struct Story {
    checker: Checker,
    at: u64,
}

fn record(fill: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::new();
    fill(&mut writer);
    writer.done()
}

fn write_open_acl(writer: &mut Writer) {
    writer.int(1).int(31).text("world").text("anyone");
}

fn create_request(path: &str, flags: i32) -> Vec<u8> {
    record(|writer| {
        write_open_acl(writer.text(path).text("d"));
        writer.int(flags);
    })
}

fn create_record(path: &str, ephemeral: bool, parent_cversion: i32) -> Vec<u8> {
    record(|writer| {
        write_open_acl(writer.text(path).text("d"));
        writer.boolean(ephemeral).int(parent_cversion);
    })
}

fn text(text: &str) -> Vec<u8> {
    record(|writer| {
        writer.text(text);
    })
}

fn text_and(text: &str, number: i32) -> Vec<u8> {
    record(|writer| {
        writer.text(text).int(number);
    })
}

fn watched(path: &str) -> Vec<u8> {
    record(|writer| {
        writer.text(path).boolean(true);
    })
}

impl Story {
    fn new(options: Options) -> Story {
        let mut story = Story {
            checker: Checker::new(options),
            at: 0,
        };
        for session in 1..=2 {
            story.connect(
                u64::try_from(session).unwrap(),
                0,
                u64::try_from(session).unwrap(),
                0,
            );
            story.log(session, 0, session, op::CREATE_SESSION, &4000_i32.to_be_bytes());
            story.connected(u64::try_from(session).unwrap(), session);
        }
        story
    }

    fn now(&mut self) -> u64 {
        self.at += 1;
        self.at
    }

    fn connect(&mut self, conn: u64, session: i64, server: u64, zxid: i64) {
        let frame = record(|writer| {
            writer.int(0).long(zxid).int(4000).long(session);
            writer.buffer(Some(&[7; 16])).boolean(false);
        });
        let at = self.now();
        self.checker.opened(
            conn,
            Opened {
                server,
                address: "127.0.0.1",
                at,
                frame: &frame,
            },
        );
    }

    fn connected(&mut self, conn: u64, session: i64) {
        let frame = record(|writer| {
            writer
                .int(0)
                .int(if session == 0 { 0 } else { 4000 })
                .long(session);
            writer.buffer(Some(&[7; 16])).boolean(false);
        });
        let at = self.now();
        self.checker.received(conn, at, &frame);
    }

    fn ask(&mut self, conn: u64, xid: i32, opcode: i32, body: &[u8]) {
        let frame = record(|writer| {
            writer.int(xid).int(opcode).raw(body);
        });
        let at = self.now();
        self.checker.request(conn, at, &frame);
    }

    fn log(&mut self, session: i64, cxid: i32, zxid: i64, opcode: i32, record_bytes: &[u8]) {
        self.checker.entry(&record(|writer| {
            writer
                .long(session)
                .int(cxid)
                .long(zxid)
                .long(zxid * 10)
                .int(opcode);
            writer.raw(record_bytes);
        }));
    }

    fn answer(&mut self, conn: u64, xid: i32, zxid: i64, error: i32, body: &[u8]) {
        let frame = record(|writer| {
            writer.int(xid).long(zxid).int(error).raw(body);
        });
        let at = self.now();
        self.checker.received(conn, at, &frame);
    }

    fn event(&mut self, conn: u64, zxid: i64, event: i32, path: &str) {
        let body = record(|writer| {
            writer.int(event).int(3).text(path);
        });
        self.answer(conn, -1, zxid, 0, &body);
    }

    /// Creates a node at the top and is told so.
    fn create(&mut self, conn: u64, xid: i32, zxid: i64, path: &str, cversion: i32) {
        self.ask(conn, xid, op::CREATE, &create_request(path, 0));
        let session = i64::try_from(conn).unwrap();
        self.log(
            session,
            xid,
            zxid,
            op::CREATE,
            &create_record(path, false, cversion),
        );
        self.answer(conn, xid, zxid, 0, &text(path));
    }

    /// Ends the story, which breaks these and no others.
    fn breaks(mut self, expected: &[&str]) {
        self.checker.finish();
        let mut found: Vec<&str> = self
            .checker
            .violations()
            .iter()
            .map(|found| found.invariant)
            .collect();
        found.sort_unstable();
        found.dedup();
        assert_eq!(found, expected, "{:#?}", self.checker.violations());
    }
}

fn told(tell: impl FnOnce(&mut Story)) -> Story {
    let mut story = Story::new(Options::default());
    tell(&mut story);
    story
}

#[test]
fn acknowledged_writes_are_in_the_log_once() {
    told(|story| story.create(1, 1, 3, "/a", 1)).breaks(&[]);
    told(|story| {
        story.ask(1, 1, op::CREATE, &create_request("/a", 0));
        story.answer(1, 1, 2, 0, &text("/a"));
    })
    .breaks(&["I5"]);
    told(|story| {
        story.create(1, 1, 3, "/a", 1);
        story.log(1, 1, 4, op::CREATE, &create_record("/a", false, 2));
    })
    .breaks(&["I21", "I5"]);
    told(|story| story.log(1, 9, 3, op::CREATE, &create_record("/a", false, 1))).breaks(&["I5"]);
}

#[test]
fn real_time_orders_writes() {
    let tell = |first: i64, second: i64| {
        told(|story| {
            story.ask(1, 1, op::DELETE, &text_and("/a", -1));
            story.at = 20;
            story.ask(2, 1, op::DELETE, &text_and("/b", -1));
            let mut entries = [(1, first), (2, second)];
            entries.sort_by_key(|(_, zxid)| *zxid);
            for (session, zxid) in entries {
                story.log(session, 1, zxid, op::ERROR, &code::NO_NODE.to_be_bytes());
            }
            story.at = 10;
            story.answer(1, 1, first, code::NO_NODE, &[]);
            story.at = 30;
            story.answer(2, 1, second, code::NO_NODE, &[]);
        })
    };
    tell(3, 4).breaks(&[]);
    tell(4, 3).breaks(&["I8"]);
}

#[test]
fn reads_show_the_state_at_their_zxid() {
    let tell = |options: Options, error: i32| {
        let mut story = Story::new(options);
        story.ask(2, 1, op::EXISTS, &text_and("/a", 0));
        story.create(1, 1, 3, "/a", 1);
        story.answer(2, 1, 3, error, &[]);
        story.ask(2, 2, op::PING, &[]);
        story.answer(2, -2, 3, 0, &[]);
        story
    };
    tell(Options::default(), code::NO_NODE).breaks(&["I9"]);
    tell(Options::default(), code::NO_AUTH).breaks(&["I22"]);
    let tell_late = |exact_reads: bool, next: i64| {
        let mut story = Story::new(Options {
            exact_reads,
            ..Options::default()
        });
        story.create(1, 1, 3, "/a", 1);
        story.create(1, 2, 4, "/b", 2);
        story.ask(2, 1, op::GET_CHILDREN, &text_and("/", 0));
        let children = record(|writer| {
            writer.texts(["b", "a", "zookeeper"].iter());
        });
        story.answer(2, 1, 3, 0, &children);
        story.ask(2, 2, op::PING, &[]);
        story.answer(2, -2, next, 0, &[]);
        story
    };
    tell_late(true, 4).breaks(&["I9"]);
    tell_late(false, 4).breaks(&[]);
    tell_late(false, 3).breaks(&["I9"]);
}

#[test]
fn replies_are_in_order_and_never_go_back() {
    let tell = |first: (i32, i64), second: (i32, i64)| {
        told(|story| {
            story.ask(1, 1, op::EXISTS, &text_and("/a", 0));
            story.ask(1, 2, op::EXISTS, &text_and("/a", 0));
            for (xid, zxid) in [first, second] {
                story.answer(1, xid, zxid, code::NO_NODE, &[]);
            }
        })
    };
    tell((1, 1), (2, 2)).breaks(&[]);
    tell((2, 1), (1, 2)).breaks(&["I11"]);
    tell((1, 2), (2, 1)).breaks(&["I10"]);
    told(|story| {
        story.connect(3, 1, 2, 2);
        story.connected(3, 1);
        story.ask(3, 1, op::PING, &[]);
        story.answer(3, -2, 1, 0, &[]);
    })
    .breaks(&["I10"]);
    told(|story| {
        story.ask(1, 1, op::PING, &[]);
        story.answer(1, -2, 9, 0, &[]);
    })
    .breaks(&["I23"]);
}

/// Connection 2 watches `/a`, connection 1 creates it with zxid 3 and removes it with zxid 4.
fn watching(events: &[(i64, i32, &str)]) -> Story {
    told(|story| {
        story.ask(2, 1, op::EXISTS, &watched("/a"));
        story.answer(2, 1, 2, code::NO_NODE, &[]);
        story.create(1, 1, 3, "/a", 1);
        story.ask(1, 2, op::DELETE, &text_and("/a", -1));
        story.log(1, 2, 4, op::DELETE, &text("/a"));
        story.answer(1, 2, 4, 0, &[]);
        for (zxid, event, path) in events {
            story.event(2, *zxid, *event, path);
        }
        story.ask(2, 2, op::PING, &[]);
        story.answer(2, -2, 4, 0, &[]);
    })
}

#[test]
fn watches_fire_once_and_in_time() {
    watching(&[(3, 1, "/a")]).breaks(&[]);
    watching(&[]).breaks(&["I13"]);
    watching(&[(4, 2, "/a")]).breaks(&["I13"]);
    watching(&[(3, 1, "/a"), (4, 2, "/a")]).breaks(&["I13"]);
    watching(&[(3, 1, "/b")]).breaks(&["I13"]);
}

#[test]
fn set_watches_makes_up_for_what_was_missed() {
    let tell = |events: &[(i32, &str)]| {
        told(|story| {
            story.create(1, 1, 3, "/a", 1);
            story.connect(3, 2, 1, 2);
            story.connected(3, 2);
            let lists = record(|writer| {
                writer.long(2).texts(["/a", "/gone"].iter());
                writer.texts([""; 0].iter()).texts(["/a"].iter());
            });
            story.ask(3, 1, op::SET_WATCHES, &lists);
            for (event, path) in events {
                story.event(3, -1, *event, path);
            }
            story.answer(3, 1, 3, 0, &[]);
        })
    };
    tell(&[(3, "/a"), (2, "/gone"), (4, "/a")]).breaks(&[]);
    tell(&[(3, "/a"), (2, "/gone")]).breaks(&["I13"]);
    tell(&[]).breaks(&["I13"]);
}

/// Connection 2 adds a watch, connection 1 creates `/a` with zxid 3 and `/a/b` with zxid 4.
fn watching_long(path: &str, mode: i32, events: &[(i64, i32, &str)]) -> Story {
    told(|story| {
        story.ask(2, 1, op::ADD_WATCH, &text_and(path, mode));
        story.answer(2, 1, 2, 0, &[0; 4]);
        story.create(1, 1, 3, "/a", 1);
        story.create(1, 2, 4, "/a/b", 1);
        for (zxid, event, path) in events {
            story.event(2, *zxid, *event, path);
        }
        story.ask(2, 2, op::PING, &[]);
        story.answer(2, -2, 4, 0, &[]);
    })
}

#[test]
fn persistent_watches_miss_nothing_and_see_no_more_than_is_theirs() {
    watching_long("/a", 0, &[(3, 1, "/a"), (4, 4, "/a")]).breaks(&[]);
    watching_long("/a", 0, &[(3, 1, "/a")]).breaks(&["I13"]);
    watching_long("/a", 0, &[(3, 1, "/a"), (4, 1, "/a/b"), (4, 4, "/a")]).breaks(&["I13"]);
    for path in ["/", "/a"] {
        watching_long(path, 1, &[(3, 1, "/a"), (4, 1, "/a/b")]).breaks(&[]);
        watching_long(path, 1, &[(3, 1, "/a")]).breaks(&["I13"]);
        watching_long(path, 1, &[(3, 1, "/a"), (4, 1, "/a/b"), (4, 4, "/a")]).breaks(&["I13"]);
    }
    watching_long("/b", 1, &[]).breaks(&[]);
}

#[test]
fn watches_are_there_until_they_are_removed_or_used_up() {
    let tell = |asks: &[(i32, i32, i32)]| {
        told(|story| {
            story.ask(2, 1, op::EXISTS, &watched("/a"));
            story.answer(2, 1, 2, code::NO_NODE, &[]);
            story.ask(2, 2, op::ADD_WATCH, &text_and("/a", 0));
            story.answer(2, 2, 2, 0, &[0; 4]);
            for (xid, (opcode, kind, error)) in (3..).zip(asks) {
                story.ask(2, xid, *opcode, &text_and("/a", *kind));
                story.answer(2, xid, 2, *error, &[]);
            }
        })
    };
    let (check, remove) = (op::CHECK_WATCHES, op::REMOVE_WATCHES);
    let none = code::NO_WATCHER;
    tell(&[
        (check, 2, 0),
        (check, 4, 0),
        (check, 3, 0),
        (check, 1, none),
        (check, 5, none),
    ])
    .breaks(&[]);
    tell(&[
        (remove, 2, 0),
        (check, 2, none),
        (check, 4, 0),
        (remove, 3, 0),
        (remove, 4, none),
    ])
    .breaks(&[]);
    tell(&[(check, 1, 0)]).breaks(&["I13"]);
    tell(&[(check, 4, none)]).breaks(&["I13"]);
    tell(&[(remove, 4, 0), (check, 4, 0)]).breaks(&["I13"]);
    tell(&[(check, 6, none)]).breaks(&["I13"]);
    tell(&[(op::ADD_WATCH, 2, code::MARSHALLING)]).breaks(&[]);
}

#[test]
fn ephemeral_nodes_go_with_their_session() {
    let tell = |removed: &[&str]| {
        told(|story| {
            story.ask(1, 1, op::CREATE, &create_request("/e", 1));
            story.log(1, 1, 3, op::CREATE, &create_record("/e", true, 1));
            story.answer(1, 1, 3, 0, &text("/e"));
            let paths = record(|writer| {
                writer.texts(removed.iter());
            });
            story.log(1, 0, 4, op::CLOSE_SESSION, &paths);
        })
    };
    tell(&["/e"]).breaks(&[]);
    tell(&[]).breaks(&["I14", "I17"]);
    told(|story| {
        story.log(1, 0, 3, op::CLOSE_SESSION, &0_i32.to_be_bytes());
        story.ask(1, 1, op::CREATE, &create_request("/e", 1));
        story.log(1, 1, 4, op::CREATE, &create_record("/e", true, 1));
    })
    .breaks(&["I14", "I17"]);
}

#[test]
fn one_server_serves_a_session() {
    let tell = |zxid: i64, came_back: bool| {
        told(|story| {
            story.ask(1, 1, op::DELETE, &text_and("/a", -1));
            story.connect(3, 1, 2, 2);
            story.connected(3, 1);
            story.ask(3, 2, op::CREATE, &create_request("/b", 0));
            story.log(1, 2, 3, op::CREATE, &create_record("/b", false, 1));
            if came_back {
                story.connect(4, 1, 1, 2);
                story.connected(4, 1);
            }
            story.ask(1, 3, op::CREATE, &create_request("/c", 0));
            story.log(1, 3, zxid, op::CREATE, &create_record("/c", false, 2));
        })
    };
    tell(4, false).breaks(&["I15"]);
    tell(4, true).breaks(&[]);
    tell(1 << 32 | 1, false).breaks(&[]);
    told(|story| {
        story.connect(3, 1, 2, 2);
        story.connected(3, 0);
    })
    .breaks(&["I15"]);
    told(|story| {
        story.connect(3, 1, 2, 2);
        story.connected(3, 0);
        story.log(1, 0, 3, op::CLOSE_SESSION, &0_i32.to_be_bytes());
    })
    .breaks(&[]);
}

#[test]
fn a_multi_that_comes_too_late_is_refused_as_a_whole() {
    let body = record(|writer| {
        writer
            .int(op::DELETE)
            .boolean(false)
            .int(-1)
            .raw(&text_and("/a", -1));
        writer.int(-1).boolean(true).int(-1);
    });
    let refused = record(|writer| {
        let error = code::SESSION_EXPIRED.to_be_bytes();
        writer.int(1).int(op::ERROR).buffer(Some(&error));
    });
    let tell = |is_closed: bool| {
        told(|story| {
            story.ask(1, 1, op::MULTI, &body);
            story.connect(3, 1, 2, 2);
            story.connected(3, 1);
            story.ask(3, 2, op::CREATE, &create_request("/b", 0));
            story.log(1, 2, 3, op::CREATE, &create_record("/b", false, 1));
            if is_closed {
                story.log(1, 0, 4, op::CLOSE_SESSION, &0_i32.to_be_bytes());
            }
            story.log(1, 1, 5, op::MULTI, &refused);
        })
    };
    tell(true).breaks(&[]);
    tell(false).breaks(&["I15"]);
}

#[test]
fn a_reconfiguration_is_answered_as_it_is_logged() {
    let tell = |logged: &str, error: i32| {
        told(|story| {
            story.ask(1, 1, op::RECONFIG, &[]);
            let logged = record(|writer| {
                writer
                    .text("/zookeeper/config")
                    .buffer(Some(logged.as_bytes()))
                    .int(-1);
            });
            story.log(1, 1, 3, op::RECONFIG, &logged);
            story.answer(1, 1, 3, error, &text("new"));
        })
    };
    tell("new", 0).breaks(&[]);
    tell("old", 0).breaks(&["I17"]);
    tell("new", -13).breaks(&["I5"]);
}

#[test]
fn numbers_of_sequential_nodes_rise() {
    let tell = |second: &str| {
        told(|story| {
            story.ask(1, 1, op::CREATE, &create_request("/s-", 2));
            story.log(1, 1, 3, op::CREATE, &create_record("/s-0000000000", false, 1));
            story.ask(1, 2, op::DELETE, &text_and("/s-0000000000", -1));
            story.log(1, 2, 4, op::DELETE, &text("/s-0000000000"));
            story.ask(1, 3, op::CREATE, &create_request("/s-", 2));
            story.log(1, 3, 5, op::CREATE, &create_record(second, false, 2));
        })
    };
    tell("/s-0000000001").breaks(&[]);
    tell("/s-0000000000").breaks(&["I16", "I17"]);
}

#[test]
fn a_multi_is_all_or_none() {
    let body = record(|writer| {
        writer
            .int(op::CREATE)
            .boolean(false)
            .int(-1)
            .raw(&create_request("/a", 0));
        writer
            .int(op::DELETE)
            .boolean(false)
            .int(-1)
            .raw(&text_and("/gone", -1));
        writer.int(-1).boolean(true).int(-1);
    });
    let create = create_record("/a", false, 1);
    let tell = |second: i32, record_bytes: &[u8]| {
        told(|story| {
            story.ask(1, 1, op::MULTI, &body);
            let txns = record(|writer| {
                writer.int(2).int(op::CREATE).buffer(Some(&create));
                writer.int(second).buffer(Some(record_bytes));
            });
            story.log(1, 1, 3, op::MULTI, &txns);
        })
    };
    tell(op::ERROR, &code::NO_NODE.to_be_bytes()).breaks(&[]);
    tell(op::ERROR, &code::NO_AUTH.to_be_bytes()).breaks(&["I17"]);
    tell(op::CHECK, &text_and("/a", 1)).breaks(&["I17"]);
}

#[test]
fn permissions_are_not_bypassed() {
    told(|story| {
        let acl = record(|writer| {
            writer
                .text("/a")
                .int(1)
                .int(1)
                .text("world")
                .text("anyone")
                .int(-1);
        });
        story.create(1, 1, 3, "/a", 1);
        story.ask(1, 2, op::SET_ACL, &acl);
        let acl = [&acl[..acl.len() - 4], &[0, 0, 0, 1]].concat();
        story.log(1, 2, 4, op::SET_ACL, &acl);
        story.ask(2, 1, op::CREATE, &create_request("/a/b", 0));
        story.log(2, 1, 5, op::CREATE, &create_record("/a/b", false, 1));
    })
    .breaks(&["I22"]);
}

#[test]
fn containers_go_when_they_are_due() {
    told(|story| {
        story.create(1, 1, 3, "/a", 1);
        story.log(0, 0, 4, op::DELETE_CONTAINER, &text("/a"));
    })
    .breaks(&["I25"]);
}

#[test]
fn sync_shows_what_anyone_has_seen() {
    let tell = |zxid: i64| {
        let mut story = Story::new(Options {
            quorum_sync: true,
            ..Options::default()
        });
        story.create(1, 1, 3, "/a", 1);
        story.ask(2, 1, op::SYNC, &text("/"));
        story.answer(2, 1, zxid, 0, &text("/"));
        story
    };
    tell(3).breaks(&[]);
    tell(2).breaks(&["sync"]);
}
