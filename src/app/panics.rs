//! Panics are counted and told where they happened. What they said is not told:
//! it may quote a path, a token or a secret.

use std::panic::{set_hook, take_hook};
use std::sync::Once;

use crate::metrics::count_panic;

/// Counts and tells of every panic from now on, then does what was done before.
pub(super) fn watch() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            count_panic();
            let at = panic.location().map(ToString::to_string).unwrap_or_default();
            let thread = std::thread::current();
            let thread = thread.name().unwrap_or_default();
            tracing::error!(at, thread, "a panic ended what it was in, and nothing else: a bug");
            before(panic);
        }));
    });
}
