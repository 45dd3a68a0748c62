//! README and documents say what is so: settings, routes, errors, commands, files and the example answer.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Arg, Args, Command};
use relance::settings::Settings;
use relance::telemetry::STANDARD_VARIABLES;
use reqwest::StatusCode;
use serde_json::Value;

use crate::support::{App, picture, repo};

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

/// Routes that are for browsers and not in the OpenAPI description.
const OTHER_ROUTES: [&str; 3] = ["GET /", "GET /docs", "GET /openapi.json"];

/// Endings that make a word a file of this repository even if its folder is unknown.
const SOURCES: [&str; 8] = ["json", "md", "onnx", "py", "rs", "sh", "so", "toml"];

/// A document, and its pieces of code: what stands in backticks, and the lines of fenced blocks.
struct Document {
    path: PathBuf,
    text: String,
    code: Vec<String>,
}

impl Document {
    fn read(path: PathBuf) -> Self {
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mut code = Vec::new();
        let mut fenced = false;
        for line in text.lines() {
            if line.trim_start().starts_with("```") {
                fenced = !fenced;
            } else if fenced {
                code.push(line.to_owned());
            } else {
                let parts: Vec<&str> = line.split('`').collect();
                let paired = parts.len() % 2 == 1;
                assert!(
                    paired,
                    "{}: a backtick without its pair: {line}",
                    path.display()
                );
                code.extend(
                    parts
                        .iter()
                        .skip(1)
                        .step_by(2)
                        .map(|part| (*part).to_owned()),
                );
            }
        }
        Self { path, text, code }
    }

    fn readme() -> Self {
        Self::read(repo().join("README.md"))
    }

    /// README, CONTRIBUTING, SECURITY and everything in docs/.
    fn all() -> Vec<Self> {
        let mut paths = ["README.md", "CONTRIBUTING.md", "SECURITY.md"]
            .map(|name| repo().join(name))
            .to_vec();
        paths.extend(names(&repo().join("docs")).map(|name| repo().join("docs").join(name)));
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
        paths.into_iter().map(Self::read).collect()
    }

    /// What stands between `<!-- name -->` and `<!-- /name -->`.
    fn section(&self, name: &str) -> &str {
        let (open, close) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
        let from = self.text.split_once(&open).map(|(_, rest)| rest);
        let section = from.and_then(|rest| rest.split_once(&close));
        section
            .unwrap_or_else(|| panic!("{} has no section {name}", self.path.display()))
            .0
    }

    fn links(&self) -> impl Iterator<Item = &str> {
        let targets = self
            .text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split_once(')'));
        targets
            .map(|(target, _)| target)
            .filter(|target| !target.contains("://"))
    }
}

fn names(dir: &Path) -> impl Iterator<Item = String> + use<> {
    let entries = fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap())
}

/// Fails with all of `wrong`, one a line.
fn none(what: &str, wrong: &[String]) {
    assert!(wrong.is_empty(), "{what}:\n{}", wrong.join("\n"));
}

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

#[test]
fn the_routes_are_those_of_the_program() {
    let description = relance::http::openapi();
    let mut routes: BTreeSet<String> = OTHER_ROUTES.map(str::to_owned).into();
    for (path, methods) in description["paths"].as_object().unwrap() {
        let methods = methods.as_object().unwrap().keys();
        routes.extend(methods.map(|method| format!("{} {path}", method.to_uppercase())));
    }
    let readme = Document::readme();
    let listed = first_cells(readme.section("routes")).map(str::to_owned);
    assert_eq!(listed.collect::<BTreeSet<String>>(), routes);

    let is_route = |code: &&String| {
        ["GET /", "POST /", "DELETE /"]
            .iter()
            .any(|method| code.starts_with(method))
    };
    let documents = Document::all();
    let named = documents
        .iter()
        .flat_map(|document| document.code.iter().filter(is_route));
    let unknown: Vec<String> = named
        .filter(|route| !routes.contains(*route))
        .cloned()
        .collect();
    none("there are no such routes", &unknown);
}

// Generators of clients make functions of them.
#[test]
fn operations_have_names_of_their_own() {
    let description = relance::http::openapi();
    let paths = description["paths"].as_object().unwrap();
    let operations = paths
        .values()
        .flat_map(|path| path.as_object().unwrap().values());
    let mut names: Vec<&str> = operations
        .map(|operation| operation["operationId"].as_str().unwrap())
        .collect();
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all, "{names:?}");
}

#[test]
fn the_problems_are_those_of_the_program() {
    let source = fs::read_to_string(repo().join("src/http/problem.rs")).unwrap();
    // BadParameter = BAD_REQUEST, "bad-parameter", "Bad parameter";
    let (_, kinds) = source.split_once("\nkinds! {\n").unwrap();
    let (kinds, _) = kinds.split_once("\n}").unwrap();
    let mut expected = BTreeSet::new();
    for kind in kinds.split(';').filter(|kind| kind.contains(" = ")) {
        let (_, parts) = kind.rsplit_once(" = ").unwrap();
        let (status, rest) = parts.split_once(", ").unwrap();
        let slug = rest.split('"').nth(1).unwrap();
        expected.insert((status_named(status), slug.to_owned()));
    }
    assert!(
        expected.len() > 10,
        "src/http/problem.rs is written otherwise than expected here"
    );

    let readme = Document::readme();
    let rows = readme
        .section("problems")
        .lines()
        .filter(|line| line.starts_with("| `"));
    let listed = rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        (
            cells[2].parse().unwrap(),
            cells[1].trim_matches('`').to_owned(),
        )
    });
    assert_eq!(listed.collect::<BTreeSet<(u16, String)>>(), expected);
}

/// The number of a status constant such as `BAD_REQUEST`.
fn status_named(name: &str) -> u16 {
    let is_it = |status: &StatusCode| {
        let reason = status.canonical_reason().unwrap_or_default();
        reason.to_uppercase().replace([' ', '-'], "_") == name
    };
    let mut all = (100..600).filter_map(|number| StatusCode::from_u16(number).ok());
    all.find(is_it)
        .unwrap_or_else(|| panic!("no status is called {name}"))
        .as_u16()
}

fn first_cells(table: &str) -> impl Iterator<Item = &str> {
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split('`').next().unwrap_or_default())
}

#[tokio::test]
async fn the_example_has_the_fields_of_an_answer() {
    let readme = Document::readme();
    let (_, example) = readme.text.split_once("```json\n").unwrap();
    let example: Value = serde_json::from_str(example.split("```").next().unwrap()).unwrap();
    let answer = App::start()
        .await
        .predict(picture("jpeg-640x480.jpg"))
        .await;
    assert_eq!(shape(&example), shape(&answer));
}

/// Names and types, without the values.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), shape(value)))
            .collect(),
        Value::Array(items) => items.iter().take(1).map(shape).collect(),
        Value::String(_) => "string".into(),
        Value::Number(_) => "number".into(),
        Value::Bool(_) => "boolean".into(),
        Value::Null => Value::Null,
    }
}
