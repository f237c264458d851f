//! One connection to the API, made when it is needed.

use std::fmt;
use std::io;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;

use super::ServiceError;
use crate::tls::Tls;
use crate::transport::{TransportError, secured};
use crate::url::ServerUrl;

/// The most bytes of an answer: a thousand results with a reason each are less.
const MAX_ANSWER: usize = 4 << 20;
/// How long a request may take with its answer.
const ANSWER: Duration = Duration::from_secs(30);

pub(super) struct Connection {
    url: ServerUrl,
    pub(super) tls: Tls,
    key: HeaderValue,
    sender: Option<SendRequest<Full<Bytes>>>,
}

pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
}

impl Connection {
    pub(super) fn new(url: ServerUrl, key: &str) -> Result<Self, ServiceError> {
        if !url.is_http() {
            return Err(ServiceError::Address(url.to_string()));
        }
        let graphic = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
        let key = graphic.then(|| HeaderValue::from_str(&format!("Bearer {key}")).ok()).flatten();
        let mut key = key.ok_or(ServiceError::Key)?;
        key.set_sensitive(true);
        Ok(Self { url, tls: Tls::default(), key, sender: None })
    }

    /// One request, once.
    pub(super) async fn ask(
        &mut self,
        method: &Method,
        path: &str,
        body: Option<&[u8]>,
    ) -> Result<Answer, TransportError> {
        // A request that is given up takes its connection with it.
        let sender = self.sender.take();
        let (answer, sender) = match tokio::time::timeout(ANSWER, self.once(sender, method, path, body)).await {
            Ok(done) => done?,
            Err(_) => return Err(io::Error::from(io::ErrorKind::TimedOut).into()),
        };
        self.sender = Some(sender);
        Ok(answer)
    }

    async fn once(
        &self,
        sender: Option<SendRequest<Full<Bytes>>>,
        method: &Method,
        path: &str,
        body: Option<&[u8]>,
    ) -> Result<(Answer, SendRequest<Full<Bytes>>), TransportError> {
        let mut sender = match sender.filter(|sender| !sender.is_closed()) {
            Some(sender) => sender,
            None => self.dial().await?,
        };
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/api/v1{path}"))
            .header(header::HOST, self.url.authority())
            .header(header::AUTHORIZATION, self.key.clone());
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = Full::new(Bytes::copy_from_slice(body.unwrap_or_default()));
        let request = request.body(body).map_err(io::Error::other)?;
        sender.ready().await.map_err(io::Error::other)?;
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(io::Error::other)?;
        Ok((Answer { status, body: body.to_bytes().to_vec() }, sender))
    }

    async fn dial(&self) -> Result<SendRequest<Full<Bytes>>, TransportError> {
        let stream = secured(&self.url, &self.tls).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        // It ends when the sender is dropped.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to the API ended");
            }
        });
        Ok(sender)
    }
}

/// Without the key.
impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("url", &self.url).finish_non_exhaustive()
    }
}
