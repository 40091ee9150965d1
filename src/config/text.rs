//! `${NAME}` in a string stands for an environment variable; `$${` for `${`.

/// Where the values of environment variables come from.
pub(super) type Variables<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Puts in the variables.
///
/// # Errors
/// What is wrong: a name, never a value.
pub(super) fn substitute(raw: &str, variables: &Variables<'_>) -> Result<String, String> {
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            text.push_str(before);
            text.push_str("${");
            rest = after;
            continue;
        }
        text.push_str(before);
        let Some((name, after)) = after.split_once('}') else {
            return Err("has \"${\" without \"}\"; for the two characters write \"$${\"".into());
        };
        if !is_name(name) {
            return Err(format!(
                "has \"${{{}}}\", which names no environment variable; to mean the characters \
                 themselves write \"$${{\"",
                name.escape_debug()
            ));
        }
        let value = variables(name).ok_or_else(|| {
            format!("asks for the environment variable {name}, which is not set; set it")
        })?;
        text.push_str(&value);
        rest = after;
    }
    text.push_str(rest);
    Ok(text)
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_put_in_once() {
        let variables = |name: &str| match name {
            "A" => Some("1".to_owned()),
            "EVIL" => Some("${A}".to_owned()),
            _ => None,
        };
        for (raw, text) in [
            ("plain $ {A}", "plain $ {A}"),
            ("x${A}y${A}", "x1y1"),
            ("$${A}", "${A}"),
            ("$$${A}", "$${A}"),
            ("${EVIL}", "${A}"),
            ("$", "$"),
        ] {
            assert_eq!(substitute(raw, &variables).as_deref(), Ok(text), "{raw}");
        }
        for (raw, word) in [
            ("${B}", "variable B"),
            ("${", "without"),
            ("${}", "names no"),
            ("${a b}", "names no"),
            ("${1}", "names no"),
        ] {
            let fault = substitute(raw, &variables).unwrap_err();
            assert!(fault.contains(word), "{raw}: {fault}");
        }
    }
}
