use std::time::Duration;

use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::domain::{
    Action, AdminName, AdminRole, Changed, CredentialState, EnvironmentId, Environments, Rate,
    Revoked, RoleId, Scope, SecretGeneration, SecretHash,
};

fn entry(op: Op, revision: Revision) -> Entry {
    match op {
        Op::Put { key, value } => Entry { key, value, revision },
        Op::Append { mut prefix, mut value } => {
            value.extend_from_slice(&[9; 32]);
            prefix.0.extend_from_slice(&revision.to_be_bytes());
            Entry { key: prefix, value, revision }
        }
        Op::Delete { .. } => panic!("nothing is deleted here"),
    }
}

fn check(record: Record) {
    let op = match &record {
        Record::Credential(credential) => put(credential),
        Record::RevokedToken(token) => put(token),
        Record::RevokedTokens(_) => panic!("packs have tests of their own"),
        Record::CutOff(cut_off) => put(cut_off),
        Record::SigningKey(key) => put(key),
        Record::Administrator(administrator) => put(administrator),
        Record::Audit(_, entry) => audit(entry),
        Record::Usage(usage) => put(usage),
        Record::AuditHead => Op::Put { key: key::audit_prefix(), value: vec![0] },
        Record::Meta { name, value } => meta(name, value),
    };
    assert_eq!(Record::decode(&entry(op, 7)), Ok(record));
}

fn time() -> impl Strategy<Value = UnixTime> {
    (0..=UnixTime::MAX.as_millis()).prop_map(UnixTime::from_millis)
}

fn name() -> impl Strategy<Value = String> {
    "[A-Za-z0-9_.-]{0,9}[A-Za-z0-9]"
}

fn client_id() -> impl Strategy<Value = ClientId> {
    any::<[u8; 16]>().prop_map(ClientId::from_bytes)
}

fn hash() -> impl Strategy<Value = SecretHash> {
    any::<[u8; 32]>().prop_map(SecretHash::from_bytes)
}

fn rate() -> impl Strategy<Value = Rate> {
    let per = prop_oneof![Just(1), Just(60), Just(3600)].prop_map(Duration::from_secs);
    (1u32.., per).prop_map(|(count, per)| Rate { count: count.try_into().unwrap(), per })
}

fn state() -> impl Strategy<Value = CredentialState> {
    let revoked = (any::<String>(), time(), any::<String>())
        .prop_map(|(by, at, reason)| CredentialState::Revoked(Revoked { by, at, reason }));
    prop_oneof![Just(CredentialState::Active), Just(CredentialState::Suspended), revoked]
}

fn secret() -> impl Strategy<Value = SecretGeneration> {
    let unused = option::of(any::<u64>().prop_map(Duration::from_millis));
    (any::<u32>(), time(), option::of(time()), any::<bool>(), unused, hash()).prop_map(
        |(generation, created_at, retires_at, retired, retire_unused, hash)| SecretGeneration {
            generation,
            created_at,
            retires_at,
            retired,
            retire_unused,
            hash,
        },
    )
}

fn credential() -> impl Strategy<Value = Credential> {
    let environments = btree_set(name(), 0..4).prop_map(|list| {
        Environments::from_list(list.iter().map(|id| EnvironmentId::new(id).unwrap()).collect())
    });
    let words = (client_id(), any::<String>(), any::<String>(), name(), any::<String>());
    let rights = (btree_set(name(), 0..4), btree_set("[!#-)+-?A-Z]{1,9}", 0..4), environments);
    let limits = (option::of(rate()), option::of(any::<u32>()), time(), option::of(time()));
    let armed = prop::collection::btree_map(name(), time(), 0..2).prop_map(|armed| {
        armed.iter().map(|(id, until)| (RoleId::new(id).unwrap(), *until)).collect()
    });
    (words, rights, limits, state(), armed, vec(secret(), 0..3)).prop_map(
        |(words, rights, limits, state, armed, secrets)| Credential {
            client_id: words.0,
            name: words.1,
            description: words.2,
            account: AccountId::new(&words.3).unwrap(),
            roles: rights.0.iter().map(|id| RoleId::new(id).unwrap()).collect(),
            extra_scopes: rights.1.iter().map(|scope| Scope::new(scope).unwrap()).collect(),
            environments: rights.2,
            rate: limits.0,
            concurrency: limits.1,
            created_by: words.4,
            created_at: limits.2,
            expires_at: limits.3,
            state,
            armed,
            secrets,
        },
    )
}

fn record() -> impl Strategy<Value = Record> {
    let token = (
        any::<[u8; 16]>().prop_map(Jti::from_bytes),
        time(),
        option::of(client_id()),
        any::<String>(),
        time(),
        option::of(any::<String>()),
    )
        .prop_map(|(jti, expires_at, client_id, revoked_by, revoked_at, reason)| {
            let token = RevokedToken { jti, expires_at, client_id, revoked_by, revoked_at, reason };
            Record::RevokedToken(token)
        });
    let subject = prop_oneof![
        client_id().prop_map(CutOffSubject::Client),
        name().prop_map(|text| CutOffSubject::Account(AccountId::new(&text).unwrap())),
    ];
    let why = option::of(any::<String>());
    let cut_off = (subject, time(), any::<String>(), time(), why).prop_map(
        |(subject, issued_before, by, at, reason)| {
            Record::CutOff(CutOff { subject, issued_before, by, at, reason })
        },
    );
    let key = (name(), any::<String>(), time(), time(), any::<Vec<u8>>()).prop_map(
        |(kid, algorithm, created_at, activates_at, sealed)| {
            let kid = Kid::new(&kid).unwrap();
            Record::SigningKey(StoredKey { kid, algorithm, created_at, activates_at, sealed })
        },
    );
    let role = prop::sample::select(AdminRole::ALL.to_vec());
    let administrator = (name(), role, hash(), any::<String>(), time()).prop_map(
        |(name, role, key_hash, created_by, created_at)| {
            let name = AdminName::new(&name).unwrap();
            Record::Administrator(Administrator { name, role, key_hash, created_by, created_at })
        },
    );
    let action = prop::sample::select(Action::ALL.to_vec());
    let text = any::<String>;
    let changed = (text(), option::of(text()), option::of(text()))
        .prop_map(|(field, before, after)| Changed { field, before, after });
    let who = (text(), text());
    let audit = (time(), who, action, text(), option::of(text()), vec(changed, 0..3)).prop_map(
        |(at, (actor, source), action, target, reason, changes)| {
            Record::Audit(7, AuditEntry { at, actor, source, action, target, reason, changes })
        },
    );
    let meta =
        (any::<String>(), any::<Vec<u8>>()).prop_map(|(name, value)| Record::Meta { name, value });
    let credential = credential().prop_map(Record::Credential);
    let scopes = btree_set("[!#-)+-?A-Z]{1,9}", 0..4);
    let usage = (client_id(), vec((any::<u32>(), time()), 0..3), scopes).prop_map(
        |(client_id, last_used, scopes)| {
            let scopes = scopes.iter().map(|scope| Scope::new(scope).unwrap()).collect();
            Record::Usage(Usage { client_id, last_used, scopes })
        },
    );
    prop_oneof![
        credential,
        token,
        cut_off,
        key,
        administrator,
        usage,
        audit,
        meta,
        Just(Record::AuditHead)
    ]
}

proptest! {
    #[test]
    fn every_record_reads_as_it_was_written(record in record()) {
        check(record);
    }

    #[test]
    fn no_bytes_make_it_panic(key in any::<Vec<u8>>(), value in any::<Vec<u8>>()) {
        let _ = Record::decode(&Entry { key: Key(key), value, revision: 1 });
    }
}

fn read(key: Key, value: &str) -> Result<Record, CodecError> {
    let value = [b"\x01", value.as_bytes()].concat();
    Record::decode(&Entry { key, value, revision: 7 })
}

const CREDENTIAL_V1: &str = concat!(
    r#"{"name":"n","description":"d","account":"acc","roles":["r1"],"extra_scopes":["a.b"],"#,
    r#""environments":{"only":["production"]},"rate":"100/s","concurrency":5,"created_by":"root","#,
    r#""created_at":1000,"expires_at":null,"state":{"revoked":{"by":"root","at":2000,"#,
    r#""reason":"leaked"}},"secrets":[{"generation":1,"created_at":1000,"retires_at":3000,"#,
    r#""hash":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"}]}"#
);

const AUDIT_V1: &str = concat!(
    r#"{"at":1,"actor":"root","source":"192.0.2.7","action":"credential.revoke","target":"x","#,
    r#""reason":"leaked","changes":[{"field":"state","before":null,"after":"a"}]}"#
);

/// These bytes lie on people's disks: they must read for ever.
#[test]
fn version_1_still_reads() {
    let id = ClientId::from_bytes([2; 16]);
    let at = UnixTime::from_millis;
    let credential = Credential {
        client_id: id,
        name: "n".into(),
        description: "d".into(),
        account: AccountId::new("acc").unwrap(),
        roles: [RoleId::new("r1").unwrap()].into(),
        extra_scopes: [Scope::new("a.b").unwrap()].into(),
        environments: Environments::Only([EnvironmentId::new("production").unwrap()].into()),
        rate: Some("100/s".parse().unwrap()),
        concurrency: Some(5),
        created_by: "root".into(),
        created_at: at(1000),
        expires_at: None,
        state: CredentialState::Revoked(Revoked {
            by: "root".into(),
            at: at(2000),
            reason: "leaked".into(),
        }),
        armed: std::collections::BTreeMap::new(),
        secrets: vec![SecretGeneration {
            generation: 1,
            created_at: at(1000),
            retires_at: Some(at(3000)),
            retired: false,
            retire_unused: None,
            hash: SecretHash::from_bytes([1; 32]),
        }],
    };
    let token = RevokedToken {
        jti: Jti::from_bytes([3; 16]),
        expires_at: at(7_200_000),
        client_id: Some(id),
        revoked_by: "root".into(),
        revoked_at: at(5),
        reason: None,
    };
    let by = |subject| CutOff {
        subject,
        issued_before: at(9),
        by: "root".into(),
        at: at(10),
        reason: None,
    };
    let on_client = by(CutOffSubject::Client(id));
    let on_account = by(CutOffSubject::Account(AccountId::new("acc").unwrap()));
    let stored = StoredKey {
        kid: Kid::new("kid").unwrap(),
        algorithm: "EdDSA".into(),
        created_at: at(1),
        activates_at: at(2),
        sealed: vec![0xff, 0],
    };
    let administrator = Administrator {
        name: AdminName::new("root").unwrap(),
        role: AdminRole::SuperAdmin,
        key_hash: SecretHash::from_bytes([1; 32]),
        created_by: "command-line".into(),
        created_at: at(1),
    };
    let trail = AuditEntry {
        at: at(1),
        actor: "root".into(),
        source: "192.0.2.7".into(),
        action: Action::CredentialRevoked,
        target: "x".into(),
        reason: Some("leaked".into()),
        changes: vec![Changed { field: "state".into(), before: None, after: Some("a".into()) }],
    };
    let linked = format!("{AUDIT_V1}{}", "\t".repeat(32));
    let cut_off = r#"{"issued_before":9,"by":"root","at":10,"reason":null}"#;
    let fixtures: Vec<(Vec<u8>, &str, Record)> = vec![
        ([b"c/".as_slice(), &[2; 16]].concat(), CREDENTIAL_V1, Record::Credential(credential)),
        (
            [b"t/\0\0\0\x02".as_slice(), &[3; 16]].concat(),
            r#"{"expires_at":7200000,"client_id":"02020202-0202-0202-0202-020202020202","revoked_by":"root","revoked_at":5,"reason":null}"#,
            Record::RevokedToken(token),
        ),
        ([b"o/c/".as_slice(), &[2; 16]].concat(), cut_off, Record::CutOff(on_client)),
        (b"o/a/acc".to_vec(), cut_off, Record::CutOff(on_account)),
        (
            b"k/kid".to_vec(),
            r#"{"algorithm":"EdDSA","created_at":1,"activates_at":2,"sealed":"_wA"}"#,
            Record::SigningKey(stored),
        ),
        (
            b"a/root".to_vec(),
            r#"{"role":"super-admin","key_hash":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE","created_by":"command-line","created_at":1}"#,
            Record::Administrator(administrator),
        ),
        (b"x/\0\0\0\0\0\0\0\x07".to_vec(), &linked, Record::Audit(7, trail)),
        (
            [b"u/".as_slice(), &[2; 16]].concat(),
            r#"{"last_used":[[1,5000]],"scopes":"a.b c.d"}"#,
            Record::Usage(Usage {
                client_id: id,
                last_used: vec![(1, at(5000))],
                scopes: ["a.b", "c.d"].map(|scope| Scope::new(scope).unwrap()).into(),
            }),
        ),
        (b"m/seal".to_vec(), "raw", Record::Meta { name: "seal".into(), value: b"raw".to_vec() }),
    ];
    for (key, value, expected) in fixtures {
        assert_eq!(read(Key(key), value).as_ref(), Ok(&expected));
        check(expected);
    }
}

#[test]
fn what_is_not_whole_is_an_error_that_names_the_key() {
    let credential = || key::credential(&ClientId::from_bytes([2; 16]));
    let administrator = || Key(b"a/root".to_vec());
    let without = |field: &str| CREDENTIAL_V1.replace(field, "");
    for (key, value, says) in [
        (credential(), without(r#""expires_at":null,"#), "missing field `expires_at`"),
        (credential(), without(r#""rate":"100/s","#), "missing field `rate`"),
        (credential(), without(r#""production""#), "environments is empty"),
        (credential(), CREDENTIAL_V1.replace("\"d\"", "\"d\",\"new\":1"), "unknown field `new`"),
        (credential(), CREDENTIAL_V1.replace("\"acc\"", "\"a/c\""), "must be made of letters"),
        (credential(), CREDENTIAL_V1.replace("100/s", "100/d"), "must be a rate"),
        (credential(), CREDENTIAL_V1.replace("AQEB", ""), "32 bytes"),
        (credential(), CREDENTIAL_V1.replace("3000", "-3"), "-3 is no time"),
        (credential(), "{".into(), "EOF"),
        (administrator(), r#"{"role":"god"}"#.into(), "missing field"),
        (Key(b"z/what".to_vec()), "{}".into(), "under such a key"),
        (Key(b"c/short".to_vec()), "{}".into(), "under such a key"),
        (
            key::revoked_token(UnixTime::from_secs(0), &Jti::from_bytes([3; 16])),
            r#"{"expires_at":7200000,"client_id":null,"revoked_by":"","revoked_at":5,"reason":null}"#
                .into(),
            "different hours",
        ),
    ] {
        let shown = format!("{key:?}");
        let error = read(key, &value).unwrap_err().to_string();
        assert!(error.contains(says) && error.contains(&shown), "{error}");
    }
}

#[test]
fn an_unknown_version_says_so() {
    let key = Key(b"a/root".to_vec());
    let error = Record::decode(&Entry { key, value: vec![2], revision: 1 }).unwrap_err();
    assert!(error.to_string().contains("a/root"), "{error}");
    assert!(error.to_string().contains("version 2"), "{error}");
}

#[test]
fn a_sealed_key_is_not_printed() {
    let key = StoredKey {
        kid: Kid::new("kid").unwrap(),
        algorithm: "EdDSA".into(),
        created_at: UnixTime::from_secs(0),
        activates_at: UnixTime::from_secs(0),
        sealed: vec![222; 3],
    };
    assert!(!format!("{key:?}").contains("222"));
}
