//! What a service manager is told while the server runs: that it serves, what it is, that it is alive.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::core_thread::CoreHandle;
use super::systemd::Notifier;
use crate::shared::{Mode, RoleStatus, Shared};

/// Where it is seen.
pub struct Report {
    /// The core, to be asked whether it is alive.
    pub core: CoreHandle,
    /// What the core counts.
    pub beats: Arc<AtomicU64>,
    /// Whether clients are served.
    pub serving: watch::Receiver<bool>,
    /// The role.
    pub shared: Arc<Shared>,
}

/// Tells it until it is aborted. Ready is said once, when clients are served for the first time.
pub async fn run(notifier: Arc<Notifier>, mut report: Report) {
    let pause = notifier
        .watchdog_interval()
        .unwrap_or(STATUS_PAUSE)
        .min(STATUS_PAUSE);
    let mut ticks = interval(pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut last_status, mut last_beats, mut is_ready) = (String::new(), None, false);
    loop {
        let is_serving = *report.serving.borrow_and_update();
        let status = match report.shared.damage.lock().as_deref() {
            Some(damage) => format!("damaged, waits for a leader's snapshot: {damage}"),
            None => status_line(is_serving, &report.shared.role.lock()),
        };
        if is_serving && !is_ready {
            is_ready = true;
            notifier.ready(&status);
        } else if status != last_status {
            notifier.status(&status);
        }
        last_status = status;
        tokio::select! {
            changed = report.serving.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            _ = ticks.tick() => {
                // A core that has taken nothing since it was last given something hangs.
                let beats = report.beats.load(Relaxed);
                if last_beats != Some(beats) {
                    notifier.watchdog();
                }
                last_beats = Some(beats);
                report.core.submit(Vec::new());
            }
        }
    }
}

fn status_line(is_serving: bool, role: &RoleStatus) -> String {
    let mode = match role.mode {
        Mode::Standalone => "standalone",
        Mode::Looking => return "looking for a leader".to_owned(),
        Mode::ReadOnly => return "looking for a leader, serving read-only clients".to_owned(),
        Mode::Leader => "leader",
        Mode::Follower => "follower",
        Mode::Observer => "observer",
    };
    let serving = if is_serving { "serving" } else { "not serving yet" };
    match role.leader {
        Some(leader) => format!(
            "{mode}, {serving}; epoch {}, server {} leads",
            role.epoch.0, leader.0
        ),
        None => format!("{mode}, {serving}"),
    }
}

/// How often the status is looked at when no watchdog wants it more often.
const STATUS_PAUSE: Duration = Duration::from_secs(2);
