//! The API as it is on the wire: who is let in, what is refused and how, and HTTP/2.
#![allow(clippy::disallowed_methods, reason = "tests of a program may use files")]

use std::net::SocketAddr;
use std::sync::Arc;

use crate::common::process::{command, output, start};
use crate::common::tls::{Authority, connect};
use crate::common::{TestServer, within};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use im_server::auth::OpenLoopback;
use im_server::{Right, ServerBuilder, ServiceKeys};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A server with a key that may do everything and one that may push.
struct Api {
    server: TestServer,
    all: String,
    push: String,
}

async fn api(change: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Api {
    let (all, first) = ServiceKeys::generate("admin", &Right::ALL).unwrap();
    let (push, second) = ServiceKeys::generate("pusher", &[Right::Push]).unwrap();
    let keys = ServiceKeys::parse(&format!("{first}\n{second}\n")).unwrap();
    let server = TestServer::with(
        |address| Arc::new(OpenLoopback::new(address).unwrap()),
        |builder| change(builder.service_keys(keys).broadcasts(["news".to_owned()])),
    )
    .await;
    Api { server, all, push }
}

/// Status, head and body.
async fn raw(address: SocketAddr, request: &[u8]) -> (u16, String, Value) {
    let mut stream = within(TcpStream::connect(address)).await.unwrap();
    // A refusal may come, and the connection end, before all is sent.
    let _ = within(stream.write_all(request)).await;
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let body = if body.is_empty() { Value::Null } else { serde_json::from_str(body).unwrap() };
    (head[9..12].parse().unwrap(), head.to_lowercase(), body)
}

fn written(method: &str, path: &str, key: &str, body: &[u8]) -> Vec<u8> {
    let len = body.len();
    let head = format!(
        "{method} /api/v1{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {len}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

async fn ask(address: SocketAddr, method: &str, path: &str, key: &str, body: &Value) -> (u16, Value) {
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let (status, head, body) = raw(address, &written(method, path, key, &body)).await;
    if status >= 400 {
        assert!(head.contains("content-type: application/problem+json"), "{head}");
        assert_eq!(body["status"], status, "{body}");
    }
    (status, body)
}

#[tokio::test]
async fn a_key_lets_in_where_it_has_the_right_and_nothing_else_does() {
    let Api { server, all, push } = api(|builder| builder).await;
    let at = server.address;
    let code = async |path: &str, key: &str| {
        let (status, body) = ask(at, "GET", path, key, &Value::Null).await;
        (status, body["code"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(code("/users/alice", &all).await, (200, String::new()));
    assert_eq!(code("/users/alice", &push).await, (403, "right_missing".into()));
    assert_eq!(code("/groups/team/members", &push).await, (403, "right_missing".into()));
    for wrong in ["", "imk_", &all[..all.len() - 1], "alice"] {
        assert_eq!(code("/users/alice", wrong).await, (401, "key_refused".into()), "{wrong}");
    }
    assert_eq!(code("/nothing", &all).await, (404, "no_such_route".into()));
    let (status, body) = ask(at, "DELETE", "/messages", &all, &Value::Null).await;
    assert_eq!((status, body["code"].as_str()), (405, Some("method_not_allowed")));
    let (status, head, _) = raw(at, b"GET /api/v1/bans HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(status == 401 && head.contains("www-authenticate: bearer"), "{head}");
    let (status, _, document) =
        raw(at, b"GET /api/v1/openapi.json HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(status == 200 && document["paths"]["/messages"].is_object(), "{document}");
    // A server without keys has no API.
    let without = TestServer::start().await;
    let mut stream = TcpStream::connect(without.address).await.unwrap();
    stream.write_all(&written("GET", "/openapi.json", &all, b"")).await.unwrap();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
}

#[tokio::test]
async fn an_address_with_many_wrong_keys_has_to_wait() {
    let Api { server, all, .. } = api(|builder| builder.refused_logins(3)).await;
    for _ in 0..3 {
        assert_eq!(ask(server.address, "GET", "/users/alice", "imk_wrong", &Value::Null).await.0, 401);
    }
    // The connection itself is refused, as after refused logins.
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let _ = stream.write_all(&written("GET", "/users/alice", &all, b"")).await;
    let mut told = Vec::new();
    let _ = within(stream.read_to_end(&mut told)).await;
    assert!(String::from_utf8_lossy(&told).contains("come back in a minute"));
}

#[tokio::test]
async fn an_open_connection_with_many_wrong_keys_has_to_wait_too() {
    let Api { server, all, .. } = api(|builder| builder.refused_logins(3)).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = |key: &str, more: &str| {
        format!("GET /api/v1/users/alice HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n{more}\r\n")
    };
    let requests = request("imk_wrong", "").repeat(3) + &request(&all, "connection: close\r\n");
    stream.write_all(requests.as_bytes()).await.unwrap();
    let mut answers = String::new();
    within(stream.read_to_string(&mut answers)).await.unwrap();
    assert_eq!(answers.matches("HTTP/1.1 401").count(), 3, "{answers}");
    assert!(answers.contains("HTTP/1.1 429") && answers.contains("retry-after: 60"), "{answers}");
    assert!(server.server.metrics().contains("im_api_limits_total{reason=\"keys\"} 1"));
}

#[tokio::test]
async fn what_is_malformed_unknown_or_too_large_is_refused_by_name() {
    let Api { server, all, .. } = api(|builder| builder.configure(|config| config.max_content = 1000)).await;
    let at = server.address;
    let push = |more: Value| {
        let mut push = json!({"id": "1", "from": "us", "to": {"users": ["bob"]}, "text": "hi"});
        push.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        push
    };
    let many: Vec<_> = (0..1001).map(|n| n.to_string()).collect();
    let cases = [
        (push(json!({"extra": 1})), 422, "invalid"),
        (push(json!({"to": {"user": "bob"}})), 422, "invalid"),
        (push(json!({"to": {"users": ["bob"], "group": "x"}})), 400, "malformed"),
        (push(json!({"to": {"users": ["bob", "bob"]}})), 422, "invalid"),
        (push(json!({"to": {"users": [""]}})), 422, "invalid"),
        (push(json!({"to": {"users": many}})), 422, "too_many_users"),
        (push(json!({"to": {"group": "nobody there"}})), 404, "no_such_group"),
        (push(json!({"to": {"channel": "other"}})), 404, "no_such_channel"),
        (push(json!({"base64": "aGk="})), 422, "invalid"),
        (push(json!({"text": null, "base64": "not base64"})), 422, "invalid"),
        (push(json!({"text": null})), 422, "invalid"),
        (push(json!({"text": "x".repeat(1001)})), 413, "too_large"),
        (push(json!({"content_type": 65536})), 422, "invalid"),
        (push(json!({"id": ""})), 422, "invalid"),
        (push(json!({"id": "x".repeat(129)})), 422, "invalid"),
        (push(json!({"from": "a\u{1}b"})), 422, "invalid"),
        (json!([]), 422, "invalid"),
    ];
    for (body, status, code) in cases {
        let (found, problem) = ask(at, "POST", "/messages", &all, &body).await;
        assert_eq!((found, problem["code"].as_str()), (status, Some(code)), "{body}: {problem}");
    }
    for (body, status, code) in
        [(&b"{\"id\": \"1"[..], 400, "malformed"), (b"", 400, "malformed"), (b"\xff\xfe", 400, "malformed")]
    {
        let (found, _, problem) = raw(at, &written("POST", "/messages", &all, body)).await;
        assert_eq!((found, problem["code"].as_str()), (status, Some(code)));
    }
    let text =
        String::from_utf8(written("POST", "/messages", &all, b"{}")).unwrap().replace("application/json", "text/plain");
    assert_eq!(raw(at, text.as_bytes()).await.0, 415);
    // Refused from what is announced, and while it comes without an announcement.
    let announced = format!(
        "POST /api/v1/messages HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {all}\r\n\
         content-type: application/json\r\ncontent-length: 99999999\r\n\r\n"
    );
    assert_eq!(raw(at, announced.as_bytes()).await.0, 413);
    let chunked = announced.replace("content-length: 99999999", "transfer-encoding: chunked");
    let chunks = "10000\r\n".to_owned() + &"x".repeat(0x10000) + "\r\n";
    assert_eq!(raw(at, (chunked + &chunks.repeat(5)).as_bytes()).await.0, 413);
    for path in
        ["/messages/private/alice/bob/0", "/messages/private/alice/bob/x", "/groups/g/members?limit=x", "/bans?x=1"]
    {
        let (status, problem) = ask(at, "GET", path, &all, &Value::Null).await;
        assert!(status == 422 && problem["code"] == "invalid", "{path}: {problem}");
    }
    let (status, problem) = ask(at, "GET", "/users/%ff", &all, &Value::Null).await;
    assert!(status == 400 && problem["code"] == "malformed", "{problem}");
    let (status, problem) = ask(at, "GET", "/messages/private/alice/bob/1", &all, &Value::Null).await;
    assert!(status == 404 && problem["code"] == "no_such_message", "{problem}");
    let (status, problem) = ask(at, "PUT", "/users/eve/ban", &all, &json!({"reason": "spam"})).await;
    assert!(status == 501 && problem["code"] == "no_bans", "{problem}");
    let metrics = server.server.metrics();
    for line in [
        "im_api_limits_total{reason=\"body\"} 2",
        "im_api_limits_total{reason=\"targets\"} 1",
        "im_api_requests_total{route=\"/messages/private/{from}/{to}/{seq}\",status=\"404\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}

type Sender = hyper::client::conn::http2::SendRequest<Full<Bytes>>;

async fn get(sender: &mut Sender, path: &str, key: &str) -> (u16, Bytes) {
    let request = hyper::Request::get(format!("http://localhost{path}"));
    let request = request.header("authorization", format!("Bearer {key}")).body(Full::default()).unwrap();
    let response = within(sender.send_request(request)).await.unwrap();
    let status = response.status().as_u16();
    (status, within(response.into_body().collect()).await.unwrap().to_bytes())
}

#[tokio::test]
async fn http_2_is_spoken_where_the_client_wants_it() {
    let authority = Authority::new();
    let Api { server, all, .. } = api(|builder| builder.tls(authority.server_tls())).await;
    // Without TLS by prior knowledge.
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (mut plain, connection) =
        within(hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))).await.unwrap();
    tokio::spawn(connection);
    // In TLS by ALPN.
    let stream = connect(&authority, server.address, &[b"h2", b"http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut secure, connection) =
        within(hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))).await.unwrap();
    tokio::spawn(connection);
    for sender in [&mut plain, &mut secure] {
        assert_eq!(get(sender, "/healthz", "").await, (200, "ok\n".into()));
        let (status, body) = get(sender, "/api/v1/users/alice", &all).await;
        assert!(status == 200 && body.starts_with(b"{\"user\":\"alice\""));
        assert_eq!(get(sender, "/api/v1/users/alice", "imk_wrong").await.0, 401);
        for (origin, status) in [("http://localhost", 201), ("http://evil.example", 403)] {
            let request = hyper::Request::post("http://localhost/im/sessions").header("origin", origin);
            let response = within(sender.send_request(request.body(Full::default()).unwrap())).await.unwrap();
            assert_eq!(response.status(), status, "{origin}");
        }
        // A WebSocket is opened with HTTP/1.1.
        assert_eq!(get(sender, "/im", "").await.0, 426);
    }
    let stream = connect(&authority, server.address, &[b"http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
}

#[tokio::test]
async fn an_http_2_connection_that_is_idle_or_never_begins_ends() {
    let Api { server, .. } =
        api(|builder| builder.configure(|config| config.login_timeout = std::time::Duration::from_millis(200))).await;
    for beginning in [&b"PRI * HT"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(beginning).await.unwrap();
        within(stream.read_to_end(&mut Vec::new())).await.unwrap();
    }
}

#[tokio::test]
async fn the_command_makes_keys_and_serves_with_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut make = command(dir.path());
    make.args(["service-key", "billing", "--rights", "push,users"]);
    let (made, _) = output(make).await;
    let made = String::from_utf8(made.stdout).unwrap();
    let lines: Vec<_> = made.lines().collect();
    let (key, line) = (lines[1], lines[3]);
    assert!(line.starts_with("billing ") && line.ends_with(" push,users"), "{line}");
    let file = dir.path().join("keys");
    std::fs::write(&file, "billing 12 push\n").unwrap();
    let mut check = command(dir.path());
    let (checked, said) = output({
        check.arg("check").env("IM_SERVICE_KEYS_FILE", &file);
        check
    })
    .await;
    assert!(checked.status.code() == Some(2) && said.contains("line 1 has no SHA-256"), "{said}");
    std::fs::write(&file, format!("# services\n{line}\n")).unwrap();
    let mut serve = command(dir.path());
    serve.env("IM_SERVICE_KEYS_FILE", &file).env("IM_CHANNELS", "news,sport");
    let running = start(serve).await;
    let ban = json!({"reason": "spam", "until_ms": 4_102_444_800_000_u64});
    assert_eq!(ask(running.address, "PUT", "/users/eve/ban", key, &ban).await.0, 200);
    let (status, user) = ask(running.address, "GET", "/users/eve", key, &Value::Null).await;
    assert!(status == 200 && user["ban"]["reason"] == "spam" && user["ban"]["by"] == "billing", "{user}");
    let push = json!({"id": "1", "from": "us", "to": {"channel": "sport"}, "text": "hi"});
    let (status, pushed) = ask(running.address, "POST", "/messages", key, &push).await;
    assert!(status == 200 && pushed["results"][0]["outcome"] == "stored", "{pushed}");
    assert_eq!(ask(running.address, "GET", "/groups/g/members", key, &Value::Null).await.0, 403);
}
