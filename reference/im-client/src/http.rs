//! Sessions over HTTP: batches of packets in requests, and one request that waits for packets. docs/spec/http.md.
//!
//! Each direction has a connection of its own and one request at a time. A request that fails is repeated with the same
//! number, so that nothing is lost or taken twice.

use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;

use crate::tls::Tls;
use crate::transport::{Output, TransportError, secured};
use crate::url::ServerUrl;

/// Packets in one request are at most so many bytes, unless one alone is longer, and so many.
const BATCH_BYTES: usize = 64 * 1024;
const BATCH_PACKETS: usize = 1_000;
/// How long the server is asked to wait for packets, and how long an answer may take beyond that.
const WAIT_SECS: u64 = 25;
const ANSWER: Duration = Duration::from_secs(15);
/// Pauses before a failed request is repeated.
const PAUSES_MS: [u64; 4] = [100, 400, 1_600, 6_400];

/// One connection to the server, made when it is needed and again when it is gone.
#[derive(Debug)]
struct Lane {
    url: ServerUrl,
    tls: Tls,
    /// The most bytes of an answer.
    max: usize,
    sender: Option<SendRequest<Full<Bytes>>>,
}

/// What a request asks for: method, path with query, packets.
#[derive(Clone, Debug)]
struct Ask {
    method: Method,
    path: String,
    packets: Bytes,
}

type Answer = Result<(StatusCode, Bytes), TransportError>;

impl Lane {
    async fn once(&mut self, ask: &Ask) -> Answer {
        let mut sender = match self.sender.take().filter(|sender| !sender.is_closed()) {
            Some(sender) => sender,
            None => self.dial().await?,
        };
        let request = Request::builder()
            .method(&ask.method)
            .uri(&ask.path)
            .header(header::HOST, self.url.authority())
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .body(Full::new(ask.packets.clone()))
            .map_err(io::Error::other)?;
        sender.ready().await.map_err(io::Error::other)?;
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), self.max).collect().await.map_err(io::Error::other)?;
        self.sender = Some(sender);
        Ok((status, body.to_bytes()))
    }

    async fn dial(&self) -> Result<SendRequest<Full<Bytes>>, TransportError> {
        let stream = secured(&self.url, &self.tls).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        // It ends when the sender is dropped.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "an HTTP connection ended");
            }
        });
        Ok(sender)
    }

    /// Asks until there is an answer, a few times.
    async fn ask(&mut self, ask: &Ask, at_most: Duration) -> Answer {
        let mut pauses = PAUSES_MS.iter();
        loop {
            let answer = match tokio::time::timeout(at_most, self.once(ask)).await {
                Ok(answer) => answer,
                Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
            };
            let why = match &answer {
                Ok((status, _)) if !passes(*status) => return answer,
                Ok((status, _)) => status.to_string(),
                Err(error) => error.to_string(),
            };
            let Some(pause) = pauses.next() else { return answer };
            tracing::debug!(why, pause_ms = pause, "an HTTP request is repeated");
            tokio::time::sleep(Duration::from_millis(*pause)).await;
        }
    }
}

/// Whether the same request may succeed later.
fn passes(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
}

/// What the server said against a request, for people.
fn refused(status: StatusCode, body: &[u8]) -> TransportError {
    let said: String = String::from_utf8_lossy(body).chars().filter(|c| !c.is_control()).take(200).collect();
    io::Error::other(format!("the server answered {status}: {said}")).into()
}

type Work = BoxFuture<'static, (Lane, Answer)>;

/// A session over HTTP.
pub(crate) struct Http {
    /// Path of the session.
    path: String,
    /// The lane that sends; `None` while a request is under way.
    idle: Option<Lane>,
    sending: Option<Work>,
    sent: u64,
    receiving: Option<Work>,
    received: u64,
    /// Sending failed for good. What came before is still read.
    dead: bool,
}

impl Http {
    /// Opens a session. Packets up to `max_packet` bytes are taken in.
    pub(crate) async fn open(url: &ServerUrl, tls: &Tls, max_packet: usize) -> Result<Self, TransportError> {
        let lane = || Lane { url: url.clone(), tls: tls.clone(), max: BATCH_BYTES + max_packet, sender: None };
        let mut idle = lane();
        let sessions = format!("{}/sessions", url.path());
        let open = Ask { method: Method::POST, path: sessions.clone(), packets: Bytes::new() };
        // Not repeated: the caller calls again by itself.
        let (status, body) = idle.once(&open).await?;
        let id = std::str::from_utf8(&body).ok().filter(|id| {
            let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            (1..=128).contains(&id.len()) && id.bytes().all(known)
        });
        let (StatusCode::CREATED, Some(id)) = (status, id) else { return Err(refused(status, &body)) };
        let path = format!("{sessions}/{id}");
        let receiving = Some(receive(lane(), &path, 1));
        Ok(Self { path, idle: Some(idle), sending: None, sent: 0, receiving, received: 0, dead: false })
    }

    /// Appends what came. Whether the session is over.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, input: &mut Vec<u8>) -> Result<bool, TransportError> {
        while let Some(receiving) = &mut self.receiving {
            let Poll::Ready((lane, answer)) = receiving.poll_unpin(cx) else { return Ok(self.dead) };
            self.receiving = None;
            match answer? {
                (StatusCode::OK, packets) => {
                    self.received += 1;
                    input.extend_from_slice(&packets);
                    self.receiving = Some(receive(lane, &self.path, self.received + 1));
                }
                (StatusCode::GONE | StatusCode::NOT_FOUND, _) => return Ok(true),
                (status, body) => return Err(refused(status, &body)),
            }
        }
        Ok(true)
    }

    /// Sends what waits, one batch after the other.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, output: &mut Output) -> Result<(), TransportError> {
        loop {
            if let Some(sending) = &mut self.sending {
                let Poll::Ready((lane, answer)) = sending.poll_unpin(cx) else { return Ok(()) };
                self.sending = None;
                let error = match answer {
                    Ok((StatusCode::OK, _)) => None,
                    // The session is over; the other request has its last packets, and its end.
                    Ok((status @ StatusCode::GONE, body)) => return Err(refused(status, &body)),
                    Ok((status, body)) => Some(refused(status, &body)),
                    Err(error) => Some(error),
                };
                if let Some(error) = error {
                    self.dead = true;
                    cx.waker().wake_by_ref();
                    return Err(error);
                }
                self.idle = Some(lane);
            }
            let packets = batch(output);
            if packets.is_empty() {
                return Ok(());
            }
            // A lane that is lost was told as an error before.
            let Some(mut lane) = self.idle.take() else { return Ok(()) };
            self.sent += 1;
            let path = format!("{}?send={}", self.path, self.sent);
            let ask = Ask { method: Method::POST, path, packets: packets.into() };
            self.sending = Some(
                async move {
                    let answer = lane.ask(&ask, ANSWER).await;
                    (lane, answer)
                }
                .boxed(),
            );
        }
    }

    /// Waits until all is sent, and says that nothing more comes.
    pub(crate) async fn finish(&mut self) -> Result<(), TransportError> {
        if let Some(sending) = self.sending.take() {
            let (lane, answer) = sending.await;
            answer?;
            self.idle = Some(lane);
        }
        let Some(mut lane) = self.idle.take() else { return Ok(()) };
        let end = Ask { method: Method::DELETE, path: self.path.clone(), packets: Bytes::new() };
        lane.once(&end).await.map(|_| ())
    }
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the path: who knows it can disturb the session.
        f.debug_struct("Http").field("sent", &self.sent).field("received", &self.received).finish_non_exhaustive()
    }
}

fn receive(mut lane: Lane, path: &str, number: u64) -> Work {
    let path = format!("{path}?receive={number}&wait={WAIT_SECS}");
    let ask = Ask { method: Method::POST, path, packets: Bytes::new() };
    async move {
        let answer = lane.ask(&ask, ANSWER + Duration::from_secs(WAIT_SECS)).await;
        (lane, answer)
    }
    .boxed()
}

/// Takes whole packets for one request.
fn batch(output: &mut Output) -> Vec<u8> {
    let mut packets = Vec::new();
    for _ in 0..BATCH_PACKETS {
        let Some(packet) = output.packet() else { break };
        if !packets.is_empty() && packets.len() + packet.len() > BATCH_BYTES {
            break;
        }
        packets.extend_from_slice(packet);
        let len = packet.len();
        output.advance(len);
    }
    packets
}
