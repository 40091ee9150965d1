//! `kill -9` and power cuts at a random moment, with several clients at work: what
//! comes back is what was acknowledged. `ROUNDS` and `CUTS` say how often.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::model::{Book, Door};
use super::{Dice, number};
use crate::process::{Process, halt};
use crate::upstream::Upstream;

const CLIENTS: usize = 4;
/// A store is used for so many rounds: then what it holds is enough.
const ROUNDS_EACH: u64 = 50;

fn door(process: &Process) -> Door {
    Door {
        data: format!("http://{}", process.data),
        admin: format!("http://{}", process.admin),
        key: process.key.clone(),
        http: reqwest::Client::builder().timeout(Duration::from_secs(60)).build().unwrap(),
    }
}

/// Lets all clients work, has `end` end the gateway after `load`, and returns the
/// books as they were then.
async fn work(
    process: &mut Process,
    books: Vec<Book>,
    dice: &mut Dice,
    load: Duration,
    end: impl AsyncFnOnce(&mut Process),
) -> Vec<Book> {
    let ending = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = books
        .into_iter()
        .map(|mut book| {
            let (door, mut dice, ending) = (door(process), dice.child(), Arc::clone(&ending));
            tokio::spawn(async move {
                while book.act(&door, &mut dice).await {}
                assert!(ending.load(Ordering::SeqCst), "the gateway hung up before it was killed");
                book
            })
        })
        .collect();
    tokio::time::sleep(load).await;
    ending.store(true, Ordering::SeqCst);
    end(process).await;
    let mut books = Vec::new();
    for client in clients {
        books.push(client.await.unwrap());
    }
    books
}

/// What came back is what was acknowledged, the trail is whole, and no revision is
/// behind one that a receipt has named.
async fn compare(process: &Process, books: &mut [Book], dice: &mut Dice) {
    let door = door(process);
    let revision = revision(process).await;
    for book in &mut *books {
        assert!(revision >= book.revision, "revision {revision} after {}", book.revision);
        book.compare(&door, dice).await;
    }
    let (status, report) = door.admin("GET", "/v1/audit/verify", &Value::Null).await.unwrap();
    assert_eq!((status, &report["ok"]), (200, &Value::Bool(true)), "{report}");
    let stderr = process.stderr();
    assert!(!stderr.contains("panic"), "{stderr}");
}

async fn revision(process: &Process) -> u64 {
    let url = format!("http://{}/metrics", process.metrics);
    let text = process.http.get(url).send().await.unwrap().text().await.unwrap();
    let line = text.lines().find(|line| line.starts_with("portcullis_store_revision ")).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

fn new_books() -> Vec<Book> {
    (0..CLIENTS).map(Book::new).collect()
}

#[expect(clippy::print_stdout, reason = "who plays a thousand rounds wants to know")]
fn tell(what: &str, rounds: u64, began: Instant, books: &[Book]) {
    let sum = |of: fn(&Book) -> usize| books.iter().map(of).sum::<usize>();
    println!(
        "{what}: {rounds} rounds, {} changes acknowledged and found, {} in doubt and whole or \
         absent, {:.1} s",
        sum(|book| book.acknowledged),
        sum(|book| book.in_doubt),
        began.elapsed().as_secs_f64()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_at_any_moment_loses_nothing_that_was_acknowledged() {
    let rounds = number("ROUNDS").unwrap_or(30);
    let mut dice = Dice::new("crash");
    let (began, mut all) = (Instant::now(), Vec::new());
    let upstream = Upstream::start().await;
    let mut left = rounds;
    while left > 0 {
        let mut process = Process::start(upstream.address).await;
        let mut books = new_books();
        for _ in 0..left.min(ROUNDS_EACH) {
            let load = dice.millis(5, 250);
            let kill = async |process: &mut Process| process.kill();
            books = work(&mut process, books, &mut dice, load, kill).await;
            process.launch().await;
            compare(&process, &mut books, &mut dice).await;
            left -= 1;
        }
        all.append(&mut books);
    }
    tell("kill -9", rounds, began, &all);
    assert!(all.iter().map(|book| book.acknowledged).sum::<usize>() as u64 > rounds);
}

/// The model does not just agree: with the store of a moment before it does not.
#[tokio::test(flavor = "multi_thread")]
async fn the_model_notices_what_is_lost() {
    let mut dice = Dice::new("lost");
    let upstream = Upstream::start().await;
    let mut process = Process::prepare(upstream.address, "");
    let state = process.folder.path().join("state");
    let older = process.folder.path().join("older");
    std::fs::create_dir(&older).unwrap();
    copy_folder(&state, &older);
    process.launch().await;
    let kill = async |process: &mut Process| process.kill();
    let load = Duration::from_millis(300);
    let mut books = work(&mut process, new_books(), &mut dice, load, kill).await;
    std::fs::remove_dir_all(&state).unwrap();
    std::fs::rename(&older, &state).unwrap();
    process.launch().await;
    // Not by the revision alone: each client misses what is its own.
    let door = door(&process);
    books.retain(|book| book.acknowledged > 0);
    assert!(!books.is_empty());
    for mut book in books {
        let (door, mut dice) = (door.clone(), dice.child());
        let compared = tokio::spawn(async move { book.compare(&door, &mut dice).await });
        assert!(compared.await.is_err_and(|error| error.is_panic()));
    }
}

/// The same with what a disk held when the power went: the gateway stands still, its
/// disk is copied, and the copy is what it finds when it starts again. Needs root and
/// loop devices; elsewhere it says so and passes.
#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_at_any_moment_loses_nothing_that_was_acknowledged() {
    let rounds = number("CUTS").unwrap_or(3);
    let mut dice = Dice::new("power cuts");
    let began = Instant::now();
    let upstream = Upstream::start().await;
    let mut process = Process::prepare(upstream.address, "");
    let state = process.folder.path().join("state");
    let mut disk = process.folder.path().join("disk-0");
    std::fs::File::create(&disk).unwrap().set_len(256 << 20).unwrap();
    let made = Command::new("mkfs.ext4").arg("-q").arg(&disk).status();
    let first = Disk::new(&disk, &process.folder.path().join("first"));
    let Some(first) = made.is_ok_and(|it| it.success()).then_some(first).flatten() else {
        println!("skipped: loop devices can't be mounted here");
        return;
    };
    // The administrator was made before there was a disk.
    copy_folder(&state, &first.0);
    drop(first);
    let mut mounted = Disk::new(&disk, &state).unwrap();
    process.launch().await;
    let mut books = new_books();
    for round in 1..=rounds {
        let copy = process.folder.path().join(format!("disk-{round}"));
        let load = dice.millis(5, 500);
        let cut = async |process: &mut Process| {
            // A copy of a disk in use would mix two moments.
            halt(process.child.as_ref().unwrap().id()).await;
            std::fs::copy(&disk, &copy).unwrap();
            process.kill();
        };
        books = work(&mut process, books, &mut dice, load, cut).await;
        drop(mounted);
        std::fs::remove_file(&disk).unwrap();
        disk = copy;
        mounted = Disk::new(&disk, &state).unwrap();
        process.launch().await;
        compare(&process, &mut books, &mut dice).await;
    }
    process.kill();
    drop(mounted);
    tell("power cuts", rounds, began, &books);
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&to).unwrap();
            copy_folder(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// A filesystem in a file, mounted for as long as this lives.
struct Disk(PathBuf);

impl Disk {
    fn new(file: &Path, at: &Path) -> Option<Self> {
        let _ = std::fs::create_dir(at);
        let mount = Command::new("mount").args(["-o", "loop"]).arg(file).arg(at).output();
        mount.is_ok_and(|it| it.status.success()).then(|| Disk(at.to_owned()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}
