//! Secrets from standard input, where no one else on the machine can read them.

use std::io::Read;

use anyhow::Context;

use super::failure::Usage;

/// More than any token may be.
const LONGEST: u64 = 64 * 1024;

/// The value given, or standard input if it is `-`.
///
/// # Errors
/// When nothing comes.
pub(super) fn or_given(value: &str) -> anyhow::Result<String> {
    if value != "-" {
        return Ok(value.to_owned());
    }
    let mut text = String::new();
    let mut input = std::io::stdin().lock().take(LONGEST);
    input.read_to_string(&mut text).context("standard input can't be read")?;
    let text = text.trim();
    if text.is_empty() {
        return Err(Usage("standard input holds no token".to_owned()).into());
    }
    Ok(text.to_owned())
}
