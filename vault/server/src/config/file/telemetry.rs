//! `telemetry = { otlp = …, ca = …, interval = …, sampling = … }`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use tonic::transport::Uri;

use super::value;
use crate::config::{ConfigError, Telemetry};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileTelemetry {
    /// The collector: `http://<address>:<port>` at a loopback address, `https://<host>:<port>` elsewhere.
    ///
    /// Example: `"http://127.0.0.1:4317"`
    otlp: String,
    /// PEM authorities of an https collector; goes with https only.
    ///
    /// Example: `"/etc/cofre/collector-ca.pem"`
    ca: Option<PathBuf>,
    /// How often metrics are sent, 1s to 1h.
    ///
    /// Default: `"10s"`
    /// Example: `"30s"`
    #[serde(default = "default_interval", with = "humantime_serde")]
    interval: Duration,
    /// The share of traces that are sent, 0.0 to 1.0.
    ///
    /// Default: `1.0`
    /// Example: `0.1`
    #[serde(default = "default_sampling")]
    sampling: f64,
}

fn default_interval() -> Duration {
    Duration::from_secs(10)
}

/// A vault has few calls, and each matters.
const fn default_sampling() -> f64 {
    1.0
}

impl FileTelemetry {
    pub(super) fn check(self) -> Result<Telemetry, ConfigError> {
        let shape = || value("telemetry.otlp", "must be http://<address>:<port> or https://<host>:<port>");
        let uri: Uri = self.otlp.parse().map_err(|_| shape())?;
        let (Some(scheme), Some(host), Some(port)) = (uri.scheme_str(), uri.host(), uri.port_u16()) else {
            return Err(shape());
        };
        let bare = uri.path() == "/" && uri.query().is_none();
        if !bare || uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(shape());
        }
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let local = host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        match (scheme, &self.ca) {
            ("http", None) if local => {}
            ("http", None) => {
                return Err(value(
                    "telemetry.otlp",
                    "may be http only at a loopback address; elsewhere use https and `ca`",
                ));
            }
            ("https", Some(_)) => {}
            ("https", None) => {
                return Err(value("telemetry.ca", "must name the PEM authorities of an https collector"));
            }
            ("http", Some(_)) => return Err(value("telemetry.ca", "goes with https only")),
            _ => return Err(shape()),
        }
        if !(Duration::from_secs(1)..=Duration::from_secs(3_600)).contains(&self.interval) {
            return Err(value("telemetry.interval", "must be 1s to 1h"));
        }
        if !(0.0..=1.0).contains(&self.sampling) {
            return Err(value("telemetry.sampling", "must be 0.0 to 1.0, the share of traces that are sent"));
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and a million")]
        let sampled_ppm = (self.sampling * 1_000_000.0).round() as u32;
        Ok(Telemetry { host, port, ca: self.ca, interval: self.interval, sampled_ppm })
    }
}
