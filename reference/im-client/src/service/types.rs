//! What a service says and hears. docs/spec/api.md has the same fields.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// Where something is said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Target {
    /// To each of these users in private, at most 1000.
    Users(Vec<String>),
    /// In a group.
    Group(String),
    /// In a room: for who is in it now.
    Room(String),
    /// To everybody, in a channel of the server.
    Channel(String),
}

impl Target {
    /// These users.
    ///
    /// ```
    /// use im_client::service::Target;
    /// assert_eq!(Target::users(["alice"]), Target::Users(vec!["alice".into()]));
    /// ```
    pub fn users<'a>(users: impl IntoIterator<Item = &'a str>) -> Self {
        Self::Users(users.into_iter().map(str::to_owned).collect())
    }
}

/// What is said.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Content {
    content_type: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

impl Content {
    /// Text.
    pub fn text(text: impl Into<String>) -> Self {
        Self { content_type: im_proto::content_type::TEXT, text: Some(text.into()), base64: None }
    }

    /// Bytes of some type, up to 65535.
    pub fn bytes(content_type: u32, bytes: &[u8]) -> Self {
        Self { content_type, text: None, base64: Some(STANDARD.encode(bytes)) }
    }
}

/// Without the content.
impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Content").field("content_type", &self.content_type).finish_non_exhaustive()
    }
}

/// What became of a push.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Pushed {
    /// Of the request.
    pub id: String,
    /// In the order of the request, one for each user, or one.
    pub results: Vec<Pushing>,
}

/// What became of it at one target.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Pushing {
    /// The user, group, room or channel.
    pub target: String,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Sessions that were online there.
    pub online: u64,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// It is durable; in a room it was said.
    #[non_exhaustive]
    Stored {
        /// Its place in the conversation; 0 in a room.
        seq: u64,
        /// The server's id, a number in digits.
        message_id: String,
        /// When, in milliseconds since 1970.
        time_ms: u64,
        /// It was stored by an earlier request with this id.
        duplicate: bool,
        /// A device of the user had it already.
        delivered: bool,
    },
    /// It is not stored.
    #[non_exhaustive]
    Refused {
        /// As [`RefusalCode`](crate::RefusalCode), or from 1000 on the application's.
        refusal: u16,
        /// For people.
        reason: String,
        /// The same request may succeed later.
        retry: bool,
    },
    /// It is stored or not: the same request tells.
    Unknown,
}

impl Outcome {
    /// Whether the same request may still change it.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Unknown | Self::Refused { retry: true, .. })
    }
}

/// A message, and how far it came.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Delivery {
    /// Its place in the conversation.
    pub seq: u64,
    /// The server's id, a number in digits.
    pub message_id: String,
    /// When it was stored, in milliseconds since 1970.
    pub time_ms: u64,
    /// Whom it is from.
    pub from: String,
    /// It was taken back.
    pub recalled: bool,
    /// Whom it is for, without its author; of many a page.
    pub receivers: Vec<Receiver>,
    /// If there are more: what to ask after.
    pub next: Option<String>,
}

/// How far a message came with one user.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Receiver {
    /// Who.
    pub user: String,
    /// Some device of the user has it.
    pub delivered: bool,
    /// The user read it.
    pub read: bool,
    /// The devices that are online now.
    pub devices: Vec<DeviceDelivery>,
}

/// How far a message came with a device that is online.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct DeviceDelivery {
    /// Its name.
    pub device: String,
    /// It has the message.
    pub delivered: bool,
}

/// Whether a user is there.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Presence {
    /// Who.
    pub user: String,
    /// offline, online, away, busy, or a number of the application.
    pub state: String,
    /// The devices that are online.
    pub devices: Vec<DevicePresence>,
}

/// A device that is online.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct DevicePresence {
    /// Its name.
    pub device: String,
    /// As of the user.
    pub state: String,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
}

/// A user: whether it is there, and whether it may be.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct User {
    /// Whether it is there.
    #[serde(flatten)]
    pub presence: Presence,
    /// The ban that holds now.
    pub ban: Option<Ban>,
}

/// A ban.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Ban {
    /// For the user.
    pub reason: String,
    /// Until when, in milliseconds since 1970; without it until it is taken back.
    pub until_ms: Option<u64>,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
    /// The name of the service's key.
    pub by: String,
}

/// A user who is banned.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Banned {
    /// Who.
    pub user: String,
    /// Why and how long.
    #[serde(flatten)]
    pub ban: Ban,
}

/// A role in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberRole {
    /// One of them.
    Member,
    /// May recall what others wrote.
    Admin,
    /// May do what an admin may.
    Owner,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct GroupMember {
    /// Who.
    pub user: String,
    /// As what.
    pub role: MemberRole,
    /// May read, and not write.
    pub muted: bool,
    /// May do nothing there.
    pub banned: bool,
    /// The seq before the first message that is for this user.
    pub since: u64,
}
