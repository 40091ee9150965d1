//! How many requests in how long.

use std::cmp::Ordering;
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use super::NameError;

/// A rate such as `100/s`, `600/m` or `5000/h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: NonZeroU32,
    /// In how long: a second, a minute or an hour.
    pub per: Duration,
}

impl Rate {
    /// Orders rates, the one that allows least in the long run first.
    pub fn strictness(a: &Rate, b: &Rate) -> Ordering {
        let per_hour = |rate: &Rate| u64::from(rate.count.get()) * 3600 / rate.per.as_secs().max(1);
        per_hour(a).cmp(&per_hour(b))
    }
}

impl FromStr for Rate {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        const MUST: NameError = NameError("be a rate such as \"100/s\", \"600/m\" or \"5000/h\"");
        let (count, unit) = text.split_once('/').ok_or(MUST)?;
        let per = match unit {
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3600),
            _ => return Err(MUST),
        };
        let count = count.parse().map_err(|_| MUST)?;
        Ok(Rate { count, per })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.per.as_secs() {
            1 => "s",
            60 => "m",
            _ => "h",
        };
        write!(f, "{}/{unit}", self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for good in ["100/s", "1/m", "5000/h"] {
            assert_eq!(good.parse::<Rate>().unwrap().to_string(), good);
        }
        for bad in ["", "100", "0/s", "-1/s", "1/d", "1.5/s", "/s", "99999999999/s"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
    }
}
