//! Every classic way to a token that nobody should believe, and the word for it.

use aws_lc_rs::hmac;

use super::*;

/// Signed with our key, and still not an access token for us.
#[test]
fn signed_by_us_but_wrong() {
    let key = new_key(Algorithm::EdDsa);
    let keys = ring(&key);
    let (h, c) = (header(&key), claims());
    assert_eq!(verdict(&signed_json(&key, &h, &c), &keys), Ok(()));
    let upper = ClientId::from_random([0xab; 16]).to_string().to_uppercase();
    let other = ClientId::from_random([9; 16]).to_string();
    for (member, value, expected) in [
        ("iss", json!("https://gateway.example/"), TokenError::WrongIssuer),
        ("iss", json!("https://GATEWAY.example"), TokenError::WrongIssuer),
        ("iss", json!(""), TokenError::WrongIssuer),
        ("iss", Value::Null, TokenError::WrongIssuer),
        ("iss", json!([ISSUER]), TokenError::Malformed),
        ("aud", json!("other"), TokenError::WrongAudience),
        ("aud", json!(["other", "campaign-api2"]), TokenError::WrongAudience),
        ("aud", json!([]), TokenError::WrongAudience),
        ("aud", Value::Null, TokenError::WrongAudience),
        ("aud", json!(7), TokenError::Malformed),
        ("exp", Value::Null, TokenError::Expired),
        ("iat", Value::Null, TokenError::NotYetValid),
        ("sub", Value::Null, TokenError::Malformed),
        ("sub", json!(other), TokenError::Malformed),
        ("client_id", Value::Null, TokenError::Malformed),
        ("client_id", json!(other), TokenError::Malformed),
        ("jti", Value::Null, TokenError::Malformed),
        ("jti", json!("7"), TokenError::Malformed),
        ("jti", json!(upper), TokenError::Malformed),
        ("account", Value::Null, TokenError::Malformed),
        ("account", json!(""), TokenError::Malformed),
        ("account", json!("../acme"), TokenError::Malformed),
        ("scope", Value::Null, TokenError::Malformed),
        ("scope", json!(""), TokenError::Malformed),
        ("scope", json!("campaign.list"), TokenError::Malformed),
        ("scope", json!("* env:*"), TokenError::Malformed),
        ("scope", json!("campaign.list env:"), TokenError::Malformed),
        ("scope", json!("campaign.list\tenv:*"), TokenError::Malformed),
        ("scope", json!(["campaign.list", "env:*"]), TokenError::Malformed),
        ("gen", Value::Null, TokenError::Malformed),
        ("gen", json!(0), TokenError::Malformed),
        ("gen", json!(-1), TokenError::Malformed),
        ("gen", json!("1"), TokenError::Malformed),
    ] {
        let token = signed_json(&key, &h, &with(c.clone(), member, value.clone()));
        assert_eq!(verdict(&token, &keys), Err(expected), "{member} {value}");
    }
    let both = with(with(c.clone(), "sub", json!("x")), "client_id", json!("x"));
    assert_eq!(verdict(&signed_json(&key, &h, &both), &keys), Err(TokenError::Malformed));
    let several = with(c.clone(), "aud", json!(["other", AUDIENCE]));
    assert_eq!(verdict(&signed_json(&key, &h, &several), &keys), Ok(()));
    let more = with(with(c, "roles", json!(["admin"])), "x", json!({"y": 1.5}));
    assert_eq!(verdict(&signed_json(&key, &h, &more), &keys), Ok(()));
}

#[test]
fn headers() {
    let key = new_key(Algorithm::EdDsa);
    let keys = ring(&key);
    let jwk = new_key(Algorithm::EdDsa).verifying_key().jwk().clone();
    for (member, value, expected) in [
        ("typ", json!("application/at+jwt"), Ok(())),
        ("typ", json!("AT+JWT"), Ok(())),
        ("typ", json!("JWT"), Err(TokenError::WrongType)),
        ("typ", Value::Null, Err(TokenError::WrongType)),
        ("typ", json!(7), Err(TokenError::Malformed)),
        ("alg", Value::Null, Err(TokenError::WrongType)),
        ("alg", json!("none"), Err(TokenError::WrongType)),
        ("alg", json!("None"), Err(TokenError::WrongType)),
        ("alg", json!("eddsa"), Err(TokenError::WrongType)),
        ("alg", json!("Ed25519"), Err(TokenError::WrongType)),
        ("alg", json!("HS256"), Err(TokenError::WrongType)),
        ("alg", json!("ES256"), Err(TokenError::WrongType)),
        ("alg", json!("RS256"), Err(TokenError::WrongType)),
        ("alg", json!(256), Err(TokenError::Malformed)),
        ("crit", json!([]), Err(TokenError::WrongType)),
        ("crit", json!(["exp"]), Err(TokenError::WrongType)),
        ("crit", json!("b64"), Err(TokenError::WrongType)),
        ("b64", json!(false), Err(TokenError::WrongType)),
        ("b64", json!(true), Err(TokenError::WrongType)),
        ("kid", Value::Null, Err(TokenError::UnknownKey)),
        ("kid", json!(""), Err(TokenError::UnknownKey)),
        ("kid", json!("../../../../dev/null"), Err(TokenError::UnknownKey)),
        ("kid", json!("' OR 1=1 --"), Err(TokenError::UnknownKey)),
        ("kid", json!(key.kid().as_str().to_uppercase()), Err(TokenError::UnknownKey)),
        ("kid", json!(format!("{}\0", key.kid())), Err(TokenError::UnknownKey)),
        ("kid", json!(1), Err(TokenError::Malformed)),
        ("kid", json!([key.kid().as_str()]), Err(TokenError::Malformed)),
        ("jwk", jwk, Ok(())),
        ("jku", json!("https://evil.example/jwks"), Ok(())),
        ("x5u", json!(7), Ok(())),
    ] {
        let token = signed_json(&key, &with(header(&key), member, value.clone()), &claims());
        assert_eq!(verdict(&token, &keys), expected, "{member} {value}");
    }
}

#[test]
fn texts_that_are_no_json_objects() {
    let key = new_key(Algorithm::EdDsa);
    let keys = ring(&key);
    let (h, c) = (header(&key).to_string(), claims().to_string());
    let doubled = |json: &str, member: &str| json.replacen('{', &format!("{{{member},"), 1);
    for (header, payload) in [
        ("", c.as_str()),
        ("[]", &c),
        ("null", &c),
        (&format!("{h}x"), &c),
        (&doubled(&h, "\"alg\":\"none\""), &c),
        (&doubled(&h, "\"x\":1,\"x\":2"), &c),
        (&h, ""),
        (&h, "[]"),
        (&h, "null"),
        (&h, "\"iss\""),
        (&h, &format!("{c}{c}")),
        (&h, &doubled(&c, "\"exp\":9")),
        (&h, &doubled(&c, "\"\\u0061ccount\":\"other\"")),
        (&h, &c.replace("acme", "ac\u{0}me")),
    ] {
        let token = signed(&key, header, payload);
        assert_eq!(verdict(&token, &keys), Err(TokenError::Malformed), "{header} {payload}");
    }
}

/// Nobody's signature: whatever the claims say, they are not looked at.
#[test]
fn signatures() {
    for algorithm in ALL {
        let key = new_key(algorithm);
        let keys = ring(&key);
        let good = minted(&key);
        let (text, signature) = good.rsplit_once('.').unwrap();
        let zeros = URL_SAFE_NO_PAD.encode(vec![0; signature.len() * 3 / 4]);
        let longer = format!("{signature}AAAA");
        let stranger = minted(&new_key(algorithm));
        let stranger = stranger.rsplit_once('.').unwrap().1;
        for (bad, expected) in [
            ("", TokenError::BadSignature),
            ("AAAA", TokenError::BadSignature),
            (&zeros, TokenError::BadSignature),
            (&longer, TokenError::BadSignature),
            (&signature[4..], TokenError::BadSignature),
            (stranger, TokenError::BadSignature),
            ("@@@@", TokenError::Malformed),
            (&format!("{signature}="), TokenError::Malformed),
            (&format!("{signature}."), TokenError::Malformed),
            (&format!("{signature} x"), TokenError::Malformed),
            (&format!("{signature}\n"), TokenError::Malformed),
        ] {
            let token = format!("{text}.{bad}");
            assert_eq!(verdict(&token, &keys), Err(expected), "{algorithm} {bad}");
        }
        let (head, _) = text.split_once('.').unwrap();
        let swapped = URL_SAFE_NO_PAD.encode(with(claims(), "account", json!("other")).to_string());
        let expired = URL_SAFE_NO_PAD.encode("{\"exp\":0}");
        for payload in ["", "AAAA", swapped.as_str(), expired.as_str()] {
            let token = format!("{head}.{payload}.{signature}");
            assert_eq!(verdict(&token, &keys), Err(TokenError::BadSignature), "{payload}");
        }
    }
}

/// The public key as an HMAC secret, in every form it is published in.
#[test]
fn symmetric_confusion() {
    for algorithm in ALL {
        let key = new_key(algorithm);
        let jwk = key.verifying_key().jwk().clone();
        let raw = ["x", "n"].iter().find_map(|member| jwk[member].as_str()).unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(raw).unwrap();
        for secret in [raw.as_bytes(), &bytes, jwk.to_string().as_bytes(), b""] {
            for (alg, expected) in [
                ("HS256", TokenError::WrongType),
                (key.algorithm().as_str(), TokenError::BadSignature),
            ] {
                let header = with(header(&key), "alg", json!(alg)).to_string();
                let text = format!(
                    "{}.{}",
                    URL_SAFE_NO_PAD.encode(header),
                    URL_SAFE_NO_PAD.encode(claims().to_string())
                );
                let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), text.as_bytes());
                let token = format!("{text}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()));
                assert_eq!(verdict(&token, &ring(&key)), Err(expected), "{algorithm} {alg}");
            }
        }
    }
}

/// A good signature by one of our keys under the name, or the algorithm, of another.
#[test]
fn keys_and_algorithms_are_not_mixed() {
    let made = ALL.map(new_key);
    let others = made.iter().map(|key| key.verifying_key()).collect();
    let keys = Keyring::new(made[0].clone(), others);
    for signer in &made {
        for named in &made {
            let same = signer.kid() == named.kid();
            let as_named = signed_json(signer, &header(named), &claims());
            let expected = if same { Ok(()) } else { Err(TokenError::BadSignature) };
            assert_eq!(verdict(&as_named, &keys), expected);
            let alg = json!(named.algorithm().as_str());
            let as_alg = signed_json(signer, &with(header(signer), "alg", alg), &claims());
            let expected = if same { Ok(()) } else { Err(TokenError::WrongType) };
            assert_eq!(verdict(&as_alg, &keys), expected);
        }
    }
}

/// One token, one text: whatever decodes to the same bytes is refused.
#[test]
fn other_spellings() {
    let key = new_key(Algorithm::EdDsa);
    let keys = ring(&key);
    let good = minted(&key);
    let parts: Vec<&str> = good.split('.').collect();
    assert_eq!(parts[2].len() % 4, 2, "64 bytes leave four unused bits");
    let last = parts[2].chars().next_back().unwrap();
    let next = char::from(u8::try_from(last).unwrap() + 1);
    let (h, p, s) = (parts[0], parts[1], parts[2]);
    for bad in [
        format!("{h}.{p}.{}{next}", &s[..s.len() - 1]),
        format!("{h}.{p}.{s}=="),
        format!("{h}.{p}.{s}%3D%3D"),
        format!(" {good}"),
        format!("{good} "),
        format!("{good}.{s}"),
        format!("{good}.{p}.{s}"),
        format!("{h}.{p}"),
        format!("{h}.{p}."),
        format!("{h}..{s}"),
        format!(".{p}.{s}"),
        good.replace('.', ".."),
        format!("{{\"protected\":\"{h}\",\"payload\":\"{p}\",\"signature\":\"{s}\"}}"),
        json!({"payload": p, "signatures": [{"protected": h, "signature": s}]}).to_string(),
    ] {
        assert!(verdict(&bad, &keys).is_err(), "{bad}");
    }
}
