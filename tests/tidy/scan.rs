//! Rust's text, understood just well enough: words, paths, functions, what is comment or literal.

/// Whether a name may hold it.
pub fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The line of a position, from 1.
pub fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// Where `name` stands, not as part of a longer word.
pub fn words(code: &str, name: &str) -> Vec<usize> {
    let is_whole = |at: &usize| {
        let before = code[..*at].chars().next_back();
        let after = code[at + name.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    };
    code.match_indices(name)
        .map(|(at, _)| at)
        .filter(is_whole)
        .collect()
}

/// Top-level modules named by `crate::` paths, or by enough `super::`, and where.
pub fn crate_paths(code: &str, depth: usize) -> Vec<(String, usize)> {
    let up = "super::".repeat(depth);
    let up = up.trim_end_matches(':');
    let starts = words(code, "crate")
        .into_iter()
        .map(|at| (at, at + "crate".len()));
    let supers = words(code, up).into_iter().map(|at| (at, at + up.len()));
    let mut found = Vec::new();
    for (at, end) in starts.chain(supers) {
        let Some(rest) = code[end..].trim_start().strip_prefix("::") else {
            continue;
        };
        let rest = rest.trim_start();
        match rest.strip_prefix('{') {
            Some(group) => found.extend(group_heads(group).into_iter().map(|name| (name, at))),
            None => found.push((rest.chars().take_while(|c| is_word(*c)).collect(), at)),
        }
    }
    found
}

/// First names in `a::b, c::{d, e}}`.
fn group_heads(group: &str) -> Vec<String> {
    let (mut depth, mut heads, mut head, mut is_open) = (0, Vec::new(), String::new(), true);
    for c in group.chars() {
        match c {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                heads.push(std::mem::take(&mut head));
                is_open = true;
            }
            c if depth == 0 && is_open && is_word(c) => head.push(c),
            c if !c.is_whitespace() => is_open = false,
            _ => {}
        }
    }
    heads.push(head);
    heads.retain(|head| !head.is_empty());
    heads
}

/// Name, start and end of every function with a body.
pub fn functions(code: &str) -> Vec<(String, usize, usize)> {
    let function = |at: usize| {
        let rest = &code[at + 2..];
        let name: String = rest.trim_start().chars().take_while(|c| is_word(*c)).collect();
        let open = body_of(rest)?;
        (!name.is_empty()).then(|| (name, at, at + 2 + closing(rest, open)))
    };
    words(code, "fn").into_iter().filter_map(function).collect()
}

/// Where the body of a function opens, if it has one. The `;` of an array's type is not the end.
fn body_of(signature: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, byte) in signature.bytes().enumerate() {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b';' if depth == 0 => return None,
            b'{' if depth == 0 => return Some(at),
            _ => {}
        }
    }
    None
}

/// The code without `#[cfg(test)]` items that have a body, lines kept.
pub fn without_tests(code: &str) -> String {
    let mut out = code.to_owned();
    for at in words(code, "cfg(test)") {
        let rest = &code[at + "cfg(test)]".len()..];
        if let Some(open) = body_of(rest) {
            let end = code.len() - rest.len() + closing(rest, open) + 1;
            let blanked = String::from_utf8(code[at..end].bytes().map(blank_byte).collect());
            out.replace_range(at..end, &blanked.expect("blanks and newlines"));
        }
    }
    out
}

/// Where the brace that opens at `open` closes.
fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    code.len() - 1
}

fn blank_byte(byte: u8) -> u8 {
    if byte == b'\n' { b'\n' } else { b' ' }
}

/// Blanks comments and the insides of string and character literals.
pub fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let length = blank_length(&chars, at);
        match length {
            0 => out.push(chars[at]),
            _ => out.extend(
                chars[at..at + length]
                    .iter()
                    .map(|c| if *c == '\n' { '\n' } else { ' ' }),
            ),
        }
        at += length.max(1);
    }
    out
}

/// How many characters from here on are comment or literal.
fn blank_length(chars: &[char], at: usize) -> usize {
    let rest = &chars[at..];
    let is_inside_word = at > 0 && is_word(chars[at - 1]);
    match rest {
        ['/', '/', ..] => rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()),
        ['/', '*', ..] => block_comment(rest),
        ['"', ..] => string(rest),
        ['r', '"' | '#', ..] if !is_inside_word => raw_string(rest, 1),
        ['b', 'r', '"' | '#', ..] if !is_inside_word => raw_string(rest, 2),
        ['\'', '\\', _, ..] => 3 + rest[3..].iter().position(|c| *c == '\'').map_or(0, |end| end + 1),
        ['\'', _, '\'', ..] => 3,
        _ => 0,
    }
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at + 1 < rest.len() {
        match (rest[at], rest[at + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

fn string(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            '"' => return at + 1,
            '\\' => at += 2,
            _ => at += 1,
        }
    }
    rest.len()
}

/// `start` is behind the `r`. A raw identifier is none.
fn raw_string(rest: &[char], start: usize) -> usize {
    let hashes = rest[start..].iter().take_while(|c| **c == '#').count();
    if rest.get(start + hashes) != Some(&'"') {
        return 0;
    }
    let end: Vec<char> = std::iter::once('"')
        .chain(std::iter::repeat_n('#', hashes))
        .collect();
    let inside = start + hashes + 1;
    let found = rest[inside..].windows(end.len()).position(|window| window == end);
    found.map_or(rest.len(), |found| inside + found + end.len())
}

#[test]
fn literals_and_lifetimes_are_told_apart() {
    let blanked = |text: &str| blank(text).split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(blanked("f('{', '\\'', '\\u{7f}', b'}')"), "f( , , , b )");
    assert_eq!(blanked("fn f<'a>(x: &'a str) {}"), "fn f<'a>(x: &'a str) {}");
    assert_eq!(blanked("a(\"\\\"{\") /* { /* { */ } */ b"), "a( ) b");
    assert_eq!(blanked("let r#fn = br##\"{\"#\"##;"), "let r#fn = ;");
}
