//! Log lines: text shaped as ZooKeeper's, or JSON.
//!
//! Invariant: one event is one line, whatever is in it: control characters are written as escapes.

use std::fmt;

use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::config::server_config::{LogFormat, LoggingConfig};

/// Sends log lines of this process to standard output, from now on and once only.
pub fn init(config: &LoggingConfig, my_id: Option<i64>) -> Result<(), LoggingError> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(&config.level)?)
        .with_ansi(false);
    let is_set = match config.format {
        LogFormat::Text => builder.event_format(TextLine { my_id }).try_init(),
        LogFormat::Json => builder.json().with_thread_names(true).try_init(),
    };
    is_set.map_err(|error| LoggingError::AlreadySet(error.to_string()))
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// Not a level nor a list of them.
    #[error(
        "log level \"{0}\" is not understood: allowed are error, warn, info, debug, trace, off, \
         or a list as in info,zkserver::storage=debug"
    )]
    Level(String),
    /// Logging is set up already.
    #[error("logging is set up already: {0}")]
    AlreadySet(String),
}

/// The filter for a level as configured: `INFO`, or `info,zkserver::storage=debug`.
pub fn filter(level: &str) -> Result<EnvFilter, LoggingError> {
    let wrong = || LoggingError::Level(level.to_owned());
    for part in level.split(',') {
        let word = part.rsplit_once('=').map_or(part, |(_, word)| word).trim();
        if !LEVELS.iter().any(|known| known.eq_ignore_ascii_case(word)) {
            return Err(wrong());
        }
    }
    EnvFilter::try_new(level.replace(' ', "")).map_err(|_| wrong())
}

/// `2026-01-31T12:00:00.000000Z [myid:1] - INFO  [core:zkserver::server] - text key=value`.
struct TextLine {
    my_id: Option<i64>,
}

impl<S, N> FormatEvent<S, N> for TextLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        SystemTime.format_time(&mut out)?;
        match self.my_id {
            Some(id) => write!(out, " [myid:{id}]")?,
            None => out.write_str(" [myid:]")?,
        }
        let thread = std::thread::current();
        let metadata = event.metadata();
        write!(
            out,
            " - {:<5} [{}:{}] - ",
            metadata.level(),
            thread.name().unwrap_or("-"),
            metadata.target()
        )?;
        let mut fields = String::new();
        context.format_fields(Writer::new(&mut fields), event)?;
        write_on_one_line(&mut out, &fields)?;
        out.write_char('\n')
    }
}

fn write_on_one_line(out: &mut dyn fmt::Write, text: &str) -> fmt::Result {
    for c in text.chars() {
        if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
            write!(out, "{}", c.escape_default())?;
        } else {
            out.write_char(c)?;
        }
    }
    Ok(())
}

const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::{TextLine, filter};

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn text_of(events: impl FnOnce()) -> String {
        let captured = Captured::default();
        let writer = captured.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .event_format(TextLine { my_id: Some(3) })
            .finish();
        tracing::subscriber::with_default(subscriber, events);
        let bytes = captured.0.lock().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_line_has_the_known_shape() {
        let text = text_of(|| tracing::info!(port = 2181, "binding to port"));
        let (time, rest) = text.split_once(' ').unwrap();
        assert!(time.ends_with('Z') && time.contains('T'), "{text}");
        assert!(rest.starts_with("[myid:3] - INFO  ["), "{text}");
        assert!(rest.ends_with("] - binding to port port=2181\n"), "{text}");
    }

    #[test]
    fn one_event_is_one_line() {
        let path = "/a\r\n2026 [myid:3] - INFO forged\u{1b}[31m\u{85}\u{2028}x";
        let text = text_of(|| {
            tracing::warn!("refused {path}");
            tracing::warn!(path, %path, "refused");
        });
        assert_eq!(text.lines().count(), 2, "{text:?}");
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
        assert!(!text.contains('\u{2028}'), "{text:?}");
    }

    #[test]
    fn levels_are_checked() {
        for level in [
            "info",
            "INFO",
            "info,zkserver::storage=debug",
            "info, zkserver=trace",
            "off",
        ] {
            assert!(filter(level).is_ok(), "{level}");
        }
        for level in ["", "verbose", "info,zkserver::storage", "info,x=loud"] {
            assert!(filter(level).is_err(), "{level}");
        }
    }
}
