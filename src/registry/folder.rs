//! Models in a folder.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::{
    MAX_PLAN_BYTES, MAX_SAMPLE_BYTES, MAX_SAMPLES, MODEL, PLAN, Plan, RegistryError, SAMPLES,
    Sample, Tag, is_name,
};
use crate::model::Reference;

/// A folder with models.
pub struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub(super) fn place(&self) -> String {
        self.0.display().to_string()
    }

    pub(super) fn path(&self, model: &Reference) -> Option<PathBuf> {
        let path = self.0.join(&model.name).join(&model.version).join(MODEL);
        path.is_file().then_some(path)
    }

    pub(super) async fn list(&self) -> Result<Vec<Reference>, RegistryError> {
        self.blocking(|root| {
            let mut found = Vec::new();
            for name in names(root)? {
                for version in names(&root.join(&name))? {
                    if root.join(&name).join(&version).join(MODEL).is_file() {
                        let name = name.clone();
                        found.push(Reference { name, version });
                    }
                }
            }
            found.sort();
            Ok(found)
        })
        .await
    }

    pub(super) async fn samples(&self, name: &str) -> Result<Vec<Sample>, RegistryError> {
        let name = name.to_owned();
        self.blocking(move |root| samples(&root.join(name).join(SAMPLES)))
            .await
    }

    pub(super) async fn plan(&self) -> Result<(Option<Plan>, Tag), RegistryError> {
        let content = self.blocking(|root| read_plan(&root.join(PLAN))).await?;
        let Some(content) = content else {
            return Ok((None, Tag::default()));
        };
        match Plan::parse(&content) {
            Ok(plan) => Ok((Some(plan), tag(&content))),
            Err(reason) => Err(RegistryError::BadPlan {
                place: self.place(),
                reason,
            }),
        }
    }

    pub(super) async fn publish(&self, plan: &Plan, before: &Tag) -> Result<Tag, RegistryError> {
        let (content, before) = (plan.bytes(), before.clone());
        let after = tag(&content);
        let written = self
            .blocking(move |root| replace_plan(root, &content, &before))
            .await?;
        written.then_some(after).ok_or(RegistryError::Changed)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, RegistryError> {
        let root = self.0.clone();
        let outcome = tokio::task::spawn_blocking(move || work(&root)).await;
        let outcome = outcome.unwrap_or_else(|error| Err(io::Error::other(error)));
        outcome.map_err(|error| RegistryError::Unavailable {
            place: self.place(),
            reason: error.to_string(),
        })
    }
}

/// The folders in a folder that can be names.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().into_string().unwrap_or_default();
        if is_name(&name) && entry.path().is_dir() {
            names.push(name);
        }
    }
    Ok(names)
}

fn samples(folder: &Path) -> io::Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for (class, folder) in entries(folder)? {
        if !folder.is_dir() {
            continue;
        }
        for (file, path) in entries(&folder)? {
            let fits = path.is_file() && fs::metadata(&path)?.len() <= MAX_SAMPLE_BYTES;
            if fits && samples.len() < MAX_SAMPLES {
                samples.push(Sample {
                    path: format!("{SAMPLES}/{class}/{file}"),
                    class: class.clone(),
                    bytes: fs::read(&path)?.into(),
                });
            }
        }
    }
    Ok(samples)
}

/// What is in a folder, sorted; nothing if there is none.
fn entries(folder: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let read = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        read => read?,
    };
    let mut entries = Vec::new();
    for entry in read {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            entries.push((name, entry.path()));
        }
    }
    entries.sort();
    Ok(entries)
}

fn read_plan(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Ok(about) if about.len() > MAX_PLAN_BYTES => Err(io::Error::other(format!(
            "{PLAN} has more than {MAX_PLAN_BYTES} bytes"
        ))),
        about => {
            about?;
            fs::read(path).map(Some)
        }
    }
}

/// Replaces the plan if it is still as it was `before`; whether it was.
fn replace_plan(root: &Path, content: &[u8], before: &Tag) -> io::Result<bool> {
    // Two instances that look at the same time must not both find it unchanged.
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(root.join(format!(".{PLAN}.lock")))?;
    lock.lock()?;
    let path = root.join(PLAN);
    let now = read_plan(&path)?.map_or_else(Tag::default, |content| tag(&content));
    if now != *before {
        return Ok(false);
    }
    let new = root.join(format!(".{PLAN}.new"));
    let mut file = File::create(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(new, path)?;
    Ok(true)
}

fn tag(content: &[u8]) -> Tag {
    Tag(Some(blake3::hash(content).to_hex().to_string()))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn folder() -> (tempfile::TempDir, Folder) {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path().to_owned());
        (dir, folder)
    }

    fn plan(active: &str) -> Plan {
        Plan {
            active: active.parse().unwrap(),
            candidate: None,
            changed_by: "ana".into(),
            changed_at: Timestamp::UNIX_EPOCH,
        }
    }

    #[tokio::test]
    async fn models_are_found_by_their_place() {
        let (dir, folder) = folder();
        for path in [
            "bottle/2",
            "bottle/10",
            "cork/a",
            "cork/.b",
            "bottle/empty",
            "not ok/1",
        ] {
            fs::create_dir_all(dir.path().join(path)).unwrap();
            if !path.ends_with("empty") {
                fs::write(dir.path().join(path).join(MODEL), "x").unwrap();
            }
        }
        let found: Vec<String> = folder
            .list()
            .await
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(found, ["bottle@10", "bottle@2", "cork@a"]);
        let missing = Folder::new(dir.path().join("nowhere"));
        let error = missing.list().await.unwrap_err().to_string();
        assert!(error.contains("nowhere"), "{error}");
    }

    #[tokio::test]
    async fn samples_are_by_class() {
        let (dir, folder) = folder();
        let samples = dir.path().join("bottle/samples");
        fs::create_dir_all(samples.join("aberta")).unwrap();
        fs::write(samples.join("README"), "no class").unwrap();
        fs::write(samples.join("aberta/1.jpg"), "picture").unwrap();
        fs::write(samples.join("aberta/.hidden"), "").unwrap();
        let found = folder.samples("bottle").await.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(
            (&*found[0].class, &*found[0].path),
            ("aberta", "samples/aberta/1.jpg")
        );
        assert!(folder.samples("cork").await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn of_two_who_change_the_plan_one_is_told() {
        let (dir, folder) = folder();
        let (none, before) = folder.plan().await.unwrap();
        assert!(none.is_none());
        let after = folder.publish(&plan("a@1"), &before).await.unwrap();
        let late = folder.publish(&plan("b@1"), &before).await;
        assert!(matches!(late, Err(RegistryError::Changed)));
        assert_eq!(folder.plan().await.unwrap(), (Some(plan("a@1")), after));
        fs::write(dir.path().join(PLAN), "{").unwrap();
        let error = folder.plan().await.unwrap_err();
        assert!(matches!(error, RegistryError::BadPlan { .. }), "{error}");
    }
}
