//! Certificates for servers and clients of a test: [`TestCa`].

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use tempfile::TempDir;

/// A certificate authority of a test, a certificate for its servers and one for its clients, as PEM texts and as files.
///
/// Clones share them; the files go with the last one. A second authority is one that nobody trusts.
#[derive(Clone)]
pub struct TestCa {
    files: Arc<Files>,
}

struct Files {
    folder: TempDir,
    ca: String,
    client_certificate: String,
    client_key: String,
}

impl TestCa {
    /// One whose servers are `127.0.0.1` and `localhost`.
    ///
    /// # Errors
    /// Where its files cannot be written.
    pub fn new() -> io::Result<Self> {
        Self::for_names(["127.0.0.1", "localhost"])
    }

    /// One whose servers have these names or addresses; a client that expects another one refuses them.
    ///
    /// # Errors
    /// Where a name is none, or its files cannot be written.
    pub fn for_names<N: Into<String>>(names: impl IntoIterator<Item = N>) -> io::Result<Self> {
        let names = names.into_iter().map(Into::into).collect();
        let folder = TempDir::with_prefix("scaleout-ca-")?;
        let made = make(names).map_err(io::Error::other)?;
        for (name, text) in [
            ("ca.pem", &made.ca),
            ("server.pem", &made.server.0),
            ("server.key", &made.server.1),
            ("client.pem", &made.client.0),
            ("client.key", &made.client.1),
        ] {
            fs::write(folder.path().join(name), text)?;
        }
        let (client_certificate, client_key) = made.client;
        Ok(Self { files: Arc::new(Files { folder, ca: made.ca, client_certificate, client_key }) })
    }

    /// The authority's certificate, as PEM.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.files.ca
    }

    /// The clients' certificate, as PEM.
    #[must_use]
    pub fn client_certificate_pem(&self) -> &str {
        &self.files.client_certificate
    }

    /// The key of the clients' certificate, as PEM.
    #[must_use]
    pub fn client_key_pem(&self) -> &str {
        &self.files.client_key
    }

    /// The folder of `ca.pem`, `server.pem`, `server.key`, `client.pem` and `client.key`.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.files.folder.path()
    }

    /// The file of [`ca_pem`](Self::ca_pem).
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.folder().join("ca.pem")
    }

    /// The file of [`client_certificate_pem`](Self::client_certificate_pem).
    #[must_use]
    pub fn client_certificate_file(&self) -> PathBuf {
        self.folder().join("client.pem")
    }

    /// The file of [`client_key_pem`](Self::client_key_pem).
    #[must_use]
    pub fn client_key_file(&self) -> PathBuf {
        self.folder().join("client.key")
    }

    /// The file of the servers' certificate.
    #[must_use]
    pub fn server_certificate_file(&self) -> PathBuf {
        self.folder().join("server.pem")
    }

    /// The file of the key of the servers' certificate.
    #[must_use]
    pub fn server_key_file(&self) -> PathBuf {
        self.folder().join("server.key")
    }
}

impl fmt::Debug for TestCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestCa").field("folder", &self.folder()).finish_non_exhaustive()
    }
}

struct Made {
    ca: String,
    /// Certificate and key.
    server: (String, String),
    /// Certificate and key.
    client: (String, String),
}

fn make(names: Vec<String>) -> Result<Made, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "scaleout test authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let sign = |common_name: &str, names: Vec<String>, usages: &[ExtendedKeyUsagePurpose]| {
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = usages.to_vec();
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        Ok::<_, rcgen::Error>((params.signed_by(&key, &ca)?.pem(), key.serialize_pem()))
    };
    // Servers are each other's clients too: replicas, nodes of a cluster.
    let server_usages = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    Ok(Made {
        server: sign("scaleout test server", names, &server_usages)?,
        client: sign("scaleout test client", Vec::new(), &[ExtendedKeyUsagePurpose::ClientAuth])?,
        ca: ca.pem(),
    })
}
