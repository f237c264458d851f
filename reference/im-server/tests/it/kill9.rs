//! Real processes: the server is killed right after each acked message, and at any moment under load; nothing that was acked
//! is lost or comes twice, and clients come back by themselves.
//!
//! The test under load kills three times; for more, and for a run to be repeated:
//! `IM_KILLS=50 IM_SEED=7 cargo test -p im-server --test it kill9 -- --nocapture`.
#![allow(clippy::disallowed_methods, reason = "a test that is asked for more by variables")]

mod load;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::common::receiver;

/// No step takes longer on any machine that can run the tests at all.
const PATIENCE: Duration = Duration::from_secs(60);

/// The `im` command: built beside the server by `cargo test --workspace`, otherwise here.
fn im() -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_im-server")).with_file_name("im");
    if !path.exists() {
        let mut cargo = std::process::Command::new(env!("CARGO"));
        let built = cargo.args(["build", "-q", "-p", "im-client", "--bin", "im"]).status();
        assert!(built.expect("cargo runs").success());
    }
    path
}

/// A process whose lines are read one by one.
struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(program: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> Self {
        let mut child = Command::new(program)
            .args(args)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts");
        let stdout = child.stdout.take().expect("piped");
        Self { stdin: child.stdin.take(), lines: BufReader::new(stdout).lines(), child }
    }

    /// The next line that has `part` in it.
    async fn line_with(&mut self, part: &str) -> String {
        let find = async {
            while let Some(line) = self.lines.next_line().await.expect("readable output") {
                if line.contains(part) {
                    return line;
                }
            }
            panic!("the output ended without {part:?}");
        };
        timeout(PATIENCE, find).await.unwrap_or_else(|_| panic!("no line with {part:?} in time"))
    }

    async fn say(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("piped");
        stdin.write_all(format!("{line}\n").as_bytes()).await.expect("the program reads its input");
    }

    /// All remaining lines, and the exit code.
    async fn end(mut self) -> (Vec<String>, Option<i32>) {
        drop(self.stdin.take());
        let mut lines = Vec::new();
        let read = async {
            while let Some(line) = self.lines.next_line().await.expect("readable output") {
                lines.push(line);
            }
            self.child.wait().await.expect("the program ends").code()
        };
        let code = timeout(PATIENCE, read).await.expect("the program ends in time");
        (lines, code)
    }
}

struct TestServer {
    process: Process,
    address: String,
    key: String,
}

impl TestServer {
    async fn start(listen: &str, data: &Path) -> Self {
        Self::start_with(listen, data, &[]).await
    }

    async fn start_with(listen: &str, data: &Path, more: &[&str]) -> Self {
        let data = data.to_str().expect("UTF-8");
        let mut args = vec!["--listen", listen, "--data", data];
        args.extend(more);
        let mut process = Process::start(env!("CARGO_BIN_EXE_im-server"), &args);
        let word_after = |line: &str, part: &str| {
            let rest = line.split_once(part).expect("found").1;
            rest.split_whitespace().next().expect("a word").to_string()
        };
        let address = word_after(&process.line_with("listening on ").await, "listening on ");
        let key = word_after(&process.line_with("server key: ").await, "server key: ");
        Self { process, address, key }
    }

    /// SIGKILL: no handler runs.
    async fn kill_9(mut self) {
        self.process.child.kill().await.expect("the server was running");
    }

    fn client(&self, command: &str, url: &str, user: &str, rest: &[&str]) -> Process {
        let mut args = vec![command, "--server", url, "--server-key", &self.key, "--user", user];
        args.extend(rest);
        Process::start(im(), &args)
    }
}

#[tokio::test]
async fn what_was_acked_survives_kill_9_once_and_the_sender_comes_back_by_itself() {
    let data = tempfile::tempdir().expect("a directory");
    let mut server = TestServer::start("127.0.0.1:0", data.path()).await;
    let (address, key) = (server.address.clone(), server.key.clone());
    let url = format!("tcp://{address}");
    let mut alice = server.client("chat", &url, "alice", &["--to", "bob"]);
    alice.line_with("suite").await;
    for round in 1..=5 {
        alice.say(&format!("message {round}")).await;
        alice.line_with(&format!("[stored #{round}]")).await;
        server.kill_9().await;
        server = TestServer::start(&address, data.path()).await;
        assert_eq!(server.key, key, "the server keeps its key");
        if round == 1 {
            // Bob was never online before.
            let (lines, code) = server.client("listen", &url, "bob", &["--count", "1"]).end().await;
            assert_eq!((lines, code), (vec!["alice #1 alice: message 1".to_string()], Some(0)));
        }
        // The same process of alice, without being told.
        alice.line_with("logged in as alice").await;
    }
    let (lines, code) = server.client("listen", &url, "bob", &["--count", "4"]).end().await;
    let want: Vec<String> = (2..=5).map(|n| format!("alice #{n} alice: message {n}")).collect();
    assert_eq!((lines, code), (want, Some(0)), "each once, in order, and the first not again");
    assert_eq!(alice.end().await.1, Some(0));
}

/// The receiver refuses every second request, and the server is killed as soon as one was made: before the answer, before the
/// event is settled, or after.
#[tokio::test]
async fn every_stored_message_is_told_to_the_webhook_in_order_through_every_kill_9() {
    let dir = tempfile::tempdir().expect("a directory");
    let (data, secret) = (dir.path().join("data"), dir.path().join("secret"));
    std::fs::write(&secret, receiver::SECRET).expect("written");
    let mut receiver = receiver::Receiver::start(None).await;
    let mut requests = 0;
    receiver.answer(move |_| {
        requests += 1;
        (if requests % 2 == 0 { 500 } else { 200 }, None)
    });
    let hook = format!("http://127.0.0.1:{}/hook", receiver.port);
    let more = ["--webhook-url", &hook, "--webhook-secret-file", secret.to_str().expect("UTF-8")];
    let mut server = TestServer::start_with("127.0.0.1:0", &data, &more).await;
    let address = server.address.clone();
    let mut alice = server.client("chat", &format!("tcp://{address}"), "alice", &["--to", "bob"]);
    alice.line_with("suite").await;
    let mut told: Vec<receiver::Told> = Vec::new();
    for round in 1..=5 {
        for part in 0..3 {
            alice.say(&format!("message {round}.{part}")).await;
            alice.line_with(&format!("[stored #{}]", (round - 1) * 3 + part + 1)).await;
        }
        told.push(receiver.next().await);
        server.kill_9().await;
        server = TestServer::start_with(&address, &data, &more).await;
        alice.line_with("logged in as alice").await;
    }
    while told.last().is_none_or(|told| told.data["seq"] != 15) {
        told.push(receiver.next().await);
    }
    let (mut ids, mut last) = (std::collections::BTreeMap::new(), 0);
    for event in &told {
        let seq = event.data["seq"].as_u64().expect("a number");
        assert_eq!(ids.entry(seq).or_insert_with(|| event.id.clone()), &event.id, "{seq} has one id over all tries");
        // Again from one that was not settled before the kill, and never past one that was not told.
        assert!(seq <= last + 1, "{seq} after {last}");
        last = last.max(seq);
        assert_eq!(event.data["content"], format!("message {}.{}", (seq - 1) / 3 + 1, (seq - 1) % 3));
    }
    assert_eq!(ids.len(), 15, "each stored message was told");
}

#[tokio::test]
async fn two_people_chat_over_tcp_and_websocket_as_the_banner_says() {
    let data = tempfile::tempdir().expect("a directory");
    let server = TestServer::start("127.0.0.1:0", data.path()).await;
    let (tcp, ws) = (format!("tcp://{}", server.address), format!("ws://{}/im", server.address));
    let mut alice = server.client("chat", &tcp, "alice", &["--to", "bob"]);
    let mut bob = server.client("chat", &ws, "bob", &["--to", "alice", "--format", "json"]);
    let agreed = alice.line_with("suite").await;
    assert!(agreed.contains("AES-") || agreed.contains("ChaCha20"), "{agreed}");
    assert!(agreed.contains("serialization protobuf (6)"), "{agreed}");
    assert!(bob.line_with("suite").await.contains("serialization json (2)"));
    alice.say("hello over tcp").await;
    assert_eq!(bob.line_with("hello").await, "alice: hello over tcp");
    bob.say("hello over a websocket").await;
    assert_eq!(alice.line_with("hello").await, "bob: hello over a websocket");
    assert_eq!((alice.end().await.1, bob.end().await.1), (Some(0), Some(0)));
}
