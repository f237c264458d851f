//! TLS on the one port: raw packets, WebSocket and HTTP inside it, beside the same without it.

use std::sync::Arc;
use std::time::Duration;

use crate::common::TestServer;
use crate::common::tls::{Authority, Member, connect};
use im_client::{Event, Tls as ClientTls};
use im_server::auth::OpenLoopback;
use im_server::{ListenerConfig, Security};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::common::within;

async fn server(tls: im_server::Tls) -> TestServer {
    TestServer::with(|address| Arc::new(OpenLoopback::new(address).unwrap()), |builder| builder.tls(tls)).await
}

#[tokio::test]
async fn every_scheme_works_on_one_port_with_tls_and_without() {
    let authority = Authority::new();
    let server = server(authority.server_tls()).await;
    let mut bob = server.online("bob", "phone").await;
    for url in ["tcp://", "tcps://", "ws://", "wss://"] {
        let path = if url.starts_with('w') { "/im" } else { "" };
        let url = format!("{url}localhost:{}{path}", server.address.port());
        let alice = Member::start(&server, &url, "alice", authority.client_tls());
        alice.say("bob", &format!("over {url}")).await;
        assert_eq!(bob.text().await, format!("over {url}"));
        alice.client.close().await;
    }
    let mut https = connect(&authority, server.address, &[b"http/1.1"]).await.unwrap();
    within(https.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await.unwrap();
    let mut answer = String::new();
    within(https.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok\n"), "{answer}");
    assert!(connect(&authority, server.address, &[b"h3"]).await.is_err());
}

#[tokio::test]
async fn a_packet_that_comes_in_single_bytes_inside_tls_is_answered_as_outside() {
    let authority = Authority::new();
    let server = server(authority.server_tls()).await;
    for bytes in [b"\xff".as_slice(), b"\x66\0\x01\x07rest of the header.", b"\x16\x03"] {
        let mut stream = connect(&authority, server.address, &[]).await.unwrap();
        for byte in bytes {
            within(stream.write_all(&[*byte])).await.unwrap();
            within(stream.flush()).await.unwrap();
        }
        let mut answer = Vec::new();
        within(stream.read_to_end(&mut answer)).await.unwrap();
        let code = u16::from_be_bytes([answer[24], answer[25]]);
        let expected = if bytes[0] == 0xff { 4002 } else { 4003 };
        assert_eq!(code, expected, "{}", String::from_utf8_lossy(&answer[26..]));
    }
}

#[tokio::test]
async fn a_replaced_certificate_is_used_by_the_next_handshake() {
    let (old, new) = (Authority::new(), Authority::new());
    let tls = old.server_tls();
    let server = server(tls.clone()).await;
    let mut before = connect(&old, server.address, &[]).await.unwrap();
    let (chain, key) = new.issue();
    tls.replace(chain.as_bytes(), key.as_bytes()).unwrap();
    assert!(connect(&old, server.address, &[]).await.is_err());
    connect(&new, server.address, &[]).await.unwrap();
    // Connections stay.
    within(before.write_all(&[0xff])).await.unwrap();
    assert_eq!(within(before.read_u8()).await.unwrap(), 0x66);
}

#[tokio::test]
async fn a_listener_may_be_for_tls_only_or_without() {
    let authority = Authority::new();
    let server = server(authority.server_tls()).await;
    for (security, works, refused) in [(Security::TlsOnly, "tcps", "tcp"), (Security::PlainOnly, "tcp", "tcps")] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut config = ListenerConfig::default();
        config.security = security;
        let serving = server.server.clone();
        tokio::spawn(async move { serving.serve_with(listener, config).await });
        let alice = Member::start(&server, &format!("{works}://localhost:{port}"), "alice", authority.client_tls());
        alice.say("bob", "hello").await;
        let mut turned_away =
            Member::start(&server, &format!("{refused}://localhost:{port}"), "eve", authority.client_tls());
        let told = within(turned_away.ended()).await;
        assert!(told.contains("TLS"), "{told}");
    }
    let plain = TestServer::start().await;
    let mut config = ListenerConfig::default();
    config.security = Security::TlsOnly;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    assert!(plain.server.serve_with(listener, config).await.unwrap_err().to_string().contains("certificate"));
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused_with_what_to_do() {
    let authority = Authority::new();
    let server = server(authority.server_tls()).await;
    for (host, tls, hint) in [
        ("localhost", ClientTls::default(), "--ca-file"),
        ("127.0.0.1", authority.client_tls(), "a name that stands in the certificate"),
    ] {
        let mut alice = Member::start(&server, &format!("tcps://{host}:{}", server.address.port()), "alice", tls);
        let told = within(alice.ended()).await;
        assert!(told.contains(hint), "{told}");
    }
    let mut alice = Member::start(&server, "tcps://localhost:1", "alice", authority.client_tls());
    assert!(!within(alice.ended()).await.contains("TLS"), "no TLS hint where nobody listens");
}

#[tokio::test]
async fn a_handshake_that_does_not_go_on_is_cut_by_the_login_deadline() {
    let authority = Authority::new();
    let server = TestServer::with(
        |address| Arc::new(OpenLoopback::new(address).unwrap()),
        |builder| {
            let builder = builder.tls(authority.server_tls());
            builder.configure(|config| config.login_timeout = Duration::from_millis(300))
        },
    )
    .await;
    // A record header and nothing more; a whole handshake and nothing inside; one byte of a packet inside.
    let mut stuck = within(TcpStream::connect(server.address)).await.unwrap();
    stuck.write_all(&[0x16, 3, 1, 2, 0]).await.unwrap();
    assert_eq!(within(stuck.read_to_end(&mut Vec::new())).await.unwrap(), 0);
    for (sent, reason) in [(b"".as_slice(), "nothing was sent"), (b"\x66", "too long")] {
        let mut silent = connect(&authority, server.address, &[]).await.unwrap();
        silent.write_all(sent).await.unwrap();
        silent.flush().await.unwrap();
        let mut answer = Vec::new();
        within(silent.read_to_end(&mut answer)).await.unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.contains(reason), "{answer}");
    }
}

#[tokio::test]
async fn sessions_over_tls_are_told_when_the_server_stops() {
    let authority = Authority::new();
    let server = server(authority.server_tls()).await;
    let url = format!("tcps://localhost:{}", server.address.port());
    let mut alice = Member::start(&server, &url, "alice", authority.client_tls());
    alice.say("bob", "hello").await;
    server.server.shutdown().await.unwrap();
    loop {
        if let Event::Disconnected { closed, .. } = within(alice.events.next()).await.unwrap() {
            assert_eq!((closed.code, closed.authenticated), (im_proto::CloseCode::GOING_AWAY, true));
            return;
        }
    }
}
