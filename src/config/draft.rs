//! A configuration while it is being read, before the defaults that depend on other keys fill the rest.

use std::path::PathBuf;

use super::my_id::MyId;
use super::server_config::{ClientPortConfig, LearnerType, ServerConfig};

/// What the settings read so far say.
pub(super) struct Draft {
    /// Fields whose defaults depend on nothing else.
    pub config: ServerConfig,
    /// `clientPort`.
    pub client_port: Option<u16>,
    /// `secureClientPort`.
    pub secure_port: Option<u16>,
    /// `dataDir`.
    pub data_dir: Option<PathBuf>,
    /// `dataLogDir`.
    pub data_log_dir: Option<PathBuf>,
    /// `minSessionTimeout`, unless it is -1.
    pub min_session_timeout_ms: Option<u32>,
    /// `maxSessionTimeout`, unless it is -1.
    pub max_session_timeout_ms: Option<u32>,
    /// `jute.maxbuffer.extrasize`.
    pub extra_size: Option<usize>,
    /// `extendedTypesEnabled`.
    pub extended_types: Option<bool>,
    /// `enforce.auth.enabled`.
    pub enforces_auth: bool,
    /// `enforce.auth.schemes`.
    pub auth_schemes: Vec<String>,
    /// `peerType`.
    pub peer_type: Option<LearnerType>,
    /// `dynamicConfigFile`.
    pub dynamic_config_file: Option<PathBuf>,
    /// Which server this is.
    pub my_id: Option<MyId>,
    /// What the last setter did other than what was said, or says about its effect.
    pub doubts: Vec<String>,
}

impl Draft {
    /// The start for a file: it says itself whether and where there is a client port.
    pub fn for_file() -> Draft {
        let client_port = ClientPortConfig {
            port: None,
            host: None,
            ..ClientPortConfig::default()
        };
        Draft {
            config: ServerConfig {
                client_port,
                ..ServerConfig::default()
            },
            client_port: None,
            secure_port: None,
            data_dir: None,
            data_log_dir: None,
            min_session_timeout_ms: None,
            max_session_timeout_ms: None,
            extra_size: None,
            extended_types: None,
            enforces_auth: false,
            auth_schemes: Vec::new(),
            peer_type: None,
            dynamic_config_file: None,
            my_id: None,
            doubts: Vec::new(),
        }
    }

    pub fn set_extra_size(&mut self, bytes: usize) {
        self.extra_size = Some(bytes.max(EXTRA_SIZE_MIN));
        self.doubt_if(bytes < EXTRA_SIZE_MIN, || {
            format!("{bytes} is below the least, {EXTRA_SIZE_MIN} is used")
        });
    }

    pub fn set_snap_count(&mut self, count: i64) {
        self.config.storage.snap_count = Some(self.at_least(count, 2));
    }

    pub fn set_commit_log_count(&mut self, count: i64) {
        self.config.storage.commit_log_count = self.at_least(count, 500);
    }

    pub fn set_snap_retain_count(&mut self, count: i64) {
        self.config.purge.snap_retain_count = self.at_least(count, 3);
    }

    pub fn set_force_sync(&mut self, is_on: bool) {
        self.config.storage.force_sync = is_on;
        self.doubt_if(!is_on, || {
            "acknowledged writes can be lost when the power or the system fails".to_owned()
        });
    }

    pub fn set_skip_acl(&mut self, is_skipped: bool) {
        self.config.auth.skip_acl = is_skipped;
        self.doubt_if(is_skipped, || {
            "no ACL is checked, every client may read and change everything".to_owned()
        });
    }

    /// A real number: negative = off, above 1 = the default.
    pub fn set_snapshot_size_factor(&mut self, text: &str) -> Result<(), String> {
        let factor: f64 = text
            .parse()
            .ok()
            .filter(|factor: &f64| factor.is_finite())
            .ok_or_else(|| {
                format!("found \"{text}\", it must be a number from 0 to 1, as in 0.33, or negative for off")
            })?;
        if factor > 1.0 {
            self.doubts.push(format!("{text} is above 1, 0.33 is used"));
            return Ok(());
        }
        let permille = (0..=1_000)
            .rev()
            .find(|&permille| f64::from(permille) <= factor * 1_000.0 + 0.5);
        self.config.storage.snapshot_size_factor_permille = permille.filter(|_| factor >= 0.0);
        Ok(())
    }

    fn at_least(&mut self, value: i64, least: u32) -> u32 {
        let raised = u32::try_from(value).unwrap_or(0).max(least);
        self.doubt_if(i64::from(raised) != value, || {
            format!("{value} is below the least, {least} is used")
        });
        raised
    }

    pub fn doubt_if(&mut self, is_doubtful: bool, text: impl FnOnce() -> String) {
        if is_doubtful {
            self.doubts.push(text());
        }
    }
}

const EXTRA_SIZE_MIN: usize = 1_024;
