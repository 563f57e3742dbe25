//! Keys that ZooKeeper knows and that nothing here acts on, so that they are not taken for typing errors.

use super::keys::{ACTING_KEYS, Key, Place, Rule};
use super::throttle::THROTTLE_KEYS;

/// The key of this name: an acting one, or one that is only known.
pub(super) fn find(name: &str) -> Option<Known> {
    if let Some(key) = acting_keys().find(|key| key.name == name) {
        return Some(Known::Acting(key));
    }
    if let Some((_, rule)) = PASSIVE_KEYS.iter().find(|(key, _)| *key == name) {
        return Some(Known::Passive(rule));
    }
    PASSIVE_FAMILIES
        .iter()
        .find(|(prefix, _)| name.starts_with(prefix))
        .map(|(_, rule)| Known::Passive(rule))
}

/// The keys that set something.
fn acting_keys() -> impl Iterator<Item = &'static Key> + Clone {
    ACTING_KEYS.iter().chain(THROTTLE_KEYS)
}

/// What is known about a key.
pub(super) enum Known {
    /// It sets something.
    Acting(&'static Key),
    /// It sets nothing here.
    Passive(&'static Rule),
}

/// ZooKeeper reads this name as `-D<name>`, without `zookeeper.` in front.
pub(super) fn is_java_property(name: &str) -> bool {
    let acting = acting_keys().any(|key| key.place == Place::JavaProperty && key.name == name);
    acting || JAVA_PROPERTIES.contains(&name)
}

/// The known name that a misspelt one most resembles, if one is near.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    let lower = name.to_ascii_lowercase();
    let names = acting_keys()
        .map(|key| key.name)
        .chain(PASSIVE_KEYS.iter().map(|(key, _)| *key));
    let farthest = (name.len() / 4).max(2);
    if let Some(known) = names
        .clone()
        .find(|known| known.split_once('.').is_some_and(|(_, tail)| tail == name))
    {
        return Some(known);
    }
    names
        .map(|known| (edit_distance(&lower, &known.to_ascii_lowercase()), known))
        .filter(|(distance, known)| *distance <= farthest && *distance < known.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// Insertions, removals, exchanges and swaps of neighbours that turn one text into the other.
pub(super) fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    let mut row_before = row.clone();
    let mut left_before = None;
    for (i, l) in left.chars().enumerate() {
        let mut next = vec![i + 1; right.len() + 1];
        for (j, &r) in right.iter().enumerate() {
            let exchange = row[j] + usize::from(l != r);
            next[j + 1] = exchange.min(row[j + 1] + 1).min(next[j] + 1);
            if j > 0 && left_before == Some(r) && right[j - 1] == l {
                next[j + 1] = next[j + 1].min(row_before[j - 1] + 1);
            }
        }
        row_before = std::mem::replace(&mut row, next);
        left_before = Some(l);
    }
    row[right.len()]
}

/// Names that ZooKeeper reads as Java properties without its prefix, besides the acting ones.
const JAVA_PROPERTIES: [&str; 3] = ["leader.nodelay", "follower.nodelay", "fsync.warningthresholdms"];

const LATER: Rule = Rule::NotYet("");
const LATER_IF_TRUE: Rule = Rule::NotYet("false");
const LATER_IF_FALSE: Rule = Rule::NotYet("true");
const TAKEN_FOR_EPHEMERALS: &str =
    "TTL nodes of ZooKeeper 3.5.3 would be taken for ephemerals of sessions that are gone, and removed";
const OPEN_DOOR: &str = "clients that do not authenticate would be served all the same";

static PASSIVE_KEYS: &[(&str, Rule)] = &[
    ("syncEnabled", LATER_IF_FALSE),
    ("sslQuorum", LATER_IF_TRUE),
    ("portUnification", LATER_IF_TRUE),
    ("sslQuorumReloadCertFiles", LATER_IF_TRUE),
    ("quorum.auth.enableSasl", LATER_IF_TRUE),
    ("quorum.auth.learnerRequireSasl", LATER_IF_TRUE),
    ("quorum.auth.serverRequireSasl", LATER_IF_TRUE),
    ("quorum.auth.learner.saslLoginContext", LATER),
    ("quorum.auth.server.saslLoginContext", LATER),
    ("quorum.auth.kerberos.servicePrincipal", LATER),
    ("quorum.cnxn.threads.size", Rule::JvmOnly),
    ("multiAddress.reachabilityCheckEnabled", LATER),
    ("multiAddress.reachabilityCheckTimeoutMs", LATER),
    (
        "metricsProvider.className",
        Rule::NotYet("org.apache.zookeeper.metrics.impl.DefaultMetricsProvider"),
    ),
    ("metricsProvider.httpHost", LATER),
    ("metricsProvider.httpPort", LATER),
    ("metricsProvider.exportJvmInfo", Rule::JvmOnly),
    ("metricsProvider.numWorkerThreads", Rule::JvmOnly),
    ("metricsProvider.maxQueueSize", Rule::JvmOnly),
    ("metricsProvider.workerShutdownTimeoutMs", Rule::JvmOnly),
    ("jvm.pause.monitor", Rule::JvmOnly),
    ("jvm.pause.warn-threshold.ms", Rule::JvmOnly),
    ("jvm.pause.info-threshold.ms", Rule::JvmOnly),
    ("jvm.pause.sleep.time.ms", Rule::JvmOnly),
    ("oraclePath", LATER),
    ("closeSessionTxn.enabled", LATER_IF_FALSE),
    (
        "emulate353TTLNodes",
        Rule::Required("false", TAKEN_FOR_EPHEMERALS),
    ),
    ("maxResponseCacheSize", Rule::JvmOnly),
    ("maxGetChildrenResponseCacheSize", Rule::JvmOnly),
    ("flushDelay", Rule::NotYet("0")),
    ("maxWriteQueuePollTime", LATER),
    ("maxBatchSize", LATER),
    // How long a role that ends goes on with requests that wait. Here they end with it at once.
    ("request_throttler.shutdownTimeout", Rule::JvmOnly),
    ("X509AuthenticationProvider.superUser", LATER),
    ("SASLAuthenticationProvider.superPassword", LATER),
    ("superUser", LATER),
    ("ensembleAuthName", LATER),
    ("IPAuthenticationProvider.usexforwardedfor", LATER_IF_TRUE),
    ("sessionRequireClientSASLAuth", Rule::Required("false", OPEN_DOOR)),
    ("allowSaslFailedClients", LATER_IF_TRUE),
    ("sasl.serverconfig", LATER),
    ("requireKerberosConfig", LATER),
    ("kinit", LATER),
    ("server.realm", LATER),
    ("security.auth_to_local", LATER),
    ("letAnySaslUserDoX", LATER),
    ("serverCnxnFactory", Rule::JvmOnly),
    ("client.portUnification", LATER_IF_TRUE),
    ("client.certReload", LATER_IF_TRUE),
    ("fips-mode", Rule::JvmOnly),
    ("admin.enableServer", LATER_IF_TRUE),
    ("admin.serverAddress", LATER),
    ("admin.serverPort", LATER),
    ("admin.commandURL", LATER),
    ("admin.idleTimeout", LATER),
    ("admin.portUnification", LATER_IF_TRUE),
    ("admin.forceHttps", LATER_IF_TRUE),
    ("admin.needClientAuth", LATER_IF_TRUE),
    ("admin.httpVersion", LATER),
    ("admin.snapshot.enabled", LATER_IF_TRUE),
    ("admin.restore.enabled", LATER_IF_TRUE),
    ("admin.rateLimiterIntervalInMS", LATER),
    ("audit.enable", LATER_IF_TRUE),
    ("audit.impl.class", LATER),
    ("leader.maxConcurrentSnapSyncs", LATER),
    ("leader.maxConcurrentDiffSyncs", LATER),
    ("leader.ackLoggingFrequency", LATER),
    ("leader.closeSocketAsync", Rule::JvmOnly),
    ("learner.closeSocketAsync", Rule::JvmOnly),
    ("learner.asyncSending", Rule::JvmOnly),
    ("leaderConnectDelayDuringRetryMs", LATER),
    ("follower.skipLearnerRequestToNextProcessor", Rule::JvmOnly),
    (
        "forward_learner_requests_to_commit_processor_disabled",
        Rule::JvmOnly,
    ),
    ("observer.syncEnabled", LATER_IF_FALSE),
    // Observers behind a follower get what they lack from commitLogCount transactions in memory and from the
    // log.
    ("observerMaster.sizeLimit", Rule::JvmOnly),
    ("nio.numSelectorThreads", Rule::JvmOnly),
    ("nio.numWorkerThreads", Rule::JvmOnly),
    ("nio.directBufferBytes", Rule::JvmOnly),
    ("nio.shutdownTimeout", Rule::JvmOnly),
    ("watchManagerName", Rule::JvmOnly),
    ("watcherCleanThreshold", Rule::JvmOnly),
    ("watcherCleanIntervalInSeconds", Rule::JvmOnly),
    ("watcherCleanThreadsNum", Rule::JvmOnly),
    ("maxInProcessingDeadWatchers", Rule::JvmOnly),
    ("bitHashCacheSize", Rule::JvmOnly),
    ("intBufferStartingSizeBytes", Rule::JvmOnly),
    ("jmx.log4j.disable", Rule::JvmOnly),
    ("jmx.log4j.mbean", Rule::JvmOnly),
    ("log.dir", Rule::JvmOnly),
    ("log.file", Rule::JvmOnly),
    ("controllerPort", LATER),
    ("leader.nodelay", LATER_IF_FALSE),
    ("follower.nodelay", LATER_IF_FALSE),
    // Names of JMX attributes that the administrator guide gives for keys.
    (
        "connectionMaxTokens",
        Rule::Misnamed("connection_throttle_tokens"),
    ),
    (
        "connectionTokenFillTime",
        Rule::Misnamed("connection_throttle_fill_time"),
    ),
    (
        "connectionTokenFillCount",
        Rule::Misnamed("connection_throttle_fill_count"),
    ),
    (
        "connectionFreezeTime",
        Rule::Misnamed("connection_throttle_freeze_time"),
    ),
    (
        "connectionDropIncrease",
        Rule::Misnamed("connection_throttle_drop_increase"),
    ),
    (
        "connectionDropDecrease",
        Rule::Misnamed("connection_throttle_drop_decrease"),
    ),
    (
        "connectionDecreaseRatio",
        Rule::Misnamed("connection_throttle_decrease_ratio"),
    ),
    (
        "requestThrottleLimit",
        Rule::Misnamed("request_throttle_max_requests"),
    ),
    (
        "requestThrottleStallTime",
        Rule::Misnamed("request_throttle_stall_time"),
    ),
    (
        "requestThrottleDropStale",
        Rule::Misnamed("request_throttle_drop_stale"),
    ),
    (
        "maxConcurrentSnapSyncs",
        Rule::Misnamed("leader.maxConcurrentSnapSyncs"),
    ),
    (
        "maxConcurrentDiffSyncs",
        Rule::Misnamed("leader.maxConcurrentDiffSyncs"),
    ),
    (
        "advancedFlowControlEnabled",
        Rule::Misnamed("netty.advancedFlowControl.enabled"),
    ),
    ("throttledOpWaitTime", Rule::Misnamed("throttled_op_wait_time")),
];

static PASSIVE_FAMILIES: &[(&str, Rule)] = &[
    ("authProvider.", LATER),
    ("superUser.", LATER),
    ("ssl.", LATER),
    ("kerberos.", LATER),
    ("netty.", Rule::JvmOnly),
    ("commitProcessor.", Rule::JvmOnly),
    ("pathStats.", Rule::JvmOnly),
    ("messageTracker.", Rule::JvmOnly),
    ("test.", Rule::JvmOnly),
    ("testingonly.", Rule::JvmOnly),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{PASSIVE_KEYS, Rule, acting_keys, edit_distance, find, nearest};

    #[test]
    fn every_name_is_listed_once() {
        let mut seen = BTreeSet::new();
        for name in acting_keys()
            .map(|key| key.name)
            .chain(PASSIVE_KEYS.iter().map(|(name, _)| *name))
        {
            assert!(seen.insert(name), "{name} is listed twice");
        }
    }

    #[test]
    fn misnamed_keys_point_to_known_ones() {
        for (name, rule) in PASSIVE_KEYS {
            if let Rule::Misnamed(real) = rule {
                assert!(find(real).is_some(), "{name} points to {real}");
            }
        }
    }

    #[test]
    fn the_nearest_key_is_found() {
        for (written, meant) in [
            ("tickTimes", Some("tickTime")),
            ("ticktime", Some("tickTime")),
            ("tcikTime", Some("tickTime")),
            ("datadir", Some("dataDir")),
            ("maxClientConns", Some("maxClientCnxns")),
            ("autopurge.purgeIntervall", Some("autopurge.purgeInterval")),
            ("snapRetainCount", Some("autopurge.snapRetainCount")),
            ("4lw.command.whitelist", Some("4lw.commands.whitelist")),
            ("enforce.auth.enable", Some("enforce.auth.enabled")),
            ("somethingElseEntirely", None),
            ("x", None),
        ] {
            assert_eq!(nearest(written), meant, "{written}");
        }
    }

    #[test]
    fn edit_distances() {
        for (left, right, distance) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "abc", 0),
            ("abc", "acb", 1),
            ("abcd", "bd", 2),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(edit_distance(left, right), distance, "{left} {right}");
            assert_eq!(edit_distance(right, left), distance, "{right} {left}");
        }
    }
}
