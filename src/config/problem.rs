//! What is wrong with a configuration, and where.
//! Invariant: no problem text contains the value of a secret key.

use std::fmt;
use std::path::PathBuf;

/// One thing that is wrong or doubtful.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Whether the server starts in spite of it.
    pub severity: Severity,
    /// Where it is.
    pub origin: Origin,
    /// What is wrong, what was found, what is allowed.
    pub text: String,
}

/// Whether the server starts in spite of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It starts, but probably not as meant.
    Warning,
    /// It does not start.
    Error,
}

/// Where a setting was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A line of a file, counted from 1.
    Line(PathBuf, u32),
    /// A file as a whole.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
    /// The command line, or nothing in particular.
    CommandLine,
}

impl Problem {
    /// A problem that stops the start.
    pub fn error(origin: Origin, text: impl Into<String>) -> Problem {
        Problem {
            severity: Severity::Error,
            origin,
            text: text.into(),
        }
    }

    /// A problem that is only reported.
    pub fn warning(origin: Origin, text: impl Into<String>) -> Problem {
        Problem {
            severity: Severity::Warning,
            origin,
            text: text.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::CommandLine => f.write_str(&self.text),
            Origin::Line(..) | Origin::File(_) | Origin::Variable(_) => {
                write!(f, "{}: {}", self.origin, self.text)
            }
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Line(path, line) => write!(f, "{}:{line}", path.display()),
            Origin::File(path) => write!(f, "{}", path.display()),
            Origin::Variable(name) => f.write_str(name),
            Origin::CommandLine => f.write_str("command line"),
        }
    }
}
