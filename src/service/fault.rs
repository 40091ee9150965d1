//! What is wrong with what somebody asked for, field by field.

/// One field and what it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldFault {
    /// The field, as the caller knows it.
    pub field: String,
    /// What is wrong and what to do. Safe to show; never repeats a secret.
    pub message: String,
}

impl FieldFault {
    /// A fault of `field`.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        FieldFault { field: field.into(), message: message.into() }
    }
}

/// Faults as they are found, so that all of them can be told at once.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<FieldFault>);

impl Faults {
    pub(super) fn add(&mut self, field: &str, message: impl Into<String>) {
        self.0.push(FieldFault::new(field, message));
    }

    /// The value, or `None` with its fault noted.
    pub(super) fn take<T, E: ToString>(&mut self, field: &str, value: Result<T, E>) -> Option<T> {
        value.map_err(|error| self.add(field, error.to_string())).ok()
    }

    /// The values that are good, with the fault of each that is not.
    pub(super) fn take_each<T, E: ToString>(
        &mut self,
        field: &str,
        texts: &[String],
        read: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<T> {
        let mut good = Vec::with_capacity(texts.len());
        for text in texts {
            let shown: String = text.chars().take(80).collect();
            let value = read(text).map_err(|error| format!("{shown:?} {}", error.to_string()));
            good.extend(self.take(field, value));
        }
        good
    }

    /// A text for people: so long, without control characters but for those in `but`.
    pub(super) fn check_text(&mut self, field: &str, text: &str, longest: usize, but: &[char]) {
        if text.chars().count() > longest {
            self.add(field, format!("must be at most {longest} characters long"));
        }
        if text.chars().any(|c| c.is_control() && !but.contains(&c)) {
            self.add(field, "must not hold control characters");
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn into_vec(self) -> Vec<FieldFault> {
        self.0
    }

    /// All faults, if there are any.
    pub(super) fn check(self) -> Result<(), Vec<FieldFault>> {
        if self.is_empty() { Ok(()) } else { Err(self.into_vec()) }
    }
}
