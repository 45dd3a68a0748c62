//! The settings in the documents are those of the program.

use std::collections::BTreeSet;
use std::fs;

use clap::{Arg, Args, Command};
use relance::settings::Settings;
use relance::telemetry::STANDARD_VARIABLES;

use super::document::Document;
use super::none;
use crate::support::repo;

/// Variables that are no settings of the program.
const OTHER_VARIABLES: [&str; 7] = [
    "RECORDS",
    "SSL_CERT_FILE",
    "PATH",
    "UPDATE_DOCS",
    "MALLOC_TRIM_THRESHOLD_",
    "MALLOC_ARENA_MAX",
    "OMP_NUM_THREADS",
];

/// Datatypes of the Open Inference Protocol and statuses of gRPC.
const PROTOCOL_NAMES: [&str; 10] = [
    "BYTES",
    "CANCELLED",
    "DEADLINE_EXCEEDED",
    "FP32",
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "RESOURCE_EXHAUSTED",
    "UNAUTHENTICATED",
    "UNAVAILABLE",
    "UNIMPLEMENTED",
];

fn settings() -> Command {
    Settings::augment_args(Command::new("relance"))
}

fn variable(arg: &Arg) -> String {
    arg.get_env().unwrap().to_str().unwrap().to_owned()
}

fn settings_table() -> String {
    let mut table = String::from("| Setting | Flag | Default | Meaning |\n|---|---|---|---|\n");
    for arg in settings().get_arguments() {
        let help = arg.get_help().unwrap().to_string();
        // A default that clap does not know stands at the end of the help text.
        let (meaning, told) = match help.split_once(" [default: ") {
            Some((meaning, rest)) => (
                meaning.to_owned(),
                Some(rest.trim_end_matches(']').to_owned()),
            ),
            None => (help, None),
        };
        let known = arg.get_default_values().first();
        let known = known.map(|value| format!("`{}`", value.to_str().unwrap()));
        let default = known.or(told).unwrap_or_else(|| "not set".into());
        let values = arg.get_possible_values();
        let explained = |value: &clap::builder::PossibleValue| {
            Some(format!(
                "`{}`: {}",
                value.get_name(),
                lower_first(&value.get_help()?.to_string())
            ))
        };
        let values: Vec<String> = values.iter().filter_map(explained).collect();
        let separator = if values.is_empty() { "" } else { ". " };
        let meaning = format!("{meaning}{separator}{}", values.join("; ")).replace('|', "\\|");
        let flag = arg.get_long().unwrap();
        table += &format!(
            "| `{}` | `--{flag}` | {default} | {meaning} |\n",
            variable(arg)
        );
    }
    table
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    // An abbreviation such as IPv4 stays as it is.
    match (chars.next(), chars.next()) {
        (Some(first), Some(second)) if second.is_lowercase() => {
            format!("{}{}", first.to_lowercase(), &text[first.len_utf8()..])
        }
        _ => text.to_owned(),
    }
}

#[test]
fn the_settings_table_is_that_of_the_program() {
    let readme = Document::readme();
    let (written, table) = (readme.section("settings"), settings_table());
    if written != table && std::env::var_os("UPDATE_DOCS").is_some_and(|value| value == "1") {
        let open = "<!-- settings -->\n";
        let text = readme
            .text
            .replacen(&format!("{open}{written}"), &format!("{open}{table}"), 1);
        fs::write(&readme.path, text).unwrap();
        return;
    }
    let command = "UPDATE_DOCS=1 cargo test --release --test promises docs";
    assert!(
        written == table,
        "the settings in README.md are out of date; write them with\n{command}"
    );
}

#[test]
fn settings_that_are_named_exist() {
    let mut known: BTreeSet<String> = settings().get_arguments().map(variable).collect();
    known.extend(OTHER_VARIABLES.map(str::to_owned));
    known.extend(PROTOCOL_NAMES.map(str::to_owned));
    known.extend(STANDARD_VARIABLES.map(str::to_owned));
    // Of deploy.sh, of App Service and of the workflow.
    for file in [
        "deploy.sh",
        "infra/azure/main.bicep",
        ".github/workflows/deploy.yml",
    ] {
        let text = fs::read_to_string(repo().join(file)).unwrap();
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        known.extend(words.filter(|word| is_variable(word)).map(str::to_owned));
    }
    let makefile = fs::read_to_string(repo().join("Makefile")).unwrap();
    let of_make = |line: &str| Some(line.split_once(" ?=")?.0.rsplit(' ').next()?.to_owned());
    known.extend(makefile.lines().filter_map(of_make));
    let compose = fs::read_to_string(repo().join("compose.yaml")).unwrap();
    let of_compose = compose.split("${").skip(1);
    known.extend(of_compose.filter_map(|rest| Some(rest.split_once(":-")?.0.to_owned())));
    let mut wrong = Vec::new();
    for document in Document::all() {
        let alone = document.code.iter().map(String::as_str);
        let words = document
            .code
            .iter()
            .flat_map(|code| code.split_whitespace());
        let assigned = words
            .filter_map(|word| word.split_once('='))
            .map(|(name, _)| name);
        let unknown = alone
            .chain(assigned)
            .filter(|name| is_variable(name) && !known.contains(*name));
        wrong.extend(unknown.map(|name| format!("{name} in {}", document.path.display())));
    }
    none("these settings do not exist", &wrong);
}

fn is_variable(name: &str) -> bool {
    let upper = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    name.len() > 1 && name.starts_with(|c: char| c.is_ascii_uppercase()) && name.chars().all(upper)
}
