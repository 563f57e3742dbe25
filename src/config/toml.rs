//! The same settings in TOML: tables flatten with dots, so that `[autopurge] purgeInterval = 1` is
//! `autopurge.purgeInterval=1`. Values become the text that `zoo.cfg` would hold; the same rules check them.

use toml::de::{DeTable, DeValue};

use super::properties::{Property, SyntaxError};

/// Reads a TOML file. Lists are joined: with `:` for `group.N`, with `,` elsewhere.
pub fn parse(text: &str) -> (Vec<Property>, Vec<SyntaxError>) {
    let mut properties = Vec::new();
    let mut errors = Vec::new();
    match DeTable::parse(text) {
        Ok(table) => flatten(text, "", table.get_ref(), &mut properties, &mut errors),
        Err(error) => {
            let line = error.span().map_or(1, |span| line_at(text, span.start));
            let reason = error.message().replace('\n', " ");
            errors.push(SyntaxError {
                line,
                text: format!("not valid TOML: {reason}"),
            });
        }
    }
    properties.sort_by_key(|property| property.line);
    (properties, errors)
}

fn flatten(
    text: &str,
    prefix: &str,
    table: &DeTable<'_>,
    properties: &mut Vec<Property>,
    errors: &mut Vec<SyntaxError>,
) {
    for (name, value) in table {
        let key = format!("{prefix}{}", name.get_ref());
        let line = line_at(text, name.span().start);
        match value.get_ref() {
            DeValue::Table(inner) => flatten(text, &format!("{key}."), inner, properties, errors),
            DeValue::Array(items) => {
                let separator = if key.starts_with("group.") { ":" } else { "," };
                let words: Option<Vec<_>> = items.iter().map(|item| scalar(item.get_ref())).collect();
                match words {
                    Some(words) => properties.push(Property {
                        key,
                        value: words.join(separator),
                        line,
                    }),
                    None => errors.push(unfit(line, &key)),
                }
            }
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => match scalar(value.get_ref()) {
                Some(value) => properties.push(Property { key, value, line }),
                None => errors.push(unfit(line, &key)),
            },
        }
    }
}

/// The text that a properties file would hold.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.clone().into_owned()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .ok()
            .map(|n| n.to_string()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(flag) => Some(flag.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

fn unfit(line: u32, key: &str) -> SyntaxError {
    let text = format!("{key}: must be a text, a number, true, false or a list of them");
    SyntaxError { line, text }
}

fn line_at(text: &str, offset: usize) -> u32 {
    let newlines = text.bytes().take(offset).filter(|&b| b == b'\n').count();
    u32::try_from(newlines).map_or(u32::MAX, |n| n.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn tables_flatten_and_values_become_text() {
        let text = r#"
            tickTime = 2_000
            dataDir = "/d # x"
            "jute.maxbuffer" = 0xfffff
            snapshotSizeFactor = 0.5
            standaloneEnabled = true
            4lw.commands.whitelist = ["srvr", "ruok"]
            [autopurge]
            purgeInterval = -1
            [server]
            1 = "h1:2888:3888"
            [group]
            1 = [1, 2, 3]
        "#;
        let (properties, errors) = parse(text);
        assert_eq!(errors, []);
        let found: Vec<_> = properties
            .iter()
            .map(|p| (p.line, p.key.as_str(), p.value.as_str()))
            .collect();
        assert_eq!(
            found,
            [
                (2, "tickTime", "2000"),
                (3, "dataDir", "/d # x"),
                (4, "jute.maxbuffer", "1048575"),
                (5, "snapshotSizeFactor", "0.5"),
                (6, "standaloneEnabled", "true"),
                (7, "4lw.commands.whitelist", "srvr,ruok"),
                (9, "autopurge.purgeInterval", "-1"),
                (11, "server.1", "h1:2888:3888"),
                (13, "group.1", "1:2:3"),
            ]
        );
    }

    #[test]
    fn errors_name_the_line() {
        for (text, line, part) in [
            ("a = 1\nb = ", 2, "not valid TOML"),
            ("a = 1\na = 2", 2, "not valid TOML"),
            ("a = 1\nb = 2026-01-01", 2, "b: must be a text"),
            ("a = [[1]]", 1, "a: must be a text"),
        ] {
            let (_, errors) = parse(text);
            assert_eq!(errors.len(), 1, "{text}");
            assert_eq!(errors[0].line, line, "{text}");
            assert!(errors[0].text.contains(part), "{text}: {}", errors[0].text);
        }
    }
}
