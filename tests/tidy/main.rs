//! The rules of the house that neither compiler nor clippy knows: sizes, the ladder of dependencies, what
//! only drivers may call, and that no file lies about unused.

mod known_bugs;
mod scan;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use scan::{blank, crate_paths, functions, is_word, line_of, without_tests, words};

/// A module may use those of the lines above its own, and itself. Modules of one line do not see each other.
const LADDER: &[&[&str]] = &[
    // Vocabulary.
    &["ids", "clock", "prng", "limits", "metrics", "mutants"],
    // Bytes and types.
    &["proto"],
    // Pure state.
    &["tree"],
    &["auth", "watch"],
    &["session"],
    &["shared"],
    &["read", "prep"],
    // Protocols.
    &["quorum"],
    &["election", "zab"],
    // The replica and what surrounds it, still without IO.
    &["replica", "client", "storage"],
    // Drivers.
    &["config", "admin"],
    &["server"],
    &["cli"],
];

/// The first module that may do IO on its own.
const FIRST_DRIVER: &str = "config";

/// What only `server` and `cli` may name: clocks, threads, and maps whose order differs from run to run.
const FOR_SERVER_AND_CLI: &[&str] = &[
    "Instant::now",
    "SystemTime::now",
    "thread::spawn",
    "thread::sleep",
    "thread::Builder",
    "RandomState",
];

/// What only drivers may name.
const FOR_DRIVERS: &[&str] = &[
    "tokio",
    "std::fs",
    "std::env",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
];

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;
const COLUMNS_MAX: usize = 110;

/// Marks of unfinished work. Spelt so that this file does not carry them.
const UNFINISHED: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")];

#[test]
fn the_house_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = Source::all(root);
    assert!(sources.len() > 20, "the sources are not where they should be");
    let mut problems: Vec<String> = sources.iter().flat_map(Source::problems).collect();
    problems.extend(dead_files(&sources));
    assert!(
        problems.is_empty(),
        "{} untidy places:\n{}",
        problems.len(),
        problems.join("\n")
    );
}

struct Source {
    /// From the root of the package, with `/`.
    path: String,
    text: String,
    /// The text with comments and the insides of literals blanked; lines stay where they are.
    code: String,
    /// The code without its test modules.
    product: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Source {
        let code = blank(text);
        let product = if is_test_file(path) {
            String::new()
        } else {
            without_tests(&code)
        };
        Source {
            path: path.to_owned(),
            text: text.to_owned(),
            code,
            product,
        }
    }

    fn all(root: &Path) -> Vec<Source> {
        let mut paths = Vec::new();
        for folder in ["src", "tests", "benches"] {
            walk(&root.join(folder), &mut paths);
        }
        paths.sort();
        let source = |path: PathBuf| {
            let text =
                fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let inside = path.strip_prefix(root).expect("found below the root");
            Source::new(&inside.to_string_lossy().replace('\\', "/"), &text)
        };
        paths.into_iter().map(source).collect()
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        self.check_lines(&mut problems);
        self.check_functions(&mut problems);
        if let Some(module) = self.module() {
            self.check_ladder(module, &mut problems);
            self.check_calls(module, &mut problems);
        }
        problems
    }

    /// The top-level module that a file of the library belongs to.
    fn module(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        let module = inside.split('/').next()?.trim_end_matches(".rs");
        (!matches!(module, "lib" | "main")).then_some(module)
    }

    /// How many `super` lead from the file to the root of the crate.
    fn depth(&self) -> usize {
        let names = self.path.trim_end_matches(".rs").trim_end_matches("/mod");
        names.split('/').count() - 1
    }

    fn check_lines(&self, problems: &mut Vec<String>) {
        let count = self.text.lines().count();
        if count > FILE_LINES_MAX {
            problems.push(format!("{}: {count} lines, at most {FILE_LINES_MAX}", self.path));
        }
        for (index, line) in self.text.lines().enumerate() {
            let at = format!("{}:{}", self.path, index + 1);
            let columns = line.chars().count();
            if columns > COLUMNS_MAX {
                problems.push(format!("{at}: {columns} columns, at most {COLUMNS_MAX}"));
            }
            for mark in UNFINISHED.iter().filter(|mark| line.contains(**mark)) {
                problems.push(format!("{at}: {mark}"));
            }
        }
    }

    fn check_functions(&self, problems: &mut Vec<String>) {
        for (name, start, end) in functions(&self.code) {
            let at = line_of(&self.code, start);
            let lines = line_of(&self.code, end) - at + 1;
            if lines > FUNCTION_LINES_MAX {
                let path = &self.path;
                problems.push(format!(
                    "{path}:{at}: fn {name} has {lines} lines, at most {FUNCTION_LINES_MAX}"
                ));
            }
        }
    }

    fn check_ladder(&self, module: &str, problems: &mut Vec<String>) {
        let Some(rung) = rung_of(module) else {
            problems.push(format!(
                "{}: module {module} has no place in the ladder",
                self.path
            ));
            return;
        };
        for (used, at) in crate_paths(&self.product, self.depth()) {
            let is_lower = rung_of(&used).is_some_and(|used_rung| used_rung < rung);
            if used != module && !is_lower {
                let line = line_of(&self.product, at);
                problems.push(format!("{}:{line}: {module} may not use {used}", self.path));
            }
        }
    }

    fn check_calls(&self, module: &str, problems: &mut Vec<String>) {
        let mut banned = Vec::new();
        if !matches!(module, "server" | "cli") {
            banned.extend_from_slice(FOR_SERVER_AND_CLI);
            self.check_std_maps(problems);
        }
        if rung_of(module) < rung_of(FIRST_DRIVER) {
            banned.extend_from_slice(FOR_DRIVERS);
        }
        for name in banned {
            for at in words(&self.product, name) {
                let line = line_of(&self.product, at);
                problems.push(format!("{}:{line}: {module} may not use {name}", self.path));
            }
        }
    }

    fn check_std_maps(&self, problems: &mut Vec<String>) {
        for at in words(&self.product, "std::collections") {
            let rest = &self.product[at..];
            let statement = &rest[..rest.find([';', '(', '=']).unwrap_or(rest.len())];
            if !words(statement, "HashMap").is_empty() || !words(statement, "HashSet").is_empty() {
                let line = line_of(&self.product, at);
                let path = &self.path;
                problems.push(format!(
                    "{path}:{line}: hashbrown with a seed, or a BTreeMap, not std's HashMap"
                ));
            }
        }
    }

    /// The files that `mod name;` of this file may mean.
    fn submodules(&self) -> Vec<[String; 2]> {
        let stem = self.path.trim_end_matches(".rs");
        let (folder, name) = stem.rsplit_once('/').expect("below a folder");
        let folder = if self.is_crate_root() || name == "mod" {
            folder
        } else {
            stem
        };
        let submodule = |at: usize| {
            let rest = self.code[at + 3..].trim_start();
            let name: String = rest.chars().take_while(|c| is_word(*c)).collect();
            let is_file = rest[name.len()..].trim_start().starts_with(';');
            is_file.then(|| [format!("{folder}/{name}.rs"), format!("{folder}/{name}/mod.rs")])
        };
        let named = |line: &str| {
            let name = line
                .trim_start()
                .strip_prefix("#[path = \"")?
                .strip_suffix("\"]")?;
            let (mut base, mut name) = (folder, name);
            while let Some(rest) = name.strip_prefix("../") {
                (base, name) = (base.rsplit_once('/')?.0, rest);
            }
            Some([format!("{base}/{name}"), String::new()])
        };
        let by_name = self.text.lines().filter_map(named);
        words(&self.code, "mod")
            .into_iter()
            .filter_map(submodule)
            .chain(by_name)
            .collect()
    }

    fn is_crate_root(&self) -> bool {
        let names: Vec<&str> = self.path.split('/').collect();
        matches!(
            names[..],
            // The last: a package of its own below tests/.
            ["src", "lib.rs" | "main.rs"]
                | ["tests" | "benches", _]
                | ["tests" | "benches", _, "main.rs"]
                | ["tests", .., "src", "main.rs"]
        )
    }
}

/// Files that no `mod` reaches.
fn dead_files(sources: &[Source]) -> Vec<String> {
    let mut reached: BTreeSet<String> = BTreeSet::new();
    let mut open: Vec<&Source> = sources.iter().filter(|source| source.is_crate_root()).collect();
    while let Some(source) = open.pop() {
        if reached.insert(source.path.clone()) {
            let names = source.submodules().concat();
            open.extend(sources.iter().filter(|other| names.contains(&other.path)));
        }
    }
    let is_dead = |source: &&Source| !reached.contains(&source.path);
    sources
        .iter()
        .filter(is_dead)
        .map(|source| format!("{}: no mod reaches it", source.path))
        .collect()
}

fn rung_of(module: &str) -> Option<usize> {
    LADDER.iter().position(|rung| rung.contains(&module))
}

fn is_test_file(path: &str) -> bool {
    !path.starts_with("src/") || path.ends_with("/tests.rs") || path.contains("/tests/")
}

fn walk(folder: &Path, paths: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.expect("a readable folder").path();
        // What a package below tests builds is not ours.
        if path.is_dir() && !path.ends_with("target") {
            walk(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

fn count(path: &str, text: &str) -> usize {
    Source::new(path, text).problems().len()
}

#[test]
fn sizes_are_checked() {
    assert_eq!(count("src/tree/mod.rs", &"\n".repeat(600)), 0);
    assert_eq!(count("src/tree/mod.rs", &"\n".repeat(601)), 1);
    assert_eq!(count("tests/a.rs", &"é".repeat(110)), 0);
    assert_eq!(count("tests/a.rs", &"é".repeat(111)), 1);
    let function = |lines: usize| {
        let body = "a(\"{\");\n".repeat(lines - 2);
        format!("fn f(a: [u8; 2]) {{\n{body}}}\nfn g() {{}}\ntrait T {{ fn h(); }}\n")
    };
    assert_eq!(count("tests/a.rs", &function(70)), 0);
    assert_eq!(count("tests/a.rs", &function(71)), 1);
    assert_eq!(count("tests/a.rs", &format!("// {}: later", UNFINISHED[0])), 1);
}

#[test]
fn the_ladder_is_checked() {
    assert_eq!(
        count(
            "src/watch/manager.rs",
            "use crate::tree::X; use crate::watch::Y; use crate::ids::Z;"
        ),
        0
    );
    assert_eq!(count("src/tree/mod.rs", "use crate::watch::X;"), 1);
    assert_eq!(count("src/auth/mod.rs", "fn f() { crate::watch::g() }"), 1);
    assert_eq!(
        count("src/tree/mod.rs", "use crate::{ids::{A, B}, watch::C, read};"),
        2
    );
    assert_eq!(count("src/tree/mod.rs", "use super::read;"), 1);
    assert_eq!(
        count("src/tree/path.rs", "use super::read; use super::super::read;"),
        1
    );
    assert_eq!(count("src/nowhere.rs", ""), 1);
    assert_eq!(
        count(
            "src/tree/mod.rs",
            "// crate::watch\n#[cfg(test)]\nmod tests { use crate::watch; }"
        ),
        0
    );
    assert_eq!(
        count(
            "src/tree/mod.rs",
            "#[cfg(test)]\nmod tests;\nfn f() { crate::watch::g() }"
        ),
        1
    );
    assert_eq!(count("src/tree/tests.rs", "use crate::watch;"), 0);
}

#[test]
fn calls_are_checked() {
    for call in FOR_SERVER_AND_CLI {
        let text = format!("fn f() {{ {call}() }}");
        assert_eq!(
            (count("src/tree/a.rs", &text), count("src/config/a.rs", &text)),
            (1, 1),
            "{call}"
        );
        assert_eq!(
            (count("src/server/a.rs", &text), count("src/cli/a.rs", &text)),
            (0, 0),
            "{call}"
        );
    }
    for call in FOR_DRIVERS {
        let text = format!("use {call}::X;");
        assert_eq!(
            (count("src/storage/a.rs", &text), count("src/config/a.rs", &text)),
            (1, 0),
            "{call}"
        );
    }
    assert_eq!(
        count("src/tree/a.rs", "use std::collections::{BTreeMap, HashMap};"),
        1
    );
    assert_eq!(
        count(
            "src/tree/a.rs",
            "fn f() { let a: std::collections::HashSet<u8>; }"
        ),
        1
    );
    assert_eq!(
        count(
            "src/tree/a.rs",
            "use std::collections::BTreeMap; use hashbrown::HashMap;"
        ),
        0
    );
    assert_eq!(
        count(
            "src/tree/a.rs",
            "const A: &str = r#\"Instant::now \"tokio\" \"#; // std::fs"
        ),
        0
    );
}

#[test]
fn dead_files_are_found() {
    let source = |path: &str, text: &str| Source::new(path, text);
    let mut sources = vec![
        source("src/lib.rs", "pub mod a;\nmod b;\nmod inline { }"),
        source("src/a.rs", "mod c;"),
        source("src/a/c.rs", ""),
        source("src/b/mod.rs", "#[cfg(test)]\nmod tests;"),
        source("src/b/tests.rs", ""),
        source("tests/x.rs", "mod support;"),
        source("tests/support/mod.rs", "mod y;"),
        source("tests/support/y.rs", ""),
        source("tests/z.rs", "#[path = \"support/w.rs\"]\nmod w;"),
        source("tests/support/w.rs", ""),
    ];
    assert!(dead_files(&sources).is_empty());
    sources.push(source("src/c.rs", ""));
    sources.push(source("src/inline.rs", ""));
    assert_eq!(
        dead_files(&sources),
        ["src/c.rs: no mod reaches it", "src/inline.rs: no mod reaches it"]
    );
}
