//! What holds for any bytes: no panic, and no token but the one we signed.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

static GOOD: LazyLock<(String, Keyring)> = LazyLock::new(|| {
    let key = new_key(Algorithm::EdDsa);
    (minted(&key), ring(&key))
});

proptest! {
    #[test]
    fn any_bytes_are_refused_and_never_a_panic(bytes: Vec<u8>) {
        let with_scheme = [b"Bearer ".as_slice(), &bytes].concat();
        for value in [bytes.as_slice(), &with_scheme] {
            let read = Authorization::from_values([value].into_iter());
            if let Authorization::Bearer(text) = read
                && let Some(token) = text.parse()
            {
                prop_assert!(verify(token, &GOOD.1, &expectations(), at(IAT)).is_err());
            }
        }
    }

    #[test]
    fn any_json_like_parts_are_refused(header in "\\PC{0,60}", payload in "\\PC{0,60}") {
        let token = format!(
            "{}.{}.AAAA", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        prop_assert!(verdict(&token, &GOOD.1).is_err());
    }

    #[test]
    fn any_claims_signed_by_us_are_read_without_a_panic(payload in ".{0,80}") {
        static KEY: LazyLock<Arc<SigningKey>> = LazyLock::new(|| new_key(Algorithm::EdDsa));
        let token = signed(&KEY, &header(&KEY).to_string(), &payload);
        prop_assert!(verdict(&token, &ring(&KEY)).is_err());
    }

    #[test]
    fn any_one_byte_that_is_inserted_or_removed(place: prop::sample::Index, byte in 0..128_u8) {
        let (good, keys) = &*GOOD;
        let place = place.index(good.len());
        let mut longer = good.clone();
        longer.insert(place, char::from(byte));
        prop_assert!(verdict(&longer, keys).is_err());
        let mut shorter = good.clone();
        shorter.remove(place);
        prop_assert!(verdict(&shorter, keys).is_err());
    }
}

/// Not by chance but all of them: each byte of a token, with each other letter
/// of the alphabet and some besides.
#[test]
fn every_change_of_one_byte_is_refused() {
    let (good, keys) = &*GOOD;
    assert_eq!(verdict(good, keys), Ok(()));
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.+/= ";
    let mut tried = 0;
    for place in 0..good.len() {
        for letter in letters.iter().step_by(if place % 16 == 0 { 1 } else { 7 }) {
            let mut bytes = good.clone().into_bytes();
            if bytes[place] != *letter {
                bytes[place] = *letter;
                let changed = String::from_utf8(bytes).unwrap();
                assert!(verdict(&changed, keys).is_err(), "{place} {changed}");
                tried += 1;
            }
        }
    }
    assert!(tried > 5_000, "{tried}");
}
