//! `credential`, `token` and `audit`: thin words for calls of the admin port.

use serde_json::{Value, json};

use super::args::{
    Audit, Credential, CredentialQuery, NewCredential, OneCredential, Page, Port, Token,
};
use super::credential_change;
use super::failure::{DONE, FAILED, Outcome};
use super::out;
use super::port::{AdminPort, segment};
use super::stdin;
use super::table::{Column, fields, shorten, table};

const LIST: &[Column] = &[
    ("CLIENT ID", "client_id"),
    ("NAME", "name"),
    ("ACCOUNT", "account"),
    ("STATE", "state"),
    ("ROLES", "roles"),
    ("ENVIRONMENTS", "environments"),
    ("CREATED BY", "created_by"),
    ("CREATED", "created_at"),
    ("LAST USED", "last_used_at"),
];

const DETAILS: &[Column] = &[
    ("client_id", "client_id"),
    ("client_secret", "client_secret"),
    ("name", "name"),
    ("description", "description"),
    ("account", "account"),
    ("state", "state"),
    ("roles", "roles"),
    ("scopes", "scopes"),
    ("environments", "environments"),
    ("rate", "rate"),
    ("concurrency", "concurrency"),
    ("created by", "created_by"),
    ("created at", "created_at"),
    ("expires at", "expires_at"),
    ("last used at", "last_used_at"),
    ("revoked by", "revoked_by"),
    ("revoked at", "revoked_at"),
    ("reason", "revoked_reason"),
];

const TRAIL: &[Column] = &[
    ("AT", "at"),
    ("WHO", "actor"),
    ("FROM", "source"),
    ("WHAT", "action"),
    ("TO WHAT", "target"),
    ("WHY", "reason"),
    ("CHANGED", "changed"),
];

/// `credential …`
pub(super) fn credential(command: &Credential) -> Outcome {
    match command {
        Credential::Create(new) => create(new),
        Credential::List(query) => list(query),
        Credential::Show(one) => {
            let found = AdminPort::from_env(&one.port.admin_url)?.get(&path(one, ""), &[])?;
            show(&one.port, &found, || details(&found));
            Ok(DONE)
        }
        Credential::Update(changes) => credential_change::update(changes),
        Credential::Rotate { one, retire_old_after, retire_old_after_unused } => {
            let ends = [retire_old_after.as_deref(), retire_old_after_unused.as_deref()];
            credential_change::rotate(one, ends)
        }
        Credential::RetireSecret { one, generation } => {
            credential_change::retire_secret(one, *generation)
        }
        Credential::Arm { one, role, how_long } => credential_change::arm(one, role, how_long),
        Credential::Disarm { one, role } => credential_change::disarm(one, role.as_deref()),
        Credential::Usage(one) => credential_change::usage(one),
        Credential::Narrow(one) => credential_change::narrow(one),
        Credential::Impact(one) => credential_change::impact(one),
        Credential::Suspend(one) => {
            change(one, "/suspend", &json!({}), "suspended: its tokens stopped working")
        }
        Credential::Resume(one) => change(one, "/resume", &json!({}), "resumed: it works again"),
        Credential::Revoke { one, reason } => {
            let body = json!({"reason": reason});
            change(one, "/revoke", &body, "revoked for good, with all its tokens")
        }
    }
}

/// `token …`
pub(super) fn token(command: &Token) -> Outcome {
    let Token::Revoke { which, port } = command;
    let admin = AdminPort::from_env(&port.admin_url)?;
    let body = match (&which.jti, &which.token) {
        (Some(jti), _) => json!({"jti": jti}),
        (None, Some(token)) => json!({"token": stdin::or_given(token)?}),
        (None, None) => json!({}),
    };
    let receipt = receipt(admin.post("/v1/revocations", &body)?)?;
    show(port, &receipt, || format!("the token is revoked for good ({})", receipt_words(&receipt)));
    Ok(DONE)
}

/// `audit …`
pub(super) fn audit(command: &Audit) -> Outcome {
    let (q, page, port) = match command {
        Audit::List { q, page, port } => (q, page, port),
        Audit::Verify { port } => return verify(port),
    };
    let admin = AdminPort::from_env(&port.admin_url)?;
    let limit = page.limit.map(|limit| limit.to_string());
    let query =
        [("q", q.as_deref()), ("limit", limit.as_deref()), ("cursor", page.cursor.as_deref())];
    let mut found = admin.get("/v1/audit", &query)?;
    if !port.output.json
        && let Some(items) = found.get_mut("items").and_then(Value::as_array_mut)
    {
        items.iter_mut().for_each(name_changes);
    }
    show_list(port, &found, TRAIL, "nothing was done yet that matches");
    Ok(DONE)
}

/// The names of what changed; before and after are in the JSON.
fn name_changes(line: &mut Value) {
    let changes = line.get("changes").and_then(Value::as_array);
    let names = changes.into_iter().flatten().filter_map(|change| change.get("field").cloned());
    let names = Value::Array(names.collect());
    if let Some(line) = line.as_object_mut() {
        line.insert("changed".to_owned(), names);
    }
}

fn verify(port: &Port) -> Outcome {
    let report = AdminPort::from_env(&port.admin_url)?.get("/v1/audit/verify", &[])?;
    let entries = report.get("entries").and_then(Value::as_u64).unwrap_or_default();
    let is_whole = report.get("ok").and_then(Value::as_bool).unwrap_or_default();
    show(port, &report, || {
        if is_whole {
            return format!("the trail is whole: {entries} entries, each linked to the one before");
        }
        let broken = report.get("first_broken");
        let part = |key| broken.and_then(|broken| broken.get(key));
        let at = part("revision").map(Value::to_string).unwrap_or_default();
        let what = part("what").and_then(Value::as_str).map(out::plain).unwrap_or_default();
        format!("the trail is BROKEN at revision {at}, of {entries} entries: {what}")
    });
    Ok(if is_whole { DONE } else { FAILED })
}

fn create(new: &NewCredential) -> Outcome {
    let admin = AdminPort::from_env(&new.port.admin_url)?;
    let mut body = json!({
        "name": new.name,
        "description": new.description,
        "account": new.account,
        "roles": new.roles,
        "scopes": new.scopes,
        "environments": new.environments,
    });
    if let (Some(end), Some(body)) = (&new.expires_at, body.as_object_mut()) {
        body.insert("expires_at".to_owned(), json!(end));
    }
    let made = admin.post("/v1/credentials", &body)?;
    show(&new.port, &made, || details(&made));
    let warnings = made.get("warnings").and_then(Value::as_array).into_iter().flatten();
    for warning in warnings.filter_map(Value::as_str) {
        out::note(format_args!("warning: {}", out::plain(warning)));
    }
    out::note("store the client_secret now; it's shown this once");
    Ok(DONE)
}

fn list(query: &CredentialQuery) -> Outcome {
    let admin = AdminPort::from_env(&query.port.admin_url)?;
    let Page { limit, cursor } = &query.page;
    let limit = limit.map(|limit| limit.to_string());
    let found = admin.get(
        "/v1/credentials",
        &[
            ("q", query.q.as_deref()),
            ("state", query.state.as_deref()),
            ("role", query.role.as_deref()),
            ("account", query.account.as_deref()),
            ("environment", query.environment.as_deref()),
            ("unused_for", query.unused_for.as_deref()),
            ("limit", limit.as_deref()),
            ("cursor", cursor.as_deref()),
        ],
    )?;
    show_list(&query.port, &found, LIST, "no credential matches");
    Ok(DONE)
}

fn change(one: &OneCredential, what: &str, body: &Value, done: &str) -> Outcome {
    let admin = AdminPort::from_env(&one.port.admin_url)?;
    let receipt = receipt(admin.post(&path(one, what), body)?)?;
    show(&one.port, &receipt, || {
        format!("{} is {done} ({})", out::plain(&one.client_id), receipt_words(&receipt))
    });
    Ok(DONE)
}

pub(super) fn path(one: &OneCredential, what: &str) -> String {
    format!("/v1/credentials/{}{what}", segment(&one.client_id))
}

/// JSON as it came, or words.
pub(super) fn show(port: &Port, value: &Value, words: impl FnOnce() -> String) {
    if port.output.json { out::json(value) } else { out::answer(words()) }
}

pub(super) fn show_list(port: &Port, found: &Value, columns: &[Column], none: &str) {
    if port.output.json {
        return out::json(found);
    }
    let mut items = found.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
    if items.is_empty() {
        return out::note(none);
    }
    items.iter_mut().for_each(say_all);
    shorten(&mut items);
    out::answer(table(columns, &items));
    if let Some(cursor) = found.get("next_cursor").and_then(Value::as_str) {
        out::note(format_args!("there are more: add --cursor {}", out::plain(cursor)));
    }
}

/// No environments means all of them; a dash would say the opposite.
fn say_all(credential: &mut Value) {
    if let Some(Value::Array(list)) = credential.get_mut("environments")
        && list.is_empty()
    {
        list.push(json!("all"));
    }
}

pub(super) fn details(credential: &Value) -> String {
    let mut credential = credential.clone();
    say_all(&mut credential);
    fields(DETAILS, &credential)
}

/// What is said of an answer that is none of a change.
pub(super) const NO_RECEIPT: &str = "the admin port did not answer with a receipt: take nothing \
    for done, and see whether PORTCULLIS_ADMIN_URL is that of a gateway";

/// What came as a receipt, if it is one: no other answer says that a change is
/// on disk, whatever its status.
pub(super) fn receipt(answer: Value) -> anyhow::Result<Value> {
    let is_receipt = answer.get("revision").is_some_and(Value::is_u64)
        && answer.get("revoked_at").is_some_and(Value::is_string);
    anyhow::ensure!(is_receipt, NO_RECEIPT);
    Ok(answer)
}

/// A receipt in words. It says nothing of streams where there were none.
pub(super) fn receipt_words(receipt: &Value) -> String {
    let mut words = Vec::new();
    if let Some(at) = receipt.get("revoked_at").and_then(Value::as_str) {
        words.push(format!("at {}", out::plain(at)));
    }
    if let Some(revision) = receipt.get("revision") {
        words.push(format!("revision {revision}"));
    }
    match receipt.get("streams_closed").and_then(Value::as_u64) {
        Some(0) | None => {}
        Some(1) => words.push("1 open stream or request cut".to_owned()),
        Some(count) => words.push(format!("{count} open streams or requests cut")),
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_reads_as_a_sentence() {
        let receipt =
            json!({"revision": 7, "revoked_at": "2030-01-01T00:00:00Z", "streams_closed": 2});
        assert_eq!(
            receipt_words(&receipt),
            "at 2030-01-01T00:00:00Z, revision 7, 2 open streams or requests cut"
        );
        assert_eq!(receipt_words(&json!({"revision": 7, "streams_closed": 0})), "revision 7");
    }

    #[test]
    fn no_environments_means_all() {
        let made = json!({"client_id": "c", "environments": [], "expires_at": null});
        assert_eq!(details(&made), "client_id     c\nenvironments  all");
    }
}
