//! The `im` command as scripts use it.
#![allow(clippy::wildcard_enum_match_arm, reason = "tests wait for one event each")]

mod support;

use std::io::Write;
use std::process::Stdio;

use im_client::{Event, Message};
use support::{Fault, TestServer, soon, until};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

fn im(server: &TestServer, user: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_im"));
    command
        .args(args)
        .env_clear()
        .env("IM_SERVER", server.url())
        .env("IM_SERVER_KEY", server.key.to_string())
        .env("IM_USER", user)
        .env("IM_TOKEN", "secret")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn output(command: &mut Command) -> (Option<i32>, String, String) {
    let output = soon(command.output()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn send_then_listen() {
    let server = TestServer::start().await;
    let sent = output(&mut im(&server, "alice", &["send", "--to", "bob", "hello", "bob"])).await;
    assert_eq!(sent, (Some(0), "stored seq=1 id=1001\n".into(), String::new()));

    let mut send = im(&server, "alice", &["send", "--to", "bob", "--server", &server.ws_url(), "-"]);
    let mut child = send.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all("two\n\u{1b}[2Jlines".as_bytes()).await.unwrap();
    let done = soon(child.wait_with_output()).await.unwrap();
    assert_eq!(String::from_utf8(done.stdout).unwrap(), "stored seq=2 id=1002\n");

    let heard = output(&mut im(&server, "bob", &["listen", "--count", "2"])).await;
    let lines = "alice #1 alice: hello bob\nalice #2 alice: two\\n\\u{1b}[2Jlines\n";
    assert_eq!(heard, (Some(0), lines.into(), String::new()));
    assert_eq!(server.shared.acked.lock().unwrap().last(), Some(&("alice".into(), 2)));
}

#[tokio::test]
async fn send_tells_what_went_wrong_in_its_exit_code() {
    let server = TestServer::start().await;
    server.fault(Fault::Refuse);
    let (code, stdout, stderr) = output(&mut im(&server, "alice", &["send", "--to", "bob", "x"])).await;
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert_eq!(stderr, "im: refused: forbidden (3): bob does not want it\n");

    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("tcp://{}", nobody.local_addr().unwrap());
    let silent = ["send", "--to", "bob", "--server", &url, "--timeout", "1", "x"];
    let (code, _, stderr) = output(&mut im(&server, "alice", &silent)).await;
    assert_eq!(code, Some(3));
    assert!(stderr.ends_with("im: outcome unknown: no answer within 1 s\n"), "{stderr}");

    let (code, _, stderr) = output(im(&server, "alice", &["send", "--to", "bob", "x"]).env("IM_TOKEN", "no")).await;
    assert_eq!(code, Some(1));
    assert!(stderr.contains("login refused (4006): the token is not valid"), "{stderr}");

    let mqtt = ["send", "--to", "bob", "--server", "mqtt://h", "x"];
    let (code, _, stderr) = output(&mut im(&server, "alice", &mqtt)).await;
    assert_eq!(code, Some(2));
    assert!(stderr.contains("unknown scheme 'mqtt'") && stderr.contains("tcps, wss or https"), "{stderr}");

    let own = ["send", "--to", "bob", "--ca-file", "/nowhere/ca.pem", "x"];
    let (code, _, stderr) = output(&mut im(&server, "alice", &own)).await;
    assert!(code == Some(1) && stderr.contains("cannot read /nowhere/ca.pem"), "{stderr}");
}

#[tokio::test]
async fn a_wrong_key_is_named_and_a_token_file_is_read() {
    let server = TestServer::start().await;
    let mut wrong = im(&server, "alice", &["send", "--to", "bob", "--timeout", "1", "x"]);
    let (code, _, stderr) = output(wrong.env("IM_SERVER_KEY", "09".repeat(32))).await;
    assert_eq!(code, Some(3));
    assert!(stderr.contains("is --server-key the key") && stderr.contains("; trying again in"), "{stderr}");

    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "secret").unwrap();
    let args = ["send", "--to", "bob", "--token-file", file.path().to_str().unwrap(), "x"];
    let (code, stdout, _) = output(im(&server, "alice", &args).env_remove("IM_TOKEN")).await;
    assert_eq!((code, stdout.as_str()), (Some(0), "stored seq=1 id=1001\n"));
}

#[tokio::test]
async fn chat_talks_both_ways_and_ends_with_its_input() {
    let server = TestServer::start().await;
    let (bob, mut bob_events) = server.client(&server.url(), "bob");
    let args = ["chat", "--to", "bob", "--suite", "AES-128-GCM", "--format", "protobuf"];
    let mut child = im(&server, "alice", &args).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let url = server.url();
    let mut line = async || soon(lines.next_line()).await.unwrap();
    let connected = format!("connected to {url}: suite AES-128-GCM (16), serialization protobuf (6)");
    assert_eq!(line().await, Some(connected));
    assert_eq!(line().await.as_deref(), Some("logged in as alice"));

    stdin.write_all(b"hello\n").await.unwrap();
    assert_eq!(line().await.as_deref(), Some("[stored #1]"));
    let delivery = until(&mut bob_events, |event| match event {
        Event::Message(delivery) => Some(delivery),
        _ => None,
    })
    .await;
    assert_eq!(delivery.entry.content(), b"hello");
    soon(bob.send(Message::text("alice", "hi there"))).await.unwrap();
    assert_eq!(line().await.as_deref(), Some("bob: hi there"));
    let binary = Message { content_type: 130, content: vec![0xff; 5], ..Message::text("alice", "") };
    soon(bob.send(binary)).await.unwrap();
    assert_eq!(line().await.as_deref(), Some("bob: <content type 130, 5 bytes>"));

    stdin.write_all(b"bye\nand good night").await.unwrap();
    drop(stdin);
    assert_eq!(line().await.as_deref(), Some("[stored #4]"));
    assert_eq!(line().await.as_deref(), Some("[stored #5]"));
    assert_eq!(line().await, None);
    let done = soon(child.wait_with_output()).await.unwrap();
    assert_eq!((done.status.code(), String::from_utf8(done.stderr).unwrap()), (Some(0), String::new()));
    assert!(server.shared.acked.lock().unwrap().contains(&("bob".into(), 3)));
}

#[cfg(unix)]
#[tokio::test]
async fn ctrl_c_ends_gracefully() {
    let server = TestServer::start().await;
    let (alice, _events) = server.client(&server.url(), "alice");
    soon(alice.send(Message::text("bob", "hello"))).await.unwrap();
    let mut child = im(&server, "bob", &["listen"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(soon(lines.next_line()).await.unwrap().as_deref(), Some("alice #1 alice: hello"));
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().await.unwrap().success());
    assert_eq!(soon(child.wait()).await.unwrap().code(), Some(130));
    assert!(server.shared.acked.lock().unwrap().contains(&("alice".into(), 1)));
}

#[tokio::test]
async fn no_content_token_or_key_is_logged() {
    let server = TestServer::start().await;
    let args = ["send", "--to", "bob", "very-private-words"];
    let (code, _, log) = output(im(&server, "alice", &args).env("RUST_LOG", "trace")).await;
    assert_eq!(code, Some(0));
    assert!(log.contains("connecting"), "{log}");
    for kept in ["very-private-words", "secret", &server.key.to_string()] {
        assert!(!log.contains(kept), "{kept} in {log}");
    }
}

#[tokio::test]
async fn inspect_prints_a_packet_and_says_where_bytes_are_none() {
    let im = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_im"));
        command.arg("inspect").args(args).env_clear().stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    };
    let hex = "66 0005 02 0000000000000007 00 00000000 00 00 20 00000002 6869";
    let (code, stdout, stderr) = output(&mut im(&[hex])).await;
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(stdout.contains("message type   send (32)") && stdout.ends_with("  hi\n"), "{stdout}");

    let mut child = im(&["-"]).spawn().unwrap();
    child.stdin.take().unwrap().write_all(hex.replace(' ', "\n").as_bytes()).await.unwrap();
    let piped = soon(child.wait_with_output()).await.unwrap();
    assert_eq!(String::from_utf8(piped.stdout).unwrap(), stdout);

    let (code, stdout, stderr) = output(&mut im(&["66000507"])).await;
    assert_eq!(code, Some(1));
    assert!(stdout.contains("version        7") && !stdout.contains("packet id"), "{stdout}");
    assert!(stderr.starts_with("im: byte 3: byte 3 says version 7, which is unknown: use version 2"), "{stderr}");

    let (code, _, stderr) = output(&mut im(&["66x"])).await;
    assert_eq!((code, stderr.contains("character 3 ('x') is not a hex digit")), (Some(1), true), "{stderr}");
}
