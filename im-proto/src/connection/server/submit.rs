//! What a client wants stored, and what is refused at once because no store should see it.

use alloc::borrow::Cow;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use im_serial::body::{Conversation, ConversationKind, Send, SendSealed};

use super::{Server, ServerEvent, Submission};
use crate::budget::Operation;
use crate::close::RefusalCode;
use crate::config::valid_name;
use crate::entry::Command;
use crate::outbox::PacketId;
use crate::sealed::{SealedParts, SealedSubmission};
use crate::time::Instant;

pub(super) type Refusal = (RefusalCode, Cow<'static, str>);

pub(super) const fn refusal(code: RefusalCode, reason: &'static str) -> Refusal {
    (code, Cow::Borrowed(reason))
}

impl Server {
    pub(super) fn submit(&mut self, events: &mut VecDeque<ServerEvent>, now: Instant, id: u64, send: Send) {
        let Send { to, content_type, content } = send;
        if !self.admit(now, id, content.len(), check_target(&to)) {
            return;
        }
        self.unanswered = self.unanswered.saturating_add(1);
        events.push_back(ServerEvent::Message(Submission { packet_id: PacketId(id), to, content_type, content }));
    }

    pub(super) fn submit_sealed(
        &mut self,
        events: &mut VecDeque<ServerEvent>,
        now: Instant,
        id: u64,
        body: SendSealed,
    ) {
        let SendSealed { to, content_type, parts } = body;
        let bytes = parts.len();
        let checked = check_target(&to).and_then(|()| check_kept(&to)).and_then(|()| self.check_parts(parts));
        let (checked, parts) = match checked {
            Ok(parts) => (Ok(()), Some(parts)),
            Err(refusal) => (Err(refusal), None),
        };
        if self.admit(now, id, bytes, checked)
            && let Some(parts) = parts
        {
            self.unanswered = self.unanswered.saturating_add(1);
            let packet_id = PacketId(id);
            events.push_back(ServerEvent::Sealed(SealedSubmission { packet_id, to, content_type, parts }));
        }
    }

    fn check_parts(&self, parts: Vec<u8>) -> Result<SealedParts, Refusal> {
        let parts = SealedParts::from_bytes(parts).map_err(|error| (RefusalCode::INVALID, error.to_string().into()))?;
        let (max, max_part) = (self.config.sealed_parts_max, self.config.sealed_part_bytes);
        if parts.iter().count() > max as usize {
            return Err((RefusalCode::TOO_LARGE, format!("a sealed message may have {max} parts").into()));
        }
        if parts.iter().any(|part| part.content.len() > max_part) {
            return Err((
                RefusalCode::TOO_LARGE,
                format!("a part may have {max_part} bytes: send a key, and a file").into(),
            ));
        }
        Ok(parts)
    }

    pub(super) fn command(&mut self, events: &mut VecDeque<ServerEvent>, now: Instant, id: u64, command: Command) {
        let checked = check_target(&command.to).and_then(|()| check_command(&command));
        if !self.admit(now, id, command.change.len(), checked) {
            return;
        }
        self.unanswered = self.unanswered.saturating_add(1);
        events.push_back(ServerEvent::Command { packet_id: PacketId(id), command });
    }

    /// Whether it goes on to the application. What is not acceptable costs its sender as much as what is.
    fn admit(&mut self, now: Instant, id: u64, content: usize, checked: Result<(), Refusal>) -> bool {
        if let Err((code, reason)) = self.check_packet(id, content) {
            self.refuse(id, code, &reason, false);
            return false;
        }
        if !self.spend(now, id, Operation::Message { bytes: u32::try_from(content).unwrap_or(u32::MAX) }) {
            return false;
        }
        if let Err((code, reason)) = checked {
            self.refuse(id, code, &reason, false);
            return false;
        }
        true
    }

    fn check_packet(&self, id: u64, content: usize) -> Result<(), Refusal> {
        if content > self.config.max_content {
            let reason = "the content is over this server's limit: send it as a file";
            return Err(refusal(RefusalCode::TOO_LARGE, reason));
        }
        if id == 0 {
            return Err(refusal(RefusalCode::INVALID, "the packet id of a message must not be zero"));
        }
        Ok(())
    }
}

/// What a client may write to.
pub(super) fn check_target(to: &Conversation) -> Result<(), Refusal> {
    match to.known_kind() {
        Some(ConversationKind::Private | ConversationKind::Group | ConversationKind::Room) => {}
        Some(ConversationKind::Broadcast) => {
            return Err(refusal(RefusalCode::FORBIDDEN, "only the service writes to a broadcast"));
        }
        Some(ConversationKind::Notices) => {
            return Err(refusal(RefusalCode::FORBIDDEN, "only the service writes notices"));
        }
        Some(_) | None => {
            let reason = format!("conversation kind {} is not known here: 1 private, 2 group, 3 room", to.kind);
            return Err((RefusalCode::INVALID, reason.into()));
        }
    }
    if !valid_name(&to.id) {
        let reason = "the target is not a valid name: 1 to 128 bytes without control characters";
        return Err(refusal(RefusalCode::INVALID, reason));
    }
    Ok(())
}

/// A room has no log.
fn check_kept(to: &Conversation) -> Result<(), Refusal> {
    if to.known_kind() == Some(ConversationKind::Room) {
        return Err(refusal(
            RefusalCode::INVALID,
            "a room keeps no entries, and has no devices: only messages go there",
        ));
    }
    Ok(())
}

fn check_command(command: &Command) -> Result<(), Refusal> {
    check_kept(&command.to)?;
    if command.about == 0 {
        return Err(refusal(RefusalCode::INVALID, "a command must name the seq of the entry that it is about, from 1"));
    }
    if !command.change.is_valid() {
        return Err(refusal(RefusalCode::INVALID, "a reaction must be 1 to 64 bytes without control characters"));
    }
    Ok(())
}
