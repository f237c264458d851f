//! One TCP port for everything: the first byte of a connection tells raw packets from HTTP.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use im_codec::MAGIC;
use im_proto::{CloseCode, encode_plain_close};
use tokio::net::{TcpListener, TcpStream};

use crate::http::Peer;
use crate::limits::Slot;
use crate::server::Shared;
use crate::session::{drive, refuse, stopped};
use crate::transport::Tcp;

/// How long a client may take for the head of an HTTP request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// The most that HTTP buffers of one connection, in bytes.
const HTTP_BUFFER: usize = 16 * 1024;
/// Pauses after a failed accept, growing: without file handles it would fail again at once.
const PAUSES_MS: [u64; 4] = [10, 100, 500, 1000];
/// The first byte of a TLS handshake record.
const TLS_HANDSHAKE: u8 = 0x16;

/// Accepts until the server stops.
pub(crate) async fn accept(listener: &TcpListener, shared: &Arc<Shared>, router: &Router) {
    let mut stopping = shared.services.stopping.subscribe();
    let mut failures = 0;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(&mut stopping) => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                failures = 0;
                connection(stream, peer, shared, router);
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

fn connection(stream: TcpStream, peer: SocketAddr, shared: &Arc<Shared>, router: &Router) {
    match shared.slots.take(Some(peer.ip())) {
        Ok(slot) => {
            tokio::spawn(sniff(stream, peer, Arc::new(slot), shared.clone(), router.clone()));
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

async fn sniff(stream: TcpStream, peer: SocketAddr, slot: Arc<Slot>, shared: Arc<Shared>, router: Router) {
    // Answers are small and awaited, so they must not wait to be put together.
    let _ = stream.set_nodelay(true);
    let mut start = [0; 2];
    let mut stopping = shared.services.stopping.subscribe();
    let peeked = tokio::select! {
        peeked = tokio::time::timeout(shared.services.config.login_timeout, stream.peek(&mut start)) => peeked,
        () = stopped(&mut stopping) => {
            return refuse(Tcp(stream), CloseCode::GOING_AWAY, "the server stops or restarts: come back later").await;
        }
    };
    let start = match peeked {
        Ok(Ok(len)) => start.get(..len).unwrap_or_default(),
        Ok(Err(_)) => return,
        Err(_) => return refuse(Tcp(stream), CloseCode::TIMEOUT, "nothing was sent").await,
    };
    match start {
        [] => {}
        // Later OUYUNC releases begin with their name; the decoder refuses them by theirs.
        [MAGIC, ..] | [b'O', b'U'] => drive(Tcp(stream), shared.services.clone(), slot, Some(peer)).await,
        [b'A'..=b'Z', ..] => http(stream, peer, slot, shared, router).await,
        [TLS_HANDSHAKE, ..] => {
            let reason = "this port does not speak TLS: connect with tcp:// or ws://, or put a TLS proxy before it";
            refuse(Tcp(stream), CloseCode::UNSUPPORTED, reason).await;
        }
        [other, ..] => {
            let reason =
                format!("the first byte is 0x{other:02x}: a packet begins with 0x66, an HTTP request with a letter");
            refuse(Tcp(stream), CloseCode::PROTOCOL, &reason).await;
        }
    }
}

async fn http(stream: TcpStream, peer: SocketAddr, slot: Arc<Slot>, shared: Arc<Shared>, router: Router) {
    let router = router.layer(Extension(Peer { address: peer, slot }));
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
