//! What a connection carries is told from its first bytes, however few of them come at a time.

use im_proto::CloseCode;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::common::tls::{Authority, Member, connect};
use crate::common::{TestServer, within};
use im_server::auth::OpenLoopback;
use std::net::SocketAddr;
use std::sync::Arc;

/// As many as come one at a time: more than it takes to tell.
const SINGLE: usize = 5;
const GET: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

async fn server(authority: &Authority) -> TestServer {
    let open = |address| Arc::new(OpenLoopback::new(address).unwrap()) as _;
    let tls = authority.server_tls();
    TestServer::with(open, |builder| builder.tls(tls)).await
}

/// The server answers another connection, so it has looked at this one too: both are on the thread of the test.
async fn look(server: SocketAddr) {
    let mut other = TcpStream::connect(server).await.unwrap();
    other.write_all(GET).await.unwrap();
    let mut answer = String::new();
    within(other.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

async fn send(mut to: impl AsyncWrite + Unpin, bytes: &[u8], server: SocketAddr) {
    let (single, rest) = bytes.split_at(SINGLE.min(bytes.len()));
    for byte in single {
        to.write_all(&[*byte]).await.unwrap();
        to.flush().await.unwrap();
        look(server).await;
    }
    to.write_all(rest).await.unwrap();
    to.flush().await.unwrap();
}

/// Passes on what clients send, the first bytes one at a time.
async fn relay(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut through = TcpStream::connect(server).await.unwrap();
                through.set_nodelay(true).unwrap();
                let mut start = [0; SINGLE];
                client.read_exact(&mut start).await.unwrap();
                send(&mut through, &start, server).await;
                let _ = copy_bidirectional(&mut client, &mut through).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn clients_of_every_transport_get_through_byte_by_byte() {
    let authority = Authority::new();
    let server = server(&authority).await;
    let port = relay(server.address).await.port();
    for (scheme, path) in [("tcp", ""), ("tcps", ""), ("ws", "/im"), ("wss", "/im"), ("http", "/im"), ("https", "/im")]
    {
        let url = format!("{scheme}://localhost:{port}{path}");
        let tls = if scheme.ends_with('s') && scheme != "ws" { authority.client_tls() } else { Default::default() };
        let member = Member::start(&server, &url, scheme, tls);
        assert_eq!(member.say("bob", "hi").await, 1, "{scheme}");
        within(member.client.close()).await;
    }
}

/// Beginnings that share their first bytes, and what is answered.
async fn answers(stream: impl AsyncRead + AsyncWrite + Unpin, begins: &str, server: SocketAddr) {
    let (mut from, to) = tokio::io::split(stream);
    let mut answer = vec![0; 12];
    match begins {
        "PRI" => {
            send(to, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", server).await;
            within(from.read_exact(&mut answer)).await.unwrap();
            assert_eq!(answer[3], 4, "it begins with SETTINGS: {answer:?}");
        }
        "OUYUNC" => {
            send(to, b"OUYUNC", server).await;
            answer.resize(26, 0);
            within(from.read_exact(&mut answer)).await.unwrap();
            assert_eq!(answer[0], 0x66, "a close packet that names the layout: {answer:?}");
        }
        method => {
            send(to, format!("{method} /healthz HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes(), server).await;
            within(from.read_exact(&mut answer)).await.unwrap();
            let expected = if method == "GET" { "HTTP/1.1 200" } else { "HTTP/1.1 405" };
            assert_eq!(String::from_utf8_lossy(&answer), expected, "{method}");
        }
    }
}

#[tokio::test]
async fn http_1_http_2_and_packets_of_old_are_told_apart_byte_by_byte() {
    let authority = Authority::new();
    let server = server(&authority).await;
    for begins in ["GET", "PUT", "OPTIONS", "PROPFIND", "PRI", "OUYUNC"] {
        let stream = TcpStream::connect(server.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        answers(stream, begins, server.address).await;
        let stream = connect(&authority, server.address, &[]).await.unwrap();
        answers(stream, begins, server.address).await;
    }
}

/// Who sends one byte that could be anything and then nothing is cut by the deadline, and one who ends there ends.
#[tokio::test]
async fn a_beginning_that_does_not_go_on_ends() {
    let open = |address| Arc::new(OpenLoopback::new(address).unwrap()) as _;
    let shorter = |config: &mut im_proto::ServerConfig| config.login_timeout = std::time::Duration::from_millis(200);
    let server = TestServer::with(open, |builder| builder.configure(shorter)).await;
    let mut late = TcpStream::connect(server.address).await.unwrap();
    late.write_all(b"P").await.unwrap();
    let mut told = Vec::new();
    within(late.read_to_end(&mut told)).await.unwrap();
    assert_eq!(told.get(24..26), Some(&CloseCode::TIMEOUT.0.to_be_bytes()[..]));
    let mut ended = TcpStream::connect(server.address).await.unwrap();
    ended.write_all(b"PR").await.unwrap();
    ended.shutdown().await.unwrap();
    within(ended.read_to_end(&mut told)).await.unwrap();
}
