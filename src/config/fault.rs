//! What is wrong with a file: where, what, and what to do.

use std::fmt;
use std::path::{Path, PathBuf};

/// One thing wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The line it stands on, counted from 1; none if it stands nowhere.
    pub line: Option<usize>,
    /// The key, such as `route "campaigns".allow.GET`; empty if the fault is
    /// about the file as a whole.
    pub key: String,
    /// What is wrong and what to do. Never the value of a secret.
    pub message: String,
}

/// Something that is allowed, and likely not what was meant.
pub type Warning = Fault;

impl Fault {
    /// The fault as one line of text, in the form that editors jump to:
    /// `file:line: key: message`.
    pub fn at<'a>(&'a self, file: &'a Path) -> impl fmt::Display + 'a {
        Located { fault: self, file }
    }
}

struct Located<'a> {
    fault: &'a Fault,
    file: &'a Path,
}

impl fmt::Display for Located<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { line, key, message } = self.fault;
        write!(f, "{}:", self.file.display())?;
        if let Some(line) = line {
            write!(f, "{line}:")?;
        }
        if !key.is_empty() {
            write!(f, " {key}:")?;
        }
        write!(f, " {message}")
    }
}

/// Every fault of a configuration; at least one. Displays one a line.
#[derive(Clone, Debug)]
pub struct ConfigErrors {
    file: PathBuf,
    faults: Vec<Fault>,
}

impl ConfigErrors {
    pub(super) fn new(file: &Path, mut faults: Vec<Fault>) -> Self {
        faults.sort_by_key(|fault| fault.line);
        ConfigErrors { file: file.to_owned(), faults }
    }

    /// About the file as a whole.
    pub(super) fn whole(file: &Path, message: String) -> Self {
        Self::new(file, vec![Fault { line: None, key: String::new(), message }])
    }

    /// The faults, in the order of their lines.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, fault) in self.faults.iter().enumerate() {
            let end = if place + 1 == self.faults.len() { "" } else { "\n" };
            write!(f, "{}{end}", fault.at(&self.file))?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
