//! One TCP port for everything: the first byte of a connection tells raw packets, HTTP and TLS from each other, and the
//! first byte inside TLS the first two.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use im_codec::MAGIC;
use im_proto::{CloseCode, encode_plain_close};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::http::Peer;
use crate::limits::Slot;
use crate::server::Shared;
use crate::session::{drive, refuse, stopped};
use crate::transport::{Tcp, Tls, Tunnel};

/// How long a client may take for the head of an HTTP request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// The most that HTTP buffers of one connection, in bytes.
const HTTP_BUFFER: usize = 16 * 1024;
/// Pauses after a failed accept, growing: without file handles it would fail again at once.
const PAUSES_MS: [u64; 4] = [10, 100, 500, 1000];
/// The first byte of a TLS handshake record.
const TLS_HANDSHAKE: u8 = 0x16;
/// How much is taken out of TLS to look at it, in bytes. Longer reads go past this buffer, which stays.
const SNIFF: usize = 16;
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

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

fn connection(stream: TcpStream, peer: SocketAddr, door: &Door) {
    match door.shared.slots.take(Some(peer.ip())) {
        Ok(slot) => {
            tokio::spawn(greet(stream, peer, Arc::new(slot), door.clone()));
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

/// Why a connection did not get as far as its first packet or request.
enum Unmet {
    Late,
    Stopping,
    Lost,
}

/// One deadline for all that comes before the first packet or request.
struct Patience {
    until: tokio::time::Instant,
    stopping: watch::Receiver<bool>,
}

impl Patience {
    async fn for_io<T>(&mut self, step: impl Future<Output = io::Result<T>>) -> Result<T, Unmet> {
        tokio::select! {
            done = tokio::time::timeout_at(self.until, step) => match done {
                Ok(Ok(done)) => Ok(done),
                Ok(Err(_)) => Err(Unmet::Lost),
                Err(_) => Err(Unmet::Late),
            },
            () = stopped(&mut self.stopping) => Err(Unmet::Stopping),
        }
    }
}

async fn greet(stream: TcpStream, peer: SocketAddr, slot: Arc<Slot>, door: Door) {
    // Answers are small and awaited, so they must not wait to be put together.
    let _ = stream.set_nodelay(true);
    let services = door.shared.services.clone();
    let until = tokio::time::Instant::now() + services.config.login_timeout;
    let mut patience = Patience { until, stopping: services.stopping.subscribe() };
    let mut start = [0; 2];
    let start = match patience.for_io(stream.peek(&mut start)).await {
        Ok(len) => start.get(..len).unwrap_or_default(),
        Err(Unmet::Lost) => return,
        Err(Unmet::Stopping) => return refuse(Tcp(stream), CloseCode::GOING_AWAY, STOPPING).await,
        Err(Unmet::Late) => return refuse(Tcp(stream), CloseCode::TIMEOUT, "nothing was sent").await,
    };
    let tls_only = door.config.security == Security::TlsOnly;
    match kind(start) {
        Kind::Nothing => {}
        Kind::Tls => match door.shared.tls.as_ref().filter(|_| door.config.security != Security::PlainOnly) {
            Some(tls) => {
                let handshake = tls.acceptor().accept(stream);
                match patience.for_io(handshake).await {
                    Ok(stream) => {
                        tunnel(BufReader::with_capacity(SNIFF, stream), peer, slot, door, patience).await;
                    }
                    // There is nothing that the peer could read outside of TLS.
                    Err(_) => tracing::debug!(%peer, "a TLS handshake was not completed"),
                }
            }
            None => {
                let reason = "this port does not speak TLS: connect with tcp:// or ws://, or put a TLS proxy before it";
                refuse(Tcp(stream), CloseCode::UNSUPPORTED, reason).await;
            }
        },
        Kind::Packets | Kind::Http if tls_only => {
            let reason = "this port speaks TLS only: connect with tcps://, wss:// or https://";
            refuse(Tcp(stream), CloseCode::UNSUPPORTED, reason).await;
        }
        Kind::Packets => drive(Tcp(stream), services, slot, Some(peer)).await,
        Kind::Http => http(stream, peer, slot, &door).await,
        Kind::Other(byte) => refuse(Tcp(stream), CloseCode::PROTOCOL, &not_known(byte)).await,
    }
}

/// What came out of TLS.
async fn tunnel(mut stream: Tunnel, peer: SocketAddr, slot: Arc<Slot>, door: Door, mut patience: Patience) {
    let services = door.shared.services.clone();
    let start = match patience.for_io(stream.fill_buf()).await {
        Ok(start) => kind(start),
        Err(Unmet::Lost) => return,
        Err(Unmet::Stopping) => return refuse(Tls(stream), CloseCode::GOING_AWAY, STOPPING).await,
        Err(Unmet::Late) => return refuse(Tls(stream), CloseCode::TIMEOUT, "nothing was sent").await,
    };
    match start {
        Kind::Nothing => {}
        Kind::Packets => drive(Tls(stream), services, slot, Some(peer)).await,
        Kind::Http => http(stream, peer, slot, &door).await,
        Kind::Tls => refuse(Tls(stream), CloseCode::UNSUPPORTED, "this is TLS inside TLS: begin it once").await,
        Kind::Other(byte) => refuse(Tls(stream), CloseCode::PROTOCOL, &not_known(byte)).await,
    }
}

/// What a connection begins with.
enum Kind {
    Nothing,
    Packets,
    Http,
    Tls,
    Other(u8),
}

fn kind(start: &[u8]) -> Kind {
    match start {
        [] => Kind::Nothing,
        // Later OUYUNC releases begin with their name; the decoder refuses them by theirs. No HTTP method begins so.
        [MAGIC, ..] | [b'O', b'U', ..] => Kind::Packets,
        [b'A'..=b'Z', ..] => Kind::Http,
        [TLS_HANDSHAKE, ..] => Kind::Tls,
        [other, ..] => Kind::Other(*other),
    }
}

fn not_known(byte: u8) -> String {
    format!("the first byte is 0x{byte:02x}: a packet begins with 0x66, an HTTP request with a letter")
}

async fn http<S>(stream: S, peer: SocketAddr, slot: Arc<Slot>, door: &Door)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let Door { shared, router, .. } = door;
    let router = router.clone().layer(Extension(Peer { address: peer, slot }));
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(HTTP_BUFFER);
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
