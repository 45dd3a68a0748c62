//! What many answers say of a model.

use std::fmt;

/// Bins of the calibration error.
const BINS: usize = 15;

/// A confusion matrix of more classes than this is not shown.
const MAX_MATRIX: usize = 12;

/// Figures over pictures whose class is known, or that two models have seen.
#[derive(Default)]
pub struct Report {
    labels: Vec<String>,
    /// `confusion[truth][answer]`.
    confusion: Vec<Vec<u64>>,
    bins: [Bin; BINS],
    other: Option<Other>,
}

#[derive(Clone, Copy, Default)]
struct Bin {
    count: u64,
    right: u64,
    confidence: f64,
}

struct Other {
    name: String,
    compared: u64,
    agreed: u64,
    labelled: u64,
    right: u64,
    largest: f32,
}

/// The answers to one picture.
pub struct Seen<'a> {
    /// Class it shows, if known.
    pub truth: Option<usize>,
    /// Probability of each class.
    pub probabilities: &'a [f32],
    /// The other model's.
    pub other: Option<&'a [f32]>,
}

impl Report {
    /// A report on a model with these classes, perhaps compared with another of that name.
    pub fn new(labels: &[String], other: Option<String>) -> Self {
        Self {
            labels: labels.to_vec(),
            confusion: vec![vec![0; labels.len()]; labels.len()],
            bins: [Bin::default(); BINS],
            other: other.map(|name| Other {
                name,
                compared: 0,
                agreed: 0,
                labelled: 0,
                right: 0,
                largest: 0.0,
            }),
        }
    }

    /// Counts one picture.
    pub fn add(&mut self, seen: &Seen<'_>) {
        let (answer, confidence) = best(seen.probabilities);
        if let Some(truth) = seen.truth {
            self.confusion[truth][answer] += 1;
            let bin = &mut self.bins[((confidence * BINS as f32) as usize).min(BINS - 1)];
            bin.count += 1;
            bin.right += u64::from(answer == truth);
            bin.confidence += f64::from(confidence);
        }
        if let (Some(other), Some(probabilities)) = (&mut self.other, seen.other) {
            let (its_answer, _) = best(probabilities);
            other.compared += 1;
            other.agreed += u64::from(its_answer == answer);
            if let Some(truth) = seen.truth {
                other.labelled += 1;
                other.right += u64::from(its_answer == truth);
            }
            let differences = seen.probabilities.iter().zip(probabilities);
            other.largest = differences
                .map(|(a, b)| (a - b).abs())
                .fold(other.largest, f32::max);
        }
    }

    fn total(&self) -> u64 {
        self.bins.iter().map(|bin| bin.count).sum()
    }

    /// Mean distance between confidence and accuracy over equally wide bins, weighted by their pictures.
    fn calibration_error(&self) -> f64 {
        let gap = |bin: &Bin| (bin.confidence - bin.right as f64).abs();
        self.bins.iter().map(gap).sum::<f64>() / self.total() as f64
    }
}

/// The most likely class; the first of equals, as everywhere.
fn best(probabilities: &[f32]) -> (usize, f32) {
    let higher = |best: (usize, f32), next: (usize, f32)| if next.1 > best.1 { next } else { best };
    let numbered = probabilities.iter().copied().enumerate();
    numbered.fold((0, f32::NEG_INFINITY), higher)
}

/// `part` of `whole` as a percentage, with Wilson's 95 % interval.
fn share(part: u64, whole: u64) -> String {
    let (n, p) = (whole as f64, part as f64 / whole as f64);
    let z = 1.96_f64;
    let middle = (p + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let half = z / (1.0 + z * z / n) * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    format!(
        "{:.2} % ({part} of {whole}; 95 % interval {:.1} to {:.1})",
        100.0 * p,
        100.0 * (middle - half),
        100.0 * (middle + half)
    )
}

fn percent(part: u64, whole: u64) -> String {
    match whole {
        0 => "-".into(),
        _ => format!("{:.2} %", 100.0 * part as f64 / whole as f64),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.total() > 0 {
            self.accuracy(f)?;
        }
        let Some(other) = self.other.as_ref().filter(|other| other.compared > 0) else {
            return Ok(());
        };
        writeln!(
            f,
            "agreement     {} with {}; probabilities differ by up to {:.2e}",
            share(other.agreed, other.compared),
            other.name,
            other.largest
        )?;
        if other.labelled > 0 {
            writeln!(
                f,
                "              accuracy of {}: {}",
                other.name,
                share(other.right, other.labelled)
            )?;
        }
        Ok(())
    }
}

impl Report {
    fn accuracy(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let right = self.bins.iter().map(|bin| bin.right).sum();
        writeln!(f, "accuracy      {}", share(right, self.total()))?;
        writeln!(
            f,
            "calibration   {:.4} expected calibration error ({BINS} bins)",
            self.calibration_error()
        )?;
        let width = self.labels.iter().map(|label| label.chars().count()).max();
        let width = width.unwrap_or(0).max(5);
        writeln!(f, "{:<width$}  pictures     recall  precision", "class")?;
        for (class, label) in self.labels.iter().enumerate() {
            let shown: u64 = self.confusion[class].iter().sum();
            let told: u64 = self.confusion.iter().map(|row| row[class]).sum();
            let right = self.confusion[class][class];
            let (recall, precision) = (percent(right, shown), percent(right, told));
            writeln!(
                f,
                "{label:<width$}  {shown:>8}  {recall:>9}  {precision:>9}"
            )?;
        }
        if self.labels.len() <= MAX_MATRIX {
            self.matrix(f, width)?;
        }
        Ok(())
    }

    fn matrix(&self, f: &mut fmt::Formatter<'_>, width: usize) -> fmt::Result {
        let cell = width.max(6);
        write!(f, "{:<width$}", "")?;
        for label in &self.labels {
            write!(f, "  {label:>cell$}")?;
        }
        writeln!(f, "  <- answered")?;
        for (label, row) in self.labels.iter().zip(&self.confusion) {
            write!(f, "{label:<width$}")?;
            for count in row {
                write!(f, "  {count:>cell$}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_a_small_sample() {
        let labels = ["a".to_owned(), "b".to_owned()];
        let mut report = Report::new(&labels, Some("other".into()));
        let cases: [(usize, [f32; 2], [f32; 2]); 4] = [
            (0, [0.95, 0.05], [0.9, 0.1]),
            (0, [0.95, 0.05], [0.45, 0.55]),
            (1, [0.95, 0.05], [0.3, 0.7]),
            (1, [0.25, 0.75], [0.25, 0.75]),
        ];
        for (truth, probabilities, other) in cases {
            report.add(&Seen {
                truth: Some(truth),
                probabilities: &probabilities,
                other: Some(&other),
            });
        }
        // Three at 0.95 of which two are right, one at 0.75 that is right.
        let error = (3.0 * 0.95 - 2.0) / 4.0 + 0.25 / 4.0;
        assert!((report.calibration_error() - error).abs() < 1e-6);
        let text = report.to_string();
        for part in [
            "accuracy      75.00 % (3 of 4; 95 % interval 30.1 to 95.4)",
            "50.00 % (2 of 4",
            "differ by up to 6.50e-1",
            "accuracy of other: 75.00 %",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
        assert!(Report::new(&labels, None).to_string().is_empty());
    }
}
