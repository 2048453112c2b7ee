//! How a line of the log looks: for people, or as one JSON object. In both forms nothing that a client sent can end a line
//! or speak to a terminal: control characters are escaped.
//!
//! It doesn't know what is logged. That no secrets are is the business of those who log: paths come without their queries,
//! and headers never.

use std::error::Error;
use std::fmt::{self, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::config::LogFormat;

/// Writes lines.
pub(crate) struct LogLine(pub(crate) LogFormat);

impl<S: Subscriber + for<'a> LookupSpan<'a>, N: for<'w> FormatFields<'w> + 'static> FormatEvent<S, N> for LogLine {
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut said = Said::default();
        event.record(&mut said);
        let (level, target) = (*event.metadata().level(), event.metadata().target());
        match self.0 {
            LogFormat::Human => {
                let level = coloured(level, writer.has_ansi_escapes());
                write!(writer, "{time} {level} {target}: {}", Plain(&said.message))?;
                for (name, value) in &said.fields {
                    write!(writer, " {name}={}", Shown(value))?;
                }
            }
            LogFormat::Json => {
                let level = level.as_str().to_ascii_lowercase();
                write!(writer, r#"{{"time":"{time}","level":"{level}","target":"{target}","#)?;
                write!(writer, r#""message":{}"#, Json(&said.message))?;
                for (name, value) in said.fields.iter().filter(|(name, _)| !OWN.contains(name)) {
                    match value {
                        Value::Text(text) => write!(writer, r#","{name}":{}"#, Json(text))?,
                        Value::Bare(bare) => write!(writer, r#","{name}":{bare}"#)?,
                    }
                }
                writer.write_char('}')?;
            }
        }
        writeln!(writer)
    }
}

/// Names that every JSON line has.
const OWN: [&str; 4] = ["time", "level", "target", "message"];

fn coloured(level: Level, has_colours: bool) -> String {
    if !has_colours {
        return format!("{level:>5}");
    }
    let colour = match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        _ => 34,
    };
    format!("\x1b[{colour}m{level:>5}\x1b[0m")
}

/// What an event says.
#[derive(Default)]
struct Said {
    message: String,
    fields: Vec<(&'static str, Value)>,
}

enum Value {
    Text(String),
    /// A number, `true` or `false`: the same in both forms.
    Bare(String),
}

impl Said {
    fn bare(&mut self, field: &Field, value: impl fmt::Display + Copy) {
        self.fields.push((field.name(), Value::Bare(value.to_string())));
    }

    fn text(&mut self, field: &Field, text: String) {
        match field.name() {
            "message" => self.message = text,
            name => self.fields.push((name, Value::Text(text))),
        }
    }
}

impl Visit for Said {
    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no other numbers.
        if value.is_finite() { self.bare(field, value) } else { self.text(field, value.to_string()) }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.bare(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.bare(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.bare(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value.to_owned());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let causes = std::iter::successors(Some(value), |error: &&(dyn Error + 'static)| (*error).source());
        self.text(field, causes.map(ToString::to_string).collect::<Vec<_>>().join(": "));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, format!("{value:?}"));
    }
}

/// Whether a character must not reach a terminal or a line reader as it is.
fn is_harmful(c: char) -> bool {
    // Controls of ASCII and Latin-1, line ends of Unicode, and marks that turn the direction of text.
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Text for people, with what is harmful escaped.
struct Plain<'a>(&'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .chars()
            .try_for_each(|c| if is_harmful(c) { write!(f, "{}", c.escape_default()) } else { f.write_char(c) })
    }
}

/// A value for people: quoted where it would not be seen where it ends.
struct Shown<'a>(&'a Value);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Bare(bare) => f.write_str(bare),
            Value::Text(text) if text.is_empty() || text.contains([' ', '"', '=']) => {
                write!(f, "\"{}\"", Plain(&text.replace('\\', "\\\\").replace('"', "\\\"")))
            }
            Value::Text(text) => Plain(text).fmt(f),
        }
    }
}

/// A JSON string (RFC 8259 section 7), with more escaped than must be.
struct Json<'a>(&'a str);

impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                // All of them have four digits.
                c if is_harmful(c) => write!(f, "\\u{:04x}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Captured;

    const HOSTILE: &str = "a\nforged=1 \x1b[2J\u{9b}31m\u{202e}\u{7f} \"q\\";

    fn lines(format: LogFormat) -> String {
        let captured = Captured::default();
        tracing::subscriber::with_default(captured.subscriber(format, "trace"), || {
            let error = std::io::Error::other(HOSTILE);
            tracing::warn!(name = HOSTILE, count = 3, share = 0.5, ok = true, empty = "", "{HOSTILE}");
            tracing::error!(error = &error as &dyn Error, shown = %HOSTILE, none = Option::<u64>::None, "short");
        });
        captured.text()
    }

    #[test]
    fn what_clients_send_neither_ends_a_line_nor_speaks_to_a_terminal() {
        for format in [LogFormat::Human, LogFormat::Json] {
            let text = lines(format);
            assert_eq!(text.lines().count(), 2, "{text}");
            assert!(!text.chars().any(|c| c != '\n' && is_harmful(c)), "{text:?}");
        }
    }

    #[test]
    fn json_has_the_same_names_on_every_line_and_says_what_was_said() {
        let text = lines(LogFormat::Json);
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(lines.iter().all(|line| OWN.iter().all(|name| line[name].is_string())), "{text}");
        assert_eq!(
            (&lines[0]["level"], &lines[0]["message"], &lines[0]["name"]),
            (&"warn".into(), &HOSTILE.into(), &HOSTILE.into())
        );
        assert_eq!((&lines[0]["count"], &lines[0]["share"], &lines[0]["ok"]), (&3.into(), &0.5.into(), &true.into()));
        assert_eq!((&lines[1]["error"], &lines[1]["shown"]), (&HOSTILE.into(), &HOSTILE.into()));
        assert!(lines[1].get("none").is_none());
    }

    #[test]
    fn people_see_where_a_value_ends() {
        let text = lines(LogFormat::Human);
        assert!(text.contains(r#" count=3 share=0.5 ok=true empty="""#), "{text}");
        assert!(text.contains(r#"name="a\nforged=1 \u{1b}[2J"#), "{text}");
        assert!(text.contains(" WARN fanfare::logging::log_line::tests: a\\nforged"), "{text}");
    }
}
