//! TLS on the port: a certificate with its key, checked, and replaced while the server runs.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::pki_types::pem::{Error::NoItemsFound, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, ServerConfig};
use x509_parser::prelude::{FromDer, X509Certificate};

/// What travels inside (ALPN): HTTP in the version that the client likes better, WebSocket in HTTP/1.1, and a stream of
/// packets.
const ALPN: [&[u8]; 3] = [b"h2", b"http/1.1", b"im.v2"];

/// A certificate chain and its private key, for [`ServerBuilder::tls`](crate::ServerBuilder::tls). Cheap to clone; clones
/// change together.
///
/// ```
/// # fn example(builder: im_server::ServerBuilder, chain: &[u8], key: &[u8], next_chain: &[u8], next_key: &[u8])
/// # -> Result<im_server::ServerBuilder, im_server::TlsError> {
/// let tls = im_server::Tls::from_pem(chain, key)?;
/// let builder = builder.tls(tls.clone());
/// // When it was renewed: handshakes from now on use it, connections stay.
/// tls.replace(next_chain, next_key)?;
/// # Ok(builder)
/// # }
/// ```
#[derive(Clone)]
pub struct Tls {
    config: Arc<ServerConfig>,
    current: Arc<Current>,
}

/// Why a certificate or key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The first text is not a certificate chain.
    #[error("it holds no usable certificate chain in PEM ({0}); put the server's own certificate first")]
    Certificate(String),
    /// The second text is not a private key.
    #[error("it holds no usable private key in PEM ({0}); PKCS#8, PKCS#1 and SEC1 are known, encrypted ones are not")]
    Key(String),
    /// Both are good, and do not belong together.
    #[error(
        "the key does not belong to the first certificate of the chain; look whether only one of the two was renewed"
    )]
    Mismatch,
    /// The TLS library refuses its own defaults.
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
}

/// When the certificate is good, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// From when on.
    pub not_before: i64,
    /// The last moment.
    pub not_after: i64,
}

struct Identity {
    certified: Arc<CertifiedKey>,
    validity: Validity,
}

struct Current(RwLock<Identity>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).certified.clone())
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Current").finish_non_exhaustive()
    }
}

impl Tls {
    /// From a certificate chain, the server's own certificate first, and its private key, both in PEM.
    ///
    /// # Errors
    ///
    /// [`TlsError`] says which of the two is wrong.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let setup = |error: rustls::Error| TlsError::Setup(error.to_string());
        let current = Arc::new(Current(RwLock::new(identity(chain, key)?)));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config = builder.map_err(setup)?.with_no_client_auth().with_cert_resolver(current.clone());
        config.alpn_protocols = ALPN.map(Vec::from).to_vec();
        Ok(Self { config: Arc::new(config), current })
    }

    /// Puts another chain and key in their place, for handshakes from now on.
    ///
    /// # Errors
    ///
    /// [`TlsError`]; nothing has changed then.
    pub fn replace(&self, chain: &[u8], key: &[u8]) -> Result<(), TlsError> {
        let next = identity(chain, key)?;
        *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }

    /// When the server's own certificate is good.
    pub fn validity(&self) -> Validity {
        self.current.0.read().unwrap_or_else(PoisonError::into_inner).validity
    }

    pub(crate) fn acceptor(&self) -> tokio_rustls::TlsAcceptor {
        self.config.clone().into()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("validity", &self.validity()).finish_non_exhaustive()
    }
}

fn identity(chain: &[u8], key: &[u8]) -> Result<Identity, TlsError> {
    let certificate = |error: &dyn fmt::Display| TlsError::Certificate(error.to_string());
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
    let chain = chain.map_err(|error| certificate(&error))?;
    let Some(own) = chain.first() else { return Err(certificate(&"there is none")) };
    let (_, parsed) = X509Certificate::from_der(own).map_err(|error| certificate(&error))?;
    let validity = parsed.validity();
    let validity = Validity { not_before: validity.not_before.timestamp(), not_after: validity.not_after.timestamp() };
    let no_key = |error| {
        let none = matches!(error, NoItemsFound);
        TlsError::Key(if none { "there is none".into() } else { error.to_string() })
    };
    let key = PrivateKeyDer::from_pem_slice(key).map_err(no_key)?;
    let provider = rustls::crypto::ring::default_provider();
    let key = provider.key_provider.load_private_key(key).map_err(|error| TlsError::Key(error.to_string()))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) => Ok(Identity { certified: Arc::new(certified), validity }),
        Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => Err(TlsError::Mismatch),
        Err(error) => Err(certificate(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(["localhost".into()]).unwrap().self_signed(&key).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    #[test]
    fn a_chain_and_its_key_are_taken_and_what_is_wrong_is_named() {
        let ((chain, key), (other_chain, other_key)) = (made(), made());
        let tls = Tls::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
        assert!(tls.validity().not_before < tls.validity().not_after);
        let error = |chain: &str, key: &str| tls.replace(chain.as_bytes(), key.as_bytes()).unwrap_err();
        assert_eq!(error(&other_chain, &key), TlsError::Mismatch);
        assert!(matches!(error("", &key), TlsError::Certificate(_)));
        assert!(matches!(error(&key, &key), TlsError::Certificate(_)));
        assert!(matches!(error(&chain, ""), TlsError::Key(_)));
        assert!(matches!(error(&chain, &key.replace("MI", "IM")), TlsError::Key(_)));
        assert!(matches!(error(&chain[..100], &key), TlsError::Certificate(_)));
        let served = || tls.current.0.read().unwrap().certified.cert[0].clone();
        let before = served();
        tls.replace(other_chain.as_bytes(), other_key.as_bytes()).unwrap();
        assert_ne!(served(), before);
    }
}
