//! Threads of their own for what must answer while the data plane is saturated:
//! the admin port, the metrics port, and what ends rights that have run out.

use std::future::Future;
use std::io;

use tokio::net::TcpListener;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinSet;

/// More than one, so that a long answer does not keep a short one waiting.
const THREADS: usize = 2;

/// A runtime beside the one that serves clients.
pub(super) struct Aside {
    handle: Handle,
    /// Taken at the end: a runtime can't be waited for within another.
    runtime: Option<Runtime>,
}

impl Aside {
    pub(super) fn new() -> io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        let builder = builder.worker_threads(THREADS).thread_name("portcullis-aside").enable_all();
        let runtime = builder.build()?;
        Ok(Aside { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// Has a listener woken by these threads, and no longer by the clients'.
    pub(super) fn adopt(&self, listener: TcpListener) -> io::Result<TcpListener> {
        let listener = listener.into_std()?;
        let _inside = self.handle.enter();
        TcpListener::from_std(listener)
    }

    /// Runs a task of `set` here.
    pub(super) fn spawn<F>(&self, set: &mut JoinSet<()>, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        set.spawn_on(task, &self.handle);
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
