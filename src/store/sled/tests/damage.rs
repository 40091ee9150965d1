use std::fs;
use std::os::unix::fs::FileExt;

use super::*;
use crate::store::conformance::{block_on, contents, put};

type Damage<'a> = &'a dyn Fn(&Temporary);
type Contents = Vec<(String, String, Revision)>;

/// A fixed sequence of numbers that looks like chance (splitmix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

/// A store with some history, closed; what is in it; copies of it to damage.
struct Original {
    folder: Temporary,
    contents: Contents,
}

impl Original {
    fn new(reopened: bool) -> Self {
        let folder = Temporary::new();
        let fill = |from: u32| {
            let store = open(&folder.path()).unwrap();
            block_on(async {
                for group in 0..30 {
                    let commits = (0..50).map(|n| {
                        let n = from + group * 50 + n;
                        // Long ones are as packs are.
                        let times = if n.is_multiple_of(37) { 900 } else { 40 };
                        let value = format!("{n} ").repeat(times);
                        store.commit(put(&format!("{}", n % 1200), &value))
                    });
                    for answer in futures::future::join_all(commits).await {
                        answer.unwrap();
                    }
                }
            });
            contents(&store)
        };
        let mut contents = fill(0);
        if reopened {
            contents = fill(5000);
        }
        Original { folder, contents }
    }

    fn copy(&self) -> Temporary {
        let copy = Temporary::new();
        copy_folder(&self.folder.path(), &copy.path());
        copy
    }

    /// Opens a damaged copy: refused as damage, or nothing is missing.
    fn check(&self, copy: &Temporary, what: &str) -> bool {
        match open(&copy.path()) {
            Ok(store) => {
                assert_eq!(
                    contents(&store),
                    self.contents,
                    "{what}: it opened with something else"
                );
                false
            }
            Err(error) => {
                let damaged = matches!(error, OpenError::Damaged { .. });
                assert!(damaged, "{what}: {error}");
                assert!(!error.to_string().contains("panicked"), "{what}: {error}");
                true
            }
        }
    }

    /// The same, for damage that can't be harmless.
    fn check_refused(&self, copy: &Temporary, what: &str) {
        assert!(self.check(copy, what), "{what}: it opened");
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn edit(path: &Path, work: impl FnOnce(&fs::File, u64)) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let length = file.metadata().unwrap().len();
    work(&file, length);
}

fn data(copy: &Temporary) -> PathBuf {
    copy.path().join("sled/db")
}

fn snapshots(copy: &Temporary) -> Vec<PathBuf> {
    let names = fs::read_dir(copy.path().join("sled")).unwrap();
    let paths = names.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("snap.")).collect()
}

fn flip_bit(path: &Path, chance: &mut Chance) -> String {
    let mut place = 0;
    edit(path, |file, length| {
        place = chance.below(length);
        let mut byte = [0];
        file.read_exact_at(&mut byte, place).unwrap();
        byte[0] ^= 1 << chance.below(8);
        file.write_all_at(&byte, place).unwrap();
    });
    format!("bit flipped at {place} of {}", path.display())
}

/// What is written at the end of sled's file lies before a stretch of filler.
fn used_length(path: &Path) -> u64 {
    let bytes = fs::read(path).unwrap();
    let filler = *bytes.last().unwrap();
    bytes.iter().rposition(|byte| *byte != filler).map_or(0, |last| last as u64 + 1)
}

fn many_places(reopened: bool) {
    let original = Original::new(reopened);
    let mut chance = Chance(7);
    let mut refused = 0;
    for round in 0..40 {
        let copy = original.copy();
        let what = flip_bit(&data(&copy), &mut chance);
        refused += u32::from(original.check(&copy, &what));

        let copy = original.copy();
        let mut place = 0;
        edit(&data(&copy), |file, length| {
            place = chance.below(length / 4096) * 4096;
            let junk: Vec<u8> = (0..4096).map(|_| chance.below(256) as u8).collect();
            file.write_all_at(&junk, place).unwrap();
        });
        refused += u32::from(original.check(&copy, &format!("{round}: junk at {place}")));

        let copy = original.copy();
        let length = used_length(&data(&copy));
        let keep = chance.below(length);
        edit(&data(&copy), |file, _| file.set_len(keep).unwrap());
        refused += u32::from(original.check(&copy, &format!("{round}: cut at {keep} of {length}")));
    }
    println!("{refused} of 120 were refused, the others lost nothing");
    assert!(refused > 20, "only {refused} of 120 were damage at all");
}

#[test]
fn damage_at_many_places_is_never_passed_over() {
    many_places(false);
}

#[test]
fn damage_at_many_places_of_a_reopened_store_is_never_passed_over() {
    many_places(true);
}

#[test]
fn a_lost_tail_or_half_is_refused() {
    let original = Original::new(false);
    for lost in [1, 100, 4096, 20_000] {
        let copy = original.copy();
        let keep = used_length(&data(&copy)) - lost;
        edit(&data(&copy), |file, _| file.set_len(keep).unwrap());
        original.check_refused(&copy, &format!("{lost} bytes lost"));
    }
    let copy = original.copy();
    let half = used_length(&data(&copy)) / 2;
    edit(&data(&copy), |file, _| file.set_len(half).unwrap());
    original.check_refused(&copy, "cut in half");
}

#[test]
fn missing_or_foreign_files_are_refused() {
    let original = Original::new(true);
    let damage: [(&str, Damage<'_>); 9] = [
        ("empty db", &|copy| fs::write(data(copy), "").unwrap()),
        ("empty db, no snapshot", &|copy| {
            fs::write(data(copy), "").unwrap();
            snapshots(copy).iter().for_each(|path| fs::remove_file(path).unwrap());
        }),
        ("garbage db", &|copy| fs::write(data(copy), "garbage".repeat(100_000)).unwrap()),
        ("no db", &|copy| fs::remove_file(data(copy)).unwrap()),
        ("no sled", &|copy| fs::remove_dir_all(copy.path().join("sled")).unwrap()),
        ("empty sled", &|copy| {
            fs::remove_dir_all(copy.path().join("sled")).unwrap();
            fs::create_dir(copy.path().join("sled")).unwrap();
        }),
        ("no witness", &|copy| fs::remove_file(copy.path().join("witness")).unwrap()),
        ("empty witness", &|copy| fs::write(copy.path().join("witness"), "").unwrap()),
        ("garbage conf", &|copy| fs::write(copy.path().join("sled/conf"), "garbage!!").unwrap()),
    ];
    for (what, damage) in damage {
        let copy = original.copy();
        damage(&copy);
        original.check_refused(&copy, what);
        // And it stays so: nothing is made anew in place of what is missing.
        original.check_refused(&copy, what);
    }
    for (what, damage) in [
        ("snapshot deleted", &(|path: &Path| fs::remove_file(path).unwrap()) as &dyn Fn(&Path)),
        ("snapshot cut", &|path| edit(path, |file, length| file.set_len(length / 2).unwrap())),
        ("snapshot empty", &|path| fs::write(path, "").unwrap()),
    ] {
        let copy = original.copy();
        let snapshots = snapshots(&copy);
        assert!(!snapshots.is_empty());
        snapshots.iter().for_each(|path| damage(path));
        original.check(&copy, what);
    }
}

/// An older copy of sled's files is a store in good order, with less in it.
#[test]
fn an_older_state_is_refused() {
    let folder = Temporary::new();
    let sled = folder.path().join("sled");
    let old = tempfile::tempdir().unwrap();
    let write = |value: &str| {
        let store = open(&folder.path()).unwrap();
        block_on(store.commit(put("k", value))).unwrap();
    };
    write("1");
    copy_folder(&sled, &old.path().join("sled"));
    write("2");
    let newer = old.path().join("newer");
    fs::rename(&sled, &newer).unwrap();
    copy_folder(&old.path().join("sled"), &sled);
    let error = open(&folder.path()).unwrap_err().to_string();
    assert!(error.contains("newest change is number 1, but 2 were made"), "{error}");
    // The right files back in their place, it opens.
    fs::remove_dir_all(&sled).unwrap();
    copy_folder(&newer, &sled);
    assert_eq!(contents(&open(&folder.path()).unwrap()).len(), 1);
}

#[test]
fn a_damaged_witness_slot_is_survived_and_healed() {
    let original = Original::new(false);
    for slot in [0, 4096] {
        let copy = original.copy();
        let witness = copy.path().join("witness");
        edit(&witness, |file, _| file.write_all_at(b"damaged", slot + 10).unwrap());
        assert!(!original.check(&copy, "one slot damaged"));
        assert!(!original.check(&copy, "opened again"));
    }
}
