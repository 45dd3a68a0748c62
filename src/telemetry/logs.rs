//! Log lines on standard error.

use std::fmt;
use std::io::IsTerminal;

use anyhow::Context;
use serde::Serializer;
use serde::ser::{Error, SerializeMap};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::request::{self, Ids};
use super::throttle::Throttle;
use crate::settings::{LogFormat, Operation};

/// Sends logs to standard error.
///
/// # Errors
/// If the filter is malformed.
pub fn init(operation: &Operation) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&operation.rust_log).with_context(|| {
        format!(
            "RUST_LOG is {:?}; accepted are filters such as info,relance=debug",
            operation.rust_log
        )
    })?;
    let lines = Lines {
        format: operation.log_format,
        throttle: Throttle::default(),
    };
    let colours = operation.log_format == LogFormat::Text && std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours)
        .with_writer(std::io::stderr)
        .event_format(lines)
        .init();
    Ok(())
}

/// Writes events as lines that tell the request they belong to.
struct Lines {
    format: LogFormat,
    throttle: Throttle,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some(suppressed) = self.throttle.admit(event.metadata()) else {
            return Ok(());
        };
        let ids = request::ids();
        match self.format {
            LogFormat::Json => json(&mut writer, event, ids, suppressed)?,
            LogFormat::Text => {
                head(&mut writer, *event.metadata().level())?;
                context.format_fields(writer.by_ref(), event)?;
                tail(&mut writer, ids, suppressed)?;
            }
        }
        writeln!(writer)
    }
}

fn head(writer: &mut Writer<'_>, level: Level) -> fmt::Result {
    SystemTime.format_time(writer)?;
    if !writer.has_ansi_escapes() {
        return write!(writer, " {level:>5} ");
    }
    let colour = match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        Level::DEBUG => 34,
        Level::TRACE => 35,
    };
    write!(writer, " \x1b[{colour}m{level:>5}\x1b[0m ")
}

fn tail(writer: &mut Writer<'_>, ids: Option<Ids>, suppressed: u64) -> fmt::Result {
    if let Some(ids) = ids {
        write!(writer, " request_id={}", ids.request)?;
        if let Some(trace) = ids.trace {
            write!(writer, " trace_id={trace}")?;
        }
    }
    if suppressed > 0 {
        write!(writer, " suppressed={suppressed}")?;
    }
    Ok(())
}

fn json(
    writer: &mut Writer<'_>,
    event: &Event<'_>,
    ids: Option<Ids>,
    suppressed: u64,
) -> fmt::Result {
    let mut time = String::with_capacity(32);
    SystemTime.format_time(&mut Writer::new(&mut time))?;
    let mut line = Vec::with_capacity(256);
    let object = |line: &mut Vec<u8>| -> serde_json::Result<()> {
        let mut serializer = serde_json::Serializer::new(line);
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("timestamp", &time)?;
        object.serialize_entry("level", event.metadata().level().as_str())?;
        object.serialize_entry("target", event.metadata().target())?;
        let mut fields = Fields {
            object: &mut object,
            error: None,
        };
        event.record(&mut fields);
        if let Some(error) = fields.error {
            return Err(error);
        }
        if let Some(ids) = ids {
            object.serialize_entry("request_id", &ids.request)?;
            if let Some(trace) = ids.trace {
                object.serialize_entry("trace_id", &format_args!("{trace}"))?;
            }
        }
        if suppressed > 0 {
            object.serialize_entry("suppressed", &suppressed)?;
        }
        SerializeMap::end(object)
    };
    object(&mut line).map_err(|_| fmt::Error)?;
    writer.write_str(std::str::from_utf8(&line).map_err(|_| fmt::Error)?)
}

/// Writes an event's fields as members of a JSON object.
struct Fields<'a, M: SerializeMap> {
    object: &'a mut M,
    error: Option<M::Error>,
}

impl<M: SerializeMap> Fields<'_, M> {
    fn write(&mut self, field: &Field, value: &(impl serde::Serialize + ?Sized)) {
        // Events of the crate `log` say again where they come from.
        if self.error.is_none() && !field.name().starts_with("log.") {
            self.error = self.object.serialize_entry(field.name(), value).err();
        }
    }
}

impl<M: SerializeMap> Visit for Fields<'_, M>
where
    M::Error: Error,
{
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.write(field, &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.write(field, &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.write(field, &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.write(field, &value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.write(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.write(field, &format_args!("{value:?}"));
    }
}
