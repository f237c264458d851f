//! Whether somebody may do what was submitted: the facts are looked up here, [`im_proto::rights`] decides.

use std::sync::Arc;
use std::time::Duration;

use im_proto::rights::{Action, Actor, Denial, MemberRole, Target, TargetKind};
use im_proto::{Change, Conversation, ConversationKind, RefusalCode};

use super::appender::Submitted;
use super::{Refusal, Services};
use crate::conversation;
use crate::directory::DirectoryError;
use crate::store::{EntryKind, NewEntry, Standing, StoreError};

impl Refusal {
    pub(super) fn directory(error: &DirectoryError) -> Self {
        tracing::error!(%error, "rights could not be looked up");
        Self::later("the server cannot look up who may do this: try again later")
    }

    pub(super) fn store(error: &StoreError) -> Self {
        tracing::error!(%error, "an entry could not be looked up");
        Self::later("the server's store does not answer: try again later")
    }
}

/// Decides, from facts as they are now. A denial of something that is stored already is the caller's to notice.
pub(super) async fn authorize(services: &Services, submitted: &Submitted) -> Result<(), Refusal> {
    let Submitted { to, entry } = submitted;
    let standing = match to.known_kind() {
        Some(ConversationKind::Group) => {
            let member = services.directory.member(&to.id, &entry.from).await;
            member.map_err(|error| Refusal::directory(&error))?
        }
        Some(_) | None => Some(private(services, submitted).await?),
    };
    let actor = Actor {
        user: &entry.from,
        role: standing.map(|standing| standing.role),
        muted: standing.is_some_and(|standing| standing.muted),
        banned: standing.is_some_and(|standing| standing.banned),
    };
    let decided = match entry.kind {
        EntryKind::Message | EntryKind::Sealed => services.rights.decide(&actor, &Action::Send),
        EntryKind::Recall { about } => change(services, &actor, entry, about, &Change::Recall).await?,
        // What it says does not count for who may say it.
        EntryKind::Edit { about } => {
            let edit = Change::Edit { content_type: 0, content: Vec::new() };
            change(services, &actor, entry, about, &edit).await?
        }
        EntryKind::React { about } => {
            change(services, &actor, entry, about, &Change::React { text: String::new() }).await?
        }
        EntryKind::Unreact { about } => {
            change(services, &actor, entry, about, &Change::Unreact { text: String::new() }).await?
        }
    };
    decided.map_err(|denial| Refusal::new(denial.code(), denial.to_string()))
}

type Decided = Result<(), Denial>;

const TRIMMED: &str = "the message is older than what this server keeps";

async fn change(
    services: &Services,
    actor: &Actor<'_>,
    entry: &NewEntry,
    about: u64,
    change: &Change,
) -> Result<Decided, Refusal> {
    let found = match about.checked_sub(1) {
        Some(after) => services.store.read(&entry.conversation, after, 1, 0).await,
        None => Ok(Vec::new()),
    };
    let found = match found {
        Ok(found) => found,
        // Whoever may not even ask is told that first.
        Err(StoreError::Trimmed { .. }) => {
            return match services.rights.decide(actor, &Action::Change(change, None)) {
                Err(Denial::NoTarget) => Err(Refusal::new(RefusalCode::TOO_LATE, TRIMMED)),
                decided => Ok(decided),
            };
        }
        Err(error) => return Err(Refusal::store(&error)),
    };
    let target = found.first().map(|found| Target {
        author: &found.from,
        age: Duration::from_millis(entry.time_ms.saturating_sub(found.time_ms)),
        what: match (found.kind.is_message(), found.recalled) {
            (false, _) => TargetKind::Other,
            (true, true) => TargetKind::Recalled,
            (true, false) => TargetKind::Message,
        },
    });
    Ok(services.rights.decide(actor, &Action::Change(change, target)))
}

/// Both users of a private conversation are members; whether one may write to the other is the directory's to say.
async fn private(services: &Services, submitted: &Submitted) -> Result<Standing, Refusal> {
    let Submitted { to, entry } = submitted;
    // To take back is not to say something.
    let says = !matches!(entry.kind, EntryKind::Recall { .. } | EntryKind::Unreact { .. });
    if says && let Some(other) = conversation::other(&entry.from, to) {
        may_write(services, &entry.from, other).await?;
    }
    Ok(Standing::of(MemberRole::Member))
}

/// Whether a user may send a message there; for what is not one.
pub(crate) async fn may_send(services: &Services, user: &Arc<str>, to: &Conversation) -> Result<(), Refusal> {
    let standing = if to.known_kind() == Some(ConversationKind::Group) {
        let member = services.directory.member(&to.id, user).await;
        member.map_err(|error| Refusal::directory(&error))?
    } else {
        if let Some(other) = conversation::other(user, to) {
            may_write(services, user, other).await?;
        }
        Some(Standing::of(MemberRole::Member))
    };
    let actor = Actor {
        user,
        role: standing.map(|standing| standing.role),
        muted: standing.is_some_and(|standing| standing.muted),
        banned: standing.is_some_and(|standing| standing.banned),
    };
    let decided = services.rights.decide(&actor, &Action::Send);
    decided.map_err(|denial| Refusal::new(denial.code(), denial.to_string()))
}

/// Whether a user may read what was sent there; `to` is a conversation of the user's, as the user names it.
pub(crate) async fn may_read(services: &Services, user: &str, to: &Conversation) -> Result<bool, Refusal> {
    if to.known_kind() != Some(ConversationKind::Group) {
        return Ok(true);
    }
    let member = services.directory.member(&to.id, user).await.map_err(|error| Refusal::directory(&error))?;
    Ok(member.is_some_and(|standing| !standing.banned))
}

pub(super) async fn may_write(services: &Services, user: &str, other: &str) -> Result<(), Refusal> {
    let allowed = services.directory.may_write(user, other).await;
    allowed_or(allowed, "you may not write to this user")
}

/// What a directory said, as a refusal where it was no.
pub(super) fn allowed_or(allowed: Result<bool, DirectoryError>, reason: &'static str) -> Result<(), Refusal> {
    match allowed {
        Ok(true) => Ok(()),
        Ok(false) => Err(Refusal::new(RefusalCode::FORBIDDEN, reason)),
        Err(error) => Err(Refusal::directory(&error)),
    }
}
