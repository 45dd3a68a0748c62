//! README and documents say what is so: settings, routes, errors, commands, files and the example answer.

mod api;
mod document;
mod settings;

use std::collections::BTreeSet;
use std::fs;

use crate::support::repo;
use document::{Document, names};

/// Endings that make a word a file of this repository even if its folder is unknown.
const SOURCES: [&str; 8] = ["json", "md", "onnx", "py", "rs", "sh", "so", "toml"];

/// Fails with all of `wrong`, one a line.
fn none(what: &str, wrong: &[String]) {
    assert!(wrong.is_empty(), "{what}:\n{}", wrong.join("\n"));
}

#[test]
fn make_targets_that_are_named_exist() {
    let makefile = fs::read_to_string(repo().join("Makefile")).unwrap();
    let is_name = |word: &str| word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    let rules = makefile.lines().filter_map(|line| line.split_once(':'));
    let targets: BTreeSet<&str> = rules
        .map(|(target, _)| target)
        .filter(|t| is_name(t))
        .collect();
    let mut wrong = Vec::new();
    for document in Document::all() {
        for code in &document.code {
            let words: Vec<&str> = code
                .split_whitespace()
                .take_while(|word| *word != "#")
                .collect();
            let called = words
                .windows(2)
                .filter(|pair| pair[0] == "make")
                .map(|pair| pair[1]);
            let unknown = called.filter(|target| is_name(target) && !targets.contains(target));
            wrong.extend(
                unknown.map(|target| format!("make {target} in {}", document.path.display())),
            );
        }
    }
    none("the Makefile has no such targets", &wrong);
}

#[test]
fn files_that_are_named_exist() {
    let root: BTreeSet<String> = names(repo()).collect();
    let ignore = fs::read_to_string(repo().join(".gitignore")).unwrap();
    let made: Vec<&str> = ignore
        .lines()
        .filter_map(|line| line.strip_prefix('/'))
        .collect();
    let is_made = |path: &str| {
        made.iter()
            .any(|dir| path.starts_with(dir.trim_end_matches('/')))
    };
    let mut wrong = Vec::new();
    for document in Document::all() {
        let separators = |c: char| c.is_whitespace() || "=@\"'(),;│".contains(c);
        let words = document.code.iter().flat_map(|code| code.split(separators));
        for path in words.filter(|word| is_path(word, &root)) {
            if !is_made(path) && !repo().join(path).exists() {
                wrong.push(format!("{path} in {}", document.path.display()));
            }
        }
        for link in document.links() {
            let path = link.split('#').next().unwrap_or_default();
            if !document.path.parent().unwrap().join(path).exists() {
                wrong.push(format!("{link}, a link in {}", document.path.display()));
            }
        }
    }
    none("these files do not exist", &wrong);
}

/// Whether a word is a path in this repository: it begins with one of its folders or ends as its files do.
fn is_path(word: &str, root: &BTreeSet<String>) -> bool {
    let plain = word
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c));
    let ending = word.rsplit_once('.').map_or("", |(_, ending)| ending);
    match word.split_once('/') {
        _ if !plain => false,
        Some(("", _)) => false,
        Some((folder, _)) => root.contains(folder) || SOURCES.contains(&ending),
        None => root.contains(word) || ["md", "rs", "toml"].contains(&ending),
    }
}

#[test]
fn the_map_shows_every_part() {
    let architecture = Document::read(repo().join("docs/architecture.md"));
    let parts = names(&repo().join("src")).map(|name| format!("src/{name}"));
    let missing: Vec<String> = parts
        .filter(|part| !architecture.code.contains(part))
        .collect();
    none("docs/architecture.md does not show these", &missing);
}
