//! A certificate authority of one test, and a certificate for this machine.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

/// Files in a folder that goes with it.
pub struct Authority {
    dir: tempfile::TempDir,
}

impl Authority {
    /// An authority that nobody trusts yet, which has certified `localhost` and `127.0.0.1`.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap();
        let issuer = Issuer::new(params, key);

        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(names).unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();

        let authority = Self { dir };
        std::fs::write(authority.root(), root.pem()).unwrap();
        std::fs::write(authority.certificate(), certificate.pem()).unwrap();
        std::fs::write(authority.key(), key.serialize_pem()).unwrap();
        authority
    }

    /// The authority itself, PEM: what `SSL_CERT_FILE` makes programs trust.
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root.pem")
    }

    /// The certificate for this machine, PEM.
    pub fn certificate(&self) -> PathBuf {
        self.dir.path().join("certificate.pem")
    }

    /// Its private key, PEM.
    pub fn key(&self) -> PathBuf {
        self.dir.path().join("key.pem")
    }
}
