//! `tests/KNOWN_BUGS.md` names tests that exist, all of their kind, and every row of the table.

use std::collections::BTreeSet;
use std::path::Path;

use super::Source;

/// The rows of the table of known bugs: 1 to 48, and 32a.
const ROWS_MAX: usize = 48;

#[test]
fn the_index_of_known_bugs_is_true() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let index = std::fs::read_to_string(root.join("tests/KNOWN_BUGS.md")).expect("it is there");
    let sources = Source::all(root);
    let mut named = BTreeSet::new();
    for (path, test) in tests_in(&index) {
        let source = sources.iter().find(|source| source.path == path);
        let source = source.unwrap_or_else(|| panic!("{path} is in the index and nowhere else"));
        let is_there = source.code.contains(&format!("fn {test}("));
        assert!(is_there, "{path} has no test {test}");
        named.insert(test.to_owned());
    }
    for source in &sources {
        for test in source
            .code
            .split("fn ")
            .skip(1)
            .filter_map(|rest| rest.split('(').next())
        {
            let is_meant = ["zk_", "row_", "cve_"]
                .iter()
                .any(|start| test.starts_with(start));
            assert!(
                !is_meant || named.contains(test),
                "{}: {test} is not in the index",
                source.path
            );
        }
    }
    let rows: Vec<&str> = index.lines().filter_map(first_cell).collect();
    for row in (1..=ROWS_MAX)
        .map(|row| row.to_string())
        .chain(["32a".to_owned()])
    {
        assert!(rows.contains(&row.as_str()), "row {row} is not in the index");
    }
}

/// What is written as `path::test` in quotes of its own.
fn tests_in(index: &str) -> impl Iterator<Item = (&str, &str)> {
    let quoted = index.split('`').skip(1).step_by(2);
    quoted.filter_map(|quoted| {
        quoted
            .split_once(".rs::")
            .map(|(path, test)| (&quoted[..path.len() + 3], test))
    })
}

fn first_cell(line: &str) -> Option<&str> {
    Some(line.strip_prefix("| ")?.split_once(" |")?.0)
}
