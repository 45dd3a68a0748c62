//! What a model says of one picture.

use std::sync::Arc;

use crate::image::PictureInfo;
use crate::model::ModelDigest;

/// SHA-256 of a picture's bytes as they were sent: its name in records and storage.
pub type PictureDigest = [u8; 32];

/// BLAKE3 of a picture's bytes: by it results are looked up. It costs a quarter of a SHA-256, which is then
/// computed only for pictures that are new.
pub type Fingerprint = [u8; 32];

/// What a result is known by: the same picture under the same model gives the same result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ResultKey {
    /// SHA-256 of the model file.
    pub model: ModelDigest,
    /// BLAKE3 of the picture.
    pub picture: Fingerprint,
}

/// What is remembered of a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// The picture.
    pub digest: PictureDigest,
    /// What it shows.
    pub classification: Classification,
}

/// The result of one inference.
#[derive(Clone, Debug, PartialEq)]
pub struct Classification {
    /// The picture it is about.
    pub picture: PictureInfo,
    /// Every class with its probability, most likely first.
    pub ranking: Ranking,
}

/// Every class with its probability, most likely first.
pub type Ranking = Arc<[Score]>;

/// A class and its probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Class index.
    pub index: u32,
    /// Probability, 0 to 1.
    pub confidence: f32,
}

impl Classification {
    /// Ranks `probabilities` of a picture's classes.
    pub fn new(picture: PictureInfo, probabilities: &[f32]) -> Self {
        Self {
            picture,
            ranking: rank(probabilities),
        }
    }
}

/// Ranks `probabilities`; equal ones stay in class order.
pub fn rank(probabilities: &[f32]) -> Ranking {
    let scores = (0..)
        .zip(probabilities)
        .map(|(index, &confidence)| Score { index, confidence });
    let mut ranking: Vec<Score> = scores.collect();
    ranking.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    ranking.into()
}
