//! A server that keeps what is posted to it, over HTTP or TLS.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use rcgen::CertifiedKey;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// What was posted: path, headers and body.
pub type Post = (String, HeaderMap, Bytes);

type Posts = Arc<Mutex<Vec<Post>>>;

/// Runs on a thread of its own until the tests end.
pub struct Sink {
    pub address: SocketAddr,
    posts: Posts,
}

impl Sink {
    /// Speaks HTTP, and answers with this body.
    pub fn http(answer: &'static str) -> Self {
        Self::start(answer, |listener, router| async {
            axum::serve(listener, router).await.unwrap();
        })
    }

    /// Speaks HTTPS as `localhost`, with a certificate of its own that it writes to `certificate` (PEM).
    pub fn https(answer: &'static str, certificate: &Path) -> Self {
        let CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(certificate, cert.pem()).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Self::start(answer, |listener, router| async {
            let listener = Tls { listener, acceptor };
            axum::serve(listener, router).await.unwrap();
        })
    }

    /// What has been posted so far.
    pub fn posts(&self) -> Vec<Post> {
        self.posts.lock().unwrap().clone()
    }

    fn start<F: Future<Output = ()>>(
        answer: &'static str,
        serve: impl FnOnce(TcpListener, Router) -> F + Send + 'static,
    ) -> Self {
        let posts = Posts::default();
        let keep = async move |State(posts): State<Posts>, uri: Uri, headers, body| {
            let post = (uri.path().to_owned(), headers, body);
            posts.lock().unwrap().push(post);
            (StatusCode::OK, answer)
        };
        let router = Router::new().fallback(keep).with_state(Arc::clone(&posts));
        let (sender, ready) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                sender.send(listener.local_addr().unwrap()).unwrap();
                serve(listener, router).await;
            });
        });
        let address = ready.recv().unwrap();
        Self { address, posts }
    }
}

struct Tls {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl axum::serve::Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, peer) = self.listener.accept().await.unwrap();
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, peer);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
