//! Groups as data of the server's store: who is in them, for the operator and the application.

use std::fmt;
use std::sync::Arc;

use im_proto::rights::MemberRole;
use im_proto::valid_name;

use crate::conversation;
use crate::hub::Hub;
use crate::store::{ConversationKey, Member, MemberChange, Standing, Store, StoreError};

/// Members that are written at once. All of one such part come in or none; between parts the server does other work.
const PART: usize = 1000;

/// Why a group was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError {
    /// A group or user name that is none.
    #[error("the name of a {0} must have 1 to 128 bytes without control characters")]
    Name(&'static str),
    /// The store failed; of the members named in the call some may be changed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Who is in which group. Changes are durable when they return, hold at once for who is online, and are found by who comes
/// later. A group of any size costs two rows for each member, and one for each message.
///
/// ```
/// use im_server::{MemberRole, Server, store::Standing};
///
/// # async fn example(server: &Server) -> Result<(), im_server::GroupError> {
/// let groups = server.groups();
/// groups.create("team", "alice").await?;
/// groups.add("team", "bob", MemberRole::Member).await?;
/// groups.set("team", "bob", Standing { muted: true, ..Standing::default() }).await?;
/// for (user, member) in groups.members("team", None, 100).await? {
///     println!("{user}: {:?}", member.standing.role);
/// }
/// groups.remove("team", "bob").await
/// # }
/// ```
#[derive(Clone)]
pub struct Groups {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) hub: Arc<Hub>,
}

impl Groups {
    /// Makes a group with an owner. One that exists keeps its members and gets one more owner.
    ///
    /// # Errors
    ///
    /// [`GroupError`], as of all of them.
    pub async fn create(&self, group: &str, owner: &str) -> Result<(), GroupError> {
        self.add(group, owner, MemberRole::Owner).await
    }

    /// Lets a user in, who sees what is said from now on; who is in already only gets the role. Makes the group if there is
    /// none.
    ///
    /// # Errors
    ///
    /// See [`GroupError`].
    pub async fn add(&self, group: &str, user: &str, role: MemberRole) -> Result<(), GroupError> {
        self.set(group, user, Standing::of(role)).await
    }

    /// Lets many users in as ordinary members. Those that were in already become ordinary members too.
    ///
    /// # Errors
    ///
    /// [`GroupError::Name`] before anybody is let in; [`GroupError::Store`] when only some may be in.
    pub async fn add_all<I>(&self, group: &str, users: I) -> Result<(), GroupError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let key = group_key(group)?;
        let mut changes = Vec::new();
        for user in users {
            changes.push(change(user.as_ref(), Some(Standing::default()))?);
        }
        for part in changes.chunks(PART) {
            self.apply(&key, part.to_vec()).await?;
        }
        Ok(())
    }

    /// What a user is in the group from now on; as [`add`](Self::add) for one who is not in it. Who is banned stays in the
    /// list, reads nothing, and is out until another standing is set.
    ///
    /// # Errors
    ///
    /// See [`GroupError`].
    pub async fn set(&self, group: &str, user: &str, standing: Standing) -> Result<(), GroupError> {
        self.apply(&group_key(group)?, vec![change(user, Some(standing))?]).await
    }

    /// Takes a user out: nothing that is said from now on is for it. One who is not in the group stays out.
    ///
    /// # Errors
    ///
    /// See [`GroupError`].
    pub async fn remove(&self, group: &str, user: &str) -> Result<(), GroupError> {
        self.apply(&group_key(group)?, vec![change(user, None)?]).await
    }

    /// Who is in a group, the banned included, in ascending order of the name's bytes; the next page starts `after` the last
    /// one of this page.
    ///
    /// # Errors
    ///
    /// See [`GroupError`].
    pub async fn members(
        &self,
        group: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(Arc<str>, Member)>, GroupError> {
        Ok(self.store.members(&group_key(group)?, after, limit).await?)
    }

    async fn apply(&self, key: &ConversationKey, changes: Vec<MemberChange>) -> Result<(), GroupError> {
        self.store.set_members(key, changes.clone()).await?;
        for MemberChange { user, standing } in changes {
            if standing.is_some_and(|standing| !standing.banned) {
                self.hub.enter_group(key, &user);
            } else {
                self.hub.leave_group(key, &user);
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Groups").finish_non_exhaustive()
    }
}

fn group_key(group: &str) -> Result<ConversationKey, GroupError> {
    conversation::group_key(group).ok_or(GroupError::Name("group"))
}

fn change(user: &str, standing: Option<Standing>) -> Result<MemberChange, GroupError> {
    if !valid_name(user) {
        return Err(GroupError::Name("user"));
    }
    Ok(MemberChange { user: user.into(), standing })
}
