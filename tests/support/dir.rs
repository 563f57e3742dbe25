//! A data directory to be damaged: snapshots 0, 6, 12, 1d and 27 and logs 1, 8, 14, 1f and 29 (hexadecimal),
//! the last transaction being 2a.

use std::path::{Path, PathBuf};

use zkserver::ids::Zxid;
use zkserver::storage::log_reader::{LogReader, Step};
use zkserver::storage::log_writer::LogWriter;
use zkserver::storage::recovery::{Recovered, RecoveryError, recover};
use zkserver::storage::{StorageConfig, data_dir, snapshot_writer};

use crate::history::{History, config};
use crate::sim_disk::{SimDisk, Unsynced};

#[derive(Clone)]
pub struct Dir {
    pub disk: SimDisk,
    pub config: StorageConfig,
    pub history: History,
}

impl Dir {
    pub fn new() -> Dir {
        Dir::with(config(Path::new("/data"))).without_mark()
    }

    pub fn with(config: StorageConfig) -> Dir {
        let disk = SimDisk::default();
        let history = History::new(9, 0x30);
        let _lock = data_dir::open(&disk, &config).unwrap();
        let mut tree = recover(&disk, &config, 7).unwrap().tree;
        let mut log = LogWriter::new(disk.clone(), &config);
        for number in 1..=0x2a {
            let txn = history.txn(number);
            log.append(Zxid(number as i64), txn);
            let logged = zkserver::proto::txn::decode(txn).unwrap();
            if [7, 0x13, 0x1e, 0x28].contains(&number) {
                log.sync().unwrap();
                log.roll();
                snapshot_writer::write_tree(&disk, &config, &mut tree).unwrap();
            }
            tree.process_txn(&logged.header, &logged.txn, &mut ());
        }
        log.sync().unwrap();
        Dir {
            disk,
            config,
            history,
        }
    }

    /// As Apache leaves it: without the mark of what was synced every rule is the strict one, and nothing
    /// says where the logs ended.
    pub fn without_mark(self) -> Dir {
        self.disk.take(&self.config.log_dir.join("zkserver.synced"));
        self.disk.take(&self.config.log_dir.join("zkserver.ends"));
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.config.log_dir.join(name)
    }

    pub fn edit(&self, name: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut content = self.disk.content(&self.path(name));
        edit(&mut content);
        self.disk.put(&self.path(name), content);
    }

    /// Offsets of the records of a log, and of their end.
    pub fn offsets(&self, name: &str) -> Vec<usize> {
        let mut reader = LogReader::open(&self.disk, &self.path(name), 1 << 20).unwrap();
        let mut offsets = Vec::new();
        loop {
            match reader.next_record().unwrap() {
                Step::Record { offset, .. } => offsets.push(offset as usize),
                Step::End { offset } => {
                    offsets.push(offset as usize);
                    return offsets;
                }
                Step::Bad { .. } => panic!("undamaged"),
            }
        }
    }

    pub fn recover(&self) -> Result<Recovered, RecoveryError> {
        recover(&self.disk, &self.config, 7)
    }

    /// It starts with everything up to `last`, and again; Apache's rules for a directory hold.
    pub fn serves(&self, last: usize) -> Recovered {
        let recovered = self.recover().unwrap();
        assert_eq!(recovered.last_zxid, Zxid(last as i64));
        self.history.assert_state(&recovered.tree, last, &String::new);
        let again = recover(&self.disk.restart(Unsynced::Lost), &self.config, 7).unwrap();
        self.history.assert_state(&again.tree, last, &String::new);
        assert_eq!(again.report.torn, None);
        let newest = self.disk.paths().into_iter().filter(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            data_dir::parse_log_name(name).is_some()
        });
        let newest =
            newest.max_by_key(|path| data_dir::parse_log_name(path.file_name().unwrap().to_str().unwrap()));
        let name = newest.unwrap().file_name().unwrap().to_str().unwrap().to_string();
        let end = *self.offsets(&name).last().unwrap();
        assert_eq!(self.disk.content(&self.path(&name)).len(), end);
        recovered
    }

    /// It does not start, says why, and leaves the files as they are.
    pub fn refuses(&self, sentence: &str) -> RecoveryError {
        let before: Vec<_> = self
            .disk
            .paths()
            .into_iter()
            .map(|path| self.disk.content(&path))
            .collect();
        let error = self.recover().err().expect("refused");
        assert!(error.to_string().contains(sentence), "{error}");
        let after: Vec<_> = self
            .disk
            .paths()
            .into_iter()
            .map(|path| self.disk.content(&path))
            .collect();
        assert!(before == after);
        error
    }
}
