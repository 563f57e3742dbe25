//! Reads transaction log files, of any server.

use std::fs;
use std::path::{Path, PathBuf};

const MAGIC: &[u8] = b"ZKLG";
const HEADER_BYTES: usize = 16;

/// The transactions of one log file in order: header, record, perhaps digest. Stops where the file is not
/// written yet or a record is torn; a record with a wrong checksum is an error.
pub fn read_log(bytes: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    if bytes.get(..4) != Some(MAGIC) {
        return Err("no log file".to_owned());
    }
    let mut rest = bytes.get(HEADER_BYTES..).unwrap_or_default();
    let mut txns = Vec::new();
    while let Some((head, after)) = rest.split_at_checked(12) {
        let checksum = u64::from_be_bytes(head[..8].try_into().expect("eight bytes"));
        let length = u32::from_be_bytes(head[8..].try_into().expect("four bytes")) as usize;
        let Some((txn, after)) = after.split_at_checked(length) else {
            break;
        };
        if length == 0 || after.first() != Some(&b'B') {
            break;
        }
        if u64::from(adler32(txn)) != checksum {
            return Err(format!("record {} has a wrong checksum", txns.len()));
        }
        txns.push(txn.to_vec());
        rest = &after[1..];
    }
    Ok(txns)
}

/// The transactions of all log files of a data directory (its `version-2`), in order.
pub fn read_data_dir(version_2: &Path) -> Result<Vec<Vec<u8>>, String> {
    let mut logs: Vec<(u64, PathBuf)> = Vec::new();
    let entries = fs::read_dir(version_2).map_err(|error| format!("{}: {error}", version_2.display()))?;
    for entry in entries {
        let entry = entry.map_err(|error| error.to_string())?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let zxid = name
            .strip_prefix("log.")
            .and_then(|zxid| u64::from_str_radix(zxid, 16).ok());
        logs.extend(zxid.map(|zxid| (zxid, entry.path())));
    }
    logs.sort();
    let mut txns = Vec::new();
    for (_, path) in logs {
        let bytes = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        if !bytes.is_empty() {
            txns.extend(read_log(&bytes).map_err(|error| format!("{}: {error}", path.display()))?);
        }
    }
    Ok(txns)
}

/// The checksum of RFC 1950.
pub fn adler32(bytes: &[u8]) -> u32 {
    let (mut low, mut high) = (1_u32, 0_u32);
    for chunk in bytes.chunks(5000) {
        for byte in chunk {
            low += u32::from(*byte);
            high += low;
        }
        low %= 65521;
        high %= 65521;
    }
    high << 16 | low
}
