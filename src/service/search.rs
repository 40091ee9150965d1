//! Finding credentials: the history, newest first.

use std::sync::Arc;
use std::time::Duration;

use super::context::Context;
use super::directory::{Place, place_of};
use crate::domain::{Credential, Environments, StateName, UnixTime};

/// What is looked for; what is `None` does not matter.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Parts of words, in any case, each to be found in who made it, its name,
    /// its description, or the id or label of a role; or its whole id.
    pub q: Option<String>,
    /// The state as it reads now.
    pub state: Option<StateName>,
    /// The id of a role.
    pub role: Option<String>,
    /// The account.
    pub account: Option<String>,
    /// An environment it may act in; `*`: all.
    pub environment: Option<String>,
    /// Never used, or not for so long.
    pub unused_for: Option<Duration>,
}

/// Up to `limit` credentials that `filter` picks, older than `after`, and the
/// place to go on from, if there are more.
pub fn search(
    ctx: &Context,
    filter: &Filter,
    after: Option<Place>,
    limit: usize,
) -> (Vec<Arc<Credential>>, Option<Place>) {
    let directory = &ctx.memory.directory;
    let query = directory.query(filter.q.as_deref().unwrap_or_default(), &ctx.world.load());
    let now = ctx.now();
    let idle_since = filter.unused_for.map(|how_long| now.minus(how_long));
    let idle = |credential: &Credential| {
        let last = || ctx.memory.activity.last_used_at_all(credential.client_id);
        idle_since.is_none_or(|since| last().is_none_or(|last| last <= since))
    };
    let wanted = |credential: &Credential| fits(filter, credential, now) && idle(credential);
    let (found, more) = directory.list(after, limit, &query, wanted);
    let last = found.last().map(|credential| place_of(credential));
    (found, last.filter(|_| more))
}

fn fits(filter: &Filter, credential: &Credential, now: UnixTime) -> bool {
    let is =
        |wanted: &Option<String>, has: &dyn Fn(&str) -> bool| wanted.as_deref().is_none_or(has);
    filter.state.is_none_or(|state| credential.state_at(now) == state)
        && is(&filter.account, &|account| credential.account.as_str() == account)
        && is(&filter.role, &|role| credential.roles.contains(role))
        && is(&filter.environment, &|environment| match environment {
            "*" => credential.environments == Environments::All,
            one => credential.environments.contains(one),
        })
}

/// Whether `text`, in any case, holds `part`, which is in lower case.
pub(super) fn contains(text: &str, part: &str) -> bool {
    if !text.is_ascii() {
        return text.to_lowercase().contains(part);
    }
    // Nearly all text is ASCII, whose letters need no new string to compare.
    let (text, part) = (text.as_bytes(), part.as_bytes());
    part.is_empty() || text.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_words_in_any_case() {
        for (text, part) in [
            ("Nightly Report", "ly rep"),
            ("Café Noir", "fé n"),
            ("x", ""),
            ("É", "é"),
            ("\u{212a}", "k"),
        ] {
            assert!(contains(text, part), "{text} has {part}");
        }
        for (text, part) in [("Nightly", "x"), ("cafe", "fé"), ("", "a"), ("ab", "abc")] {
            assert!(!contains(text, part), "{text} has no {part}");
        }
    }
}
