//! Where the log goes: to the standard error, filtered. The filter can change while the server runs.

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use self::log_line::LogLine;
use crate::config::{LogConfig, LogFormat};

pub(crate) mod log_line;

/// What is never logged, whatever the filter says: libraries that would tell headers, and with them secrets.
const QUIET: [&str; 3] = ["h2=info", "hyper=info", "rustls=info"];

/// Sets the filter of a log that has begun.
pub(crate) struct Reload(Box<dyn Fn(EnvFilter)>);

impl Reload {
    /// Takes over the filter of these settings.
    pub(crate) fn reload(&self, config: &LogConfig) {
        (self.0)(filter_of(config));
    }
}

/// Starts to log.
pub(crate) fn start(config: &LogConfig) -> Reload {
    let has_colours = config.format == LogFormat::Human && std::io::IsTerminal::is_terminal(&std::io::stderr());
    let (subscriber, reload) = subscriber(config.format, filter_of(config), has_colours, std::io::stderr);
    // Fails only where a program that embeds this logs already, which is just as well.
    let _ = tracing::subscriber::set_global_default(subscriber);
    reload
}

/// The filter of these settings, or of the environment.
fn filter_of(config: &LogConfig) -> EnvFilter {
    let said = ["FANFARE_LOG", "RUST_LOG"].into_iter().find_map(|name| std::env::var(name).ok());
    filter(said.as_ref().unwrap_or(&config.filter), config.requests)
}

/// The filter that a text says, but for what is never logged. What can't be read in it is left out.
pub(crate) fn filter(text: &str, requests: bool) -> EnvFilter {
    let own = QUIET.into_iter().chain(requests.then_some("fanfare::request=debug"));
    own.filter_map(|directive| directive.parse().ok()).fold(EnvFilter::new(text), EnvFilter::add_directive)
}

/// What writes lines, and what sets their filter.
pub(crate) fn subscriber(
    format: LogFormat,
    filter: EnvFilter,
    has_colours: bool,
    writer: impl for<'w> MakeWriter<'w> + Send + Sync + 'static,
) -> (impl Subscriber + Send + Sync, Reload) {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(has_colours)
        .with_writer(writer)
        .event_format(LogLine(format))
        .with_filter_reloading();
    let handle = builder.reload_handle();
    // Fails only where nobody logs any more.
    let reload = Reload(Box::new(move |filter| drop(handle.reload(filter))));
    (builder.finish(), reload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Captured;

    fn said(filter: EnvFilter) -> String {
        let captured = Captured::default();
        let (subscriber, _) = subscriber(LogFormat::Human, filter, false, captured.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::trace!(target: "h2::codec", "secret");
            tracing::debug!(target: "fanfare::request", "asked");
            tracing::trace!(target: "fanfare_hub", "detail");
            tracing::error!(target: "h2", "broken");
        });
        captured.text()
    }

    #[test]
    fn libraries_that_tell_headers_are_quiet_whatever_the_filter_says() {
        for text in ["trace", "h2=trace", "trace,h2=trace"] {
            let said = said(filter(text, false));
            assert!(!said.contains("secret") && said.contains("broken"), "{text}: {said}");
        }
        assert!(said(filter("trace", false)).contains("detail"));
    }

    #[test]
    fn the_filter_changes_while_the_log_goes_on() {
        let captured = Captured::default();
        let (subscriber, reload) = subscriber(LogFormat::Json, filter("warn", false), false, captured.clone());
        tracing::subscriber::with_default(subscriber, || {
            for (text, requests) in [("warn", false), ("info", false), ("warn", true), ("error", false)] {
                (reload.0)(filter(text, requests));
                tracing::info!("news");
                tracing::debug!(target: "fanfare::request", "asked");
            }
        });
        let told: Vec<_> = captured.lines().iter().map(|line| line["message"].clone()).collect();
        assert_eq!(told, ["news", "asked"]);
    }

    #[test]
    fn requests_are_logged_where_the_settings_say_so() {
        assert!(!said(filter("info", false)).contains("asked"));
        assert!(said(filter("info", true)).contains("asked"));
        assert!(said(filter("debug", false)).contains("asked"));
    }
}
