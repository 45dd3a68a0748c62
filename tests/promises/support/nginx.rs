//! A real nginx in front of an instance.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::App;

/// Ended when dropped.
pub struct Nginx {
    /// `host:port` where it listens.
    pub address: String,
    process: Child,
    _dir: tempfile::TempDir,
}

impl Nginx {
    /// Passes everything on to `app`, over connections that it keeps.
    pub fn before(app: &App) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let file = dir.path().join("nginx.conf");
        std::fs::write(&file, config(dir.path(), &address, app.address())).unwrap();
        let process = Command::new("/usr/sbin/nginx")
            .args(["-e", "stderr", "-p"])
            .arg(dir.path())
            .arg("-c")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("scripts/install-tools test installs nginx");
        let nginx = Self {
            address,
            process,
            _dir: dir,
        };
        nginx.wait();
        nginx
    }

    fn wait(&self) {
        let end = std::time::Instant::now() + super::PATIENCE;
        while std::net::TcpStream::connect(&self.address).is_err() {
            assert!(std::time::Instant::now() < end, "nginx does not listen");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

fn config(dir: &Path, address: &str, app: &str) -> String {
    let dir = dir.display();
    // One process that stays in front, so that it ends with the test.
    format!(
        "daemon off; master_process off; pid {dir}/pid; error_log stderr;
         events {{ worker_connections 512; }}
         http {{
           access_log off;
           client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
           uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
           upstream relance {{ server {app}; keepalive 4; }}
           server {{
             listen {address};
             client_max_body_size 20m;
             location / {{
               proxy_pass http://relance;
               proxy_http_version 1.1;
               proxy_request_buffering off;
               proxy_set_header Connection \"\";
               proxy_set_header Host $host;
               proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
             }}
           }}
         }}\n"
    )
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
