//! What clients want stored, as entries for the store.

use std::sync::PoisonError;

use im_proto::{
    Change, Command, Conversation, ConversationKind, PacketId, RefusalCode, SealedSubmission, Submission, content_type,
};

use super::appender::Submitted;
use super::questions::Device;
use super::{Refusal, Services};
use crate::clock;
use crate::conversation;
use crate::store::{EntryKind, NewEntry};

/// What differs between messages, sealed messages and commands.
struct Parts {
    packet_id: PacketId,
    to: Conversation,
    digest: [u8; 32],
    kind: EntryKind,
    content_type: u32,
    content: Vec<u8>,
}

pub(super) fn message(services: &Services, device: &Device, message: Submission) -> Result<Submitted, Refusal> {
    let digest = conversation::digest(&message);
    let Submission { packet_id, to, content_type, content } = message;
    submitted(services, device, Parts { packet_id, to, digest, kind: EntryKind::Message, content_type, content })
}

pub(super) fn sealed(services: &Services, device: &Device, message: SealedSubmission) -> Result<Submitted, Refusal> {
    let digest = conversation::digest_sealed(&message);
    let SealedSubmission { packet_id, to, content_type, parts } = message;
    let content = parts.as_bytes().to_vec();
    submitted(services, device, Parts { packet_id, to, digest, kind: EntryKind::Sealed, content_type, content })
}

pub(super) fn command(
    services: &Services,
    device: &Device,
    packet_id: PacketId,
    command: Command,
) -> Result<Submitted, Refusal> {
    let Command { to, about, change } = command;
    let name = change.name();
    let (kind, content_type, content) = match change {
        Change::Recall => (EntryKind::Recall { about }, 0, Vec::new()),
        Change::Edit { content_type, content } => (EntryKind::Edit { about }, content_type, content),
        Change::React { text } => (EntryKind::React { about }, content_type::TEXT, text.into_bytes()),
        Change::Unreact { text } => (EntryKind::Unreact { about }, content_type::TEXT, text.into_bytes()),
        _ => return Err(Refusal::new(RefusalCode::INVALID, format!("this server does not know the command {name}"))),
    };
    let digest = conversation::digest_command(&to, about, name, content_type, &content);
    submitted(services, device, Parts { packet_id, to, digest, kind, content_type, content })
}

fn submitted(services: &Services, device: &Device, parts: Parts) -> Result<Submitted, Refusal> {
    let Parts { packet_id, to, digest, kind, content_type, content } = parts;
    let Some(conversation) = conversation::key(&device.user, &to) else {
        let known = matches!(to.known_kind(), Some(ConversationKind::Room));
        let reason = if known { "nothing of a room is stored" } else { "this server keeps no log of that kind" };
        return Err(Refusal::new(RefusalCode::INVALID, reason));
    };
    let Ok(content_type) = u16::try_from(content_type) else {
        return Err(Refusal::new(RefusalCode::INVALID, "the content type is over 65535"));
    };
    let (message_id, time_ms) = services.next_id()?;
    let entry = NewEntry {
        members: conversation::members(&device.user, &to),
        conversation,
        from: device.user.clone(),
        device: device.device.clone(),
        packet_id: packet_id.0,
        digest,
        message_id,
        time_ms,
        kind,
        content_type,
        content,
    };
    Ok(Submitted { to, entry })
}

impl Services {
    /// An id for a message, and the time that it was accepted at.
    pub(crate) fn next_id(&self) -> Result<(u64, u64), Refusal> {
        let time_ms = clock::unix_ms();
        let id = self.ids.lock().unwrap_or_else(PoisonError::into_inner).next(time_ms);
        let message_id = id.map_err(|error| {
            tracing::error!(%error, "messages cannot be stored");
            Refusal::later("the server's clock is wrong: try again later")
        })?;
        Ok((message_id, time_ms))
    }
}
