//! Files by reference: what is too large for a message is uploaded over HTTP, and a message carries its id. The right to upload and to
//! download is asked for in the session, which is sealed and knows who asks; HTTP sees a token for one file and a few minutes.

mod disk;
mod http;
mod session;
mod token;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

pub(crate) use self::http::router;
pub(crate) use self::session::answer;
use self::token::Tokens;

/// Transfers under way at once. Beyond that clients are told to come back.
const AT_ONCE: usize = 64;
/// Uploads of one user that are under way at once.
const UPLOADS_OF_A_USER: u32 = 4;
/// What a file costs beyond its content, so that many small ones count.
const OVERHEAD: u64 = 4096;

/// Where files are, and how much of them.
///
/// ```no_run
/// # async fn example(builder: im_server::ServerBuilder) -> Result<im_server::ServerBuilder, im_server::FilesError> {
/// let config = im_server::FilesConfig { max_bytes: 5 << 20, ..im_server::FilesConfig::new("/var/lib/im/files") };
/// Ok(builder.files(im_server::Files::open(config).await?))
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilesConfig {
    /// The directory, for this server alone.
    pub dir: PathBuf,
    /// The largest file, in bytes. Default 25 MiB.
    pub max_bytes: u64,
    /// All files of one user, in bytes, each with 4 KiB on top. Default 1 GiB.
    pub max_user_bytes: u64,
    /// All files, counted in the same way. Default 10 GiB.
    pub max_total_bytes: u64,
}

impl FilesConfig {
    /// In this directory, with the default limits.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), max_bytes: 25 << 20, max_user_bytes: 1 << 30, max_total_bytes: 10 << 30 }
    }
}

/// Files cannot be kept.
#[derive(Debug, thiserror::Error)]
#[error("files cannot be kept in {dir}: {error}")]
pub struct FilesError {
    dir: PathBuf,
    error: std::io::Error,
}

/// Files on the disk of this server, and the rights to them. Cheap to clone; all clones are the same.
#[derive(Clone, Debug)]
pub struct Files {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: FilesConfig,
    tokens: Tokens,
    used: Mutex<Used>,
    places: Arc<Semaphore>,
}

/// Whose a file is, and what it is. Written once, beside its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Meta {
    owner: String,
    /// The store's key of the conversation whose members may read it.
    conversation: String,
    size: u64,
    /// SHA-256 of the content, in hexadecimal digits.
    sha256: String,
    media_type: String,
    /// In milliseconds since 1970.
    time_ms: u64,
}

impl Meta {
    const fn cost(&self) -> u64 {
        self.size.saturating_add(OVERHEAD)
    }
}

/// What is taken of the limits, that which is being uploaded included.
#[derive(Debug, Default)]
struct Used {
    total: u64,
    users: BTreeMap<String, User>,
}

#[derive(Debug, Default)]
struct User {
    bytes: u64,
    uploads: u32,
}

impl Used {
    fn add(&mut self, meta: &Meta) {
        self.total = self.total.saturating_add(meta.cost());
        let user = self.users.entry(meta.owner.clone()).or_default();
        user.bytes = user.bytes.saturating_add(meta.cost());
    }

    fn take_back(&mut self, meta: &Meta) {
        self.total = self.total.saturating_sub(meta.cost());
        if let Some(user) = self.users.get_mut(&meta.owner) {
            user.bytes = user.bytes.saturating_sub(meta.cost());
            if user.bytes == 0 && user.uploads == 0 {
                self.users.remove(&meta.owner);
            }
        }
    }
}

/// Which limit an upload would go over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Full {
    File,
    User,
    Total,
    Uploads,
}

impl Full {
    const fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::User => "user",
            Self::Total => "total",
            Self::Uploads => "uploads",
        }
    }

    /// For people.
    const fn text(self) -> &'static str {
        match self {
            Self::File => "the file is larger than this server takes",
            Self::User => "your files would take more room than one user has: delete some",
            Self::Total => "the server has no room for more files: tell its operator",
            Self::Uploads => "so many uploads of yours are under way that this one has to wait",
        }
    }
}

/// Room for an upload, which is given back unless the file is kept.
struct Reservation {
    files: Files,
    meta: Meta,
    kept: bool,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut used = self.files.used();
        if let Some(user) = used.users.get_mut(&self.meta.owner) {
            user.uploads = user.uploads.saturating_sub(1);
        }
        if !self.kept {
            used.take_back(&self.meta);
        }
    }
}

impl Files {
    /// Opens the directory, makes it if need be, takes away what uploads that were cut off left, and counts the rest.
    ///
    /// # Errors
    ///
    /// Of the file system, and where there are no random numbers.
    pub async fn open(config: FilesConfig) -> Result<Self, FilesError> {
        let failed = |error| FilesError { dir: config.dir.clone(), error };
        let tokens = Tokens::new().map_err(|error| failed(std::io::Error::other(error.to_string())))?;
        let mut used = Used::default();
        disk::scan(&config.dir, |meta| used.add(meta)).await.map_err(failed)?;
        let (used, places) = (Mutex::new(used), Arc::new(Semaphore::new(AT_ONCE)));
        Ok(Self { shared: Arc::new(Shared { config, tokens, used, places }) })
    }

    /// Deletes what is older than `keep` at this time, in milliseconds since 1970. Gives how many files went.
    ///
    /// # Errors
    ///
    /// Of the file system; what went before it is gone.
    pub async fn sweep(&self, keep: Duration, now_ms: u64) -> Result<u64, FilesError> {
        let before = now_ms.saturating_sub(u64::try_from(keep.as_millis()).unwrap_or(u64::MAX));
        let mut gone = 0;
        let done = disk::sweep(self.dir(), before, |meta| {
            self.used().take_back(meta);
            gone += 1;
        });
        done.await.map_err(|error| FilesError { dir: self.dir().into(), error })?;
        Ok(gone)
    }

    /// All files and uploads, in bytes, each with 4 KiB on top.
    pub fn used_bytes(&self) -> u64 {
        self.used().total
    }

    fn dir(&self) -> &Path {
        &self.shared.config.dir
    }

    fn used(&self) -> std::sync::MutexGuard<'_, Used> {
        self.shared.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is room, as far as is known before the upload begins.
    fn has_room(&self, meta: &Meta) -> Result<(), Full> {
        self.shared.config.has_room(&self.used(), meta)
    }

    fn reserve(&self, meta: &Meta) -> Result<Reservation, Full> {
        let mut used = self.used();
        self.shared.config.has_room(&used, meta)?;
        used.add(meta);
        if let Some(user) = used.users.get_mut(&meta.owner) {
            user.uploads += 1;
        }
        drop(used);
        Ok(Reservation { files: self.clone(), meta: meta.clone(), kept: false })
    }
}

impl FilesConfig {
    fn has_room(&self, used: &Used, meta: &Meta) -> Result<(), Full> {
        let user = used.users.get(&meta.owner);
        if meta.size > self.max_bytes {
            Err(Full::File)
        } else if user.map_or(0, |user| user.bytes).saturating_add(meta.cost()) > self.max_user_bytes {
            Err(Full::User)
        } else if used.total.saturating_add(meta.cost()) > self.max_total_bytes {
            Err(Full::Total)
        } else if user.is_some_and(|user| user.uploads >= UPLOADS_OF_A_USER) {
            Err(Full::Uploads)
        } else {
            Ok(())
        }
    }
}

/// The name of a file: 32 hexadecimal digits, so never a path.
fn valid_id(id: &str) -> bool {
    id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// `type/subtype` of tokens (RFC 9110 section 5.6.2), without parameters.
fn valid_media_type(text: &str) -> bool {
    let token = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    text.len() <= 127 && text.split_once('/').is_some_and(|(kind, rest)| token(kind) && token(rest))
}
