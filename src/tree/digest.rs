//! Digests, version 2 (DigestCalculator): the tree's is the sum of its nodes', modulo 2^64.
//!
//! A node's is a CRC-32 of path, data and bookkeeping, in this order. The first two change seldom, so that
//! the checksum up to there is kept with the node and a change of the bookkeeping costs 60 bytes.

use crate::proto::stat::StatPersisted;

/// The version of the digests computed here.
pub const DIGEST_VERSION: i32 = 2;

/// The CRC-32 of path and data. The root's path is empty, however it is spelled.
pub fn prefix_crc(path: &str, data: Option<&[u8]>) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(if path == "/" { b"" } else { path.as_bytes() });
    hasher.update(data.unwrap_or_default());
    hasher.finalize()
}

/// What a node adds to the digest of the tree.
pub fn node_digest(is_counted: bool, prefix_crc: u32, stat: &StatPersisted) -> u32 {
    if !is_counted {
        return 0;
    }
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
    let mut hasher = crc32fast::Hasher::new_with_initial(prefix_crc);
    hasher.update(&bytes);
    hasher.finalize()
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
        assert_eq!(node_digest(true, prefix_crc("", None), &zero), 68_323_592);
        assert_eq!(node_digest(true, prefix_crc("/", Some(b"")), &zero), 68_323_592);
        assert_eq!(
            node_digest(true, prefix_crc("/zookeeper", Some(b"")), &zero),
            1_303_661_912
        );
        let time = 1_795_223_253_724;
        let a = StatPersisted {
            czxid: Zxid(2),
            mzxid: Zxid(2),
            ctime: time,
            mtime: time,
            pzxid: Zxid(2),
            ..zero
        };
        assert_eq!(
            node_digest(true, prefix_crc("/a", Some(b"hello")), &a),
            0xcfec_186a
        );
        let root = StatPersisted {
            cversion: 1,
            pzxid: Zxid(2),
            ..zero
        };
        assert_eq!(node_digest(true, prefix_crc("/", None), &root), 0x0315_78f2);
        assert_eq!(node_digest(false, 1, &a), 0);
    }

    #[test]
    fn only_what_is_below_zookeeper_does_not_count() {
        assert!(is_counted("") && is_counted("/zookeeper") && is_counted("/zookeeper2/a"));
        assert!(!is_counted("/zookeeper/quota") && !is_counted("/zookeeper/a/b"));
    }
}
