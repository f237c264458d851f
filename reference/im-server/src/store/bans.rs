//! Who may not log in: a list apart from the message store.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::StoreError;

/// The most bans of a [`FileBans`], which keeps all of them in memory.
pub const MAX_BANS: usize = 100_000;
/// The longest reason of a ban, in bytes: what a close packet has room for.
pub const MAX_BAN_REASON: usize = 256;

/// Why and how long a user may not log in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    /// For the user; may be empty. At most [`MAX_BAN_REASON`] bytes.
    pub reason: String,
    /// Until this moment, in milliseconds since 1970; without it until somebody takes it back.
    pub until_ms: Option<u64>,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
    /// Which service's key it was.
    pub by: String,
}

impl Ban {
    /// Whether it holds at this moment, in milliseconds since 1970.
    #[must_use]
    pub fn holds(&self, now_ms: u64) -> bool {
        self.until_ms.is_none_or(|until| now_ms < until)
    }
}

/// Who is banned. Not part of [`Store`](super::Store): a service with users of its own has bans of its own and its messages
/// here, or the other way round.
///
/// ```
/// use im_server::store::{Ban, Bans, FileBans};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// let bans = FileBans::open(&dir.path().join("bans.json"))?;
/// let ban = Ban { reason: "spam".into(), until_ms: None, since_ms: 1_700_000_000_000, by: "admin".into() };
/// bans.set("eve", Some(ban.clone())).await?;
/// assert_eq!(bans.get("eve").await?, Some(ban));
/// # Ok(())
/// # }
/// ```
pub trait Bans: Send + Sync + 'static {
    /// The ban of a user, also one that is over. Asked at each login, twice.
    fn get<'a>(&'a self, user: &'a str) -> BoxFuture<'a, Result<Option<Ban>, StoreError>>;

    /// Puts a ban in place of the one before, or takes it back; durable when it answers.
    fn set<'a>(&'a self, user: &'a str, ban: Option<Ban>) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Who is banned, in ascending order of the name's bytes, at most `limit`; the next page starts `after` the last one.
    fn list<'a>(
        &'a self,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<(String, Ban)>, StoreError>>;
}

/// Bans in a file of their own, as JSON that an operator can read. All are in memory; a change writes the file aside, forces
/// it to disk and moves it into place. Two processes must not use one file.
#[derive(Clone)]
pub struct FileBans(Arc<Inner>);

struct Inner {
    path: PathBuf,
    known: RwLock<BTreeMap<String, Ban>>,
    /// Held while the file is written.
    writing: Mutex<()>,
}

impl FileBans {
    /// The bans of a file; none, if there is no such file.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] when it cannot be read or is not a list of bans.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let known = match file::read(path) {
            Ok(Some(text)) => serde_json::from_slice(&text).map_err(|error| file::failed(path, &error))?,
            Ok(None) => BTreeMap::new(),
            Err(error) => return Err(file::failed(path, &error)),
        };
        Ok(Self(Arc::new(Inner { path: path.into(), known: RwLock::new(known), writing: Mutex::new(()) })))
    }
}

impl Inner {
    fn write(&self, user: &str, ban: Option<Ban>) -> Result<(), StoreError> {
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = self.known.read().unwrap_or_else(PoisonError::into_inner).clone();
        match ban {
            Some(ban) => next.insert(user.into(), ban),
            None => next.remove(user),
        };
        if next.len() > MAX_BANS {
            return Err(StoreError::Io(format!("{MAX_BANS} users are banned: unban some first").into()));
        }
        let text = serde_json::to_vec_pretty(&next).map_err(|error| file::failed(&self.path, &error))?;
        file::replace(&self.path, &text).map_err(|error| file::failed(&self.path, &error))?;
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }
}

impl Bans for FileBans {
    fn get<'a>(&'a self, user: &'a str) -> BoxFuture<'a, Result<Option<Ban>, StoreError>> {
        let ban = self.0.known.read().unwrap_or_else(PoisonError::into_inner).get(user).cloned();
        Box::pin(async move { Ok(ban) })
    }

    fn set<'a>(&'a self, user: &'a str, ban: Option<Ban>) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let (this, user) = (self.0.clone(), user.to_owned());
            let written = tokio::task::spawn_blocking(move || this.write(&user, ban)).await;
            written.unwrap_or_else(|error| Err(StoreError::Io(error.to_string().into())))
        })
    }

    fn list<'a>(
        &'a self,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<(String, Ban)>, StoreError>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner);
        let page = known.range::<str, _>((from, Bound::Unbounded)).take(limit);
        let page = page.map(|(user, ban)| (user.clone(), ban.clone())).collect();
        Box::pin(async move { Ok(page) })
    }
}

impl fmt::Debug for FileBans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileBans").field("path", &self.0.path).finish_non_exhaustive()
    }
}

mod file {
    #![expect(clippy::disallowed_methods, reason = "the list is a file, and this is where it is read and written")]

    use std::fs::{self, File, OpenOptions};
    use std::io::{ErrorKind, Result, Write};
    use std::os::unix::fs::OpenOptionsExt;
    use std::path::Path;

    use crate::store::StoreError;

    pub(super) fn failed(path: &Path, error: &dyn std::fmt::Display) -> StoreError {
        StoreError::Io(format!("the bans in {}: {error}", path.display()).into())
    }

    pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>> {
        match fs::read(path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whole or not at all, also over a crash.
    pub(super) fn replace(path: &Path, text: &[u8]) -> Result<()> {
        let aside = path.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&aside, path)?;
        match path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => File::open(dir)?.sync_all(),
            _ => File::open(".")?.sync_all(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bans_are_there_after_a_restart_and_gone_when_they_are_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bans.json");
        let ban = |reason: &str| Ban { reason: reason.into(), until_ms: Some(5), since_ms: 1, by: "admin".into() };
        let bans = FileBans::open(&path).unwrap();
        for user in ["eve", "mallory", "bob"] {
            bans.set(user, Some(ban(user))).await.unwrap();
        }
        bans.set("bob", None).await.unwrap();
        let bans = FileBans::open(&path).unwrap();
        assert_eq!(bans.get("eve").await, Ok(Some(ban("eve"))));
        assert_eq!(bans.get("bob").await, Ok(None));
        let names = |page: Vec<(String, Ban)>| page.into_iter().map(|(user, _)| user).collect::<Vec<_>>();
        assert_eq!(names(bans.list(None, 9).await.unwrap()), ["eve", "mallory"]);
        assert_eq!(names(bans.list(Some("eve"), 9).await.unwrap()), ["mallory"]);
        assert!(ban("x").holds(4) && !ban("x").holds(5));
        file::replace(&path, b"{").unwrap();
        assert!(FileBans::open(&path).unwrap_err().to_string().contains("bans.json"));
    }
}
