//! From the answers to who leads and whether a quorum serves.

use std::process::ExitCode;

use super::{EXIT_UNEXPECTED, Figures, Members, Row, Trouble};
use crate::ids::{ServerId, Zxid};
use crate::quorum::verifier::AckSet;

/// What the answers mean together.
pub(in crate::cli) struct Verdict {
    /// Members that say that they lead.
    pub(in crate::cli) leaders: Vec<ServerId>,
    /// Clients can be served: a quorum is there, under one leader, or the server is alone and up.
    pub(in crate::cli) is_serving: bool,
    /// Where the one leader is.
    pub(in crate::cli) leader_zxid: Option<Zxid>,
    /// In words.
    parts: Vec<String>,
    /// Servers whose distance from the leader cannot be told.
    elsewhere: Vec<String>,
}

impl Verdict {
    /// The lines below the table.
    pub(in crate::cli) fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("{}.", capital(&self.parts.join("; ")))];
        if let (Some(zxid), false) = (self.leader_zxid, self.elsewhere.is_empty()) {
            let servers = self.elsewhere.join(", ");
            lines.push(format!(
                "Not in epoch {} of the leader, so that how far behind is not known: {servers}.",
                zxid.epoch().0
            ));
        }
        lines
    }

    pub(in crate::cli) fn exit_code(&self) -> ExitCode {
        match self.is_serving {
            true => ExitCode::SUCCESS,
            false => ExitCode::from(EXIT_UNEXPECTED),
        }
    }

    /// Transactions behind the leader; `None` without a leader, or in another epoch than it.
    pub(in crate::cli) fn lag(&self, figures: &Figures) -> Option<u32> {
        let (leader, own) = (self.leader_zxid?, figures.zxid?);
        // One asked a moment later may be ahead of what the leader said.
        (own.epoch() == leader.epoch()).then(|| leader.counter().saturating_sub(own.counter()))
    }
}

/// `None` for the members when the server is alone.
pub(in crate::cli) fn judge(rows: &[Row], members: Option<&Members>) -> Verdict {
    let mut verdict = match members {
        None => judge_alone(rows),
        Some(members) => judge_ensemble(rows, members),
    };
    let troubled = |is_reached: bool| {
        let troubles = rows.iter().filter_map(move |row| match &row.answer {
            Err(trouble) if trouble.is_reached() == is_reached => Some((row, trouble)),
            Ok(_) | Err(_) => None,
        });
        let text = |(row, trouble): (&Row, &Trouble)| match *trouble == Trouble::NotServing {
            true => row.target.name(),
            false => format!("{} ({trouble})", row.target.name()),
        };
        let texts: Vec<String> = troubles.map(text).collect();
        texts.join(", ")
    };
    for (what, who) in [
        ("not serving", troubled(true)),
        ("cannot be reached", troubled(false)),
    ] {
        if !who.is_empty() {
            verdict.parts.push(format!("{what}: {who}"));
        }
    }
    verdict
}

fn judge_alone(rows: &[Row]) -> Verdict {
    let mode = rows.iter().find_map(|row| row.answer.as_ref().ok());
    let mode = mode.map(|figures| figures.mode.as_str());
    Verdict {
        leaders: Vec::new(),
        is_serving: mode == Some("standalone"),
        leader_zxid: None,
        parts: vec![match mode {
            Some("standalone") => "the server serves alone".to_owned(),
            Some(mode) => {
                format!("the server is a {mode}, and this configuration does not name its ensemble")
            }
            None => "no server serves".to_owned(),
        }],
        elsewhere: Vec::new(),
    }
}

fn judge_ensemble(rows: &[Row], members: &Members) -> Verdict {
    let verifier = members.verifier();
    let (mut leaders, mut serving) = (Vec::new(), AckSet::default());
    let mut serving_count = 0;
    for (id, figures) in serving_rows(rows) {
        if figures.mode == "leader" {
            leaders.push((id, figures));
        }
        if verifier.is_voter(id) && matches!(figures.mode.as_str(), "leader" | "follower") {
            serving.add(id);
            serving_count += 1;
        }
    }
    let has_quorum = verifier.contains_quorum(&serving);
    let of = format!("({serving_count} of {} participants)", verifier.voters().count());
    let quorum = match has_quorum {
        true => format!("a quorum serves {of}"),
        false => format!("no quorum serves {of}"),
    };
    let mut verdict = Verdict {
        is_serving: has_quorum && matches!(leaders[..], [(id, _)] if verifier.is_voter(id)),
        leader_zxid: match leaders[..] {
            [(_, figures)] => figures.zxid,
            _ => None,
        },
        parts: vec![leading(&leaders), quorum],
        elsewhere: Vec::new(),
        leaders: leaders.iter().map(|(id, _)| *id).collect(),
    };
    for (id, figures) in serving_rows(rows) {
        match figures.mode.as_str() {
            "leader" | "follower" | "observer" => {}
            mode => verdict.parts.push(format!("server {} is {mode}", id.0)),
        }
        if verdict.lag(figures).is_none() {
            verdict.elsewhere.push(format!("server {}", id.0));
        }
    }
    verdict
}

fn serving_rows(rows: &[Row]) -> impl Iterator<Item = (ServerId, &Figures)> {
    rows.iter()
        .filter_map(|row| Some((row.target.id?, row.answer.as_ref().ok()?)))
}

fn leading(leaders: &[(ServerId, &Figures)]) -> String {
    match leaders {
        [] => "no server leads".to_owned(),
        [(id, figures)] => {
            let mut text = format!("server {} leads", id.0);
            if let (Some(followers), Some(observers)) = (figures.synced_followers, figures.synced_observers) {
                text.push_str(&format!(
                    " (followers in time: {followers}, observers: {observers})"
                ));
            }
            text
        }
        leaders => {
            let ids: Vec<String> = leaders.iter().map(|(id, _)| id.0.to_string()).collect();
            format!("servers {} all say that they lead", ids.join(", "))
        }
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(chars).collect()
}
