//! The house stands: imports point downward, `policy` is pure, rooms are small
//! and say what they are for. The rules are in the crate doc (`src/lib.rs`).

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

/// Every room and its layer. A room imports from itself and from lower layers.
const LAYERS: &[(&str, u8)] = &[
    ("domain", 1),
    ("token", 2),
    ("revocation", 2),
    ("policy", 3),
    ("store", 3),
    ("service", 4),
    ("metrics", 4),
    ("api", 5),
    ("config", 5),
    ("edge", 6),
    ("app", 7),
    ("cli", 8),
    ("main", 9),
    ("lib", 9),
];

/// Arrows between rooms of one layer, each with its reason.
const EXCEPTIONS: &[(&str, &str, &str)] =
    &[("revocation", "token", "what is asked about and cut is a verified token")];

/// Crates that only these rooms may name.
const ONLY_IN: &[(&str, &[&str])] =
    &[("pingora", &["edge"]), ("sled", &["store"]), ("anyhow", &["cli", "main"])];

/// What these rooms must not name: crates, modules of `std`, words.
const PURE: &[(&str, &[&str])] = &[
    ("domain", &["serde", "tokio", "async", "await", "fs", "io", "net"]),
    (
        "policy",
        &[
            "serde",
            "serde_json",
            "tokio",
            "futures",
            "tracing",
            "log",
            "prometheus",
            "async",
            "await",
            "fs",
            "io",
            "net",
            "env",
            "process",
            "thread",
            "Instant",
            "SystemTime",
        ],
    ),
];

const MAX_LINES: usize = 400;
const MAX_HEAD_LINES: usize = 10;

/// What is wrong, where, and what to do.
#[derive(Debug, PartialEq, Eq)]
struct Fault {
    file: String,
    line: usize,
    what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

/// A file below `src`, as the checks see it.
struct Source<'a> {
    /// With slashes, from `src` on: `policy/decide.rs`.
    path: &'a str,
    text: &'a str,
    /// Whether it is the root of a module with files of its own.
    is_module_root: bool,
}

impl Source<'_> {
    fn fault(&self, line: usize, what: String) -> Fault {
        Fault { file: format!("src/{}", self.path), line, what }
    }

    /// Where the file stands in the tree of modules: `["policy", "decide"]`.
    fn module(&self) -> Vec<&str> {
        let stem = self.path.strip_suffix(".rs").unwrap_or(self.path);
        let mut parts: Vec<&str> = stem.split('/').collect();
        if matches!(parts.last(), Some(&("mod" | "lib" | "main"))) {
            parts.pop();
        }
        parts
    }

    fn room(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or(self.path);
        first.strip_suffix(".rs").unwrap_or(first)
    }

    fn is_test(&self) -> bool {
        self.path.split('/').any(|part| part == "tests" || part == "tests.rs")
    }

    fn check(&self) -> Vec<Fault> {
        let tokens = tokens(self.text);
        let mut faults = self.check_arrows(&tokens);
        faults.extend(self.check_names(&tokens));
        faults.extend(self.check_allow(&tokens));
        faults.extend(self.check_size());
        faults.extend(self.check_head());
        faults
    }

    /// `crate::room`, and `super::` chains that climb to the root.
    fn check_arrows(&self, tokens: &[Token]) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut inline = Vec::new();
        let mut depth = 0_usize;
        for (at, token) in tokens.iter().enumerate() {
            match token.text.as_str() {
                "{" => {
                    depth += 1;
                    let named = at.checked_sub(2).and_then(|at| tokens.get(at));
                    if named.is_some_and(|token| token.text == "mod") {
                        inline.push(depth);
                    }
                }
                "}" => {
                    if inline.last() == Some(&depth) {
                        inline.pop();
                    }
                    depth = depth.saturating_sub(1);
                }
                "crate" | "super" if starts_path(tokens, at) => {
                    let supers = count_supers(tokens, at);
                    let climbs = token.text == "crate"
                        || supers >= self.module().len().saturating_add(inline.len());
                    if climbs {
                        let last = at + (supers.max(1) - 1) * 2;
                        let rooms = heads(tokens, last + 1);
                        faults.extend(rooms.iter().filter_map(|room| self.arrow(room)));
                    }
                }
                _ => {}
            }
        }
        faults
    }

    fn arrow(&self, to: &Token) -> Option<Fault> {
        let (from, target) = (self.room(), to.text.as_str());
        let Some(mine) = layer(from) else {
            return Some(self.fault(
                1,
                format!("the room {from:?} has no layer: give it one in tests/layering.rs"),
            ));
        };
        // What is no room is an item of the crate's root: re-exports.
        let theirs = layer(target)?;
        let excepted = EXCEPTIONS.iter().any(|(a, b, _)| (*a, *b) == (from, target));
        if from == target || theirs < mine || excepted {
            return None;
        }
        Some(self.fault(
            to.line,
            format!(
                "{from} (layer {mine}) -> {target} (layer {theirs}): a room imports from itself and \
                 from lower layers. Move what both need down, or let a higher room bring them together"
            ),
        ))
    }

    fn check_names(&self, tokens: &[Token]) -> Vec<Fault> {
        let room = self.room();
        let mut faults = Vec::new();
        for (at, token) in tokens.iter().enumerate() {
            let is_path_start = starts_path(tokens, at) && is(tokens, at + 1, "::");
            let keeper = ONLY_IN.iter().find(|(name, _)| *name == token.text);
            if let Some((name, rooms)) = keeper
                && is_path_start
                && !rooms.contains(&room)
            {
                let rooms = rooms.join(", ");
                faults.push(
                    self.fault(token.line, format!("only these rooms may name {name}: {rooms}")),
                );
            }
            let forbidden = PURE.iter().filter(|(name, _)| *name == room);
            let mut words = forbidden.flat_map(|(_, words)| words.iter());
            let in_std = at >= 2 && is(tokens, at - 1, "::") && is(tokens, at - 2, "std");
            let is_word =
                matches!(token.text.as_str(), "async" | "await" | "Instant" | "SystemTime");
            if (is_path_start || in_std || is_word) && words.any(|word| *word == token.text) {
                faults.push(self.fault(
                    token.line,
                    format!(
                        "{room} is pure: it must not name {:?}. Take values in as arguments",
                        token.text
                    ),
                ));
            }
        }
        faults
    }

    /// `#[allow(`, `#![allow(`, `#[cfg_attr(test, allow(`.
    fn check_allow(&self, tokens: &[Token]) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut depth = 0_usize;
        for (at, token) in tokens.iter().enumerate() {
            let inner = at > 1 && is(tokens, at - 2, "#") && is(tokens, at - 1, "!");
            let opens = inner || (at > 0 && is(tokens, at - 1, "#"));
            match token.text.as_str() {
                "[" if depth > 0 || opens => depth += 1,
                "]" => depth = depth.saturating_sub(1),
                "allow" if depth > 0 && is(tokens, at + 1, "(") => faults.push(self.fault(
                    token.line,
                    "#[allow] hides a lint for good: mend the code, or say #[expect(…, reason = \"…\")]"
                        .to_owned(),
                )),
                _ => {}
            }
        }
        faults
    }

    fn check_size(&self) -> Option<Fault> {
        let lines = self.text.lines().count();
        (lines > MAX_LINES && !self.is_test()).then(|| {
            self.fault(
                lines,
                format!("{lines} lines, more than {MAX_LINES}: split it by what it does"),
            )
        })
    }

    fn check_head(&self) -> Option<Fault> {
        if !self.is_module_root || self.is_test() || self.path == "lib.rs" {
            return None;
        }
        let head = self.text.lines().take_while(|line| line.starts_with("//!")).count();
        let what = match head {
            0 => "begins without //!: say what the room is for, and what it does not do".to_owned(),
            1..=MAX_HEAD_LINES => return None,
            _ => format!("its //! has {head} lines, more than {MAX_HEAD_LINES}: say less"),
        };
        Some(self.fault(1, what))
    }
}

fn layer(room: &str) -> Option<u8> {
    LAYERS.iter().find(|(name, _)| *name == room).map(|(_, layer)| *layer)
}

/// A word or a sign of Rust. Comments and literals are left out.
#[derive(Debug)]
struct Token {
    text: String,
    line: usize,
}

fn is(tokens: &[Token], at: usize, text: &str) -> bool {
    tokens.get(at).is_some_and(|token| token.text == text)
}

/// True unless the word continues a path (`a::word`); `self::` starts one too.
fn starts_path(tokens: &[Token], at: usize) -> bool {
    at == 0 || !is(tokens, at - 1, "::") || (at >= 2 && is(tokens, at - 2, "self"))
}

fn count_supers(tokens: &[Token], at: usize) -> usize {
    (0..)
        .take_while(|n| is(tokens, at + n * 2, "super") && is(tokens, at + n * 2 + 1, "::"))
        .count()
}

/// The words that follow the `::` at `at`: one, or those of a group.
fn heads(tokens: &[Token], at: usize) -> Vec<&Token> {
    if !is(tokens, at, "::") {
        return Vec::new();
    }
    if !is(tokens, at + 1, "{") {
        return tokens.get(at + 1).into_iter().collect();
    }
    let mut depth = 0_usize;
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate().skip(at + 1) {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" if depth == 1 => break,
            "}" => depth -= 1,
            _ if depth == 1 && (is(tokens, at - 1, "{") || is(tokens, at - 1, ",")) => {
                found.push(token);
            }
            _ => {}
        }
    }
    found
}

fn tokens(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let (mut rest, mut line) = (text, 1);
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (length, is_token) = match literal_or_comment(rest) {
            0 if word > 0 => (word, true),
            0 if rest.starts_with("::") => (2, true),
            0 => (first.len_utf8(), !first.is_whitespace()),
            skipped => (skipped, false),
        };
        let (read, after) = rest.split_at(length);
        if is_token {
            found.push(Token { text: read.to_owned(), line });
        }
        line += read.matches('\n').count();
        rest = after;
    }
    found
}

/// The length of the comment, literal or lifetime that `rest` begins with, or 0.
fn literal_or_comment(rest: &str) -> usize {
    let to_end = |found: Option<usize>| found.unwrap_or(rest.len());
    if rest.starts_with("//") {
        return to_end(rest.find('\n'));
    }
    if rest.starts_with("/*") {
        return block_comment(rest);
    }
    // r"…", br#"…"#, c"…", b'…': what stands before the quote.
    let prefix = rest.find(|c: char| !matches!(c, 'r' | 'b' | 'c')).unwrap_or(0);
    let prefix = if prefix > 2 { 0 } else { prefix };
    let (letters, quoted) = rest.split_at(prefix);
    if letters.ends_with('r') {
        let hashes = quoted.bytes().take_while(|byte| *byte == b'#').count();
        let opened = prefix + hashes + 1;
        if quoted.get(hashes..).is_some_and(|from| from.starts_with('"')) {
            let close = format!("\"{}", "#".repeat(hashes));
            let inside = rest.get(opened..).unwrap_or("");
            return to_end(inside.find(&close).map(|at| opened + at + close.len()));
        }
        return 0;
    }
    if quoted.starts_with('"') {
        return prefix + quoted_length(quoted, '"');
    }
    if quoted.starts_with('\'') {
        let mut inside = quoted.chars().skip(1);
        let is_char = inside.next() == Some('\\') || inside.next() == Some('\'');
        if is_char {
            return prefix + quoted_length(quoted, '\'');
        }
        let name = quoted.get(1..).unwrap_or("");
        return prefix
            + 1
            + name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
    }
    0
}

fn quoted_length(quoted: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, c) in quoted.char_indices().skip(1) {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    quoted.len()
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(left) = rest.get(at..).filter(|left| !left.is_empty()) {
        let step = if left.starts_with("/*") {
            depth += 1;
            2
        } else if left.starts_with("*/") {
            depth -= 1;
            2
        } else {
            left.chars().next().map_or(1, char::len_utf8)
        };
        at += step;
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// All files below a folder, in the order of their names.
fn files(folder: &Path) -> io::Result<Vec<(String, bool, String)>> {
    let mut found = Vec::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            for entry in fs::read_dir(&path)? {
                waiting.push(entry?.path());
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let below = path.strip_prefix(folder).unwrap_or(&path);
            let name = below.to_string_lossy().replace('\\', "/");
            let is_root = name.ends_with("mod.rs") || path.with_extension("").is_dir();
            found.push((name, is_root, fs::read_to_string(&path)?));
        }
    }
    found.sort();
    Ok(found)
}

#[test]
fn the_house_stands() {
    let files = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    for room in ["domain", "policy", "edge"] {
        assert!(files.iter().any(|(path, ..)| path.starts_with(room)), "src/{room} was not found");
    }
    let faults: Vec<String> = files
        .iter()
        .flat_map(|(path, is_module_root, text)| {
            Source { path, text, is_module_root: *is_module_root }.check()
        })
        .map(|fault| fault.to_string())
        .collect();
    assert!(faults.is_empty(), "faults: {}\n{}", faults.len(), faults.join("\n"));
}

#[cfg(test)]
mod checks {
    use super::*;

    /// The lines of the faults that a text has.
    fn lines(path: &str, text: &str) -> Vec<usize> {
        let source = Source { path, text, is_module_root: path.ends_with("mod.rs") };
        source.check().into_iter().map(|fault| fault.line).collect()
    }

    #[test]
    fn arrows_point_down() {
        for (path, text, wrong) in [
            ("policy/decide.rs", "use crate::domain::Scope;\nuse crate::policy::Route;", vec![]),
            ("policy/decide.rs", "\nuse crate::store::Store;", vec![2]),
            ("policy/decide.rs", "pub(crate) use crate::edge::bind;", vec![1]),
            ("policy/decide.rs", "fn f() -> crate::service::Context {}", vec![1]),
            (
                "policy/decide.rs",
                "use crate::{\n  domain::{Scope, id::x},\n  api::{A},\n};",
                vec![3],
            ),
            ("store/mod.rs", "//! x\nuse crate::policy::Route;", vec![2]),
            ("revocation/set.rs", "use crate::token::VerifiedToken;", vec![]),
            ("token/verify.rs", "use crate::revocation::RevocationSet;", vec![1]),
            ("edge/proxy.rs", "pub(crate) fn f(x: crate::api::Y) {}", vec![]),
            ("main.rs", "fn main() { crate::cli::run() }", vec![]),
            ("app/mod.rs", "//! x\nuse crate::cli::run;", vec![2]),
        ] {
            assert_eq!(lines(path, text), wrong, "{path}: {text}");
        }
    }

    #[test]
    fn climbing_to_the_root_is_no_way_round() {
        for (path, text, wrong) in [
            ("policy/decide.rs", "use super::route::Route;", vec![]),
            ("policy/decide.rs", "use super::super::store::Store;", vec![1]),
            ("policy/mod.rs", "//! x\nuse super::store::Store;", vec![2]),
            ("policy/mod.rs", "//! x\nuse self::super::store::Store;", vec![2]),
            // A module of its own that has the name of a room.
            ("metrics/mod.rs", "//! x\nmod tests {\n use super::edge::X;\n}", vec![]),
            ("metrics/mod.rs", "//! x\nmod tests {}\nuse super::edge::X;", vec![3]),
            ("metrics/mod.rs", "//! x\nmod tests {\n use super::super::edge::X;\n}", vec![3]),
        ] {
            assert_eq!(lines(path, text), wrong, "{path}: {text}");
        }
    }

    #[test]
    fn words_in_comments_and_literals_are_no_imports() {
        let text = r##"
// use crate::edge::X;
/* use /* nested */ crate::edge::X; */
const A: &str = "use crate::edge::X; \" #[allow(x)]";
const B: &str = r#"crate::edge::X "quoted" "#;
const C: [char; 3] = ['"', '\'', '\\'];
fn f<'a>(x: &'a str) -> crate::edge::X { b"\"crate::edge::Y"; br"crate::edge::Z" }
"##;
        assert_eq!(lines("policy/x.rs", text), [7]);
    }

    #[test]
    fn a_room_without_a_layer_is_told_so() {
        let source = Source {
            path: "attic/box.rs",
            text: "use crate::domain::Scope;",
            is_module_root: false,
        };
        let faults = source.check();
        assert!(matches!(faults.as_slice(), [fault] if fault.what.contains("has no layer")));
    }

    #[test]
    fn pure_rooms_name_nothing_of_the_world() {
        for (path, text, wrong) in [
            ("policy/x.rs", "async fn f() {}", vec![1]),
            ("policy/x.rs", "use std::time::Duration;\nuse std::time::Instant;", vec![2]),
            ("policy/x.rs", "use std::fs::File;", vec![1]),
            ("policy/x.rs", "#[derive(serde::Serialize)]\nstruct X;", vec![1]),
            ("policy/x.rs", "let io = process(env);", vec![]),
            ("domain/x.rs", "use serde::Serialize;", vec![1]),
            ("service/x.rs", "use pingora::Error;", vec![1]),
            ("edge/x.rs", "use pingora::Error;", vec![]),
            ("store/mod.rs", "//! x\npub use sled::SledStore;", vec![]),
            ("app/x.rs", "use crate::store::sled::X;\nuse sled::Db;", vec![2]),
        ] {
            assert_eq!(lines(path, text), wrong, "{path}: {text}");
        }
    }

    #[test]
    fn nothing_is_allowed_for_good() {
        for (text, wrong) in [
            ("#[allow(dead_code)]\nfn f() {}", vec![1]),
            ("#![allow(dead_code)]", vec![1]),
            ("#[cfg_attr(test, allow(dead_code))]", vec![1]),
            ("#[expect(dead_code, reason = \"…\")]", vec![]),
            ("let x = rule.allow(method); f([allow(x)], allow(x), vec![allow(x)])", vec![]),
        ] {
            assert_eq!(lines("edge/x.rs", text), wrong, "{text}");
        }
    }

    #[test]
    fn rooms_are_small_and_say_what_they_are_for() {
        let long = "// x\n".repeat(401);
        assert_eq!(lines("edge/x.rs", &long), [401]);
        assert_eq!(lines("edge/x.rs", &"// x\n".repeat(400)), [0; 0]);
        assert_eq!(lines("edge/tests/x.rs", &long), [0; 0]);
        assert_eq!(lines("edge/tests.rs", &long), [0; 0]);
        assert_eq!(lines("edge/mod.rs", "mod x;"), [1]);
        assert_eq!(lines("edge/tests/mod.rs", "mod x;"), [0; 0]);
        assert_eq!(lines("edge/mod.rs", &"//! x\n".repeat(10)), [0; 0]);
        assert_eq!(lines("edge/mod.rs", &"//! x\n".repeat(11)), [1]);
        assert_eq!(lines("lib.rs", &"//! x\n".repeat(120)), [0; 0]);
    }
}
