//! Whether the answers are still distributed as they were when the model was evaluated.
//!
//! Two distributions of the latest answers, over the classes and over bins of confidence, are each compared with the
//! model's baseline by the population stability index: the sum of (p - q) ln(p / q) over the parts, where p is the
//! share of a part now and q that in the baseline. By the usual rule, below 0.1 it is the same population, above
//! [`SIGNIFICANT`] it is another one.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, interval};
use utoipa::ToSchema;

use crate::model::{BINS, Baseline, Model, bin};
use crate::records::Record;

/// Answers that are compared, the latest ones: enough that chance is small beside what is looked for, and few enough
/// that a change shows soon.
const ANSWERS: usize = 2_000;

/// Answers without which nothing is said. Chance alone gives about (parts - 1) / answers and as much for the pictures
/// of the baseline: 0.04 with these and [`CLASSES`], well below what means something.
const FEWEST: usize = 500;

/// Classes that are told apart, the most frequent ones of the baseline; the others are one part. More would need more
/// answers.
const CLASSES: usize = 20;

/// A share counts as at least this, half an answer of the fewest; so a part that is empty gives a number, and one that
/// is empty on both sides gives nothing.
const SMALLEST: f64 = 0.5 / FEWEST as f64;

/// Index above which the answers are those of another population.
const SIGNIFICANT: f64 = 0.2;

/// How often the index is looked at, and how often it is told while it is above [`SIGNIFICANT`].
const LOOK: Duration = Duration::from_secs(5);
const TELL: Duration = Duration::from_secs(60);

/// How far the latest answers are from the baseline: population stability indices, 0 or more.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct Psi {
    /// Of the shares of the classes.
    #[schema(example = 0.03)]
    pub classes: f64,
    /// Of the shares of ten bins of confidence.
    pub confidence: f64,
    /// How many answers were compared.
    pub answers: u64,
}

/// The latest answers of a model, and its baseline.
pub(super) struct Drift {
    /// The part that a class belongs to, by its index.
    part_of: Vec<u8>,
    classes: Vec<f64>,
    confidence: [f64; BINS],
    latest: Mutex<Latest>,
}

/// A ring of answers, and how many of them are in each part and bin.
struct Latest {
    ring: Vec<Answer>,
    oldest: usize,
    classes: [u32; CLASSES + 1],
    confidence: [u32; BINS],
}

#[derive(Clone, Copy)]
struct Answer {
    part: u8,
    bin: u8,
}

impl Drift {
    /// Nothing if the model has no baseline.
    pub(super) fn new(model: &Model) -> Option<Self> {
        Some(Self::against(&model.labels, model.baseline.as_deref()?))
    }

    fn against(labels: &[String], baseline: &Baseline) -> Self {
        let mut seen = HashSet::new();
        let mut classes: Vec<&String> = labels.iter().filter(|label| seen.insert(*label)).collect();
        classes.sort_by(|a, b| baseline.share(b).total_cmp(&baseline.share(a)));
        let (told_apart, others) = classes.split_at(classes.len().min(CLASSES));
        let share = |class: &&String| baseline.share(class);
        let mut shares: Vec<f64> = told_apart.iter().map(share).collect();
        if !others.is_empty() {
            shares.push(others.iter().map(share).sum());
        }
        let part_of = labels.iter().map(|label| {
            let part = told_apart.iter().position(|class| *class == label);
            part.unwrap_or(CLASSES) as u8
        });
        Self {
            part_of: part_of.collect(),
            classes: shares,
            confidence: baseline.confidence,
            latest: Mutex::new(Latest {
                ring: Vec::with_capacity(ANSWERS),
                oldest: 0,
                classes: [0; CLASSES + 1],
                confidence: [0; BINS],
            }),
        }
    }

    /// Counts an answer, but not one for a picture that had just been answered: the pictures of the baseline differ, and
    /// one that is sent again and again, by a retry or a probe, says nothing of the others.
    pub(super) fn count(&self, record: &Record) {
        if let Some(best) = record.top.first().filter(|_| !record.cached) {
            self.add(best.index, best.confidence);
        }
    }

    fn add(&self, class: u32, confidence: f32) {
        let Some(&part) = self.part_of.get(class as usize) else {
            return;
        };
        let bin = bin(confidence) as u8;
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        latest.add(Answer { part, bin });
    }

    /// Nothing before there are enough answers.
    pub(super) fn psi(&self) -> Option<Psi> {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let answers = latest.ring.len();
        (answers >= FEWEST).then(|| Psi {
            classes: psi(&latest.classes, &self.classes, answers),
            confidence: psi(&latest.confidence, &self.confidence, answers),
            answers: answers as u64,
        })
    }
}

impl Latest {
    fn add(&mut self, answer: Answer) {
        self.classes[usize::from(answer.part)] += 1;
        self.confidence[usize::from(answer.bin)] += 1;
        if self.ring.len() < ANSWERS {
            self.ring.push(answer);
            return;
        }
        let gone = std::mem::replace(&mut self.ring[self.oldest], answer);
        self.classes[usize::from(gone.part)] -= 1;
        self.confidence[usize::from(gone.bin)] -= 1;
        self.oldest = (self.oldest + 1) % ANSWERS;
    }
}

fn psi(counts: &[u32], baseline: &[f64], answers: usize) -> f64 {
    let part = |(&count, &before): (&u32, &f64)| {
        let now = (f64::from(count) / answers as f64).max(SMALLEST);
        let before = before.max(SMALLEST);
        (now - before) * (now / before).ln()
    };
    counts.iter().zip(baseline).map(part).sum()
}

/// Says in the log, once a minute, that the answers drift for as long as they do. Alerts go by it where nobody collects
/// metrics.
pub async fn tell_drift(drift: impl Fn() -> Option<Psi>) {
    let mut clock = interval(LOOK);
    let mut told: Option<Instant> = None;
    loop {
        clock.tick().await;
        let Some(psi) = drift() else { continue };
        let largest = psi.classes.max(psi.confidence);
        if largest > SIGNIFICANT && told.is_none_or(|told| told.elapsed() >= TELL) {
            told = Some(Instant::now());
            let rounded = |psi: f64| (psi * 1e3).round() / 1e3;
            tracing::warn!(
                psi = rounded(largest),
                classes = rounded(psi.classes),
                confidence = rounded(psi.confidence),
                answers = psi.answers,
                "answers drift from the baseline of the model"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A model whose classes 0, 1, … had these shares, with all confidences in one bin.
    fn drift(shares: &[f64], bin: usize) -> Drift {
        let labels: Vec<String> = (0..shares.len()).map(|n| format!("class {n}")).collect();
        let mut confidence = [0.0; BINS];
        confidence[bin] = 1.0;
        let baseline = Baseline {
            model_sha256: String::new(),
            pictures: 1_000,
            classes: labels.iter().cloned().zip(shares.iter().copied()).collect(),
            confidence,
        };
        Drift::against(&labels, &baseline)
    }

    fn add(drift: &Drift, class: u32, confidence: f32, times: usize) {
        (0..times).for_each(|_| drift.add(class, confidence));
    }

    #[track_caller]
    fn assert_near(value: f64, expected: f64) {
        assert!((value - expected).abs() < 1e-4, "{value} is not {expected}");
    }

    #[test]
    fn the_index_is_that_of_the_formula() {
        let even = drift(&[0.5, 0.5], 9);
        add(&even, 0, 0.95, 450);
        add(&even, 1, 0.95, 49);
        assert_eq!(even.psi(), None, "one is missing");
        add(&even, 1, 0.95, 1);
        let psi = even.psi().unwrap();
        // 0.4 ln(0.9 / 0.5) - 0.4 ln(0.1 / 0.5)
        assert_near(psi.classes, 0.878_89);
        assert_eq!((psi.confidence, psi.answers), (0.0, 500));

        let three = drift(&[0.2, 0.3, 0.5], 9);
        add(&three, 0, 0.95, 300);
        add(&three, 1, 0.95, 350);
        add(&three, 2, 0.55, 350);
        let psi = three.psi().unwrap();
        // 0.1 ln(0.3 / 0.2) + 0.05 ln(0.35 / 0.3) - 0.15 ln(0.35 / 0.5)
        assert_near(psi.classes, 0.101_755);
        // -0.35 ln(0.65) + 0.349 ln(0.35 / 0.001)
        assert_near(psi.confidence, 2.195_193);
    }

    #[test]
    fn a_class_that_is_new_or_gone_gives_a_number() {
        let one = drift(&[1.0, 0.0], 5);
        add(&one, 1, 0.55, 500);
        // Twice 0.999 ln(1 / 0.001)
        assert_near(one.psi().unwrap().classes, 13.801_694);
        let never = drift(&[0.5, 0.5, 0.0], 5);
        add(&never, 0, 0.55, 250);
        add(&never, 1, 0.55, 250);
        assert_eq!(never.psi().unwrap().classes, 0.0);
    }

    #[test]
    fn only_the_latest_answers_count() {
        let even = drift(&[0.5, 0.5], 9);
        add(&even, 0, 0.15, ANSWERS + 7);
        let psi = even.psi().unwrap();
        assert_eq!(psi.answers, ANSWERS as u64);
        assert!(psi.classes > 1.0 && psi.confidence > 1.0, "{psi:?}");
        for _ in 0..ANSWERS / 2 {
            even.add(0, 0.95);
            even.add(1, 0.95);
        }
        let expected = Psi {
            classes: 0.0,
            confidence: 0.0,
            answers: ANSWERS as u64,
        };
        assert_eq!(even.psi(), Some(expected));
    }

    #[test]
    fn of_many_classes_the_most_frequent_are_told_apart() {
        // The last 20 of 1,000 had 4 % each, the 980 others the rest.
        let mut shares = [0.2 / 980.0; 1_000];
        shares[980..].fill(0.04);
        let many = drift(&shares, 9);
        (980..1_000).for_each(|class| add(&many, class, 0.95, 40));
        (0..200).for_each(|class| add(&many, class, 0.95, 1));
        assert_near(many.psi().unwrap().classes, 0.0);
        add(&many, 999, 0.95, 200);
        add(&many, 5, 0.95, 200);
        // 19 at 40 of 1,400; one at 240; the others together at 400.
        assert_near(many.psi().unwrap().classes, 0.294_901);
        add(&many, 1_000, 0.95, 1);
        assert_eq!(many.psi().unwrap().answers, 1_400, "no such class");
    }

    #[test]
    fn classes_of_one_name_are_one() {
        let labels = ["a", "b", "a"].map(str::to_owned);
        let baseline = Baseline {
            model_sha256: String::new(),
            pictures: 10,
            classes: [("a".to_owned(), 0.6), ("b".to_owned(), 0.4)].into(),
            confidence: [0.1; BINS],
        };
        let drift = Drift::against(&labels, &baseline);
        (0..3).for_each(|class| add(&drift, class, 0.5, if class == 1 { 200 } else { 150 }));
        assert_near(drift.psi().unwrap().classes, 0.0);
    }

    #[test]
    fn counting_costs_an_answer_next_to_nothing() {
        const TIMES: u32 = 2_000_000;
        let even = drift(&[0.5, 0.5], 9);
        let start = std::time::Instant::now();
        for n in 0..TIMES {
            even.add(std::hint::black_box(n % 2), 0.95);
        }
        let each = start.elapsed() / TIMES;
        println!("{each:?} an answer");
        assert!(each < Duration::from_micros(1), "{each:?}");
    }
}
