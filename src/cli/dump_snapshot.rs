//! `zkserver snapshot FILE`: a snapshot in readable form, as SnapshotFormatter prints it, or as JSON lines.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::{Map, Value, json};

use super::readable::{acl_json, data_json, long_time};
use crate::ids::SessionId;
use crate::proto::acl::RawAcls;
use crate::server::os_disk::OsDisk;
use crate::storage::Compression;
use crate::storage::codec::SNAPPY_MAGIC;
use crate::storage::data_dir::{SnapshotFile, parse_snapshot_name};
use crate::storage::disk::{Disk, read_full_at};
use crate::storage::snapshot_reader::{self, SnapshotError, SnapshotNode, SnapshotSink, SnapshotTail};
use crate::tree::LoadError;

/// Which snapshot, and how.
#[derive(Clone, Debug, clap::Args)]
pub struct DumpSnapshotArgs {
    /// The snapshot.
    pub file: PathBuf,
    /// One JSON object a line instead of text.
    #[arg(long)]
    pub json: bool,
    /// Data in base64 instead of its length.
    #[arg(short = 'd', long)]
    pub data: bool,
}

/// Prints all that can be read; a snapshot whose sums are wrong is an error.
pub fn run(args: &DumpSnapshotArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let file = find(&args.file).with_context(|| format!("cannot read {}", args.file.display()))?;
    let mut out = BufWriter::new(out);
    let verdict = snapshot_reader::read(&OsDisk, &file, RECORD_BYTES_MAX, &mut ());
    if !args.json {
        match &verdict {
            // Apache counts the root a second time, as "/".
            Ok(tail) => writeln!(out, "ZNode Details (count={}):", tail.nodes + 1)?,
            Err(error) => writeln!(out, "DAMAGED: {error}. What can be read:")?,
        }
        writeln!(out, "----")?;
    }
    let mut printer = Printer {
        args,
        out: &mut out,
        failed: None,
        sessions: BTreeMap::new(),
    };
    // The second reading fails where the first one did.
    let _ = snapshot_reader::read(&OsDisk, &file, RECORD_BYTES_MAX, &mut printer);
    let Printer { failed, sessions, .. } = printer;
    if let Some(error) = failed {
        return Err(error.into());
    }
    print_end(args, &file, &sessions, verdict.as_ref(), &mut out)?;
    out.flush()?;
    verdict.with_context(|| format!("{} is damaged", args.file.display()))?;
    Ok(())
}

/// Anything may be looked at, whatever its name: the first bytes say how it is compressed.
fn find(path: &Path) -> io::Result<SnapshotFile> {
    let file = OsDisk.open_read(path)?;
    let mut head = [0; 8];
    let count = read_full_at(&file, &mut head, 0)?;
    let compression = if head[..count].starts_with(&[0x1f, 0x8b]) {
        Compression::Gzip
    } else if head == SNAPPY_MAGIC {
        Compression::Snappy
    } else {
        Compression::None
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(SnapshotFile {
        zxid: parse_snapshot_name(&name)
            .map(|(zxid, _)| zxid)
            .unwrap_or_default(),
        compression,
        path: path.into(),
        len: file.metadata()?.len(),
    })
}

struct Printer<'a, W> {
    args: &'a DumpSnapshotArgs,
    out: &'a mut W,
    failed: Option<io::Error>,
    /// Timeout and number of ephemerals.
    sessions: BTreeMap<SessionId, (i32, u64)>,
}

impl<W: Write> SnapshotSink for Printer<'_, W> {
    fn session(&mut self, session: SessionId, timeout_ms: i32) {
        self.sessions.insert(session, (timeout_ms, 0));
    }

    fn acl(&mut self, id: i64, acl: &RawAcls<'_>) -> Result<(), LoadError> {
        if self.args.json && self.failed.is_none() {
            let fields = json!({"kind": "acl", "id": id, "acl": acl_json(acl)});
            self.failed = writeln!(self.out, "{fields}").err();
        }
        Ok(())
    }

    fn node(&mut self, node: &SnapshotNode<'_>) -> Result<(), LoadError> {
        if let Some((_, count)) = self.sessions.get_mut(&SessionId(node.stat.ephemeral_owner)) {
            *count += 1;
        }
        if self.failed.is_none() {
            self.failed = print_node(self.args, node, self.out).err();
        }
        Ok(())
    }
}

fn print_node(args: &DumpSnapshotArgs, node: &SnapshotNode<'_>, out: &mut impl Write) -> io::Result<()> {
    let path = if node.path.is_empty() { "/" } else { &node.path };
    let stat = &node.stat;
    let data_length = node.data.map_or(0, <[u8]>::len);
    if args.json {
        let mut fields = json!({
            "kind": "node", "path": path, "acl": node.acl,
            "czxid": stat.czxid.to_string(), "ctime_ms": stat.ctime,
            "mzxid": stat.mzxid.to_string(), "mtime_ms": stat.mtime,
            "pzxid": stat.pzxid.to_string(), "version": stat.version, "cversion": stat.cversion,
            "aversion": stat.aversion, "ephemeral_owner": format!("0x{:x}", stat.ephemeral_owner),
            "data_length": data_length, "data_null": node.data.is_none(),
        });
        if args.data {
            fields["data_base64"] = data_json(node.data);
        }
        return writeln!(out, "{fields}");
    }
    writeln!(out, "{}", super::readable::text(Some(path.as_bytes())))?;
    writeln!(out, "  cZxid = {:#016x}", stat.czxid.0)?;
    writeln!(out, "  ctime = {}", long_time(stat.ctime))?;
    writeln!(out, "  mZxid = {:#016x}", stat.mzxid.0)?;
    writeln!(out, "  mtime = {}", long_time(stat.mtime))?;
    writeln!(out, "  pZxid = {:#016x}", stat.pzxid.0)?;
    writeln!(out, "  cversion = {}", stat.cversion)?;
    writeln!(out, "  dataVersion = {}", stat.version)?;
    writeln!(out, "  aclVersion = {}", stat.aversion)?;
    writeln!(out, "  ephemeralOwner = {:#016x}", stat.ephemeral_owner)?;
    if args.data {
        writeln!(
            out,
            "  data = {}",
            data_json(node.data).as_str().unwrap_or_default()
        )?;
    } else {
        writeln!(out, "  dataLength = {data_length}")?;
    }
    writeln!(out, "----")
}

fn print_end(
    args: &DumpSnapshotArgs,
    file: &SnapshotFile,
    sessions: &BTreeMap<SessionId, (i32, u64)>,
    verdict: Result<&SnapshotTail, &SnapshotError>,
    out: &mut impl Write,
) -> io::Result<()> {
    let last_zxid = verdict.ok().and_then(|tail| tail.last_zxid).unwrap_or(file.zxid);
    let digest = verdict.ok().and_then(|tail| tail.digest);
    if args.json {
        for (session, (timeout_ms, ephemerals)) in sessions {
            let fields = json!({
                "kind": "session", "session": session.to_string(), "timeout_ms": timeout_ms,
                "ephemerals": ephemerals,
            });
            writeln!(out, "{fields}")?;
        }
        let mut fields = Map::new();
        fields.insert("kind".into(), "end".into());
        fields.insert("last_zxid".into(), last_zxid.to_string().into());
        if let Some(digest) = digest {
            fields.insert("digest_zxid".into(), digest.zxid.to_string().into());
            fields.insert("digest".into(), digest.digest.to_string().into());
        }
        let checksum = verdict.map_or_else(|error| format!("damaged: {error}"), |_| "ok".into());
        fields.insert("checksum".into(), checksum.into());
        return writeln!(out, "{}", Value::Object(fields));
    }
    writeln!(out, "Session Details (sid, timeout, ephemeralCount):")?;
    for (session, (timeout_ms, ephemerals)) in sessions {
        writeln!(out, "{session}, {timeout_ms}, {ephemerals}")?;
    }
    writeln!(out, "----")?;
    writeln!(out, "Last zxid: {last_zxid}")?;
    if let Some(digest) = digest {
        writeln!(out, "Digest: {} after {}", digest.digest, digest.zxid)?;
    }
    writeln!(
        out,
        "Checksums: {}",
        if verdict.is_ok() { "ok" } else { "DAMAGED" }
    )
}

/// Larger than any server's limit is likely to be.
const RECORD_BYTES_MAX: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::snapshot_writer;
    use crate::storage::{StorageConfig, data_dir};
    use crate::tree::DataTree;

    #[test]
    fn a_snapshot_is_printed_whole_or_called_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let config = StorageConfig {
            snap_dir: dir.path().join("version-2"),
            log_dir: dir.path().join("version-2"),
            prealloc_bytes: 0,
            force_sync: true,
            compression: Compression::Snappy,
            trust_empty_snapshot: false,
            digest_enabled: true,
            log_size_limit: None,
            record_bytes_max: 1 << 20,
            autocreate: true,
            may_begin_empty: true,
        };
        let _lock = data_dir::open(&OsDisk, &config).unwrap();
        let mut tree = DataTree::new(1);
        let file = snapshot_writer::write_tree(&OsDisk, &config, &mut tree).unwrap();
        let mut args = DumpSnapshotArgs {
            file: file.path.clone(),
            json: false,
            data: false,
        };
        let mut out = Vec::new();
        run(&args, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.starts_with("ZNode Details (count=5):\n----\n/\n  cZxid = 0x00000000000000\n"),
            "{text}"
        );
        assert!(
            text.ends_with("Last zxid: 0x0\nDigest: 0 after 0x0\nChecksums: ok\n"),
            "{text}"
        );
        let mut bytes = std::fs::read(&file.path).unwrap();
        let last = bytes.len() - 3;
        bytes[last] ^= 0x41;
        args.file = dir.path().join("copy");
        args.json = true;
        std::fs::write(&args.file, bytes).unwrap();
        let mut out = Vec::new();
        assert!(run(&args, &mut out).is_err());
        assert!(String::from_utf8(out).unwrap().contains("\"checksum\":\"damaged"));
    }
}
