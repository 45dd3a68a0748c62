//! Reads Prometheus' text format, for those who ask this process' own metrics from within it.

use std::borrow::Cow;
use std::collections::HashMap;

/// What all series say at one moment.
#[derive(Debug)]
pub struct Reading<'a>(HashMap<&'a str, Vec<(Labels<'a>, f64)>>);

/// The labels of a series, as they are written.
#[derive(Clone, Copy, Debug)]
pub struct Labels<'a>(&'a str);

/// Observations by the bucket they fell in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// Upper bounds of the buckets, rising.
    pub bounds: Vec<f64>,
    /// Observations in each bucket, and last those above all bounds.
    pub counts: Vec<u64>,
}

impl<'a> Reading<'a> {
    /// Reads what [`super::render`] wrote.
    pub fn of(text: &'a str) -> Self {
        let mut series: HashMap<_, Vec<_>> = HashMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((named, value)) = line.rsplit_once(' ') else {
                continue;
            };
            let Ok(value) = value.parse() else {
                continue;
            };
            let (name, labels) = named.split_once('{').unwrap_or((named, ""));
            let labels = Labels(labels.strip_suffix('}').unwrap_or(labels));
            series.entry(name).or_default().push((labels, value));
        }
        Self(series)
    }

    /// The series of a metric.
    pub fn series(&self, name: &str) -> impl Iterator<Item = (Labels<'a>, f64)> {
        self.0.get(name).into_iter().flatten().copied()
    }

    /// Sum of a metric's series whose labels pass; 0 if there are none.
    pub fn sum(&self, name: &str, pass: impl Fn(Labels<'_>) -> bool) -> f64 {
        let passing = self.series(name).filter(|(labels, _)| pass(*labels));
        passing.map(|(_, value)| value).sum()
    }

    /// The series of a histogram whose labels pass, added up; empty if there are none.
    pub fn histogram(&self, name: &str, pass: impl Fn(Labels<'_>) -> bool) -> Histogram {
        let mut cumulative: Vec<(f64, f64)> = Vec::new();
        for (labels, value) in self.series(&format!("{name}_bucket")) {
            let bound = labels.get("le").and_then(|le| le.parse().ok());
            let Some(bound) = bound.filter(|_| pass(labels)) else {
                continue;
            };
            match cumulative.iter_mut().find(|(known, _)| *known == bound) {
                Some((_, sum)) => *sum += value,
                None => cumulative.push((bound, value)),
            }
        }
        cumulative.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let mut below = 0.0;
        let counts = cumulative.iter().map(|(_, sum)| {
            let count = (sum - below).max(0.0) as u64;
            below = *sum;
            count
        });
        Histogram {
            counts: counts.collect(),
            bounds: cumulative
                .iter()
                .map(|(bound, _)| *bound)
                .filter(|bound| bound.is_finite())
                .collect(),
        }
    }
}

impl<'a> Labels<'a> {
    /// The value of a label, if it is there.
    pub fn get(&self, name: &str) -> Option<Cow<'a, str>> {
        let mut rest = self.0;
        while let Some((key, value)) = rest.split_once("=\"") {
            let end = closing_quote(value)?;
            if key.trim_start_matches(',') == name {
                return Some(unescaped(&value[..end]));
            }
            rest = &value[end + 1..];
        }
        None
    }
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })
}

fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, character == '\\') {
            (_, true) => match characters.next() {
                Some('n') => plain.push('\n'),
                Some(other) => plain.push(other),
                None => plain.push('\\'),
            },
            (other, false) => plain.push(other),
        }
    }
    Cow::Owned(plain)
}

impl Histogram {
    /// Observations in all.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// What was observed since `before`, which is an earlier reading of the same.
    pub fn since(&self, before: &Self) -> Self {
        let known = before.counts.iter().copied().chain(std::iter::repeat(0));
        let grown = self.counts.iter().zip(known);
        Self {
            bounds: self.bounds.clone(),
            counts: grown.map(|(now, then)| now.saturating_sub(then)).collect(),
        }
    }

    /// The value below which the share `q` of the observations lies, interpolated within its bucket as Prometheus'
    /// `histogram_quantile` does; nothing without observations.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let total = self.total();
        if total == 0 {
            return None;
        }
        let rank = q * total as f64;
        let (mut below, mut lower) = (0.0, 0.0);
        for (&bound, &count) in self.bounds.iter().zip(&self.counts) {
            let count = count as f64;
            if count > 0.0 && below + count >= rank {
                return Some(lower + (bound - lower) * (rank - below) / count);
            }
            below += count;
            lower = bound;
        }
        // Above the last bound nothing is known but that.
        self.bounds.last().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# HELP a_total Of \"things\", with {braces}
a_total{class=\"with \\\"quotes\\\", \\\\ and\\nmore } x\",route=\"/predict\"} 3
a_total{class=\"b\",route=\"/other\"} 4.5e1

s_bucket{route=\"x\",le=\"1\"} 2
s_bucket{route=\"x\",le=\"4\"} 2
s_bucket{route=\"x\",le=\"+Inf\"} 7
s_bucket{route=\"y\",le=\"1\"} 1
s_bucket{route=\"y\",le=\"4\"} 5
s_bucket{route=\"y\",le=\"+Inf\"} 5
not_one
plain 8
";

    #[test]
    fn series_have_their_labels_and_values() {
        let reading = Reading::of(TEXT);
        let all: Vec<_> = reading
            .series("a_total")
            .map(|(labels, value)| (labels.get("class").unwrap(), value))
            .collect();
        assert_eq!(all[0], ("with \"quotes\", \\ and\nmore } x".into(), 3.0));
        assert_eq!(all[1], ("b".into(), 45.0));
        let sum = |route: &str| {
            reading.sum("a_total", |labels| {
                labels.get("route").is_some_and(|is| is == route)
            })
        };
        assert_eq!((sum("/predict"), sum("/other"), sum("")), (3.0, 45.0, 0.0));
        assert_eq!(reading.sum("plain", |_| true), 8.0);
        assert_eq!(reading.sum("not_one", |_| true), 0.0);
    }

    #[test]
    fn histograms_add_up_and_grow() {
        let reading = Reading::of(TEXT);
        let all = reading.histogram("s", |_| true);
        assert_eq!(
            (all.bounds.clone(), all.counts.clone()),
            (vec![1.0, 4.0], vec![3, 4, 5])
        );
        let one = reading.histogram("s", |labels| {
            labels.get("route").is_some_and(|is| is == "y")
        });
        assert_eq!(one.counts, [1, 4, 0]);
        assert_eq!(all.since(&one).counts, [2, 0, 5]);
        assert_eq!(one.since(&Histogram::default()), one);
    }

    #[test]
    fn quantiles_are_prometheus_own() {
        for (q, counts, expected) in [
            (0.5, [0, 10, 0, 0], Some(1.5)),
            (0.5, [10, 10, 0, 0], Some(1.0)),
            (0.25, [10, 10, 0, 0], Some(0.5)),
            (0.99, [0, 0, 100, 0], Some(3.98)),
            (1.0, [5, 5, 5, 0], Some(4.0)),
            (0.9, [1, 0, 0, 9], Some(4.0)),
            (0.5, [0, 0, 0, 0], None),
        ] {
            let histogram = Histogram {
                bounds: vec![1.0, 2.0, 4.0],
                counts: counts.to_vec(),
            };
            assert_eq!(histogram.quantile(q), expected, "{q} of {counts:?}");
        }
    }
}
