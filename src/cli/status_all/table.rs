//! The rows as an aligned table, and as JSON.

use serde_json::{Value, json};

use super::verdict::Verdict;
use super::{Figures, LearnerType, Row};

/// The table with its head. The error comes last, since it is the only column with blanks in it.
pub(in crate::cli) fn text(rows: &[Row], verdict: &Verdict) -> String {
    let cells: Vec<Vec<String>> = rows.iter().map(|row| cells(row, verdict).into()).collect();
    aligned(&COLUMNS, &cells)
}

/// Rows under their heads, each column as wide as its widest cell.
pub(in crate::cli) fn aligned(columns: &[(&str, Side)], rows: &[Vec<String>]) -> String {
    let head: Vec<String> = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
    let lines: Vec<&Vec<String>> = std::iter::once(&head).chain(rows).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let widths: Vec<usize> = (0..columns.len())
        .map(|column| width(column).unwrap_or(0))
        .collect();
    let mut text = String::new();
    for line in &lines {
        let mut padded = String::new();
        for ((cell, width), (_, side)) in line.iter().zip(&widths).zip(columns) {
            padded.push_str(&match side {
                Side::Left => format!("{cell:<width$}  "),
                Side::Right => format!("{cell:>width$}  "),
            });
        }
        text.push_str(padded.trim_end());
        text.push('\n');
    }
    text
}

/// Everything in one object.
pub(in crate::cli) fn json(rows: &[Row], verdict: &Verdict) -> Value {
    let servers: Vec<Value> = rows.iter().map(|row| server(row, verdict)).collect();
    let leaders: Vec<i64> = verdict.leaders.iter().map(|id| id.0).collect();
    json!({
        "servers": servers,
        "leaders": leaders,
        "is_serving": verdict.is_serving,
        "verdict": verdict.lines(),
    })
}

fn server(row: &Row, verdict: &Verdict) -> Value {
    let none = Figures::default();
    let (figures, error) = match &row.answer {
        Ok(figures) => (figures, None),
        Err(trouble) => (&none, Some(trouble.to_string())),
    };
    let present = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    json!({
        "id": row.target.id.map(|id| id.0),
        "address": row.target.address(),
        "role": row.target.role.map(role_name),
        "version": present(&figures.version),
        "mode": present(&figures.mode),
        "peer_state": figures.peer_state,
        "epoch": figures.zxid.map(|zxid| zxid.epoch().0),
        "zxid": figures.zxid.map(|zxid| zxid.to_string()),
        "lag": verdict.lag(figures),
        "latency_ms": figures.latency_ms,
        "connections": figures.connections,
        "znodes": figures.znodes,
        "error": error,
    })
}

fn cells(row: &Row, verdict: &Verdict) -> [String; COLUMNS_COUNT] {
    let none = Figures::default();
    let (figures, error) = match &row.answer {
        Ok(figures) => (figures, None),
        Err(trouble) => (&none, Some(trouble.to_string())),
    };
    [
        shown(row.target.id.map(|id| id.0)),
        row.target.address(),
        shown(row.target.role.map(role_name)),
        shown(Some(&figures.mode).filter(|mode| !mode.is_empty())),
        shown(figures.zxid.map(|zxid| zxid.epoch().0)),
        shown(figures.zxid),
        shown(verdict.lag(figures)),
        shown(figures.latency_ms.as_ref()),
        shown(figures.connections),
        shown(figures.znodes),
        shown(error),
    ]
}

/// A dash for what is not known.
pub(in crate::cli) fn shown(value: Option<impl ToString>) -> String {
    value.map_or("-".to_owned(), |value| value.to_string())
}

/// As in `server.N` lines.
pub(in crate::cli) fn role_name(role: LearnerType) -> &'static str {
    match role {
        LearnerType::Participant => "participant",
        LearnerType::Observer => "observer",
    }
}

/// Where the cells of a column end up.
#[derive(Clone, Copy)]
pub(in crate::cli) enum Side {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

const COLUMNS_COUNT: usize = 11;
const COLUMNS: [(&str, Side); COLUMNS_COUNT] = [
    ("id", Side::Right),
    ("address", Side::Left),
    ("role", Side::Left),
    ("mode", Side::Left),
    ("epoch", Side::Right),
    ("zxid", Side::Left),
    ("lag", Side::Right),
    ("latency", Side::Right),
    ("connections", Side::Right),
    ("znodes", Side::Right),
    ("error", Side::Left),
];
