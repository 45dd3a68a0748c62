//! `relance serve`.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures_util::future::OptionFuture;
use relance::access::Gate;
use relance::grpc;
use relance::http::{self, App};
use relance::service::{Config, Fleet, Lifecycle, Models, Parts, Service, tell_drift};
use relance::settings::Settings;
use relance::storage::{self, Shipper};
use relance::telemetry;
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::parts;

/// Connections that may wait to be accepted; the system has a limit of its own. One that finds no room is tried again by
/// its client a second later.
const BACKLOG: u32 = 4096;

/// Serves until a signal asks for the end.
pub fn run(settings: Settings) -> anyhow::Result<()> {
    let settings = settings.validated()?;
    // Clients that could choose between several would give up; the first to install one wins.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    telemetry::init_logs(&settings.operation)?;
    let metrics = telemetry::init_metrics()?;
    let traces = telemetry::init_traces(&settings.telemetry, &settings.instance_name())?;
    let start = Instant::now();
    let lock = claim(&settings.storage.data_dir)?;
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get().max(2));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()?;
    let service = runtime.block_on(build(&settings))?;
    let outcome = runtime.block_on(serve(&settings, service, metrics, start));
    // What still runs has had its time.
    runtime.shutdown_timeout(Duration::from_secs(1));
    drop(lock);
    drop(traces);
    outcome
}

async fn build(settings: &Settings) -> anyhow::Result<Service> {
    let models = Models {
        settings: settings.model.clone(),
        registry: parts::registry(settings)?,
    };
    let parts = Parts {
        fleet: Fleet::open(models, settings.picture).await?,
        cache: parts::cache(settings)?,
        storage: Arc::new(parts::storage(settings)?),
    };
    let config = Config {
        picture: settings.picture,
        max_queue: Duration::from_millis(settings.limits.max_queue_ms),
        user_ip: settings.storage.user_ip,
        instance: settings.instance_name(),
    };
    Ok(Service::start(config, parts)?)
}

// Two writers of one folder would each take the other's unfinished files for leftovers.
fn claim(dir: &Path) -> anyhow::Result<Option<File>> {
    let path: PathBuf = dir.join("lock");
    let opened = fs::create_dir_all(dir).and_then(|()| {
        File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
    });
    let file = match opened {
        Ok(file) => file,
        // Space may come back; until then answers cannot be recorded, and requests are told so.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::StorageFull | ErrorKind::ReadOnlyFilesystem
            ) =>
        {
            tracing::error!("DATA_DIR {} cannot be written: {error}", dir.display());
            return Ok(None);
        }
        Err(error) => bail!("DATA_DIR {} cannot be used: {error}", dir.display()),
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => {
            bail!(
                "DATA_DIR {} is in use by another instance; give each its own",
                dir.display()
            )
        }
        Err(TryLockError::Error(error)) => {
            bail!("DATA_DIR {} cannot be locked: {error}", dir.display())
        }
    }
}

async fn serve(
    settings: &Settings,
    service: Service,
    metrics: metrics_exporter_prometheus::PrometheusHandle,
    start: Instant,
) -> anyhow::Result<()> {
    let (listener, address) = listen(settings.listen.host, settings.listen.port).await?;
    let grpc_listener = match settings.listen.grpc_port.0 {
        Some(port) => Some(listen(settings.listen.host, port).await?),
        None => None,
    };
    let grpc_address = grpc_listener.as_ref().map(|(_, address)| *address);
    let lifecycle = Arc::new(Lifecycle::default());
    let gate = Arc::new(Gate::new(&settings.access)?);
    tokio::spawn(Arc::clone(&gate).watch_keys());
    let app = App::new(
        settings,
        service,
        gate,
        Arc::clone(&lifecycle),
        metrics.clone(),
    );
    tokio::spawn(upkeep(metrics));
    let watched = Arc::clone(&app);
    tokio::spawn(tell_drift(move || watched.service().drift()));
    let keeper = Arc::clone(app.service().storage());
    tokio::spawn(storage::expire(
        Arc::clone(&keeper),
        settings.storage.retention_days,
    ));
    let follower = Arc::clone(&app);
    let poll = Duration::from_secs(settings.registry.models_poll_seconds);
    tokio::spawn(async move { follower.service().fleet().follow(poll).await });
    let flush = CancellationToken::new();
    let shipping = tokio::spawn(Shipper::new(keeper).run(flush.clone()));
    let stop = CancellationToken::new();
    let limits = http::Limits::new(settings);
    if let Some(port) = settings.listen.metrics_port {
        let listening = listen(settings.listen.host, port).await?;
        let router = http::metrics_router(Arc::clone(&app));
        tokio::spawn(serve_apart(listening, router, limits.few(), stop.clone()));
    }
    let model = app.service().model();
    tracing::info!(
        model = %model.reference,
        classes = model.labels.len(),
        workers = app.service().workers(),
        grpc = grpc_address.map(tracing::field::display),
        data = %settings.storage.data_dir.display(),
        started_ms = start.elapsed().as_millis() as u64,
        "ready on http://{address}"
    );
    lifecycle.ready();

    let grace = Duration::from_millis(settings.operation.shutdown_timeout_ms);
    let serve = |listener, router| http::serve(listener, router, limits, stop.clone(), grace);
    let http = serve(listener, http::router(Arc::clone(&app)));
    let grpc = match grpc_listener {
        Some((listener, _)) => {
            let router = grpc::router(Arc::clone(&app), stop.clone())?;
            Some(serve(listener, router))
        }
        None => None,
    };
    let serving = tokio::spawn(async move {
        let (http, grpc) = tokio::join!(http, OptionFuture::from(grpc));
        http && grpc.unwrap_or(true)
    });
    let delay = Duration::from_millis(settings.operation.drain_delay_ms);
    drain_on_signal(&lifecycle, delay).await?;
    stop.cancel();
    let finished = tokio::select! {
        finished = serving => finished?,
        // A second signal means now.
        () = any_signal()? => false,
    };
    if !finished {
        tracing::warn!("requests in flight were cut off");
    }
    flush.cancel();
    let patience = Duration::from_millis(settings.operation.flush_timeout_ms);
    if tokio::time::timeout(patience, shipping).await.is_err() {
        let records = app.service().storage().waiting();
        tracing::warn!(
            records,
            "not all has reached the shared stores; the rest will after the next start"
        );
    }
    tokio::task::spawn_blocking(move || app.service().stop()).await?;
    tracing::info!("stopped");
    Ok(())
}

/// Serves the metrics on a port of their own, until the end.
async fn serve_apart(
    (listener, address): (TcpListener, SocketAddr),
    router: axum::Router,
    limits: http::Limits,
    stop: CancellationToken,
) {
    tracing::info!("metrics on http://{address}/metrics");
    http::serve(listener, router, limits, stop, Duration::ZERO).await;
}

async fn listen(host: IpAddr, port: u16) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let address = SocketAddr::new(host, port);
    let listener = bind(address).with_context(|| format!("cannot listen on {address}"))?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // What is left of the connections of the process before must not keep this one from its port.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Returns when no more connections should be accepted.
///
/// SIGTERM comes from platforms, which go on sending traffic until they have seen that readiness fails; SIGINT
/// comes from people, who don't want to wait.
async fn drain_on_signal(lifecycle: &Lifecycle, delay: Duration) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = interrupt.recv() => lifecycle.drain(),
        _ = terminate.recv() => {
            lifecycle.drain();
            tracing::info!(delay_ms = delay.as_millis() as u64, "draining");
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = any_signal()? => {}
            }
        }
    }
    tracing::info!("finishing the requests in flight");
    Ok(())
}

fn any_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

// The recorder keeps raw samples until it is asked to fold them into the histograms.
async fn upkeep(metrics: metrics_exporter_prometheus::PrometheusHandle) {
    let mut tick = tokio::time::interval(Duration::from_secs(5));
    loop {
        tick.tick().await;
        metrics.run_upkeep();
    }
}
