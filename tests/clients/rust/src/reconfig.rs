//! The crate's reconfiguration, on an ensemble of three that a fourth server follows.
//!
//! The environment is that of kazoo_reconfig.py.

use std::error::Error as StdError;
use std::time::Duration;

use zookeeper_client::*;

type Outcome = std::result::Result<(), Box<dyn StdError>>;

/// Runs every case, and ends the process.
pub async fn run(address: &str) -> ! {
    println!("plan 4");
    let mut has_failed = false;
    let mut judge = |name: &str, outcome: Outcome| match outcome {
        Ok(()) => println!("ok {name}"),
        Err(error) => {
            has_failed = true;
            println!("not ok {name}: {error}");
        }
    };
    judge("only_the_superuser_may", only_the_superuser_may(address).await);
    judge("one_joins_and_leaves", one_joins_and_leaves(address).await);
    judge(
        "all_members_are_replaced",
        all_members_are_replaced(address).await,
    );
    judge(
        "what_cannot_be_done_is_refused",
        what_cannot_be_done_is_refused(address).await,
    );
    std::process::exit(i32::from(has_failed));
}

async fn only_the_superuser_may(address: &str) -> Outcome {
    let client = connector().connect(address).await?;
    let joining = variable("JOINING");
    equal(
        client.update_ensemble(joins(&joining), None).await.err(),
        Some(Error::NoAuth),
    )?;
    equal(numbers(&client.get_config().await?.0), vec![1, 2, 3])
}

async fn one_joins_and_leaves(address: &str) -> Outcome {
    let (client, other) = (superuser(address).await?, connector().connect(address).await?);
    let (_, _, watcher) = other.get_and_watch_config().await?;
    let joining = variable("JOINING");
    let (config, stat) = client.update_ensemble(joins(&joining), None).await?;
    equal(numbers(&config), vec![1, 2, 3, 4])?;
    let event = tokio::time::timeout(Duration::from_secs(30), watcher.changed()).await?;
    equal(event.event_type, EventType::NodeDataChanged)?;
    equal(client.get_config().await?.0, config)?;
    let (config, _) = client.update_ensemble(leaves("4"), Some(stat.mzxid)).await?;
    equal(numbers(&config), vec![1, 2, 3])
}

async fn all_members_are_replaced(address: &str) -> Outcome {
    let client = superuser(address).await?;
    let (members, joining) = (variable("MEMBERS"), variable("JOINING"));
    let four = EnsembleUpdate::New {
        ensemble: [members.as_str(), joining.as_str()].into_iter(),
    };
    let (config, stat) = client.update_ensemble(four, None).await?;
    equal(numbers(&config), vec![1, 2, 3, 4])?;
    let three = EnsembleUpdate::New {
        ensemble: [members.as_str()].into_iter(),
    };
    let (config, _) = client.update_ensemble(three, Some(stat.mzxid)).await?;
    equal(numbers(&config), vec![1, 2, 3])
}

async fn what_cannot_be_done_is_refused(address: &str) -> Outcome {
    let client = superuser(address).await?;
    let (before, _) = client.get_config().await?;
    let joining = variable("JOINING");
    let error = client.update_ensemble(joins(&joining), Some(7)).await.err();
    equal(error, Some(Error::BadVersion))?;
    let error = client
        .update_ensemble(joins("server.5=127.0.0.1:1:2"), None)
        .await
        .err();
    equal(matches!(error, Some(Error::BadArguments(_))), true)?;
    equal(client.get_config().await?.0, before)
}

fn joins(line: &str) -> EnsembleUpdate<'_, std::array::IntoIter<&str, 1>> {
    EnsembleUpdate::Incremental {
        joinings: [line].into_iter(),
        leavings: [""].into_iter(),
    }
}

fn leaves(number: &str) -> EnsembleUpdate<'_, std::array::IntoIter<&str, 1>> {
    EnsembleUpdate::Incremental {
        joinings: [""].into_iter(),
        leavings: [number].into_iter(),
    }
}

async fn superuser(address: &str) -> Result<Client, Error> {
    let client = connector().connect(address).await?;
    client.auth("digest", variable("SUPER").as_bytes()).await?;
    Ok(client)
}

fn connector() -> Connector {
    Client::connector().with_session_timeout(Duration::from_secs(10))
}

fn variable(name: &str) -> String {
    std::env::var(format!("RECONFIG_{name}")).expect("the environment names the members")
}

fn numbers(config: &[u8]) -> Vec<u32> {
    let text = String::from_utf8_lossy(config);
    let number = |line: &str| line.strip_prefix("server.")?.split_once('=')?.0.parse().ok();
    let mut numbers: Vec<u32> = text.lines().filter_map(number).collect();
    numbers.sort();
    numbers
}

fn equal<T: PartialEq + std::fmt::Debug>(found: T, expected: T) -> Outcome {
    if found == expected {
        return Ok(());
    }
    Err(format!("found {found:?}, expected {expected:?}").into())
}
