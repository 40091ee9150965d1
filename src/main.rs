//! The `portcullis` command.

/// The system's allocator is slower under many small allocations.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    // The allocator asks for huge pages for all that it will ever have, and an idle
    // gateway would touch 28 of them, most in a few places: 73 MiB instead of 24.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    std::process::exit(portcullis::cli::run())
}
