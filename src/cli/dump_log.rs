//! `zkserver txnlog FILE`: a transaction log in readable form, as TxnLogToolkit prints it, or as JSON lines.

use std::io::Write;
use std::path::PathBuf;

use anyhow::bail;
use serde_json::{Map, Value, json};

use super::readable::{acl_json, acl_text, data_json, short_time, text};
use crate::ids::Zxid;
use crate::proto::txn::{self, LoggedTxn, Txn};
use crate::server::os_disk::OsDisk;
use crate::storage::log_reader::{LogReader, Step};
use crate::storage::record::Damage;

/// Which log, and how.
#[derive(Clone, Debug, clap::Args)]
pub struct DumpLogArgs {
    /// The log.
    pub file: PathBuf,
    /// One JSON object a line instead of text.
    #[arg(long)]
    pub json: bool,
}

/// Prints every transaction, also those behind a damage. A torn tail is said, and is no error; damage in
/// front of a good transaction is one.
pub fn run(args: &DumpLogArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut reader = LogReader::open(&OsDisk, &args.file, RECORD_BYTES_MAX)?;
    let mut is_damaged = false;
    let mut count = 0_u64;
    if !args.json {
        writeln!(
            out,
            "ZooKeeper Transactional Log File with dbid 0 txnlog format version 2"
        )?;
    }
    loop {
        let (offset, damage) = match reader.next_record()? {
            Step::Record { offset, body, .. } => {
                count += 1;
                print_record(args, offset, body, out)?;
                continue;
            }
            Step::End { offset } => (offset, None),
            Step::Bad { offset, damage } => (offset, Some(damage)),
        };
        let Some(data_at) = reader.find_data(offset)? else {
            break;
        };
        let damage = damage.unwrap_or(Damage::BehindEnd);
        let next = reader.find_record(data_at.max(offset + 1) - 1, Zxid(i64::MIN))?;
        let next = next.filter(|&(next_offset, _)| next_offset > offset || damage == Damage::BehindEnd);
        print_damage(args, offset, damage, next, out)?;
        let Some((next_offset, _)) = next else {
            break;
        };
        is_damaged = true;
        reader.seek(next_offset);
    }
    if !args.json {
        writeln!(out, "EOF reached after {count} txns.")?;
    }
    if is_damaged {
        bail!("{} is damaged", args.file.display());
    }
    Ok(())
}

fn print_record(args: &DumpLogArgs, offset: u64, body: &[u8], out: &mut dyn Write) -> anyhow::Result<()> {
    let logged = match txn::decode(body) {
        Ok(logged) => logged,
        Err(error) if args.json => {
            let fields = json!({"offset": offset, "checksum": "ok", "error": error.to_string()});
            return Ok(writeln!(out, "{fields}")?);
        }
        Err(error) => {
            return Ok(writeln!(
                out,
                "offset {offset}: checksum ok, but not a transaction: {error}"
            )?);
        }
    };
    let header = &logged.header;
    if args.json {
        return Ok(writeln!(out, "{}", record_json(offset, &logged))?);
    }
    writeln!(
        out,
        "{} session {} cxid 0x{:x} zxid {} {} {}",
        short_time(header.time),
        header.client_id,
        header.cxid,
        header.zxid,
        name(&logged.txn),
        txn_text(&logged.txn)
    )?;
    Ok(())
}

fn print_damage(
    args: &DumpLogArgs,
    offset: u64,
    damage: Damage,
    next: Option<(u64, Zxid)>,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let verdict = if next.is_some() { "damaged" } else { "torn tail" };
    if args.json {
        let next = next.map(|(offset, zxid)| json!({"offset": offset, "zxid": zxid.to_string()}));
        let fields =
            json!({"offset": offset, "checksum": verdict, "error": damage.to_string(), "next": next});
        writeln!(out, "{fields}")?;
        return Ok(());
    }
    write!(out, "CRC ERROR - offset {offset}: {verdict}: {damage}")?;
    match next {
        Some((next_offset, zxid)) => writeln!(out, "; goes on at offset {next_offset} with zxid {zxid}")?,
        None => writeln!(out, "; no transaction follows")?,
    }
    Ok(())
}

fn record_json(offset: u64, logged: &LoggedTxn<'_>) -> Value {
    let header = &logged.header;
    let mut fields = Map::new();
    fields.insert("offset".into(), offset.into());
    fields.insert("checksum".into(), "ok".into());
    fields.insert("session".into(), header.client_id.to_string().into());
    fields.insert("cxid".into(), header.cxid.into());
    fields.insert("zxid".into(), header.zxid.to_string().into());
    fields.insert("time_ms".into(), header.time.into());
    txn_json(&logged.txn, &mut fields);
    if let Some(digest) = logged.digest {
        fields.insert("digest_version".into(), digest.version.into());
        fields.insert("digest".into(), digest.digest.to_string().into());
    }
    Value::Object(fields)
}

/// The names of Request.op2String.
fn name(txn: &Txn<'_>) -> &'static str {
    use crate::proto::txn::CreateKind;
    match txn {
        Txn::CreateSession { .. } => "createSession",
        Txn::CloseSession { .. } => "closeSession",
        Txn::Error(_) => "error",
        Txn::Create(create) => match create.kind {
            CreateKind::Plain => "create",
            CreateKind::WithStat => "create2",
            CreateKind::Container => "createContainer",
            CreateKind::Ttl(_) => "createTTL",
        },
        Txn::Delete { .. } => "delete",
        Txn::DeleteContainer { .. } => "deleteContainer",
        Txn::SetData { .. } => "setData",
        Txn::Reconfig { .. } => "reconfig",
        Txn::SetAcl { .. } => "setACL",
        Txn::Check { .. } => "check",
        Txn::Multi(_) => "multi",
    }
}

fn txn_text(txn: &Txn<'_>) -> String {
    use crate::proto::txn::CreateKind;
    match txn {
        Txn::CreateSession { timeout_ms } => timeout_ms.to_string(),
        Txn::CloseSession { paths: None } => String::new(),
        Txn::CloseSession { paths: Some(paths) } => {
            let paths: Vec<String> = paths
                .iter()
                .map(|path| format!("'{}", text(Some(path.as_bytes()))))
                .collect();
            format!("v{{{}}}", paths.join(","))
        }
        Txn::Error(code) => code.to_string(),
        Txn::Create(create) => {
            let path = text(Some(create.path.as_bytes()));
            let (data, acl) = (text(create.data), acl_text(&create.acl));
            match create.kind {
                CreateKind::Plain | CreateKind::WithStat => {
                    format!(
                        "{path},{data},{acl},{},{}",
                        create.ephemeral, create.parent_cversion
                    )
                }
                CreateKind::Container => format!("{path},{data},{acl},{}", create.parent_cversion),
                CreateKind::Ttl(ttl) => format!("{path},{data},{acl},{},{ttl}", create.parent_cversion),
            }
        }
        Txn::Delete { path } | Txn::DeleteContainer { path } => format!("'{}", text(Some(path.as_bytes()))),
        Txn::SetData { path, data, version } | Txn::Reconfig { path, data, version } => {
            format!("{},{},{version}", text(Some(path.as_bytes())), text(*data))
        }
        Txn::SetAcl { path, acl, version } => {
            format!("{},{},{version}", text(Some(path.as_bytes())), acl_text(acl))
        }
        Txn::Check { path, version } => format!("{},{version}", text(Some(path.as_bytes()))),
        Txn::Multi(txns) => {
            let txns: Vec<String> = txns
                .iter()
                .map(|txn| format!("{}:{}", name(txn), txn_text(txn)))
                .collect();
            txns.join(";")
        }
    }
}

fn txn_json(txn: &Txn<'_>, fields: &mut Map<String, Value>) {
    use crate::proto::txn::CreateKind;
    let mut put = |key: &str, value: Value| fields.insert(key.into(), value);
    put("type", name(txn).into());
    match txn {
        Txn::CreateSession { timeout_ms } => drop(put("timeout_ms", (*timeout_ms).into())),
        Txn::CloseSession { paths } => drop(put("paths", json!(paths))),
        Txn::Error(code) => drop(put("error_code", (*code).into())),
        Txn::Create(create) => {
            put("path", create.path.as_ref().into());
            put("data_base64", data_json(create.data));
            put("acl", acl_json(&create.acl));
            put("ephemeral", create.ephemeral.into());
            put("parent_cversion", create.parent_cversion.into());
            if let CreateKind::Ttl(ttl) = create.kind {
                put("ttl_ms", ttl.into());
            }
        }
        Txn::Delete { path } | Txn::DeleteContainer { path } => drop(put("path", path.as_ref().into())),
        Txn::SetData { path, data, version } | Txn::Reconfig { path, data, version } => {
            put("path", path.as_ref().into());
            put("data_base64", data_json(*data));
            put("version", (*version).into());
        }
        Txn::SetAcl { path, acl, version } => {
            put("path", path.as_ref().into());
            put("acl", acl_json(acl));
            put("version", (*version).into());
        }
        Txn::Check { path, version } => {
            put("path", path.as_ref().into());
            put("version", (*version).into());
        }
        Txn::Multi(txns) => {
            let txns = txns.iter().map(|txn| {
                let mut fields = Map::new();
                txn_json(txn, &mut fields);
                Value::Object(fields)
            });
            put("txns", txns.collect());
        }
    }
}

/// Larger than any server's limit is likely to be.
const RECORD_BYTES_MAX: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::jute::Put;
    use crate::storage::record::{encode_log_header, encode_record};

    fn dump(content: &[u8], json: bool) -> (String, bool) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        let args = DumpLogArgs {
            file: file.path().into(),
            json,
        };
        let mut out = Vec::new();
        let result = run(&args, &mut out);
        (String::from_utf8(out).unwrap(), result.is_ok())
    }

    fn log() -> (Vec<u8>, usize) {
        let mut content = Vec::new();
        encode_log_header(&mut content);
        let mut second = 0;
        for zxid in 1..=3_i64 {
            let mut body = Vec::new();
            body.put_long(5);
            body.put_int(9);
            body.put_long(zxid);
            body.put_long(1_795_223_253_695);
            body.put_int(2);
            body.put_string("/d\n");
            encode_record(&body, &mut content);
            if zxid == 1 {
                second = content.len();
            }
        }
        (content, second)
    }

    #[test]
    fn transactions_are_printed_as_the_toolkit_does() {
        let (mut content, _) = log();
        content.resize(4096, 0);
        let (text, is_ok) = dump(&content, false);
        assert!(is_ok);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 5);
        assert_eq!(
            lines[1],
            "11/21/26, 1:07:33 AM UTC session 0x5 cxid 0x9 zxid 0x1 delete '/d\\n"
        );
        assert_eq!(lines[4], "EOF reached after 3 txns.");
        let (text, _) = dump(&content, true);
        let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(first["zxid"], "0x1");
        assert_eq!(first["path"], "/d\n");
    }

    #[test]
    fn what_is_behind_a_damage_is_printed_too() {
        let (mut content, second) = log();
        content[second + 40] ^= 1;
        let (text, is_ok) = dump(&content, false);
        assert!(!is_ok);
        assert!(text.contains("CRC ERROR - offset"), "{text}");
        assert!(text.contains("checksum mismatch; goes on at offset"), "{text}");
        assert!(text.ends_with("EOF reached after 2 txns.\n"), "{text}");
        content.truncate(content.len() - 1);
        content[second + 40] ^= 1;
        let (text, is_ok) = dump(&content, true);
        assert!(is_ok);
        assert!(text.lines().last().unwrap().contains("torn tail"), "{text}");
    }
}
