//! Who the service is to Azure.

use std::sync::Arc;

use azure_core::credentials::TokenCredential;
use azure_identity::{
    DeveloperToolsCredential, ManagedIdentityCredential, ManagedIdentityCredentialOptions,
    UserAssignedId, WorkloadIdentityCredential,
};

use crate::settings::{AzureCredential, Shared};

/// The credential for all of Azure's services. No request is made.
///
/// # Errors
/// If the environment lacks what the chosen credential needs.
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
    Ok(match chosen {
        AzureCredential::WorkloadIdentity => WorkloadIdentityCredential::new(None)?,
        AzureCredential::ManagedIdentity => {
            let options = ManagedIdentityCredentialOptions {
                user_assigned_id: settings
                    .azure_client_id
                    .clone()
                    .map(UserAssignedId::ClientId),
                ..Default::default()
            };
            ManagedIdentityCredential::new(Some(options))?
        }
        AzureCredential::Auto | AzureCredential::DeveloperTools => {
            DeveloperToolsCredential::new(None)?
        }
    })
}
