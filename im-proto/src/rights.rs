//! Who may do what in a conversation: facts in, verdict out.
//!
//! The connection checks what needs no database: kinds, lengths, names. This module decides the rest from facts that the
//! application looks up when a [`Message`](crate::ServerEvent::Message) or [`Command`](crate::ServerEvent::Command)
//! arrives; a denial goes back with [`Denial::code`] and its text.
//!
//! | action | who | when |
//! |---|---|---|
//! | send, edit, react | a member that is not muted | edit: the author, within [`RightsPolicy::edit_within`] |
//! | recall | the author, within [`RightsPolicy::recall_within`]; an admin or the owner of a group | an admin at any time |
//! | unreact | a member | |
//!
//! Nobody who is banned does anything. What is recalled, or is no message, takes no command.

use core::time::Duration;

use crate::close::RefusalCode;
use crate::entry::Change;

/// What a user is in a conversation. Both users of a private conversation are members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemberRole {
    /// One of them.
    Member,
    /// May recall what others wrote.
    Admin,
    /// May do what an admin may.
    Owner,
}

/// Who wants to do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Actor<'a> {
    /// The user that the login proved.
    pub user: &'a str,
    /// The role in the conversation; `None` for somebody who is not in it.
    pub role: Option<MemberRole>,
    /// May read, and not write.
    pub muted: bool,
    /// May do nothing here.
    pub banned: bool,
}

/// What stands at the place that a command is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// Who wrote it.
    pub author: &'a str,
    /// How long ago it was stored; zero where the clock went back.
    pub age: Duration,
    /// What it is now.
    pub what: TargetKind,
}

/// What an entry is for a command about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetKind {
    /// A message, edited or not.
    Message,
    /// A message that was recalled.
    Recalled,
    /// A command or an event.
    Other,
}

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// Send a message.
    Send,
    /// Do this to the entry of that place; `None`: there is no such place.
    Change(&'a Change, Option<Target<'a>>),
}

/// Time limits of a service.
///
/// ```
/// use core::time::Duration;
/// use im_proto::rights::{Action, Actor, Denial, MemberRole, RightsPolicy, Target, TargetKind};
/// use im_proto::Change;
///
/// let policy = RightsPolicy::default();
/// let bob = Actor { user: "bob", role: Some(MemberRole::Member), muted: false, banned: false };
/// let target = Target { author: "alice", age: Duration::from_secs(5), what: TargetKind::Message };
/// assert_eq!(policy.decide(&bob, &Action::Change(&Change::Recall, Some(target))), Err(Denial::NotAuthor));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RightsPolicy {
    /// How long an author may recall a message; `None`: always.
    pub recall_within: Option<Duration>,
    /// How long an author may edit a message; `None`: always.
    pub edit_within: Option<Duration>,
}

impl Default for RightsPolicy {
    /// 5 minutes to recall, a day to edit.
    fn default() -> Self {
        Self { recall_within: Some(Duration::from_secs(300)), edit_within: Some(Duration::from_secs(24 * 3600)) }
    }
}

/// Why somebody may not. The text is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denial {
    /// The user is banned.
    #[error("you are banned here")]
    Banned,
    /// The user is not in the conversation.
    #[error("you are not a member of this conversation")]
    NotMember,
    /// The user may not write.
    #[error("you are muted here: you may read, and not write")]
    Muted,
    /// There is no entry with that seq.
    #[error("there is no such message in this conversation")]
    NoTarget,
    /// The entry is a command or an event.
    #[error("this is no message: only a message can be recalled, edited or reacted to")]
    NotAMessage,
    /// The message was recalled before.
    #[error("the message was recalled")]
    Recalled,
    /// Somebody else wrote it.
    #[error("somebody else wrote this message")]
    NotAuthor,
    /// The time for it is over.
    #[error("it is too late: this was possible for {} s", .within.as_secs())]
    TooLate {
        /// How long it was possible.
        within: Duration,
    },
}

impl Denial {
    /// The code to refuse with.
    pub const fn code(self) -> RefusalCode {
        match self {
            Self::Banned | Self::NotMember | Self::Muted | Self::NotAuthor => RefusalCode::FORBIDDEN,
            Self::NoTarget | Self::NotAMessage | Self::Recalled => RefusalCode::NO_TARGET,
            Self::TooLate { .. } => RefusalCode::TOO_LATE,
        }
    }
}

impl RightsPolicy {
    /// Whether `actor` may do that. Pure: the same facts give the same verdict. What outsiders and the banned are told does
    /// not depend on the target, so they learn nothing about it.
    ///
    /// # Errors
    /// Why not.
    pub fn decide(&self, actor: &Actor<'_>, action: &Action<'_>) -> Result<(), Denial> {
        if actor.banned {
            return Err(Denial::Banned);
        }
        let role = actor.role.ok_or(Denial::NotMember)?;
        let writes = match action {
            Action::Send | Action::Change(Change::Edit { .. } | Change::React { .. }, _) => true,
            // To take back is not to say something.
            Action::Change(Change::Recall | Change::Unreact { .. }, _) => false,
        };
        if writes && actor.muted {
            return Err(Denial::Muted);
        }
        let (change, target) = match action {
            Action::Send => return Ok(()),
            Action::Change(change, target) => (change, target.ok_or(Denial::NoTarget)?),
        };
        match target.what {
            TargetKind::Message => {}
            TargetKind::Recalled => return Err(Denial::Recalled),
            TargetKind::Other => return Err(Denial::NotAMessage),
        }
        let author = target.author == actor.user;
        let within = |limit: Option<Duration>| match limit {
            Some(within) if target.age > within => Err(Denial::TooLate { within }),
            Some(_) | None => Ok(()),
        };
        match change {
            Change::Recall if role >= MemberRole::Admin => Ok(()),
            Change::Recall | Change::Edit { .. } if !author => Err(Denial::NotAuthor),
            Change::Recall => within(self.recall_within),
            Change::Edit { .. } => within(self.edit_within),
            Change::React { .. } | Change::Unreact { .. } => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
