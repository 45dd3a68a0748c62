//! A port that may be off.

use std::fmt;
use std::str::FromStr;

/// Port of the gRPC API, if it has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GrpcPort(pub Option<u16>);

/// Not a port.
#[derive(Debug, thiserror::Error)]
#[error("accepted is a port from 0 to 65535, or off")]
pub struct PortError;

impl FromStr for GrpcPort {
    type Err = PortError;

    // Compose files and portals set variables to "" to mean "not set".
    fn from_str(text: &str) -> Result<Self, PortError> {
        match text.trim() {
            "" | "off" => Ok(Self(None)),
            port => port
                .parse()
                .map(|port| Self(Some(port)))
                .map_err(|_| PortError),
        }
    }
}

impl fmt::Display for GrpcPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(port) => port.fmt(f),
            None => f.write_str("off"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_or_off() {
        for (text, port) in [
            ("off", None),
            ("", None),
            ("0", Some(0)),
            ("50051", Some(50_051)),
        ] {
            assert_eq!(text.parse::<GrpcPort>().unwrap(), GrpcPort(port), "{text}");
        }
        for text in ["on", "-1", "65536", "127.0.0.1:1"] {
            assert!(text.parse::<GrpcPort>().is_err(), "{text}");
        }
    }
}
