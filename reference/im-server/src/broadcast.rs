//! What the service says to everybody: a log that every user reads.

use std::sync::Arc;

use im_proto::{Conversation, RefusalCode, valid_name};
use sha2::{Digest, Sha256};

use crate::conversation;
use crate::hooks::service_device;
use crate::session::Services;
use crate::store::{Append, ConversationKey, EntryKind, NewEntry, StoreError};

/// What stands for the name of a service's key where the program itself says something.
const SERVER: &str = "server";

/// Why something was not said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BroadcastError {
    /// No such channel.
    #[error("there is no channel {0:?}: name it with ServerBuilder::broadcasts")]
    Channel(String),
    /// The name that it comes from, or the type of the content.
    #[error("{0}")]
    Invalid(String),
    /// The application's [`BeforeSend`](crate::BeforeSend) did not let it through.
    #[error("the broadcast was refused, {code}: {reason}")]
    Refused {
        /// As the hook says.
        code: RefusalCode,
        /// For people.
        reason: String,
    },
    /// It was not said.
    #[error("the broadcast was not stored: {0}")]
    NotStored(StoreError),
    /// It may have been said or not.
    #[error("the broadcast may be stored or not: {0}")]
    Unknown(StoreError),
}

/// The store's key of a channel; `None` for a name that is none.
pub(crate) fn key(channel: &str) -> Option<ConversationKey> {
    conversation::key("", &Conversation::broadcast(channel))
}

pub(crate) async fn say(
    services: &Services,
    channel: &str,
    from: &str,
    content_type: u32,
    content: Vec<u8>,
) -> Result<u64, BroadcastError> {
    let key = key(channel).filter(|key| services.channels.contains(key));
    let conversation = key.ok_or_else(|| BroadcastError::Channel(channel.to_owned()))?;
    if !valid_name(from) {
        return Err(BroadcastError::Invalid("the sender must have 1 to 128 bytes without control characters".into()));
    }
    let max = services.config.max_content;
    let (Ok(content_type), true) = (u16::try_from(content_type), content.len() <= max) else {
        let reason = format!("the content type may be up to 65535, and the content up to {max} bytes");
        return Err(BroadcastError::Invalid(reason));
    };
    let (message_id, time_ms) =
        services.next_id().map_err(|refusal| BroadcastError::Invalid(refusal.reason().to_owned()))?;
    let mut entry = NewEntry {
        conversation,
        members: Vec::new(),
        from: from.into(),
        device: service_device(SERVER, ""),
        // Unique, as no two messages have one id.
        packet_id: message_id,
        digest: Sha256::digest(&content).into(),
        message_id,
        time_ms,
        kind: EntryKind::Message,
        content_type,
        content,
    };
    let to = Conversation::broadcast(channel);
    if let Err(refusal) = services.review(&to, &mut entry).await {
        return Err(BroadcastError::Refused { code: refusal.code, reason: refusal.reason().to_owned() });
    }
    match services.commit(&to, entry, &Arc::default()).await {
        Append::Stored(receipt) | Append::AlreadyStored(receipt) => Ok(receipt.seq),
        // Two servers have one number.
        Append::Conflict(_) => Err(BroadcastError::Invalid("the message id is taken: say it again".into())),
        Append::NotStored(error) => Err(BroadcastError::NotStored(error)),
        Append::Unknown(error) => Err(BroadcastError::Unknown(error)),
    }
}
