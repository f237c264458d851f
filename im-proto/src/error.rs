//! What can go wrong, whose fault it is, and the close code it maps to.

use im_codec::MessageType;
use im_crypto::{HandshakeError, OpenError, SealError, TicketError};

use crate::close::CloseCode;
use crate::connection::State;
use crate::timer::Timer;

/// Who has to change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The peer broke the protocol.
    PeerViolated,
    /// The peer speaks something that this side does not.
    PeerIncompatible,
    /// The caller used the interface wrongly.
    CallerMisused,
    /// A limit of this side was reached.
    LocalLimit,
    /// The transport failed or went silent.
    Transport,
}

/// What ended a connection. Terminal and sticky: a connection fails once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are not a packet.
    #[error(transparent)]
    Packet(#[from] im_codec::DecodeError),
    /// The handshake failed.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// A sealed packet did not open.
    #[error("a sealed packet did not open: it was changed, replayed, or sealed for another session")]
    Open(OpenError),
    /// A packet could not be sealed any more.
    #[error("the keys of this connection are used up: connect again")]
    Seal(SealError),
    /// A body could not be read.
    #[error(transparent)]
    Body(#[from] im_serial::DecodeError),
    /// A packet that does not belong into this state.
    #[error("a {got} packet while {state}")]
    Unexpected {
        /// The type of the packet.
        got: MessageType,
        /// The state of this side.
        state: State,
    },
    /// A bundle that does not consist of 1 to 64 whole bodies of types that may stand in one.
    #[error("a bundle must consist of 1 to 64 whole bodies of message types from 22 on; body {at} is not one")]
    Bundle {
        /// Which body, from 0.
        at: usize,
    },
    /// A header field that a sealed session fixes has another value.
    #[error("byte {offset} of the header is {found}, but this session fixed it to {expected}")]
    HeaderField {
        /// Offset of the field's first byte in the header.
        offset: u8,
        /// The value found.
        found: u32,
        /// The value that it must have.
        expected: u32,
    },
    /// A name (user, device, conversation) that is empty, too long or has control characters.
    #[error("the {field} is not a valid name: 1 to 128 bytes without control characters")]
    Name {
        /// Which name.
        field: &'static str,
    },
    /// A login with a ticket that was given to somebody else.
    #[error("the {field} of the login is not the one that the ticket was given to")]
    Identity {
        /// Which name.
        field: &'static str,
    },
    /// A ticket that no client can use.
    #[error(transparent)]
    Ticket(#[from] TicketError),
    /// A login that names more conversations than any may.
    #[error("a login names {count} conversations, at most 64 are allowed")]
    Positions {
        /// How many it names.
        count: usize,
    },
    /// A conversation of a kind that this packet may not name.
    #[error(
        "a conversation of kind {kind} has no positions: private (1), group (2), broadcast (4) and notices (5) have"
    )]
    ConversationKind {
        /// The kind.
        kind: u32,
    },
    /// The peer had more deliveries in flight than this side allows.
    #[error("more than {max} deliveries are unacked, which is the limit that the login named")]
    ReceiveMax {
        /// The limit.
        max: u32,
    },
    /// The peer had more bytes of content in flight than this side allows.
    #[error("more than {max} bytes of content are unacked, which is the limit that the login named")]
    ReceiveBytes {
        /// The limit.
        max: u32,
    },
    /// A delivery left out part of a conversation.
    #[error("a delivery jumped from seq {had} to {got}")]
    Gap {
        /// The last seq had.
        had: u64,
        /// The seq that came.
        got: u64,
    },
    /// More conversations than this side keeps track of.
    #[error("more than {max} conversations: raise max_conversations")]
    TooManyConversations {
        /// The limit.
        max: u32,
    },
    /// The peer accepts only bodies that are too small for the content of this service.
    #[error("the peer accepts bodies of {max_body} bytes, too small for messages of {max_content} bytes")]
    PeerLimit {
        /// What the peer accepts, in bytes.
        max_body: u32,
        /// Largest content here, in bytes.
        max_content: u32,
    },
    /// A timer ran out.
    #[error("{}", timeout_text(*.0))]
    Timeout(Timer),
    /// The transport ended without a close packet, so that bytes may be missing.
    #[error("the transport ended without a close packet")]
    Truncated,
}

const fn timeout_text(timer: Timer) -> &'static str {
    match timer {
        Timer::Login => "handshake and login took too long",
        Timer::Idle => "the peer was silent for too long",
        Timer::Linger => "the peer did not take the close packet",
        Timer::Ping | Timer::Retry => "a timer ran out",
    }
}

impl Error {
    /// Whose fault it is.
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Packet(error) => match error.fault() {
                im_codec::Fault::PeerViolated => Fault::PeerViolated,
                im_codec::Fault::PeerIncompatible => Fault::PeerIncompatible,
                im_codec::Fault::CallerMisused => Fault::CallerMisused,
                im_codec::Fault::LocalLimit => Fault::LocalLimit,
            },
            Self::Handshake(error) => match error.fault() {
                im_crypto::Fault::PeerViolated => Fault::PeerViolated,
                im_crypto::Fault::PeerIncompatible => Fault::PeerIncompatible,
                im_crypto::Fault::CallerMisused => Fault::CallerMisused,
                im_crypto::Fault::LocalLimit => Fault::LocalLimit,
            },
            Self::Open(_)
            | Self::Body(_)
            | Self::Unexpected { .. }
            | Self::Bundle { .. }
            | Self::HeaderField { .. }
            | Self::Name { .. }
            | Self::Identity { .. }
            | Self::Ticket(_)
            | Self::Positions { .. }
            | Self::ConversationKind { .. }
            | Self::ReceiveMax { .. }
            | Self::ReceiveBytes { .. }
            | Self::Gap { .. } => Fault::PeerViolated,
            Self::PeerLimit { .. } => Fault::PeerIncompatible,
            Self::Seal(_) | Self::TooManyConversations { .. } => Fault::LocalLimit,
            Self::Timeout(_) | Self::Truncated => Fault::Transport,
        }
    }

    /// The close code that tells the peer. Total: every error has one.
    pub const fn close_code(&self) -> CloseCode {
        match self {
            Self::Packet(im_codec::DecodeError::BodyTooLarge { .. }) => CloseCode::TOO_LARGE,
            Self::Packet(error) => match error.fault() {
                im_codec::Fault::PeerIncompatible => CloseCode::UNSUPPORTED,
                im_codec::Fault::PeerViolated | im_codec::Fault::CallerMisused | im_codec::Fault::LocalLimit => {
                    CloseCode::PROTOCOL
                }
            },
            // Without the ticket the same client is welcome.
            Self::Handshake(HandshakeError::TicketRefused) => CloseCode::HANDSHAKE_FAILED,
            Self::Handshake(error) => match error.fault() {
                im_crypto::Fault::PeerIncompatible => CloseCode::UNSUPPORTED,
                im_crypto::Fault::LocalLimit => CloseCode::BUSY,
                im_crypto::Fault::PeerViolated => CloseCode::HANDSHAKE_FAILED,
                im_crypto::Fault::CallerMisused => CloseCode::INTERNAL,
            },
            Self::Open(_) => CloseCode::HANDSHAKE_FAILED,
            Self::Seal(_) => CloseCode::KEY_LIMIT,
            Self::Unexpected { state: State::LoggingIn, .. } => CloseCode::LOGIN_REQUIRED,
            Self::Body(_)
            | Self::Unexpected { .. }
            | Self::Bundle { .. }
            | Self::HeaderField { .. }
            | Self::Name { .. }
            | Self::Identity { .. }
            | Self::Ticket(_)
            | Self::Positions { .. }
            | Self::ConversationKind { .. }
            | Self::ReceiveMax { .. }
            | Self::ReceiveBytes { .. } => CloseCode::PROTOCOL,
            Self::PeerLimit { .. } => CloseCode::UNSUPPORTED,
            Self::Gap { .. } => CloseCode::RESYNC,
            Self::TooManyConversations { .. } => CloseCode::BUSY,
            Self::Timeout(_) => CloseCode::TIMEOUT,
            Self::Truncated => CloseCode::GOING_AWAY,
        }
    }
}

/// Why a message was not taken; it comes back.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError<M> {
    /// The outbox is full: wait for an answer to an earlier message.
    #[error("the outbox is full: wait for an answer to an earlier message")]
    Blocked(M),
    /// The content is over the limit.
    #[error("the content is over the limit of {max} bytes: send it as a file")]
    TooLarge {
        /// The message.
        message: M,
        /// The limit, in bytes.
        max: usize,
    },
    /// The target is not a valid conversation.
    #[error("the target is not a valid conversation: 1 to 128 bytes without control characters")]
    InvalidTarget(M),
    /// The command is about no entry, or its reaction is not a valid one.
    #[error("the command is about no entry, or its reaction is not 1 to 64 bytes without control characters")]
    InvalidCommand(M),
}

/// Why a read position was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// A room, an unknown kind, or a name that is not valid.
    #[error("the conversation has no read position: it is a room, of an unknown kind, or its name is not valid")]
    NoPositions,
    /// As many positions as are kept wait for the server.
    #[error("the server did not take earlier read positions yet: say it again later")]
    Full,
}

/// Why a signal was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignalError {
    /// There is no login: signals are not kept for later.
    #[error("not logged in: signals are not kept for later")]
    Offline,
    /// A name, state, conversation or call id that no server takes.
    #[error("the signal names something that is not valid")]
    Invalid,
    /// The payload does not fit into a packet.
    #[error("the signal has {len} bytes, which do not fit into a packet")]
    TooLarge {
        /// Its length, in bytes.
        len: usize,
    },
}

/// Why a client's wish about a room was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RoomError {
    /// There is no login: rooms are not kept for later.
    #[error("not logged in: join again after the login")]
    Offline,
    /// It is no room, or its name is not valid.
    #[error("this is no room, or its name is not valid")]
    Invalid,
    /// The connection is in the room, or joins or leaves it just now.
    #[error("the connection is in the room, or joins or leaves it just now")]
    UnderWay,
    /// The connection is not in the room, or leaves it just now.
    #[error("the connection is not in the room")]
    NotIn,
    /// As many rooms as the settings allow.
    #[error("the connection is in {max} rooms: leave one first")]
    TooMany {
        /// The limit.
        max: usize,
    },
}

/// Why a request was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// There is no login: requests are not kept for later.
    #[error("not logged in: requests are not kept for later")]
    Offline,
    /// The method is not a valid name, or there is less than a millisecond for it.
    #[error("the method is not a valid name, or there is less than a millisecond for it")]
    Invalid,
    /// The content is over the limit.
    #[error("the content has {len} bytes, over the limit of {max}")]
    TooLarge {
        /// Its length, in bytes.
        len: usize,
        /// The limit, in bytes.
        max: usize,
    },
    /// As many requests as the settings allow have no answer.
    #[error("{max} requests have no answer yet: wait for one")]
    TooMany {
        /// The limit.
        max: usize,
    },
    /// As many bytes as the settings allow wait for transmission.
    #[error("earlier requests wait to be transmitted: try again later")]
    Blocked,
}

/// Why something of a stream was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// There is no login: streams are not kept for later.
    #[error("not logged in: streams are not kept for later")]
    Offline,
    /// The id is zero, or a name is not valid.
    #[error("the id of the stream is zero, or a name is not valid")]
    Invalid,
    /// The id names a stream that is open.
    #[error("the id names a stream that is open")]
    InUse,
    /// There is no such stream, or it ended.
    #[error("the stream is not open")]
    NotOpen,
    /// As many streams as the settings allow.
    #[error("{max} streams are open: end one first")]
    TooMany {
        /// The limit.
        max: usize,
    },
    /// As many bytes wait as the settings allow.
    #[error("earlier pieces wait to be transmitted: try again later")]
    Blocked,
}

/// Why a room message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PostError {
    /// It is for no room, or a name is not valid.
    #[error("this is no room, or a name is not valid")]
    Invalid,
    /// The connection is not in the room.
    #[error("the connection is not in the room")]
    NotIn,
    /// The content is over the limit.
    #[error("the content has {len} bytes, over the limit of {max}")]
    TooLarge {
        /// Its length, in bytes.
        len: usize,
        /// The limit, in bytes.
        max: usize,
    },
}

/// Why a server's answer was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// The connection is not (or no longer) in a state for it; forget the answer.
    #[error("the connection is {0}, there is nobody to tell")]
    State(State),
    /// There is no open question that it answers.
    #[error("nothing was asked that this answers")]
    NotAsked,
    /// The content of the answer is over the limit.
    #[error("the answer has {len} bytes, over the limit of {max}")]
    TooLarge {
        /// Its length, in bytes.
        len: usize,
        /// The limit, in bytes.
        max: usize,
    },
    /// The messages are of another log than those before: close the connection with
    /// [`RESYNC`](crate::CloseCode::RESYNC), so that the device comes back and is told.
    #[error("messages of epoch {got} were given where epoch {expected} had begun")]
    OtherEpoch {
        /// The epoch of what was sent before.
        expected: u64,
        /// The epoch given.
        got: u64,
    },
    /// The messages of a delivery do not continue where the question said.
    #[error("seq {got} was given where {expected} had to follow")]
    NotDense {
        /// The seq that had to follow.
        expected: u64,
        /// The seq given.
        got: u64,
    },
}

/// Why a ticket was not issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// Nobody is logged in.
    #[error("the connection is {0}: tickets are for a client that is logged in")]
    State(State),
    /// As many tickets as may wait are waiting to be transmitted.
    #[error("tickets wait to be transmitted: try again later")]
    Blocked,
    /// It could not be made.
    #[error(transparent)]
    Ticket(#[from] TicketError),
}

/// Why a connection was not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The handshake could not be begun.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// A connection is under way.
    #[error("the connection is {0}; wait until it is closed")]
    Busy(State),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_small() {
        assert!(size_of::<Error>() <= 48, "{}", size_of::<Error>());
    }
}
