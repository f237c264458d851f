//! Who may do what beyond logging in: the contract, and the default that reads the groups of the server's own store.

use std::sync::Arc;

use futures_util::future::{BoxFuture, ready};

use crate::conversation;
use crate::store::{Standing, Store};

/// Nobody could say now. The text is for the log; the client is told to try again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the directory did not answer: {0}")]
pub struct DirectoryError(pub String);

/// What a directory answers with.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, DirectoryError>>;

/// Decides who may write, watch and come in. An application with its own users implements it; [`StoredGroups`] is the
/// default. Asked for each message to a group and each command, so it should be quick.
///
/// Whatever it says, a group's messages reach those whom [`Groups`](crate::Groups) knows: an application that keeps its
/// groups elsewhere tells of each join and leave there.
///
/// ```
/// use im_server::{Answer, Directory, MemberRole, store::Standing};
///
/// struct Club; // the application's own
///
/// impl Directory for Club {
///     fn member<'a>(&'a self, group: &'a str, user: &'a str) -> Answer<'a, Option<Standing>> {
///         Box::pin(async move {
///             let role = if user == "alice" { MemberRole::Owner } else { MemberRole::Member };
///             Ok((group == "club").then_some(Standing::of(role)))
///         })
///     }
///
///     fn may_watch<'a>(&'a self, _user: &'a str, other: &'a str) -> Answer<'a, bool> {
///         Box::pin(async move { Ok(other != "bob") })
///     }
/// }
/// ```
pub trait Directory: Send + Sync + 'static {
    /// What `user` is in `group`; `None` for somebody who is not in it, also if there is no such group.
    fn member<'a>(&'a self, group: &'a str, user: &'a str) -> Answer<'a, Option<Standing>>;

    /// Whether `user` may write to, type to and call `other` in private. The default: everybody may.
    fn may_write<'a>(&'a self, user: &'a str, other: &'a str) -> Answer<'a, bool> {
        let _ = (user, other);
        Box::pin(ready(Ok(true)))
    }

    /// Whether `user` may be told of the presence of `other`. The default: everybody may.
    fn may_watch<'a>(&'a self, user: &'a str, other: &'a str) -> Answer<'a, bool> {
        let _ = (user, other);
        Box::pin(ready(Ok(true)))
    }

    /// Whether `user` may come into `room`, to read and to write. The default: everybody may, and a room is there when
    /// somebody is in it.
    fn may_join<'a>(&'a self, user: &'a str, room: &'a str) -> Answer<'a, bool> {
        let _ = (user, room);
        Box::pin(ready(Ok(true)))
    }
}

/// The groups that [`Groups`](crate::Groups) keeps in the store decide; everything else is allowed.
///
/// ```
/// use std::sync::Arc;
/// use im_server::{Directory, StoredGroups, store::{FjallConfig, FjallStore}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// let store = Arc::new(FjallStore::open(dir.path(), &FjallConfig::default())?);
/// assert_eq!(StoredGroups::new(store).member("team", "alice").await?, None);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct StoredGroups {
    store: Arc<dyn Store>,
}

impl StoredGroups {
    /// The groups of this store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }
}

impl std::fmt::Debug for StoredGroups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredGroups").finish_non_exhaustive()
    }
}

impl Directory for StoredGroups {
    fn member<'a>(&'a self, group: &'a str, user: &'a str) -> Answer<'a, Option<Standing>> {
        Box::pin(async move {
            let Some(key) = conversation::group_key(group) else { return Ok(None) };
            let member = self.store.member(user, &key).await.map_err(|error| DirectoryError(error.to_string()))?;
            Ok(member.map(|member| member.standing))
        })
    }
}
