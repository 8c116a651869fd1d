//! Tokens of Microsoft Entra ID, through the credentials of `azure_identity`.

mod http;

use std::{error::Error as StdError, sync::Arc};

use azure_core::{
    credentials::TokenCredential,
    error::{Error as AzureError, ErrorKind as AzureErrorKind},
    http::{ClientOptions, Transport},
};
use azure_identity::{
    ClientAssertionCredentialOptions, DeveloperToolsCredential, ManagedIdentityCredential,
    ManagedIdentityCredentialOptions, UserAssignedId, WorkloadIdentityCredential,
    WorkloadIdentityCredentialOptions,
};
use futures_util::future::BoxFuture;
use scaleout_core::{Error, ErrorKind};

use self::http::HttpsClient;
use crate::token::{AccessToken, Credential, TokenProvider};

/// What tokens for Service Bus are asked for, on all clouds.
const SCOPE: &str = "https://servicebus.azure.net/.default";

/// Access tokens by way of any credential of `azure_identity`. Needs the feature `entra`.
///
/// Its identity needs the role Azure Service Bus Data Owner on the namespace, or Data Sender and Data Receiver where
/// `create_entities` is `false`.
///
/// ```no_run
/// # fn main() -> Result<(), scaleout_core::Error> {
/// use scaleout_servicebus::{EntraToken, ServiceBusBackplane, ServiceBusConfig};
///
/// let identity = EntraToken::managed_identity(None)?;
/// let config = ServiceBusConfig::parse_with("servicebus://chat.servicebus.windows.net/?app=chat", identity.into())?;
/// let backplane = ServiceBusBackplane::new(config)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct EntraToken {
    credential: Arc<dyn TokenCredential>,
}

impl EntraToken {
    /// Takes the tokens of `credential`, of `azure_core` 1.
    ///
    /// One that an application makes itself asks over the HTTP client of `azure_core`, which has one with its feature
    /// `reqwest` only; those that are made here need none.
    #[must_use]
    pub fn new(credential: Arc<dyn TokenCredential>) -> Self {
        Self { credential }
    }

    /// The identity that Azure gives to a virtual machine, a container or an App Service.
    ///
    /// `client_id` names one that was assigned by a user; none is that of the system.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) where there can be no such identity, or the operating system knows no authorities.
    pub fn managed_identity(client_id: Option<String>) -> Result<Self, Error> {
        let options = ManagedIdentityCredentialOptions {
            user_assigned_id: client_id.map(UserAssignedId::ClientId),
            client_options: client_options()?,
        };
        Ok(Self::new(ManagedIdentityCredential::new(Some(options)).map_err(unusable)?))
    }

    /// The identity of a pod in Kubernetes, as `AZURE_TENANT_ID`, `AZURE_CLIENT_ID` and `AZURE_FEDERATED_TOKEN_FILE` say.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) where one of them is missing, or the operating system knows no authorities.
    pub fn workload_identity() -> Result<Self, Error> {
        let options = WorkloadIdentityCredentialOptions {
            credential_options: ClientAssertionCredentialOptions { client_options: client_options()? },
            ..Default::default()
        };
        Ok(Self::new(WorkloadIdentityCredential::new(Some(options)).map_err(unusable)?))
    }

    /// Who is logged in with the Azure CLI (`az login`), or else the Azure Developer CLI (`azd auth login`).
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) where commands cannot be run.
    pub fn developer_tools() -> Result<Self, Error> {
        Ok(Self::new(DeveloperToolsCredential::new(None).map_err(unusable)?))
    }

    async fn ask(&self) -> Result<AccessToken, Error> {
        let token = self.credential.get_token(&[SCOPE], None).await.map_err(failed)?;
        Ok(AccessToken { secret: token.token.secret().into(), expires_at: token.expires_on.into() })
    }
}

impl TokenProvider for EntraToken {
    fn token(&self) -> BoxFuture<'_, Result<AccessToken, Error>> {
        Box::pin(self.ask())
    }
}

impl From<EntraToken> for Credential {
    fn from(token: EntraToken) -> Self {
        Self::Token(Arc::new(token))
    }
}

fn client_options() -> Result<ClientOptions, Error> {
    let client = HttpsClient::new()?;
    Ok(ClientOptions { transport: Some(Transport::new(Arc::new(client))), ..ClientOptions::default() })
}

fn unusable(error: AzureError) -> Error {
    Error::new(ErrorKind::Config, "the environment has no such credential of Microsoft Entra ID")
        .with_source(error)
}

/// Who is refused must be granted something; what cannot be reached may be later.
fn failed(error: AzureError) -> Error {
    let kind = if is_refusal(&error) { ErrorKind::Unauthorized } else { ErrorKind::Unavailable };
    Error::new(kind, "asking Microsoft Entra ID for a token").with_source(error)
}

/// Whether somebody has to log in, or to grant something. What is underneath a credential's own error says it best.
fn is_refusal(error: &AzureError) -> bool {
    let mut refusal = false;
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<AzureError>() {
            match error.kind() {
                AzureErrorKind::HttpResponse { status, .. } => {
                    let status = u16::from(*status);
                    return (400..500).contains(&status) && !matches!(status, 404 | 408 | 410 | 429);
                }
                AzureErrorKind::Io | AzureErrorKind::Connection => return false,
                AzureErrorKind::Credential => refusal = true,
                _ => {}
            }
        }
        cause = error.source();
    }
    refusal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(error: AzureError) -> ErrorKind {
        failed(error).kind()
    }

    fn wrapped(error: AzureError) -> AzureError {
        AzureError::with_error(AzureErrorKind::Credential, error, "authentication failed")
    }

    fn answered(status: u16) -> AzureError {
        AzureErrorKind::HttpResponse { status: status.into(), error_code: None, raw_response: None }
            .into_error()
    }

    #[test]
    fn who_is_refused_has_to_be_granted_something() {
        for status in [400, 401, 403] {
            assert_eq!(kind(wrapped(answered(status))), ErrorKind::Unauthorized, "{status}");
        }
        let error = AzureError::with_message(AzureErrorKind::Credential, "please run az login");
        assert_eq!(kind(wrapped(error)), ErrorKind::Unauthorized);
    }

    #[test]
    fn what_cannot_be_reached_may_be_later() {
        for status in [404, 408, 410, 429, 500, 503] {
            assert_eq!(kind(wrapped(answered(status))), ErrorKind::Unavailable, "{status}");
        }
        for inner in [AzureErrorKind::Io, AzureErrorKind::Connection] {
            assert_eq!(kind(wrapped(inner.into_error())), ErrorKind::Unavailable);
        }
        assert_eq!(kind(AzureErrorKind::Other.into_error()), ErrorKind::Unavailable);
    }
}
