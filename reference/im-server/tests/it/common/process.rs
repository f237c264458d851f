//! The real program.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Output, Stdio};

use im_proto::ServerPublicKey;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

use super::{PATIENCE, within};

pub fn command(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_im-server"));
    for (name, _) in std::env::vars() {
        if name.starts_with("IM_") {
            command.env_remove(name);
        }
    }
    command.env("IM_DATA", data).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub async fn output(mut command: Command) -> (Output, String) {
    let output = tokio::time::timeout(PATIENCE, command.output()).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, text)
}

pub struct Running {
    pub child: Child,
    pub address: SocketAddr,
    pub key: ServerPublicKey,
    pub banner: String,
}

pub async fn start(mut command: Command) -> Running {
    let mut child = command.args(["--listen", "127.0.0.1:0"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut banner = String::new();
    while !banner.contains("--user bob") {
        banner += &within(lines.next_line()).await.unwrap().expect("a banner");
        banner.push('\n');
    }
    let word = |after: &str| banner.split_once(after).unwrap().1.split_whitespace().next().unwrap().to_owned();
    let (address, key) = (word("listening on ").parse().unwrap(), word("server key: ").parse().unwrap());
    Running { child, address, key, banner }
}

pub async fn terminate(child: &mut Child) {
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
}

/// Resident memory of a process, in bytes.
#[cfg(target_os = "linux")]
pub fn resident(child: &Child) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id().unwrap())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<usize>().unwrap() * 1024
}

/// For tests that take most of the sockets which this process may have: one at a time.
pub static MANY_SOCKETS: Mutex<()> = Mutex::const_new(());

/// As many sockets as this process may have, some hundreds for other tests aside, and the server as many; at most 10,000.
pub fn sockets() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let soft = line.split_whitespace().next().unwrap().parse().unwrap_or(usize::MAX);
    soft.saturating_sub(500).min(10_000)
}
