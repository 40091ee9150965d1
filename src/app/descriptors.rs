//! File descriptors: as many as the system allows, and no more connections than
//! there are some for. Without one left nobody could be forwarded, and the admin and
//! metrics ports could not answer: whoever is too many waits outside instead.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// A client's and an upstream's.
const EACH: usize = 2;
/// Listeners, the store, and some to spare.
const OWN: usize = 32;
/// What a thread that serves clients waits with.
const OF_A_THREAD: usize = 8;

/// Raises the limit as far as the system lets us, and returns how many of `wanted`
/// connections it is enough for, on so many threads.
pub(super) fn enough_for(wanted: usize, threads: usize) -> usize {
    let Some(limit) = raise() else { return wanted };
    let own = OWN + threads.saturating_mul(OF_A_THREAD);
    let most = fitting(limit, own);
    if most < wanted {
        tracing::warn!(
            "server.limits.connections is {wanted}, and the system gives {limit} file descriptors: \
             {most} connections at once, the rest waits. Raise the limit (LimitNOFILE, ulimit -n) \
             to {}",
            wanted.saturating_mul(EACH).saturating_add(own).saturating_mul(4) / 3 + 1
        );
    }
    wanted.min(most)
}

/// A quarter is for the ports beside.
fn fitting(limit: usize, own: usize) -> usize {
    ((limit - limit / 4).saturating_sub(own) / EACH).max(1)
}

fn raise() -> Option<usize> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    let raised = setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
    usize::try_from(if raised { hard } else { soft }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_leaves_some_for_the_rest() {
        for limit in [256, 1024, 20_000, 1 << 20] {
            let most = fitting(limit, OWN);
            assert!(most * EACH + OWN + limit / 4 <= limit, "{limit}: {most}");
            assert!(most * EACH * 2 > limit, "{limit}: {most}");
        }
        assert_eq!(fitting(0, OWN), 1);
        assert_eq!(enough_for(1, 2), 1);
    }
}
