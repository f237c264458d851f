//! What the log knows about the positions that a login names, so that the device goes on where it stands, or is told why not.

use std::sync::Arc;

use im_proto::{LogFacts, ResumeRequest, valid_name};

use super::Services;
use crate::auth::AuthError;
use crate::conversation;
use crate::store::{ConversationKey, StoreError};

/// Who may come in, and the facts about each position that the login named, in the same order.
pub(super) struct Accepted {
    pub(super) user: Arc<str>,
    pub(super) facts: Vec<LogFacts>,
}

impl Services {
    /// Lets in a user whose login is good, unless the user is banned. The positions are what the device itself says: they are
    /// held against the log, and whose the session is matters no more than that.
    pub(super) async fn admitted(
        &self,
        user: Arc<str>,
        device: &str,
        resume: Option<&ResumeRequest>,
    ) -> Result<Accepted, AuthError> {
        self.not_banned(&user).await?;
        let mut facts = Vec::new();
        for position in resume.iter().filter(|_| valid_name(&user)).flat_map(|resume| &resume.positions) {
            let known = match conversation::key(&user, &position.conversation) {
                Some(key) => self.facts(&user, device, &key).await,
                None => Ok(None),
            };
            let known = known.map_err(|error| AuthError::Unavailable(error.to_string()))?;
            // Without entries, and so unknown: what there is of it is not for this user to know.
            let none = LogFacts { epoch: position.epoch, oldest: 1, head: 0, acked: 0 };
            facts.push(known.unwrap_or(none));
        }
        Ok(Accepted { user, facts })
    }

    async fn facts(&self, user: &str, device: &str, key: &ConversationKey) -> Result<Option<LogFacts>, StoreError> {
        let member = self.store.member(user, key).await?.filter(|member| !member.standing.banned);
        let Some(member) = member else { return Ok(None) };
        let head = self.store.head(key).await?;
        let acked = self.store.cursor(user, device, key).await?;
        // For this user the log begins where it came in.
        let oldest = head.first.max(member.since.saturating_add(1));
        Ok(Some(LogFacts { epoch: head.epoch, oldest, head: head.seq, acked }))
    }
}
