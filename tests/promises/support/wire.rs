//! HTTP by hand, for what no client library would send.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::PATIENCE;

/// A connection to `address` (`host:port`) that gives up after a while.
pub fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Sends `bytes`, and reads until the server closes the connection. A reset ends it too.
pub fn converse(address: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(address);
    // It may have been closed while there is still something to send.
    let _ = stream.write_all(bytes);
    rest(&mut stream)
}

/// What comes until the server closes the connection; panics if it does not.
pub fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let mut chunk = [0; 16 * 1024];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return all,
            Ok(length) => all.extend_from_slice(&chunk[..length]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return all,
            Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&all)),
        }
    }
}

/// The statuses of all HTTP/1.1 answers in `bytes`.
pub fn statuses(bytes: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(bytes);
    let heads = text.split("HTTP/1.1 ").skip(1);
    heads.map(|head| head[..3].parse().unwrap()).collect()
}

/// How long the server keeps the connection open if nothing more is sent.
pub fn time_until_closed(stream: &mut TcpStream) -> Duration {
    let start = Instant::now();
    rest(stream);
    start.elapsed()
}
