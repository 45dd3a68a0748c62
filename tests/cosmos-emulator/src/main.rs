//! Serves Microsoft's in-memory emulator of Azure Cosmos DB over HTTP on loopback, and prints where.
//!
//! It looks at neither keys nor tokens, and keeps nothing when it ends. It ends when its standard input does.

use std::convert::Infallible;
use std::error::Error;
use std::io::Read;
use std::sync::Arc;

use azure_core::http::headers::HeaderName;
use azure_core::http::{Method, Request as EmulatorRequest, Url};
use azure_data_cosmos_driver::in_memory_emulator::{
    InMemoryEmulatorHttpClient, VirtualAccountConfig, VirtualRegion,
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::HOST;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// What the emulator believes to be its address.
const GATEWAY: &str = "http://emulator.localhost:1/";

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    // With no one left to test, there is nothing to serve.
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_io()
        .build()?
        .block_on(serve())
}

async fn serve() -> Result<(), Failure> {
    // Throttles containers that were made with a throughput, by Microsoft's estimate of request units.
    let region = VirtualRegion::new("West Europe", Url::parse(GATEWAY)?);
    let account = VirtualAccountConfig::new(vec![region])?.with_throttling_enabled(true);
    let emulator = Arc::new(InMemoryEmulatorHttpClient::try_new(account)?);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("ready on http://{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let emulator = Arc::clone(&emulator);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(&emulator, request));
            // A client that goes away is not an error.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(
    emulator: &InMemoryEmulatorHttpClient,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(execute(emulator, request).await.unwrap_or_else(|error| {
        let mut response = Response::new(Full::from(error.to_string()));
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    }))
}

async fn execute(
    emulator: &InMemoryEmulatorHttpClient,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Failure> {
    let (head, body) = request.into_parts();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let method: Method = head.method.as_str().parse()?;
    let mut translated = EmulatorRequest::new(Url::parse(GATEWAY)?.join(path)?, method);
    for (name, value) in &head.headers {
        let name = HeaderName::from(name.as_str().to_owned());
        translated
            .headers_mut()
            .insert(name, value.to_str()?.to_owned());
    }
    translated.set_body(body.collect().await?.to_bytes());

    let answered = emulator.execute_request(&translated).await?;
    let answered = answered.try_into_raw_response().await?;
    let mut response = Response::builder().status(u16::from(answered.status()));
    for (name, value) in answered.headers().iter() {
        response = response.header(name.as_str(), value.as_str());
    }
    let mut body = Bytes::copy_from_slice(answered.body().as_ref());
    if path == "/" {
        // The account says where its regions are: wherever the client reached it, so that proxies stay in between.
        let reached = head.headers.get(HOST).ok_or("no host")?.to_str()?;
        let account = String::from_utf8(body.to_vec())?;
        body = account
            .replace(GATEWAY, &format!("http://{reached}/"))
            .into();
    }
    Ok(response.body(Full::from(body))?)
}
