//! Who is in a conversation, and how far its users are.

use std::sync::Arc;

use im_proto::rights::MemberRole;

/// What a user is in a conversation.
///
/// ```
/// use im_server::store::Standing;
/// assert!(!Standing::default().muted);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its role.
    pub role: MemberRole,
    /// May read, and not write.
    pub muted: bool,
    /// May do nothing here; kept so that the user is not let in again by mistake.
    pub banned: bool,
}

impl Default for Standing {
    /// A member who may write.
    fn default() -> Self {
        Self::of(MemberRole::Member)
    }
}

impl Standing {
    /// Somebody with this role who may write.
    ///
    /// ```
    /// use im_server::{MemberRole, store::Standing};
    /// assert_eq!(Standing::of(MemberRole::Admin).role, MemberRole::Admin);
    /// ```
    #[must_use]
    pub const fn of(role: MemberRole) -> Self {
        Self { role, muted: false, banned: false }
    }
}

/// A member of a conversation.
///
/// ```
/// # async fn example(store: &dyn im_server::store::Store) -> Result<(), im_server::store::StoreError> {
/// use im_server::store::{ConversationKey, Member};
///
/// let team = ConversationKey::new("g:team")?;
/// if let Some(Member { standing, since }) = store.member("bob", &team).await? {
///     println!("{:?}, sees what came after {since}", standing.role);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// What the user is there.
    pub standing: Standing,
    /// The head of the log when the user came in: what is before it is not for this user.
    pub since: u64,
}

/// A change of who is in a conversation.
///
/// ```
/// # async fn example(store: &dyn im_server::store::Store) -> Result<(), im_server::store::StoreError> {
/// use im_server::store::{ConversationKey, MemberChange, Standing};
///
/// let comes = MemberChange { user: "bob".into(), standing: Some(Standing::default()) };
/// let goes = MemberChange { user: "eve".into(), standing: None };
/// store.set_members(&ConversationKey::new("g:team")?, vec![comes, goes]).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberChange {
    /// Whose.
    pub user: Arc<str>,
    /// What the user is from now on; `None`: not in it any more.
    pub standing: Option<Standing>,
}

/// How far a user is in a conversation, over all devices. In the log with this epoch; zeros before anything was had.
///
/// ```
/// # async fn example(store: &dyn im_server::store::Store) -> Result<(), im_server::store::StoreError> {
/// use im_server::store::{ConversationKey, Positions};
///
/// let chat = ConversationKey::new("p:3:ann:bob")?;
/// let Positions { epoch, .. } = store.positions("bob", &chat).await?;
/// let moved = store.mark_read("bob", &chat, epoch, 7).await?;
/// println!("read up to {}", moved.read);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Positions {
    /// The epoch of the log.
    pub epoch: u64,
    /// The last seq that some device of the user acked.
    pub delivered: u64,
    /// The last seq that the user read.
    pub read: u64,
}
