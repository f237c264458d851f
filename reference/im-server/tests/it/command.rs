//! The real program: its banner, its refusals, its signals.
#![allow(clippy::disallowed_methods, reason = "tests of a program may use files and processes")]

use std::process::Stdio;

use crate::common::process::{command, output, resident, start, terminate};
use crate::common::{Peer, within};
use im_proto::CloseCode;

#[tokio::test]
async fn it_serves_until_sigterm_and_tells_its_sessions() {
    let dir = tempfile::tempdir().unwrap();
    let mut running = start(command(dir.path())).await;
    assert!(running.banner.contains("WARNING: no token verification"), "{}", running.banner);
    let mut alice = Peer::offline(running.key, "alice", "phone", "");
    alice.connect_tcp(running.address).await;
    alice.logged_in().await;
    alice.send("bob", "hello");
    alice.stored().await;
    terminate(&mut running.child).await;
    let closed = alice.closed().await;
    assert_eq!((closed.code, closed.authenticated), (CloseCode::GOING_AWAY, true));
    drop(alice);
    assert_eq!(within(running.child.wait()).await.unwrap().code(), Some(0));

    // The key and the messages are there again.
    let again = start(command(dir.path())).await;
    assert_eq!(again.key, running.key);
    let mut bob = Peer::offline(again.key, "bob", "phone", "");
    bob.connect_tcp(again.address).await;
    bob.logged_in().await;
    assert_eq!(bob.text().await, "hello");
    let mut key = command(dir.path());
    key.arg("key");
    let (printed, _) = output(key).await;
    assert_eq!(String::from_utf8_lossy(&printed.stdout).trim(), again.key.to_string());
}

#[tokio::test]
async fn without_tokens_it_refuses_to_listen_beyond_loopback_and_says_how_to_have_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut refused = command(&dir.path().join("data"));
    refused.args(["serve", "--listen", "0.0.0.0:0"]);
    let (output, text) = output(refused).await;
    assert_eq!(output.status.code(), Some(2), "{text}");
    for part in ["not a loopback address", "openssl rand -hex 32", "IM_JWT_HS256_SECRET_FILE", "im-server token alice"]
    {
        assert!(text.contains(part), "{text}");
    }
    assert!(!dir.path().join("data").exists(), "nothing is made before it is allowed to start");
}

#[tokio::test]
async fn a_token_that_it_issued_lets_in_and_a_short_secret_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "a secret of more than thirty-two bytes\n").unwrap();
    let mut issue = command(dir.path());
    issue.env("IM_JWT_HS256_SECRET_FILE", &secret).args(["token", "alice", "--ttl", "1h", "--device", "phone"]);
    let (printed, text) = output(issue).await;
    assert!(printed.status.success(), "{text}");
    let token = String::from_utf8(printed.stdout).unwrap();

    let mut guarded = command(&dir.path().join("data"));
    guarded.env("IM_JWT_HS256_SECRET_FILE", &secret);
    let running = start(guarded).await;
    assert!(!running.banner.contains("WARNING"), "{}", running.banner);
    let mut alice = Peer::offline(running.key, "alice", "phone", token.trim());
    alice.connect_ws(running.address).await;
    alice.logged_in().await;
    let mut eve = Peer::offline(running.key, "eve", "phone", token.trim());
    eve.connect_ws(running.address).await;
    assert_eq!(eve.closed().await.code, CloseCode::LOGIN_REFUSED);

    std::fs::write(&secret, "short").unwrap();
    let mut weak = command(&dir.path().join("other"));
    weak.env("IM_JWT_HS256_SECRET_FILE", &secret).args(["--listen", "127.0.0.1:0"]);
    let (printed, text) = output(weak).await;
    assert_eq!(printed.status.code(), Some(2));
    assert!(text.contains("at least 32"), "{text}");
}

#[tokio::test]
async fn a_key_that_others_may_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let mut key = command(dir.path());
    key.arg("key");
    assert!(output(key).await.0.status.success());
    std::fs::set_permissions(dir.path().join("server.key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let mut serve = command(dir.path());
    serve.args(["--listen", "127.0.0.1:0"]);
    let (printed, text) = output(serve).await;
    assert_eq!(printed.status.code(), Some(2));
    assert!(text.contains("chmod 600"), "{text}");
}

/// At the most talkative level, through login, a refused login, a message and its delivery.
#[tokio::test]
async fn no_log_line_holds_content_tokens_or_keys() {
    use tokio::io::AsyncReadExt;

    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "a secret of more than thirty-two bytes\n").unwrap();
    let token = async |user: &str| {
        let mut issue = command(dir.path());
        issue.env("IM_JWT_HS256_SECRET_FILE", &secret).args(["token", user]);
        String::from_utf8(output(issue).await.0.stdout).unwrap().trim().to_owned()
    };
    let (alice_token, bob_token) = (token("alice").await, token("bob").await);
    let data = dir.path().join("data");
    let mut guarded = command(&data);
    guarded.env("IM_JWT_HS256_SECRET_FILE", &secret).env("IM_LOG", "trace");
    let mut running = start(guarded).await;
    let mut stderr = running.child.stderr.take().unwrap();
    let log = tokio::spawn(async move {
        let mut text = String::new();
        stderr.read_to_string(&mut text).await.map(|_| text)
    });

    let mut alice = Peer::offline(running.key, "alice", "phone", &alice_token);
    alice.connect_ws(running.address).await;
    alice.logged_in().await;
    alice.send("bob", "hush-hush content");
    alice.stored().await;
    let mut bob = Peer::offline(running.key, "bob", "phone", &bob_token);
    bob.connect_tcp(running.address).await;
    bob.logged_in().await;
    assert_eq!(bob.text().await, "hush-hush content");
    let mut eve = Peer::offline(running.key, "eve", "phone", &bob_token);
    eve.connect_tcp(running.address).await;
    assert_eq!(eve.closed().await.code, CloseCode::LOGIN_REFUSED);
    terminate(&mut running.child).await;
    drop((alice, bob, eve));
    within(running.child.wait()).await.unwrap();

    let log = within(log).await.unwrap().unwrap();
    assert!(log.contains("DEBUG") && log.contains("login refused"), "the log says something: {log}");
    let key = std::fs::read_to_string(data.join("server.key")).unwrap();
    let signature = |token: &str| token.rsplit('.').next().unwrap().to_owned();
    for secret in ["hush", key.trim(), "thirty-two", &signature(&alice_token), &signature(&bob_token)] {
        assert!(!log.contains(secret), "{secret:?} stands in the log");
    }
}

/// A claimed length costs nothing; only bytes that really came do, and that shows that the measure sees them.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn memory_follows_what_was_sent_and_not_what_was_claimed() {
    use im_proto::{Limits, MessageType};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const PEERS: usize = 400;
    const CLAIM: usize = 64 * 1024;
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(dir.path());
    command.stderr(Stdio::null());
    let running = start(command).await;
    let open = async |claim: u32| {
        let mut peers = Vec::new();
        for _ in 0..PEERS {
            let mut peer = tokio::net::TcpStream::connect(running.address).await.unwrap();
            peer.write_all(&im_codec::Header::new(MessageType::HELLO).to_bytes(claim)).await.unwrap();
            peers.push(peer);
        }
        peers
    };
    assert_eq!(Limits::default().max_body() as usize, CLAIM);
    // Tasks, sockets and the allocator's own growth happen here.
    for mut peer in open(u32::MAX).await {
        within(peer.read_to_end(&mut Vec::new())).await.unwrap();
    }
    let before = resident(&running.child);
    let mut peers = open(CLAIM as u32).await;
    let mut alice = Peer::offline(running.key, "alice", "phone", "");
    alice.connect_tcp(running.address).await;
    alice.logged_in().await;
    let claimed = resident(&running.child).saturating_sub(before);
    assert!(claimed < PEERS * CLAIM / 4, "{PEERS} claims of {CLAIM} bytes took {claimed} bytes");

    let most = vec![0; CLAIM - 1];
    for peer in &mut peers {
        within(peer.write_all(&most)).await.unwrap();
    }
    let held = async {
        while resident(&running.child).saturating_sub(before) < PEERS * CLAIM / 2 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    within(held).await;
}
