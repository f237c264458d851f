//! Peers that hold, drip, flood and send garbage, against the real program, while an honest user is served. What is
//! stated: who is cut, what is counted, and how much memory it takes at most.
#![allow(clippy::disallowed_methods, reason = "tests of a program may use files and processes")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::common::process::{MANY_SOCKETS, Running, command, resident, sockets, start};
use crate::common::tls::{Authority, connect};
use crate::common::{PATIENCE, Peer, TestServer, within};
use futures_util::future::{BoxFuture, join_all};
use futures_util::{SinkExt, StreamExt};
use im_codec::{Header, MessageType};
use im_proto::{ClientConfig, CloseCode, Credentials, IDLE_BYTES, RUSTCRYPTO};
use im_server::auth::{AuthError, Authenticator, OpenLoopback};
use im_server::{Right, ServiceKeys};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_websockets::ClientBuilder;

/// A user who chats with themselves, from before the abuse to its end.
struct Honest(Peer);

impl Honest {
    async fn of(running: &Running) -> Self {
        let mut peer = Peer::offline(running.key, "alice", "phone", "");
        peer.connect_tcp(running.address).await;
        peer.logged_in().await;
        Self(peer)
    }

    async fn chats(&mut self) {
        let id = self.0.send("alice", "undisturbed");
        assert_eq!(self.0.stored().await.0, id);
    }
}

/// The value of a metric.
async fn metric(address: SocketAddr, name: &str) -> u64 {
    let mut stream = within(TcpStream::connect(address)).await.unwrap();
    let request = b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    within(stream.write_all(request)).await.unwrap();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    let line = answer.lines().find_map(|line| line.strip_prefix(name));
    line.map_or(0, |value| value.trim().parse().unwrap())
}

async fn reaches(address: SocketAddr, name: &str, value: u64) {
    let reached = async {
        while metric(address, name).await < value {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let reached = tokio::time::timeout(PATIENCE, reached).await;
    assert!(reached.is_ok(), "{name} is {}, and should be {value}", metric(address, name).await);
}

#[tokio::test]
async fn idle_sockets_are_cut_by_the_login_deadline_while_a_user_chats() {
    /// What one idle socket may cost the server, kernel buffers aside.
    const PER_SOCKET: usize = 8 * 1024;
    let dir = tempfile::tempdir().unwrap();
    let mut serve = command(dir.path());
    let _alone = MANY_SOCKETS.lock().await;
    let most = sockets();
    serve.args(["--max-connections", "20000", "--max-connections-per-address", "20000", "--login-timeout-secs", "10"]);
    let running = start(serve).await;
    let mut honest = Honest::of(&running).await;
    honest.chats().await;
    let before = resident(&running.child);
    let mut idle = Vec::with_capacity(most);
    for _ in 0..most {
        idle.push(within(TcpStream::connect(running.address)).await.unwrap());
    }
    honest.chats().await;
    let grown = resident(&running.child).saturating_sub(before);
    println!("{most} idle sockets: {} bytes each", grown / most);
    assert!(grown < most * PER_SOCKET, "{grown} bytes for {most} idle sockets");
    let cut = idle.into_iter().map(|mut socket| async move {
        let mut told = Vec::new();
        let _ = socket.read_to_end(&mut told).await;
        told
    });
    let (told, ()) = tokio::join!(within(join_all(cut)), honest.chats());
    let timeout = |told: &Vec<u8>| told.get(24..26) == Some(&CloseCode::TIMEOUT.0.to_be_bytes());
    assert!(told.iter().all(timeout), "every one is told why");
    reaches(running.address, "im_connections_unmet_total{reason=\"timeout\"}", most as u64).await;
    honest.chats().await;
}

/// Sends `start`, and then a byte now and then, until the server ends it. What the server said.
async fn drip(mut stream: impl AsyncRead + AsyncWrite + Unpin, start: &[u8], byte: u8) -> Vec<u8> {
    let mut said = Vec::new();
    let _ = stream.write_all(start).await;
    let _ = stream.flush().await;
    let mut chunk = [0; 1024];
    loop {
        match tokio::time::timeout(Duration::from_millis(50), stream.read(&mut chunk)).await {
            Ok(Ok(0) | Err(_)) => return said,
            Ok(Ok(len)) => said.extend_from_slice(&chunk[..len]),
            Err(_) => {
                if stream.write_all(&[byte]).await.is_err() || stream.flush().await.is_err() {
                    return said;
                }
            }
        }
    }
}

#[tokio::test]
async fn who_drips_is_cut_on_every_transport_while_a_user_chats() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let (chain, key) = authority.issue();
    for (name, text) in [("chain.pem", chain), ("key.pem", key)] {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let mut serve = command(&dir.path().join("data"));
    serve.args(["--login-timeout-secs", "1", "--tls-certificate-file"]).arg(dir.path().join("chain.pem"));
    serve.arg("--tls-key-file").arg(dir.path().join("key.pem"));
    let running = start(serve).await;
    let mut honest = Honest::of(&running).await;
    let tcp = async || within(TcpStream::connect(running.address)).await.unwrap();
    let tls = async || connect(&authority, running.address, &[]).await.unwrap();
    let packet = Header::new(MessageType::HELLO).to_bytes(60_000);
    // A ClientHello whose record says 512 bytes; a request without an end; a body without an end.
    let hello = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    let head = b"GET /healthz HTTP/1.1\r\nx: ";
    let mut session = tcp().await;
    session.write_all(b"POST /im/sessions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut opened = String::new();
    within(session.read_to_string(&mut opened)).await.unwrap();
    let id = opened.rsplit("\r\n").next().unwrap().to_owned();
    let body = format!("POST /im/sessions/{id}?send=1 HTTP/1.1\r\nhost: x\r\ncontent-length: 60000\r\n\r\n");
    // A WebSocket that is open, and then a frame of 60,000 bytes.
    let upgrade = b"GET /im HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
        sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let websocket = [upgrade.as_slice(), &[0x82, 0xfe, 0xea, 0x60, 1, 2, 3, 4]].concat();
    let kept_alive = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    let cut = async {
        tokio::join!(
            drip(tcp().await, &packet, 7),
            drip(tls().await, &packet, 7),
            drip(tcp().await, &hello, 0),
            drip(tcp().await, head, b'x'),
            drip(tls().await, head, b'x'),
            drip(tcp().await, body.as_bytes(), 0),
            drip(tcp().await, &websocket, 0),
            drip(tls().await, &websocket, 0),
            // The next request begins, and goes on for ever.
            drip(tcp().await, kept_alive, b'G'),
        )
    };
    let chat = async {
        for _ in 0..20 {
            honest.chats().await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    // A connection that is kept open for a next request, and none comes.
    let silent = async {
        let mut stream = tcp().await;
        stream.write_all(kept_alive).await.unwrap();
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said).await;
    };
    let (said, (), ()) = tokio::join!(within(cut), chat, within(silent));
    let text = |said: &[u8]| String::from_utf8_lossy(said).into_owned();
    for packets in [&said.0, &said.1] {
        assert!(text(packets).contains("too long"), "{}", text(packets));
    }
    assert!(said.2.is_empty(), "TLS has not begun: {:?}", said.2);
    for ended in [&said.3, &said.4] {
        assert!(ended.is_empty() || text(ended).starts_with("HTTP/1.1 408"), "{}", text(ended));
    }
    assert!(text(&said.5).starts_with("HTTP/1.1 4"), "{}", text(&said.5));
    for websocket in [&said.6, &said.7] {
        assert!(text(websocket).starts_with("HTTP/1.1 101") && text(websocket).contains("too long"));
    }
    assert!(text(&said.8).starts_with("HTTP/1.1 200"));
    honest.chats().await;
}

#[tokio::test]
async fn a_reader_that_stops_is_cut_and_holds_no_more_than_its_bound() {
    const MESSAGES: usize = 400;
    const LEN: usize = 30_000;
    let server = TestServer::with(
        |address| Arc::new(OpenLoopback::new(address).unwrap()),
        |builder| builder.stall(Duration::from_secs(1)).configure(|config| config.receive_max = MESSAGES as u32),
    )
    .await;
    let credentials = Credentials { user: "bob".into(), device: "phone".into(), token: String::new() };
    let mut config = ClientConfig::new(&RUSTCRYPTO, server.server.public_key(), credentials);
    // One that asks for more than it takes.
    (config.receive_max, config.receive_bytes) = (MESSAGES as u32, 0);
    let mut bob = Peer::configured(config, 7);
    bob.connect_tcp(server.address).await;
    bob.logged_in().await;
    let mut alice = server.online("alice", "phone").await;
    let text = "x".repeat(LEN);
    let cut = async {
        while !server.server.metrics().contains("im_sessions_cut_total{reason=\"slow_reader\"} 1") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    // More than the socket's buffers hold: bob reads nothing of it.
    for _ in 0..MESSAGES {
        alice.send("bob", &text);
        alice.stored().await;
    }
    within(cut).await;
    alice.send("bob", "undisturbed");
    alice.stored().await;
    // All of it is there when bob comes back.
    drop(bob);
    let mut bob = server.online("bob", "phone").await;
    for _ in 0..MESSAGES {
        assert_eq!(bob.message().await.content.len(), LEN);
    }
    assert_eq!(bob.text().await, "undisturbed");
}

/// A budget of bytes that one reader who stopped uses up.
#[tokio::test]
async fn while_connections_hold_too_much_nobody_else_is_let_in_and_who_is_in_is_served() {
    const BUDGET: u64 = 48 * 1024;
    const MESSAGES: usize = 400;
    const LEN: usize = 30_000;
    let server = TestServer::with(
        |address| Arc::new(OpenLoopback::new(address).unwrap()),
        |builder| builder.connection_bytes(BUDGET).configure(|config| config.receive_max = MESSAGES as u32),
    )
    .await;
    let credentials = Credentials { user: "bob".into(), device: "phone".into(), token: String::new() };
    let mut config = ClientConfig::new(&RUSTCRYPTO, server.server.public_key(), credentials);
    // One that asks for more than it takes.
    (config.receive_max, config.receive_bytes) = (MESSAGES as u32, 0);
    let mut bob = Peer::configured(config, 7);
    bob.connect_tcp(server.address).await;
    bob.logged_in().await;
    let mut alice = server.online("alice", "phone").await;
    let held = || {
        let metrics = server.server.metrics();
        let line = metrics.lines().find_map(|line| line.strip_prefix("im_connection_bytes ")).unwrap();
        line.parse::<u64>().unwrap()
    };
    // More than the sockets' buffers take. Between two messages nothing of alice's own waits.
    let text = "x".repeat(LEN);
    let mut sent = 0;
    while held() < BUDGET {
        assert!(sent < MESSAGES, "bob's reading should hold up the server: {} bytes wait", held());
        alice.send("bob", &text);
        alice.stored().await;
        sent += 1;
    }
    let mut carol = server.tcp("carol", "phone").await;
    let closed = carol.closed().await;
    assert_eq!(closed.code, CloseCode::BUSY);
    assert!(closed.reason.contains("memory"), "{}", closed.reason);
    assert!(server.server.metrics().contains("im_connections_refused_total{reason=\"memory\"} 1"));
    alice.send("bob", "undisturbed");
    alice.stored().await;
    // What waits is taken, and there is room again.
    for _ in 0..sent {
        assert_eq!(bob.message().await.content.len(), LEN);
    }
    assert_eq!(bob.text().await, "undisturbed");
    let empty = async {
        // Four connections with carol's.
        while held() + 4 * IDLE_BYTES > BUDGET {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within(empty).await;
    server.online("carol", "phone").await;
}

/// Refuses everybody, and counts how often it was asked.
struct Counting(Arc<AtomicUsize>);

impl Authenticator for Counting {
    fn authenticate<'a>(&'a self, _: &'a im_proto::LoginRequest) -> BoxFuture<'a, Result<Arc<str>, AuthError>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { Err(AuthError::Refused("no".into())) })
    }
}

#[tokio::test]
async fn a_flood_of_logins_reaches_the_authenticator_as_often_as_is_allowed() {
    const ALLOWED: u32 = 20;
    let asked = Arc::new(AtomicUsize::new(0));
    let counting = Arc::new(Counting(asked.clone()));
    let server = TestServer::with(|_| counting, |builder| builder.refused_logins(ALLOWED)).await;
    for attempt in 0..200 {
        let mut eve = server.tcp("eve", &format!("phone-{attempt}")).await;
        let expected = if attempt < ALLOWED { CloseCode::LOGIN_REFUSED } else { CloseCode::BUSY };
        assert_eq!(eve.closed().await.code, expected, "attempt {attempt}");
    }
    assert_eq!(asked.load(Ordering::Relaxed), ALLOWED as usize);
}

/// One request as it is; the status, or 0 when the connection was cut without an answer.
async fn raw(address: SocketAddr, request: &[u8]) -> u16 {
    let mut stream = within(TcpStream::connect(address)).await.unwrap();
    let _ = within(stream.write_all(request)).await;
    let mut answer = Vec::new();
    let _ = within(stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(answer.get(9..12).unwrap_or_default()).parse().unwrap_or(0)
}

#[tokio::test]
async fn oversized_and_malformed_input_is_refused_on_every_endpoint() {
    let dir = tempfile::tempdir().unwrap();
    let mut serve = command(dir.path());
    let (key, line) = ServiceKeys::generate("service", &Right::ALL).unwrap();
    std::fs::write(dir.path().join("keys"), line).unwrap();
    serve.args(["--login-timeout-secs", "2"]).env("IM_SERVICE_KEYS_FILE", dir.path().join("keys"));
    let running = start(serve).await;
    let mut honest = Honest::of(&running).await;
    let at = running.address;
    let close = "host: x\r\nconnection: close\r\n";
    let long = "x".repeat(20_000);
    for (request, allowed) in [
        (format!("GET /{long} HTTP/1.1\r\n{close}\r\n"), [414, 431, 0]),
        (format!("GET / HTTP/1.1\r\n{close}x: {long}\r\n\r\n"), [431, 0, 0]),
        (format!("GET / HTTP/1.1\r\n{close}{}\r\n", "a: b\r\n".repeat(200)), [431, 0, 0]),
        (format!("GET / HTTP/9.9\r\n{close}\r\n"), [400, 505, 0]),
        (format!("POST /im/sessions HTTP/1.1\r\n{close}content-length: -1\r\n\r\n"), [400, 0, 0]),
        (
            format!("POST /im/sessions HTTP/1.1\r\n{close}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n"),
            [400, 201, 0],
        ),
        (format!("PUT /im/sessions HTTP/1.1\r\n{close}\r\n"), [405, 405, 405]),
        (format!("POST /im/sessions/../../etc/passwd?send=1 HTTP/1.1\r\n{close}\r\n"), [404, 404, 404]),
        (format!("POST /im/sessions/%00%ff?send=1 HTTP/1.1\r\n{close}\r\n"), [404, 400, 400]),
        (format!("POST /im/sessions/{long}?send=1 HTTP/1.1\r\n{close}\r\n"), [414, 431, 0]),
        (format!("GET /im HTTP/1.1\r\n{close}upgrade: websocket\r\n\r\n"), [426, 426, 426]),
        (format!("POST /metrics HTTP/1.1\r\n{close}\r\n"), [405, 405, 405]),
        (format!("POST /api/v1/messages HTTP/1.1\r\n{close}\r\n"), [401, 401, 401]),
        (format!("GET /api/v1/users/%00 HTTP/1.1\r\n{close}authorization: Bearer {key}\r\n\r\n"), [422, 422, 422]),
        (format!("GET /api/v1/users/%ff HTTP/1.1\r\n{close}authorization: Bearer {key}\r\n\r\n"), [400, 400, 400]),
    ] {
        let status = raw(at, request.as_bytes()).await;
        assert!(allowed.contains(&status), "{status} for {}", request.chars().take(100).collect::<String>());
    }
    // A body that is longer than it may be, without having said so.
    let session = async {
        let mut stream = TcpStream::connect(at).await.unwrap();
        let open = format!("POST /im/sessions HTTP/1.1\r\n{close}\r\n");
        stream.write_all(open.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer.rsplit("\r\n").next().unwrap().to_owned()
    };
    let id = within(session).await;
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x1_0000)).repeat(2);
    let chunked = format!("POST /im/sessions/{id}?send=1 HTTP/1.1\r\n{close}transfer-encoding: chunked\r\n\r\n{chunk}");
    assert!([413, 0].contains(&raw(at, chunked.as_bytes()).await));
    // A WebSocket frame over the limit is refused by its header: 1009.
    let uri = format!("ws://{at}/im");
    let (mut ws, _) = within(ClientBuilder::new().uri(&uri).unwrap().connect()).await.unwrap();
    let _ = within(ws.send(tokio_websockets::Message::binary(vec![0x66; 100_000]))).await;
    let mut code = None;
    while let Some(Ok(message)) = within(ws.next()).await {
        code = message.as_close().map(|(code, _)| u16::from(code)).or(code);
    }
    assert!(code.is_none_or(|code| code == 1009), "{code:?}");
    // What a generator with a fixed seed writes, behind every beginning that leads somewhere.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |len: usize| {
        let mut bytes = Vec::with_capacity(len);
        for _ in 0..len {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.push(state as u8);
        }
        bytes
    };
    let api = format!(
        "POST /api/v1/messages HTTP/1.1\r\n{close}authorization: Bearer {key}\r\ncontent-type: application/json\r\n\
         content-length: 99\r\n\r\n{{"
    );
    for round in 0..60 {
        for start in [
            api.as_bytes(),
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
            b"",
            b"\x66",
            b"\x66\0\x01\x02",
            b"GET ",
            b"POST /im/sessions HTTP/1.1\r\n",
            b"\x16\x03\x01",
            b"PROXY ",
        ] {
            let mut stream = within(TcpStream::connect(at)).await.unwrap();
            let _ = within(stream.write_all(&[start, &random(round * 7)].concat())).await;
            let _ = within(stream.shutdown()).await;
            let _ = within(stream.read_to_end(&mut Vec::new())).await;
        }
        if round % 20 == 0 {
            honest.chats().await;
        }
    }
    honest.chats().await;
    assert_eq!(metric(at, "im_logins_total{outcome=\"accepted\"}").await, 1);
}

/// Bodies of HTTP requests that do not end hold what came of them and no more, however many there are.
#[tokio::test]
async fn unfinished_requests_hold_no_more_than_a_batch_each() {
    const PEERS: usize = 300;
    /// One body, hyper's buffer and what vectors grow ahead.
    const EACH: usize = (64 + 16) * 1024 * 2;
    let dir = tempfile::tempdir().unwrap();
    let mut serve = command(dir.path());
    serve.args(["--login-timeout-secs", "30"]);
    let running = start(serve).await;
    let mut honest = Honest::of(&running).await;
    let mut session = within(TcpStream::connect(running.address)).await.unwrap();
    session.write_all(b"POST /im/sessions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut opened = String::new();
    within(session.read_to_string(&mut opened)).await.unwrap();
    let id = opened.rsplit("\r\n").next().unwrap();
    let request = format!("POST /im/sessions/{id}?send=1 HTTP/1.1\r\nhost: x\r\ncontent-length: 65560\r\n\r\n");
    let most = [request.into_bytes(), vec![7; 65_559]].concat();
    let before = resident(&running.child);
    let mut peers = Vec::new();
    for _ in 0..PEERS {
        let mut peer = within(TcpStream::connect(running.address)).await.unwrap();
        within(peer.write_all(&most)).await.unwrap();
        peers.push(peer);
    }
    // What came is read by then: it is as much as the peers sent.
    let held = async {
        while resident(&running.child).saturating_sub(before) < PEERS * 60_000 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within(held).await;
    honest.chats().await;
    let grown = resident(&running.child).saturating_sub(before);
    println!("{PEERS} unfinished bodies: {} bytes each", grown / PEERS);
    assert!(grown < PEERS * EACH, "{grown} bytes for {PEERS} unfinished requests");
}
