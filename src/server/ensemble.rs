//! A member of an ensemble, put together: what its replica has to know, and the ports for the other servers.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::core_thread::CoreHandle;
use super::os_disk::OsDisk;
use super::peer_election::{self, PeerElectionConfig};
use super::peer_quorum::{self, PeerQuorum, PeerQuorumConfig};
use super::peers::{Peers, election_input, quorum_input};
use super::start_error::StartError;
use crate::clock::Now;
use crate::config::ServerConfig;
use crate::config::dynamic_files::DynamicFiles;
use crate::config::members::members;
use crate::config::server_config::EnsembleConfig;
use crate::election::ElectionConfig;
use crate::ids::{ServerId, Zxid};
use crate::quorum::configs::Configs;
use crate::quorum::members::{MemberAddress, Members};
use crate::replica::MemberConfig;
use crate::storage::StorageConfig;
use crate::storage::epochs::{self, Epochs};
use crate::storage::recovery::{Recovered, RecoveryError};
use crate::tree::DataTree;
use crate::zab::{COMMIT_LOG_COUNT, CommittedLog, ZabConfig};

/// This server's number. A configuration of an ensemble without one is not accepted.
pub fn my_id(ensemble: &EnsembleConfig) -> ServerId {
    ensemble.my_id.expect("checked with the configuration")
}

/// What the epoch files say; missing ones are made.
pub fn load_epochs(storage: &StorageConfig, last: Zxid) -> Result<Epochs, StartError> {
    let (epochs, is_repaired) = epochs::load(&OsDisk, &storage.snap_dir, last).map_err(StartError::Epochs)?;
    if is_repaired {
        tracing::warn!(
            "currentEpoch was behind the log, as a crash may leave it: it is {} now",
            epochs.current.0
        );
    }
    Ok(epochs)
}

/// The epochs of a member whose logs or snapshots are damaged. It starts without them, has no vote, and waits
/// for a leader's snapshot to take their place; this is said here.
pub fn epochs_beside_damage(
    config: &ServerConfig,
    storage: &StorageConfig,
    damage: &RecoveryError,
) -> Result<Epochs, StartError> {
    // Of a server that lost everything the promises are gone, too: without a vote it makes none.
    let epochs = match matches!(damage, RecoveryError::Empty { .. }) {
        true => epochs::load(&OsDisk, &storage.snap_dir, Zxid::ZERO).map(|(epochs, _)| epochs),
        false => epochs::load_beside_damage(&OsDisk, &storage.snap_dir),
    };
    let epochs = epochs.map_err(|error| {
        tracing::error!("{damage}");
        StartError::Epochs(error)
    })?;
    let others = config.ensemble.servers.len() - 1;
    tracing::error!(
        "{damage}. Meanwhile this server goes on without a vote, and waits for a snapshot of a leader that \
         the other {others} servers elect; the damaged files stay as they are until it is installed, and are \
         then set aside. If the others cannot elect one without this server, restore its files or theirs \
         from a backup. With recovery.rejoin=false this server ends instead"
    );
    Ok(epochs)
}

/// The list of servers, in `/zookeeper/config`.
pub fn show_members(config: &ServerConfig, tree: &mut DataTree, now: Now) {
    let members = members(&config.ensemble);
    tree.set_config(
        members.to_text().as_bytes(),
        Zxid(members.version as i64),
        now.wall_ms,
    );
}

/// For the replica.
pub fn member_config(
    config: &ServerConfig,
    epochs: Epochs,
    recovered: Recovered,
    is_damaged: bool,
) -> MemberConfig {
    let (tail, last) = (recovered.committed_tail, recovered.last_zxid);
    let ensemble = &config.ensemble;
    let me = my_id(ensemble);
    let configs = configs(ensemble);
    let entries_max = (config.storage.commit_log_count as usize).max(COMMIT_LOG_COUNT);
    MemberConfig {
        zab: zab_config(config, configs.clone(), me),
        election: ElectionConfig {
            min_interval_ms: ensemble.fle_min_interval_ms.into(),
            max_interval_ms: ensemble.fle_max_interval_ms.into(),
            ..ElectionConfig::new(me, configs)
        },
        leader_serves: ensemble.leader_serves,
        observer_reconnect_delay_ms: ensemble.observer_reconnect_delay_ms.into(),
        observer_election_delay_ms: ensemble.observer_election_delay_ms.into(),
        accepted_epoch: epochs.accepted,
        current_epoch: epochs.current,
        is_damaged,
        committed_log: CommittedLog::recovered(tail, last, entries_max),
    }
}

/// The configuration in force, and where they may change the one that is proposed.
fn configs(ensemble: &EnsembleConfig) -> Configs {
    let next = ensemble.next.clone().filter(|_| ensemble.reconfig_enabled);
    Configs::recovered(members(ensemble), next)
}

/// Where configurations are kept, if they may change. That it can be written there is seen now.
pub fn dynamic_files(config: &ServerConfig) -> Result<Option<DynamicFiles>, StartError> {
    let ensemble = &config.ensemble;
    let path = config.source.path();
    let Some(path) = path.filter(|_| ensemble.reconfig_enabled && ensemble.is_distributed()) else {
        return Ok(None);
    };
    let files = DynamicFiles::new(path, my_id(ensemble));
    let shown = match ensemble.has_dynamic_file {
        true => files.probe(),
        false => files.keep_original(),
    };
    let path = path.to_owned();
    shown.map_err(|error| StartError::DynamicFiles { path, error })?;
    Ok(Some(files))
}

fn zab_config(config: &ServerConfig, configs: Configs, me: ServerId) -> ZabConfig {
    let ensemble = &config.ensemble;
    ZabConfig {
        me,
        configs,
        reconfig_enabled: ensemble.reconfig_enabled,
        tick_ms: config.session.tick_time_ms.into(),
        init_limit: ensemble.init_limit_ticks.unwrap_or(DEFAULT_INIT_LIMIT).into(),
        sync_limit: ensemble.sync_limit_ticks.unwrap_or(DEFAULT_SYNC_LIMIT).into(),
        max_epoch_wait_ms: Some(match ensemble.max_time_to_wait_for_epoch_ms {
            Some(ms) => ms.into(),
            None => EPOCH_WAIT_MS,
        }),
        force_snapshot: ensemble.force_snapshot_sync,
        may_read_log: config.storage.snapshot_size_factor_permille.is_some(),
        truncates_apache: ensemble.truncates_apache,
        sync_asks_quorum: ensemble.sync_asks_quorum,
        has_observer_masters: ensemble.observer_master_port.is_some(),
    }
}

/// Opens the election port and makes the quorum port ready. What they bring goes to the core.
pub async fn connect(
    config: &ServerConfig,
    storage: &StorageConfig,
    core: &CoreHandle,
    hash_seed: u64,
) -> Result<(Peers, PeerQuorum), StartError> {
    let ensemble = &config.ensemble;
    let members = members(ensemble);
    let me = my_id(ensemble);
    let ticks = |count: u32| Duration::from_millis(u64::from(config.session.tick_time_ms) * u64::from(count));
    let init_limit = ticks(ensemble.init_limit_ticks.unwrap_or(DEFAULT_INIT_LIMIT));
    let sync_limit = ticks(ensemble.sync_limit_ticks.unwrap_or(DEFAULT_SYNC_LIMIT));
    let connect_timeout = Duration::from_millis(ensemble.cnx_timeout_ms.into());
    let election = PeerElectionConfig {
        me,
        listen: listen_on(ensemble, &members, |address| address.election_port),
        members: members.clone(),
        admits_strangers: ensemble.reconfig_enabled,
        connect_timeout,
        handshake_timeout: match ensemble.quorum_cnxn_timeout_ms {
            Some(ms) => Duration::from_millis(ms.into()),
            None => sync_limit,
        },
        bind_attempts: ensemble.election_port_bind_retry,
    };
    let quorum = PeerQuorumConfig {
        me,
        listen: listen_on(ensemble, &members, |address| address.quorum_port),
        listen_for_observers: match ensemble.observer_master_port {
            Some(port) => listen_on(ensemble, &members, |_| port),
            None => Vec::new(),
        },
        observer_master_port: ensemble.observer_master_port,
        members,
        connect_timeout: match ensemble.connect_to_learner_master_limit_ticks {
            Some(count) => connect_timeout.min(ticks(count)),
            None => connect_timeout.min(init_limit),
        },
        hello_timeout: init_limit.min(HELLO_MAX),
        stall_timeout: init_limit,
        packet_bytes_max: storage.record_bytes_max,
        record_bytes_max: storage.record_bytes_max,
        hash_seed,
    };
    let deliver = core.clone();
    let quorum = peer_quorum::start(quorum, move |role, event| {
        deliver.submit(vec![quorum_input(role, event)]);
    });
    let deliver = core.clone();
    let election = peer_election::start(election, move |event| deliver.submit(vec![election_input(event)]))
        .await
        .map_err(StartError::ElectionPort)?;
    let permille = config.storage.snapshot_size_factor_permille.unwrap_or(0);
    let peers = Peers::new(election, quorum.clone(), core.clone(), storage.clone(), permille);
    peers.use_configs(&configs(ensemble));
    Ok((peers, quorum))
}

/// Each own address, or every interface where that is asked for or the address says it.
fn listen_on(
    ensemble: &EnsembleConfig,
    members: &Members,
    port: impl Fn(&MemberAddress) -> u16,
) -> Vec<(String, u16)> {
    let own = members.servers.get(&my_id(ensemble));
    let addresses = own.into_iter().flat_map(|member| &member.addresses);
    let mut listen: Vec<(String, u16)> = addresses
        .map(|address| {
            let is_wildcard = address.host == Ipv4Addr::UNSPECIFIED.to_string() || address.host == "::";
            let host = match ensemble.listen_on_all_ips || is_wildcard {
                true => String::new(),
                false => address.host.clone(),
            };
            (host, port(address))
        })
        .collect();
    listen.sort();
    listen.dedup();
    listen
}

/// In ticks; configurations of ensembles have to say them.
const DEFAULT_INIT_LIMIT: u32 = 10;
const DEFAULT_SYNC_LIMIT: u32 = 5;
/// A leader that no quorum has come to by then, while its voters look for another one, gives up: with the
/// reference's default it would hold out for initLimit.
const EPOCH_WAIT_MS: u64 = 1000;
/// A stranger on the quorum port is not waited for any longer.
const HELLO_MAX: Duration = Duration::from_secs(10);
