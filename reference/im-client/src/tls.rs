//! TLS to the server: whom to trust, and the handshake.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::url::{Carrier, ServerUrl};

/// What travels inside, as TLS names it (ALPN).
const ALPN_STREAM: &[u8] = b"im.v2";
const ALPN_HTTP: &[u8] = b"http/1.1";

/// Whose certificates are trusted where the address asks for TLS: by default those of the public authorities that Mozilla
/// trusts, as of the release of `webpki-roots` in this build.
///
/// Packets are encrypted for the server's pinned key in any case; TLS hides who talks to which server and passes firewalls.
///
/// ```
/// # fn example(pem: &[u8], options: im_client::Options) -> Result<(), im_client::TlsError> {
/// let options = options.tls(im_client::Tls::authorities(pem)?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Tls {
    /// Fails only in a build whose cryptography does not fit together.
    config: Result<Arc<ClientConfig>, rustls::Error>,
}

/// Why there is no TLS connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The text holds no certificate that can be trusted.
    #[error("no certificate can be taken from it ({0}): give the authority's certificate in PEM, BEGIN CERTIFICATE")]
    Authorities(String),
    /// The handshake failed.
    #[error("TLS with {host} failed: {error}{hint}")]
    Handshake {
        /// The host.
        host: String,
        /// What rustls or the socket said.
        error: io::Error,
        /// What to do about it, where that is known.
        hint: &'static str,
    },
    /// The host of the address cannot stand in a certificate.
    #[error("'{0}' is neither a DNS name nor an IP address, so no certificate can be checked against it")]
    Name(String),
}

impl Default for Tls {
    fn default() -> Self {
        Self::trusting(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() })
    }
}

impl Tls {
    /// Trusts only the authorities whose certificates stand in this PEM text, such as a company's own.
    ///
    /// # Errors
    ///
    /// [`TlsError::Authorities`] when there is none, or one is damaged.
    pub fn authorities(pem: &[u8]) -> Result<Self, TlsError> {
        let bad = |error: &dyn fmt::Display| TlsError::Authorities(error.to_string());
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| bad(&error))?;
            roots.add(certificate).map_err(|error| bad(&error))?;
        }
        if roots.is_empty() {
            return Err(bad(&"there is none"));
        }
        Ok(Self::trusting(roots))
    }

    fn trusting(roots: RootCertStore) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        Self { config: config.map(|config| Arc::new(config.with_root_certificates(roots).with_no_client_auth())) }
    }

    pub(crate) async fn connect(&self, url: &ServerUrl, stream: TcpStream) -> Result<TlsStream<TcpStream>, TlsError> {
        let host = url.host();
        let failed = |error: io::Error| TlsError::Handshake { host: host.into(), hint: hint(&error), error };
        let config = self.config.clone().map_err(|error| failed(io::Error::other(error)))?;
        let name = ServerName::try_from(host.to_owned()).map_err(|_| TlsError::Name(host.into()))?;
        let alpn = if url.carrier() == Carrier::Stream { ALPN_STREAM } else { ALPN_HTTP };
        let connector = TlsConnector::from(config);
        connector.with_alpn(vec![alpn.to_vec()]).connect(name, stream).await.map_err(failed)
    }
}

fn hint(error: &io::Error) -> &'static str {
    use rustls::{CertificateError as Bad, Error};
    match error.get_ref().and_then(|error| error.downcast_ref::<Error>()) {
        Some(Error::InvalidCertificate(Bad::UnknownIssuer)) => {
            ": nobody who is trusted signed the certificate; if the server has its own authority, name it with --ca-file"
        }
        Some(Error::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. })) => {
            ": its operator has to renew the certificate, if your clock is right"
        }
        Some(Error::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. })) => {
            ": connect with a name that stands in the certificate"
        }
        Some(Error::InvalidMessage(_)) => ": this port may not speak TLS; if so, use tcp, ws or http",
        _ => "",
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}
