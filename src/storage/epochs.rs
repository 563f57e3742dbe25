//! The promises of a member of an ensemble: `acceptedEpoch` and `currentEpoch`, beside the snapshots
//! (QuorumPeer.loadDataBase, AtomicFileOutputStream).
//!
//! Decimal digits and nothing else, replaced as a whole. `acceptedEpoch` is replaced first, so that no crash
//! leaves it below the other, and `zkserver.epochs`, which says that neither may say less, last.

use std::path::{Path, PathBuf};

use thiserror::Error;

use super::disk::{Disk, DiskContext, DiskError, DiskFile, read_if_there};
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
    /// It was there once.
    #[error(
        "{} is missing, but this server has been a member of an ensemble before: restore it, or move this \
         server's version-2 directories away and let it copy the leader's state",
        .path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// It says less than it did.
    #[error(
        "{} holds {found}, but {saved} was saved there, as zkserver.epochs beside it says: it is damaged, or \
         was restored from a backup. Write {saved} into it if all of the directory is of one time, or move \
         this server's version-2 directories away and let it copy the leader's state",
        .path.display()
    )]
    WentBack {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: i64,
        /// What it said.
        saved: i64,
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
    let saved = check_saved(disk, snap_dir, accepted, current)?;
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
    if saved != Some(epochs) {
        replace(disk, snap_dir, SAVED, &saved_text(epochs))?;
    }
    Ok((epochs, is_repaired))
}

/// Reads both files beside logs or snapshots that are damaged: nothing else tells what was promised, so both
/// have to be there.
pub fn load_beside_damage<D: Disk>(disk: &D, snap_dir: &Path) -> Result<Epochs, EpochsError> {
    for name in [ACCEPTED, CURRENT] {
        let path = snap_dir.join(name);
        if read(disk, &path)?.is_none() {
            return Err(EpochsError::Missing { path });
        }
    }
    load(disk, snap_dir, Zxid::ZERO).map(|(epochs, _)| epochs)
}

/// Neither file says less than it did, as far as that is known; what is known.
fn check_saved<D: Disk>(
    disk: &D,
    snap_dir: &Path,
    accepted: Option<Epoch>,
    current: Option<Epoch>,
) -> Result<Option<Epochs>, EpochsError> {
    let missing = |name| EpochsError::Missing {
        path: snap_dir.join(name),
    };
    // The promise is saved first, always.
    if accepted.is_none() && current.is_some() {
        return Err(missing(ACCEPTED));
    }
    let Some(saved) = read_saved(disk, &snap_dir.join(SAVED))? else {
        return Ok(None);
    };
    for (name, found, saved) in [
        (ACCEPTED, accepted, saved.accepted),
        (CURRENT, current, saved.current),
    ] {
        let found = found.ok_or_else(|| missing(name))?;
        if found < saved {
            return Err(EpochsError::WentBack {
                path: snap_dir.join(name),
                found: found.0,
                saved: saved.0,
            });
        }
    }
    Ok(Some(saved))
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
    if saved != epochs {
        replace(disk, snap_dir, SAVED, &saved_text(epochs))?;
    }
    Ok(())
}

fn read<D: Disk>(disk: &D, path: &Path) -> Result<Option<Epoch>, EpochsError> {
    let Some(text) = read_text(disk, path)? else {
        return Ok(None);
    };
    match text.trim().parse::<i64>() {
        Ok(epoch) if (0..=i64::from(i32::MAX)).contains(&epoch) => Ok(Some(Epoch(epoch))),
        Ok(_) | Err(_) => Err(EpochsError::NotANumber {
            path: path.to_path_buf(),
            found: text,
        }),
    }
}

/// What was saved last, as the file of our own says; `None` if there is none, or it is damaged.
fn read_saved<D: Disk>(disk: &D, path: &Path) -> Result<Option<Epochs>, DiskError> {
    let text = read_text(disk, path)?.unwrap_or_default();
    let mut numbers = text.split(' ').map(|word| word.parse().ok().map(Epoch));
    let (Some(Some(accepted)), Some(Some(current))) = (numbers.next(), numbers.next()) else {
        return Ok(None);
    };
    let epochs = Epochs { accepted, current };
    Ok((text == saved_text(epochs)).then_some(epochs))
}

fn read_text<D: Disk>(disk: &D, path: &Path) -> Result<Option<String>, DiskError> {
    let bytes = read_if_there(disk, path, FILE_BYTES_MAX)?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// Both numbers and their sum, so that damage is told from another number.
fn saved_text(epochs: Epochs) -> String {
    let numbers = format!("{} {}", epochs.accepted.0, epochs.current.0);
    format!("{numbers} {:08x}", crc32fast::hash(numbers.as_bytes()))
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
/// Both as they were saved last, with a checksum: the other two files have none, and a promise that a flipped
/// bit makes smaller would be broken.
const SAVED: &str = "zkserver.epochs";
const FILE_BYTES_MAX: u64 = 64;
