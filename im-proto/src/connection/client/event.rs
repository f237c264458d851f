//! What a client's connection tells.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use im_crypto::ServerPublicKey;
use im_serial::body::{Conversation, Name};

use crate::call::{CallId, CallRefusal, CallState};
use crate::close::{Closed, RefusalCode};
use crate::entry::Entry;
use crate::inbox::AckToken;
use crate::link::Negotiated;
use crate::outbox::PacketId;
use crate::requests::{Request, RequestFailure};
use crate::resume::{ReloadReason, SessionAnswer};
use crate::rooms::RoomExit;
use crate::signals::PeerSignal;
use crate::streams::{StreamId, StreamOutcome};
use crate::tickets::SavedTicket;

/// An entry of a conversation that arrived: a message, a command about an earlier one, an event, or what is left of a message
/// that was recalled. In order within its conversation, and once.
#[derive(PartialEq, Eq)]
pub struct Delivery {
    /// The conversation, as this user names it.
    pub conversation: Conversation,
    /// Who sent it.
    pub from: Name,
    /// The server's id.
    pub message_id: u64,
    /// Its place in the conversation.
    pub seq: u64,
    /// The epoch of the log that the seq belongs to, 0 where epochs are not used.
    pub epoch: u64,
    /// When it was stored, in Unix milliseconds.
    pub time_ms: u64,
    /// What it is.
    pub entry: Entry,
    /// Another device of this user sent it.
    pub own: bool,
    /// Give it to [`Connection::ack`](crate::Connection::ack) when the entry is safe with the application.
    pub token: AckToken,
}

impl Delivery {
    /// Whether the application counts it as unread until the user's read position is at its seq: messages and friend requests
    /// of others only. Commands, other events and what is left of recalled messages never do.
    pub const fn counts_as_unread(&self) -> bool {
        self.entry.counts_as_unread() && !self.own
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("conversation", &self.conversation)
            .field("from", &self.from)
            .field("seq", &self.seq)
            .field("entry", &self.entry)
            .finish_non_exhaustive()
    }
}

/// What a client's connection tells.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientEvent {
    /// First use: the server holds this key, which nobody pinned. Compare it with what is known of the server, or show it to
    /// somebody who can, then answer with [`Connection::trust_server`](crate::Connection::trust_server) or [`Connection::close`](crate::Connection::close). Nothing of this client was sent.
    ServerKeySeen(ServerPublicKey),
    /// The channel is sealed and the server proved to be who the handshake says: the owner of a pinned key, or in a resumption
    /// the one who gave the ticket.
    Negotiated(Negotiated),
    /// The server accepted the login.
    LoggedIn {
        /// The user's id as the server knows it.
        user: String,
        /// The server's clock, in Unix milliseconds.
        server_time_ms: u64,
        /// Whether the session of the connection before goes on.
        session: SessionAnswer,
    },
    /// The server gave a ticket, which this connection keeps and uses. An application that wants to resume also after a restart
    /// stores it, and [adds](crate::Connection::add_ticket) it then.
    Ticket {
        /// The ticket.
        saved: SavedTicket,
        /// For how long it is good, from now on.
        lifetime: Duration,
    },
    /// A conversation does not go on where this connection stood. Deliveries go on where the server's record of this device ends,
    /// or where the log begins now. Tokens of earlier deliveries ack nothing more. Unless the reason is
    /// [`TooOld`](ReloadReason::TooOld), what was known of the conversation is worth nothing: drop what came of it, or read it again
    /// from the server.
    Reload {
        /// The conversation.
        conversation: Conversation,
        /// Why.
        reason: ReloadReason,
        /// The epoch of the log now.
        epoch: u64,
    },
    /// A message or command of this client is durable.
    Stored {
        /// The message.
        packet_id: PacketId,
        /// The conversation.
        conversation: Conversation,
        /// The server's id.
        message_id: u64,
        /// Its place in the conversation.
        seq: u64,
        /// When it was stored, in Unix milliseconds.
        time_ms: u64,
    },
    /// A message or command of this client was refused for good; it is not stored.
    Refused {
        /// The message.
        packet_id: PacketId,
        /// Why.
        code: RefusalCode,
        /// For people.
        reason: String,
    },
    /// No try is left, and at least one had no answer: the message may be stored or not.
    Unknown {
        /// The message.
        packet_id: PacketId,
    },
    /// An entry of a conversation for this device.
    Message(Delivery),
    /// A user has read a conversation up to and including `up_to`. For this client's own user it is the user's position,
    /// whichever device said it: what is not beyond it is not unread. Only ever higher than before, or of another log.
    ReadBy {
        /// The conversation.
        conversation: Conversation,
        /// Who.
        user: String,
        /// The epoch of the log that the seq belongs to, 0 where epochs are not used.
        epoch: u64,
        /// The highest seq read.
        up_to: u64,
    },
    /// A device of a user has a conversation up to and including `up_to`. Only ever higher than before, or of another log.
    DeliveredTo {
        /// The conversation.
        conversation: Conversation,
        /// Whose device.
        user: String,
        /// The epoch of the log that the seq belongs to, 0 where epochs are not used.
        epoch: u64,
        /// The highest seq had.
        up_to: u64,
    },
    /// What this device is told of others; never stored.
    Signal(PeerSignal),
    /// A signal of this client was refused, and is not sent again.
    SignalRefused {
        /// The signal.
        packet_id: PacketId,
        /// Why.
        code: RefusalCode,
        /// For people.
        reason: String,
        /// From when on the same would be taken; `None`: never.
        retry_after: Option<Duration>,
    },
    /// The server let this connection into a room.
    RoomJoined {
        /// The join.
        packet_id: PacketId,
        /// The room.
        room: Conversation,
    },
    /// The server did not let this connection into a room.
    RoomRefused {
        /// The join.
        packet_id: PacketId,
        /// The room.
        room: Conversation,
        /// Why.
        code: RefusalCode,
        /// For people.
        reason: String,
        /// From when on another answer is possible; `None`: never.
        retry_after: Option<Duration>,
    },
    /// This connection is in a room no more: it left, or the server removed it. The end of a connection ends its rooms too,
    /// without this event.
    RoomLeft {
        /// The room.
        room: Conversation,
        /// Why.
        exit: RoomExit,
        /// For people.
        reason: String,
    },
    /// A message of a room; live only, nothing of it is sent again.
    RoomMessage {
        /// The room.
        room: Conversation,
        /// Who sent it.
        from: Name,
        /// The server's id.
        message_id: u64,
        /// When the server took it, in Unix milliseconds.
        time_ms: u64,
        /// See [`crate::content_type`].
        content_type: u32,
        /// The content.
        content: Vec<u8>,
        /// How many messages of this room were dropped since the last one, because this connection was too slow.
        dropped: u64,
    },
    /// Content begins that comes piece by piece while it is made.
    StreamOpened {
        /// Names the stream until its end.
        stream: StreamId,
        /// Where it belongs.
        conversation: Conversation,
        /// Whose content it is.
        from: Name,
        /// See [`crate::content_type`].
        content_type: u32,
    },
    /// The next piece of a stream, without a hole before it.
    StreamDelta {
        /// Which stream.
        stream: StreamId,
        /// The piece.
        content: Vec<u8>,
    },
    /// A piece of the stream was missed: there are no more, only its end. Wait for the message of the log.
    StreamBroken {
        /// Which stream.
        stream: StreamId,
    },
    /// The end of a stream. The end of a connection ends its streams as lost.
    StreamEnded {
        /// Which stream.
        stream: StreamId,
        /// How.
        outcome: StreamOutcome,
    },
    /// A stream of this client is not wanted, or not any more. The end of a connection ends own streams without this event.
    StreamRefused {
        /// Which stream.
        stream: PacketId,
        /// Why.
        code: RefusalCode,
        /// For people.
        reason: String,
        /// From when on another one would be taken; `None`: never.
        retry_after: Option<Duration>,
    },
    /// The server asks for something. Answer with [`Connection::respond`](crate::Connection::respond) or [`Connection::refuse_request`](crate::Connection::refuse_request) while its time
    /// lasts; a method that nobody knows with [`RefusalCode::UNKNOWN_METHOD`](crate::RefusalCode::UNKNOWN_METHOD).
    Request {
        /// The server's id of the request.
        packet_id: PacketId,
        /// What it asks for.
        request: Request,
    },
    /// A request of this side was answered.
    Response {
        /// The request.
        packet_id: PacketId,
        /// See [`crate::content_type`].
        content_type: u32,
        /// The content.
        content: Vec<u8>,
    },
    /// A request of this side has no response.
    RequestFailed {
        /// The request.
        packet_id: PacketId,
        /// Why.
        failure: RequestFailure,
    },
    /// A call signal of this client was answered.
    CallAnswered {
        /// The signal.
        packet_id: PacketId,
        /// The call.
        call: CallId,
        /// Where the call stands, or why the signal was refused.
        result: Result<CallState, CallRefusal>,
    },
    /// The server's record of what this device has is ahead of this connection's: the messages between were acked by an
    /// earlier or another run of the device. A delivery of `next` follows.
    Gap {
        /// The conversation.
        conversation: Conversation,
        /// The last seq this connection had.
        had: u64,
        /// The seq that comes next.
        next: u64,
    },
    /// The transport's end. The connection is offline and may `connect` again.
    Closed(Closed),
}
