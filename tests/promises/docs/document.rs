//! README and the other documents, taken apart.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::repo;

/// A document, and its pieces of code: what stands in backticks, and the lines of fenced blocks.
pub struct Document {
    pub path: PathBuf,
    pub text: String,
    pub code: Vec<String>,
}

impl Document {
    pub fn read(path: PathBuf) -> Self {
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

    pub fn readme() -> Self {
        Self::read(repo().join("README.md"))
    }

    /// README, CONTRIBUTING, SECURITY and everything in docs/.
    pub fn all() -> Vec<Self> {
        let mut paths = ["README.md", "CONTRIBUTING.md", "SECURITY.md"]
            .map(|name| repo().join(name))
            .to_vec();
        paths.extend(names(&repo().join("docs")).map(|name| repo().join("docs").join(name)));
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
        paths.into_iter().map(Self::read).collect()
    }

    /// What stands between `<!-- name -->` and `<!-- /name -->`.
    pub fn section(&self, name: &str) -> &str {
        let (open, close) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
        let from = self.text.split_once(&open).map(|(_, rest)| rest);
        let section = from.and_then(|rest| rest.split_once(&close));
        section
            .unwrap_or_else(|| panic!("{} has no section {name}", self.path.display()))
            .0
    }

    pub fn links(&self) -> impl Iterator<Item = &str> {
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

pub fn names(dir: &Path) -> impl Iterator<Item = String> + use<> {
    let entries = fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap())
}
