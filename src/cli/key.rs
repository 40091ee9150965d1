//! `key`, `reload`, and the commands of `admin` that go through the admin port.

use serde_json::{Value, json};

use super::args::{Key, Page, Port};
use super::credential::{receipt, receipt_words, show, show_list};
use super::failure::{DONE, Outcome};
use super::out;
use super::port::{AdminPort, segment};
use super::table::{Column, fields};

const KEYS: &[Column] = &[
    ("KID", "kid"),
    ("ALGORITHM", "algorithm"),
    ("STATE", "state"),
    ("CREATED", "created_at"),
    ("SIGNS FROM", "activates_at"),
    ("BELIEVED UNTIL", "retires_at"),
];

const ADMINS: &[Column] =
    &[("NAME", "name"), ("ROLE", "role"), ("CREATED BY", "created_by"), ("CREATED", "created_at")];

/// `key …`
pub(super) fn key(command: &Key) -> Outcome {
    match command {
        Key::List { page, port } => list(page, port, "/v1/keys", KEYS),
        Key::Rotate { algorithm, activate_after, port } => {
            let body = json!({"algorithm": algorithm, "activate_after": activate_after});
            let made = AdminPort::from_env(&port.admin_url)?.post("/v1/keys/rotate", &body)?;
            show(port, &made, || fields(KEYS, &made));
            out::note("it is published now; \"key list\" says when it signs and the old one goes");
            Ok(DONE)
        }
        Key::Revoke { kid, reason, port } => {
            let path = format!("/v1/keys/{}/revoke", segment(kid));
            let admin = AdminPort::from_env(&port.admin_url)?;
            let receipt = receipt(admin.post(&path, &json!({"reason": reason}))?)?;
            show(port, &receipt, || {
                format!(
                    "the key is revoked for good, with all tokens that it signed ({})",
                    receipt_words(&receipt)
                )
            });
            out::note("clients must ask for new tokens; \"key list\" shows the key that signs now");
            Ok(DONE)
        }
    }
}

/// `reload`
pub(super) fn reload(port: &Port) -> Outcome {
    let told = AdminPort::from_env(&port.admin_url)?.post("/v1/reload", &json!({}))?;
    show(port, &told, || {
        let number = |key: &str| told.get(key).and_then(Value::as_u64).unwrap_or_default();
        let changed = told.get("changed").and_then(Value::as_array).into_iter().flatten();
        let mut lines = vec![format!(
            "taken on as configuration number {}; {} streams lost their right and were cut",
            number("generation"),
            number("streams_closed")
        )];
        lines.extend(
            changed.filter_map(Value::as_str).map(|what| format!("  {}", out::plain(what))),
        );
        lines.join("\n")
    });
    Ok(DONE)
}

/// `admin list`
pub(super) fn admins(page: &Page, port: &Port) -> Outcome {
    list(page, port, "/v1/admins", ADMINS)
}

/// `admin remove`
pub(super) fn remove_admin(name: &str, port: &Port) -> Outcome {
    let path = format!("/v1/admins/{}", segment(name));
    AdminPort::from_env(&port.admin_url)?.delete(&path)?;
    show(port, &json!({"name": name, "removed": true}), || {
        format!("{} is removed: the key is of no use any more", out::plain(name))
    });
    Ok(DONE)
}

fn list(page: &Page, port: &Port, path: &str, columns: &[Column]) -> Outcome {
    let admin = AdminPort::from_env(&port.admin_url)?;
    let limit = page.limit.map(|limit| limit.to_string());
    let query = [("limit", limit.as_deref()), ("cursor", page.cursor.as_deref())];
    let found = admin.get(path, &query)?;
    show_list(port, &found, columns, "there is none");
    Ok(DONE)
}
