//! Files that the configuration names: secrets are read, certificates looked for.

use std::fs;

use super::read::Section;
use super::value::Value;
use crate::domain::SecretText;

/// More than any key or header value; a wrong path may lead to something huge.
const LARGEST: u64 = 1 << 20;

/// A secret: `{name}` in the file itself, best as `"${ENV}"`, or `{name}_file`.
/// A line end at the end of it is not a part of it. `valid` says what is wrong
/// with a text, without showing it.
pub(super) fn secret(
    section: &Section<'_>,
    name: &'static str,
    name_file: &'static str,
    valid: impl Fn(&str) -> Result<(), String>,
) -> Option<SecretText> {
    let inline = section.value(name);
    let file = section.value(name_file);
    if let (Some(inline), Some(_)) = (&inline, &file) {
        return inline.fault(format!("is given, and {name_file} too; keep one of the two"));
    }
    let (mut text, value) = match (inline, file) {
        (Some(value), _) => {
            if value.raw().is_some_and(|raw| !raw.contains("${")) {
                let message = format!(
                    "stands here for all to read who read this file; better {name_file}, or a \
                     variable, \"${{NAME}}\""
                );
                section.reader.warn(&value.place, message);
            }
            (value.text()?, value)
        }
        (None, Some(value)) => (read(&value)?, value),
        (None, None) => return None,
    };
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    // Wrapped before it is judged, so that it is wiped in any case.
    let secret = SecretText::new(text);
    match valid(secret.expose()) {
        Ok(()) => Some(secret),
        Err(message) => value.fault(message),
    }
}

/// The text of the file that a value names.
pub(super) fn read(value: &Value<'_>) -> Option<String> {
    let path = value.path()?;
    let size =
        fs::metadata(&path).map(|found| if found.is_file() { found.len() } else { u64::MAX });
    match size {
        Ok(u64::MAX) => value.wrong("must name a file"),
        Ok(size) if size > LARGEST => value.wrong("must name a file of at most 1MiB"),
        Ok(_) | Err(_) => fs::read_to_string(&path).map_or_else(
            |error| value.wrong(format_args!("names a file that can't be read ({error})")),
            Some,
        ),
    }
}
