//! Starts and restarts, over one store.

use futures::executor::block_on;

use super::*;
use crate::domain::{ManualClock, SystemEntropy};
use crate::store::{CommitError, MemoryStore};

const NOW: i64 = 1_795_314_000;

struct Site {
    store: Arc<MemoryStore>,
    clock: ManualClock,
}

impl Site {
    fn new() -> Self {
        let clock = ManualClock::new(UnixTime::from_secs(NOW));
        Site { store: Arc::new(MemoryStore::new()), clock }
    }

    /// One start of the gateway.
    fn start(
        &self,
        master: u8,
        wanted: Option<Algorithm>,
        pem: Option<&str>,
    ) -> Result<(Keyring, Arc<Memory>), KeysError> {
        let memory = Arc::new(Memory::default());
        memory.load(&*self.store).unwrap();
        self.store.observe(memory.clone());
        let means = Means {
            store: &*self.store,
            memory: &memory,
            sealer: &Sealer::new(&[master; 32]).unwrap(),
            master_key_file: "/etc/portcullis/master.key",
            clock: &self.clock,
            entropy: &SystemEntropy,
        };
        let pem = pem.map(|pem| SecretText::new(pem.to_owned()));
        let ring = block_on(prepare(means, wanted, pem.as_ref()))?;
        Ok((ring, memory))
    }
}

fn pem(algorithm: Algorithm) -> (String, SigningKey) {
    let der = generate(algorithm).unwrap();
    let text = pem::encode(&pem::Pem::new("PRIVATE KEY", der.to_vec()));
    (text, SigningKey::from_pkcs8(&der).unwrap())
}

fn kids(ring: &Keyring) -> Vec<String> {
    let jwks = ring.jwks();
    let keys = jwks["keys"].as_array().unwrap();
    keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_first_key_is_kept() {
    for algorithm in [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Rs256] {
        let site = Site::new();
        let (first, memory) = site.start(1, Some(algorithm), None).unwrap();
        assert_eq!(first.signing().algorithm(), algorithm);
        assert_eq!(memory.keys.lock().len(), 1);
        let (trail, _) = memory.trail.list(None, 10, |_| true);
        let (_, entry) = &trail[0];
        assert_eq!((entry.actor.as_str(), entry.action), ("gateway", Action::KeyCreated));
        assert_eq!(entry.target, first.signing().kid().as_str());
        let head = site.store.status().head;
        let (again, _) = site.start(1, Some(algorithm), None).unwrap();
        assert_eq!(kids(&again), kids(&first));
        assert_eq!(site.store.status().head, head, "a restart writes nothing");
    }
}

#[test]
fn another_algorithm_adds_a_key() {
    let site = Site::new();
    let (first, _) = site.start(1, None, None).unwrap();
    assert_eq!(first.signing().algorithm(), Algorithm::EdDsa);
    // Even if the clock went back: the newest key is the newest key.
    site.clock.set(UnixTime::from_secs(NOW - 100));
    let (second, _) = site.start(1, Some(Algorithm::Es256), None).unwrap();
    assert_eq!(second.signing().algorithm(), Algorithm::Es256);
    assert_eq!(kids(&second)[1..], kids(&first));
    let (third, _) = site.start(1, None, None).unwrap();
    assert_eq!(kids(&third), kids(&second), "with nothing configured it stays");
    let (fourth, memory) = site.start(1, Some(Algorithm::EdDsa), None).unwrap();
    assert_eq!(kids(&fourth)[1..], kids(&third));
    assert_eq!(memory.keys.lock().len(), 3);
}

#[test]
fn nothing_lies_there_in_clear() {
    let site = Site::new();
    let (_, memory) = site.start(1, None, None).unwrap();
    let stored = memory.keys.lock()[0].clone();
    let sealer = Sealer::new(&[1; 32]).unwrap();
    let der = sealer.open(&context(&stored.kid), &stored.sealed).unwrap();
    let seed = &der[16..48];
    site.store
        .load(&mut |entry| assert!(!entry.value.windows(32).any(|bytes| bytes == seed)))
        .unwrap();
    assert!(sealer.open("signing key other", &stored.sealed).is_err());
}

#[test]
fn another_master_key_is_refused() {
    let site = Site::new();
    site.start(1, None, None).unwrap();
    let head = site.store.status().head;
    let error = site.start(2, None, None).err().unwrap();
    assert!(matches!(error, KeysError::WrongMasterKey { .. }));
    let text = error.to_string();
    assert!(text.contains("/etc/portcullis/master.key") && text.contains("backup"), "{text}");
    let error = site.start(2, Some(Algorithm::Es256), None).err().unwrap();
    assert!(matches!(error, KeysError::WrongMasterKey { .. }));
    assert_eq!(site.store.status().head, head);
    // With an operator's key there may be none in the store: the check tells.
    let site = Site::new();
    let (pem, _) = pem(Algorithm::EdDsa);
    site.start(1, None, Some(&pem)).unwrap();
    assert!(matches!(site.start(2, None, Some(&pem)), Err(KeysError::WrongMasterKey { .. })));
}

#[test]
fn a_key_in_anothers_place_is_refused() {
    let site = Site::new();
    let (_, memory) = site.start(1, None, None).unwrap();
    let stored = memory.keys.lock()[0].clone();
    let (_, other) = pem(Algorithm::EdDsa);
    let moved = StoredKey { kid: other.kid().clone(), ..stored };
    let change = Change { guards: vec![], ops: vec![codec::put(&moved)] };
    block_on(site.store.commit(change)).unwrap();
    assert!(matches!(site.start(1, None, None), Err(KeysError::WrongMasterKey { .. })));
}

#[test]
fn the_operators_key_signs_and_is_never_stored() {
    let site = Site::new();
    let (text, key) = pem(Algorithm::Rs256);
    let (ring, memory) = site.start(1, None, Some(&text)).unwrap();
    assert_eq!(ring.signing().kid(), key.kid());
    assert!(memory.keys.lock().is_empty());
    let (own, _) = site.start(1, None, None).unwrap();
    assert_eq!(own.signing().algorithm(), Algorithm::EdDsa);
    let (ring, _) = site.start(1, Some(Algorithm::Rs256), Some(&text)).unwrap();
    assert_eq!(kids(&ring), [key.kid().to_string(), own.signing().kid().to_string()]);
    let error = site.start(1, Some(Algorithm::EdDsa), Some(&text)).err().unwrap();
    assert!(error.to_string().contains("set algorithm = \"RS256\""), "{error}");
    let error = site.start(1, None, Some("-----BEGIN NONSENSE-----")).err().unwrap();
    assert!(error.to_string().contains("signing_key_file must be PEM"), "{error}");
    assert!(!error.to_string().contains("NONSENSE"));
}

#[test]
fn a_key_that_was_not_kept_signs_nothing() {
    let site = Site::new();
    site.store.fail_next(CommitError::NotDone("full".into()));
    assert!(matches!(site.start(1, None, None), Err(KeysError::Store(_))));
    site.store.lose_next_answer();
    assert!(matches!(site.start(1, None, None), Err(KeysError::Store(_))));
    let (ring, memory) = site.start(1, None, None).unwrap();
    assert_eq!(kids(&ring).len(), 1, "the lost answer's key is the key");
    assert_eq!(memory.keys.lock().len(), 1);
}
