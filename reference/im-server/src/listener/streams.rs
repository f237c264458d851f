//! HTTP/2: for the API and everything else that is no WebSocket. Its limits are stated here; those against rapid resets and
//! floods of continuations are h2's own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::Request;
use axum::http::header::{HOST, HeaderValue};
use axum::middleware::{self, Next};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::server::Shared;
use crate::session::stopped;

/// Requests at once on one connection.
const STREAMS: u32 = 32;
/// Bytes of the headers of a request.
const HEADERS: u32 = 16 * 1024;
/// Bytes of bodies that may come before they are read, of a request and of all of a connection.
const WINDOW: u32 = 64 * 1024;
const WINDOWS: u32 = 2 * WINDOW;
/// Bytes of an answer that wait to be taken.
const ANSWER: usize = 64 * 1024;

/// What goes on on a connection.
#[derive(Default)]
struct Activity {
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Activity {
    /// Requests so far; `None` while there is one.
    fn idle_after(&self) -> Option<u64> {
        let ended = self.ended.load(Ordering::SeqCst);
        (self.begun.load(Ordering::SeqCst) == ended).then_some(ended)
    }
}

pub(super) async fn requests<S>(stream: S, peer: SocketAddr, router: Router, shared: &Shared)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let patience = shared.services.config.login_timeout;
    let activity = Arc::<Activity>::default();
    let counted = activity.clone();
    let router = router.layer(middleware::from_fn(move |mut request: Request, next: Next| {
        name_host(&mut request);
        counted.begun.fetch_add(1, Ordering::SeqCst);
        let ends = Ends(counted.clone());
        async move {
            let response = next.run(request).await;
            drop(ends);
            response
        }
    }));
    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADERS)
        .max_send_buf_size(ANSWER)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOWS)
        // A peer that is gone is noticed, also while it owes us nothing.
        .keep_alive_interval(shared.services.stall)
        .keep_alive_timeout(patience);
    let serving = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(serving);
    let mut stopping = shared.services.stopping.subscribe();
    let mut idle = activity.idle_after();
    let ended = loop {
        tokio::select! {
            ended = serving.as_mut() => break Some(ended),
            () = stopped(&mut stopping) => {
                serving.as_mut().graceful_shutdown();
                break Some(serving.await);
            }
            // As between two requests of HTTP/1.1; also for a beginning that never comes to its end.
            () = tokio::time::sleep(patience) => {
                let now = activity.idle_after();
                if now.is_some() && now == idle {
                    serving.as_mut().graceful_shutdown();
                    break tokio::time::timeout(patience, serving).await.ok();
                }
                idle = now;
            }
        }
    };
    if let Some(Err(error)) = ended {
        tracing::debug!(%peer, %error, "HTTP/2 connection ended");
    }
}

/// HTTP/2 names the host beside the path; what compares it with a page's origin looks where HTTP/1.1 has it.
fn name_host(request: &mut Request) {
    let host = request.uri().authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    if let Some(host) = host {
        request.headers_mut().insert(HOST, host);
    }
}

/// Counts the end of a request, also of one that is given up.
struct Ends(Arc<Activity>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::SeqCst);
    }
}
