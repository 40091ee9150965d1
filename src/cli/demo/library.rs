//! What the legacy API of the demo keeps: accounts with tests, members, and the
//! script that visitors load.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Things with numbers.
#[derive(Default)]
pub(super) struct Book {
    items: BTreeMap<u64, Value>,
    last: u64,
}

impl Book {
    pub(super) fn all(&self) -> Vec<Value> {
        self.items.values().cloned().collect()
    }

    pub(super) fn get(&self, id: u64) -> Option<&Value> {
        self.items.get(&id)
    }

    /// Numbers it and keeps it.
    pub(super) fn add(&mut self, mut item: Value) -> u64 {
        self.last += 1;
        if let Some(fields) = item.as_object_mut() {
            fields.insert("id".to_owned(), json!(self.last));
        }
        self.items.insert(self.last, item);
        self.last
    }

    /// Writes these fields; its number stays.
    pub(super) fn merge(&mut self, id: u64, fields: &Value) -> Option<&Value> {
        let item = self.items.get_mut(&id)?;
        if let (Some(old), Some(new)) = (item.as_object_mut(), fields.as_object()) {
            let new = new.iter().filter(|(name, _)| *name != "id");
            old.extend(new.map(|(name, value)| (name.clone(), value.clone())));
        }
        Some(item)
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<Value> {
        self.items.remove(&id)
    }
}

/// A tenant.
pub(super) struct Account {
    pub(super) name: String,
    pub(super) tests: Book,
    pub(super) members: Book,
    /// What visitors load; empty after an emergency.
    pub(super) script: String,
    /// Of the script; counted up by every rebuild.
    pub(super) version: u32,
}

impl Account {
    /// One with a few tests and people, and its script built.
    pub(super) fn begin(id: &str, name: &str) -> Self {
        let mut account = Account {
            name: name.to_owned(),
            tests: Book { last: id.parse::<u64>().unwrap_or(0) * 10, ..Book::default() },
            members: Book::default(),
            script: String::new(),
            version: 0,
        };
        for (name, kind, state) in [
            ("Green buy button", "ab", "play"),
            ("Free shipping banner", "subsegment", "play"),
            ("New checkout", "multipage", "pause"),
        ] {
            account.new_test(&json!({"name": name, "type": kind, "state": state}));
        }
        for (email, role) in [("ada@example.com", "admin"), ("grace@example.com", "viewer")] {
            account.members.add(json!({"email": email, "role": role}));
        }
        account.rebuild();
        account
    }

    /// A test with what was given, and what every test has.
    pub(super) fn new_test(&mut self, given: &Value) -> u64 {
        let field = |name: &str, otherwise: &str| {
            given.get(name).cloned().unwrap_or_else(|| json!(otherwise))
        };
        self.tests.add(json!({
            "name": field("name", "Untitled"),
            "type": field("type", "ab"),
            "state": field("state", "pause"),
            "url": field("url", "https://shop.example.com/"),
            "description": field("description", ""),
            "traffic": {"value": 100},
            "variations": [{"name": "Original"}, {"name": "Variation 1"}],
            "creation_date": {"readable_date": "2026-01-05 09:00:00", "timestamp": 1_767_603_600,
                "pattern": "Y-m-d H:i:s"},
        }))
    }

    /// Writes the script anew, from the tests that run.
    pub(super) fn rebuild(&mut self) {
        self.version += 1;
        let all = self.tests.all();
        let running = all.iter().filter(|test| test.get("state") == Some(&json!("play")));
        let names: Vec<&Value> = running.filter_map(|test| test.get("name")).collect();
        self.script = format!(
            "/* library of {}, version {} */\nrun({});\n",
            self.name,
            self.version,
            json!(names)
        );
    }

    /// Empties the script: nothing runs on the site any more.
    pub(super) fn clear(&mut self) {
        self.script.clear();
    }

    /// A number that changes with the script.
    pub(super) fn checksum(&self) -> String {
        let sum = self
            .script
            .bytes()
            .fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
        format!("{sum:08x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_follows_the_tests() {
        let mut account = Account::begin("7", "Shop");
        assert!(account.script.contains("Green buy button"), "{}", account.script);
        assert!(!account.script.contains("New checkout"));
        let before = account.checksum();
        account.tests.merge(73, &json!({"state": "play", "id": 1}));
        assert_eq!(account.tests.get(73).unwrap()["id"], 73);
        account.rebuild();
        assert!(account.script.contains("New checkout"), "{}", account.script);
        account.clear();
        assert!(account.script.is_empty());
        assert_ne!(before, account.checksum());
    }
}
