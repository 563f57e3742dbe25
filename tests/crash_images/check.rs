//! What has to be so after a crash.

use std::path::Path;

use zkserver::ids::Epoch;
use zkserver::prng::Prng;
use zkserver::storage::epochs::{self, Epochs};
use zkserver::storage::log_reader::{LogReader, Step};
use zkserver::storage::log_writer::LogWriter;
use zkserver::storage::recovery::{Recovered, recover};
use zkserver::storage::{StorageConfig, data_dir};

use crate::history::History;
use crate::machine::{Known, Moment, Recording, Span};
use crate::sim_disk::images::{PAGE, SECTOR};
use crate::sim_disk::{SimDisk, Unsynced};

/// Recoveries of one kind and the other.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub images: u64,
    /// After a crash within the recovery of an image.
    pub again: u64,
}

/// A directory that was recovered.
struct Found {
    history: usize,
    length: usize,
    epochs: Option<Epochs>,
}

/// The judge of one recording.
pub struct Check<'a> {
    recording: &'a Recording,
    prng: Prng,
    pub counts: Counts,
}

impl<'a> Check<'a> {
    pub fn new(recording: &'a Recording, seed: u64) -> Check<'a> {
        Check {
            recording,
            prng: Prng::new(seed),
            counts: Counts::default(),
        }
    }

    /// Recovers every image of a moment, or as many; what is wrong with some.
    pub fn moment(&mut self, moment: &Moment, images_max: usize) -> Vec<String> {
        let images = moment.disk.images(images_max, &mut self.prng);
        let mut wrong = Vec::new();
        for (grain, bits) in images {
            let mut next = bits.iter().copied();
            let disk = moment.disk.image(grain, &mut || next.next().unwrap_or(false));
            self.counts.images += 1;
            if let Err(reason) = self.image(&disk, &moment.known) {
                let bits: String = bits.iter().map(|kept| if *kept { '1' } else { '0' }).collect();
                wrong.push(format!("image {bits} of {grain} bytes: {reason}"));
            }
        }
        self.counts.images += 1;
        if let Err(reason) = self.killed(&moment.disk, &moment.known) {
            wrong.push(format!("a killed process: {reason}"));
        }
        if let Err(reason) = self.rotten(moment) {
            wrong.push(format!("a flipped bit: {reason}"));
        }
        wrong
    }

    /// A bit flips in a record that another one follows, and nothing says what was synced or where logs
    /// ended, as in a directory of Apache's: this is never taken for the end.
    fn rotten(&mut self, moment: &Moment) -> Result<(), String> {
        let config = &self.recording.config;
        let disk = moment.disk.image(PAGE, &mut || true);
        let logs = data_dir::list(&disk, config)
            .map_err(|error| error.to_string())?
            .logs;
        let Some((path, records)) = logs.into_iter().rev().find_map(|log| {
            let records = whole_records(&disk, config, &log.path);
            (records.len() > 1).then_some((log.path, records))
        }) else {
            return Ok(());
        };
        let (first, last) = (records[0], records[records.len() - 1]);
        let mut content = disk.content(&path);
        content[(first + self.prng.below(last - first)) as usize] ^= 1 << self.prng.below(8);
        disk.put(&path, content);
        for name in ["zkserver.synced", "zkserver.ends"] {
            let path = config.log_dir.join(name);
            if disk.paths().contains(&path) {
                disk.take(&path);
            }
        }
        self.counts.images += 1;
        match recover(&disk, config, 7) {
            Err(error) if error.is_damage() => Ok(()),
            Err(error) => Err(error.to_string()),
            Ok(_) => self.recover(&disk, &moment.known).map(|_| ()),
        }
    }

    /// After a power cut nothing is unsynced: whatever is found stays.
    fn image(&mut self, disk: &SimDisk, known: &Known) -> Result<(), String> {
        disk.record();
        let found = self.recover(disk, known)?;
        let again = self.crash_within(disk);
        self.counts.again += 1;
        let only = found.known();
        self.recover(&again, &only)
            .map_err(|reason| format!("a second crash, and {reason}"))?;
        if self.prng.below(4) == 0 {
            self.go_on(disk, found)?;
        }
        Ok(())
    }

    /// The process dies and the machine goes on; the next one is cut off from power while it recovers.
    fn killed(&mut self, disk: &SimDisk, known: &Known) -> Result<(), String> {
        let disk = disk.restart(Unsynced::Kept);
        disk.record();
        let found = self.recover(&disk, known)?;
        let again = self.crash_within(&disk);
        self.counts.again += 1;
        self.recover(&again, known)
            .map_err(|reason| format!("a second crash, and {reason}"))?;
        // What was found is served, so it must not be lost any more.
        let settled = disk.restart(Unsynced::Lost);
        self.recover(&settled, &found.known())
            .map_err(|reason| format!("a crash after recovery, and {reason}"))?;
        Ok(())
    }

    /// Any crash within what was recorded.
    fn crash_within(&mut self, disk: &SimDisk) -> SimDisk {
        let moments = disk.take_recorded();
        let (_, moment) = &moments[self.prng.below(moments.len() as u64) as usize];
        let odds = 1 + self.prng.below(15);
        let prng = &mut self.prng;
        moment.image(SECTOR, &mut || prng.below(16) < odds)
    }

    fn recover(&self, disk: &SimDisk, known: &Known) -> Result<Found, String> {
        let Recording {
            config, histories, ..
        } = self.recording;
        let _lock = data_dir::open(disk, config).map_err(|error| error.to_string())?;
        let recovered = recover(disk, config, 7).map_err(|error| format!("refused: {error}"))?;
        let last = recovered.last_zxid;
        if recovered.report.digest_mismatches > 0 {
            return Err(format!("digests differ up to {last}"));
        }
        let fits = |span: &&Span| {
            let number = histories[span.history].number_of(last);
            let number = number.filter(|number| (span.least..=span.most).contains(number));
            number.is_some_and(|number| histories[span.history].has_state(&recovered.tree, number))
        };
        let Some(span) = known.spans.iter().find(fits) else {
            let bounds = |span: &Span| {
                let zxid = |number| histories[span.history].zxid(number);
                format!("{}..={} of {}", zxid(span.least), zxid(span.most), span.history)
            };
            let expected: Vec<String> = known.spans.iter().map(bounds).collect();
            let report = &recovered.report;
            return Err(format!(
                "{last}, or its state, is not of {expected:?}: {report:?}"
            ));
        };
        let history = &histories[span.history];
        let length = history.number_of(last).unwrap_or_default();
        check_tail(&recovered, history, length)?;
        Ok(Found {
            history: span.history,
            length,
            epochs: check_epochs(disk, config, known, last.epoch())?,
        })
    }

    /// The server that was recovered logs and is recovered once more.
    fn go_on(&self, disk: &SimDisk, found: Found) -> Result<(), String> {
        let history = &self.recording.histories[found.history];
        let last = history.len().min(found.length + 2);
        let of_epoch = |number: &usize| {
            found
                .epochs
                .is_none_or(|it| history.zxid(*number).epoch() <= it.accepted)
        };
        let mut log = LogWriter::new(disk.clone(), &self.recording.config);
        let mut most = found.length;
        for number in (found.length + 1..=last).take_while(of_epoch) {
            log.append(history.zxid(number), history.txn(number));
            most = number;
        }
        log.sync().map_err(|error| error.to_string())?;
        let mut known = found.known();
        (known.spans[0].least, known.spans[0].most) = (most, most);
        if let Some((_, epochs)) = &mut known.epochs {
            epochs.current = epochs.accepted;
        }
        let found = self.recover(&disk.restart(Unsynced::Lost), &known);
        found
            .map(|_| ())
            .map_err(|reason| format!("it went on, and then {reason}"))
    }
}

impl Found {
    /// This and nothing else.
    fn known(&self) -> Known {
        let (history, length) = (self.history, self.length);
        Known {
            spans: vec![Span {
                history,
                least: length,
                most: length,
            }],
            epochs: self.epochs.map(|epochs| (epochs, epochs)),
        }
    }
}

/// Where the records of a log begin, as far as they are whole.
fn whole_records(disk: &SimDisk, config: &StorageConfig, path: &Path) -> Vec<u64> {
    let Ok(mut reader) = LogReader::open(disk, path, config.record_bytes_max) else {
        return Vec::new();
    };
    let mut offsets = Vec::new();
    while let Ok(Step::Record { offset, .. }) = reader.next_record() {
        offsets.push(offset);
    }
    offsets
}

/// What goes to learners is what was logged.
fn check_tail(recovered: &Recovered, history: &History, length: usize) -> Result<(), String> {
    let tail = &recovered.committed_tail;
    let numbers = length + 1 - tail.len()..=length;
    match numbers
        .zip(tail)
        .all(|(number, txn)| history.txn(number) == &txn[..])
    {
        true => Ok(()),
        false => Err("the newest transactions are not those of the log".into()),
    }
}

/// No promise went back, none was made that nobody asked for, and none is below what is held.
fn check_epochs(
    disk: &SimDisk,
    config: &StorageConfig,
    known: &Known,
    of_state: Epoch,
) -> Result<Option<Epochs>, String> {
    let Some((least, most)) = known.epochs else {
        return Ok(None);
    };
    let last = zkserver::ids::Zxid::new(of_state, 1);
    let (found, _) =
        epochs::load(disk, &config.snap_dir, last).map_err(|error| format!("refused: {error}"))?;
    let is_promise = (least.accepted..=most.accepted).contains(&found.accepted);
    let is_joined = (least.current..=most.current.max(of_state)).contains(&found.current);
    let is_ordered = found.accepted >= found.current && found.current >= of_state;
    match is_promise && is_joined && is_ordered {
        true => Ok(Some(found)),
        false => Err(format!(
            "{found:?} beside {of_state:?}, not between {least:?} and {most:?}"
        )),
    }
}
