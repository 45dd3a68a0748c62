//! What the operating system knows of this process, in Prometheus' text format.
//!
//! Written directly: the recorder's counters are whole numbers, and seconds of CPU time are not.

use std::fmt::Write;

/// What this process uses, as far as the system tells it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// User and system CPU time since its start, in seconds.
    pub cpu_seconds: f64,
    /// Memory in use, in bytes.
    pub resident_bytes: u64,
}

/// What this process uses now.
pub fn usage() -> Usage {
    let process = metrics_process::collector::collect();
    Usage {
        cpu_seconds: process.cpu_seconds_total.unwrap_or_default(),
        resident_bytes: process.resident_memory_bytes.unwrap_or_default(),
    }
}

/// The metrics `process_*` of Prometheus' client libraries; those that this system does not tell are left out.
pub fn render() -> String {
    let process = metrics_process::collector::collect();
    let whole = |value: Option<u64>| value.map(|value| value as f64);
    let metrics = [
        (
            "process_cpu_seconds_total",
            "counter",
            "User and system CPU time, in seconds",
            process.cpu_seconds_total,
        ),
        (
            "process_resident_memory_bytes",
            "gauge",
            "Memory in use, in bytes",
            whole(process.resident_memory_bytes),
        ),
        (
            "process_virtual_memory_bytes",
            "gauge",
            "Address space in use, in bytes",
            whole(process.virtual_memory_bytes),
        ),
        (
            "process_open_fds",
            "gauge",
            "Open file descriptors",
            whole(process.open_fds),
        ),
        (
            "process_max_fds",
            "gauge",
            "File descriptors that may be open",
            whole(process.max_fds),
        ),
        (
            "process_threads",
            "gauge",
            "Threads",
            whole(process.threads),
        ),
        (
            "process_start_time_seconds",
            "gauge",
            "Start of the process, in seconds since 1970",
            whole(process.start_time_seconds),
        ),
    ];
    let mut text = String::with_capacity(1024);
    for (name, kind, help, value) in metrics {
        if let Some(value) = value {
            // Writing to a string cannot fail.
            let _ = write!(
                text,
                "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n\n"
            );
        }
    }
    text
}
