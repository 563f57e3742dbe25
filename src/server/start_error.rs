//! Why a server does not start: one sentence each, which says what to do.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use thiserror::Error;

use crate::storage::data_dir::DataDirError;
use crate::storage::epochs::EpochsError;
use crate::storage::recovery::RecoveryError;

/// A start that failed. The texts begin as the reference's last lines do.
#[derive(Debug, Error)]
pub enum StartError {
    /// The data directory is missing, of somebody else, or in use.
    #[error("Unable to access datadir, exiting abnormally: {0}")]
    DataDir(DataDirError),
    /// What is in it cannot be served.
    #[error("Unexpected exception, exiting abnormally: {0}")]
    Recovery(RecoveryError),
    /// The permission to begin without a database would be there at every start.
    #[error("Unexpected exception, exiting abnormally: cannot remove {}: {error}", .file.display())]
    Initialize {
        /// The file.
        file: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The epoch files do not fit the rest.
    #[error("Unexpected exception, exiting abnormally: {0}")]
    Epochs(EpochsError),
    /// The files that a reconfiguration changes cannot be written.
    #[error(
        "reconfigEnabled=true, but files beside {} cannot be written: {error}. Let the user of this server \
         write to the directory of its configuration, or set reconfigEnabled=false",
        path.display()
    )]
    DynamicFiles {
        /// The configuration file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The election port cannot be opened.
    #[error("Unexpected exception, exiting abnormally: {0:#}")]
    ElectionPort(anyhow::Error),
    /// The client port cannot be opened.
    #[error("Unexpected exception, exiting abnormally: {0}")]
    Listen(ListenError),
    /// The system refused something else: a thread, a signal handler.
    #[error("Unexpected exception, exiting abnormally: {0}")]
    System(#[from] io::Error),
}

/// A client port that cannot be opened.
#[derive(Debug, Error)]
pub enum ListenError {
    /// The name has no address.
    #[error("clientPortAddress {host} is not known: {error}. Name an address of this machine")]
    Unknown {
        /// As configured.
        host: String,
        /// What the resolver says.
        error: io::Error,
    },
    /// The address cannot be had.
    #[error("cannot listen on {address}: {error}. {}", listen_advice(error))]
    Refused {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
}

impl StartError {
    /// The exit code (ExitCode).
    pub fn exit_code(&self) -> u8 {
        match self {
            StartError::DataDir(_) => 3,
            StartError::ElectionPort(_) => 14,
            StartError::Recovery(_)
            | StartError::Initialize { .. }
            | StartError::Epochs(_)
            | StartError::DynamicFiles { .. }
            | StartError::Listen(_)
            | StartError::System(_) => 1,
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the system's errors are not ours")]
fn listen_advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "Another process has the port (zkserver status tells whether a server does): stop it, or set \
             clientPort to another one"
        }
        io::ErrorKind::AddrNotAvailable => "Set clientPortAddress to an address of this machine",
        io::ErrorKind::PermissionDenied => "Set clientPort to a port that this user may open, 1024 or above",
        _ => "clientPort and clientPortAddress say where to listen",
    }
}
