//! At the most talkative level, as text and as JSON, through everything that users do and much that goes wrong: no line of
//! the server or of the client library holds content, tokens, session ids or keys, in whatever encoding.
#![allow(clippy::disallowed_methods, reason = "tests of a program may use files and processes")]

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::common::process::{Running, command, output, start, terminate};
use crate::common::tls::{Authority, connect};
use crate::common::{Peer, within};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use futures_util::SinkExt;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use im_client::service::{Content, Service, Target};
use im_client::{Client, Credentials, Event, Events, Options, Tls};
use im_codec::{Header, Limits, MessageType, encode_packet};
use im_proto::call::{CallId, CallSignal, Media, Payload, PrivateSignal};
use im_proto::{
    ClientEvent, CloseCode, Command, Conversation, Message, PeerSignal, RefusalCode, SealedMessage, SealedParts, Signal,
};
use im_server::{Right, ServiceKeys};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// What must not be in a log: what it is, and its bytes.
#[derive(Default)]
struct Secrets(Vec<(String, Vec<u8>)>);

impl Secrets {
    /// A text that occurs nowhere else.
    fn text(&mut self, what: &str) -> String {
        let text =
            format!("{}-{:016x}{:016x}", what.replace(' ', "-"), getrandom::u64().unwrap(), getrandom::u64().unwrap());
        self.add(what, text.as_bytes());
        text
    }

    fn add(&mut self, what: &str, bytes: &[u8]) {
        assert!(bytes.len() >= 16, "{what} is too short to be told from chance");
        self.0.push((what.to_owned(), bytes.to_vec()));
    }

    /// The first secret that a log holds: what it is, how it is written, and the line.
    fn find_in(&self, log: &str) -> Option<String> {
        self.0.iter().find_map(|(what, secret)| {
            let (encoding, text) = encodings(secret).into_iter().find(|(_, text)| log.contains(text))?;
            let line = log.lines().find(|line| line.contains(&text)).unwrap_or_default();
            Some(format!("the {what}, as {encoding}, in: {line}"))
        })
    }
}

/// All the ways in which bytes get into a text, also in the middle of longer ones.
fn encodings(secret: &[u8]) -> Vec<(&'static str, String)> {
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let list = format!("{secret:?}");
    let mut all = vec![
        ("HEX", hex.to_uppercase()),
        ("hex", hex),
        ("a list of numbers", list.trim_matches(['[', ']']).to_owned()),
        ("escaped bytes", secret.escape_ascii().to_string()),
    ];
    if let Ok(text) = std::str::from_utf8(secret) {
        all.push(("itself", text.to_owned()));
    }
    for before in 0..3 {
        let mut bytes = vec![0; before];
        bytes.extend(secret);
        // The characters that hold bits of the secret only.
        let whole = before + usize::from(before > 0)..bytes.len() * 8 / 6;
        for (name, engine) in [("base64", &STANDARD_NO_PAD), ("base64url", &URL_SAFE_NO_PAD)] {
            all.push((name, engine.encode(&bytes)[whole.clone()].to_owned()));
        }
    }
    all
}

#[test]
fn secrets_are_found_in_every_encoding_and_place() {
    let mut secrets = Secrets::default();
    let text = secrets.text("message");
    let hex: String = text.bytes().map(|byte| format!("{byte:02X}")).collect();
    let mut lines = vec![text.clone(), hex, format!("{:?}", text.as_bytes())];
    for before in ["", "a", "ab", "abc"] {
        lines.push(STANDARD_NO_PAD.encode(format!("{before}{text}{before}")));
        lines.push(URL_SAFE_NO_PAD.encode(format!("{before}{text}")));
    }
    for line in lines {
        let log = format!("INFO fine\nINFO x={line} y\n");
        assert!(secrets.find_in(&log).is_some(), "{line} is not seen");
    }
    assert_eq!(secrets.find_in("INFO nothing of that kind"), None);
}

/// The lines of this process, so of the client library.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Captured {
    /// Everything at every level, as text and as JSON, of this thread: other tests run in others.
    fn start() -> (Self, DefaultGuard) {
        let captured = Self::default();
        let writer = |captured: &Self| {
            let captured = captured.clone();
            move || captured.clone()
        };
        let text = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(writer(&captured));
        let json = tracing_subscriber::fmt::layer().json().with_writer(writer(&captured));
        let guard = tracing_subscriber::registry().with(text).with(json).set_default();
        (captured, guard)
    }
}

/// A server with TLS and tokens that logs all it can, and where its log goes.
struct Logging {
    running: Running,
    log: tokio::task::JoinHandle<String>,
    /// The key of a service.
    service: String,
}

async fn logging(dir: &Path, format: &str, authority: &Authority, secrets: &mut Secrets) -> Logging {
    let (chain, key) = authority.issue();
    for line in key.lines().filter(|line| !line.contains("PRIVATE KEY") && line.len() >= 16) {
        secrets.add("key of the certificate", line.as_bytes());
    }
    let file = |name: &str, text: &str| {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let mut command = command(&dir.join("data"));
    command.env("IM_TLS_CERTIFICATE_FILE", file("chain", &chain)).env("IM_TLS_KEY_FILE", file("key", &key));
    command.env("IM_JWT_HS256_SECRET_FILE", file("secret", &secrets.text("secret that signs tokens")));
    let (service, line) = ServiceKeys::generate("shop", &Right::ALL).unwrap();
    secrets.add("key of a service", service.as_bytes());
    secrets.add("hash of a service's key", line.split(' ').nth(1).unwrap().as_bytes());
    command.env("IM_SERVICE_KEYS_FILE", file("services", &line));
    command.env("IM_LOG", "trace").env("IM_LOG_FORMAT", format);
    let mut running = start(command).await;
    let mut stderr = running.child.stderr.take().unwrap();
    let log = tokio::spawn(async move {
        let mut text = String::new();
        stderr.read_to_string(&mut text).await.unwrap();
        text
    });
    let hex = std::fs::read_to_string(dir.join("data/server.key")).unwrap();
    let hex = hex.trim();
    let key: Vec<u8> = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    assert_eq!(key.len(), 32);
    secrets.add("server's private key", &key);
    Logging { running, log, service }
}

async fn token(dir: &Path, user: &str, secrets: &mut Secrets) -> String {
    let mut issue = command(&dir.join("data"));
    issue.env("IM_JWT_HS256_SECRET_FILE", dir.join("secret")).args(["token", user]);
    let token = String::from_utf8(output(issue).await.0.stdout).unwrap().trim().to_owned();
    secrets.add("token", token.as_bytes());
    secrets.add("signature of a token", token.rsplit('.').next().unwrap().as_bytes());
    token
}

async fn login(server: &Running, user: &str, token: &str, websocket: bool) -> Peer {
    let mut peer = Peer::offline(server.key, user, "phone", token);
    if websocket {
        peer.connect_ws(server.address).await;
    } else {
        peer.connect_tcp(server.address).await;
    }
    peer.logged_in().await;
    peer
}

async fn joined(peer: &mut Peer, room: &Conversation) {
    peer.connection.join_room(room).unwrap();
    peer.until(|event| matches!(event, ClientEvent::RoomJoined { .. }).then_some(())).await;
}

/// What users do.
async fn chat(alice: &mut Peer, bob: &mut Peer, secrets: &mut Secrets) {
    let to_bob = Conversation::private("bob");
    let id = alice.send("bob", &secrets.text("message"));
    let about = alice.stored_as(id).await;
    let id = alice.command(Command::edit(to_bob.clone(), about, &secrets.text("edit")));
    alice.stored_as(id).await;
    let id = alice.command(Command::react(to_bob.clone(), about, &secrets.text("reaction")));
    alice.stored_as(id).await;
    let file = secrets.text("file").into_bytes().repeat(300);
    let now = alice.now();
    let id = alice.connection.send(now, Message { to: to_bob.clone(), content_type: 300, content: file }).unwrap();
    alice.stored_as(id).await;
    let parts = SealedParts::new(&[("bob", "phone", &secrets.text("sealed part"))]).unwrap();
    let id = alice.connection.send_sealed(now, SealedMessage { to: to_bob.clone(), content_type: 9, parts }).unwrap();
    let last = alice.stored_as(id).await;
    while bob.entry().await.0 < last {}

    let room = Conversation::room("show");
    joined(alice, &room).await;
    joined(bob, &room).await;
    let id = alice.send_to(&room, &secrets.text("room message"));
    alice.stored_as(id).await;
    bob.until(|event| matches!(event, ClientEvent::RoomMessage { .. }).then_some(())).await;

    alice.connection.signal(Signal::Typing { conversation: to_bob, on: true }).unwrap();
    alice.flush().await;
    assert!(matches!(bob.signal().await, PeerSignal::Typing { .. }));
    let offer = Payload(secrets.text("offer of a call").into_bytes());
    let invite = PrivateSignal::Invite { callee: "bob".into(), media: Media::Voice, offer };
    for signal in [invite, PrivateSignal::Cancel] {
        let signal = Signal::Call { call: CallId(7), signal: CallSignal::Private(signal) };
        alice.connection.signal(signal).unwrap();
        alice.flush().await;
        assert!(matches!(bob.signal().await, PeerSignal::Call { .. }));
    }
}

/// One request on a connection of its own: the answer.
async fn request(address: SocketAddr, line: &str, body: &str) -> String {
    let mut stream = within(TcpStream::connect(address)).await.unwrap();
    let len = body.len();
    let request = format!("{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len}\r\n\r\n{body}");
    within(stream.write_all(request.as_bytes())).await.unwrap();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

/// What goes wrong.
async fn go_wrong(server: &Running, alice: &mut Peer, secrets: &mut Secrets) {
    let address = server.address;
    let id = alice.send_to(&Conversation::group("not of alice"), &secrets.text("refused message"));
    assert_eq!(alice.refused(id).await.0, RefusalCode::FORBIDDEN);
    for token in [secrets.text("bad token"), format!("{}.e30.{}", secrets.text("head"), secrets.text("tail"))] {
        let mut eve = Peer::offline(server.key, "eve", "phone", &token);
        eve.connect_tcp(address).await;
        assert_eq!(eve.closed().await.code, CloseCode::LOGIN_REFUSED);
    }

    let body = secrets.text("malformed packet");
    for kind in [MessageType::HELLO, MessageType::SEND, MessageType::SEALED] {
        let mut packet = Vec::new();
        encode_packet(&mut packet, &Header::new(kind), body.as_bytes(), &Limits::default()).unwrap();
        // Whole, and cut off inside.
        for len in [packet.len(), packet.len() - 3] {
            let mut stream = within(TcpStream::connect(address)).await.unwrap();
            within(stream.write_all(&packet[..len])).await.unwrap();
            stream.shutdown().await.unwrap();
            within(stream.read_to_end(&mut Vec::new())).await.unwrap();
        }
    }
    let uri = format!("ws://{address}/im?token={}", secrets.text("token in an address"));
    let connect = tokio_websockets::ClientBuilder::new().uri(&uri).unwrap();
    let (mut ws, _) = within(connect.connect()).await.unwrap();
    within(ws.send(tokio_websockets::Message::text(secrets.text("websocket text")))).await.unwrap();
    drop(ws);

    let opened = request(address, "POST /im/sessions", "").await;
    let session = opened.rsplit("\r\n").next().unwrap();
    secrets.add("id of a session over HTTP", session.as_bytes());
    let refused = request(address, &format!("POST /im/sessions/{session}?send=1"), &secrets.text("http body")).await;
    assert!(refused.starts_with("HTTP/1.1 400"), "{refused}");
    assert!(request(address, &format!("GET /{}", secrets.text("path")), "").await.starts_with("HTTP/1.1 404"));
}

/// What a service does, well and badly.
async fn serve(server: &Running, key: &str, authority: &Authority, secrets: &mut Secrets) {
    let url = format!("https://localhost:{}", server.address.port());
    let service = |key: &str| Service::new(url.parse().unwrap(), key).unwrap().tls(authority.client_tls());
    let mut good = service(key);
    let to = || Target::users(["alice", "bob"]);
    let content = Content::text(secrets.text("pushed message"));
    within(good.push("1", "shop", to(), content)).await.unwrap();
    let other = Content::text(secrets.text("pushed message of a used id"));
    within(good.push("1", "shop", to(), other)).await.unwrap_err();
    within(good.kick("carol", None, &secrets.text("reason of a kick"), true)).await.unwrap();
    within(good.ban("carol", &secrets.text("reason of a ban"), None)).await.unwrap();
    let mut wrong = service(&secrets.text("wrong key of a service"));
    within(wrong.user("alice")).await.unwrap_err();
    let body = secrets.text("malformed push");
    let line = "POST /api/v1/messages HTTP/1.1\r\ncontent-type: application/json";
    let request = format!(
        "{line}\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {key}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = within(TcpStream::connect(server.address)).await.unwrap();
    within(stream.write_all(request.as_bytes())).await.unwrap();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");

    // HTTP/2 has a log of its own on both sides.
    let stream = TokioIo::new(connect(authority, server.address, &[b"h2"]).await.unwrap());
    let (mut sender, connection) = within(http2::handshake(TokioExecutor::new(), stream)).await.unwrap();
    let driver = tokio::spawn(connection);
    for (key, status) in [(key, 200), (secrets.text("wrong key over http 2").as_str(), 401)] {
        let request = hyper::Request::get(format!("https://localhost/api/v1/users/alice?x={}", secrets.text("query")));
        let request = request.header("authorization", format!("Bearer {key}")).body(Full::<Bytes>::default()).unwrap();
        assert_eq!(within(sender.send_request(request)).await.unwrap().status(), status);
    }
    drop(sender);
    within(driver).await.unwrap().unwrap();
}

/// A client of the library that says something and is heard.
async fn library(server: &Running, scheme: &str, user: &str, token: &str, tls: Tls) -> (Client, Events) {
    let credentials = Credentials { user: user.into(), device: "library".into(), token: token.into() };
    let path = if scheme.starts_with('t') { "" } else { "/im" };
    let url = format!("{scheme}://localhost:{}{path}", server.address.port()).parse().unwrap();
    Client::start(Options::new(url, server.key, credentials).tls(tls).reconnect(false)).unwrap()
}

#[tokio::test]
async fn nothing_secret_is_logged_by_the_server_or_the_client() {
    let (captured, _guard) = Captured::start();
    let mut all = Secrets::default();
    for format in ["text", "json"] {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let mut secrets = Secrets::default();
        let Logging { mut running, log, service } = logging(dir.path(), format, &authority, &mut secrets).await;
        let (alices, bobs) =
            (token(dir.path(), "alice", &mut secrets).await, token(dir.path(), "bob", &mut secrets).await);
        let mut alice = login(&running, "alice", &alices, false).await;
        let mut bob = login(&running, "bob", &bobs, true).await;
        chat(&mut alice, &mut bob, &mut secrets).await;
        go_wrong(&running, &mut alice, &mut secrets).await;
        serve(&running, &service, &authority, &mut secrets).await;
        for scheme in ["tcps", "wss", "https"] {
            let (client, _events) = library(&running, scheme, "alice", &alices, authority.client_tls()).await;
            within(client.send(Message::text("bob", &secrets.text("library message")))).await.unwrap();
            let (_refused, mut events) = library(&running, scheme, "eve", &alices, authority.client_tls()).await;
            while !matches!(within(events.next()).await.unwrap(), Event::Disconnected { .. }) {}
            within(client.close()).await;
        }
        alice.connection.close(alice.now(), CloseCode::NORMAL, &secrets.text("reason of a close"));
        alice.flush().await;
        assert_eq!(alice.closed().await.code, CloseCode::NORMAL);
        terminate(&mut running.child).await;
        drop((alice, bob));
        within(running.child.wait()).await.unwrap();

        let log = within(log).await.unwrap();
        let said =
            ["login refused", "session ended", "stopping", "DEBUG", if format == "json" { "{\"" } else { " INFO " }];
        for expected in said {
            assert!(log.contains(expected), "{format}: the log does not say {expected}:\n{log}");
        }
        assert_eq!(secrets.find_in(&log), None, "the server's log in {format}");
        println!("{format}: {} lines, {} secrets, none of them there", log.lines().count(), secrets.0.len());
        all.0.append(&mut secrets.0);
    }
    let log = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("im_client") && log.contains("disconnected"), "the client's log says something: {log}");
    assert_eq!(all.find_in(&log), None, "the client's log");
    println!("client: {} lines, none of the {} secrets there", log.lines().count(), all.0.len());
}
