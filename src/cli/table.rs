//! Aligned tables and lists of fields for people, from the JSON of the admin port.

use serde_json::Value;

use super::out::plain;

/// A head and the path of the value below it, such as `secrets`.
pub(super) type Column = (&'static str, &'static str);

/// One line an item, columns aligned, under their heads.
pub(super) fn table(columns: &[Column], items: &[Value]) -> String {
    let mut rows = vec![columns.iter().map(|(head, _)| (*head).to_owned()).collect::<Vec<_>>()];
    for item in items {
        rows.push(columns.iter().map(|(_, key)| cell(item.get(key))).collect());
    }
    align(&rows)
}

/// One line a field, the values aligned. Fields that are null are left out.
pub(super) fn fields(columns: &[Column], item: &Value) -> String {
    let rows: Vec<Vec<String>> = columns
        .iter()
        .filter(|(_, key)| item.get(key).is_some_and(|value| !value.is_null()))
        .map(|(head, key)| vec![(*head).to_owned(), cell(item.get(key))])
        .collect();
    align(&rows)
}

fn align(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The longest cell: a list of scopes must not push the rest off the screen.
const LONGEST: usize = 60;

fn cell(value: Option<&Value>) -> String {
    let text = match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) if items.is_empty() => "-".to_owned(),
        Some(Value::Array(items)) => {
            let words = items.iter().map(|item| match item {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            });
            words.collect::<Vec<_>>().join(" ")
        }
        Some(other) => other.to_string(),
    };
    plain(&text)
}

/// Cuts long cells of a table; whole values are in `show` and in JSON.
pub(super) fn shorten(items: &mut [Value]) {
    for item in items.iter_mut().filter_map(Value::as_object_mut) {
        for value in item.values_mut() {
            let whole = cell(Some(value));
            if whole.chars().count() > LONGEST {
                let mut short: String = whole.chars().take(LONGEST - 1).collect();
                short.push('…');
                *value = Value::String(short);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_are_aligned_and_gaps_are_dashes() {
        let items = [
            json!({"id": "1", "name": "Zoë", "roles": ["a", "b"], "end": null}),
            json!({"id": "22", "name": "x\u{1b}y", "roles": [], "end": "2030"}),
        ];
        let columns = [("ID", "id"), ("NAME", "name"), ("ROLES", "roles"), ("END", "end")];
        let text = table(&columns, &items);
        assert_eq!(
            text,
            "ID  NAME      ROLES  END\n1   Zoë       a b    -\n22  x\\u{1b}y  -      2030"
        );
        assert_eq!(fields(&columns, &items[0]), "ID     1\nNAME   Zoë\nROLES  a b");
    }

    #[test]
    fn long_cells_are_cut() {
        let mut items = [json!({"scopes": vec!["campaign.list"; 20], "n": 3})];
        shorten(&mut items);
        assert_eq!(items[0]["scopes"].as_str().unwrap().chars().count(), LONGEST);
        assert_eq!(items[0]["n"], 3);
    }
}
