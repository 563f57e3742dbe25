//! Digests, version 2 (DigestCalculator): the tree's is the sum of its nodes', modulo 2^64.
//!
//! A node's is a CRC-32 of path, data and bookkeeping, in this order. It is kept with the node, so that a
//! change of the bookkeeping costs its 60 bytes once.

use crate::proto::stat::StatPersisted;

/// The version of the digests computed here.
pub const DIGEST_VERSION: i32 = 2;

/// What a node adds to the digest of the tree. The root's path is empty, however it is spelled.
pub fn node_digest(path: &str, data: Option<&[u8]>, stat: &StatPersisted) -> u32 {
    if !is_counted(path) {
        return 0;
    }
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(if path == "/" { b"" } else { path.as_bytes() });
    hasher.update(data.unwrap_or_default());
    hasher.update(&bytes_of(stat));
    hasher.finalize()
}

/// The digest of a node that counts, after a change of nothing but its bookkeeping.
///
/// Checksums of the same length differ by the checksum of the bytes' difference, taken without the ones that
/// CRC-32 begins and ends with. Path and data add nothing to it: they are the same.
pub fn digest_after(digest: u32, before: &StatPersisted, after: &StatPersisted) -> u32 {
    let mut difference = bytes_of(before);
    for (byte, other) in difference.iter_mut().zip(bytes_of(after)) {
        *byte ^= other;
    }
    let mut hasher = crc32fast::Hasher::new_with_initial(u32::MAX);
    hasher.update(&difference);
    digest ^ !hasher.finalize()
}

fn bytes_of(stat: &StatPersisted) -> [u8; STAT_BYTES] {
    let mut bytes = [0; STAT_BYTES];
    let (longs, rest) = bytes.split_at_mut(40);
    let (ints, owner) = rest.split_at_mut(12);
    let values = [stat.czxid.0, stat.mzxid.0, stat.pzxid.0, stat.ctime, stat.mtime];
    for (slot, value) in longs.as_chunks_mut().0.iter_mut().zip(values) {
        *slot = value.to_be_bytes();
    }
    let versions = [stat.version, stat.cversion, stat.aversion];
    for (slot, value) in ints.as_chunks_mut().0.iter_mut().zip(versions) {
        *slot = value.to_be_bytes();
    }
    owner.copy_from_slice(&stat.ephemeral_owner.to_be_bytes());
    bytes
}

/// Whether the node at this path counts: servers rewrite some nodes below `/zookeeper` without a transaction.
pub fn is_counted(path: &str) -> bool {
    !path.starts_with("/zookeeper/")
}

const STAT_BYTES: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Zxid;

    #[test]
    fn nodes_of_a_real_server_have_its_digests() {
        let zero = StatPersisted::default();
        assert_eq!(node_digest("", None, &zero), 68_323_592);
        assert_eq!(node_digest("/", Some(b""), &zero), 68_323_592);
        assert_eq!(node_digest("/zookeeper", Some(b""), &zero), 1_303_661_912);
        let time = 1_795_223_253_724;
        let a = StatPersisted {
            czxid: Zxid(2),
            mzxid: Zxid(2),
            ctime: time,
            mtime: time,
            pzxid: Zxid(2),
            ..zero
        };
        assert_eq!(node_digest("/a", Some(b"hello"), &a), 0xcfec_186a);
        let root = StatPersisted {
            cversion: 1,
            pzxid: Zxid(2),
            ..zero
        };
        assert_eq!(node_digest("/", None, &root), 0x0315_78f2);
        assert_eq!(node_digest("/zookeeper/quota", None, &a), 0);
    }

    #[test]
    fn a_change_of_the_bookkeeping_needs_neither_path_nor_data() {
        let before = StatPersisted {
            czxid: Zxid(7),
            ctime: -1,
            ephemeral_owner: i64::MIN,
            ..StatPersisted::default()
        };
        let after = StatPersisted {
            mzxid: Zxid(i64::MAX),
            pzxid: Zxid(9),
            mtime: 5,
            version: -1,
            cversion: 3,
            aversion: i32::MIN,
            ephemeral_owner: 1,
            ..before
        };
        for (path, data) in [("", None), ("/a", Some(&b"hello"[..])), ("/a/b", Some(&[0; 300]))] {
            let digest = node_digest(path, data, &before);
            assert_eq!(digest_after(digest, &before, &before), digest);
            assert_eq!(
                digest_after(digest, &before, &after),
                node_digest(path, data, &after)
            );
        }
    }

    #[test]
    fn only_what_is_below_zookeeper_does_not_count() {
        assert!(is_counted("") && is_counted("/zookeeper") && is_counted("/zookeeper2/a"));
        assert!(!is_counted("/zookeeper/quota") && !is_counted("/zookeeper/a/b"));
    }
}
