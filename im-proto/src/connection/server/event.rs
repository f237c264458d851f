//! What a server's connection tells.

use alloc::vec::Vec;
use core::fmt;

use im_serial::body::Conversation;

use super::{LoginRequest, ResumedLogin};
use crate::close::Closed;
use crate::entry::Command;
use crate::link::{Negotiated, TicketUse};
use crate::outbox::PacketId;
use crate::requests::{Request, RequestFailure};
use crate::sealed::SealedSubmission;
use crate::signals::Signal;
use crate::streams::StreamOutcome;

/// A message that a client wants stored.
#[derive(Clone, PartialEq, Eq)]
pub struct Submission {
    /// The sender's id of the message; with user and device it identifies the message over retries.
    pub packet_id: PacketId,
    /// Where to: a valid name of a private conversation, a group or a room.
    pub to: Conversation,
    /// See [`crate::content_type`].
    pub content_type: u32,
    /// The content, within the limit.
    pub content: Vec<u8>,
}

impl fmt::Debug for Submission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submission")
            .field("packet_id", &self.packet_id)
            .field("to", &self.to)
            .field("content_type", &self.content_type)
            .field("content", &format_args!("<{} bytes>", self.content.len()))
            .finish()
    }
}

/// What a server's connection tells and asks.
#[derive(Debug, PartialEq)]
#[non_exhaustive]
pub enum ServerEvent {
    /// A client shows a good ticket. Note its use, then answer with [`Connection::ticket`](crate::Connection::ticket): whether it was fresh. Servers that
    /// share ticket keys must share what they noted.
    Ticket(TicketUse),
    /// The channel is sealed.
    Negotiated(Negotiated),
    /// Answer with [`Connection::accept_login`](crate::Connection::accept_login) or [`Connection::refuse_login`](crate::Connection::refuse_login). Nothing else is read until then.
    /// To continue the session that it names, [`Connection::resume_login`](crate::Connection::resume_login).
    Login(LoginRequest),
    /// The same for a client that came back with a ticket. Who it is, is proven; whether it may log in is asked again.
    Resumed(ResumedLogin),
    /// Store it, then answer with [`Connection::stored`](crate::Connection::stored) or [`Connection::refused`](crate::Connection::refused). Who may send where is the
    /// application's to decide; [`crate::rights`] helps.
    Message(Submission),
    /// A message whose parts are encrypted for a device each. Store it as one entry, all parts with it, and answer as for a
    /// message; what identifies it over retries covers all parts. Each device gets only its own part, see
    /// [`SealedParts::entry`](crate::SealedParts::entry).
    Sealed(SealedSubmission),
    /// A command about an earlier entry. Put it into the log at a place of its own, then answer as for a message. Who may is
    /// the application's to decide; [`crate::rights`] helps. From a recall on the places of the message and of each edit of
    /// it are [`Entry::Recalled`](crate::Entry::Recalled) for every device.
    Command {
        /// The sender's id of the command; as of a message.
        packet_id: PacketId,
        /// The command: to a private conversation or a group, well formed and within the limits.
        command: Command,
    },
    /// Answer with [`Connection::unread`](crate::Connection::unread): the conversations in which this device lacks messages.
    Unread {
        /// No more than so many.
        limit: usize,
    },
    /// Answer with [`Connection::fetched`](crate::Connection::fetched): the messages of a conversation.
    Fetch {
        /// The conversation, as this user names it.
        conversation: Conversation,
        /// After this seq; `None`: after the last one that this device acked, which the store knows.
        after: Option<u64>,
        /// No more than so many.
        max_messages: usize,
        /// Stop when so many bytes of content are there.
        max_bytes: usize,
    },
    /// This device has everything of the conversation up to `up_to`: keep that.
    Delivered {
        /// The conversation, as this user names it.
        conversation: Conversation,
        /// The last seq had. Whatever a client says: no more than the head of the log counts.
        up_to: u64,
        /// The epoch of the log that the seq belongs to, 0 where epochs are not used. An ack of another epoch counts for nothing.
        epoch: u64,
    },
    /// Something that is never stored. Typing and presence: tell whom it concerns with [`Connection::signal`](crate::Connection::signal), or refuse with
    /// [`Connection::signal_refused`](crate::Connection::signal_refused). A watch: tell the user's presence now and from now on, or refuse. A call signal: give
    /// it to [`CallServer`](crate::call::CallServer), answer with [`Connection::call_answered`](crate::Connection::call_answered), and carry out its effects.
    Signal {
        /// The sender's id of the signal.
        packet_id: PacketId,
        /// What.
        signal: Signal,
    },
    /// The client wants to come into a room. Answer with [`Connection::accept_join`](crate::Connection::accept_join) or [`Connection::refuse_join`](crate::Connection::refuse_join).
    RoomJoin {
        /// The sender's id of the join.
        packet_id: PacketId,
        /// The room; a valid name, and none that the connection is in.
        room: Conversation,
    },
    /// The connection is in a room no more: the client left, or the connection ends. Not for a room that the application took
    /// it out of.
    RoomLeft {
        /// The room.
        room: Conversation,
    },
    /// The client begins a stream. Tell those whom it concerns with [`Connection::open_stream`](crate::Connection::open_stream), under an id that is unique
    /// there, or refuse with [`Connection::refuse_stream`](crate::Connection::refuse_stream). Who may write where is the application's to decide.
    StreamOpened {
        /// Names the stream on this connection.
        stream: PacketId,
        /// Where to: a valid name of a private conversation, a group or a room.
        conversation: Conversation,
        /// See [`crate::content_type`].
        content_type: u32,
    },
    /// The next piece of a stream, without a hole before it.
    StreamDelta {
        /// Which stream.
        stream: PacketId,
        /// The piece; not empty.
        content: Vec<u8>,
    },
    /// The end of a stream of the client, also because it went over a limit, broke a rule, or the connection ended: exactly once
    /// for each that the application did not refuse.
    StreamEnded {
        /// Which stream.
        stream: PacketId,
        /// How; of a complete one the seq is 0, which the application sets if it stores the content.
        outcome: StreamOutcome,
    },
    /// The client asks for something. Answer with [`Connection::respond`](crate::Connection::respond) or [`Connection::refuse_request`](crate::Connection::refuse_request) while its time
    /// lasts; a method that nobody knows with [`RefusalCode::UNKNOWN_METHOD`](crate::RefusalCode::UNKNOWN_METHOD).
    Request {
        /// The client's id of the request.
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
    /// The user has read the conversation up to and including `up_to`: keep the highest position of the user, see
    /// [`receipts::advance`](crate::receipts::advance), and tell it with [`Connection::read_by`](crate::Connection::read_by) to every device of the
    /// user, this one included, and to whom else it concerns. A position of another epoch than the log's counts for nothing: tell
    /// this device the user's position in the log as it is, and it says the old one no more. Between two heartbeats of a connection higher than before,
    /// among the last `max_conversations` conversations of which something was read; positions cost no budget.
    Read {
        /// The conversation, as this user names it.
        conversation: Conversation,
        /// The epoch of the log that the seq belongs to, 0 where epochs are not used.
        epoch: u64,
        /// The highest seq read. Whatever a client says: no more than the head of the log counts.
        up_to: u64,
    },
    /// The end of the connection.
    Closed(Closed),
}
