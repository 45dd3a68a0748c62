//! What the hardware lets a classifier do: decode, preprocess and infer the same pictures with as many
//! threads as the service has workers, and nothing else. The service's cost is quoted against this.
//!
//! `cargo bench --bench limit -- --seconds 5 picture.jpg…` prints one JSON object.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use relance::model;
use relance::service::{Classifier, Timings};
use relance::settings::{ModelSettings, PictureSettings};

#[derive(Parser)]
struct Args {
    /// Pictures, classified in turn
    #[arg(required = true)]
    pictures: Vec<PathBuf>,
    /// How long
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    #[command(flatten)]
    picture: PictureSettings,
    #[command(flatten)]
    model: ModelSettings,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let read = |path: &PathBuf| std::fs::read(path);
    let pictures: Vec<Vec<u8>> = args.pictures.iter().map(read).collect::<Result<_, _>>()?;
    let workers = args.model.workers();
    let loaded = model::load(&args.model, &args.model.model, workers)?;
    let classifiers = Classifier::of(loaded, args.picture);

    let (count, cpu, start) = (AtomicU64::new(0), cpu_seconds()?, Instant::now());
    let end = start + Duration::from_secs_f64(args.seconds);
    let stages = std::thread::scope(|scope| {
        let threads: Vec<_> = classifiers
            .into_iter()
            .map(|classifier| scope.spawn(|| work(classifier, &pictures, &count, end)))
            .collect();
        let mut sum = [0.0; 3];
        for thread in threads {
            let stages = thread
                .join()
                .map_err(|_| anyhow::anyhow!("a thread panicked"))??;
            sum.iter_mut()
                .zip(stages)
                .for_each(|(sum, time)| *sum += time);
        }
        anyhow::Ok(sum)
    })?;
    let images = count.into_inner() as f64;
    let [decode, preprocess, inference] = stages.map(|seconds| 1e3 * seconds / images);
    let report = serde_json::json!({
        "workers": workers,
        "images": images,
        "images_per_second": images / start.elapsed().as_secs_f64(),
        "cpu_ms_per_image": 1e3 * (cpu_seconds()? - cpu) / images,
        "decode_ms": decode,
        "preprocess_ms": preprocess,
        "inference_ms": inference,
    });
    println!("{report}");
    Ok(())
}

/// Seconds spent in each stage.
fn work(
    mut classifier: Classifier,
    pictures: &[Vec<u8>],
    count: &AtomicU64,
    end: Instant,
) -> anyhow::Result<[f64; 3]> {
    let mut sum = [0.0; 3];
    while Instant::now() < end {
        let n = count.fetch_add(1, Ordering::Relaxed) as usize;
        let (_, timings) = classifier.classify(&pictures[n % pictures.len()])?;
        let Timings {
            decode,
            preprocess,
            inference,
            ..
        } = timings;
        for (sum, time) in sum.iter_mut().zip([decode, preprocess, inference]) {
            *sum += time.as_secs_f64();
        }
    }
    Ok(sum)
}

/// User and system time of this process, in clock ticks of 10 ms.
fn cpu_seconds() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(") ").next().unwrap_or_default();
    let ticks = fields.split(' ').skip(11).take(2);
    let ticks: Result<Vec<f64>, _> = ticks.map(str::parse).collect();
    Ok(ticks?.iter().sum::<f64>() / 100.0)
}
