//! Figures made of reviews.

use std::collections::HashMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::records::{Selection, Tally, UNSURE};

/// Tenths of the range of confidences.
const BINS: usize = 10;

/// Classes in the confusion matrix, the most frequent ones; the rest is one more.
const CLASSES: usize = 100;

/// Name of the rest.
const OTHER: &str = "other";

/// What reviews say of the answers. The latest review of each request counts; where it is `unsure`, it is in no figure
/// but the numbers of reviewed ones.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Summary {
    /// Reviewed requests.
    #[schema(example = 120)]
    pub reviewed: u64,
    /// How many of them the reviewers could not tell.
    #[schema(example = 3)]
    pub unsure: u64,
    /// Part of the others where the model was right; null if there are none.
    #[schema(example = 0.94)]
    pub accuracy: Option<f64>,
    /// Those that were selected by chance: their accuracy is that of all answers, while doubtful ones are wrong more
    /// often.
    pub random: Share,
    /// What was said to be what.
    pub confusion: Confusion,
    /// How often the model is right when it is so sure.
    pub calibration: Vec<Bin>,
}

/// Some of the reviewed requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Share {
    /// How many there are.
    #[schema(example = 120)]
    pub reviewed: u64,
    /// How many of them the reviewers could not tell.
    #[schema(example = 3)]
    pub unsure: u64,
    /// Part of the others where the model was right; null if there are none.
    #[schema(example = 0.94)]
    pub accuracy: Option<f64>,
}

/// How often each class was predicted, and what it really was.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Confusion {
    /// The classes that occur; beyond 100 of them, the rare ones are `other`.
    #[schema(example = json!(["aberta", "fechada"]))]
    pub labels: Vec<String>,
    /// A row for each predicted class, with a column for each class in the review.
    #[schema(example = json!([[61, 3], [4, 49]]))]
    pub counts: Vec<Vec<u64>>,
}

/// Requests with about the same confidence.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Bin {
    /// Lowest confidence.
    #[schema(example = 0.9)]
    pub from: f64,
    /// Where the next bin begins.
    #[schema(example = 1.0)]
    pub to: f64,
    /// How many there are.
    #[schema(example = 87)]
    pub count: u64,
    /// Their mean confidence; null if there are none.
    #[schema(example = 0.97)]
    pub confidence: Option<f64>,
    /// Part of them where the model was right; null if there are none.
    #[schema(example = 0.95)]
    pub accuracy: Option<f64>,
}

impl Summary {
    /// The figures of all these.
    pub(super) fn of(tallies: &[Tally]) -> Self {
        let all = Share::of(tallies.iter());
        Self {
            reviewed: all.reviewed,
            unsure: all.unsure,
            accuracy: all.accuracy,
            random: Share::of(tallies.iter().filter(|t| t.selection == Selection::Random)),
            confusion: Confusion::of(tallies),
            calibration: (0..BINS).map(|bin| Bin::of(bin, tallies)).collect(),
        }
    }
}

fn is_sure(tally: &&Tally) -> bool {
    tally.label != UNSURE
}

fn right<'a>(tallies: impl Iterator<Item = &'a Tally>) -> u64 {
    tallies
        .filter(|tally| tally.label == tally.prediction)
        .map(|tally| tally.count)
        .sum()
}

fn ratio(part: f64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part / whole as f64)
}

impl Share {
    fn of<'a>(tallies: impl Iterator<Item = &'a Tally> + Clone) -> Self {
        let reviewed = tallies.clone().map(|tally| tally.count).sum();
        let sure: u64 = tallies
            .clone()
            .filter(is_sure)
            .map(|tally| tally.count)
            .sum();
        Self {
            reviewed,
            unsure: reviewed - sure,
            accuracy: ratio(right(tallies.filter(is_sure)) as f64, sure),
        }
    }
}

impl Bin {
    fn of(bin: usize, tallies: &[Tally]) -> Self {
        let inside = tallies.iter().filter(is_sure).filter(|t| t.bin == bin);
        let count = inside.clone().map(|tally| tally.count).sum();
        let confidence = inside.clone().map(|tally| tally.confidence).sum();
        Self {
            from: bin as f64 / BINS as f64,
            to: (bin + 1) as f64 / BINS as f64,
            count,
            confidence: ratio(confidence, count),
            accuracy: ratio(right(inside) as f64, count),
        }
    }
}

impl Confusion {
    fn of(tallies: &[Tally]) -> Self {
        let mut seen: HashMap<&str, u64> = HashMap::new();
        for tally in tallies.iter().filter(is_sure) {
            *seen.entry(&tally.prediction).or_default() += tally.count;
            *seen.entry(&tally.label).or_default() += tally.count;
        }
        let mut labels: Vec<&str> = seen.keys().copied().collect();
        labels.sort_by_key(|label| (std::cmp::Reverse(seen[label]), *label));
        let rest = labels.len() > CLASSES;
        labels.truncate(CLASSES);
        labels.sort_unstable();
        let places: HashMap<&str, usize> = labels.iter().copied().zip(0..).collect();
        let mut labels: Vec<String> = labels.into_iter().map(str::to_owned).collect();
        labels.extend(rest.then(|| OTHER.to_owned()));
        let last = labels.len().saturating_sub(1);
        let place = |label: &str| places.get(label).copied().unwrap_or(last);
        let mut counts = vec![vec![0; labels.len()]; labels.len()];
        for tally in tallies.iter().filter(is_sure) {
            counts[place(&tally.prediction)][place(&tally.label)] += tally.count;
        }
        Self { labels, counts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(prediction: &str, label: &str, selection: Selection, bin: usize, count: u64) -> Tally {
        Tally {
            prediction: prediction.into(),
            label: label.into(),
            selection,
            bin,
            count,
            confidence: count as f64 * (bin as f64 / 10.0 + 0.05),
        }
    }

    #[test]
    fn figures_are_counted_as_they_are_defined() {
        use Selection::{Chosen, Doubtful, Random};
        let summary = Summary::of(&[
            tally("a", "a", Random, 9, 6),
            tally("a", "b", Doubtful, 5, 3),
            tally("b", "b", Chosen, 5, 1),
            tally("b", "a", Random, 9, 2),
            tally("b", UNSURE, Random, 5, 4),
        ]);
        let share = |reviewed, unsure, accuracy| Share {
            reviewed,
            unsure,
            accuracy,
        };
        assert_eq!((summary.reviewed, summary.unsure), (16, 4));
        assert_eq!(summary.accuracy, Some(7.0 / 12.0));
        assert_eq!(summary.random, share(12, 4, Some(0.75)));
        assert_eq!(summary.confusion.labels, ["a", "b"]);
        assert_eq!(summary.confusion.counts, [[6, 3], [2, 1]]);
        assert_eq!(summary.calibration.len(), 10);
        let bin = &summary.calibration[5];
        assert_eq!((bin.from, bin.to, bin.count), (0.5, 0.6, 4));
        assert_eq!(bin.accuracy, Some(0.25));
        assert!((bin.confidence.unwrap() - 0.55).abs() < 1e-9);
        assert_eq!(summary.calibration[9].accuracy, Some(0.75));
        assert_eq!(summary.calibration[0].accuracy, None);
        let nothing = Summary::of(&[]);
        assert_eq!(nothing.random, share(0, 0, None));
        assert_eq!((nothing.reviewed, nothing.accuracy), (0, None));
        assert!(nothing.confusion.counts.is_empty());
    }

    #[test]
    fn rare_classes_are_one() {
        let class = |n: usize| format!("c{n:03}");
        let tallies: Vec<Tally> = (0..150)
            .map(|n| tally(&class(n), &class(n), Selection::Chosen, 9, 150 - n as u64))
            .collect();
        let confusion = Summary::of(&tallies).confusion;
        assert_eq!(confusion.labels.len(), 101);
        assert_eq!(confusion.labels[100], OTHER);
        assert_eq!(confusion.counts[0][0], 150);
        assert_eq!(confusion.counts[100][100], (1..=50).sum::<u64>());
    }
}
