//! Runs sled without its panics reaching anybody: it panics where it finds
//! damage, and its words would not help the one who reads them.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// The work ended in a panic.
#[derive(Debug)]
pub(super) struct Panicked;

/// Does `work`; a panic in it, or in one of sled's own threads, is kept from the
/// terminal and told to the debug log.
pub(super) fn quietly<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = take_hook();
        set_hook(Box::new(move |panic| {
            if QUIET.get() || is_sled_thread() {
                tracing::debug!(%panic, "sled panicked");
            } else {
                others(panic);
            }
        }));
    });
    let before = QUIET.replace(true);
    // What `work` touched is thrown away by the caller after a panic.
    let outcome = catch_unwind(AssertUnwindSafe(work));
    QUIET.set(before);
    outcome.map_err(|_| Panicked)
}

fn is_sled_thread() -> bool {
    let thread = std::thread::current();
    thread.name().is_some_and(|name| name.starts_with("sled-io-") || name == "log flusher")
}
