//! What a model answered to the pictures of its evaluation: a file beside the model's, which later answers are
//! compared with.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Model, ModelDigest};
use crate::classification::Score;

/// Equal bins of confidence, from 0 to 1; the calibration of reviews has the same.
pub const BINS: usize = 10;

/// Largest file that is read, in bytes; room for some ten thousand classes.
const MAX_BYTES: u64 = 1 << 20;

/// How far the shares of a file may be from 1 together: people round them.
const ROUNDING: f64 = 1e-3;

/// How a model's answers were distributed over the pictures it was evaluated with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// SHA-256 of the model file, hexadecimal.
    pub model_sha256: String,
    /// How many pictures there were.
    pub pictures: u64,
    /// Part of the answers that each class had, by name; those that are missing had none.
    pub classes: BTreeMap<String, f64>,
    /// Part of the answers whose confidence was in each bin.
    pub confidence: [f64; BINS],
}

/// The bin that a confidence is in.
pub fn bin(confidence: f32) -> usize {
    // In the numbers that databases reckon in, so that 0.7 is in the same bin everywhere.
    ((f64::from(confidence) * BINS as f64) as usize).min(BINS - 1)
}

impl Baseline {
    /// The baseline of a model that gave these answers; nothing if there are none.
    pub fn of(model: &Model, answers: &[Score]) -> Option<Self> {
        if answers.is_empty() {
            return None;
        }
        let labels = model.labels.iter().cloned();
        let mut classes: BTreeMap<String, u64> = labels.map(|label| (label, 0)).collect();
        let mut confidence = [0_u64; BINS];
        for answer in answers {
            let label = model.labels.get(answer.index as usize)?;
            *classes.get_mut(label)? += 1;
            confidence[bin(answer.confidence)] += 1;
        }
        let share = |count: u64| count as f64 / answers.len() as f64;
        Some(Self {
            model_sha256: hex::encode(model.digest),
            pictures: answers.len() as u64,
            classes: classes.into_iter().map(|(l, n)| (l, share(n))).collect(),
            confidence: confidence.map(share),
        })
    }

    /// Part of the answers that a class had.
    pub fn share(&self, class: &str) -> f64 {
        self.classes.get(class).copied().unwrap_or_default()
    }

    /// Writes the file.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        fs::write(path, text + "\n")
    }

    /// The baseline in a file, if there is one.
    fn read(path: &Path, digest: &ModelDigest, labels: &[String]) -> Result<Option<Self>, String> {
        match fs::metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
            // Others, such as pipes, could keep the start waiting.
            Ok(found) if !found.is_file() => return Err("it is no file".into()),
            Ok(_) => {}
        }
        let mut text = Vec::new();
        let file = File::open(path).map_err(|error| error.to_string())?;
        file.take(MAX_BYTES + 1)
            .read_to_end(&mut text)
            .map_err(|error| error.to_string())?;
        if text.len() as u64 > MAX_BYTES {
            return Err("it has more than 1 MiB".into());
        }
        let baseline: Self = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
        baseline.check(digest, labels)?;
        Ok(Some(baseline))
    }

    fn check(&self, digest: &ModelDigest, labels: &[String]) -> Result<(), String> {
        if !self.model_sha256.eq_ignore_ascii_case(&hex::encode(digest)) {
            return Err(
                "it was made with another model: `model_sha256` is not that of this file".into(),
            );
        }
        if self.pictures == 0 {
            return Err("it is of no pictures".into());
        }
        if let Some(class) = self.classes.keys().find(|class| !labels.contains(class)) {
            return Err(format!("{class:?} is no class of the model"));
        }
        let shares: Vec<f64> = self.classes.values().copied().collect();
        for (name, shares) in [("classes", &shares[..]), ("confidence", &self.confidence)] {
            let sum: f64 = shares.iter().sum();
            if shares.iter().any(|share| *share < 0.0) || (sum - 1.0).abs() > ROUNDING {
                return Err(format!("the shares in `{name}` are not parts of 1"));
            }
        }
        Ok(())
    }
}

/// The baseline beside a model file, named like it. One that cannot be used is told in the log and left out: the model
/// answers as well without.
pub(super) fn beside(
    model: &Path,
    digest: &ModelDigest,
    labels: &[String],
) -> Option<Arc<Baseline>> {
    let path = model.with_extension("baseline.json");
    let read = Baseline::read(&path, digest, labels);
    let found = read.unwrap_or_else(|reason| {
        tracing::warn!(
            "the baseline {} is not used, so drift is not measured ({reason}): make it anew with `relance classify FOLDER --model {} --baseline {}`",
            path.display(),
            model.display(),
            path.display()
        );
        None
    });
    found.map(Arc::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: ModelDigest = [0xab; 32];

    fn labels() -> Vec<String> {
        ["open", "closed"].map(str::to_owned).to_vec()
    }

    fn baseline() -> Baseline {
        let mut confidence = [0.0; BINS];
        confidence[6] = 0.3333;
        confidence[9] = 0.6667;
        Baseline {
            model_sha256: hex::encode(DIGEST),
            pictures: 3,
            classes: [("open".to_owned(), 1.0)].into(),
            confidence,
        }
    }

    /// What becomes of a file with this text.
    fn read(text: &str) -> Result<Option<Baseline>, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.baseline.json");
        fs::write(&path, text).unwrap();
        Baseline::read(&path, &DIGEST, &labels())
    }

    fn changed(change: impl FnOnce(&mut Baseline)) -> Result<Option<Baseline>, String> {
        let mut baseline = baseline();
        change(&mut baseline);
        read(&serde_json::to_string(&baseline).unwrap())
    }

    #[test]
    fn a_file_is_found_beside_its_model_and_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let model = dir.path().join("bottle.v2.onnx");
        assert_eq!(beside(&model, &DIGEST, &labels()), None);
        let file = dir.path().join("bottle.v2.baseline.json");
        baseline().write(&file).unwrap();
        assert_eq!(
            beside(&model, &DIGEST, &labels()).as_deref(),
            Some(&baseline())
        );
        assert_eq!(
            (baseline().share("open"), baseline().share("closed")),
            (1.0, 0.0)
        );
        assert_eq!(beside(&model, &[0; 32], &labels()), None);
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        assert_eq!(
            Baseline::read(&file, &DIGEST, &labels()).unwrap_err(),
            "it is no file"
        );
    }

    #[test]
    fn what_is_no_baseline_of_the_model_is_refused_with_its_reason() {
        let upper = changed(|b| b.model_sha256.make_ascii_uppercase());
        assert!(upper.unwrap().is_some());
        let cases = [
            (read(""), "EOF while parsing"),
            (read("[]"), "invalid length 0"),
            (read("{}"), "missing field"),
            (read(&" ".repeat(MAX_BYTES as usize + 1)), "more than 1 MiB"),
            (
                changed(|b| b.model_sha256 = "ab".into()),
                "made with another model",
            ),
            (changed(|b| b.pictures = 0), "no pictures"),
            (
                changed(|b| {
                    b.classes.insert("ajar".into(), 0.0);
                }),
                "\"ajar\" is no class",
            ),
            (
                changed(|b| {
                    b.classes.insert("closed".into(), 0.01);
                }),
                "shares in `classes`",
            ),
            (
                changed(|b| (b.confidence[0], b.confidence[1]) = (-0.5, 0.5)),
                "shares in `confidence`",
            ),
            (
                changed(|b| b.confidence = [0.0; BINS]),
                "shares in `confidence`",
            ),
        ];
        for (outcome, reason) in cases {
            let told = outcome.unwrap_err();
            assert!(told.contains(reason), "{told:?} does not say {reason:?}");
        }
    }

    #[test]
    fn confidences_are_in_the_bins_of_the_reviews() {
        for (confidence, expected) in [
            (0.0, 0),
            (0.09, 0),
            (0.5, 5),
            (0.699_999, 6),
            (0.95, 9),
            (1.0, 9),
        ] {
            assert_eq!(bin(confidence), expected, "{confidence}");
        }
    }
}
