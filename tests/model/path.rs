//! Which paths are legal.

/// The parent, "" for a node at the top.
pub fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// The check before a node is looked up: `create` before the suffix is known, and `delete`.
pub fn is_light_valid(path: &str) -> bool {
    path.contains('/') && !path.contains('\0')
}

/// The built-in nodes cannot be deleted.
pub fn is_reserved(path: &str) -> bool {
    matches!(
        path,
        "/" | "/zookeeper" | "/zookeeper/quota" | "/zookeeper/config"
    )
}

/// The full check.
pub fn is_valid(path: &str) -> bool {
    if path == "/" {
        return true;
    }
    let Some(inside) = path.strip_prefix('/') else {
        return false;
    };
    let is_valid_name = |name: &str| !matches!(name, "" | "." | "..");
    inside.split('/').all(is_valid_name) && inside.chars().all(is_legal)
}

/// Characters outside the basic plane are surrogates in Java, which are refused.
fn is_legal(character: char) -> bool {
    !matches!(u32::from(character),
        0..=0x1f | 0x7f..=0x9f | 0xd800..=0xf8ff | 0xfff0..)
}
