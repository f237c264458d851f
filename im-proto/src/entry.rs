//! What stands at a place of a conversation's log, and what a client may say about an earlier place.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use im_serial::Body;
use im_serial::body::{Conversation, Edit, Reaction, Recall};

use crate::event::{Event, EventKind};

/// Longest reaction, in bytes.
pub const MAX_REACTION: usize = 64;

/// Whether a reaction may have this text: 1 to 64 bytes, no control characters.
pub fn valid_reaction(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_REACTION && !text.chars().any(char::is_control)
}

/// What a command does with the entry that it is about.
///
/// ```
/// # use im_proto::Change;
/// assert_eq!(Change::Recall.name(), "recall");
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// Takes a message back.
    Recall,
    /// Gives a message other content.
    Edit {
        /// See [`crate::content_type`].
        content_type: u32,
        /// The content.
        content: Vec<u8>,
    },
    /// Adds a reaction.
    React {
        /// 1 to [`MAX_REACTION`] bytes without control characters.
        text: String,
    },
    /// Takes a reaction of the same user away.
    Unreact {
        /// As of [`React`](Self::React).
        text: String,
    },
}

impl Change {
    /// The name in the specification.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Recall => "recall",
            Self::Edit { .. } => "edit",
            Self::React { .. } => "react",
            Self::Unreact { .. } => "unreact",
        }
    }

    /// Length of what it carries, in bytes.
    pub(crate) const fn len(&self) -> usize {
        match self {
            Self::Recall => 0,
            Self::Edit { content, .. } => content.len(),
            Self::React { text } | Self::Unreact { text } => text.len(),
        }
    }

    /// What it allocates, in bytes.
    pub(crate) const fn allocated(&self) -> usize {
        match self {
            Self::Recall => 0,
            Self::Edit { content, .. } => content.capacity(),
            Self::React { text } | Self::Unreact { text } => text.capacity(),
        }
    }

    pub(crate) fn is_valid(&self) -> bool {
        match self {
            Self::Recall | Self::Edit { .. } => true,
            Self::React { text } | Self::Unreact { text } => valid_reaction(text),
        }
    }
}

/// Never shows content.
impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(<{} bytes>)", self.name(), self.len())
    }
}

/// A command about an earlier entry of a conversation. It has its own place in the log, like a message, is answered
/// like a message, and never counts as unread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The conversation.
    pub to: Conversation,
    /// The seq of the entry that it is about; from 1.
    pub about: u64,
    /// What it does.
    pub change: Change,
}

impl Command {
    /// Takes a message back.
    pub const fn recall(to: Conversation, about: u64) -> Self {
        Self { to, about, change: Change::Recall }
    }

    /// Gives a message another text.
    pub fn edit(to: Conversation, about: u64, text: &str) -> Self {
        let content_type = crate::content_type::TEXT;
        Self { to, about, change: Change::Edit { content_type, content: text.as_bytes().to_vec() } }
    }

    /// Adds a reaction.
    pub fn react(to: Conversation, about: u64, text: &str) -> Self {
        Self { to, about, change: Change::React { text: text.into() } }
    }

    /// Takes a reaction away.
    pub fn unreact(to: Conversation, about: u64, text: &str) -> Self {
        Self { to, about, change: Change::Unreact { text: text.into() } }
    }

    pub(crate) fn into_body(self) -> Body {
        let Self { to, about, change } = self;
        match change {
            Change::Recall => Recall { to, about }.into(),
            Change::Edit { content_type, content } => Edit { to, about, content_type, content }.into(),
            Change::React { text } => Reaction { to, about, text, remove: false }.into(),
            Change::Unreact { text } => Reaction { to, about, text, remove: true }.into(),
        }
    }
}

impl From<Recall> for Command {
    fn from(Recall { to, about }: Recall) -> Self {
        Self { to, about, change: Change::Recall }
    }
}

impl From<Edit> for Command {
    fn from(Edit { to, about, content_type, content }: Edit) -> Self {
        Self { to, about, change: Change::Edit { content_type, content } }
    }
}

impl From<Reaction> for Command {
    fn from(Reaction { to, about, text, remove }: Reaction) -> Self {
        Self { to, about, change: if remove { Change::Unreact { text } } else { Change::React { text } } }
    }
}

/// What stands at a place of a conversation's log.
///
/// ```
/// # use im_proto::Entry;
/// assert!(Entry::text("hello").is_message() && !Entry::Recalled.is_message());
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Entry {
    /// A message.
    Message {
        /// See [`crate::content_type`].
        content_type: u32,
        /// The content.
        content: Vec<u8>,
    },
    /// A command about an earlier entry.
    Command {
        /// The seq of the entry that it is about.
        about: u64,
        /// What it does.
        change: Change,
    },
    /// What is left of a message that was recalled, and of each edit of it: the place, so that the seqs stay dense, and
    /// nothing of the content.
    Recalled,
    /// What happened to a group, or between friends. Only the service writes it.
    Event(Event),
    /// A message that the sender's application encrypted for this device alone.
    Sealed {
        /// What the content is once it is decrypted.
        content_type: u32,
        /// This device's part; for the application to decrypt.
        part: Vec<u8>,
    },
    /// A message that was encrypted for other devices: this one has no part of it.
    NotForDevice {
        /// What the content is, for those who can read it.
        content_type: u32,
    },
    /// An entry of a later version of the protocol, or one that is not well formed. Its place counts all the same.
    Unknown {
        /// Its kind, as on the wire.
        kind: u32,
    },
}

/// Kinds of entries on the wire.
const MESSAGE: u32 = 0;
const RECALL: u32 = 1;
const EDIT: u32 = 2;
const REACT: u32 = 3;
const UNREACT: u32 = 4;
const RECALLED: u32 = 5;
const EVENT: u32 = 6;
const SEALED: u32 = 7;
const NOT_FOR_DEVICE: u32 = 8;

/// The wire's form of an entry.
pub(crate) struct Parts {
    pub(crate) kind: u32,
    pub(crate) about: u64,
    pub(crate) content_type: u32,
    pub(crate) content: Vec<u8>,
}

impl Entry {
    /// A text.
    pub fn text(text: &str) -> Self {
        Self::Message { content_type: crate::content_type::TEXT, content: text.as_bytes().to_vec() }
    }

    /// Whether it is a message, with its content.
    pub const fn is_message(&self) -> bool {
        matches!(self, Self::Message { .. })
    }

    /// The content of a message that is not sealed; empty for everything else.
    pub fn content(&self) -> &[u8] {
        match self {
            Self::Message { content, .. } => content,
            Self::Command { .. }
            | Self::Recalled
            | Self::Event(_)
            | Self::Sealed { .. }
            | Self::NotForDevice { .. }
            | Self::Unknown { .. } => &[],
        }
    }

    /// Whether an entry of this kind, at `at` and about `about`, holds content of the message at `seq`.
    pub(crate) const fn has_content_of(kind: u32, at: u64, about: u64, seq: u64) -> bool {
        match kind {
            MESSAGE | SEALED => at == seq,
            EDIT => about == seq,
            _ => false,
        }
    }

    pub(crate) fn into_parts(self) -> Parts {
        let parts = |kind, about, content_type, content| Parts { kind, about, content_type, content };
        match self {
            Self::Message { content_type, content } => parts(MESSAGE, 0, content_type, content),
            Self::Command { about, change } => match change {
                Change::Recall => parts(RECALL, about, 0, Vec::new()),
                Change::Edit { content_type, content } => parts(EDIT, about, content_type, content),
                Change::React { text } => parts(REACT, about, 0, text.into_bytes()),
                Change::Unreact { text } => parts(UNREACT, about, 0, text.into_bytes()),
            },
            Self::Recalled => parts(RECALLED, 0, 0, Vec::new()),
            Self::Event(event) => parts(EVENT, 0, event.kind().code(), event.to_content()),
            Self::Sealed { content_type, part } => parts(SEALED, 0, content_type, part),
            Self::NotForDevice { content_type } => parts(NOT_FOR_DEVICE, 0, content_type, Vec::new()),
            Self::Unknown { kind } => parts(kind, 0, 0, Vec::new()),
        }
    }

    /// The entry at `seq`. What does not fit is [`Unknown`](Self::Unknown) rather than an error: an entry that ended the
    /// connection would end every connection of this device from then on.
    pub(crate) fn from_parts(seq: u64, parts: Parts) -> Self {
        let Parts { kind, about, content_type, content } = parts;
        let command = |change| {
            // Commands are about the past.
            if about == 0 || about >= seq { Self::Unknown { kind } } else { Self::Command { about, change } }
        };
        let reaction = |content| String::from_utf8(content).ok().filter(|text| valid_reaction(text));
        match kind {
            MESSAGE => Self::Message { content_type, content },
            RECALL => command(Change::Recall),
            EDIT => command(Change::Edit { content_type, content }),
            REACT => reaction(content).map_or(Self::Unknown { kind }, |text| command(Change::React { text })),
            UNREACT => reaction(content).map_or(Self::Unknown { kind }, |text| command(Change::Unreact { text })),
            // Whatever content came along is dropped.
            RECALLED => Self::Recalled,
            SEALED => Self::Sealed { content_type, part: content },
            NOT_FOR_DEVICE => Self::NotForDevice { content_type },
            EVENT => Event::from_content(content_type, &content).map_or(Self::Unknown { kind }, Self::Event),
            _ => Self::Unknown { kind },
        }
    }
}

impl Entry {
    /// The same, where it may stand in such a conversation; an event that may not is unknown.
    pub(crate) fn in_conversation(self, conversation: &Conversation) -> Self {
        match (&self, conversation.known_kind()) {
            (Self::Event(event), Some(kind)) if event.kind().belongs_to(kind) => self,
            (Self::Event(_), _) => Self::Unknown { kind: EVENT },
            (_, _) => self,
        }
    }

    /// Whether it counts as unread where somebody else made it: messages, and requests that wait for an answer.
    pub(crate) const fn counts_as_unread(&self) -> bool {
        match self {
            // Read positions are the user's, so the count must not depend on what one device can read.
            Self::Message { .. } | Self::Sealed { .. } | Self::NotForDevice { .. } => true,
            Self::Event(event) => matches!(event.kind(), EventKind::FriendRequested),
            Self::Command { .. } | Self::Recalled | Self::Unknown { .. } => false,
        }
    }
}

/// Never shows content.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message { content_type, content } => {
                write!(f, "Message(type {content_type}, <{} bytes>)", content.len())
            }
            Self::Command { about, change } => write!(f, "Command({change:?} about {about})"),
            Self::Recalled => f.write_str("Recalled"),
            Self::Event(event) => write!(f, "Event({event:?})"),
            Self::Sealed { content_type, part } => write!(f, "Sealed(type {content_type}, <{} bytes>)", part.len()),
            Self::NotForDevice { content_type } => write!(f, "NotForDevice(type {content_type})"),
            Self::Unknown { kind } => write!(f, "Unknown({kind})"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::wildcard_enum_match_arm, reason = "the enums are open")]
mod tests {
    use alloc::{format, vec};

    use super::*;

    fn entries() -> Vec<Entry> {
        let changes = [
            Change::Recall,
            Change::Edit { content_type: 7, content: b"secret".to_vec() },
            Change::React { text: "👍".into() },
            Change::Unreact { text: "👍".into() },
        ];
        let commands = changes.into_iter().map(|change| Entry::Command { about: 3, change });
        let event = Event::new(EventKind::GroupRenamed, &["bob"], "secret").unwrap();
        commands
            .chain([Entry::text("secret"), Entry::Recalled, Entry::Event(event), Entry::Unknown { kind: 99 }])
            .chain([
                Entry::Sealed { content_type: 7, part: b"secret".to_vec() },
                Entry::NotForDevice { content_type: 7 },
            ])
            .collect()
    }

    #[test]
    fn every_entry_comes_back_from_the_wire_and_none_shows_its_content() {
        for entry in entries() {
            assert_eq!(Entry::from_parts(4, entry.clone().into_parts()), entry);
            assert!(!format!("{entry:?}").contains("secret") && !format!("{entry:?}").contains("👍"), "{entry:?}");
        }
    }

    #[test]
    fn what_is_left_of_a_recalled_message_has_no_content_either_way() {
        assert!(Entry::Recalled.into_parts().content.is_empty());
        let leaked = Parts { kind: RECALLED, about: 2, content_type: 1, content: b"leaked".to_vec() };
        assert_eq!(Entry::from_parts(4, leaked), Entry::Recalled);
    }

    #[test]
    fn an_entry_that_does_not_fit_is_unknown_and_no_error() {
        let parts = |kind, about, content: &[u8]| Parts { kind, about, content_type: 1, content: content.to_vec() };
        for (kind, about, content) in [
            (RECALL, 0, &b""[..]),
            (RECALL, 4, b""),
            (EDIT, u64::MAX, b"x"),
            (REACT, 1, b""),
            (REACT, 1, b"\xff"),
            (UNREACT, 1, b"a\nb"),
            (REACT, 1, &[b'x'; MAX_REACTION + 1]),
            (EVENT, 0, b"bob"),
            (9, 1, b"later"),
            (u32::MAX, 0, b""),
        ] {
            assert_eq!(Entry::from_parts(4, parts(kind, about, content)), Entry::Unknown { kind }, "{kind} {about}");
        }
    }

    #[test]
    fn every_command_comes_back_from_its_body() {
        let to = || Conversation::group("team");
        for command in [
            Command::recall(to(), 1),
            Command::edit(to(), 2, "better"),
            Command::react(to(), 3, "👍"),
            Command::unreact(to(), 4, "👍"),
        ] {
            let back = match command.clone().into_body() {
                Body::Recall(body) => vec![Command::from(body)],
                Body::Edit(body) => vec![Command::from(body)],
                Body::Reaction(body) => vec![Command::from(body)],
                _ => vec![],
            };
            assert_eq!(back, [command]);
        }
    }
}
