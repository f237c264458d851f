//! What requests and answers look like. A field that is not here is refused.

use im_proto::PresenceState;
use im_proto::rights::MemberRole;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::store::{Ban, Standing};

/// Something to say.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Push {
    /// Of this request: up to 128 bytes. The same request with the same id is done once, whatever the number of tries.
    pub(super) id: String,
    /// Whom it is from: a user, or a name that the service goes by.
    pub(super) from: String,
    pub(super) to: To,
    /// The type of the content, up to 65535. Without it text.
    pub(super) content_type: Option<u32>,
    /// The content, if it is text.
    pub(super) text: Option<String>,
    /// The content in base64, in place of `text`.
    pub(super) base64: Option<String>,
}

/// Where to say it.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum To {
    /// To each of these users in private, at most 1000.
    Users(Vec<String>),
    /// In a group, of which the sender need not be a member.
    Group(String),
    /// In a room: for who is in it now.
    Room(String),
    /// To everybody, in a channel of the server.
    Channel(String),
}

/// What became of it.
#[derive(Serialize, ToSchema)]
pub(super) struct Pushed {
    pub(super) id: String,
    /// In the order of the request, one for each user, or one.
    pub(super) results: Vec<Pushing>,
}

/// What became of it at one target.
#[derive(Serialize, ToSchema)]
pub(super) struct Pushing {
    /// The user, group, room or channel.
    pub(super) target: String,
    #[serde(flatten)]
    pub(super) outcome: Outcome,
    /// Sessions that are online there now, of the user, the group, the room or the channel.
    pub(super) online: usize,
}

/// What became of it.
#[derive(Serialize, ToSchema)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub(super) enum Outcome {
    /// It is durable; in a room it was said.
    Stored {
        /// Its place in the conversation; 0 in a room.
        seq: u64,
        /// The server's id, a number in digits.
        message_id: String,
        /// When, in milliseconds since 1970.
        time_ms: u64,
        /// It was stored by an earlier request with this id.
        duplicate: bool,
        /// A device of the user has it. Of a group or channel ask later, with the seq.
        delivered: bool,
    },
    /// It is not stored.
    Refused {
        /// The protocol's number, or from 1000 on the application's.
        refusal: u16,
        /// For people.
        reason: String,
        /// The same request, with the same id, may succeed later.
        retry: bool,
    },
    /// It is stored or not: the same request, with the same id, tells.
    Unknown,
}

/// A message, and how far it came.
#[derive(Serialize, ToSchema)]
pub(super) struct Delivery {
    pub(super) seq: u64,
    /// The server's id, a number in digits.
    pub(super) message_id: String,
    /// When it was stored, in milliseconds since 1970.
    pub(super) time_ms: u64,
    pub(super) from: String,
    /// It was taken back.
    pub(super) recalled: bool,
    /// Whom it is for, without its author.
    pub(super) receivers: Vec<Receiver>,
    /// If there are more: ask again with `after` set to this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<String>,
}

/// How far a message came with one user.
#[derive(Serialize, ToSchema)]
pub(super) struct Receiver {
    pub(super) user: String,
    /// Some device of the user has it.
    pub(super) delivered: bool,
    /// The user read it.
    pub(super) read: bool,
    /// The devices that are online now; none: the user is offline, and gets it when it comes.
    pub(super) devices: Vec<DeviceDelivery>,
}

/// How far a message came with a device that is online.
#[derive(Serialize, ToSchema)]
pub(super) struct DeviceDelivery {
    pub(super) device: String,
    /// The device has it.
    pub(super) delivered: bool,
}

/// A page of a list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Page {
    /// The last name of the page before.
    pub(super) after: Option<String>,
    /// The most items, up to 500. Without it 100.
    pub(super) limit: Option<usize>,
}

impl Page {
    pub(super) fn limit(&self) -> usize {
        self.limit.unwrap_or(super::PAGE).clamp(1, super::MAX_PAGE)
    }
}

/// A list of users.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Users {
    /// At most 1000.
    pub(super) users: Vec<String>,
}

/// Who is online.
#[derive(Serialize, ToSchema)]
pub(super) struct Presences {
    pub(super) users: Vec<Presence>,
}

/// Whether a user is there.
#[derive(Serialize, ToSchema)]
pub(super) struct Presence {
    pub(super) user: String,
    /// offline, online, away, busy, or a number of the application.
    pub(super) state: String,
    pub(super) devices: Vec<DevicePresence>,
}

/// A device that is online.
#[derive(Serialize, ToSchema)]
pub(super) struct DevicePresence {
    pub(super) device: String,
    /// As of the user.
    pub(super) state: String,
    /// Since when, in milliseconds since 1970.
    pub(super) since_ms: u64,
}

pub(super) fn state_name(state: PresenceState) -> String {
    state.name().map_or_else(|| state.0.to_string(), str::to_owned)
}

/// A user: whether it is there, and whether it may be.
#[derive(Serialize, ToSchema)]
pub(super) struct User {
    #[serde(flatten)]
    pub(super) presence: Presence,
    /// The ban that holds now.
    pub(super) ban: Option<BanInfo>,
}

/// A user who is banned.
#[derive(Serialize, ToSchema)]
pub(super) struct Banned {
    pub(super) user: String,
    #[serde(flatten)]
    pub(super) ban: BanInfo,
}

/// Those who are banned.
#[derive(Serialize, ToSchema)]
pub(super) struct BanList {
    pub(super) bans: Vec<Banned>,
    /// If there may be more: ask again with `after` set to this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<String>,
}

/// A ban.
#[derive(Serialize, ToSchema)]
pub(super) struct BanInfo {
    reason: String,
    /// Until when, in milliseconds since 1970; without it until it is taken back.
    until_ms: Option<u64>,
    /// Since when, in milliseconds since 1970.
    since_ms: u64,
    /// The name of the service's key.
    by: String,
}

impl From<Ban> for BanInfo {
    fn from(Ban { reason, until_ms, since_ms, by }: Ban) -> Self {
        Self { reason, until_ms, since_ms, by }
    }
}

/// Who has to go.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Kick {
    /// Only this device.
    pub(super) device: Option<String>,
    /// For the user, up to 256 bytes.
    pub(super) reason: String,
    /// The client may come back by itself (close code 4001). Without it, it has to be told to (4006).
    #[serde(default)]
    pub(super) may_return: bool,
}

/// What was closed.
#[derive(Serialize, ToSchema)]
pub(super) struct Kicked {
    /// Sessions that were told to go.
    pub(super) sessions: usize,
}

/// Why and how long.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewBan {
    /// For the user, up to 256 bytes.
    pub(super) reason: String,
    /// Until when, in milliseconds since 1970; without it until it is taken back.
    pub(super) until_ms: Option<u64>,
}

/// A new group.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewGroup {
    pub(super) owner: String,
}

/// A role in a group.
#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Role {
    Member,
    Admin,
    Owner,
}

impl From<MemberRole> for Role {
    fn from(role: MemberRole) -> Self {
        match role {
            MemberRole::Member => Self::Member,
            MemberRole::Admin => Self::Admin,
            MemberRole::Owner => Self::Owner,
        }
    }
}

/// What a user is in a group from now on.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewStanding {
    role: Role,
    /// May read, and not write.
    #[serde(default)]
    muted: bool,
    /// May do nothing there.
    #[serde(default)]
    banned: bool,
}

impl From<NewStanding> for Standing {
    fn from(NewStanding { role, muted, banned }: NewStanding) -> Self {
        let role = match role {
            Role::Member => MemberRole::Member,
            Role::Admin => MemberRole::Admin,
            Role::Owner => MemberRole::Owner,
        };
        Self { role, muted, banned }
    }
}

/// A member of a group.
#[derive(Serialize, ToSchema)]
pub(super) struct GroupMember {
    pub(super) user: String,
    pub(super) role: Role,
    pub(super) muted: bool,
    pub(super) banned: bool,
    /// The seq before the first message that is for this user.
    pub(super) since: u64,
}

/// Members of a group.
#[derive(Serialize, ToSchema)]
pub(super) struct MemberList {
    pub(super) members: Vec<GroupMember>,
    /// If there may be more: ask again with `after` set to this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<String>,
}
