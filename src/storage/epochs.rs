//! The promises of a member of an ensemble: `acceptedEpoch` and `currentEpoch`, beside the snapshots
//! (QuorumPeer.loadDataBase, AtomicFileOutputStream).
//!
//! Decimal digits and nothing else, replaced as a whole. `acceptedEpoch` is replaced first, so that no crash
//! leaves it below the other.

use std::io::Read;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::disk::{Disk, DiskContext, DiskError, DiskFile, FileReader};
use crate::ids::{Epoch, Zxid};

/// What the two files say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Epochs {
    /// The newest epoch that this server has promised to take part in.
    pub accepted: Epoch,
    /// The epoch whose history this server holds.
    pub current: Epoch,
}

/// Why a server must not take part in an ensemble with these files.
#[derive(Debug, Error)]
pub enum EpochsError {
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// It holds something else than a number.
    #[error(
        "{} should hold the number of an epoch, but holds {found:?}: restore it, or move this server's \
         version-2 directories away and let it copy the leader's state",
        .path.display()
    )]
    NotANumber {
        /// The file.
        path: PathBuf,
        /// Its beginning.
        found: String,
    },
    /// More is held than was promised.
    #[error(
        "acceptedEpoch in {} is {}, below currentEpoch, which is {}: one of them was removed or restored \
         alone. Move this server's version-2 directories away and let it copy the leader's state",
        .dir.display(), .epochs.accepted.0, .epochs.current.0
    )]
    Promise {
        /// Where the files are.
        dir: PathBuf,
        /// What they say.
        epochs: Epochs,
    },
    /// The state is of an epoch that was never promised.
    #[error(
        "the last transaction {last} is of epoch {}, but acceptedEpoch in {} is {}: the files do not belong \
         together. Move this server's version-2 directories away and let it copy the leader's state",
        .last.epoch().0, .dir.display(), .epochs.accepted.0
    )]
    State {
        /// Where the files are.
        dir: PathBuf,
        /// What they say.
        epochs: Epochs,
        /// The end of the state.
        last: Zxid,
    },
}

/// Reads both files; those that are missing are made from the last transaction's epoch, as in a directory
/// that stood alone before. True if `currentEpoch` was repaired.
///
/// A crash between the history of an epoch and its `currentEpoch` leaves that file behind. Who holds any
/// state of an epoch holds all that the epoch began with, so it is set right; Apache refuses to start.
pub fn load<D: Disk>(disk: &D, snap_dir: &Path, last: Zxid) -> Result<(Epochs, bool), EpochsError> {
    let of_state = last.epoch();
    let accepted = read(disk, &snap_dir.join(ACCEPTED))?;
    let current = read(disk, &snap_dir.join(CURRENT))?;
    let mut epochs = Epochs {
        accepted: accepted.unwrap_or(of_state),
        current: current.unwrap_or(of_state),
    };
    let dir = || snap_dir.to_path_buf();
    if epochs.accepted < epochs.current {
        return Err(EpochsError::Promise { dir: dir(), epochs });
    }
    if epochs.accepted < of_state {
        return Err(EpochsError::State {
            dir: dir(),
            epochs,
            last,
        });
    }
    let is_repaired = epochs.current < of_state;
    epochs.current = epochs.current.max(of_state);
    if accepted.is_none() {
        replace(disk, snap_dir, ACCEPTED, &epochs.accepted.0.to_string())?;
    }
    if current != Some(epochs.current) {
        replace(disk, snap_dir, CURRENT, &epochs.current.0.to_string())?;
    }
    Ok((epochs, is_repaired))
}

/// Makes both files durable. What `saved` says already is not written again.
pub fn save<D: Disk>(disk: &D, snap_dir: &Path, saved: Epochs, epochs: Epochs) -> Result<(), DiskError> {
    assert!(
        epochs.current <= epochs.accepted,
        "an epoch is promised before it is joined"
    );
    assert!(
        saved.accepted <= epochs.accepted && saved.current <= epochs.current,
        "no promise is taken back"
    );
    if saved.accepted != epochs.accepted {
        replace(disk, snap_dir, ACCEPTED, &epochs.accepted.0.to_string())?;
    }
    if saved.current != epochs.current {
        replace(disk, snap_dir, CURRENT, &epochs.current.0.to_string())?;
    }
    Ok(())
}

fn read<D: Disk>(disk: &D, path: &Path) -> Result<Option<Epoch>, EpochsError> {
    if !disk.exists(path).doing("look for", path)? {
        return Ok(None);
    }
    let file = disk.open_read(path).doing("open", path)?;
    let mut bytes = Vec::new();
    let mut head = FileReader::new(file).take(FILE_BYTES_MAX);
    head.read_to_end(&mut bytes).doing("read", path)?;
    let text = String::from_utf8_lossy(&bytes);
    match text.trim().parse::<i64>() {
        Ok(epoch) if (0..=i64::from(i32::MAX)).contains(&epoch) => Ok(Some(Epoch(epoch))),
        Ok(_) | Err(_) => Err(EpochsError::NotANumber {
            path: path.to_path_buf(),
            found: text.into_owned(),
        }),
    }
}

/// Replaces a small file as a whole: after a crash it is the old or the new one. Durable when it returns.
pub(super) fn replace<D: Disk>(disk: &D, dir: &Path, name: &str, text: &str) -> Result<(), DiskError> {
    let path = dir.join(name);
    let temporary = dir.join(format!("{name}.tmp"));
    let mut file = disk.create(&temporary).doing("create", &temporary)?;
    file.write_all_at(text.as_bytes(), 0).doing("write", &temporary)?;
    file.sync_all().doing("sync", &temporary)?;
    disk.rename(&temporary, &path).doing("rename a file to", &path)?;
    disk.sync_dir(dir).doing("sync", dir)
}

const ACCEPTED: &str = "acceptedEpoch";
const CURRENT: &str = "currentEpoch";
const FILE_BYTES_MAX: u64 = 64;
