//! The real program: its settings file, `check`, changed certificates, listeners, drain, logs as JSON.
#![allow(clippy::disallowed_methods, reason = "tests of a program may use files and processes")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::common::process::{command, output, start, terminate};
use crate::common::tls::{Authority, connect};
use crate::common::{Peer, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;

struct Files {
    dir: tempfile::TempDir,
    authority: Authority,
}

impl Files {
    fn new() -> Self {
        let files = Self { dir: tempfile::tempdir().unwrap(), authority: Authority::new() };
        files.certificate(|_| {});
        files.write("secret", "a secret of more than thirty-two bytes\n");
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    fn certificate(&self, change: impl FnOnce(&mut rcgen::CertificateParams)) {
        let (chain, key) = self.authority.issue_with(change);
        self.write("chain.pem", &chain);
        self.write("key.pem", &key);
    }

    /// Settings that are good, and these.
    fn settings(&self, more: &str) -> PathBuf {
        let dir = self.dir.path().display();
        let text = format!("tls_certificate_file = \"{dir}/chain.pem\"\ntls_key_file = \"{dir}/key.pem\"\n{more}");
        self.write("im.toml", &text)
    }

    fn command(&self, config: &Path) -> Command {
        let mut command = command(&self.path("data"));
        command.env("IM_CONFIG", config);
        command
    }

    async fn check(&self, config: &Path) -> (Option<i32>, String) {
        let mut check = self.command(config);
        check.arg("check");
        let (printed, stderr) = output(check).await;
        (printed.status.code(), String::from_utf8_lossy(&printed.stdout).into_owned() + &stderr)
    }
}

#[tokio::test]
async fn check_says_everything_that_is_wrong_and_starts_nothing() {
    let files = Files::new();
    let good = files.settings("listen = \"0.0.0.0:0\"\njwt_hs256_secret_file = \"SECRET\"\n");
    let text = std::fs::read_to_string(&good).unwrap().replace("SECRET", &files.path("secret").display().to_string());
    std::fs::write(&good, &text).unwrap();
    assert_eq!(files.check(&good).await, (Some(0), "the settings are good\n".into()));

    let lines = "listen = \"0.0.0.0:0\"\nproxies = [\"10.0.0.0/8\"]\nlisten_tls = \"nowhere\"\nlog = \"a=b=c\"\n";
    let (code, told) = files.check(&files.settings(lines)).await;
    assert_eq!(code, Some(2), "{told}");
    for part in ["4 problems", "not a loopback", "behind a proxy", "listen_tls is \"nowhere\"", "the log filter"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let (code, told) = files.check(&files.settings("lisen = \"127.0.0.1:0\"\n")).await;
    assert!(code == Some(2) && told.contains("no key \"lisen\"; \"listen\" is near"), "{told}");
    let (code, told) = files.check(&files.settings("jwt_hs256_secret_file = \"/nowhere/secret\"\n")).await;
    assert!(code == Some(2) && told.contains("/nowhere/secret"), "{told}");
    assert!(!files.path("data").exists(), "nothing was made");
}

#[tokio::test]
async fn check_looks_into_the_certificate() {
    let files = Files::new();
    let config = files.settings("");
    let now = std::time::SystemTime::now();
    files.certificate(|params| params.not_after = (now - Duration::from_secs(7_200)).into());
    let (code, told) = files.check(&config).await;
    assert!(code == Some(2) && told.contains("chain.pem: the certificate expired 2 hours ago"), "{told}");
    files.certificate(|params| params.not_before = (now + Duration::from_secs(7_300)).into());
    let (code, told) = files.check(&config).await;
    assert!(code == Some(2) && told.contains("good only in 2 hours"), "{told}");
    files.certificate(|params| params.not_after = (now + Duration::from_secs(7_300)).into());
    let (code, told) = files.check(&config).await;
    assert!(code == Some(0) && told.contains("ends in 2 hours"), "{told}");
    let (_, other) = files.authority.issue();
    files.write("key.pem", &other);
    let (code, told) = files.check(&config).await;
    assert!(code == Some(2) && told.contains("does not belong to the first certificate"), "{told}");
    for (name, text) in [("key.pem", "nothing"), ("chain.pem", "nothing")] {
        files.certificate(|_| {});
        files.write(name, text);
        let (code, told) = files.check(&config).await;
        assert!(code == Some(2) && told.contains(&format!("{name}: it holds no usable")), "{told}");
    }
    std::fs::remove_file(files.path("chain.pem")).unwrap();
    let (code, told) = files.check(&config).await;
    assert!(code == Some(2) && told.contains("cannot read") && told.contains("chain.pem"), "{told}");
}

#[tokio::test]
async fn a_renewed_certificate_is_taken_at_sighup_and_a_broken_one_is_not() {
    let files = Files::new();
    let config = files.settings("tls_check_secs = 86400\nlisten_tls = \"127.0.0.1:0\"\n");
    let mut serve = files.command(&config);
    serve.env("IM_LOG", "info");
    let mut running = start(serve).await;
    assert!(running.banner.contains("with TLS only") && running.banner.contains("each also over TLS"));
    connect(&files.authority, running.address, &[]).await.unwrap();

    let next = Files::new();
    std::fs::copy(next.path("chain.pem"), files.path("chain.pem")).unwrap();
    let hang_up = async |child: &tokio::process::Child| {
        let pid = child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-HUP", &pid]).status().await.unwrap().success());
    };
    // Only one of the two files is there yet.
    hang_up(&running.child).await;
    let mut stderr = tokio::io::BufReader::new(running.child.stderr.take().unwrap());
    let log = async |stderr: &mut tokio::io::BufReader<_>, part: &str| {
        let mut line = String::new();
        while !line.contains(part) {
            line.clear();
            let read = within(tokio::io::AsyncBufReadExt::read_line(stderr, &mut line)).await.unwrap();
            assert!(read > 0, "{part} is logged");
        }
    };
    log(&mut stderr, "the certificate of before stays").await;
    connect(&files.authority, running.address, &[]).await.unwrap();
    std::fs::copy(next.path("key.pem"), files.path("key.pem")).unwrap();
    hang_up(&running.child).await;
    log(&mut stderr, "a new certificate is in use").await;
    connect(&next.authority, running.address, &[]).await.unwrap();
    assert!(connect(&files.authority, running.address, &[]).await.is_err());
}

#[tokio::test]
async fn changed_files_are_found_without_a_signal() {
    let files = Files::new();
    let running = start(files.command(&files.settings("tls_check_secs = 1\n"))).await;
    let next = Files::new();
    for name in ["chain.pem", "key.pem"] {
        std::fs::copy(next.path(name), files.path(name)).unwrap();
    }
    let taken = async {
        while connect(&next.authority, running.address, &[]).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    within(taken).await;
}

#[tokio::test]
async fn it_drains_before_it_stops_and_logs_json_without_secrets() {
    let files = Files::new();
    let config =
        files.settings("drain_secs = 1\nlog = \"trace\"\nlog_format = \"json\"\nmetrics_listen = \"127.0.0.1:0\"\n");
    let mut running = start(files.command(&config)).await;
    let mut stderr = running.child.stderr.take().unwrap();
    let log = tokio::spawn(async move {
        let mut text = String::new();
        stderr.read_to_string(&mut text).await.map(|_| text)
    });
    let mut alice = Peer::offline(running.key, "alice", "phone", "");
    alice.connect_tcp(running.address).await;
    alice.logged_in().await;
    terminate(&mut running.child).await;
    let draining = async {
        loop {
            let mut stream = TcpStream::connect(running.address).await.unwrap();
            stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            if answer.starts_with("HTTP/1.1 503") {
                return;
            }
        }
    };
    within(draining).await;
    alice.send("alice", "hush-hush while it drains");
    alice.stored().await;
    assert_eq!(alice.closed().await.code, im_proto::CloseCode::GOING_AWAY);
    drop(alice);
    assert_eq!(within(running.child.wait()).await.unwrap().code(), Some(0));
    let log = within(log).await.unwrap().unwrap();
    assert!(log.lines().count() > 3 && log.lines().all(|line| line.starts_with('{') && line.ends_with('}')), "{log}");
    assert!(log.contains("\"draining: /readyz says 503\"") && !log.contains("hush"), "{log}");
}
