//! The bodies of version 2, each declared once: one declaration gives the struct, its serde names and its protobuf tags.
//!
//! A field that is missing on the wire has its default (empty, zero, false), in every format; an unknown field is
//! skipped. Both let a newer peer talk to an older one.

#[macro_use]
mod declare;
mod conversation;
mod name;

use alloc::string::String;
use alloc::vec::Vec;
use core::borrow::Borrow;
use core::fmt;

use crate::class::{Class, Declared, Record};
#[cfg(any(feature = "serde", feature = "protobuf"))]
use crate::wire::{Make, Visit};

pub use conversation::{Conversation, ConversationKind};
use declare::Redacted;
pub use name::Name;

wire_struct! {
    /// What a device has of a conversation.
    Position {
        /// The conversation, as this device names it.
        1 [message] conversation: Conversation;
        /// The epoch of the log that the seqs below belong to.
        2 [uint64] epoch: u64;
        /// It has everything up to and including this seq.
        3 [uint64] seq: u64;
        /// Its application has everything up to and including this seq safe; at most `seq`.
        4 [uint64] acked: u64;
    }
}

wire_struct! {
    /// A conversation that does not continue where the device stands.
    Reload {
        /// The conversation, as this device names it.
        1 [message] conversation: Conversation;
        /// Why: 1 another epoch, 2 the position is not known, 3 the position is too old.
        2 [uint32] reason: u32;
        /// The epoch of the log now.
        3 [uint64] epoch: u64;
    }
}

bodies! {
    /// Who the client is. The first packet of a client inside the sealed channel.
    Login = 16 {
        /// The user's id.
        1 [string] user: String as "crate::text::string";
        /// The device's id, chosen by the client and stable over restarts.
        2 [string] device: String as "crate::text::string";
        /// Proof that the client is the user; what it must be is the server's policy. May be empty.
        3 [string] token: String as "crate::text::string" => redacted;
        /// How many deliveries may be unacked at once; 0 asks for none at all.
        4 [uint32] receive_max: u32;
        /// The session that the device wants to continue; 0 for none.
        5 [uint64] session: u64 as "crate::text::id";
        /// What the device has, the most recently active conversation first; at most 64.
        6 [messages] positions: Vec<Position>;
        /// How many bytes of content may be unacked at once; one delivery is always allowed. 0: as many as `receive_max` lets.
        7 [uint32] receive_bytes: u32;
    }
    /// The login was accepted.
    LoginOk = 17 {
        /// The user's id as the server knows it.
        1 [string] user: String as "crate::text::string";
        /// The server's clock, in Unix milliseconds.
        2 [uint64] server_time_ms: u64;
        /// A side that sent nothing for so many seconds sends a ping.
        3 [uint32] heartbeat_secs: u32;
        /// A side that heard nothing for so many seconds closes.
        4 [uint32] idle_secs: u32;
        /// How many messages may be sent and not yet answered.
        5 [uint32] send_max: u32;
        /// The session, to be named in later logins.
        6 [uint64] session: u64 as "crate::text::id";
        /// What becomes of the session and the positions that the login named: 0 another session, 1 recovered, 2 reload.
        7 [uint32] resume: u32;
        /// With 2: the conversations that do not continue; all others do.
        8 [messages] reload: Vec<Reload>;
    }
    /// The last packet of a side.
    Close = 18 {
        /// A close code, see the specification.
        1 [uint32] code: u32;
        /// For people: what happened and what to do.
        2 [string] reason: String as "crate::text::string";
        /// Come back not before so many milliseconds; 0 leaves it to the receiver.
        3 [uint32] retry_after_ms: u32;
    }
    /// Asks for a sign of life.
    Ping = 19 {}
    /// Answers a ping.
    Pong = 20 {}
    /// A ticket, with which a later connection of this device resumes: used once.
    Ticket = 22 {
        /// The server's own bytes, at most 512.
        1 [bytes] ticket: Vec<u8> as "crate::text::bytes";
        /// For how long it is good, in seconds.
        2 [uint32] lifetime_secs: u32;
    }
    /// The epoch of a conversation's log: all that follows of the conversation belongs to it.
    Epoch = 23 {
        /// The conversation, as the receiver names it.
        1 [message] conversation: Conversation;
        /// The epoch.
        2 [uint64] epoch: u64;
    }
    /// A message to be stored and delivered. The packet id of its header identifies it over retries.
    Send = 32 {
        /// Where to.
        1 [message] to: Conversation;
        /// What the content is: 1 text in UTF-8, 2 a reference to a file; 128 and above belong to applications.
        2 [uint32] content_type: u32;
        /// The content.
        3 [bytes] content: Vec<u8> as "crate::text::bytes";
    }
    /// The message whose packet id the header repeats is durable.
    Stored = 33 {
        /// The conversation, as the sender names it.
        1 [message] conversation: Conversation;
        /// The server's id of the message.
        2 [uint64] message_id: u64 as "crate::text::id";
        /// Its place in the conversation: dense, from 1.
        3 [uint64] seq: u64;
        /// When it was stored, in Unix milliseconds.
        4 [uint64] time_ms: u64;
        /// It was stored by an earlier try.
        5 [bool] duplicate: bool;
        /// This packet also takes the message's place in the device's own stream: the receiver counts `seq` as had.
        6 [bool] in_stream: bool;
    }
    /// The message whose packet id the header repeats was not stored.
    Refused = 34 {
        /// A refusal code, see the specification.
        1 [uint32] code: u32;
        /// For people: what happened and what to do.
        2 [string] reason: String as "crate::text::string";
        /// The same packet may be sent again later.
        3 [bool] retry: bool;
        /// With `retry`: not before so many milliseconds; 0 leaves it to the sender.
        4 [uint32] retry_after_ms: u32;
    }
    /// An entry of a conversation's log for this device: a message, a command about an earlier one, or what is left of a
    /// message that was recalled.
    Deliver = 35 {
        /// The conversation, as the receiver names it.
        1 [message] conversation: Conversation;
        /// Who sent it.
        2 [name] from: Name as "crate::text::string";
        /// The server's id of the message.
        3 [uint64] message_id: u64 as "crate::text::id";
        /// Its place in the conversation: dense, from 1.
        4 [uint64] seq: u64;
        /// When it was stored, in Unix milliseconds.
        5 [uint64] time_ms: u64;
        /// What the content is, as in `Send`.
        6 [uint32] content_type: u32;
        /// The content of a message or of an edit, the text of a reaction; otherwise empty.
        7 [bytes] content: Vec<u8> as "crate::text::bytes";
        /// What the entry is: 0 a message; the others are in the specification.
        8 [uint32] kind: u32;
        /// Which entry of the conversation a command is about, by its seq; otherwise 0.
        9 [uint64] about: u64;
    }
    /// This device has every message of the conversation up to and including `up_to`.
    Delivered = 36 {
        /// The conversation, as this device names it.
        1 [message] conversation: Conversation;
        /// The highest seq of the run without a gap.
        2 [uint64] up_to: u64;
        /// The epoch that the seq belongs to; 0 where the server named none.
        3 [uint64] epoch: u64;
    }
    /// Takes a message back: from now on nobody is sent its content. Logged in its place, like a message.
    Recall = 37 {
        /// The conversation of the message.
        1 [message] to: Conversation;
        /// Which message.
        2 [uint64] about: u64;
    }
    /// Gives a message other content. Logged in its place, like a message.
    Edit = 38 {
        /// The conversation of the message.
        1 [message] to: Conversation;
        /// Which message.
        2 [uint64] about: u64;
        /// What the content is, as in `Send`.
        3 [uint32] content_type: u32;
        /// The content.
        4 [bytes] content: Vec<u8> as "crate::text::bytes";
    }
    /// Adds a reaction to a message, or takes it away. Logged in its place, like a message.
    Reaction = 39 {
        /// The conversation of the message.
        1 [message] to: Conversation;
        /// Which message.
        2 [uint64] about: u64;
        /// The reaction: 1 to 64 bytes without control characters, an emoji as a rule.
        3 [string] text: String as "crate::text::string" => redacted;
        /// Take it away.
        4 [bool] remove: bool;
    }
    /// A message whose content is encrypted for each device of its own; the server keeps the parts apart and cannot read them.
    SendSealed = 40 {
        /// Where to.
        1 [message] to: Conversation;
        /// What the content is once it is decrypted, as in `Send`.
        2 [uint32] content_type: u32;
        /// The parts, in the layout of the specification.
        3 [bytes] parts: Vec<u8> as "crate::text::bytes";
    }
    /// The user has read the conversation up to and including `up_to`; what came later stays unread.
    Read = 48 {
        /// The conversation, as this device names it.
        1 [message] conversation: Conversation;
        /// The highest seq read.
        2 [uint64] up_to: u64;
        /// The epoch that the seq belongs to; 0 where the server named none.
        3 [uint64] epoch: u64;
    }
    /// How far a user has read a conversation.
    ReadBy = 49 {
        /// The conversation, as the receiver names it.
        1 [message] conversation: Conversation;
        /// Who read; the receiver's own user for its own position.
        2 [string] user: String as "crate::text::string";
        /// The highest seq read.
        3 [uint64] up_to: u64;
        /// The epoch of the log now, to which the seq belongs.
        4 [uint64] epoch: u64;
    }
    /// How far some device of a user has a conversation.
    DeliveredTo = 50 {
        /// The conversation, as the receiver names it.
        1 [message] conversation: Conversation;
        /// Whose device.
        2 [string] user: String as "crate::text::string";
        /// The highest seq had.
        3 [uint64] up_to: u64;
        /// The epoch of the log now, to which the seq belongs.
        4 [uint64] epoch: u64;
    }
    /// Somebody types, or stopped. Never stored.
    Typing = 56 {
        /// The conversation, as sender or receiver names it.
        1 [message] conversation: Conversation;
        /// Who; empty from a client.
        2 [string] user: String as "crate::text::string";
        /// Types; false: stopped.
        3 [bool] on: bool;
    }
    /// Whether somebody is there. Never stored.
    Presence = 57 {
        /// Whose; empty from a client.
        1 [string] user: String as "crate::text::string";
        /// 0 offline, 1 online, 2 away, 3 busy; 128 to 191 belong to applications.
        2 [uint32] state: u32;
        /// When the user was seen last, in Unix milliseconds; 0 from a client, or when it is not told.
        3 [uint64] seen_ms: u64;
    }
    /// Asks to be told of a user's presence on this connection, or not any more.
    Watch = 58 {
        /// Whose.
        1 [string] user: String as "crate::text::string";
        /// Begin; false: end.
        2 [bool] on: bool;
    }
    /// What a device says in a call. Which fields a signal has is in the specification; all others are at their default.
    CallSignal = 64 {
        /// The call.
        1 [uint64] call: u64 as "crate::text::id";
        /// Which signal.
        2 [uint32] signal: u32;
        /// The group, where a call of one begins.
        3 [string] group: String as "crate::text::string";
        /// Who is called, or the other participant.
        4 [string] user: String as "crate::text::string";
        /// 1 voice, 2 video.
        5 [uint32] media: u32;
        /// Why it failed: 1 busy, 2 equipment, 3 unreachable, 4 other.
        6 [uint32] fail: u32;
        /// The camera is on.
        7 [bool] camera: bool;
        /// The microphone is on.
        8 [bool] microphone: bool;
        /// Who is invited: names with a line feed between them.
        9 [string] users: String as "crate::text::string";
        /// An offer, answer or candidate.
        10 [bytes] payload: Vec<u8> as "crate::text::bytes";
    }
    /// The answer to the call signal whose packet id the header repeats.
    CallAnswer = 65 {
        /// The call.
        1 [uint64] call: u64 as "crate::text::id";
        /// Where the call stands: 1 ringing, 2 connected, 3 ended.
        2 [uint32] phase: u32;
        /// How it ended: 1 hung up, 2 rejected, 3 cancelled, 4 missed, 5 failed, 6 lost.
        3 [uint32] end: u32;
        /// Why it failed, as in `CallSignal`.
        4 [uint32] fail: u32;
        /// The signal was taken before.
        5 [bool] duplicate: bool;
        /// Why the signal was refused; 0: it was taken.
        6 [uint32] refusal: u32;
        /// The call that stands instead.
        7 [uint64] other: u64 as "crate::text::id";
        /// What was too long, in bytes.
        8 [uint64] len: u64;
        /// The limit, in bytes or users.
        9 [uint64] max: u64;
    }
    /// What a device is told of a call. Which fields a notice has is in the specification.
    CallNotice = 66 boxed {
        /// The call.
        1 [uint64] call: u64 as "crate::text::id";
        /// Which notice.
        2 [uint32] notice: u32;
        /// The group.
        3 [string] group: String as "crate::text::string";
        /// Whom it is about or from.
        4 [string] user: String as "crate::text::string";
        /// The device of that user.
        5 [string] device: String as "crate::text::string";
        /// 1 voice, 2 video.
        6 [uint32] media: u32;
        /// How it ended, as in `CallAnswer`.
        7 [uint32] end: u32;
        /// Why it failed, as in `CallSignal`.
        8 [uint32] fail: u32;
        /// The camera is on.
        9 [bool] camera: bool;
        /// The microphone is on.
        10 [bool] microphone: bool;
        /// Names with a line feed between them.
        11 [string] users: String as "crate::text::string";
        /// Who is the host from now on.
        12 [string] host: String as "crate::text::string";
        /// An offer, answer or candidate.
        13 [bytes] payload: Vec<u8> as "crate::text::bytes";
    }
    /// Asks to come into a room.
    RoomJoin = 72 {
        /// The room.
        1 [message] room: Conversation;
    }
    /// The connection is in the room; answers the join whose packet id the header repeats.
    RoomJoined = 73 {
        /// The room.
        1 [message] room: Conversation;
    }
    /// Leaves a room.
    RoomLeave = 74 {
        /// The room.
        1 [message] room: Conversation;
    }
    /// The connection is in the room no more: it left, or the server removed it.
    RoomLeft = 75 {
        /// The room.
        1 [message] room: Conversation;
        /// Why: 0 it left, 1 removed, 2 banned, 3 the room was closed; 128 to 191 belong to applications.
        2 [uint32] exit: u32;
        /// For people.
        3 [string] reason: String as "crate::text::string";
    }
    /// A message of a room. It is delivered once, or dropped where the reader is too slow.
    RoomMessage = 76 {
        /// The room.
        1 [message] room: Conversation;
        /// Who sent it.
        2 [name] from: Name as "crate::text::string";
        /// The server's id of the message.
        3 [uint64] message_id: u64 as "crate::text::id";
        /// When the server took it, in Unix milliseconds.
        4 [uint64] time_ms: u64;
        /// What the content is, as in `Send`.
        5 [uint32] content_type: u32;
        /// The content.
        6 [bytes] content: Vec<u8> as "crate::text::bytes";
        /// How many messages of this room were dropped since the last one that this connection got.
        7 [uint64] dropped: u64;
    }
    /// Content begins that comes piece by piece. Nothing of a stream is stored.
    StreamOpen = 80 {
        /// Names the stream on this connection, for the side that opens it.
        1 [uint64] stream: u64 as "crate::text::id";
        /// Where it belongs, as sender or receiver names it.
        2 [message] conversation: Conversation;
        /// Whose content it is; empty from a client.
        3 [name] from: Name as "crate::text::string";
        /// What the content is, as in `Send`.
        4 [uint32] content_type: u32;
    }
    /// The next piece of a stream.
    StreamDelta = 81 {
        /// Which stream.
        1 [uint64] stream: u64 as "crate::text::id";
        /// How many bytes of the stream come before this piece.
        2 [uint64] offset: u64;
        /// The piece.
        3 [bytes] content: Vec<u8> as "crate::text::bytes";
    }
    /// The end of a stream.
    StreamEnd = 82 {
        /// Which stream.
        1 [uint64] stream: u64 as "crate::text::id";
        /// How many bytes the stream had in all.
        2 [uint64] len: u64;
        /// 0 it is complete; otherwise why it is not: 1 cancelled, 2 its source was lost, 3 over a limit, 4 other.
        3 [uint32] aborted: u32;
        /// The seq of the stored message that has the whole content; 0: there is none.
        4 [uint64] seq: u64;
    }
    /// Asks the other side to do something. Answered once, by a response or a refusal with the same packet id.
    Request = 88 {
        /// What to do; a name.
        1 [string] method: String as "crate::text::string";
        /// What the content is, as in `Send`.
        2 [uint32] content_type: u32;
        /// The content.
        3 [bytes] content: Vec<u8> as "crate::text::bytes";
        /// For how many milliseconds an answer is waited for, from 1.
        4 [uint32] timeout_ms: u32;
    }
    /// The answer to the request whose packet id the header repeats.
    Response = 89 {
        /// What the content is, as in `Send`.
        1 [uint32] content_type: u32;
        /// The content.
        2 [bytes] content: Vec<u8> as "crate::text::bytes";
    }
}
