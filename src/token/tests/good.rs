//! Good tokens: ours are read as they were written, here and by others.

use super::*;

#[test]
fn reads_what_it_minted() {
    for algorithm in ALL {
        let key = new_key(algorithm);
        let token = judge(&minted(&key), &ring(&key), at(IAT)).unwrap();
        assert_eq!(token.kid(), key.kid());
        assert_eq!(token.client_id(), ClientId::from_random([1; 16]));
        assert_eq!(token.jti(), Jti::from_random([2; 16]));
        assert_eq!(token.account().as_str(), "acme");
        assert_eq!(token.scopes(), &grant().scopes);
        assert_eq!(token.environments(), &grant().environments);
        assert_eq!(token.generation(), 3);
        assert_eq!((token.issued_at(), token.expires_at()), (at(IAT), at(EXP)));
    }
}

/// The wire form is a contract: member by member.
#[test]
fn the_wire_form() {
    let key = new_key(Algorithm::EdDsa);
    let token = minted(&key);
    let part = |n: usize| -> Value {
        let part = URL_SAFE_NO_PAD.decode(token.split('.').nth(n).unwrap()).unwrap();
        serde_json::from_slice(&part).unwrap()
    };
    assert_eq!(part(0), header(&key));
    let scope = "campaign.list campaign.toggle env:prod";
    assert_eq!(part(1), with(with(claims(), "scope", json!(scope)), "gen", json!(3)));
    assert!(!format!("{:?}", mint_with(&key, &grant())).contains("eyJ"));
}

/// An implementation that is not ours agrees, with our published key.
#[test]
#[expect(clippy::disallowed_methods, reason = "here it is the second opinion")]
fn the_library_takes_our_tokens() {
    for algorithm in ALL {
        let key = new_key(algorithm);
        let set: jsonwebtoken::jwk::JwkSet = serde_json::from_value(ring(&key).jwks()).unwrap();
        let jwk = set.find(key.kid().as_str()).unwrap();
        let public = jsonwebtoken::DecodingKey::from_jwk(jwk).unwrap();
        let mut rules = jsonwebtoken::Validation::new(algorithm.jose());
        rules.set_audience(&[AUDIENCE]);
        rules.set_issuer(&[ISSUER]);
        rules.validate_exp = false;
        let read = jsonwebtoken::decode::<Value>(minted(&key), &public, &rules).unwrap();
        assert_eq!(read.claims["account"], "acme");
        assert_eq!(read.header.typ.as_deref(), Some("at+jwt"));
    }
}

#[test]
fn a_former_key_is_still_believed_until_it_goes() {
    let (old, new) = (new_key(Algorithm::Es256), new_key(Algorithm::EdDsa));
    let token = minted(&old);
    let both = Keyring::new(new.clone(), vec![old.verifying_key()]);
    assert_eq!(verdict(&token, &both), Ok(()));
    assert_eq!(verdict(&minted(&new), &both), Ok(()));
    assert_eq!(verdict(&token, &ring(&new)), Err(TokenError::UnknownKey));
}

#[test]
fn a_token_that_we_would_refuse_is_not_minted() {
    let key = new_key(Algorithm::EdDsa);
    let mut much = grant();
    for n in 0..400 {
        much.scopes.insert(Scope::new(&format!("resource{n}.action")).unwrap());
    }
    assert_eq!(mint_with(&key, &much).err(), Some(MintError::TooLong));
}
