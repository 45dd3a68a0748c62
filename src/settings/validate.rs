//! What clap cannot check: settings that must fit each other.

use super::{ModelSettings, Origins, Precision, Provider, Secret, Settings};

/// How App Service begins what stands in a setting until it has read a secret.
const KEY_VAULT_REFERENCE: &str = "@Microsoft.KeyVault(";

/// Settings that cannot work together; the text says how to mend them.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// An open door on the network.
    #[error(
        "refusing to listen on {0} without credentials: set API_USERNAME and API_PASSWORD, or API_KEYS, or API_KEYS_FILE, or ALLOW_ANONYMOUS=true"
    )]
    Anonymous(std::net::IpAddr),
    /// Half of a pair.
    #[error("{0} is set without {1}: basic authentication needs both")]
    HalfCredentials(&'static str, &'static str),
    /// Two that exclude each other.
    #[error("{0} and {1} are both set: records go to one of them")]
    OneOf(&'static str, &'static str),
    /// App Service did not put the secret in the place of its name.
    #[error(
        "{0} is a reference to Key Vault that was not resolved: the app's identity may not read that secret"
    )]
    Unresolved(&'static str),
    /// A number that makes no sense.
    #[error("{0} must be {1}")]
    Range(&'static str, &'static str),
}

impl ModelSettings {
    /// Checks what belongs together.
    ///
    /// # Errors
    /// If two settings do not fit each other.
    pub fn validate(&self) -> Result<(), SettingsError> {
        if self.workers.is_some_and(|n| n == 0 || n > 1024) {
            return Err(SettingsError::Range("WORKERS", "between 1 and 1024"));
        }
        if (self.provider, self.precision) == (Provider::Cpu, Precision::Bf16) {
            return Err(SettingsError::Range("PRECISION", "f32 with PROVIDER=cpu"));
        }
        Ok(())
    }
}

impl Settings {
    /// Checks the settings against each other, and treats empty strings as not set.
    pub fn validated(mut self) -> Result<Self, SettingsError> {
        self.forget_blanks();
        let access = &self.access;
        match (&access.api_username, &access.api_password) {
            (Some(_), None) => {
                return Err(SettingsError::HalfCredentials(
                    "API_USERNAME",
                    "API_PASSWORD",
                ));
            }
            (None, Some(_)) => {
                return Err(SettingsError::HalfCredentials(
                    "API_PASSWORD",
                    "API_USERNAME",
                ));
            }
            _ => {}
        }
        if access
            .api_username
            .as_deref()
            .is_some_and(|name| name.contains(':'))
        {
            return Err(SettingsError::Range(
                "API_USERNAME",
                "free of colons (RFC 7617)",
            ));
        }
        let password = access.api_password.as_ref().map_or("", Secret::expose);
        if password.starts_with(KEY_VAULT_REFERENCE) {
            return Err(SettingsError::Unresolved("API_PASSWORD"));
        }
        let open = !self.has_credentials() && !access.allow_anonymous;
        if open && !self.listen.host.is_loopback() {
            return Err(SettingsError::Anonymous(self.listen.host));
        }
        let limits = &self.limits;
        for (name, value) in [
            ("MAX_UPLOAD_BYTES", limits.max_upload_bytes as u64),
            ("MAX_BATCH_PICTURES", limits.max_batch_pictures as u64),
            ("MAX_BATCH_BYTES", limits.max_batch_bytes as u64),
            ("MAX_PIXELS", self.picture.max_pixels),
            ("REQUEST_TIMEOUT_MS", limits.request_timeout_ms),
            ("MAX_QUEUE_MS", limits.max_queue_ms),
            ("CACHE_TTL_SECONDS", self.cache.cache_ttl_seconds),
            ("MAX_CONNECTIONS", self.connections.max_connections as u64),
            ("HEAD_TIMEOUT_MS", self.connections.head_timeout_ms),
            ("IDLE_TIMEOUT_MS", self.connections.idle_timeout_ms),
        ] {
            if value == 0 {
                return Err(SettingsError::Range(name, "greater than 0"));
            }
        }
        if limits.max_inflight_bytes < limits.max_upload_bytes {
            return Err(SettingsError::Range(
                "MAX_INFLIGHT_BYTES",
                "at least MAX_UPLOAD_BYTES",
            ));
        }
        // 0 is a port of the system's choice, which cannot be taken twice.
        if self.listen.port != 0 && self.listen.grpc_port.0 == Some(self.listen.port) {
            return Err(SettingsError::Range("GRPC_PORT", "another port than PORT"));
        }
        if !(0.0..=1.0).contains(&self.telemetry.trace_sample_ratio) {
            return Err(SettingsError::Range("TRACE_SAMPLE_RATIO", "from 0 to 1"));
        }
        if access.login_failures_per_minute > 1000 {
            return Err(SettingsError::Range(
                "LOGIN_FAILURES_PER_MINUTE",
                "at most 1000",
            ));
        }
        if self.listen.port != 0 && self.listen.metrics_port == Some(self.listen.port) {
            return Err(SettingsError::Range(
                "METRICS_PORT",
                "another one than PORT",
            ));
        }
        self.model.validate()?;
        self.registry
            .validate(self.shared.azure_storage_blob_endpoint.is_some())?;
        if self.shared.azure_cosmos_endpoint.is_some() && self.shared.database_url.is_some() {
            return Err(SettingsError::OneOf(
                "AZURE_COSMOS_ENDPOINT",
                "DATABASE_URL",
            ));
        }
        Ok(self)
    }

    /// Whether anybody must show credentials.
    pub fn has_credentials(&self) -> bool {
        self.access.api_username.is_some()
            || self.access.api_keys_file.is_some()
            || self
                .access
                .api_keys
                .as_ref()
                .is_some_and(|keys| !keys.0.is_empty())
    }

    // Compose files and portals set variables to "" to mean "not set".
    fn forget_blanks(&mut self) {
        let blank = |s: &mut String| s.trim().is_empty();
        self.listen.instance_name.take_if(blank);
        self.listen.release.take_if(blank);
        self.access.api_username.take_if(blank);
        self.access
            .api_password
            .take_if(|secret| secret.expose().is_empty());
        let no_path = |p: &mut std::path::PathBuf| p.as_os_str().is_empty();
        self.model.labels.take_if(no_path);
        self.model.onnxruntime.take_if(no_path);
        self.access.api_keys_file.take_if(no_path);
        let no_origin = |origins: &mut Origins| *origins == Origins::Only(Vec::new());
        self.access.cors_allow_origins.take_if(no_origin);
        self.registry.models.take_if(blank);
        let no_names = |names: &mut Vec<String>| names.iter().all(|name| name.trim().is_empty());
        self.registry.model_admins.take_if(no_names);
        let no_secret = |secret: &mut Secret| secret.expose().trim().is_empty();
        self.cache.redis_url.take_if(no_secret);
        let telemetry = &mut self.telemetry;
        telemetry.otel_exporter_otlp_endpoint.take_if(blank);
        telemetry
            .applicationinsights_connection_string
            .take_if(no_secret);
        let shared = &mut self.shared;
        for text in [
            &mut shared.azure_storage_blob_endpoint,
            &mut shared.azure_cosmos_endpoint,
            &mut shared.azure_cosmos_region,
            &mut shared.azure_client_id,
        ] {
            text.take_if(blank);
        }
        for secret in [
            &mut shared.azure_storage_key,
            &mut shared.azure_cosmos_key,
            &mut shared.database_url,
        ] {
            secret.take_if(no_secret);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        settings: Settings,
    }

    fn check(args: &[&str]) -> Result<Settings, String> {
        let args = std::iter::once("relance").chain(args.iter().copied());
        Cli::try_parse_from(args)
            .unwrap()
            .settings
            .validated()
            .map_err(|e| e.to_string())
    }

    #[test]
    fn an_open_door_on_the_network_is_refused() {
        assert!(check(&[]).is_ok());
        assert!(check(&["--host", "::1"]).is_ok());
        assert!(
            check(&["--host", "0.0.0.0"])
                .unwrap_err()
                .contains("ALLOW_ANONYMOUS")
        );
        assert!(check(&["--host", "0.0.0.0", "--allow-anonymous"]).is_ok());
        assert!(check(&["--host", "0.0.0.0", "--api-keys", ""]).is_err());
        let key = format!("ci:{}", "00".repeat(32));
        assert!(check(&["--host", "0.0.0.0", "--api-keys", &key]).is_ok());
    }

    #[test]
    fn half_credentials_and_zero_limits_are_refused() {
        assert!(
            check(&["--api-username", "ana"])
                .unwrap_err()
                .contains("API_PASSWORD")
        );
        assert!(
            check(&["--api-password", "x"])
                .unwrap_err()
                .contains("API_USERNAME")
        );
        assert!(check(&["--api-username", "", "--api-password", ""]).is_ok());
        assert!(
            check(&["--max-pixels", "0"])
                .unwrap_err()
                .contains("MAX_PIXELS")
        );
        assert!(check(&["--workers", "0"]).unwrap_err().contains("WORKERS"));
    }
}
