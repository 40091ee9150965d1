//! A limit that somebody went over, and the fields that tell so (RFC 9110 section 10.2.3;
//! draft-ietf-httpapi-ratelimit-headers-10, whose values are Structured Fields of RFC 9651).

use std::time::Duration;

use super::Rate;

/// What was gone over: nothing of it is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// A rate, and how long until there is something left again.
    Rate(Rate, Duration),
    /// So many at once. When one of them will end nobody knows.
    Concurrency(u32),
}

impl Limit {
    /// The fields of a 429: Retry-After, the limit, and what is left of it. In
    /// `RateLimit`, `t` is what Retry-After says.
    pub fn fields(self) -> [(&'static str, String); 3] {
        let seconds = self.seconds();
        let (policy, left) = match self {
            Limit::Rate(Rate { count, per }, _) => (
                format!("\"rate\";q={count};w={}", per.as_secs().max(1)),
                format!("\"rate\";r=0;t={seconds}"),
            ),
            Limit::Concurrency(most) => (
                format!("\"concurrency\";q={most};qu=\"concurrent-requests\""),
                "\"concurrency\";r=0".to_owned(),
            ),
        };
        [("retry-after", seconds.to_string()), ("ratelimit-policy", policy), ("ratelimit", left)]
    }

    /// After how many whole seconds another try is worth it, 1 at least.
    fn seconds(self) -> u64 {
        let Limit::Rate(_, wait) = self else { return 1 };
        let whole = wait.as_secs();
        whole.saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_say_what_was_gone_over_and_when_to_come_back() {
        let rate =
            |text: &str, millis| Limit::Rate(text.parse().unwrap(), Duration::from_millis(millis));
        for (limit, wait, policy, left) in [
            (rate("3/m", 17_000), "17", "\"rate\";q=3;w=60", "\"rate\";r=0;t=17"),
            (rate("3/m", 16_001), "17", "\"rate\";q=3;w=60", "\"rate\";r=0;t=17"),
            (rate("100/s", 0), "1", "\"rate\";q=100;w=1", "\"rate\";r=0;t=1"),
            (rate("5000/h", 720), "1", "\"rate\";q=5000;w=3600", "\"rate\";r=0;t=1"),
            (
                Limit::Concurrency(2),
                "1",
                "\"concurrency\";q=2;qu=\"concurrent-requests\"",
                "\"concurrency\";r=0",
            ),
        ] {
            let wanted = [("retry-after", wait), ("ratelimit-policy", policy), ("ratelimit", left)];
            assert_eq!(
                limit.fields().map(|(name, value)| (name, value)),
                wanted.map(|(name, value)| (name, value.to_owned()))
            );
        }
    }
}
