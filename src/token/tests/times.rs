//! The edges of time, exact to the millisecond.

use super::*;

/// Half open: dead at `exp + skew`, not a millisecond before.
#[test]
fn edges() {
    let key = new_key(Algorithm::EdDsa);
    let keys = ring(&key);
    let skew = 30_000;
    let token = minted(&key);
    for (millis, expected) in [
        (IAT * 1000 - skew - 1, Err(TokenError::NotYetValid)),
        (IAT * 1000 - skew, Ok(())),
        (IAT * 1000, Ok(())),
        (EXP * 1000, Ok(())),
        (EXP * 1000 + skew - 1, Ok(())),
        (EXP * 1000 + skew, Err(TokenError::Expired)),
        (i64::MAX, Err(TokenError::Expired)),
        (0, Err(TokenError::NotYetValid)),
    ] {
        let now = UnixTime::from_millis(millis);
        assert_eq!(judge(&token, &keys, now).map(|_| ()), expected, "{millis}");
        let good = judge(&token, &keys, at(IAT)).unwrap();
        assert_eq!(good.live_at(now, SKEW), expected, "{millis}");
    }
    let good = judge(&token, &keys, at(IAT)).unwrap();
    assert_eq!(good.live_at(at(EXP), Duration::ZERO), Err(TokenError::Expired));
    assert_eq!(good.live_at(at(EXP - 1), Duration::ZERO), Ok(()));
}

#[test]
fn claims_of_time() {
    let key = new_key(Algorithm::EdDsa);
    let keys = ring(&key);
    let year_9999 = 253_402_300_799_i64;
    for (member, value, expected) in [
        ("nbf", json!(IAT + 31), Ok(())),
        ("nbf", json!(IAT + 32), Err(TokenError::NotYetValid)),
        ("nbf", json!(0), Ok(())),
        ("iat", json!(IAT + 31), Ok(())),
        ("iat", json!(IAT + 32), Err(TokenError::NotYetValid)),
        ("iat", json!(0), Ok(())),
        ("exp", json!(IAT - 29), Err(TokenError::Expired)),
        ("exp", json!(IAT - 28), Ok(())),
        ("exp", json!(0), Err(TokenError::Expired)),
        ("exp", json!(year_9999), Ok(())),
        ("exp", json!(year_9999 + 1), Err(TokenError::Malformed)),
        ("exp", json!(u64::MAX), Err(TokenError::Malformed)),
        ("exp", json!(1e300), Err(TokenError::Malformed)),
        ("exp", json!(-1), Err(TokenError::Malformed)),
        ("exp", json!(1_795_317_600.5), Err(TokenError::Malformed)),
        ("exp", json!("1795317600"), Err(TokenError::Malformed)),
        ("exp", json!([1_795_317_600]), Err(TokenError::Malformed)),
        ("iat", json!("1795314000"), Err(TokenError::Malformed)),
        ("nbf", json!(true), Err(TokenError::Malformed)),
    ] {
        let token = signed_json(&key, &header(&key), &with(claims(), member, value.clone()));
        assert_eq!(verdict(&token, &keys), expected, "{member} {value}");
    }
}

/// A skew that reaches beyond the end of time neither overflows nor revives.
#[test]
fn the_end_of_time() {
    let key = new_key(Algorithm::EdDsa);
    let good = judge(&minted(&key), &ring(&key), at(IAT)).unwrap();
    assert_eq!(good.live_at(UnixTime::MAX, Duration::MAX), Err(TokenError::Expired));
    assert_eq!(good.live_at(at(0), Duration::MAX), Ok(()));
}
