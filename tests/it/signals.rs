//! A signal to end is obeyed whatever the process waits for.

use std::path::Path;
use std::process::Command;

use tokio::net::unix::pipe;
use tokio::time::{sleep, timeout};

use crate::process::Process;
use crate::upstream::Upstream;
use crate::wait::{PATIENCE, STEP};

/// Puts a pipe in the place of a file: whoever reads it waits, as for a disk that hangs.
pub(crate) fn hang(file: &Path) {
    let _ = std::fs::remove_file(file);
    assert!(Command::new("mkfifo").arg("-m600").arg(file).status().unwrap().success());
}

/// Waits until somebody reads such a file.
pub(crate) async fn is_read(file: &Path) -> pipe::Sender {
    let opened = async {
        loop {
            match pipe::OpenOptions::new().open_sender(file) {
                Ok(pipe) => return pipe,
                Err(_) => sleep(STEP).await,
            }
        }
    };
    timeout(PATIENCE, opened).await.expect("it is read")
}

async fn ends_well(process: &mut Process) {
    process.terminate();
    let status = process.ended().await;
    assert_eq!(status.code(), Some(0), "{}", process.stderr());
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_while_it_starts_ends_it() {
    let upstream = Upstream::start().await;
    let mut process = Process::prepare(upstream.address, "");
    let key = process.folder.path().join("state.key");
    let kept = std::fs::read(&key).unwrap();
    hang(&key);
    process.child = Some(process.command().spawn().unwrap());
    let hangs = is_read(&key).await;
    ends_well(&mut process).await;
    assert!(process.stderr().contains("ended before it served"), "{}", process.stderr());
    drop(hangs);
    std::fs::remove_file(&key).unwrap();
    std::fs::write(&key, kept).unwrap();
    process.launch().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_while_it_reads_its_configuration_again_ends_it() {
    let upstream = Upstream::start().await;
    let mut process = Process::start(upstream.address).await;
    let pid = process.child.as_ref().unwrap().id().to_string();
    hang(&process.config());
    assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
    let _hangs = is_read(&process.config()).await;
    ends_well(&mut process).await;
    assert!(process.stderr().contains("ended; nothing was lost"), "{}", process.stderr());
}

/// Nobody reads what it says, and it has something to say before it starts.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_its_words_that_hangs_keeps_it_neither_from_serving_nor_from_ending() {
    let upstream = Upstream::start().await;
    let mut process = Process::prepare(upstream.address, "");
    let config = std::fs::read_to_string(process.config()).unwrap();
    let spare = "[[upstream]]\nname = \"spare\"\naddresses = [\"127.0.0.1:9\"]\n";
    std::fs::write(process.config(), format!("{config}\n{spare}")).unwrap();
    let checked = process.run(&["check"]);
    assert!(String::from_utf8_lossy(&checked.stderr).contains("warning:"), "{checked:?}");
    let (full, _never_read) = pipe::pipe().unwrap();
    full.writable().await.unwrap();
    let mut written = 0;
    while let Ok(more) = full.try_write(&[b'.'; 4096]) {
        written += more;
    }
    assert!(written > 0, "it is full");
    let stderr = full.into_blocking_fd().unwrap();
    process.child = Some(process.command().stderr(stderr).spawn().unwrap());
    timeout(PATIENCE, process.ready()).await.expect("it serves");
    ends_well(&mut process).await;
}
