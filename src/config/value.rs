//! Texts of values become numbers and words, as Java reads them.

/// A value without the blanks around it, and whether a `# comment` behind it was cut off.
pub(super) fn without_comment(value: &str) -> (&str, bool) {
    match value.find('#') {
        Some(at) => (value[..at].trim(), true),
        None => (value.trim(), false),
    }
}

/// `Long.parseLong`: an optional sign and decimal digits.
pub(super) fn decimal(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// `Long.decode`: as [`decimal`], and hexadecimal after `0x`, octal after a leading 0.
pub(super) fn any_radix(text: &str) -> Option<i64> {
    let (sign, digits) = match text.as_bytes() {
        [b'-', ..] => ("-", &text[1..]),
        [b'+', ..] => ("", &text[1..]),
        _ => ("", text),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => return decimal(text),
    };
    if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    i64::from_str_radix(&format!("{sign}{digits}"), radix).ok()
}

#[cfg(test)]
mod tests {
    use super::{any_radix, decimal, without_comment};

    #[test]
    fn numbers_read_as_java_reads_them() {
        for (text, named, property) in [
            ("2000", Some(2000), Some(2000)),
            ("+5", Some(5), Some(5)),
            ("-1", Some(-1), Some(-1)),
            ("0", Some(0), Some(0)),
            ("010", Some(10), Some(8)),
            ("0x10", None, Some(16)),
            ("-0X10", None, Some(-16)),
            ("09", Some(9), None),
            ("", None, None),
            ("+", None, None),
            ("--1", None, None),
            ("0x", None, None),
            ("0x-1", None, None),
            ("1 0", None, None),
            ("1_0", None, None),
            ("2s", None, None),
            ("9223372036854775807", Some(i64::MAX), Some(i64::MAX)),
            ("9223372036854775808", None, None),
            ("-0x8000000000000000", None, Some(i64::MIN)),
        ] {
            assert_eq!(decimal(text), named, "decimal {text:?}");
            assert_eq!(any_radix(text), property, "any radix {text:?}");
        }
    }

    #[test]
    fn comments_are_cut_off() {
        assert_eq!(without_comment(" 2000 "), ("2000", false));
        assert_eq!(without_comment("2000 #comment"), ("2000", true));
        assert_eq!(without_comment("2000# a # b"), ("2000", true));
        assert_eq!(without_comment("# only"), ("", true));
    }
}
