//! One TCP port for everything: the first bytes of a connection, at most three, tell raw packets, HTTP and TLS from each
//! other, and the first bytes inside TLS the first two.

mod streams;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use futures_util::future::BoxFuture;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use im_codec::MAGIC;
use im_proto::{CloseCode, encode_plain_close};
use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use crate::http::Peer;
use crate::limits::Slot;
use crate::metrics::{Metrics, Unmet};
use crate::operations::private_routes;
use crate::proxy::{is_trusted, read_header};
use crate::server::Shared;
use crate::session::{drive, refuse, stopped};
use crate::transport::{Begun, START, Tcp, Tls, Tunnel};

/// The most that HTTP buffers of one connection, in bytes.
const HTTP_BUFFER: usize = 16 * 1024;
/// Pauses after a failed accept, growing: without file handles it would fail again at once.
const PAUSES_MS: [u64; 4] = [10, 100, 500, 1000];
/// The first byte of a TLS handshake record.
const TLS_HANDSHAKE: u8 = 0x16;
/// Most connections of a listener for operators, and the pause when one cannot be accepted.
const OPERATORS: usize = 16;
const OPERATORS_PAUSE: Duration = Duration::from_millis(100);
const STOPPING: &str = "the server stops or restarts: come back later";

/// Accepts until the server stops.
pub(crate) async fn accept(listener: &TcpListener, door: &Door) {
    let mut stopping = door.shared.services.stopping.subscribe();
    let mut failures = 0;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(&mut stopping) => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                failures = 0;
                connection(stream, peer, door);
            }
            // The peer gave up while it waited to be accepted; that says nothing about the next one.
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                let pause = PAUSES_MS.get(failures).or(PAUSES_MS.last()).copied().unwrap_or_default();
                failures += 1;
                tracing::error!(
                    %error, pause_ms = pause,
                    "cannot accept connections; if files are exhausted, raise the limit (ulimit -n)"
                );
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
        }
    }
}

/// Accepts for operators: HTTP only, and a few connections at once.
pub(crate) async fn accept_operators(listener: &TcpListener, shared: &Arc<Shared>) {
    let router = private_routes().with_state(shared.clone());
    let mut stopping = shared.services.stopping.subscribe();
    let places = Arc::new(Semaphore::new(OPERATORS));
    loop {
        let accepted = tokio::select! {
            accepted = async {
                let place = places.clone().acquire_owned().await;
                (listener.accept().await, place)
            } => accepted,
            () = stopped(&mut stopping) => return,
        };
        let (Ok((stream, peer)), Ok(place)) = accepted else {
            tokio::time::sleep(OPERATORS_PAUSE).await;
            continue;
        };
        let (router, shared) = (router.clone(), shared.clone());
        tokio::spawn(async move {
            requests(stream, peer, router, &shared).await;
            drop(place);
        });
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

fn connection(stream: TcpStream, peer: SocketAddr, door: &Door) {
    let proxied = is_trusted(peer, &door.config.proxies);
    match door.shared.slots.take((!proxied).then(|| peer.ip())) {
        Ok(slot) => {
            tokio::spawn(greet(stream, peer, slot, proxied, door.clone()));
        }
        Err(full) => {
            tracing::warn!(%peer, reason = %full, "connection refused");
            // Without a place there is no task that could wait: what fits into the socket's buffer is said.
            let mut packet = Vec::new();
            encode_plain_close(CloseCode::BUSY, &full.to_string(), &mut packet);
            let _ = stream.try_write(&packet);
        }
    }
}

/// How a listener takes connections.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ListenerConfig {
    /// Whether connections begin with TLS.
    pub security: Security,
    /// Networks of proxies that pass TCP on and begin each connection with a PROXY header (version 1 or 2). Theirs must
    /// begin so; all others must not.
    pub proxies: Vec<IpNet>,
}

/// Whether the connections of a listener begin with TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Security {
    /// As the client begins, if the server has a certificate.
    #[default]
    Either,
    /// With TLS only.
    TlsOnly,
    /// Without TLS only.
    PlainOnly,
}

/// What connections of one listener share.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) shared: Arc<Shared>,
    pub(crate) router: Router,
    pub(crate) config: Arc<ListenerConfig>,
}

/// Why a step did not come to its end.
enum Cut {
    Late,
    Stopping,
}

/// One deadline for all that comes before the first packet or request.
struct Patience {
    until: tokio::time::Instant,
    stopping: watch::Receiver<bool>,
    metrics: Arc<Metrics>,
}

impl Patience {
    async fn of<T>(&mut self, step: impl Future<Output = T>) -> Result<T, Cut> {
        tokio::select! {
            done = tokio::time::timeout_at(self.until, step) => done.map_err(|_| {
                self.metrics.unmet(Unmet::Timeout);
                Cut::Late
            }),
            () = stopped(&mut self.stopping) => Err(Cut::Stopping),
        }
    }
}

async fn greet(mut stream: TcpStream, mut peer: SocketAddr, mut slot: Slot, proxied: bool, door: Door) {
    // Answers are small and awaited, so they must not wait to be put together.
    let _ = stream.set_nodelay(true);
    let services = door.shared.services.clone();
    let metrics = services.metrics.clone();
    let until = tokio::time::Instant::now() + services.config.login_timeout;
    let mut patience = Patience { until, stopping: services.stopping.subscribe(), metrics: metrics.clone() };
    if proxied {
        let client = match patience.of(read_header(&mut stream)).await {
            Ok(Ok(client)) => client.unwrap_or(peer),
            Ok(Err(error)) => {
                tracing::warn!(proxy = %peer, %error, "a trusted proxy sent no PROXY header; is it switched on there?");
                return metrics.unmet(Unmet::Proxy);
            }
            Err(_) => return,
        };
        if let Err(full) = slot.belongs_to(client.ip()) {
            tracing::warn!(peer = %client, reason = %full, "connection refused");
            return refuse(Tcp::from(Begun::new(stream)), CloseCode::BUSY, &full.to_string()).await;
        }
        peer = client;
    }
    let slot = Arc::new(slot);
    let mut stream = Begun::new(stream);
    let kind = match patience.of(kind_of_tcp(&mut stream)).await {
        Ok(Ok(kind)) => kind,
        Ok(Err(_)) => return,
        Err(Cut::Stopping) => return refuse(Tcp::from(stream), CloseCode::GOING_AWAY, STOPPING).await,
        Err(Cut::Late) => return refuse(Tcp::from(stream), CloseCode::TIMEOUT, "nothing was sent").await,
    };
    let tls_only = door.config.security == Security::TlsOnly;
    match kind {
        Kind::Nothing => {}
        Kind::Tls => match door.shared.tls.as_ref().filter(|_| door.config.security != Security::PlainOnly) {
            Some(tls) => {
                let handshake = boxed(tls.acceptor().accept(stream.into_inner()));
                match patience.of(handshake).await {
                    Ok(Ok(stream)) => {
                        boxed(tunnel(Begun::new(stream), peer, slot, door, patience)).await;
                    }
                    Ok(Err(error)) => {
                        metrics.unmet(Unmet::Tls);
                        tracing::debug!(%peer, %error, "a TLS handshake failed");
                    }
                    // There is nothing that the peer could read outside of TLS.
                    Err(_) => tracing::debug!(%peer, "a TLS handshake was not completed in time"),
                }
            }
            None => {
                metrics.unmet(Unmet::Security);
                let reason = "this port does not speak TLS: connect with tcp:// or ws://, or put a TLS proxy before it";
                refuse(Tcp::from(stream), CloseCode::UNSUPPORTED, reason).await;
            }
        },
        Kind::Packets | Kind::Http(_) if tls_only => {
            metrics.unmet(Unmet::Security);
            let reason = "this port speaks TLS only: connect with tcps://, wss:// or https://";
            refuse(Tcp::from(stream), CloseCode::UNSUPPORTED, reason).await;
        }
        Kind::Packets => boxed(drive(Tcp::from(stream), services, slot, Some(peer))).await,
        Kind::Http(version) => boxed(http(stream, peer, slot, &door, version)).await,
        Kind::Other(byte) => {
            metrics.unmet(Unmet::Unknown);
            refuse(Tcp::from(stream), CloseCode::PROTOCOL, &not_known(byte)).await;
        }
    }
}

/// What came out of TLS.
async fn tunnel(mut stream: Tunnel, peer: SocketAddr, slot: Arc<Slot>, door: Door, mut patience: Patience) {
    let services = door.shared.services.clone();
    let kind = match patience.of(kind_of(&mut stream)).await {
        Ok(Ok(kind)) => kind,
        Ok(Err(_)) => return,
        Err(Cut::Stopping) => return refuse(Tls(stream), CloseCode::GOING_AWAY, STOPPING).await,
        Err(Cut::Late) => return refuse(Tls(stream), CloseCode::TIMEOUT, "nothing was sent").await,
    };
    match kind {
        Kind::Nothing => {}
        Kind::Packets => boxed(drive(Tls(stream), services, slot, Some(peer))).await,
        Kind::Http(version) => boxed(http(stream, peer, slot, &door, version)).await,
        Kind::Tls => refuse(Tls(stream), CloseCode::UNSUPPORTED, "this is TLS inside TLS: begin it once").await,
        Kind::Other(byte) => {
            services.metrics.unmet(Unmet::Unknown);
            refuse(Tls(stream), CloseCode::PROTOCOL, &not_known(byte)).await;
        }
    }
}

/// A step that is large, so that a connection which has not begun does not hold the room for it.
fn boxed<'a, T>(step: impl Future<Output = T> + Send + 'a) -> BoxFuture<'a, T> {
    Box::pin(step)
}

/// Of HTTP.
enum Version {
    One,
    Two,
}

/// What a connection begins with.
enum Kind {
    Nothing,
    Packets,
    Http(Version),
    Tls,
    Other(u8),
}

/// Looks at what waits, and takes nothing where that is enough: TLS wants the stream from its beginning.
async fn kind_of_tcp(stream: &mut Begun<TcpStream>) -> io::Result<Kind> {
    let mut start = [0; START];
    let len = stream.get_ref().peek(&mut start).await?;
    let start = start.get(..len).unwrap_or_default();
    if is_unclear(start) { kind_of(stream).await } else { Ok(kind(start)) }
}

/// Takes what it needs: a peek would see the same bytes at once again instead of waiting for the next.
async fn kind_of<S: AsyncRead + Unpin>(stream: &mut Begun<S>) -> io::Result<Kind> {
    while stream.take().await? > 0 && is_unclear(stream.start()) {}
    Ok(kind(stream.start()))
}

/// Whether the next byte could make it something else: bytes may come one at a time.
fn is_unclear(start: &[u8]) -> bool {
    matches!(start, b"O" | b"P" | b"PR")
}

fn kind(start: &[u8]) -> Kind {
    match start {
        [] => Kind::Nothing,
        // Later OUYUNC releases begin with their name; the decoder refuses them by theirs. No HTTP method begins so.
        [MAGIC, ..] | [b'O', b'U', ..] => Kind::Packets,
        // The preface of HTTP/2, which no method begins with.
        [b'P', b'R', b'I', ..] => Kind::Http(Version::Two),
        [b'A'..=b'Z', ..] => Kind::Http(Version::One),
        [TLS_HANDSHAKE, ..] => Kind::Tls,
        [other, ..] => Kind::Other(*other),
    }
}

fn not_known(byte: u8) -> String {
    format!("the first byte is 0x{byte:02x}: a packet begins with 0x66, an HTTP request with a letter")
}

async fn http<S>(stream: S, peer: SocketAddr, slot: Arc<Slot>, door: &Door, version: Version)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let router = door.router.clone().layer(Extension(Peer { address: peer, slot }));
    match version {
        Version::One => requests(stream, peer, router, &door.shared).await,
        Version::Two => streams::requests(stream, peer, router, &door.shared).await,
    }
}

async fn requests<S>(stream: S, peer: SocketAddr, router: Router, shared: &Shared)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(shared.services.config.login_timeout)
        .max_buf_size(HTTP_BUFFER);
    let serving = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).with_upgrades();
    tokio::pin!(serving);
    let mut stopping = shared.services.stopping.subscribe();
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = stopped(&mut stopping) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "HTTP connection ended");
    }
}
