//! The file format of `zoo.cfg`: Java properties, by the rules of `java.util.Properties.load`.
//!
//! Invariant: for every input the same keys and values as Java, duplicates kept in file order.
//! Bytes are ISO-8859-1, so UTF-8 text outside ASCII arrives mangled, as it does there.

/// One `key=value` of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// Key, escapes resolved.
    pub key: String,
    /// Value, escapes resolved; blanks at its end are kept.
    pub value: String,
    /// Line on which the entry starts, from 1.
    pub line: u32,
}

/// Text that is not in the format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct SyntaxError {
    /// Line, from 1.
    pub line: u32,
    /// What is wrong and what to do.
    pub text: String,
}

/// Reads the bytes of a properties file. Every broken entry is reported, every readable one returned.
pub fn parse(bytes: &[u8]) -> (Vec<Property>, Vec<SyntaxError>) {
    let mut properties = Vec::new();
    let mut errors = Vec::new();
    for (line, logical) in logical_lines(bytes) {
        let (key, value) = split_entry(&logical);
        match (unescape(key), unescape(value)) {
            (Ok(key), Ok(value)) => properties.push(Property { key, value, line }),
            (Err(text), _) | (_, Err(text)) => errors.push(SyntaxError { line, text }),
        }
    }
    (properties, errors)
}

/// Joins continued lines and drops comments and empty lines. The number is that of the first natural line.
fn logical_lines(bytes: &[u8]) -> Vec<(u32, Vec<u8>)> {
    let mut logical_lines = Vec::new();
    let mut natural = natural_lines(bytes).into_iter().zip(1u32..);
    while let Some((first, line)) = natural.next() {
        let mut part = trim_start(first);
        if matches!(part.first(), None | Some(b'#' | b'!')) {
            continue;
        }
        let mut logical = Vec::new();
        while is_continued(part) {
            logical.extend_from_slice(&part[..part.len() - 1]);
            // A comment sign has no meaning on a continuation line.
            part = natural.next().map_or(&[], |(next, _)| trim_start(next));
        }
        logical.extend_from_slice(part);
        if !logical.is_empty() {
            logical_lines.push((line, logical));
        }
    }
    logical_lines
}

/// Lines end with `\n`, `\r` or `\r\n`.
pub(super) fn natural_lines(bytes: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let end = rest
            .iter()
            .position(|&b| b == b'\n' || b == b'\r')
            .unwrap_or(rest.len());
        lines.push(&rest[..end]);
        let terminator = match rest[end..] {
            [b'\r', b'\n', ..] => 2,
            [_, ..] => 1,
            [] => 0,
        };
        rest = &rest[end + terminator..];
    }
    lines
}

/// Whether the next line goes on with this one.
pub(super) fn is_continued(line: &[u8]) -> bool {
    line.iter().rev().take_while(|&&b| b == b'\\').count() % 2 == 1
}

fn trim_start(line: &[u8]) -> &[u8] {
    let blanks = line.iter().take_while(|&&b| is_blank(b)).count();
    &line[blanks..]
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | 0x0c)
}

/// The key ends at the first unescaped `=`, `:` or blank; blanks around one separator belong to neither side.
fn split_entry(logical: &[u8]) -> (&[u8], &[u8]) {
    let mut is_escaped = false;
    let key_end = logical
        .iter()
        .position(|&b| {
            let ends = !is_escaped && (b == b'=' || b == b':' || is_blank(b));
            is_escaped = b == b'\\' && !is_escaped;
            ends
        })
        .unwrap_or(logical.len());
    let (key, rest) = logical.split_at(key_end);
    let rest = trim_start(rest);
    match rest {
        [b'=' | b':', value @ ..] => (key, trim_start(value)),
        value => (key, value),
    }
}

fn unescape(raw: &[u8]) -> Result<String, String> {
    let mut units: Vec<u16> = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        if *byte != b'\\' {
            units.push(u16::from(*byte));
            continue;
        }
        let [escaped, tail @ ..] = rest else {
            break; // A lone backslash at the very end of the file vanishes.
        };
        rest = tail;
        match escaped {
            b'u' => {
                let (unit, tail) = unicode_escape(rest)?;
                units.push(unit);
                rest = tail;
            }
            b't' => units.push(0x09),
            b'n' => units.push(0x0a),
            b'f' => units.push(0x0c),
            b'r' => units.push(0x0d),
            other => units.push(u16::from(*other)),
        }
    }
    Ok(String::from_utf16_lossy(&units))
}

fn unicode_escape(rest: &[u8]) -> Result<(u16, &[u8]), String> {
    let digits = rest.get(..4).and_then(|digits| std::str::from_utf8(digits).ok());
    let unit = digits
        .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
        .and_then(|digits| u16::from_str_radix(digits, 16).ok());
    match unit {
        Some(unit) => Ok((unit, &rest[4..])),
        None => {
            Err("\\u must be followed by four hexadecimal digits (write \\\\ for a backslash)".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    fn pairs(text: &[u8]) -> Vec<(String, String)> {
        let (properties, errors) = parse(text);
        assert_eq!(errors, [], "{:?}", String::from_utf8_lossy(text));
        properties.into_iter().map(|p| (p.key, p.value)).collect()
    }

    #[test]
    fn entries_read_as_java_reads_them() {
        type Case = (&'static [u8], &'static [(&'static str, &'static str)]);
        let table: &[Case] = &[
            (b"", &[]),
            (b"a=b", &[("a", "b")]),
            (b"a:b\n", &[("a", "b")]),
            (b"a b", &[("a", "b")]),
            (b"a \t=\x0c b", &[("a", "b")]),
            (b"a = = b", &[("a", "= b")]),
            (b"a  b=c", &[("a", "b=c")]),
            (b"a==b", &[("a", "=b")]),
            (b"a=b=c:d", &[("a", "b=c:d")]),
            (b"a", &[("a", "")]),
            (b"=b", &[("", "b")]),
            (b"  a=b  ", &[("a", "b  ")]),
            (b"a=1\r\nb=2\rc=3", &[("a", "1"), ("b", "2"), ("c", "3")]),
            (b"a=1\n\n \t\nb=2", &[("a", "1"), ("b", "2")]),
            (b"a=1\na=2", &[("a", "1"), ("a", "2")]),
            (b"#a=1\n!b=2\n  # c=3\nd=4", &[("d", "4")]),
            (b"# no \\\na=1", &[("a", "1")]),
            (b"a=1 # text", &[("a", "1 # text")]),
            (b"a=b\\\n   c", &[("a", "bc")]),
            (b"a=b\\\r\n\tc", &[("a", "bc")]),
            (b"a=b\\\\\nc=d", &[("a", "b\\"), ("c", "d")]),
            (b"a=b\\\\\\\nc", &[("a", "b\\c")]),
            (b"a=b\\\n#c", &[("a", "b#c")]),
            (b"a=b\\\n\nc=d", &[("a", "b"), ("c", "d")]),
            (b"a=b\\", &[("a", "b")]),
            (b"\\\n\na=b", &[("a", "b")]),
            (b"a\\ b=c", &[("a b", "c")]),
            (b"a\\=b\\:c=d", &[("a=b:c", "d")]),
            (b"a=C:\\zk\\data", &[("a", "C:zkdata")]),
            (b"a=\\t\\n\\f\\r\\q\\\\", &[("a", "\t\n\x0c\rq\\")]),
            (b"a=\\u0041\\u00e9", &[("a", "A\u{e9}")]),
            (b"a=\\ud83d\\ude00", &[("a", "\u{1f600}")]),
            (b"a=\\ud83d", &[("a", "\u{fffd}")]),
            (b"a=\xe9", &[("a", "\u{e9}")]),
            ("a=é".as_bytes(), &[("a", "\u{c3}\u{a9}")]),
            (b"server.1=h:2888:3888;2181", &[("server.1", "h:2888:3888;2181")]),
            (b"a=${HOME}", &[("a", "${HOME}")]),
        ];
        for (text, expected) in table {
            let expected: Vec<_> = expected
                .iter()
                .map(|(k, v)| (k.to_string(), v.to_string()))
                .collect();
            assert_eq!(pairs(text), expected, "{:?}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn line_numbers_are_those_of_the_first_line() {
        let (properties, _) = parse(b"# c\r\n\r\na=1\\\r\n2\r\nb=3");
        let lines: Vec<_> = properties
            .iter()
            .map(|p| (p.key.as_str(), p.value.as_str(), p.line))
            .collect();
        assert_eq!(lines, [("a", "12", 3), ("b", "3", 5)]);
    }

    #[test]
    fn a_broken_escape_is_reported_with_its_line_and_the_rest_is_read() {
        for broken in ["a=\\u12", "a=\\u12g4", "a=\\u+123", "\\uxxxx=1"] {
            let (properties, errors) = parse(format!("x=1\n{broken}\ny=2").as_bytes());
            assert_eq!(properties.len(), 2, "{broken}");
            assert_eq!(errors.len(), 1, "{broken}");
            assert_eq!(errors[0].line, 2, "{broken}");
            assert!(errors[0].text.contains("four hexadecimal digits"), "{broken}");
        }
    }

    #[test]
    fn any_bytes_are_read_without_panic() {
        let mut state = 1u64;
        for _ in 0..20_000 {
            let bytes: Vec<u8> = (0..24)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    b"\\\n\r=: #!ua0\xff"[(state >> 33) as usize % 12]
                })
                .collect();
            let (properties, errors) = parse(&bytes);
            assert!(properties.len() + errors.len() <= bytes.len());
        }
    }
}
