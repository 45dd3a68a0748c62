//! Who the service is to Azure, and how it talks to it.

pub mod container;

use std::sync::Arc;
use std::time::Duration;

use azure_core::credentials::TokenCredential;
use azure_core::error::{Error, ErrorKind};
use azure_core::http::{ClientOptions, Transport};
use azure_identity::{
    ClientAssertionCredentialOptions, DeveloperToolsCredential, ManagedIdentityCredential,
    ManagedIdentityCredentialOptions, UserAssignedId, WorkloadIdentityCredential,
    WorkloadIdentityCredentialOptions,
};

use crate::settings::{AzureCredential, Shared};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(3);

/// An HTTP client. The one that the SDK makes by itself waits 20 s for a connection, and panics where the system has
/// no certificates.
///
/// # Errors
/// If the system has no certificates.
pub fn transport() -> azure_core::Result<Transport> {
    let client = reqwest::Client::builder()
        .connect_timeout(CONNECT)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| Error::with_error(ErrorKind::Io, error, "cannot make an HTTPS client"))?;
    Ok(Transport::new(Arc::new(client)))
}

/// The credential for all of Azure's services. No request is made.
///
/// # Errors
/// If the environment lacks what the chosen credential needs, or the system has no certificates.
pub fn credential(settings: &Shared) -> azure_core::Result<Arc<dyn TokenCredential>> {
    let there = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let chosen = match settings.azure_credential {
        AzureCredential::Auto if there("AZURE_FEDERATED_TOKEN_FILE") => {
            AzureCredential::WorkloadIdentity
        }
        AzureCredential::Auto
            if there("IDENTITY_ENDPOINT") || settings.azure_client_id.is_some() =>
        {
            AzureCredential::ManagedIdentity
        }
        AzureCredential::Auto => AzureCredential::DeveloperTools,
        chosen => chosen,
    };
    tracing::debug!("credential for Azure: {chosen:?}");
    let client_options = ClientOptions {
        transport: Some(transport()?),
        ..Default::default()
    };
    Ok(match chosen {
        AzureCredential::WorkloadIdentity => {
            let options = WorkloadIdentityCredentialOptions {
                credential_options: ClientAssertionCredentialOptions { client_options },
                ..Default::default()
            };
            WorkloadIdentityCredential::new(Some(options))?
        }
        AzureCredential::ManagedIdentity => {
            let options = ManagedIdentityCredentialOptions {
                user_assigned_id: settings
                    .azure_client_id
                    .clone()
                    .map(UserAssignedId::ClientId),
                client_options,
            };
            ManagedIdentityCredential::new(Some(options))?
        }
        AzureCredential::Auto | AzureCredential::DeveloperTools => {
            DeveloperToolsCredential::new(None)?
        }
    })
}
