//! TLS from the settings, the same for messages and for requests about entities.

use std::{cell::OnceCell, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};
use scaleout_core::{Error, ErrorKind};

use crate::config::ServiceBusConfig;

/// What TLS connections are made with: rustls with ring, whatever provider the process has, and the authorities of the
/// operating system besides those of `ca`.
///
/// # Errors
/// [`Config`](ErrorKind::Config) where no authority is known.
pub(crate) fn tls_of(ca: Option<&[u8]>) -> Result<Arc<ClientConfig>, Error> {
    let mut roots = RootCertStore::empty();
    // One that cannot be read is none of those that are needed; how many there are is what counts.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(pem) = ca {
        roots.add_parsable_certificates(certificates(pem));
    }
    if roots.is_empty() {
        return Err(Error::new(
            ErrorKind::Config,
            "servicebus settings: the operating system knows no authority to check the certificate of Service Bus \
             by: install its certificates (ca-certificates), or set ca",
        ));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has the cipher suites of TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// TLS for all that a node connects to. It reads the certificates of the operating system, so it is made once, and only
/// where something needs it.
pub(crate) struct NodeTls<'a> {
    config: &'a ServiceBusConfig,
    made: OnceCell<Arc<ClientConfig>>,
}

impl<'a> NodeTls<'a> {
    pub(crate) fn of(config: &'a ServiceBusConfig) -> Self {
        Self { config, made: OnceCell::new() }
    }

    /// # Errors
    /// [`Config`](ErrorKind::Config) where no authority is known.
    pub(crate) fn get(&self) -> Result<Arc<ClientConfig>, Error> {
        if let Some(made) = self.made.get() {
            return Ok(Arc::clone(made));
        }
        let made = tls_of(self.config.ca.as_deref())?;
        Ok(Arc::clone(self.made.get_or_init(|| made)))
    }
}

/// Reports to `refuse` what is wrong with the certificates in `pem`.
pub(super) fn ca_problems(pem: &[u8], refuse: &mut impl FnMut(bool, &str)) {
    let certificates = certificates(pem);
    refuse(certificates.is_empty(), "ca holds no certificate in PEM form");
    let mut roots = RootCertStore::empty();
    refuse(
        certificates.into_iter().any(|certificate| roots.add(certificate).is_err()),
        "ca holds a certificate that cannot be read",
    );
}

fn certificates(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().unwrap_or_default()
}
