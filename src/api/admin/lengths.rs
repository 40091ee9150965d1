//! How long texts may be, told in the description from the very numbers that they are
//! held to.

use utoipa::Modify;
use utoipa::openapi::schema::ArrayItems;
use utoipa::openapi::{OpenApi, RefOr, Schema};

use crate::domain::LONGEST_NAME;
use crate::service::{LONGEST_DESCRIPTION, LONGEST_REASON, LONGEST_TITLE};

/// Schema, field, and the most characters of it, or of each of its items.
const LENGTHS: &[(&str, &str, usize)] = &[
    ("NewCredential", "name", LONGEST_TITLE),
    ("NewCredential", "description", LONGEST_DESCRIPTION),
    ("NewCredential", "account", LONGEST_NAME),
    ("NewCredential", "roles", LONGEST_NAME),
    ("NewCredential", "scopes", LONGEST_NAME),
    ("NewCredential", "environments", LONGEST_NAME),
    ("Changes", "name", LONGEST_TITLE),
    ("Changes", "description", LONGEST_DESCRIPTION),
    ("Changes", "roles", LONGEST_NAME),
    ("Changes", "scopes", LONGEST_NAME),
    ("Changes", "environments", LONGEST_NAME),
    ("Arming", "role", LONGEST_NAME),
    ("Disarming", "role", LONGEST_NAME),
    ("Why", "reason", LONGEST_REASON),
    ("NewRevocation", "reason", LONGEST_REASON),
    ("NewRevocation", "account", LONGEST_NAME),
    ("NewAdmin", "name", LONGEST_NAME),
];

/// Tells them.
pub(super) struct Lengths;

impl Modify for Lengths {
    fn modify(&self, document: &mut OpenApi) {
        let Some(components) = &mut document.components else { return };
        for (schema, field, longest) in LENGTHS {
            if let Some(RefOr::T(Schema::Object(object))) = components.schemas.get_mut(*schema)
                && let Some(property) = object.properties.get_mut(*field)
            {
                limit(property, *longest);
            }
        }
    }
}

fn limit(schema: &mut RefOr<Schema>, longest: usize) {
    match schema {
        RefOr::T(Schema::Object(text)) => text.max_length = Some(longest),
        RefOr::T(Schema::Array(list)) => {
            if let ArrayItems::RefOrSchema(item) = &mut list.items {
                limit(item, longest);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn every_length_is_told() {
        let document: Value = serde_json::from_str(&super::super::openapi()).unwrap();
        for (schema, field, longest) in LENGTHS {
            let field = &document["components"]["schemas"][schema]["properties"][field];
            let told = [&field["maxLength"], &field["items"]["maxLength"]];
            assert!(told.contains(&&Value::from(*longest)), "{schema}: {field}");
        }
    }
}
