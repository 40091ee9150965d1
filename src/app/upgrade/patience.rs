//! Waiting for the other process, in time in which both could run: a container that is
//! frozen, or a machine that is suspended, is nobody's fault.

use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, timeout};

/// Time is counted in pieces of this.
const PIECE: Duration = Duration::from_millis(100);

/// So often it is counted anew after a piece in which this process did not run.
const STALLS: u32 = 3;

/// What `outcome` comes to, unless it takes longer than so many tenths of a second. When
/// both processes stood still, the other one gets its time after that.
pub(super) async fn within<T>(tenths: u32, outcome: impl Future<Output = T>) -> Option<T> {
    let mut outcome = pin!(outcome);
    let (mut waited, mut stalls) = (0, 0);
    while waited < tenths {
        let begun = Instant::now();
        if let Ok(outcome) = timeout(PIECE, &mut outcome).await {
            return Some(outcome);
        }
        if begun.elapsed() > PIECE * 2 && stalls < STALLS {
            (waited, stalls) = (0, stalls + 1);
        } else {
            waited += 1;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn time_in_which_nobody_ran_does_not_count() {
        let thawed = async {
            sleep(PIECE / 2).await;
            advance(Duration::from_secs(60)).await;
            sleep(PIECE * 3).await;
        };
        assert_eq!(within(10, thawed).await, Some(()));
        let begun = Instant::now();
        assert_eq!(within(10, std::future::pending::<()>()).await, None);
        assert!(begun.elapsed() < Duration::from_secs(2));
    }
}
