//! What becomes of a request before it is judged. Those who do it are further up, so they
//! tell it here; whoever explains a decision asks them rather than guesses.

use std::fmt;
use std::sync::Arc;

use crate::policy::Denial;

/// An address that the gateway answers by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnEndpoint {
    /// Its name in logs and metrics.
    pub name: &'static str,
    /// The methods that it takes, as in `Allow`.
    pub methods: &'static str,
}

/// What looks at a request before it is judged; nothing does, unless it was told.
#[derive(Clone, Default)]
pub struct Front(Option<Arc<Parts>>);

struct Parts {
    examine: Box<Examine>,
    endpoints: Box<Endpoints>,
}

type Examine = dyn Fn(&[u8]) -> Result<(), Denial> + Send + Sync;
type Endpoints = dyn Fn(&str) -> Option<OwnEndpoint> + Send + Sync;

impl Front {
    /// `examine` takes the head of an HTTP/1.1 request, `endpoints` a path without its query.
    pub fn new(
        examine: impl Fn(&[u8]) -> Result<(), Denial> + Send + Sync + 'static,
        endpoints: impl Fn(&str) -> Option<OwnEndpoint> + Send + Sync + 'static,
    ) -> Self {
        let parts = Parts { examine: Box::new(examine), endpoints: Box::new(endpoints) };
        Front(Some(Arc::new(parts)))
    }

    /// Whether a head has one reading and is within its limits.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn examine(&self, head: &[u8]) -> Result<(), Denial> {
        self.0.as_ref().map_or(Ok(()), |parts| (parts.examine)(head))
    }

    /// The endpoint of a path, if it is one of the gateway's own.
    pub fn find(&self, path: &str) -> Option<OwnEndpoint> {
        self.0.as_ref().and_then(|parts| (parts.endpoints)(path))
    }
}

impl fmt::Debug for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Front")
    }
}
