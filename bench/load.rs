//! A load that does not wait for the service: requests come at random times at a fixed mean rate, whatever
//! has become of those before. A latency counts from the moment a request was due, so that time spent waiting
//! for a free connection is in it. `/health` is asked all the while, on a connection and a thread of its own.
//!
//! `cargo bench --bench load -- --address 127.0.0.1:5000 --pid 1234 --phase closed:16:5
//! --phase open:1000:30:1600 picture.jpg…` prints one JSON object with every single request; bench/overload.py makes sense of it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::str::FromStr;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use clap::Parser;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::{Body, Frame, SizeHint};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, LocalSet, spawn_local};

#[derive(Parser)]
struct Args {
    /// Pictures, sent in turn; each gets a tail that makes it unique
    #[arg(required = true)]
    pictures: Vec<PathBuf>,
    /// Where the service listens
    #[arg(long)]
    address: SocketAddr,
    /// One after the other: `closed:CONNECTIONS:SECONDS` or `open:CONNECTIONS:SECONDS:RATE`
    #[arg(long = "phase", required = true)]
    phases: Vec<Phase>,
    /// The service's process, whose CPU time is told for each phase
    #[arg(long)]
    pid: u32,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

/// A part of the run.
#[derive(Clone, Copy)]
struct Phase {
    connections: usize,
    length: Duration,
    /// Requests a second; without it each connection sends as soon as it has its answer.
    rate: Option<f64>,
}

impl FromStr for Phase {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let parts: Vec<&str> = text.split(':').collect();
        let (connections, seconds, rate) = match parts[..] {
            ["closed", connections, seconds] => (connections, seconds, None),
            ["open", connections, seconds, rate] => (connections, seconds, Some(rate.parse()?)),
            _ => anyhow::bail!(
                "neither closed:CONNECTIONS:SECONDS nor open:CONNECTIONS:SECONDS:RATE"
            ),
        };
        Ok(Self {
            connections: connections.parse()?,
            length: Duration::from_secs_f64(seconds.parse()?),
            rate,
        })
    }
}

/// A form with one picture, in the pieces it is put together from.
struct Form(VecDeque<Bytes>);

impl Body for Form {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.iter().map(|piece| piece.len() as u64).sum())
    }
}

const HEAD: &str = "--relance-bench\r\nContent-Disposition: form-data; name=\"image\"; filename=\"picture.jpg\"\
                    \r\nContent-Type: image/jpeg\r\n\r\n";
const FOOT: &str = "\r\n--relance-bench--\r\n";
const TYPE: &str = "multipart/form-data; boundary=relance-bench";

/// Longest wait for the answers that are still out at the end.
const PATIENCE: Duration = Duration::from_secs(15);

/// Time between two questions for `/health`.
const HEALTH: Duration = Duration::from_millis(50);

/// Due after the start, in seconds; milliseconds from due to sent, and from due to answered; status, or 0 if
/// there was none.
type Sample = (f64, f64, f64, u16);

struct Load {
    address: SocketAddr,
    pictures: Vec<Bytes>,
    run: u128,
    start: Instant,
    sent: Cell<u64>,
    samples: RefCell<Vec<Sample>>,
}

/// Requests that are due and have no connection yet.
#[derive(Default)]
struct Due {
    times: RefCell<VecDeque<Instant>>,
    filled: Notify,
    over: Cell<bool>,
}

impl Due {
    fn push(&self, time: Instant) {
        self.times.borrow_mut().push_back(time);
        self.filled.notify_one();
    }

    async fn next(&self) -> Option<Instant> {
        loop {
            if self.over.get() {
                return None;
            }
            let next = self.times.borrow_mut().pop_front();
            if next.is_some() {
                return next;
            }
            self.filled.notified().await;
        }
    }

    /// Ends the phase; tells how many requests were never sent.
    fn close(&self) -> usize {
        self.over.set(true);
        self.filled.notify_waiters();
        self.times.borrow().len()
    }
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let read = |path: &PathBuf| std::fs::read(path).map(Bytes::from);
    let load = Rc::new(Load {
        address: args.address,
        pictures: args.pictures.iter().map(read).collect::<Result<_, _>>()?,
        run: std::time::UNIX_EPOCH.elapsed()?.as_nanos(),
        start: Instant::now(),
        sent: Cell::default(),
        samples: RefCell::default(),
    });
    let length: Duration = args.phases.iter().map(|phase| phase.length).sum();
    let (address, start) = (args.address, load.start);
    let health = std::thread::spawn(move || watch(address, start, start + length));
    let phases =
        runtime()?.block_on(LocalSet::new().run_until(run(&load, args.pid, &args.phases)))?;
    let health = health
        .join()
        .map_err(|_| anyhow::anyhow!("a thread panicked"))??;
    let requests = load.samples.take();
    println!(
        "{}",
        serde_json::json!({ "phases": phases, "requests": requests, "health": health })
    );
    Ok(())
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

async fn run(
    load: &Rc<Load>,
    pid: u32,
    phases: &[Phase],
) -> anyhow::Result<Vec<serde_json::Value>> {
    let mut connections = VecDeque::new();
    for phase in phases {
        let mut opened = Vec::new();
        for _ in 0..phase.connections {
            opened.push(connect(load.address).await.context("cannot connect")?);
        }
        connections.push_back(opened);
    }
    let own = std::process::id();
    let (mut told, mut tasks) = (Vec::new(), Vec::new());
    for (phase, connections) in phases.iter().zip(connections) {
        let (begin, cpu) = (Instant::now(), [cpu_seconds(own)?, cpu_seconds(pid)?]);
        let due = Rc::new(Due::default());
        tasks.extend(connections.into_iter().map(|connection| {
            spawn_local(client(
                Rc::clone(load),
                Rc::clone(&due),
                connection,
                phase.rate.is_none(),
            ))
        }));
        match phase.rate {
            Some(rate) => arrivals(&due, rate, begin + phase.length).await,
            None => {
                (0..phase.connections).for_each(|_| due.push(begin));
                tokio::time::sleep(phase.length).await;
            }
        }
        let unsent = due.close();
        told.push(serde_json::json!({
            "start": (begin - load.start).as_secs_f64(),
            "seconds": begin.elapsed().as_secs_f64(),
            "rate": phase.rate,
            "unsent": unsent,
            "load_cpu_seconds": cpu_seconds(own)? - cpu[0],
            "service_cpu_seconds": cpu_seconds(pid)? - cpu[1],
        }));
    }
    let _ = tokio::time::timeout(PATIENCE, finish(tasks)).await;
    Ok(told)
}

async fn finish(tasks: Vec<JoinHandle<()>>) {
    for task in tasks {
        let _ = task.await;
    }
}

/// Poisson arrivals: the gaps are exponentially distributed. Timers are coarser than the gaps, so all that
/// have become due go out together.
async fn arrivals(due: &Due, rate: f64, end: Instant) {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = Instant::now();
    while next < end {
        tokio::time::sleep_until(next.into()).await;
        while next <= Instant::now() && next < end {
            due.push(next);
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let uniform = (random >> 11) as f64 / (1_u64 << 53) as f64;
            next += Duration::from_secs_f64(-(1.0 - uniform).ln() / rate);
        }
    }
}

/// One connection. In a closed loop the next request is due as soon as the answer is there.
async fn client(load: Rc<Load>, due: Rc<Due>, mut connection: SendRequest<Form>, closed: bool) {
    while let Some(time) = due.next().await {
        let waited = time.elapsed();
        // 0: no answer.
        let status = post(&load, &mut connection).await.unwrap_or_default();
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        load.samples.borrow_mut().push((
            (time - load.start).as_secs_f64(),
            millis(waited),
            millis(time.elapsed()),
            status,
        ));
        if closed && !due.over.get() {
            due.push(Instant::now());
        }
        // A service that is overloaded may close connections; a client opens another.
        while connection.ready().await.is_err() && !due.over.get() {
            match connect(load.address).await {
                Ok(opened) => connection = opened,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }
}

async fn connect<B>(address: SocketAddr) -> anyhow::Result<SendRequest<B>>
where
    B: Body<Data = Bytes, Error = Infallible> + 'static,
{
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    spawn_local(connection);
    Ok(sender)
}

async fn post(load: &Load, connection: &mut SendRequest<Form>) -> anyhow::Result<u16> {
    let number = load.sent.replace(load.sent.get() + 1);
    let picture = &load.pictures[number as usize % load.pictures.len()];
    let tail = Bytes::from(format!("{}-{number}", load.run));
    let pieces = [HEAD.into(), picture.clone(), tail, FOOT.into()];
    let request = Request::post("/predict")
        .header("host", "relance")
        .header("content-type", TYPE)
        .body(Form(pieces.into()))?;
    answer(connection, request).await
}

async fn answer<B>(connection: &mut SendRequest<B>, request: Request<B>) -> anyhow::Result<u16>
where
    B: Body<Data = Bytes, Error = Infallible> + 'static,
{
    let response = connection.send_request(request).await?;
    let status = response.status().as_u16();
    response.into_body().collect().await?;
    Ok(status)
}

/// Asks for `/health` at fixed times.
fn watch(address: SocketAddr, start: Instant, end: Instant) -> anyhow::Result<Vec<Sample>> {
    let ask = async {
        let (mut connection, mut samples) = (connect::<Empty<Bytes>>(address).await?, Vec::new());
        let mut due = start;
        while due < end {
            tokio::time::sleep_until(due.into()).await;
            let waited = due.elapsed();
            let request = Request::get("/health")
                .header("host", "relance")
                .body(Empty::new())?;
            let status = match answer(&mut connection, request).await {
                Ok(status) => status,
                Err(_) => {
                    connection = connect(address).await?;
                    0
                }
            };
            let millis = |time: Duration| time.as_secs_f64() * 1e3;
            let since = (due - start).as_secs_f64();
            samples.push((since, millis(waited), millis(due.elapsed()), status));
            due += HEALTH;
        }
        anyhow::Ok(samples)
    };
    runtime()?.block_on(LocalSet::new().run_until(ask))
}

/// User and system time of a process, in clock ticks of 10 ms.
fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = stat.rsplit(") ").next().unwrap_or_default();
    let ticks = fields.split(' ').skip(11).take(2);
    let ticks: Result<Vec<f64>, _> = ticks.map(str::parse).collect();
    Ok(ticks?.iter().sum::<f64>() / 100.0)
}
