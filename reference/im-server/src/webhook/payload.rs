//! What a request says.

use im_proto::ConversationKind;
use serde::Serialize;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::clock;
use crate::conversation;
use crate::hooks::Origin;
use crate::store::{ConversationKey, EntryKind, EventKind, StoredEntry};

#[derive(Serialize)]
struct Payload<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    /// When the server accepted it.
    timestamp: String,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    /// A text, since it is larger than what JSON's readers take for a whole number.
    message_id: String,
    conversation: Place<'a>,
    seq: u64,
    from: &'a str,
    #[serde(flatten)]
    origin: Sender<'a>,
    /// The seq of the message that a command is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    about: Option<u64>,
    sealed: bool,
    /// The content is gone.
    recalled: bool,
    content_type: u16,
    /// Where it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_base64: Option<String>,
}

/// What it came from: of one of the user's devices or of a backend, whose requests have device names of the server's own.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Sender<'a> {
    Device(&'a str),
    /// The name of its key.
    Service(&'a str),
}

impl<'a> From<Origin<'a>> for Sender<'a> {
    fn from(origin: Origin<'a>) -> Self {
        match origin {
            Origin::Device(device) => Self::Device(device),
            Origin::Service(key) => Self::Service(key),
        }
    }
}

/// As the sender names it.
#[derive(Serialize)]
struct Place<'a> {
    kind: &'static str,
    id: std::borrow::Cow<'a, str>,
}

fn place<'a>(from: &str, key: &'a ConversationKey) -> Place<'a> {
    let named = conversation::name(from, key).and_then(|named| {
        let kind = match named.known_kind()? {
            ConversationKind::Private => "private",
            ConversationKind::Group => "group",
            ConversationKind::Broadcast => "broadcast",
            ConversationKind::Room | ConversationKind::Notices | _ => return None,
        };
        Some(Place { kind, id: named.id.to_string().into() })
    });
    // A log that an application writes under a key of its own.
    named.unwrap_or(Place { kind: "other", id: key.as_str().into() })
}

/// The body for an entry; with `content`, what there is of it. Sealed content is for devices only.
pub(super) fn body(key: &ConversationKey, entry: &StoredEntry, content: bool) -> Result<Vec<u8>, serde_json::Error> {
    let about = match entry.kind {
        EntryKind::Recall { about }
        | EntryKind::Edit { about }
        | EntryKind::React { about }
        | EntryKind::Unreact { about } => Some(about),
        EntryKind::Message | EntryKind::Sealed => None,
    };
    let sealed = entry.kind == EntryKind::Sealed;
    let shown = (content && !sealed && !entry.recalled).then_some(entry.content.as_slice());
    let text = shown.and_then(|bytes| std::str::from_utf8(bytes).ok());
    serde_json::to_vec(&Payload {
        kind: EventKind::from(entry.kind).name(),
        timestamp: clock::format_rfc3339(entry.time_ms),
        data: Data {
            message_id: entry.message_id.to_string(),
            conversation: place(&entry.from, key),
            seq: entry.seq,
            from: &entry.from,
            origin: Origin::of(&entry.device).into(),
            about,
            sealed,
            recalled: entry.recalled,
            content_type: entry.content_type,
            content: text,
            content_base64: shown.filter(|_| text.is_none()).map(|bytes| STANDARD.encode(bytes)),
        },
    })
}
