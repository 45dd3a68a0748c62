//! Tokens that are not waited for too long.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::error::{Error, ErrorKind};

/// How long a token may take. Less than a call may take, so that the failure names the culprit.
const LIMIT: Duration = Duration::from_secs(4);

/// A credential that gives up in time. Those of the SDK go on asking for longer than anyone waits.
#[derive(Debug)]
pub(super) struct Patient(pub Arc<dyn TokenCredential>);

#[async_trait]
impl TokenCredential for Patient {
    async fn get_token(
        &self,
        scopes: &[&str],
        options: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        let token = self.0.get_token(scopes, options);
        tokio::time::timeout(LIMIT, token)
            .await
            .unwrap_or_else(|_| {
                let text = format!("none within {} ms", LIMIT.as_millis());
                Err(Error::with_message(ErrorKind::Credential, text))
            })
    }
}
