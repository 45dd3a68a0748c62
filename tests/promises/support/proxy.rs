//! A TCP proxy that does to connections what networks and failing servers do to them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;

use super::PATIENCE;

/// What the proxy does. A change also holds for connections that are open.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    /// Passes everything on.
    Pass,
    /// Nothing listens.
    Refuse,
    /// Accepts, and never answers.
    Stall,
    /// Holds back every piece that comes from the server for so long.
    Slow(Duration),
    /// Accepts, and ends the connection.
    Cut,
    /// Accepts, and resets the connection.
    Reset,
    /// Answers every HTTP/1.1 request with this status.
    Answer(u16),
}

/// Runs on a thread of its own until dropped.
pub struct Proxy {
    pub address: SocketAddr,
    mode: Arc<watch::Sender<Mode>>,
}

/// Changes what a proxy does, from elsewhere.
pub struct Handle(Arc<watch::Sender<Mode>>);

impl Handle {
    /// As [`Proxy::set`].
    pub fn set(&self, mode: Mode) {
        self.0.send_replace(mode);
    }
}

impl Proxy {
    /// A proxy before `server` (`host:port`).
    pub fn before(server: impl Into<String>, mode: Mode) -> Self {
        let server = server.into();
        let (mode, watched) = watch::channel(mode);
        let socket = bound(([127, 0, 0, 1], 0).into());
        let address = socket.local_addr().unwrap();
        let (sender, ready) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(run(socket, server, watched, sender));
        });
        ready.recv().unwrap();
        Self {
            address,
            mode: Arc::new(mode),
        }
    }

    /// Changes what it does.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// For another task.
    pub fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.mode))
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn bound(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    let end = Instant::now() + PATIENCE;
    while let Err(error) = socket.bind(address) {
        // A process that is being started has our closed listener until it becomes another program.
        assert!(Instant::now() < end, "{address}: {error}");
        std::thread::sleep(Duration::from_millis(1));
    }
    socket
}

async fn run(
    socket: TcpSocket,
    server: String,
    mut mode: watch::Receiver<Mode>,
    ready: std::sync::mpsc::Sender<()>,
) {
    let address = socket.local_addr().unwrap();
    // A port that refuses stays taken, or another test would get it.
    let mut silent = Some(socket);
    loop {
        let listener = if *mode.borrow_and_update() == Mode::Refuse {
            silent.get_or_insert_with(|| bound(address));
            None
        } else {
            let socket = silent.take().unwrap_or_else(|| bound(address));
            Some(socket.listen(1024).unwrap())
        };
        let _ = ready.send(());
        loop {
            tokio::select! {
                changed = mode.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    if (*mode.borrow() == Mode::Refuse) == listener.is_some() {
                        break;
                    }
                }
                accepted = accept(listener.as_ref()) => {
                    tokio::spawn(connection(accepted, server.clone(), mode.clone()));
                }
            }
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    match listener {
        Some(listener) => listener.accept().await.unwrap().0,
        None => std::future::pending().await,
    }
}

async fn connection(client: TcpStream, server: String, mut mode: watch::Receiver<Mode>) {
    let now = *mode.borrow_and_update();
    match now {
        Mode::Answer(status) => answer(client, status, mode).await,
        Mode::Cut | Mode::Refuse => {}
        Mode::Reset => reset(&client),
        Mode::Pass | Mode::Slow(_) | Mode::Stall => {
            let Ok(upstream) = TcpStream::connect(server).await else {
                return;
            };
            pass(client, upstream, mode).await;
        }
    }
}

async fn pass(mut client: TcpStream, mut upstream: TcpStream, mut mode: watch::Receiver<Mode>) {
    let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
    let resets = {
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = upstream.split();
        loop {
            let now = *mode.borrow_and_update();
            match now {
                Mode::Pass | Mode::Slow(_) => {}
                Mode::Stall => {
                    if mode.changed().await.is_err() {
                        break false;
                    }
                    continue;
                }
                Mode::Reset => break true,
                _ => break false,
            }
            tokio::select! {
                changed = mode.changed() => if changed.is_err() { break false },
                read = from_client.read(&mut up) => match read {
                    Ok(n) if n > 0 && to_server.write_all(&up[..n]).await.is_ok() => {}
                    _ => break false,
                },
                read = from_server.read(&mut down) => match read {
                    Ok(n) if n > 0 => {
                        if let Mode::Slow(time) = now {
                            tokio::time::sleep(time).await;
                        }
                        if to_client.write_all(&down[..n]).await.is_err() {
                            break false;
                        }
                    }
                    _ => break false,
                },
            }
        }
    };
    if resets {
        reset(&client);
    }
}

fn reset(stream: &TcpStream) {
    // Without lingering, closing sends RST.
    #[allow(deprecated)]
    stream.set_linger(Some(Duration::ZERO)).unwrap();
}

async fn answer(stream: TcpStream, status: u16, mut mode: watch::Receiver<Mode>) {
    let mut stream = BufReader::new(stream);
    let serve = async {
        loop {
            let mut length = 0;
            let mut line = String::new();
            loop {
                line.clear();
                if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                    return;
                }
                let lower = line.to_ascii_lowercase();
                if let Some(value) = lower.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap_or(0);
                }
                if line == "\r\n" {
                    break;
                }
            }
            let mut body = vec![0; length];
            if stream.read_exact(&mut body).await.is_err() {
                return;
            }
            let text =
                format!("HTTP/1.1 {status} Because\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n");
            if stream.get_mut().write_all(text.as_bytes()).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = serve => {}
        _ = mode.changed() => {}
    }
}
