//! Diagnostics on standard error, from a thread of their own.

use std::io::IsTerminal;

use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::EnvFilter;

use super::out;

/// The variable that says how much is told.
const VARIABLE: &str = "PORTCULLIS_LOG";

/// What tells of every connection or in pages, unless it is asked for by name.
const NOISY: [&str; 5] = [
    // They quote targets and fields, which may hold secrets.
    "pingora_core=error",
    "pingora_proxy=off",
    // The edge says it in a line of its own.
    "pingora_load_balancing=error",
    // Any client can make it warn, as often as it likes.
    "rustls=off",
    "h2=error",
];

/// Begins to log; what waits is written when the guard is dropped. The `log`
/// crate, which Pingora and sled use, is bridged.
pub(super) fn start(default: &str) -> WorkerGuard {
    let asked = std::env::var(VARIABLE).ok().filter(|text| !text.trim().is_empty());
    let (filter, fault) = filter(asked.as_deref(), default);
    if let Some(fault) = fault {
        out::note(format_args!(
            "warning: {VARIABLE} is not understood ({fault}); using {default:?}"
        ));
    }
    let (writer, guard) = tracing_appender::non_blocking(std::io::stderr());
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(std::io::stderr().is_terminal() && out::stderr_has_colours());
    // A second start in one process (a test) keeps the first one.
    let _ = subscriber.try_init();
    guard
}

fn filter(asked: Option<&str>, default: &str) -> (EnvFilter, Option<String>) {
    let (text, fault) = match asked.map(|text| (text, EnvFilter::try_new(text))) {
        Some((text, Ok(_))) => (text, None),
        Some((_, Err(fault))) => (default, Some(fault.to_string())),
        None => (default, None),
    };
    let mut text = text.to_owned();
    for quiet in NOISY {
        let target = quiet.split('=').next().unwrap_or_default();
        if !text.contains(target) {
            text.push_str(&format!(",{quiet}"));
        }
    }
    (EnvFilter::new(text), fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_told_of_only_by_name() {
        let text = |asked| filter(asked, "info").0.to_string();
        assert!(text(None).contains("info") && text(None).contains("pingora_proxy=off"));
        assert!(text(Some("debug")).contains("pingora_proxy=off"));
        assert!(text(Some("info,pingora_proxy=trace")).contains("pingora_proxy=trace"));
        assert!(filter(Some("a=b=c"), "info").1.is_some());
    }
}
