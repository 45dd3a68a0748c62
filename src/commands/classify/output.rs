//! One line a picture.

use std::io::{self, Write};
use std::path::Path;

use clap::ValueEnum;
use serde::Serialize;

/// Form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// Comma separated, with a header line
    Csv,
    /// One JSON object a line
    Jsonl,
    /// Only the summary
    Summary,
}

/// What is told of one picture. A picture that failed has an `error` and no `prediction`.
#[derive(Serialize)]
pub struct Row<'a> {
    pub path: &'a Path,
    pub prediction: Option<&'a str>,
    pub confidence: Option<f32>,
    /// The folder's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<&'a str>,
    pub error: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub top: Vec<Class<'a>>,
}

/// A class and its probability.
#[derive(Serialize)]
pub struct Class<'a> {
    pub class: &'a str,
    pub confidence: f32,
}

/// Writes rows in one format.
pub enum Writer<W: Write> {
    Table { out: W, width: usize },
    Csv(Box<csv::Writer<W>>),
    Jsonl(W),
    Nothing,
}

impl<W: Write> Writer<W> {
    /// A writer to `out`; `labels` are the classes to leave room for.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn new(format: Format, out: W, labels: &[String]) -> io::Result<Self> {
        let longest = labels.iter().map(|label| label.chars().count()).max();
        Ok(match format {
            Format::Table => Self::Table {
                out,
                width: longest.unwrap_or(0).clamp(5, 32),
            },
            Format::Csv => {
                let mut csv = csv::Writer::from_writer(out);
                csv.write_record(["path", "prediction", "confidence", "label", "error"])?;
                Self::Csv(Box::new(csv))
            }
            Format::Jsonl => Self::Jsonl(out),
            Format::Summary => Self::Nothing,
        })
    }

    /// Writes one row.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&mut self, row: &Row<'_>) -> io::Result<()> {
        match self {
            Self::Table { out, width } => {
                let prediction = row.prediction.unwrap_or("-");
                match (row.confidence, row.error) {
                    (Some(confidence), _) => write!(out, "{prediction:<width$}  {confidence:.4}")?,
                    _ => write!(out, "{prediction:<width$}       -")?,
                }
                if let Some(label) = row.label {
                    let mark = if row.prediction == Some(label) {
                        ' '
                    } else {
                        '!'
                    };
                    write!(out, "  {mark} {label:<width$}")?;
                }
                write!(out, "  {}", row.path.display())?;
                if let Some(error) = row.error {
                    write!(out, ": {error}")?;
                }
                writeln!(out)
            }
            Self::Csv(csv) => {
                let path = row.path.to_string_lossy();
                let confidence = row.confidence.map(|value| value.to_string());
                csv.write_record([
                    path.as_ref(),
                    row.prediction.unwrap_or_default(),
                    confidence.as_deref().unwrap_or_default(),
                    row.label.unwrap_or_default(),
                    row.error.unwrap_or_default(),
                ])?;
                Ok(())
            }
            Self::Jsonl(out) => {
                serde_json::to_writer(&mut *out, row)?;
                writeln!(out)
            }
            Self::Nothing => Ok(()),
        }
    }

    /// Writes what is still held back.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Table { out, .. } | Self::Jsonl(out) => out.flush(),
            Self::Csv(csv) => csv.flush(),
            Self::Nothing => Ok(()),
        }
    }
}
