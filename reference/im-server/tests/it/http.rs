//! Sessions over HTTP: the client library through a network that loses answers, and single requests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::common::tls::{Authority, Member};
use crate::common::{Peer, TestServer, Wire, within};
use im_client::{Client, Credentials, Event, Message, Options};
use im_codec::{Header, MessageType};
use im_proto::{ClientEvent, Entropy};
use im_server::ServerBuilder;
use im_server::auth::OpenLoopback;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn server(change: impl FnOnce(ServerBuilder) -> ServerBuilder) -> TestServer {
    TestServer::with(|address| Arc::new(OpenLoopback::new(address).unwrap()), change).await
}

/// One request on a connection of its own: status and body.
async fn request(address: SocketAddr, head: &str, body: &[u8]) -> (u16, Vec<u8>) {
    let mut stream = within(TcpStream::connect(address)).await.unwrap();
    let len = body.len();
    let head = format!("{head} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len}\r\n\r\n");
    within(stream.write_all(head.as_bytes())).await.unwrap();
    // A refusal may come before all of the body went out.
    let _ = within(stream.write_all(body)).await;
    let mut answer = Vec::new();
    let _ = within(stream.read_to_end(&mut answer)).await;
    let at = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("an answer") + 4;
    let status = String::from_utf8_lossy(&answer[9..12]).parse().unwrap();
    (status, answer.split_off(at))
}

async fn open(server: &TestServer) -> String {
    let (status, id) = request(server.address, "POST /im/sessions", b"").await;
    assert_eq!(status, 201);
    format!("POST /im/sessions/{}", String::from_utf8(id).unwrap())
}

#[tokio::test]
async fn users_chat_over_http_and_https() {
    let authority = Authority::new();
    let server = server(|builder| builder.tls(authority.server_tls())).await;
    let port = server.address.port();
    let mut bob = Member::start(&server, &format!("https://localhost:{port}"), "bob", authority.client_tls());
    let alice = Member::start(&server, &format!("http://localhost:{port}"), "alice", authority.client_tls());
    for number in 0..20 {
        assert_eq!(alice.say("bob", &number.to_string()).await, number + 1);
        assert_eq!(bob.text().await, number.to_string());
    }
    bob.say("alice", &"long ".repeat(3_000)).await;
    alice.client.close().await;
    bob.client.close().await;
}

/// Forwards connections and swallows answers: the server has done what it was asked, and the client does not learn it.
async fn lossy(server: SocketAddr, lost: Arc<AtomicUsize>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for count in 0_usize.. {
            let (client, _) = listener.accept().await.unwrap();
            let lost = lost.clone();
            tokio::spawn(async move {
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = TcpStream::connect(server).await.unwrap().into_split();
                let up = tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
                let (mut chunk, mut answers) = ([0; 16 * 1024], 0);
                while let Ok(len @ 1..) = from_server.read(&mut chunk).await {
                    answers += 1;
                    // The opening of a session is let through, so that the test is about the session.
                    if count > 0 && answers > count % 4 {
                        lost.fetch_add(1, Ordering::Relaxed);
                        break;
                    }
                    if to_client.write_all(&chunk[..len]).await.is_err() {
                        break;
                    }
                }
                up.abort();
            });
        }
    });
    address
}

#[tokio::test]
async fn answers_that_are_lost_neither_lose_nor_double_messages() {
    const MESSAGES: u64 = 40;
    let server = server(|builder| builder).await;
    let lost = Arc::new(AtomicUsize::new(0));
    let proxy = lossy(server.address, lost.clone()).await;
    let start = |user: &str, address: SocketAddr| {
        let credentials = Credentials { user: user.into(), device: "test".into(), token: String::new() };
        let url = format!("http://{address}").parse().unwrap();
        let options = Options::new(url, server.server.public_key(), credentials).reconnect(false);
        Client::start(options).unwrap()
    };
    let (alice, mut events) = start("alice", proxy);
    let (bob, mut bobs) = start("bob", server.address);
    for number in 1..=MESSAGES {
        // No second connection: what is lost has to be healed below the session.
        let sent = within(alice.send(Message::text("bob", &number.to_string()))).await.unwrap();
        assert_eq!(sent.seq, number);
    }
    for number in 1..=MESSAGES {
        loop {
            if let Event::Message(delivery) = within(bobs.next()).await.unwrap() {
                assert_eq!((delivery.seq, delivery.entry.content()), (number, number.to_string().as_bytes()));
                bob.ack(delivery.token).await;
                break;
            }
        }
    }
    assert!(lost.load(Ordering::Relaxed) > 5, "answers were lost: {lost:?}");
    alice.close().await;
    while let Some(event) = events.next().await {
        assert!(!matches!(event, Event::DialFailed { .. }), "{event:?}");
    }
}

/// A client of the protocol whose packets the test carries by hand.
struct ByHand {
    peer: Peer,
    session: String,
    address: SocketAddr,
}

impl ByHand {
    async fn open(server: &TestServer) -> Self {
        let session = open(server).await;
        let mut peer = Peer::offline(server.server.public_key(), "alice", "hand", "");
        peer.wire = Wire::None;
        let now = peer.now();
        peer.connection.connect(Entropy::from_rng(&mut getrandom::SysRng).unwrap(), now).unwrap();
        Self { peer, session, address: server.address }
    }

    fn packets(&mut self) -> Vec<u8> {
        let (now, mut out) = (self.peer.now(), Vec::new());
        while self.peer.connection.poll_transmit(now, &mut out, 1 << 20).is_some() {}
        out
    }

    async fn ask(&self, query: &str, body: &[u8]) -> (u16, Vec<u8>) {
        request(self.address, &format!("{}?{query}", self.session), body).await
    }

    /// What the packets tell.
    fn take(&mut self, mut packets: Vec<u8>) -> Vec<ClientEvent> {
        let (now, mut events) = (self.peer.now(), Vec::new());
        loop {
            events.extend(std::iter::from_fn(|| self.peer.connection.poll_event()));
            if packets.is_empty() {
                return events;
            }
            let taken = self.peer.connection.handle_input(now, &mut packets);
            assert!(taken > 0);
            packets.drain(..taken);
        }
    }
}

#[tokio::test]
async fn every_request_repeats_safely() {
    let server = server(|builder| builder).await;
    let mut hand = ByHand::open(&server).await;
    let hello = hand.packets();
    for _ in 0..3 {
        assert_eq!(hand.ask("send=1", &hello).await, (200, Vec::new()));
    }
    let reply = hand.ask("receive=1&wait=20", b"").await;
    assert!(reply.0 == 200 && !reply.1.is_empty());
    for _ in 0..3 {
        assert_eq!(hand.ask("receive=1&wait=20", b"").await, reply);
    }
    hand.take(reply.1);
    // Both at once: the login, and the wait for its answer. The second of them is a repetition.
    let login = hand.packets();
    let (both, again) =
        tokio::join!(hand.ask("send=2&receive=2&wait=20", &login), hand.ask("send=2&receive=2&wait=20", &login));
    let answers = [both, again].into_iter().filter(|(status, _)| *status == 200).collect::<Vec<_>>();
    assert!(!answers.is_empty() && answers.iter().all(|answer| *answer == answers[0]));
    let told = hand.take(answers[0].1.clone());
    assert!(told.iter().any(|event| matches!(event, ClientEvent::LoggedIn { .. })), "{told:?}");

    for (query, body, status, reason) in [
        ("send=1", b"".as_slice(), 409, "the last one was 2"),
        ("send=4", b"", 409, "the last one was 2"),
        ("receive=7", b"", 409, "the last one was 2"),
        ("", b"", 400, "?send=N"),
        ("receive=3", &hello, 400, "need a number"),
        ("send=3", b"\x67garbage", 400, "packet 0 at byte 0"),
        ("send=3", &hello[..20], 400, "ends inside the packet"),
        ("send=3", &[0; 70_000], 413, "longer than 65560"),
        ("send=3", &Header::new(MessageType::SEALED).to_bytes(0).repeat(1_001), 413, "more than 1000"),
        ("send=3", &Header::new(MessageType::SEALED).to_bytes(65_537), 413, "65537"),
    ] {
        let (found, text) = hand.ask(query, body).await;
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(found == status && text.contains(reason), "{query}: {found} {text}");
    }
    // None of it took effect.
    let id = hand.peer.send("alice", "still here");
    let packets = hand.packets();
    assert_eq!(hand.ask("send=3", &packets).await.0, 200);
    let stored = hand.ask("receive=3&wait=20", b"").await.1;
    let told = hand.take(stored);
    let is_stored =
        |event: &ClientEvent| matches!(event, ClientEvent::Stored { packet_id, seq: 1, .. } if *packet_id == id);
    assert!(told.iter().any(is_stored), "{told:?}");
    let delete = hand.session.replace("POST", "DELETE");
    assert_eq!(request(server.address, &delete, b"").await.0, 204);
}

/// Tries to open a session; what the server says, in HTTP or, at the door, in a packet.
async fn try_open(server: &TestServer) -> String {
    let mut stream = within(TcpStream::connect(server.address)).await.unwrap();
    let _ = stream.write_all(b"POST /im/sessions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    let mut answer = Vec::new();
    let _ = within(stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

async fn until(server: &TestServer, status: &str) {
    let told = async {
        loop {
            let answer = try_open(server).await;
            if answer.starts_with(&format!("HTTP/1.1 {status}")) {
                return;
            }
            assert!(answer.contains("too many connections") || answer.starts_with("HTTP/1.1 201"), "{answer}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within(told).await;
}

#[tokio::test]
async fn a_session_that_nobody_asks_for_ends_and_frees_its_place() {
    let server = server(|builder| {
        // The login deadline would end it too.
        let builder = builder.configure(|config| config.login_timeout = Duration::from_secs(60));
        builder.connections(10, 3).http_idle(Duration::from_secs(1))
    })
    .await;
    let first = open(&server).await;
    until(&server, "503").await;
    until(&server, "201").await;
    let (status, text) = request(server.address, &format!("{first}?receive=1"), b"").await;
    assert_eq!(status, 404, "{}", String::from_utf8_lossy(&text));
}

#[tokio::test]
async fn a_session_that_does_not_log_in_is_told_and_then_gone() {
    let server = server(|builder| builder.configure(|c| c.login_timeout = Duration::from_millis(200))).await;
    let session = open(&server).await;
    let (status, packets) = request(server.address, &format!("{session}?receive=1&wait=20"), b"").await;
    assert!(status == 200 && String::from_utf8_lossy(&packets).contains("too long"));
    let again = request(server.address, &format!("{session}?receive=1&wait=20"), b"").await;
    assert_eq!(again, (200, packets));
    assert_eq!(request(server.address, &format!("{session}?receive=2&wait=20"), b"").await.0, 410);
    assert_eq!(request(server.address, "POST /im/sessions/guessed?receive=1", b"").await.0, 404);
}

#[tokio::test]
async fn a_request_that_waits_is_answered_when_the_server_stops() {
    let server = server(|builder| builder).await;
    let url = format!("http://{}", server.address);
    let mut alice = Member::start(&server, &url, "alice", im_client::Tls::default());
    alice.say("bob", "hello").await;
    within(server.server.shutdown()).await.unwrap();
    let told = within(alice.ended()).await;
    assert!(told.contains("going away"), "{told}");
}

/// A server that takes no packets for good ends the session at once, though the other request could wait on.
#[tokio::test]
async fn a_client_whose_packets_are_refused_for_good_gives_the_session_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut open = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 4096];
            let len = stream.read(&mut head).await.unwrap();
            let head = String::from_utf8_lossy(&head[..len]).into_owned();
            if head.contains("?send=") {
                stream.write_all(b"HTTP/1.1 409 Conflict\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            } else if !head.contains("?receive=") {
                let answer = b"HTTP/1.1 201 Created\r\nconnection: close\r\ncontent-length: 2\r\n\r\nid";
                stream.write_all(answer).await.unwrap();
                continue;
            }
            open.push(stream);
        }
    });
    let credentials = Credentials { user: "alice".into(), device: "test".into(), token: String::new() };
    let key = server(|builder| builder).await.server.public_key();
    let mut options = Options::new(format!("http://{address}").parse().unwrap(), key, credentials).reconnect(false);
    options.config.login_timeout = Duration::from_secs(3_600);
    let (_client, mut events) = Client::start(options).unwrap();
    loop {
        if let Event::Disconnected { closed, .. } = within(events.next()).await.expect("an end") {
            assert_eq!(closed.by, im_proto::ClosedBy::Transport);
            return;
        }
    }
}
