//! The routes, problems and answers in the documents are those of the program.

use std::collections::BTreeSet;
use std::fs;

use reqwest::StatusCode;
use serde_json::Value;

use super::document::Document;
use super::none;
use crate::support::{App, picture, repo};

/// Routes that are for browsers and not in the OpenAPI description.
const OTHER_ROUTES: [&str; 3] = ["GET /", "GET /docs", "GET /openapi.json"];

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
