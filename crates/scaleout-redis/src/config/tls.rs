//! What TLS needs.

use std::fmt;

/// TLS to the servers, by rustls: versions 1.2 and 1.3.
///
/// The server's certificate must name the host that is connected to. The members of a Cluster, and the master that
/// sentinels know, are reached under the names or addresses that these tell: set `cluster-announce-hostname` or
/// `sentinel resolve-hostnames` on the servers where certificates have no addresses.
///
/// The process-wide provider of rustls' cryptography is used, and ring installed as such if there is none when the
/// first connection is made; an application that wants another installs it before.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsConfig {
    /// Certificates of the authorities that are trusted, as PEM. Defaults to none: those of the operating system.
    ///
    /// Where set, no others are trusted.
    pub ca: Option<Vec<u8>>,
    /// The chain of certificates and the key that this node shows, both as PEM. Defaults to none.
    ///
    /// For servers with `tls-auth-clients yes`, which is the default of Redis itself.
    pub client_certificate: Option<(Vec<u8>, Vec<u8>)>,
}

impl TlsConfig {
    /// Sets [`ca`](Self::ca).
    #[must_use]
    pub fn with_ca(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca = Some(pem.into());
        self
    }

    /// Sets [`client_certificate`](Self::client_certificate).
    #[must_use]
    pub fn with_client_certificate(
        mut self,
        chain_pem: impl Into<Vec<u8>>,
        key_pem: impl Into<Vec<u8>>,
    ) -> Self {
        self.client_certificate = Some((chain_pem.into(), key_pem.into()));
        self
    }

    /// What cannot work, each in a few words.
    #[cfg(feature = "tls")]
    pub(super) fn problems(&self) -> Vec<String> {
        use rustls::{
            RootCertStore,
            pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
        };

        let mut problems = Vec::new();
        let mut refuse = |wrong: bool, problem: &str| {
            if wrong {
                problems.push(problem.to_owned());
            }
        };
        let certificates =
            |pem| CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().unwrap_or_default();
        if let Some(pem) = &self.ca {
            let certificates = certificates(pem);
            let mut roots = RootCertStore::empty();
            refuse(certificates.is_empty(), "ca holds no certificate in PEM form");
            refuse(
                certificates.into_iter().any(|certificate| roots.add(certificate).is_err()),
                "ca holds a certificate that cannot be read",
            );
        }
        if let Some((chain, key)) = &self.client_certificate {
            refuse(certificates(chain).is_empty(), "client_cert holds no certificate in PEM form");
            refuse(
                PrivateKeyDer::from_pem_slice(key).is_err(),
                "client_key holds no private key in PEM form (one with a passphrase must be decrypted first)",
            );
        }
        problems
    }

    /// What cannot work: anything, in a build without TLS.
    #[cfg(not(feature = "tls"))]
    pub(super) fn problems(&self) -> Vec<String> {
        vec!["TLS is asked for, and scaleout-redis was built without its feature `tls`".into()]
    }
}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // By hand, so that no key is shown; certificates are only long.
        f.debug_struct("TlsConfig")
            .field("ca", &self.ca.as_ref().map(|_| "PEM"))
            .field("client_certificate", &self.client_certificate.as_ref().map(|_| "***"))
            .finish()
    }
}
