//! `relance classify`: files instead of requests, through the same code.

mod baseline;
mod files;
mod output;
mod report;

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use anyhow::{Context, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use relance::classification::{Classification, Score};
use relance::model;
use relance::service::Classifier;
use relance::settings::{ModelSettings, PictureSettings};

use output::{Class, Format, Row, Writer};
use report::{Report, Seen};

/// Some pictures could not be classified.
const SOME_FAILED: u8 = 3;

/// Arguments of `relance classify`.
#[derive(clap::Args)]
pub struct Args {
    /// Pictures, and folders to search for pictures
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Form of the output
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Classes a JSON line lists
    #[arg(long, default_value_t = 5)]
    top: usize,
    /// Take the name of each picture's folder for its class, and add accuracy and calibration to the summary
    #[arg(long)]
    labels_from_folders: bool,
    /// Another model of the same classes: adds to the summary how far the two agree
    #[arg(long, value_name = "MODEL")]
    compare_with: Option<PathBuf>,
    /// Write to this file how the answers are distributed. Beside the model and named like it (model.baseline.json for
    /// model.onnx), `relance serve` measures by it how far its own answers have drifted
    #[arg(long, value_name = "FILE", value_parser = baseline::file)]
    baseline: Option<PathBuf>,
    #[command(flatten)]
    picture: PictureSettings,
    #[command(flatten)]
    model: ModelSettings,
}

/// A classifier, and that of the model to compare with.
struct Pair {
    main: Classifier,
    other: Option<Classifier>,
}

type Answers = (Classification, Option<Classification>);

/// Classifies; the rows go to standard output in the order of the files, progress and summary to standard error.
///
/// Exit status: 0 if every picture was classified, 3 if some were not, 1 if nothing could be done, 2 if the
/// arguments are wrong.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let paths = files::find(&args.paths)?;
    ensure!(!paths.is_empty(), "there are no pictures in these folders");
    let (labels, mut pairs) = load(args, paths.len())?;
    let truths = paths
        .iter()
        .map(|path| truth(args, path, &labels))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let other = args.compare_with.as_deref().map(name_of);
    let mut summary = Summary {
        report: Report::new(&labels, other),
        failed: Vec::new(),
        answers: Vec::new(),
    };
    let mut out = Writer::new(args.format, io::stdout().lock(), &labels)?;
    let bar = progress_bar(paths.len());
    let written = for_each_in_order(&paths, &mut pairs, |index, outcome| {
        let row = row(&paths[index], truths[index], &outcome, &labels, args.top);
        bar.suspend(|| out.write(&row))?;
        bar.inc(1);
        summary.add(&paths[index], truths[index], &outcome);
        Ok(())
    });
    bar.finish_and_clear();
    match written.and_then(|()| out.flush()) {
        // Whoever reads has read enough; but a baseline is of all pictures.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe && args.baseline.is_none() => {
            return Ok(ExitCode::SUCCESS);
        }
        written => written.context("standard output")?,
    }
    let summary_text = summary.text(paths.len());
    match args.format {
        Format::Summary => print!("{summary_text}"),
        _ => eprint!("{summary_text}"),
    }
    if let (Some(file), Some(pair)) = (&args.baseline, pairs.first()) {
        baseline::write(file, pair.main.model(), &summary.answers)?;
    }
    Ok(match summary.failed.len() {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::from(SOME_FAILED),
    })
}

fn load(args: &Args, pictures: usize) -> anyhow::Result<(Vec<String>, Vec<Pair>)> {
    let settings = &args.model;
    settings.validate()?;
    let workers = settings.workers().min(pictures);
    let open = |path: &Path| -> anyhow::Result<_> {
        let loaded = model::load(settings, path, workers)?;
        let labels = loaded.model.labels.clone();
        Ok((labels, Classifier::of(loaded, args.picture)))
    };
    let (labels, main) = open(&settings.model)?;
    let mut others = match &args.compare_with {
        None => Vec::new(),
        Some(path) => {
            let (its_labels, others) = open(path)?;
            ensure!(
                its_labels == labels,
                "{} has other classes than {}",
                path.display(),
                settings.model.display()
            );
            others
        }
    };
    let pairs = main.into_iter().map(|main| Pair {
        main,
        other: others.pop(),
    });
    Ok((labels, pairs.collect()))
}

/// The class a picture's folder says it shows.
fn truth(args: &Args, path: &Path, labels: &[String]) -> anyhow::Result<Option<usize>> {
    if !args.labels_from_folders {
        return Ok(None);
    }
    let folder = path.parent().and_then(Path::file_name).unwrap_or_default();
    let class = labels.iter().position(|label| folder == label.as_str());
    let missing = || {
        format!(
            "{}: its folder `{}` is not one of the model's classes ({})",
            path.display(),
            folder.display(),
            labels.join(", ")
        )
    };
    class.with_context(missing).map(Some)
}

/// Runs every picture through the classifiers, one thread each, and hands on the outcomes in order.
fn for_each_in_order(
    paths: &[PathBuf],
    pairs: &mut [Pair],
    mut hand_on: impl FnMut(usize, Result<Answers, String>) -> io::Result<()>,
) -> io::Result<()> {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let (sender, receiver) = mpsc::sync_channel(64);
        for pair in pairs {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                while let index = next.fetch_add(1, Ordering::Relaxed)
                    && let Some(path) = paths.get(index)
                    && sender.send((index, pair.classify(path))).is_ok()
                {}
            });
        }
        drop(sender);
        let mut early = BTreeMap::new();
        let mut due = 0;
        for (index, outcome) in receiver {
            early.insert(index, outcome);
            while let Some(outcome) = early.remove(&due) {
                hand_on(due, outcome)?;
                due += 1;
            }
        }
        Ok(())
    })
}

impl Pair {
    fn classify(&mut self, path: &Path) -> Result<Answers, String> {
        let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
        let (main, _) = self.main.classify(&bytes).map_err(|e| e.to_string())?;
        let other = match &mut self.other {
            None => None,
            Some(other) => Some(other.classify(&bytes).map_err(|e| e.to_string())?.0),
        };
        Ok((main, other))
    }
}

fn row<'a>(
    path: &'a Path,
    truth: Option<usize>,
    outcome: &'a Result<Answers, String>,
    labels: &'a [String],
    top: usize,
) -> Row<'a> {
    let class = |score: &relance::classification::Score| Class {
        class: &labels[score.index as usize],
        confidence: score.confidence,
    };
    let ranking = match outcome {
        Ok((classification, _)) => &classification.ranking[..],
        Err(_) => &[],
    };
    Row {
        path,
        prediction: ranking.first().map(|score| class(score).class),
        confidence: ranking.first().map(|score| score.confidence),
        label: truth.map(|class| labels[class].as_str()),
        error: outcome.as_ref().err().map(String::as_str),
        top: ranking.iter().take(top).map(class).collect(),
    }
}

struct Summary {
    report: Report,
    failed: Vec<String>,
    /// The best class of each picture.
    answers: Vec<Score>,
}

impl Summary {
    fn add(&mut self, path: &Path, truth: Option<usize>, outcome: &Result<Answers, String>) {
        match outcome {
            Err(error) => self.failed.push(format!("{}: {error}", path.display())),
            Ok((main, other)) => {
                self.answers.extend(main.ranking.first());
                self.report.add(&Seen {
                    truth,
                    probabilities: &by_index(main),
                    other: other.as_ref().map(by_index).as_deref(),
                });
            }
        }
    }

    fn text(&self, pictures: usize) -> String {
        /// Failures named one by one.
        const NAMED: usize = 20;
        let failed = self.failed.len();
        let mut text = format!("{pictures} pictures, {failed} failed\n");
        for failure in self.failed.iter().take(NAMED) {
            text += &format!("  {failure}\n");
        }
        if failed > NAMED {
            text += &format!("  and {} more\n", failed - NAMED);
        }
        text + &self.report.to_string()
    }
}

fn by_index(classification: &Classification) -> Vec<f32> {
    let mut probabilities = vec![0.0; classification.ranking.len()];
    for score in classification.ranking.iter() {
        probabilities[score.index as usize] = score.confidence;
    }
    probabilities
}

fn progress_bar(pictures: usize) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(pictures as u64);
    let template = "{bar:40} {human_pos}/{human_len} {per_sec} {eta} left";
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}
