//! `credential update|rotate|retire-secret|arm|disarm|usage|narrow|impact`.

use serde_json::{Map, Value, json};

use super::args::{CredentialChanges, OneCredential};
use super::credential::{NO_RECEIPT, details, path, receipt, receipt_words, show};
use super::failure::{DONE, Outcome};
use super::out;
use super::port::AdminPort;
use super::table::{Column, fields, table};

const ROTATED: &[Column] = &[
    ("generation", "generation"),
    ("client_secret", "client_secret"),
    ("created at", "created_at"),
];

const SECRETS: &[Column] = &[
    ("GENERATION", "generation"),
    ("CREATED", "created_at"),
    ("RETIRES", "retires_at"),
    ("RETIRES UNUSED FOR", "retires_unused_for"),
    ("LAST USED", "last_used_at"),
];

const USAGE: &[Column] = &[
    ("since", "since"),
    ("granted", "granted"),
    ("used", "used"),
    ("never used", "never_used"),
    ("proposed roles", "proposed_roles"),
    ("proposed scopes", "proposed_scopes"),
];

const IMPACT: &[Column] = &[
    ("last used at", "last_used_at"),
    ("live tokens", "live_tokens"),
    ("open streams", "open_streams"),
];

const ROUTES: &[Column] =
    &[("ROUTE", "route"), ("REQUESTS OF THE LAST HOUR", "requests_last_hour")];

/// `credential update`
pub(super) fn update(changes: &CredentialChanges) -> Outcome {
    let one = &changes.one;
    let admin = AdminPort::from_env(&one.port.admin_url)?;
    let changed = admin.patch(&path(one, ""), &Value::Object(body(changes)))?;
    show(&one.port, &changed, || details(&changed));
    Ok(DONE)
}

fn body(changes: &CredentialChanges) -> Map<String, Value> {
    let mut body = Map::new();
    let mut say = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(name.to_owned(), value);
        }
    };
    say("name", changes.name.as_ref().map(|name| json!(name)));
    say("description", changes.description.as_ref().map(|text| json!(text)));
    for (name, list, none) in [
        ("roles", &changes.roles, changes.no_roles),
        ("scopes", &changes.scopes, changes.no_scopes),
        ("environments", &changes.environments, changes.all_environments),
    ] {
        say(name, (none || !list.is_empty()).then(|| json!(list)));
    }
    let or_null = |text: &String, none: &str| if text == none { Value::Null } else { json!(text) };
    say("expires_at", changes.expires_at.as_ref().map(|end| or_null(end, "never")));
    say("rate", changes.rate.as_ref().map(|rate| or_null(rate, "none")));
    // What is no number is sent as it is: the admin port says what it must be.
    let count =
        |text: &String| text.parse::<u64>().map_or_else(|_| or_null(text, "none"), |n| json!(n));
    say("concurrency", changes.concurrency.as_ref().map(count));
    body
}

/// `credential rotate`
pub(super) fn rotate(one: &OneCredential, ends: [Option<&str>; 2]) -> Outcome {
    let admin = AdminPort::from_env(&one.port.admin_url)?;
    let [after, unused] = ends;
    let body = json!({"retire_old_after": after, "retire_old_after_unused": unused});
    let made = admin.post(&path(one, "/secrets"), &body)?;
    show(&one.port, &made, || {
        let secrets = made.get("secrets").and_then(Value::as_array).cloned().unwrap_or_default();
        format!("{}\n\n{}", fields(ROTATED, &made), table(SECRETS, &secrets))
    });
    out::note("store the client_secret now; it's shown this once");
    Ok(DONE)
}

/// `credential retire-secret`
pub(super) fn retire_secret(one: &OneCredential, generation: u32) -> Outcome {
    let admin = AdminPort::from_env(&one.port.admin_url)?;
    let receipt = receipt(admin.delete(&path(one, &format!("/secrets/{generation}")))?)?;
    show(&one.port, &receipt, || {
        let (id, words) = (out::plain(&one.client_id), receipt_words(&receipt));
        format!("secret {generation} of {id} is retired for good, with its tokens ({words})")
    });
    Ok(DONE)
}

/// `credential arm`
pub(super) fn arm(one: &OneCredential, role: &str, how_long: &str) -> Outcome {
    wake(one, "/arm", &json!({"role": role, "for": how_long}))
}

/// `credential disarm`
pub(super) fn disarm(one: &OneCredential, role: Option<&str>) -> Outcome {
    wake(one, "/disarm", &json!({"role": role}))
}

fn wake(one: &OneCredential, what: &str, body: &Value) -> Outcome {
    let admin = AdminPort::from_env(&one.port.admin_url)?;
    let window = admin.post(&path(one, what), body)?;
    let words = window_words(&window);
    let words = words.ok_or_else(|| anyhow::anyhow!(NO_RECEIPT))?;
    show(&one.port, &window, || words);
    Ok(DONE)
}

/// What an arming or a disarming came to; nothing where the answer does not say.
fn window_words(window: &Value) -> Option<String> {
    window.get("revision").filter(|revision| revision.is_u64())?;
    let role = match window.get("role")? {
        Value::String(role) => out::plain(role),
        _ => "every armed role".to_owned(),
    };
    Some(match window.get("armed_until")? {
        Value::String(until) => format!("{role} is armed until {}", out::plain(until)),
        _ => format!("{role} is asleep ({})", receipt_words(window)),
    })
}

/// `credential usage`
pub(super) fn usage(one: &OneCredential) -> Outcome {
    let found = AdminPort::from_env(&one.port.admin_url)?.get(&path(one, "/usage"), &[])?;
    show(&one.port, &found, || {
        let mut flat = found.clone();
        for (name, inner) in [("proposed_roles", "roles"), ("proposed_scopes", "scopes")] {
            let value = found.get("proposed").and_then(|proposed| proposed.get(inner)).cloned();
            if let (Some(flat), Some(value)) = (flat.as_object_mut(), value) {
                flat.insert(name.to_owned(), value);
            }
        }
        fields(USAGE, &flat)
    });
    Ok(DONE)
}

/// `credential narrow`
pub(super) fn narrow(one: &OneCredential) -> Outcome {
    let admin = AdminPort::from_env(&one.port.admin_url)?;
    let narrowed = admin.post(&path(one, "/narrow"), &json!({}))?;
    show(&one.port, &narrowed, || details(&narrowed));
    Ok(DONE)
}

/// `credential impact`
pub(super) fn impact(one: &OneCredential) -> Outcome {
    let found = AdminPort::from_env(&one.port.admin_url)?.get(&path(one, "/impact"), &[])?;
    show(&one.port, &found, || {
        let routes = found.get("routes").and_then(Value::as_array).cloned().unwrap_or_default();
        if routes.is_empty() {
            return fields(IMPACT, &found);
        }
        format!("{}\n\n{}", fields(IMPACT, &found), table(ROUTES, &routes))
    });
    Ok(DONE)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::args::{Arguments, Command, Credential};

    fn said(line: &str) -> Value {
        let line = format!("portcullis credential update ID {line}");
        let typed = Arguments::try_parse_from(line.split_whitespace()).unwrap();
        let Command::Credential(Credential::Update(changes)) = typed.command else { panic!() };
        Value::Object(body(&changes))
    }

    #[test]
    fn a_window_is_told_only_by_who_says_so() {
        let told = |window: Value| window_words(&window);
        let (armed, asleep) = (
            json!({"role": "r", "armed_until": "2030-01-01T00:00:00Z", "revision": 7}),
            json!({"role": null, "armed_until": null, "revision": 8, "streams_closed": 1}),
        );
        assert_eq!(told(armed).as_deref(), Some("r is armed until 2030-01-01T00:00:00Z"));
        let words = "every armed role is asleep (revision 8, 1 open stream or request cut)";
        assert_eq!(told(asleep).as_deref(), Some(words));
        for none in [json!(null), json!({}), json!({"ok": true}), json!({"revision": 7})] {
            assert_eq!(told(none.clone()), None, "{none}");
        }
    }

    #[test]
    fn only_what_is_typed_is_sent() {
        assert_eq!(said(""), json!({}));
        assert_eq!(said("--role a --role b"), json!({"roles": ["a", "b"]}));
        assert_eq!(
            said("--no-roles --no-scopes --all-environments"),
            json!({"roles": [], "scopes": [], "environments": []})
        );
        assert_eq!(
            said("--expires-at never --rate none --concurrency none"),
            json!({"expires_at": null, "rate": null, "concurrency": null})
        );
        assert_eq!(
            said("--rate 5/s --concurrency 7 --description d"),
            json!({"rate": "5/s", "concurrency": 7, "description": "d"})
        );
    }
}
