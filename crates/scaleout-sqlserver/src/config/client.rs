//! Making the settings of the `tiberius` crate from ours.

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use tiberius::{AuthMethod, EncryptionLevel};

use crate::{
    config::{Authentication, Encryption, SqlServerConfig},
    error::Failure,
};

impl SqlServerConfig {
    /// The client's settings for a connection to `host`, which is that of the settings unless the server has sent us
    /// elsewhere.
    ///
    /// Without a `port`, the instance is looked up where one is configured, and the port is the usual one elsewhere. A
    /// token is got here; the caller sees to `connect_timeout` for all of it.
    ///
    /// # Cancel safety
    /// Nothing is held.
    pub(crate) async fn client_config(
        &self,
        host: &str,
        port: Option<u16>,
    ) -> Result<tiberius::Config, Failure> {
        let mut client = tiberius::Config::new();
        client.host(host);
        match (port, &self.instance) {
            (Some(port), _) => client.port(port),
            (None, Some(instance)) => client.instance_name(instance),
            (None, None) => client.port(SERVER_PORT),
        }
        client.database(&self.database);
        client.authentication(self.auth_method().await?);
        client.application_name(&self.application_name);
        client.packet_size(self.packet_size);
        client.encryption(match self.encryption {
            Encryption::Required => EncryptionLevel::Required,
            Encryption::Strict => EncryptionLevel::Strict,
            Encryption::LoginOnly => EncryptionLevel::Off,
            Encryption::NotSupported => EncryptionLevel::NotSupported,
        });
        // The client panics where both are set; `check` refuses that.
        if self.trust_server_certificate {
            client.trust_cert();
        } else if let Some(pem) = &self.ca {
            client.trust_cert_ca_bundle(pem.clone());
        }
        if let Some(name) = &self.host_name_in_certificate {
            client.hostname_in_certificate(name);
        }
        // Whoever connects or asks has a time-out of its own for all of it, which for a wait is long.
        client.handshake_timeout(None);
        client.command_timeout(None);
        Ok(client)
    }

    async fn auth_method(&self) -> Result<AuthMethod, Failure> {
        Ok(match &self.authentication {
            Authentication::SqlLogin { user, password } => AuthMethod::sql_server(user, password.expose()),
            #[cfg(any(windows, all(unix, feature = "kerberos")))]
            Authentication::Integrated => AuthMethod::Integrated,
            Authentication::AccessToken(provider) => {
                let token = provider.token().await.map_err(Failure::Token)?;
                AuthMethod::aad_token(token.expose())
            }
        })
    }
}

/// Reports to `refuse` what is wrong with the certificates in `pem`.
pub(super) fn ca_problems(pem: &[u8], refuse: &mut impl FnMut(bool, &str)) {
    let certificates = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().unwrap_or_default();
    refuse(certificates.is_empty(), "ca holds no certificate in PEM form");
    let mut roots = RootCertStore::empty();
    refuse(
        certificates.into_iter().any(|certificate| roots.add(certificate).is_err()),
        "ca holds a certificate that cannot be read",
    );
}

const SERVER_PORT: u16 = 1433;
