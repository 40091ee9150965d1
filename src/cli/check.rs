//! `check`: every fault of a file at once.

use std::path::Path;

use serde_json::{Value, json};

use super::failure::{DONE, FAULTY, Outcome};
use super::out;
use crate::config::{self, Config, ConfigErrors, Fault};
use crate::domain::{Clock, SystemClock};

/// `check …`
pub(super) fn check(file: &Path, as_json: bool) -> Outcome {
    let loaded = config::load(file);
    let verdict = Verdict::of(file, loaded.as_ref());
    if as_json {
        out::json(&verdict.json());
    } else if verdict.good() {
        for warning in &verdict.warnings {
            out::note(format_args!("warning: {}", warning.at(file)));
        }
        out::answer(verdict.words());
    } else {
        out::note(verdict.words());
    }
    Ok(verdict.code())
}

struct Verdict<'a> {
    file: &'a Path,
    /// Routes, roles, upstreams.
    counts: Option<(usize, usize, usize)>,
    faults: Vec<Fault>,
    warnings: Vec<Fault>,
}

impl<'a> Verdict<'a> {
    fn of(file: &'a Path, loaded: Result<&Config, &ConfigErrors>) -> Self {
        match loaded {
            Ok(config) => Verdict {
                file,
                counts: Some(counts(config)),
                faults: Vec::new(),
                warnings: [config.warnings.clone(), config.out_of_date(SystemClock.now())].concat(),
            },
            Err(errors) => Verdict {
                file,
                counts: None,
                faults: errors.faults().to_vec(),
                warnings: Vec::new(),
            },
        }
    }

    fn good(&self) -> bool {
        self.faults.is_empty()
    }

    fn code(&self) -> u8 {
        if self.good() { DONE } else { FAULTY }
    }

    fn words(&self) -> String {
        let file = self.file.display();
        if let (Some((routes, roles, upstreams)), true) = (self.counts, self.good()) {
            let all = [
                count(routes, "route"),
                count(roles, "role"),
                count(upstreams, "upstream"),
                count(self.warnings.len(), "warning"),
            ];
            return format!(
                "{file} is good: {}\nnext: portcullis serve --config {file}",
                all.join(", ")
            );
        }
        let mut lines: Vec<String> =
            self.faults.iter().map(|fault| fault.at(self.file).to_string()).collect();
        lines.push(format!("{} in {file}", count(self.faults.len(), "fault")));
        lines.join("\n")
    }

    fn json(&self) -> Value {
        let list = |faults: &[Fault]| -> Vec<Value> {
            let item = |f: &Fault| json!({"line": f.line, "key": f.key, "message": f.message});
            faults.iter().map(item).collect()
        };
        let number = |of: fn((usize, usize, usize)) -> usize| self.counts.map(of);
        json!({
            "file": self.file.display().to_string(),
            "ok": self.good(),
            "routes": number(|c| c.0),
            "roles": number(|c| c.1),
            "upstreams": number(|c| c.2),
            "faults": list(&self.faults),
            "warnings": list(&self.warnings),
        })
    }
}

pub(super) fn counts(config: &Config) -> (usize, usize, usize) {
    (config.routes.routes().len(), config.roles.len(), config.upstreams.len())
}

/// `1 route`, `2 routes`.
pub(super) fn count(number: usize, what: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {what}{s}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = include_str!("../../config/portcullis.toml");

    fn verdict(text: &str) -> (String, Value, u8) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("p.toml");
        std::fs::write(&file, text).unwrap();
        let loaded = config::load(&file);
        let verdict = Verdict::of(&file, loaded.as_ref());
        (verdict.words(), verdict.json(), verdict.code())
    }

    #[test]
    fn a_good_file_is_summed_up() {
        let (words, json, code) = verdict(GOOD);
        assert_eq!(code, DONE, "{words}");
        assert!(words.contains("is good") && words.contains("5 roles"), "{words}");
        assert_eq!(json["ok"], true);
        assert_eq!(json["roles"], 5);
    }

    #[test]
    fn all_faults_are_shown_with_line_and_key() {
        let broken = GOOD
            .replace("threads = 0", "thread = 0")
            .replace("engine = \"sled\"", "engine = \"tape\"");
        let (words, json, code) = verdict(&broken);
        assert_eq!(code, FAULTY);
        assert!(words.contains("2 faults"), "{words}");
        let keys: Vec<&str> =
            json["faults"].as_array().unwrap().iter().filter_map(|f| f["key"].as_str()).collect();
        assert!(keys.iter().any(|k| k.contains("thread")), "{keys:?}");
        assert!(keys.iter().any(|k| k.contains("engine")), "{keys:?}");
        assert!(json["faults"].as_array().unwrap().iter().all(|f| f["line"].is_u64()), "{json}");
    }

    #[test]
    fn a_missing_file_is_a_fault() {
        let loaded = config::load(Path::new("no/such/file.toml"));
        let verdict = Verdict::of(Path::new("no/such/file.toml"), loaded.as_ref());
        assert!(!verdict.good());
        assert!(verdict.words().contains("can't be read"), "{}", verdict.words());
    }

    #[test]
    fn what_serve_would_refuse_is_a_fault_here_too() {
        let text = GOOD.replace("engine = \"sled\"", "engine = \"etcd\"\nfoo = 1");
        let (words, json, code) = verdict(&text);
        assert_eq!(code, FAULTY);
        assert!(words.contains("2 faults") && words.contains("one gateway, one store"), "{words}");
        let line = GOOD.lines().position(|line| line.starts_with("engine")).unwrap() + 1;
        let fault = &json["faults"][0];
        assert_eq!((&fault["key"], &fault["line"]), (&json!("store.engine"), &json!(line)));
    }
}
