//! Files by reference: rights from the session, content over HTTP.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use im_proto::{ClientEvent, RefusalCode, Request, RequestFailure};
use im_server::auth::OpenLoopback;
use im_server::{Files, FilesConfig, ServerBuilder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::{Peer, TestServer, within};

struct Place {
    server: TestServer,
    dir: tempfile::TempDir,
}

async fn place(
    change: impl FnOnce(FilesConfig) -> FilesConfig,
    builder: impl FnOnce(ServerBuilder) -> ServerBuilder,
) -> Place {
    let dir = tempfile::tempdir().unwrap();
    let files = Files::open(change(FilesConfig::new(dir.path()))).await.unwrap();
    let server =
        TestServer::with(|address| Arc::new(OpenLoopback::new(address).unwrap()), |it| builder(it.files(files))).await;
    Place { server, dir }
}

/// What the session says to a request about files.
async fn ask(peer: &mut Peer, method: &str, content: &Value) -> Result<Value, RefusalCode> {
    let now = peer.now();
    let request = Request::new(method, content.to_string().into_bytes(), Duration::from_secs(60));
    let id = peer.connection.request(now, &request).unwrap();
    peer.until(|event| match event {
        ClientEvent::Response { packet_id, content, .. } if packet_id == id => {
            Some(Ok(serde_json::from_slice(&content).unwrap()))
        }
        ClientEvent::RequestFailed { packet_id, failure: RequestFailure::Refused { code, .. } } if packet_id == id => {
            Some(Err(code))
        }
        _ => None,
    })
    .await
}

fn put(to: &str, kind: u32, content: &[u8]) -> Value {
    let sha256: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    json!({"conversation": {"kind": kind, "id": to}, "size": content.len(), "sha256": sha256, "media_type": "image/png"})
}

async fn http(place: &Place, method: Method, path: &str, token: &str, content: Vec<u8>) -> hyper::Response<Bytes> {
    let stream = TcpStream::connect(place.server.address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = hyper::Request::builder().method(method).uri(path).header("host", "localhost");
    let request = request.header("authorization", format!("Bearer {token}"));
    let (head, body) =
        within(sender.send_request(request.body(Full::new(Bytes::from(content))).unwrap())).await.unwrap().into_parts();
    hyper::Response::from_parts(head, within(body.collect()).await.unwrap().to_bytes())
}

fn of<'a>(ticket: &'a Value, field: &str) -> &'a str {
    ticket[field].as_str().unwrap()
}

async fn upload(place: &Place, ticket: &Value, content: Vec<u8>) -> StatusCode {
    http(place, Method::PUT, of(ticket, "path"), of(ticket, "token"), content).await.status()
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n % 251) as u8).collect()
}

#[tokio::test]
async fn a_file_larger_than_any_packet_goes_to_the_other_user_and_to_nobody_else() {
    let place = place(|config| config, |builder| builder).await;
    let mut alice = place.server.online("alice", "phone").await;
    let mut bob = place.server.online("bob", "desk").await;
    let mut eve = place.server.online("eve", "phone").await;
    let file = content(3_000_000);
    let ticket = ask(&mut alice, "files.put", &put("bob", 1, &file)).await.unwrap();
    assert_eq!(upload(&place, &ticket, file.clone()).await, StatusCode::CREATED);
    // An answer that was lost: the same again is no error, and no second file.
    assert_eq!(upload(&place, &ticket, file.clone()).await, StatusCode::NO_CONTENT);
    let id = of(&ticket, "id");
    alice.send("bob", id);
    alice.stored().await;
    let reference = json!({"id": bob.text().await});
    let ticket = ask(&mut bob, "files.get", &reference).await.unwrap();
    let response = http(&place, Method::GET, of(&ticket, "path"), of(&ticket, "token"), Vec::new()).await;
    let header = |name| response.headers()[name].to_str().unwrap();
    assert_eq!((header("content-type"), header("content-length")), ("image/png", "3000000"));
    assert_eq!((header("content-disposition"), header("x-content-type-options")), ("attachment", "nosniff"));
    assert!(response.body()[..] == file[..], "the same bytes");
    let head = http(&place, Method::HEAD, of(&ticket, "path"), of(&ticket, "token"), Vec::new()).await;
    assert_eq!((head.status(), head.headers()["content-length"].to_str().unwrap()), (StatusCode::OK, "3000000"));
    // Who is not in the conversation does not even learn that it is there.
    assert_eq!(ask(&mut eve, "files.get", &reference).await, Err(RefusalCode::NO_TARGET));
    assert_eq!(ask(&mut eve, "files.get", &json!({"id": "0".repeat(32)})).await, Err(RefusalCode::NO_TARGET));
    // Only its owner deletes it.
    assert_eq!(ask(&mut bob, "files.delete", &reference).await, Err(RefusalCode::NO_TARGET));
    assert!(ask(&mut alice, "files.delete", &reference).await.is_ok());
    assert!(names(place.dir.path()).is_empty());
    let gone = http(&place, Method::GET, of(&ticket, "path"), of(&ticket, "token"), Vec::new()).await;
    assert_eq!(gone.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_file_of_a_group_is_for_its_members() {
    let place = place(|config| config, |builder| builder).await;
    let groups = place.server.server.groups();
    groups.create("team", "alice").await.unwrap();
    groups.add_all("team", ["bob".to_owned()].into_iter()).await.unwrap();
    let mut alice = place.server.online("alice", "phone").await;
    let mut bob = place.server.online("bob", "phone").await;
    let mut eve = place.server.online("eve", "phone").await;
    assert_eq!(ask(&mut eve, "files.put", &put("team", 2, b"x")).await, Err(RefusalCode::FORBIDDEN));
    let ticket = ask(&mut alice, "files.put", &put("team", 2, b"x")).await.unwrap();
    assert_eq!(upload(&place, &ticket, b"x".to_vec()).await, StatusCode::CREATED);
    let reference = json!({"id": of(&ticket, "id")});
    assert!(ask(&mut bob, "files.get", &reference).await.is_ok());
    assert_eq!(ask(&mut eve, "files.get", &reference).await, Err(RefusalCode::NO_TARGET));
}

#[tokio::test]
async fn what_is_not_what_was_announced_leaves_nothing() {
    let place = place(|config| config, |builder| builder).await;
    let mut alice = place.server.online("alice", "phone").await;
    let ticket = ask(&mut alice, "files.put", &put("bob", 1, b"content")).await.unwrap();
    assert_eq!(upload(&place, &ticket, b"CONTENT".to_vec()).await, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(upload(&place, &ticket, b"conten".to_vec()).await, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(upload(&place, &ticket, b"content and more".to_vec()).await, StatusCode::UNPROCESSABLE_ENTITY);
    // Cut off in the middle, and another length in chunks.
    for (head, body) in [("content-length: 7", "cont"), ("transfer-encoding: chunked", "9\r\ncontent..\r\n0\r\n\r\n")] {
        let mut stream = TcpStream::connect(place.server.address).await.unwrap();
        let (path, token) = (of(&ticket, "path"), of(&ticket, "token"));
        let request =
            format!("PUT {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n{head}\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = within(stream.read_to_end(&mut answer)).await;
        assert!(!answer.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&answer));
    }
    while !names(place.dir.path()).is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(upload(&place, &ticket, b"content".to_vec()).await, StatusCode::CREATED);
}

#[tokio::test]
async fn tokens_are_for_one_file_one_way_and_not_to_be_made_up() {
    let place = place(|config| config, |builder| builder).await;
    let mut alice = place.server.online("alice", "phone").await;
    let one = ask(&mut alice, "files.put", &put("bob", 1, b"one")).await.unwrap();
    let two = ask(&mut alice, "files.put", &put("bob", 1, b"two")).await.unwrap();
    let (claims, mac) = of(&one, "token").split_once('.').unwrap();
    let status =
        async |method, path: &str, token: &str| http(&place, method, path, token, b"one".to_vec()).await.status();
    for (path, token) in [
        (of(&one, "path"), of(&two, "token").to_owned()),
        (of(&one, "path"), String::new()),
        (of(&one, "path"), format!("{claims}.{}", mac.chars().rev().collect::<String>())),
        (of(&one, "path"), format!("{claims}x.{mac}")),
    ] {
        assert_eq!(status(Method::PUT, path, &token).await, StatusCode::UNAUTHORIZED, "{token}");
    }
    let (path, token) = (of(&one, "path"), of(&one, "token"));
    for method in [Method::GET, Method::HEAD, Method::DELETE, Method::POST] {
        assert_eq!(status(method, path, token).await, StatusCode::METHOD_NOT_ALLOWED);
    }
    for path in ["/files/..%2F..%2Fetc%2Fpasswd", "/files/../store", "/files/x", "/files/"] {
        assert_eq!(status(Method::PUT, path, token).await, StatusCode::NOT_FOUND, "{path}");
    }
    assert!(names(place.dir.path()).is_empty());
    for wrong in [
        json!({"conversation": {"kind": 3, "id": "room"}, "size": 1, "sha256": "0".repeat(64), "media_type": "a/b"}),
        json!({"conversation": {"kind": 1, "id": "bob"}, "size": 1, "sha256": "0", "media_type": "a/b"}),
        json!({"conversation": {"kind": 1, "id": "bob"}, "size": 1, "sha256": "0".repeat(64), "media_type": "a/b\r\nx: y"}),
        json!({"conversation": {"kind": 1, "id": "bob"}, "size": -1, "sha256": "0".repeat(64), "media_type": "a/b"}),
        json!({"id": "../x"}),
    ] {
        assert_eq!(ask(&mut alice, "files.put", &wrong).await, Err(RefusalCode::INVALID), "{wrong}");
    }
}

#[tokio::test]
async fn limits_of_a_file_a_user_and_all_hold_and_room_is_given_back() {
    let limits = |config| FilesConfig {
        max_bytes: 1000,
        max_user_bytes: 2 * 4096 + 1500,
        max_total_bytes: 3 * 4096 + 1500,
        ..config
    };
    let place = place(limits, |builder| builder).await;
    let mut alice = place.server.online("alice", "phone").await;
    let mut bob = place.server.online("bob", "phone").await;
    assert_eq!(ask(&mut alice, "files.put", &put("bob", 1, &content(1001))).await, Err(RefusalCode::TOO_LARGE));
    let (first, second) = (content(1000), content(600));
    let one = ask(&mut alice, "files.put", &put("bob", 1, &first)).await.unwrap();
    // Asked for before the first one is there, and too much with it.
    let two = ask(&mut alice, "files.put", &put("bob", 1, &second)).await.unwrap();
    assert_eq!(upload(&place, &one, first.clone()).await, StatusCode::CREATED);
    assert_eq!(upload(&place, &two, second.clone()).await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(ask(&mut alice, "files.put", &put("bob", 1, &second)).await, Err(RefusalCode::TOO_MANY));
    let others = ask(&mut bob, "files.put", &put("alice", 1, &content(400))).await.unwrap();
    assert_eq!(upload(&place, &others, content(400)).await, StatusCode::CREATED);
    assert_eq!(ask(&mut bob, "files.put", &put("alice", 1, &content(600))).await, Err(RefusalCode::TOO_MANY), "in all");
    assert!(ask(&mut alice, "files.delete", &json!({"id": of(&one, "id")})).await.is_ok());
    assert_eq!(upload(&place, &two, second).await, StatusCode::CREATED);
    let metrics = place.server.server.metrics();
    for line in ["im_file_limits_total{reason=\"file\"} 1", "im_files_used_bytes 9192"] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}

#[tokio::test]
async fn an_upload_that_stops_is_cut_and_gives_its_room_back() {
    let place = place(
        |config| FilesConfig { max_user_bytes: 4096 + 100, ..config },
        |builder| builder.stall(Duration::from_millis(300)),
    )
    .await;
    let mut alice = place.server.online("alice", "phone").await;
    let file = content(100);
    let ticket = ask(&mut alice, "files.put", &put("bob", 1, &file)).await.unwrap();
    let (path, token) = (of(&ticket, "path"), of(&ticket, "token"));
    let mut stream = TcpStream::connect(place.server.address).await.unwrap();
    let head = format!(
        "PUT {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\ncontent-length: 100\r\n\r\nx"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    within(stream.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
    assert_eq!(upload(&place, &ticket, file).await, StatusCode::CREATED);
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "what an earlier run left is made here")]
async fn a_start_takes_leftovers_away_and_old_files_are_swept() {
    const DAY: u64 = 86_400_000;
    let dir = tempfile::tempdir().unwrap();
    let id = |digit: &str| digit.repeat(32);
    let meta = |time_ms| {
        json!({"owner": "alice", "conversation": "p:5:alice:bob", "size": 3, "sha256": "", "media_type": "a/b", "time_ms": time_ms}).to_string()
    };
    for (name, text) in [
        (format!("{}.new", id("1")), "half".into()),
        (format!("{}.file", id("2")), "without its description".into()),
        (format!("{}.file", id("3")), "abc".into()),
        (format!("{}.json", id("3")), meta(5 * DAY)),
        (format!("{}.file", id("4")), "abc".into()),
        (format!("{}.json", id("4")), meta(9 * DAY)),
        ("README".into(), "not ours".into()),
    ] {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let files = Files::open(FilesConfig::new(dir.path())).await.unwrap();
    assert_eq!(files.used_bytes(), 2 * (4096 + 3));
    assert_eq!(names(dir.path()).len(), 5);
    assert_eq!(files.sweep(Duration::from_millis(3 * DAY), 10 * DAY).await.unwrap(), 1);
    assert_eq!(names(dir.path()), [format!("{}.file", id("4")), format!("{}.json", id("4")), "README".into()]);
    assert_eq!(files.used_bytes(), 4096 + 3);
}
