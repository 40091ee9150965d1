//! The threads that serve clients, each with a runtime of its own that nobody else works
//! for (`edge::lane` says why).

use std::io;
use std::num::NonZero;
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// As long as it lives, they run.
pub(super) struct Lanes {
    handles: Vec<Handle>,
    /// Each thread ends, with all that runs on it, when its own is dropped.
    _ends: Vec<oneshot::Sender<()>>,
}

impl Lanes {
    /// So many; 0: one per core.
    pub(super) fn new(threads: usize) -> io::Result<Self> {
        let cores = || thread::available_parallelism().map_or(1, NonZero::get);
        let threads = if threads == 0 { cores() } else { threads };
        let (mut handles, mut ends) = (Vec::new(), Vec::new());
        for _ in 0..threads {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            handles.push(runtime.handle().clone());
            let (end, ended) = oneshot::channel();
            ends.push(end);
            let serve = move || {
                let _ = runtime.block_on(ended);
                // Whoever looks up a name may take long over it.
                runtime.shutdown_background();
            };
            thread::Builder::new().name("portcullis-data".to_owned()).spawn(serve)?;
        }
        Ok(Lanes { handles, _ends: ends })
    }

    /// What tasks are started with that belong to one of them.
    pub(super) fn handles(&self) -> &[Handle] {
        &self.handles
    }
}
