//! Whatever arrives is answered with a close that says what is wrong, and does not disturb anybody else.

use std::time::Duration;

use crate::common::{Peer, TestServer, Wire, within};
use futures_util::{SinkExt, StreamExt};
use im_codec::{Header, Limits, MessageType, encode_packet, parse};
use im_proto::{CloseCode, Entropy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_websockets::ClientBuilder;

/// Sends bytes, ends the stream, and reads everything that the server says.
async fn answer(server: &TestServer, bytes: &[u8], end: bool) -> Vec<u8> {
    let mut stream = within(TcpStream::connect(server.address)).await.unwrap();
    within(stream.write_all(bytes)).await.unwrap();
    if end {
        within(stream.shutdown()).await.unwrap();
    }
    let mut answer = Vec::new();
    within(stream.read_to_end(&mut answer)).await.unwrap();
    answer
}

fn close(answer: &[u8]) -> (CloseCode, String) {
    let packet = parse(answer, &Limits::default()).unwrap().unwrap();
    assert_eq!(packet.header().message_type, MessageType::CLOSE);
    let (code, reason) = packet.body().split_at(2);
    (CloseCode(u16::from_be_bytes([code[0], code[1]])), String::from_utf8(reason.to_vec()).unwrap())
}

async fn expect(server: &TestServer, bytes: &[u8], end: bool, code: CloseCode, reason: &str) {
    let (found, text) = close(&answer(server, bytes, end).await);
    assert_eq!(found, code, "{text}");
    assert!(text.contains(reason), "{text:?} should say {reason:?}");
}

fn packet(header: &Header, body: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    encode_packet(&mut packet, header, body, &Limits::default()).unwrap();
    packet
}

#[tokio::test]
async fn every_kind_of_garbage_is_answered_while_others_chat() {
    let server = TestServer::start().await;
    let mut alice = server.online("alice", "phone").await;
    let mut bob = server.online("bob", "phone").await;

    let send = packet(&Header { packet_id: 9, ..Header::new(MessageType::SEND) }, b"{}");
    let sealed = packet(&Header::new(MessageType::SEALED), &[7; 64]);
    let mut version = packet(&Header::new(MessageType::HELLO), b"");
    version[3] = 7;
    let mut long = Header::new(MessageType::HELLO).to_bytes(u32::MAX).to_vec();
    long.extend([0; 100]);
    let mut magic = send.clone();
    magic[0] = 0x67;

    for round in 0..3 {
        expect(&server, &[0xff, 0, 1, 2, 3, 0x80], false, CloseCode::PROTOCOL, "0xff").await;
        expect(&server, &magic, false, CloseCode::PROTOCOL, "0x67").await;
        expect(&server, &send[..10], true, CloseCode::PROTOCOL, "inside a packet, after 10").await;
        expect(&server, &long, false, CloseCode::TOO_LARGE, "4294967295").await;
        expect(&server, &version, false, CloseCode::UNSUPPORTED, "version 7").await;
        expect(&server, &send, false, CloseCode::LOGIN_REQUIRED, "send").await;
        expect(&server, &sealed, false, CloseCode::LOGIN_REQUIRED, "sealed").await;
        expect(&server, b"OUYUNC\x01\x02", false, CloseCode::UNSUPPORTED, "OUYUNC 6").await;
        expect(&server, &[0x16, 3, 1, 2, 0, 1, 0], false, CloseCode::UNSUPPORTED, "TLS").await;
        let hello = packet(&Header::new(MessageType::HELLO), &[9; 200]);
        expect(&server, &hello, false, CloseCode::UNSUPPORTED, "handshake 9").await;
        assert!(answer(&server, b"GARBAGE \x01\r\n\r\n", false).await.starts_with(b"HTTP/1.1 400"));
        assert!(
            answer(&server, b"GET /nothing HTTP/1.1\r\nconnection: close\r\n\r\n", false)
                .await
                .starts_with(b"HTTP/1.1 404")
        );
        assert!(answer(&server, b"", true).await.is_empty());

        alice.send("bob", &format!("round {round}"));
        alice.stored().await;
        assert_eq!(bob.text().await, format!("round {round}"));
    }
}

#[tokio::test]
async fn health_is_told_on_the_same_port() {
    let server = TestServer::start().await;
    let request = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answer = String::from_utf8(answer(&server, request, false).await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok\n"), "{answer}");
}

#[tokio::test]
async fn sealed_garbage_in_an_open_session_ends_that_session_only() {
    let server = TestServer::start().await;
    let mut alice = server.online("alice", "phone").await;
    let mut bob = server.online("bob", "phone").await;
    let now = bob.now();
    bob.send("alice", "x");
    let mut out = Vec::new();
    let _ = bob.connection.poll_transmit(now, &mut out, 1 << 20).unwrap();
    *out.last_mut().unwrap() ^= 1;
    let Wire::Tcp(tcp) = &mut bob.wire else { panic!() };
    within(tcp.write_all(&out)).await.unwrap();
    let closed = bob.closed().await;
    assert_eq!((closed.code, closed.authenticated), (CloseCode::HANDSHAKE_FAILED, true));
    alice.send("alice", "undisturbed");
    assert_eq!(alice.stored().await.1, 1);
}

#[tokio::test]
async fn a_silent_peer_is_told_that_it_took_too_long() {
    let server = TestServer::with(
        |address| std::sync::Arc::new(im_server::auth::OpenLoopback::new(address).unwrap()),
        |builder| builder.configure(|config| config.login_timeout = Duration::from_millis(200)),
    )
    .await;
    expect(&server, b"", false, CloseCode::TIMEOUT, "nothing was sent").await;
    expect(&server, b"\x66\0", false, CloseCode::TIMEOUT, "too long").await;
}

#[tokio::test]
async fn more_connections_than_allowed_are_told_to_come_back() {
    let server = TestServer::with(
        |address| std::sync::Arc::new(im_server::auth::OpenLoopback::new(address).unwrap()),
        |builder| builder.connections(10, 1),
    )
    .await;
    let alice = server.online("alice", "phone").await;
    expect(&server, b"", false, CloseCode::BUSY, "too many connections").await;
    drop(alice);
}

#[tokio::test]
async fn a_websocket_carries_one_packet_in_each_binary_message_and_nothing_else() {
    let server = TestServer::start().await;
    let uri = format!("ws://{}/im", server.address);
    let hello = packet(&Header::new(MessageType::HELLO), b"x");
    for (message, reason) in [
        (tokio_websockets::Message::text("hello"), "text"),
        (tokio_websockets::Message::binary([hello.clone(), hello.clone()].concat()), "exactly one packet"),
        (tokio_websockets::Message::binary(hello[..20].to_vec()), "exactly one packet"),
    ] {
        let (mut ws, _) = within(ClientBuilder::new().uri(&uri).unwrap().connect()).await.unwrap();
        within(ws.send(message)).await.unwrap();
        let answer = within(ws.next()).await.unwrap().unwrap();
        let (code, text) = close(answer.as_payload());
        assert_eq!(code, CloseCode::PROTOCOL);
        assert!(text.contains(reason), "{text}");
        let end = within(ws.next()).await.unwrap().unwrap();
        assert_eq!(end.as_close().map(|(code, _)| u16::from(code)), Some(CloseCode::PROTOCOL.0));
    }
}

#[tokio::test]
async fn a_client_that_pins_another_key_is_refused() {
    let server = TestServer::start().await;
    let entropy = Entropy::from_rng(&mut getrandom::SysRng).unwrap();
    let other = im_proto::ServerKey::generate(&im_proto::RUSTCRYPTO, entropy).unwrap();
    let mut eve = Peer::offline(other.public(), "eve", "phone", "");
    eve.connect_tcp(server.address).await;
    let closed = eve.closed().await;
    // The server asks for its own key by a RETRY, and the client refuses what it did not pin.
    assert_eq!(closed.code, CloseCode::HANDSHAKE_FAILED, "{}", closed.reason);
    assert!(closed.reason.contains("none of the pinned keys"), "{}", closed.reason);
}
