//! Which container of which account, from the settings.

use azure_core::http::Url;

use super::ContainerError;

const ENDPOINT: &str = "AZURE_STORAGE_BLOB_ENDPOINT";
const FORM: &str = "https://ACCOUNT.blob.core.windows.net, or http://HOST:PORT/ACCOUNT for the emulator, and nothing behind it (no SAS)";

/// A container of a storage account.
#[derive(Debug)]
pub struct Endpoint {
    /// Name of the account.
    pub(super) account: String,
    /// Address of the container.
    pub(super) container: Url,
    // The two halves of what every address in the container begins with: `https://host` and `/container/`.
    origin: String,
    folder: String,
}

impl Endpoint {
    /// The container `container` of the account at `endpoint`; `setting` is where its name comes from.
    pub(super) fn new(
        endpoint: &str,
        container: &str,
        setting: &'static str,
    ) -> Result<Self, ContainerError> {
        let malformed = || ContainerError::Setting(ENDPOINT, FORM);
        let mut url = Url::parse(endpoint.trim()).map_err(|_| malformed())?;
        let bare = url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        if !bare || !matches!(url.scheme(), "http" | "https") {
            return Err(malformed());
        }
        let account = account(&url).ok_or_else(malformed)?.to_owned();
        if !is_container_name(container) {
            return Err(ContainerError::Setting(
                setting,
                "3 to 63 lower-case letters, digits and single hyphens",
            ));
        }
        url.path_segments_mut()
            .map_err(|()| malformed())?
            .pop_if_empty()
            .push(container);
        Ok(Self {
            account,
            origin: url.origin().ascii_serialization(),
            folder: format!("{}/", url.path()),
            container: url,
        })
    }

    /// Its address, for people.
    pub fn address(&self) -> &str {
        self.container.as_str()
    }

    /// Whether what is sent there can be read on the way.
    pub(super) fn is_plain(&self) -> bool {
        self.container.scheme() == "http"
    }

    /// The name of a blob that `given` is, or that it is the address of; nothing if it is the address of anything else.
    pub fn name<'a>(&self, given: &'a str) -> Option<&'a str> {
        if given.contains("://") {
            let (origin, path) = given.split_at_checked(self.origin.len())?;
            let here = origin.eq_ignore_ascii_case(&self.origin);
            path.strip_prefix(&self.folder).filter(|_| here)
        } else {
            Some(given)
        }
    }
}

// The emulator names the account in the path, Azure in the host.
fn account(url: &Url) -> Option<&str> {
    let path = url.path().trim_matches('/');
    let account = if path.is_empty() {
        url.domain()?.split_once('.')?.0
    } else {
        path
    };
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (account.len() >= 3 && account.bytes().all(fits)).then_some(account)
}

fn is_container_name(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (3..=63).contains(&name.len())
        && name.bytes().all(fits)
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_found_in_host_and_path() {
        for (endpoint, account, container) in [
            (
                "https://relance.blob.core.windows.net",
                "relance",
                "https://relance.blob.core.windows.net/uploads",
            ),
            (
                "https://relance.blob.core.windows.net/",
                "relance",
                "https://relance.blob.core.windows.net/uploads",
            ),
            (
                "http://127.0.0.1:10000/devstoreaccount1",
                "devstoreaccount1",
                "http://127.0.0.1:10000/devstoreaccount1/uploads",
            ),
            (
                "http://azurite:10000/devstoreaccount1/",
                "devstoreaccount1",
                "http://azurite:10000/devstoreaccount1/uploads",
            ),
        ] {
            let found = Endpoint::new(endpoint, "uploads", "AZURE_STORAGE_CONTAINER").unwrap();
            assert_eq!(found.account, account);
            assert_eq!(found.container.as_str(), container);
        }
    }

    #[test]
    fn what_is_no_endpoint_is_named_and_not_repeated() {
        for endpoint in [
            "relance",
            "relance.blob.core.windows.net",
            "ftp://relance.blob.core.windows.net",
            "https://relance.blob.core.windows.net/?sv=2026&sig=hush",
            "https://relance.blob.core.windows.net/?",
            "https://me:hush@relance.blob.core.windows.net",
            "https://relance.blob.core.windows.net/#hush",
            "https://10.0.0.1",
            "http://localhost:10000",
            "http://127.0.0.1:10000/devstoreaccount1/uploads",
            "DefaultEndpointsProtocol=https;AccountName=relance;AccountKey=hush",
        ] {
            let error = Endpoint::new(endpoint, "uploads", "AZURE_STORAGE_CONTAINER")
                .unwrap_err()
                .to_string();
            assert!(error.contains(ENDPOINT), "{endpoint}: {error}");
            assert!(!error.contains("hush"), "{endpoint}: {error}");
        }
    }

    #[test]
    fn container_names_are_those_of_azure() {
        for name in [
            "",
            "up",
            "Uploads",
            "-up",
            "up-",
            "a--b",
            "a/b",
            "a b",
            "$root",
            &"a".repeat(64),
        ] {
            let error = Endpoint::new(
                "https://relance.blob.core.windows.net",
                name,
                "AZURE_STORAGE_CONTAINER",
            )
            .unwrap_err();
            assert!(
                error.to_string().contains("AZURE_STORAGE_CONTAINER"),
                "{name}"
            );
        }
    }
}
