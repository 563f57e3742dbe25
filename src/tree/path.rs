//! Rules for paths (PathUtils, PrepRequestProcessor). A path that passed `validate` is a key of the tree.

use crate::proto::error_code::ErrorCode;

/// The full check, of create (with its suffix), setData, setACL and check. Failure is `BadArguments`.
pub fn validate(path: &str) -> Result<(), ErrorCode> {
    let names = path.strip_prefix('/').ok_or(ErrorCode::BadArguments)?;
    if names.is_empty() {
        return Ok(());
    }
    // No other character has the byte of a slash in it, and bytes are gone through faster.
    let bytes = names.as_bytes();
    let mut of_nodes = bytes.split(|byte| *byte == b'/');
    let is_named_well = of_nodes.all(|name| !matches!(name, b"" | b"." | b".."));
    let is_plain = bytes.iter().all(|byte| matches!(byte, b' '..=b'~'));
    if is_named_well && (is_plain || !names.chars().any(is_forbidden)) {
        Ok(())
    } else {
        Err(ErrorCode::BadArguments)
    }
}

/// The first check of create, and all that delete and deleteContainer do before they look for the node.
pub fn validate_light(path: &str) -> Result<(), ErrorCode> {
    if path.as_bytes().contains(&b'/') && !path.as_bytes().contains(&0) {
        Ok(())
    } else {
        Err(ErrorCode::BadArguments)
    }
}

/// The nodes that no client may delete.
pub fn is_reserved_for_delete(path: &str) -> bool {
    matches!(
        path,
        "/" | "/zookeeper" | "/zookeeper/quota" | "/zookeeper/config"
    )
}

/// The parent's path, empty for the root, and the name: what is before and behind the last slash.
pub fn split_parent(path: &str) -> (&str, &str) {
    match path.bytes().rposition(|byte| byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => ("", path),
    }
}

/// Java checks UTF-16 units: every supplementary character consists of two surrogates, all forbidden.
fn is_forbidden(c: char) -> bool {
    matches!(c, '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{e000}'..='\u{f8ff}' | '\u{fff0}'..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_full_check_refuses_what_java_refuses() {
        for path in [
            "/",
            "/a",
            "/a/b",
            "/...",
            "/.a",
            "/a b",
            "/\u{f900}",
            "/\u{ffef}",
            "/zoo/ü",
        ] {
            assert_eq!(validate(path), Ok(()), "{path:?}");
        }
        let bad = [
            "",
            "a",
            "a/b",
            "/a/",
            "//",
            "//a",
            "/a//b",
            "/.",
            "/..",
            "/a/./b",
            "/a/..",
            "/a\0",
            "/\u{1}",
            "/\u{1f}",
            "/\u{7f}",
            "/\u{9f}",
            "/\u{e000}",
            "/\u{f8ff}",
            "/\u{fff0}",
            "/\u{ffff}",
            "/😀",
        ];
        for path in bad {
            assert_eq!(validate(path), Err(ErrorCode::BadArguments), "{path:?}");
        }
    }

    #[test]
    fn the_light_check_looks_for_a_slash_and_a_nul_only() {
        for path in ["/", "a/", "/a//b/", "/.."] {
            assert_eq!(validate_light(path), Ok(()), "{path:?}");
        }
        for path in ["", "a", "/a\0"] {
            assert_eq!(validate_light(path), Err(ErrorCode::BadArguments), "{path:?}");
        }
    }

    #[test]
    fn a_path_splits_at_its_last_slash() {
        assert_eq!(split_parent("/a/b"), ("/a", "b"));
        assert_eq!(split_parent("/a"), ("", "a"));
        assert_eq!(split_parent("/"), ("", ""));
        assert_eq!(split_parent("/a/"), ("/a", ""));
        assert_eq!(split_parent("a"), ("", "a"));
        assert!(is_reserved_for_delete("/zookeeper/config"));
        assert!(!is_reserved_for_delete("/zookeeper/other"));
    }
}
