//! The one place that prints. Answers go to standard output, talk to standard error.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use serde::Serialize;

/// What was asked for. A reader that is gone is no reason to fail.
pub(super) fn answer(text: impl Display) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// What was asked for, as JSON.
pub(super) fn json(value: &impl Serialize) {
    if let Ok(text) = serde_json::to_string_pretty(value) {
        answer(text);
    }
}

/// What happened, what to do next.
pub(super) fn note(text: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// How long a note may take where something waits for it.
const NOTED_WITHIN: Duration = Duration::from_millis(500);

/// As [`note`], for a gateway that serves: a reader that is slow or stuck holds nothing
/// up, and may miss it.
pub(super) async fn note_in_passing(text: impl Display) {
    let text = text.to_string();
    let (written, is_written) = tokio::sync::oneshot::channel();
    // Not of the runtime, which would wait for it at its end.
    let noting = std::thread::Builder::new().name("note".to_owned()).spawn(move || {
        note(text);
        let _ = written.send(());
    });
    if noting.is_ok() {
        let _ = tokio::time::timeout(NOTED_WITHIN, is_written).await;
    }
}

/// Whether people look at standard error and want colours (no-color.org).
pub(super) fn stderr_has_colours() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// Text that others chose, safe for a terminal: control characters and those
/// that turn the direction of writing are spelled out.
pub(super) fn plain(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        let turns = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
        if c.is_control() || turns {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_not_drive_the_terminal() {
        assert_eq!(plain("Zoë \u{1b}[2J\n\u{202e}x"), "Zoë \\u{1b}[2J\\n\\u{202e}x");
    }
}
