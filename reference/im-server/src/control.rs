//! How `im-server verify` and `im-server backup` reach the server that has the store open: a socket in the data directory,
//! for the server's own user. A request is one line, the answer lines for people and, last, the exit code.
//!
//! ```text
//! verify                     -> line TEXT ... end CODE
//! backup no-key|with-key DIR -> line TEXT ... end CODE
//! dead-letters list|retry    -> line TEXT ... end CODE
//! ```

use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use im_server::store::FjallStore;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use crate::Failure;
use crate::maintain::{Outcome, work};

const SOCKET: &str = "control.sock";
/// The longest request: a path of the system's longest, and some words.
const REQUEST: u64 = 8 * 1024;
/// How long a request may take to come, and an answer to be taken.
const PATIENCE: Duration = Duration::from_secs(10);
/// Peers at a time; one of them has its work done.
const PEERS: usize = 4;

/// What is asked of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Verify,
    Backup { to: PathBuf, with_key: bool },
    DeadLetters { retry: bool },
}

impl Request {
    fn to_line(&self) -> Result<String, Failure> {
        match self {
            Self::Verify => Ok("verify\n".into()),
            Self::DeadLetters { retry } => Ok(format!("dead-letters {}\n", if *retry { "retry" } else { "list" })),
            Self::Backup { to, with_key } => {
                let path = to.to_str().filter(|path| !path.contains(['\n', '\r']));
                let path = path.ok_or_else(|| Failure::settings("the place of the copy must be a name in UTF-8"))?;
                Ok(format!("backup {} {path}\n", if *with_key { "with-key" } else { "no-key" }))
            }
        }
    }

    fn from_line(line: &str) -> Option<Self> {
        match line {
            "verify" => return Some(Self::Verify),
            "dead-letters list" => return Some(Self::DeadLetters { retry: false }),
            "dead-letters retry" => return Some(Self::DeadLetters { retry: true }),
            _ => {}
        }
        let (key, path) = line.strip_prefix("backup ")?.split_once(' ')?;
        let with_key = match key {
            "with-key" => true,
            "no-key" => false,
            _ => return None,
        };
        // A relative one would be relative to the server.
        let to = Some(PathBuf::from(path)).filter(|to| to.is_absolute())?;
        Some(Self::Backup { to, with_key })
    }
}

/// A socket that answers until it is dropped.
pub(crate) struct Control {
    path: PathBuf,
    accepting: tokio::task::JoinHandle<()>,
}

impl Control {
    /// Opens the socket. The store is open here, so a socket that is there is of a server that was killed.
    pub(crate) fn open(data: &Path, store: &Arc<FjallStore>) -> std::io::Result<Self> {
        let path = data.join(SOCKET);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        let owner = std::fs::metadata(&path)?.uid();
        let (data, store) = (data.to_owned(), store.clone());
        let accepting = tokio::spawn(async move {
            let (places, busy) = (Arc::new(Semaphore::new(PEERS)), Arc::new(Semaphore::new(1)));
            while let Ok(place) = places.clone().acquire_owned().await {
                let stream = match listener.accept().await {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        tracing::warn!(%error, "the control socket could not accept");
                        tokio::time::sleep(Duration::from_secs(1)).await;
                        continue;
                    }
                };
                // Also who came in the moment before the mode was set.
                if !stream.peer_cred().is_ok_and(|peer| [0, owner].contains(&peer.uid())) {
                    continue;
                }
                let (data, store, busy) = (data.clone(), store.clone(), busy.clone());
                tokio::spawn(async move {
                    if let Err(error) = serve(stream, &data, &store, &busy).await {
                        tracing::debug!(%error, "a control connection ended early");
                    }
                    drop(place);
                });
            }
        });
        Ok(Self { path, accepting })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.accepting.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn serve(mut stream: UnixStream, data: &Path, store: &FjallStore, busy: &Semaphore) -> std::io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut line = String::new();
    tokio::time::timeout(PATIENCE, BufReader::new(reader.take(REQUEST)).read_line(&mut line)).await??;
    let Outcome { lines, code } = match line.strip_suffix('\n').and_then(Request::from_line) {
        None => Outcome {
            lines: vec!["the running server does not know this request; is it another version?".into()],
            code: 1,
        },
        Some(request) => match busy.try_acquire() {
            Err(_) => Outcome {
                lines: vec!["the server is busy with another backup or check; try again later".into()],
                code: 1,
            },
            Ok(_one) => {
                tracing::info!(?request, "asked over the control socket");
                work(store, data, &request).await
            }
        },
    };
    let mut answer: String =
        lines.iter().fold(String::new(), |answer, line| answer + "line " + &line.replace('\n', " ") + "\n");
    answer += &format!("end {code}\n");
    tokio::time::timeout(PATIENCE, writer.write_all(answer.as_bytes())).await?
}

/// Asks the server that serves this data directory; `None` if there is none.
pub(crate) async fn ask(data: &Path, request: &Request) -> Result<Option<Outcome>, Failure> {
    let path = data.join(SOCKET);
    let broken =
        |error: &std::io::Error| Failure::run(format!("the server did not answer on {}: {error}", path.display()));
    let mut stream = match UnixStream::connect(&path).await {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => return Ok(None),
        // Too long a path for a socket: then the server has none either.
        Err(error) if error.kind() == ErrorKind::InvalidInput => return Ok(None),
        Err(error) => return Err(broken(&error)),
    };
    stream.write_all(request.to_line()?.as_bytes()).await.map_err(|error| broken(&error))?;
    let mut answer = BufReader::new(stream).lines();
    let mut lines = Vec::new();
    while let Some(line) = answer.next_line().await.map_err(|error| broken(&error))? {
        if let Some(code) = line.strip_prefix("end ") {
            return Ok(Some(Outcome { lines, code: code.parse().unwrap_or(1) }));
        }
        lines.push(line.strip_prefix("line ").unwrap_or(&line).to_owned());
    }
    Err(Failure::run("the server stopped before it had answered"))
}

/// Whether a socket in this directory would have a name that is short enough.
pub(crate) fn name_fits(data: &Path) -> bool {
    // The smallest of the systems that have such sockets.
    data.join(SOCKET).as_os_str().as_bytes().len() < 104
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_come_back_as_they_were_written_and_others_are_none() {
        for request in [
            Request::Verify,
            Request::DeadLetters { retry: false },
            Request::DeadLetters { retry: true },
            Request::Backup { to: "/a b/c".into(), with_key: false },
            Request::Backup { to: "/x".into(), with_key: true },
        ] {
            let line = request.to_line().ok().unwrap();
            assert_eq!(Request::from_line(line.trim_end()), Some(request));
        }
        for line in ["", "verify ", "backup", "backup no-key", "backup no-key x", "backup maybe /x", "stop"] {
            assert_eq!(Request::from_line(line), None, "{line:?}");
        }
        assert!(Request::Backup { to: "/a\nb".into(), with_key: false }.to_line().is_err());
    }
}
