//! What the settings say about the account.

use azure_core::credentials::Secret;
use azure_core::http::Url;
use azure_data_cosmos::options::Region;
use azure_data_cosmos::{AccountReference, RoutingStrategy};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::settings::Shared;

/// Settings of Cosmos DB that make no sense; the text says what is accepted.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Not the address of an account.
    #[error(
        "AZURE_COSMOS_ENDPOINT must be an address such as https://ACCOUNT.documents.azure.com (http:// only for an emulator on this computer)"
    )]
    Endpoint,
    /// Not a key.
    #[error("AZURE_COSMOS_KEY must be the key of the account as the portal shows it (base64)")]
    Key,
    /// Not a name that Cosmos DB gives.
    #[error("{0} must be 1 to 255 characters without / \\ ? #")]
    Name(&'static str),
    /// The environment lacks what the credential needs.
    #[error("no credential for AZURE_COSMOS_ENDPOINT: {0}")]
    Credential(azure_core::Error),
}

/// A container, and how to get to it.
#[derive(Clone, Debug)]
pub struct Target {
    pub account: AccountReference,
    /// Whether it is reached by TLS.
    pub encrypted: bool,
    pub routing: RoutingStrategy,
    pub database: String,
    pub container: String,
}

/// The container that the settings name.
pub fn target(settings: &Shared) -> Result<Target, SetupError> {
    let endpoint = endpoint(settings.azure_cosmos_endpoint.as_deref())?;
    let encrypted = endpoint.scheme() == "https";
    let account = match &settings.azure_cosmos_key {
        Some(key) => {
            let key = key.expose().trim();
            match STANDARD.decode(key) {
                Ok(bytes) if !bytes.is_empty() => {}
                _ => return Err(SetupError::Key),
            }
            AccountReference::with_authentication_key(endpoint.into(), Secret::from(key.to_owned()))
        }
        None => {
            let credential = crate::azure::credential(settings).map_err(SetupError::Credential)?;
            AccountReference::with_credential(endpoint.into(), credential)
        }
    };
    let routing = match &settings.azure_cosmos_region {
        Some(region) => RoutingStrategy::ProximityTo(Region::new(region.clone())),
        // The order that the account has.
        None => RoutingStrategy::PreferredRegions(Vec::new()),
    };
    let name = |variable, value: &str| match value.trim() {
        "" => Err(SetupError::Name(variable)),
        name if name.chars().count() > 255 || name.contains(['/', '\\', '?', '#']) => {
            Err(SetupError::Name(variable))
        }
        name => Ok(name.to_owned()),
    };
    Ok(Target {
        account,
        encrypted,
        routing,
        database: name("AZURE_COSMOS_DATABASE", &settings.azure_cosmos_database)?,
        container: name("AZURE_COSMOS_CONTAINER", &settings.azure_cosmos_container)?,
    })
}

fn endpoint(text: Option<&str>) -> Result<Url, SetupError> {
    let url = text
        .and_then(|text| Url::parse(text.trim()).ok())
        .ok_or(SetupError::Endpoint)?;
    let host = url.host_str().unwrap_or_default();
    let scheme = match url.scheme() {
        "https" => true,
        // What the client takes for an emulator.
        "http" => ["localhost", "127.0.0.1", "[::1]"].contains(&host),
        _ => false,
    };
    let bare = url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if host.is_empty() || !scheme || !bare {
        return Err(SetupError::Endpoint);
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_addresses_of_accounts() {
        for good in [
            "https://account.documents.azure.com",
            "https://account.documents.azure.com:443/",
            "http://localhost:8081",
            "http://127.0.0.1:8081/",
            "http://[::1]:8081/",
        ] {
            assert!(endpoint(Some(good)).is_ok(), "{good}");
        }
        for bad in [
            "",
            "account",
            "account.documents.azure.com:443",
            "http://account.documents.azure.com",
            "https://user:pass@account.documents.azure.com",
            "https://account.documents.azure.com/dbs/relance",
            "https://account.documents.azure.com/?key=secret",
            "AccountEndpoint=https://account.documents.azure.com/;AccountKey=c2VjcmV0;",
        ] {
            let refused = endpoint(Some(bad)).unwrap_err().to_string();
            assert!(
                refused.starts_with("AZURE_COSMOS_ENDPOINT must be"),
                "{bad}"
            );
            assert!(
                !refused.contains("secret") && !refused.contains("c2Vj"),
                "{refused}"
            );
        }
        assert!(endpoint(None).is_err());
    }
}
