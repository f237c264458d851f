//! The HTTP client of webhooks: one address, connections that are kept, redirects not followed.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{self, HeaderValue};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::WebhookError;

/// An answer's body is not used; one that is longer costs the connection.
const ANSWER: usize = 16 * 1024;
/// The longest wait that an answer may ask for.
const MAX_RETRY_AFTER: u64 = 3600;

/// The headers that are the event's.
pub(super) struct Signed {
    pub(super) id: String,
    pub(super) timestamp: u64,
    pub(super) signature: String,
}

/// What the receiver said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
}

/// Asks one address.
pub(crate) struct Client {
    host: String,
    port: u16,
    authority: HeaderValue,
    path: String,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

impl Client {
    /// `None` for an address that is none.
    pub(super) fn new(url: &Uri) -> Result<Option<Self>, WebhookError> {
        let Some((secure, authority, host)) = parts(url) else { return Ok(None) };
        let Ok(header) = HeaderValue::from_str(authority) else { return Ok(None) };
        let tls = if secure {
            let Ok(name) = ServerName::try_from(host.clone()) else { return Ok(None) };
            Some((trust(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() })?, name))
        } else {
            None
        };
        Ok(Some(Self {
            port: url.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            host,
            authority: header,
            path: url.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            tls,
            idle: Mutex::default(),
        }))
    }

    pub(super) fn trusting(mut self, pem: &[u8]) -> Result<Self, WebhookError> {
        let bad = |error: &dyn fmt::Display| WebhookError::Authorities(error.to_string());
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| bad(&error))?;
            roots.add(certificate).map_err(|error| bad(&error))?;
        }
        if roots.is_empty() {
            return Err(bad(&"there is none"));
        }
        let config = trust(roots)?;
        self.tls = self.tls.map(|(_, name)| (config, name));
        Ok(self)
    }

    /// Whether it is encrypted on its way.
    pub(super) fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// One try, which the caller limits in time.
    pub(super) async fn post(&self, signed: &Signed, body: Bytes) -> io::Result<Answer> {
        let mut sender = self.connection().await?;
        let request = Request::post(&self.path)
            .header(header::HOST, &self.authority)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("im-server/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", &signed.id)
            .header("webhook-timestamp", signed.timestamp)
            .header("webhook-signature", &signed.signature)
            .body(Full::new(body))
            .map_err(io::Error::other)?;
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        let status = response.status().as_u16();
        let wait =
            response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        let retry_after = wait.map(|seconds| Duration::from_secs(seconds.min(MAX_RETRY_AFTER)));
        if Limited::new(response.into_body(), ANSWER).collect().await.is_ok() && !sender.is_closed() {
            self.idle().push(sender);
        }
        Ok(Answer { status, retry_after })
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<SendRequest<Full<Bytes>>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One that was used before, if it still stands. As many are kept as there were tries at a time.
    async fn connection(&self) -> io::Result<SendRequest<Full<Bytes>>> {
        loop {
            let Some(mut sender) = self.idle().pop() else { break };
            if sender.ready().await.is_ok() {
                return Ok(sender);
            }
        }
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            Some((config, name)) => {
                begin(TlsConnector::from(config.clone()).connect(name.clone(), stream).await?).await
            }
            None => begin(stream).await,
        }
    }
}

async fn begin(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> io::Result<SendRequest<Full<Bytes>>> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // It ends when the sender is dropped.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection for webhooks ended");
        }
    });
    Ok(sender)
}

/// Whether with TLS, host and port as written, and the host.
fn parts(url: &Uri) -> Option<(bool, &str, String)> {
    let secure = match url.scheme_str()? {
        "https" => true,
        "http" => false,
        _ => return None,
    };
    let authority = url.authority()?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty() && !authority.as_str().contains('@')).then(|| (secure, authority.as_str(), host.to_owned()))
}

fn trust(roots: RootCertStore) -> Result<Arc<ClientConfig>, WebhookError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| WebhookError::Tls(error.to_string()))?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}
