//! What `make compare` and `make bench` need besides the program itself, in one
//! binary of the program's own build: `bare` is Pingora with nothing on it, `load`
//! asks at a constant rate or a given number of times, `revoke` fills a store,
//! `slow-disk` revokes on a slow one, `parts` is run under callgrind. Started by the scripts in benches/compare;
//! nobody else has a use for it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a bench that is wrong says so, and the rest goes to whoever started this"
)]

mod bare;
#[path = "../fixtures/mod.rs"]
mod fixtures;
mod load;
mod parts;
mod revoke;
mod slow_disk;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["bare", listen, upstream] => bare::serve(listen, upstream.parse().unwrap()),
        ["load", address, file, count, rate, connections] => load::run(&load::Plan {
            address,
            file,
            count: count.parse().unwrap(),
            rate: rate.parse().unwrap(),
            connections: connections.parse().unwrap(),
        }),
        ["revoke", folder, count] => revoke::fill(folder, count.parse().unwrap()),
        ["slow-disk", folder] => slow_disk::run(folder),
        ["parts"] => parts::run(),
        _ => {
            eprintln!(
                "helper bare LISTEN UPSTREAM | load ADDRESS FILE COUNT RATE CONNECTIONS | \
                 revoke STORE COUNT | slow-disk FOLDER | parts"
            );
            std::process::exit(2);
        }
    }
}
