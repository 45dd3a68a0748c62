//! What the SDK's requests lack: a checksum, and the signature that the emulator asks for.

use std::sync::Arc;

use async_trait::async_trait;
use azure_core::credentials::Secret;
use azure_core::hmac::hmac_sha256;
use azure_core::http::headers::{AUTHORIZATION, HeaderName, MS_DATE};
use azure_core::http::policies::{Policy, PolicyResult};
use azure_core::http::{Context, Request};
use azure_core::time::{OffsetDateTime, to_rfc7231};

use crate::telemetry::traceparent;

/// MD5 of a body, in the context of the call that sends it.
pub(super) struct BodyMd5(pub [u8; 16]);

/// Sends along the trace this is part of, and [`BodyMd5`], so that the service refuses a body that was damaged on its
/// way. The SDK knows that header but has no option for it.
#[derive(Debug)]
pub(super) struct Companions;

#[async_trait]
impl Policy for Companions {
    async fn send(
        &self,
        context: &Context,
        request: &mut Request,
        next: &[Arc<dyn Policy>],
    ) -> PolicyResult {
        if let Some(BodyMd5(digest)) = context.value::<BodyMd5>() {
            request.insert_header("content-md5", azure_core::base64::encode(digest));
        }
        if let Some(caller) = traceparent() {
            request.insert_header("traceparent", caller);
        }
        next[0].send(context, request, &next[1..]).await
    }
}

/// Signs requests with the account's key ("Shared Key"), which the SDK does not know.
#[derive(Debug)]
pub(super) struct SharedKey {
    account: String,
    key: Secret,
}

impl SharedKey {
    /// Nothing if the key is not base64.
    pub fn new(account: String, key: String) -> Option<Self> {
        let signer = Self {
            account,
            key: Secret::new(key),
        };
        hmac_sha256("", &signer.key).ok().map(|_| signer)
    }

    fn text(&self, request: &Request) -> String {
        let value = |name: &'static str| {
            let headers = request.headers();
            headers
                .get_optional_str(&HeaderName::from_static(name))
                .unwrap_or_default()
        };
        let length = Some(value("content-length")).filter(|n| *n != "0");
        let mut text = format!("{}\n", request.method());
        for part in [
            value("content-encoding"),
            value("content-language"),
            length.unwrap_or_default(),
            value("content-md5"),
            value("content-type"),
            value("date"),
            value("if-modified-since"),
            value("if-match"),
            value("if-none-match"),
            value("if-unmodified-since"),
            value("range"),
        ] {
            text += part;
            text.push('\n');
        }
        let headers = request.headers().iter();
        let mut named: Vec<_> = headers
            .map(|(name, value)| (name.as_str(), value.as_str().trim()))
            .filter(|(name, _)| name.starts_with("x-ms-"))
            .collect();
        named.sort_unstable();
        for (name, value) in named {
            text += &format!("{name}:{value}\n");
        }
        text += &format!("/{}{}", self.account, request.url().path());
        let mut query: Vec<_> = request.url().query_pairs().collect();
        query.sort_unstable();
        for (name, value) in query {
            text += &format!("\n{}:{value}", name.to_ascii_lowercase());
        }
        text
    }
}

#[async_trait]
impl Policy for SharedKey {
    async fn send(
        &self,
        context: &Context,
        request: &mut Request,
        next: &[Arc<dyn Policy>],
    ) -> PolicyResult {
        request.insert_header(MS_DATE, to_rfc7231(&OffsetDateTime::now_utc()));
        let signature = hmac_sha256(&self.text(request), &self.key)?;
        let value = format!("SharedKey {}:{signature}", self.account);
        request.insert_header(AUTHORIZATION, value);
        next[0].send(context, request, &next[1..]).await
    }
}
