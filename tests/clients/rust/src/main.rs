//! Every operation in scope of the crate `zookeeper-client`, against a server.
//!
//!     rust-client HOST:PORT [CASE...]
//!     rust-client HOST:PORT,... reconfig

mod reconfig;

use std::error::Error as StdError;
use std::fmt::Debug;
use std::future::Future;
use std::io::BufRead;
use std::time::Duration;

use zookeeper_client::*;

type Outcome = std::result::Result<(), Box<dyn StdError>>;

const OPEN: CreateOptions<'static> = CreateMode::Persistent.with_acls(Acls::anyone_all());
const EPHEMERAL: CreateOptions<'static> = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
const SEQUENTIAL: CreateOptions<'static> = CreateMode::PersistentSequential.with_acls(Acls::anyone_all());
const EPHEMERAL_SEQUENTIAL: CreateOptions<'static> =
    CreateMode::EphemeralSequential.with_acls(Acls::anyone_all());

/// What each case needs: the address, and its own node in a connected client.
struct Bench {
    address: String,
    client: Client,
    top: String,
}

impl Bench {
    async fn connect(&self) -> Client {
        connector()
            .connect(&self.address)
            .await
            .expect("the server is there")
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.top)
    }
}

fn connector() -> Connector {
    Client::connector().with_session_timeout(Duration::from_secs(10))
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().expect("HOST:PORT");
    let wanted: Vec<String> = arguments.collect();
    if wanted == ["reconfig"] {
        reconfig::run(&address).await;
    }
    let mut runner = Runner {
        address,
        wanted,
        failed: false,
    };
    println!(
        "plan {}",
        if runner.wanted.is_empty() {
            14
        } else {
            runner.wanted.len()
        }
    );
    runner.case("create_modes", create_modes).await;
    runner.case("data_and_stat", data_and_stat).await;
    runner.case("deleting", deleting).await;
    runner.case("children_and_counts", children_and_counts).await;
    runner.case("acls", acls).await;
    runner.case("authentication", authentication).await;
    runner.case("watches", watches).await;
    runner.case("persistent_watches", persistent_watches).await;
    runner.case("transactions", transactions).await;
    runner.case("multi_reads", multi_reads).await;
    runner.case("pipeline", pipeline).await;
    runner.case("sync_config_chroot", sync_config_chroot).await;
    runner.case("locks", locks).await;
    runner.case("sessions_and_restart", sessions_and_restart).await;
    std::process::exit(i32::from(runner.failed));
}

struct Runner {
    address: String,
    wanted: Vec<String>,
    failed: bool,
}

impl Runner {
    async fn case<F: AsyncFnOnce(&Bench) -> Outcome>(&mut self, name: &str, body: F) {
        if !self.wanted.is_empty() && !self.wanted.iter().any(|wanted| wanted == name) {
            return;
        }
        let address = self.address.clone();
        let whole = async move {
            let client = connector().connect(&address).await?;
            let top = format!("/rust-{name}");
            client.create(&top, b"top", &OPEN).await?;
            body(&Bench { address, client, top }).await
        };
        match tokio::time::timeout(Duration::from_secs(60), whole).await {
            Ok(Ok(())) => println!("ok {name}"),
            Ok(Err(error)) => self.fail(name, &error.to_string()),
            Err(_) => self.fail(name, "no end after 60 s"),
        }
    }

    fn fail(&mut self, name: &str, why: &str) {
        self.failed = true;
        println!("not ok {name}: {}", why.replace('\n', " | "));
    }
}

#[track_caller]
fn equal<T: PartialEq<U> + Debug, U: Debug>(found: T, expected: U) -> Outcome {
    if found == expected {
        return Ok(());
    }
    let line = std::panic::Location::caller().line();
    Err(format!("line {line}: {found:?}, not {expected:?}").into())
}

#[track_caller]
fn fails<T: Debug>(result: std::result::Result<T, Error>, expected: Error) -> Outcome {
    let line = std::panic::Location::caller().line();
    match result {
        Err(error) if error == expected => Ok(()),
        other => Err(format!("line {line}: {other:?}, not {expected:?}").into()),
    }
}

/// Waits for something of which only its coming is certain; the limit ends a case that fails anyway.
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> std::result::Result<T, Box<dyn StdError>> {
    let limit = Duration::from_secs(30);
    tokio::time::timeout(limit, future)
        .await
        .map_err(|_| format!("not within {limit:?}: {what}").into())
}

async fn create_modes(bench: &Bench) -> Outcome {
    let other = bench.connect().await;
    let (stat, _) = other.create(&bench.path("p"), b"data", &OPEN).await?;
    equal((stat.version, stat.data_length, stat.ephemeral_owner), (0, 4, 0))?;
    let (stat, _) = other.create(&bench.path("e"), b"", &EPHEMERAL).await?;
    equal(stat.ephemeral_owner, other.session_id().0)?;
    let (stat, sequence) = other.create(&bench.path("s-"), b"", &SEQUENTIAL).await?;
    equal(sequence.into_i64(), 2)?;
    equal(stat.czxid, stat.pzxid)?;
    let (_, sequence) = other
        .create(&bench.path("es-"), b"", &EPHEMERAL_SEQUENTIAL)
        .await?;
    equal(sequence.to_string().as_str(), "0000000003")?;
    fails(
        other.create(&bench.path("p"), b"", &OPEN).await,
        Error::NodeExists,
    )?;
    fails(
        other.create(&bench.path("none/x"), b"", &OPEN).await,
        Error::NoNode,
    )?;
    fails(
        other.create(&bench.path("e/x"), b"", &OPEN).await,
        Error::NoChildrenForEphemerals,
    )?;
    other.mkdir(&bench.path("a/b/c"), &OPEN).await?;
    drop(other);
    // The dropped client closes its session, and with it go the ephemeral nodes.
    loop {
        let (children, _, watcher) = bench.client.get_and_watch_children(&bench.top).await?;
        if children.len() == 3 {
            break;
        }
        soon("the ephemeral nodes go", watcher.changed()).await?;
    }
    Ok(())
}

async fn data_and_stat(bench: &Bench) -> Outcome {
    let client = &bench.client;
    let (data, stat) = client.get_data(&bench.top).await?;
    equal((data.as_slice(), stat.version), (&b"top"[..], 0))?;
    let changed = client.set_data(&bench.top, b"second", Some(0)).await?;
    equal(
        (changed.version, changed.data_length, changed.czxid),
        (1, 6, stat.czxid),
    )?;
    equal(changed.mzxid > stat.mzxid, true)?;
    fails(client.set_data(&bench.top, b"", Some(0)).await, Error::BadVersion)?;
    equal(client.set_data(&bench.top, b"", None).await?.version, 2)?;
    fails(
        client.set_data(&bench.path("none"), b"", None).await,
        Error::NoNode,
    )?;
    fails(client.get_data(&bench.path("none")).await, Error::NoNode)?;
    equal(client.check_stat(&bench.path("none")).await?, None)?;
    let large: Vec<u8> = (0..1_000_000u32).map(|i| i as u8).collect();
    let stat = client.set_data(&bench.top, &large, None).await?;
    equal(client.check_stat(&bench.top).await?, Some(stat))?;
    equal(client.get_data(&bench.top).await?.0 == large, true)
}

async fn deleting(bench: &Bench) -> Outcome {
    let client = &bench.client;
    let path = bench.path("a");
    client.create(&path, b"", &OPEN).await?;
    client.create(&bench.path("a/b"), b"", &OPEN).await?;
    fails(client.delete(&path, None).await, Error::NotEmpty)?;
    fails(
        client.delete(&bench.path("a/b"), Some(1)).await,
        Error::BadVersion,
    )?;
    client.delete(&bench.path("a/b"), Some(0)).await?;
    client.delete(&path, None).await?;
    fails(client.delete(&path, None).await, Error::NoNode)?;
    let stat = client
        .check_stat(&bench.top)
        .await?
        .ok_or("the parent is there")?;
    equal((stat.cversion, stat.num_children), (2, 0))
}

async fn children_and_counts(bench: &Bench) -> Outcome {
    let client = &bench.client;
    for name in ["a", "b", "a/x", "a/y"] {
        client.create(&bench.path(name), b"", &OPEN).await?;
    }
    client.create(&bench.path("e"), b"", &EPHEMERAL).await?;
    let mut listed = client.list_children(&bench.top).await?;
    listed.sort();
    equal(listed, ["a", "b", "e"])?;
    let (mut children, stat) = client.get_children(&bench.top).await?;
    children.sort();
    equal((children.len(), stat.num_children, stat.cversion), (3, 3, 3))?;
    equal(client.count_descendants_number(&bench.top).await?, 5)?;
    equal(client.list_ephemerals(&bench.top).await?, [bench.path("e")])?;
    equal(client.list_ephemerals("/").await?, [bench.path("e")])?;
    fails(client.list_children(&bench.path("none")).await, Error::NoNode)?;
    fails(client.get_children(&bench.path("none")).await, Error::NoNode)?;
    fails(
        client.count_descendants_number(&bench.path("none")).await,
        Error::NoNode,
    )
}

async fn acls(bench: &Bench) -> Outcome {
    let client = &bench.client;
    let (list, stat) = client.get_acl(&bench.top).await?;
    equal(
        (list.as_slice(), stat.aversion),
        (&[Acl::new(Permission::ALL, AuthId::anyone())][..], 0),
    )?;
    let wanted = [
        Acl::new(
            Permission::READ | Permission::ADMIN,
            AuthId::new("ip", "127.0.0.1"),
        ),
        Acl::new(Permission::WRITE, AuthId::new("digest", "bob:hash")),
    ];
    equal(client.set_acl(&bench.top, &wanted, Some(0)).await?.aversion, 1)?;
    equal(client.get_acl(&bench.top).await?.0.as_slice(), &wanted[..])?;
    fails(
        client.set_acl(&bench.top, &wanted, Some(0)).await,
        Error::BadVersion,
    )?;
    fails(
        client
            .set_acl(
                &bench.top,
                &[Acl::new(Permission::ALL, AuthId::new("nosuch", "x"))],
                None,
            )
            .await,
        Error::InvalidAcl,
    )?;
    fails(client.set_data(&bench.top, b"", None).await, Error::NoAuth)?;
    fails(client.create(&bench.path("x"), b"", &OPEN).await, Error::NoAuth)?;
    client.get_data(&bench.top).await?;
    fails(client.get_acl(&bench.path("none")).await, Error::NoNode)
}

async fn authentication(bench: &Bench) -> Outcome {
    let owner = connector()
        .with_auth("digest", b"ann:pw")
        .connect(&bench.address)
        .await?;
    let users = owner.list_auth_users().await?;
    equal(users.contains(&AuthUser::new("digest", "ann")), true)?;
    equal(
        users
            .iter()
            .any(|user| user.scheme() == "ip" && user.user() == "127.0.0.1"),
        true,
    )?;
    let path = bench.path("mine");
    owner
        .create(
            &path,
            b"v",
            &CreateMode::Persistent.with_acls(Acls::creator_all()),
        )
        .await?;
    fails(bench.client.get_data(&path).await, Error::NoAuth)?;
    bench.client.auth("digest", b"ann:other").await?;
    fails(bench.client.get_data(&path).await, Error::NoAuth)?;
    bench.client.auth("digest", b"ann:pw").await?;
    equal(bench.client.get_data(&path).await?.0, b"v")?;
    let root = connector()
        .with_auth("digest", b"super:interop")
        .connect(&bench.address)
        .await?;
    root.set_data(&path, b"w", None).await?;
    let refused = bench.connect().await;
    fails(refused.auth("nosuch", b"x").await, Error::AuthFailed)
}

async fn watches(bench: &Bench) -> Outcome {
    let other = bench.connect().await;
    let path = bench.path("w");
    let (stat, watcher) = bench.client.check_and_watch_stat(&path).await?;
    equal(stat, None)?;
    let (created, _) = other.create(&path, b"", &OPEN).await?;
    let event = soon("creation", watcher.changed()).await?;
    equal(
        (event.event_type, event.path.as_str(), event.zxid),
        (EventType::NodeCreated, path.as_str(), created.czxid),
    )?;
    let (_, _, watcher) = bench.client.get_and_watch_data(&path).await?;
    let changed = other.set_data(&path, b"1", None).await?;
    let event = soon("change", watcher.changed()).await?;
    equal(
        (event.event_type, event.zxid),
        (EventType::NodeDataChanged, changed.mzxid),
    )?;
    let (_, watcher) = bench.client.list_and_watch_children(&path).await?;
    other.create(&bench.path("w/c"), b"", &OPEN).await?;
    equal(
        soon("child", watcher.changed()).await?.event_type,
        EventType::NodeChildrenChanged,
    )?;
    let (_, _, data) = bench.client.get_and_watch_data(&bench.path("w/c")).await?;
    let (_, _, child) = bench.client.get_and_watch_children(&bench.path("w/c")).await?;
    other.delete(&bench.path("w/c"), None).await?;
    equal(
        soon("deletion", data.changed()).await?.event_type,
        EventType::NodeDeleted,
    )?;
    equal(
        soon("deletion", child.changed()).await?.event_type,
        EventType::NodeDeleted,
    )
}

async fn persistent_watches(bench: &Bench) -> Outcome {
    let other = bench.connect().await;
    let path = bench.path("w");
    let child = bench.path("w/c");
    let mut flat = bench.client.watch(&path, AddWatchMode::Persistent).await?;
    let mut deep = bench
        .client
        .watch(&bench.top, AddWatchMode::PersistentRecursive)
        .await?;
    for round in 0..2 {
        other.create(&path, b"", &OPEN).await?;
        other.create(&child, b"", &OPEN).await?;
        other.set_data(&child, b"1", None).await?;
        other.delete(&child, None).await?;
        other.delete(&path, None).await?;
        for expected in [
            EventType::NodeCreated,
            EventType::NodeChildrenChanged,
            EventType::NodeChildrenChanged,
            EventType::NodeDeleted,
        ] {
            let event = soon("of the node", flat.changed()).await?;
            equal((round, event.event_type, event.path), (round, expected, path.clone()))?;
        }
        for (expected, at) in [
            (EventType::NodeCreated, &path),
            (EventType::NodeCreated, &child),
            (EventType::NodeDataChanged, &child),
            (EventType::NodeDeleted, &child),
            (EventType::NodeDeleted, &path),
        ] {
            let event = soon("of all below", deep.changed()).await?;
            equal((round, event.event_type, &event.path), (round, expected, at))?;
        }
    }
    // Which removes it from the server.
    drop(flat);
    other.create(&path, b"", &OPEN).await?;
    equal(
        soon("one is left", deep.changed()).await?.event_type,
        EventType::NodeCreated,
    )
}

async fn transactions(bench: &Bench) -> Outcome {
    let client = &bench.client;
    let mut writer = client.new_multi_writer();
    writer.add_check_version(&bench.top, 0)?;
    writer.add_create(&bench.path("a"), b"1", &OPEN)?;
    writer.add_create(&bench.path("s-"), b"", &EPHEMERAL_SEQUENTIAL)?;
    writer.add_set_data(&bench.path("a"), b"two", Some(0))?;
    writer.add_create(&bench.path("b"), b"", &OPEN)?;
    writer.add_delete(&bench.path("b"), Some(0))?;
    let results = writer.commit().await?;
    equal(results.len(), 6)?;
    equal(&results[0], &MultiWriteResult::Check)?;
    match (&results[1], &results[2], &results[3]) {
        (
            MultiWriteResult::Create { path: first, .. },
            MultiWriteResult::Create { path: second, .. },
            MultiWriteResult::SetData { stat },
        ) => {
            equal((first, second), (&bench.path("a"), &bench.path("s-0000000001")))?;
            equal((stat.version, stat.data_length), (1, 3))?;
        }
        other => return Err(format!("{other:?}").into()),
    }
    equal(&results[5], &MultiWriteResult::Delete)?;

    let mut writer = client.new_multi_writer();
    writer.add_create(&bench.path("c"), b"", &OPEN)?;
    writer.add_delete(&bench.path("none"), None)?;
    let failed = MultiWriteError::OperationFailed {
        index: 1,
        source: Error::NoNode,
    };
    equal(writer.commit().await, Err(failed))?;
    equal(client.check_stat(&bench.path("c")).await?, None)?;

    let mut writer = client.new_check_writer(&bench.top, Some(9))?;
    writer.add_create(&bench.path("d"), b"", &OPEN)?;
    equal(
        writer.commit().await,
        Err(CheckWriteError::CheckFailed {
            source: Error::BadVersion,
        }),
    )
}

async fn multi_reads(bench: &Bench) -> Outcome {
    bench.client.create(&bench.path("a"), b"one", &OPEN).await?;
    let mut reader = bench.client.new_multi_reader();
    reader.add_get_data(&bench.path("a"))?;
    reader.add_get_children(&bench.top)?;
    reader.add_get_data(&bench.path("none"))?;
    reader.add_get_children(&bench.path("none"))?;
    let results = reader.commit().await?;
    match results.as_slice() {
        [
            MultiReadResult::Data { data, stat },
            MultiReadResult::Children { children },
            MultiReadResult::Error { err: first },
            MultiReadResult::Error { err: second },
        ] => {
            equal((data.as_slice(), stat.data_length), (&b"one"[..], 3))?;
            equal(children.as_slice(), &["a"][..])?;
            equal((first, second), (&Error::NoNode, &Error::NoNode))
        }
        other => Err(format!("{other:?}").into()),
    }
}

async fn pipeline(bench: &Bench) -> Outcome {
    let client = &bench.client;
    let mut writes = Vec::new();
    for i in 0..300 {
        let data = i.to_string().into_bytes();
        let set = client.set_data(&bench.top, &data, Some(i));
        writes.push((i, set, client.get_data(&bench.top)));
    }
    for (i, set, get) in writes {
        equal(set.await?.version, i + 1)?;
        let (data, stat) = get.await?;
        equal((String::from_utf8(data)?, stat.version), (i.to_string(), i + 1))?;
    }
    Ok(())
}

async fn sync_config_chroot(bench: &Bench) -> Outcome {
    bench.client.sync(&bench.top).await?;
    bench.client.sync("/").await?;
    let (_, stat) = bench.client.get_config().await?;
    equal(stat.version, 0)?;
    let inside = connector()
        .connect(&format!("{}{}", bench.address, bench.top))
        .await?;
    inside.create("/in", b"", &OPEN).await?;
    equal(inside.list_children("/").await?, ["in"])?;
    let (_, _, watcher) = inside.get_and_watch_data("/in").await?;
    bench.client.set_data(&bench.path("in"), b"x", None).await?;
    equal(soon("change", watcher.changed()).await?.path.as_str(), "/in")
}

async fn locks(bench: &Bench) -> Outcome {
    let other = bench.connect().await;
    let prefix = || LockPrefix::new_curator(&bench.top, "lock-");
    let held = bench.client.lock(prefix()?, b"first", Acls::anyone_all()).await?;
    held.create(&bench.path("under-lock"), b"", &OPEN).await?;
    let waiting = tokio::spawn({
        let top = bench.top.clone();
        async move {
            let lock = other
                .lock(
                    LockPrefix::new_curator(&top, "lock-")?,
                    b"second",
                    Acls::anyone_all(),
                )
                .await?;
            Ok::<String, Error>(lock.lock_path().to_owned())
        }
    });
    // Two contenders and the node made under the lock.
    loop {
        let (children, _, watcher) = bench.client.get_and_watch_children(&bench.top).await?;
        if children.len() == 3 {
            break;
        }
        soon("the second contender", watcher.changed()).await?;
    }
    equal(waiting.is_finished(), false)?;
    drop(held);
    let path = soon("the second gets the lock", waiting).await???;
    equal(path.ends_with("lock-0000000002"), true)
}

async fn sessions_and_restart(bench: &Bench) -> Outcome {
    let client = bench.connect().await;
    client.create(&bench.path("e"), b"", &EPHEMERAL).await?;
    let session = client.session_id();
    let (_, _, data) = client.get_and_watch_data(&bench.top).await?;
    let (_, missing) = client.check_and_watch_stat(&bench.path("new")).await?;
    let mut states = client.state_watcher();
    equal(states.state(), SessionState::SyncConnected)?;
    for how in ["restart", "crash"] {
        // The request blocks this thread, and the client with it: it finds the connection gone afterwards.
        ask(how)?;
        // Only the latest state is kept: the loss itself may go unseen, but not that something changed.
        while soon("the return", states.changed()).await? != SessionState::SyncConnected {}
    }
    equal(client.session_id(), session)?;
    let stat = client
        .check_stat(&bench.path("e"))
        .await?
        .ok_or("the ephemeral node is still there")?;
    equal(stat.ephemeral_owner, session.0)?;
    let other = bench.connect().await;
    other.set_data(&bench.top, b"after", None).await?;
    other.create(&bench.path("new"), b"", &OPEN).await?;
    equal(
        soon("change", data.changed()).await?.event_type,
        EventType::NodeDataChanged,
    )?;
    equal(
        soon("creation", missing.changed()).await?.event_type,
        EventType::NodeCreated,
    )?;

    // A session outlives its detached client and is taken over by another one.
    let detached = connector().with_detached().connect(&bench.address).await?;
    detached.create(&bench.path("d"), b"", &EPHEMERAL).await?;
    let number = detached.session_id();
    let heir = connector()
        .with_session(detached.into_session())
        .connect(&bench.address)
        .await?;
    equal(heir.session_id(), number)?;
    let stat = heir
        .check_stat(&bench.path("d"))
        .await?
        .ok_or("the node came along")?;
    equal(stat.ephemeral_owner, number.0)
}

fn ask(request: &str) -> Outcome {
    println!("{request}");
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    equal(answer.as_str(), "restarted\n")
}
