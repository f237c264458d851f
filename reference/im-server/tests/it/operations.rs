//! Health, readiness, metrics, and connections that come through a proxy.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::store::{Appends, Wrapped};
use crate::common::{PATIENCE, Peer, TestServer, Wire, within};
use futures_util::future::BoxFuture;
use im_proto::CloseCode;
use im_server::auth::{AuthError, Authenticator, OpenLoopback};
use im_server::store::{Append, FjallStore, NewEntry, Store, StoreError};
use im_server::{ListenerConfig, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn get(address: SocketAddr, path: &str, headers: &str) -> (u16, String) {
    let mut stream = within(TcpStream::connect(address)).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n");
    within(stream.write_all(request.as_bytes())).await.unwrap();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

/// Waits until a line of the metrics is there: sessions are counted when they end, a moment after the peer knows.
async fn metric(server: &Server, line: &str) {
    let shown = async {
        while !server.metrics().lines().any(|found| found == line) {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let shown = tokio::time::timeout(PATIENCE, shown).await;
    assert!(shown.is_ok(), "{line} in\n{}", server.metrics());
}

#[tokio::test]
async fn what_happens_is_counted() {
    let server = TestServer::with(|_| Arc::new(NotEve), |builder| builder.connections(6, 4).refused_logins(2)).await;
    let mut alice = server.online("alice", "phone").await;
    metric(&server.server, "im_sessions{transport=\"tcp\"} 1").await;
    alice.send("bob", "hello");
    alice.stored().await;
    metric(&server.server, "im_messages_total{outcome=\"stored\"} 1").await;
    metric(&server.server, "im_store_commit_seconds_count 1").await;
    metric(&server.server, "im_logins_total{outcome=\"accepted\"} 1").await;
    alice.connection.close(alice.now(), CloseCode::NORMAL, "done");
    alice.flush().await;
    metric(&server.server, "im_sessions_closed_total{code=\"4000\",by=\"Peer\",login=\"yes\"} 1").await;

    let mut garbage = TcpStream::connect(server.address).await.unwrap();
    garbage.write_all(b"\x66\0\x01\x07").await.unwrap();
    within(garbage.read_to_end(&mut Vec::new())).await.unwrap();
    metric(&server.server, "im_sessions_closed_total{code=\"4003\",by=\"Local\",login=\"no\"} 1").await;
    let mut unknown = TcpStream::connect(server.address).await.unwrap();
    unknown.write_all(b"\xff").await.unwrap();
    within(unknown.read_to_end(&mut Vec::new())).await.unwrap();
    metric(&server.server, "im_connections_unmet_total{reason=\"unknown\"} 1").await;
    metric(&server.server, "im_sessions{transport=\"tcp\"} 0").await;
    assert_eq!(get(server.address, "/nothing", "").await.0, 404);
    assert_eq!(get(server.address, "/im", "").await.0, 426);
    metric(&server.server, "im_http_refused_total{status=\"426\"} 1").await;

    for _ in 0..2 {
        let mut eve = server.tcp("eve", "phone").await;
        assert_eq!(eve.closed().await.code, CloseCode::LOGIN_REFUSED);
    }
    metric(&server.server, "im_logins_total{outcome=\"refused\"} 2").await;
    let mut anybody = TcpStream::connect(server.address).await.unwrap();
    let mut told = Vec::new();
    within(anybody.read_to_end(&mut told)).await.unwrap();
    assert!(String::from_utf8_lossy(&told).contains("come back in a minute"));
    metric(&server.server, "im_connections_refused_total{reason=\"logins\"} 1").await;
}

struct NotEve;

impl Authenticator for NotEve {
    fn authenticate<'a>(&'a self, login: &'a im_proto::LoginRequest) -> BoxFuture<'a, Result<Arc<str>, AuthError>> {
        Box::pin(async move {
            if login.user == "eve" { Err(AuthError::Refused("not you".into())) } else { Ok(login.user.as_str().into()) }
        })
    }
}

#[tokio::test]
async fn metrics_are_for_this_machine_or_for_a_listener_of_their_own() {
    let server = TestServer::start().await;
    let (status, text) = get(server.address, "/metrics", "").await;
    assert!(status == 200 && text.contains("# TYPE im_sessions gauge") && text.ends_with("# EOF\n"), "{status} {text}");
    for header in ["x-forwarded-for: 10.0.0.1\r\n", "forwarded: for=10.0.0.1\r\n", "via: 1.1 x\r\n"] {
        assert_eq!(get(server.address, "/metrics", header).await.0, 404, "{header}");
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let apart = listener.local_addr().unwrap();
    let serving = server.server.clone();
    let operators = tokio::spawn(async move { serving.serve_metrics(listener).await });
    assert_eq!(get(apart, "/metrics", "").await.0, 200);
    assert_eq!(get(apart, "/readyz", "").await, (200, "ready\n".into()));
    assert_eq!(get(apart, "/im", "").await.0, 404);
    assert_eq!(get(server.address, "/metrics", "").await.0, 404);
    server.server.shutdown().await.unwrap();
    within(operators).await.unwrap();
}

#[tokio::test]
async fn a_draining_server_is_not_ready_and_goes_on() {
    let server = TestServer::start().await;
    let mut alice = server.online("alice", "phone").await;
    assert_eq!(get(server.address, "/readyz", "").await, (200, "ready\n".into()));
    server.server.drain();
    assert_eq!(get(server.address, "/readyz", "").await, (503, "draining\n".into()));
    assert_eq!(get(server.address, "/healthz", "").await, (200, "ok\n".into()));
    alice.send("bob", "still served");
    alice.stored().await;
    server.online("bob", "phone").await;
}

/// Refuses writes while it is told to.
struct Failing(Arc<AtomicBool>);

impl Appends for Failing {
    fn append<'a>(&'a self, inner: &'a FjallStore, entry: NewEntry) -> BoxFuture<'a, Append> {
        if self.0.load(Ordering::Relaxed) {
            return Box::pin(async { Append::NotStored(StoreError::Io("no space".into())) });
        }
        inner.append(entry)
    }
}

fn failing(dir: &Path) -> (Wrapped<Failing>, Arc<AtomicBool>) {
    let fails = Arc::new(AtomicBool::new(true));
    (Wrapped::open(dir, Failing(fails.clone())), fails)
}

#[tokio::test]
async fn a_server_whose_store_fails_is_not_ready_until_it_writes_again() {
    let dir = tempfile::tempdir().unwrap();
    let (store, fails) = failing(dir.path());
    let server = TestServer::on(Arc::new(store), |address| Arc::new(OpenLoopback::new(address).unwrap()), |b| b).await;
    let mut alice = server.online("alice", "phone").await;
    assert_eq!(get(server.address, "/readyz", "").await.0, 200);
    alice.send("bob", "hello");
    // The client tries again by itself; until then the server says why it is not ready.
    alice.flush().await;
    metric(&server.server, "im_messages_total{outcome=\"not_stored\"} 1").await;
    let (status, reason) = get(server.address, "/readyz", "").await;
    assert!(status == 503 && reason.contains("store"), "{reason}");
    fails.store(false, Ordering::Relaxed);
    let mut bob = server.online("bob", "phone").await;
    bob.send("alice", "hello");
    bob.stored().await;
    assert_eq!(get(server.address, "/readyz", "").await.0, 200);
}

async fn behind_a_proxy(server: &TestServer) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut config = ListenerConfig::default();
    config.proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let serving = server.server.clone();
    tokio::spawn(async move { serving.serve_with(listener, config).await.unwrap() });
    address
}

async fn proxied(address: SocketAddr, header: &str) -> TcpStream {
    let mut stream = within(TcpStream::connect(address)).await.unwrap();
    within(stream.write_all(header.as_bytes())).await.unwrap();
    stream
}

#[tokio::test]
async fn clients_behind_a_trusted_proxy_are_counted_by_their_own_address() {
    let server = TestServer::with(|_| Arc::new(NotEve), |builder| builder.connections(10, 1)).await;
    let address = behind_a_proxy(&server).await;
    let mut peers = Vec::new();
    for (user, client) in [("alice", "10.0.0.1"), ("bob", "10.0.0.2")] {
        let mut peer = Peer::offline(server.server.public_key(), user, "phone", "");
        let stream = proxied(address, &format!("PROXY TCP4 {client} 127.0.0.1 4000 80\r\n")).await;
        peer.begin(Wire::Tcp(stream));
        peer.logged_in().await;
        peers.push(peer);
    }
    peers[0].send("bob", "through the proxy");
    peers[0].stored().await;
    assert_eq!(peers[1].text().await, "through the proxy");
    for (header, reason) in [
        ("PROXY TCP4 10.0.0.1 127.0.0.1 4001 80\r\n", "too many connections from your address"),
        ("PROXY TCP4 10.0.0.9 127.0.0.1 4001 80\r\n\x7f", "0x7f"),
    ] {
        let mut answer = Vec::new();
        within(proxied(address, header).await.read_to_end(&mut answer)).await.unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.contains(reason), "{header}: {answer}");
    }
    // Without the header nothing is served, and nothing is said to who may not be the proxy.
    let mut bare = proxied(address, "GET /healthz HTTP/1.1\r\n\r\n").await;
    assert_eq!(within(bare.read_to_end(&mut Vec::new())).await.unwrap_or(0), 0);
    metric(&server.server, "im_connections_unmet_total{reason=\"proxy\"} 1").await;
    // HTTP behind the header: the client is not on loopback, though the proxy is.
    let request =
        "PROXY TCP4 10.0.0.8 127.0.0.1 4000 80\r\nGET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let mut answer = String::new();
    within(proxied(address, request).await.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
}

#[tokio::test]
async fn without_tokens_no_proxy_is_trusted() {
    let server = TestServer::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = ListenerConfig::default();
    config.proxies = vec!["10.0.0.0/8".parse().unwrap()];
    let error = within(server.server.serve_with(listener, config)).await.unwrap_err().to_string();
    assert!(error.contains("behind a proxy"), "{error}");
}
