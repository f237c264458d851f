//! Why a connection ended, and why a message was refused: codes, reasons, and who may come back.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use im_codec::{Header, Limits, MessageType, encode_packet};

use crate::error::Error;

macro_rules! codes {
    ($(#[$doc:meta])* $name:ident { $( $(#[$cdoc:meta])* $konst:ident = $value:literal, $text:literal; )* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u16);

        impl $name {
            $( $(#[$cdoc])* pub const $konst: Self = Self($value); )*

            /// Every code of the protocol.
            pub const ALL: &[Self] = &[$( Self::$konst, )*];

            /// The name of a known code.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 { $( $value => Some($text), )* _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{} ({})", self.name().unwrap_or("unknown"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

codes! {
    /// Why a connection was closed. The numbers lie in WebSocket's private range (RFC 6455 section 7.4.2), so that the
    /// same number is the WebSocket close code.
    ///
    /// ```
    /// # use im_proto::CloseCode;
    /// assert_eq!(CloseCode::REPLACED.to_string(), "replaced (4009)");
    /// assert!(CloseCode::GOING_AWAY.may_reconnect() && !CloseCode::REPLACED.may_reconnect());
    /// ```
    CloseCode {
        /// Done; nothing is wrong.
        NORMAL = 4000, "normal";
        /// The server stops or restarts: come back later.
        GOING_AWAY = 4001, "going away";
        /// The peer broke the protocol.
        PROTOCOL = 4002, "protocol violation";
        /// The peer speaks something that this side does not: a version, suite, serialization or layout.
        UNSUPPORTED = 4003, "unsupported";
        /// A packet or content over the limit.
        TOO_LARGE = 4004, "too large";
        /// The handshake failed, or a sealed packet did not open.
        HANDSHAKE_FAILED = 4005, "handshake failed";
        /// The login was refused.
        LOGIN_REFUSED = 4006, "login refused";
        /// A packet came before the login.
        LOGIN_REQUIRED = 4007, "login required";
        /// The peer was silent, or login took too long.
        TIMEOUT = 4008, "timeout";
        /// The same device logged in again elsewhere.
        REPLACED = 4009, "replaced";
        /// A limit of the closing side was reached: come back later.
        BUSY = 4010, "busy";
        /// A fault of the closing side: come back later.
        INTERNAL = 4011, "internal error";
        /// The two sides disagree about what was delivered: come back and begin where the server's record ends.
        RESYNC = 4012, "resync";
        /// The keys of this connection were used as often as is safe: come back at once for new ones.
        KEY_LIMIT = 4013, "key limit";
        /// More devices of the user are online than the service allows, and this one had to go.
        DEVICE_LIMIT = 4014, "device limit";
    }
}

impl CloseCode {
    /// Whether a client may come back by itself. It must not where that would only fail again or throw out another
    /// connection of the same device or user.
    pub const fn may_reconnect(self) -> bool {
        !matches!(self, Self::NORMAL | Self::UNSUPPORTED | Self::LOGIN_REFUSED | Self::REPLACED | Self::DEVICE_LIMIT)
    }
}

codes! {
    /// Why a message or a command was not stored.
    ///
    /// ```
    /// # use im_proto::RefusalCode;
    /// assert_eq!(RefusalCode::CONFLICT.to_string(), "conflict (2)");
    /// ```
    RefusalCode {
        /// The target or content is not acceptable.
        INVALID = 1, "invalid";
        /// The packet id was used for another message before.
        CONFLICT = 2, "conflict";
        /// The user may not send there.
        FORBIDDEN = 3, "forbidden";
        /// The content is over the limit.
        TOO_LARGE = 4, "too large";
        /// The store did not take the message.
        STORE = 5, "not stored";
        /// There is no message that the command could be about.
        NO_TARGET = 6, "no such message";
        /// The time in which it was possible is over.
        TOO_LATE = 7, "too late";
        /// Too much in too short a time.
        OVER_BUDGET = 8, "over budget";
        /// As many as a connection may have at a time: end one first.
        TOO_MANY = 9, "too many";
        /// Nobody here does what the request asks for.
        UNKNOWN_METHOD = 10, "unknown method";
    }
}

/// Which side ended the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClosedBy {
    /// This side: by command, or because of an error.
    Local,
    /// The peer, with a close packet.
    Peer,
    /// The transport ended without a close packet.
    Transport,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Which side ended it.
    pub by: ClosedBy,
    /// The close code.
    pub code: CloseCode,
    /// For people.
    pub reason: String,
    /// Whether the peer proved to be the one the handshake authenticated. A close before that is only a hint: anybody
    /// on the path could have written it.
    pub authenticated: bool,
    /// How long a client that comes back should wait at least: a server that stops knows when it is there again.
    pub retry_after: Option<Duration>,
    /// The error that ended it, if one did.
    pub error: Option<Error>,
}

impl Closed {
    /// Whether a client may come back by itself. A close that nobody proved to have sent only delays it, and so does an error
    /// that bytes made which anybody could have written.
    pub const fn may_reconnect(&self) -> bool {
        let hearsay = matches!(self.by, ClosedBy::Peer) || self.error.is_some();
        (hearsay && !self.authenticated) || self.code.may_reconnect()
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = match self.by {
            ClosedBy::Local => "closed by this side",
            ClosedBy::Peer => "closed by the peer",
            ClosedBy::Transport => "the transport ended",
        };
        write!(f, "{by}: {}: {}", self.code, self.reason)
    }
}

/// A wait on the wire, rounded up: a peer that waits as long as it was told must not be early.
pub(crate) fn wait_millis(wait: Option<Duration>) -> u32 {
    let millis = wait.unwrap_or_default().as_nanos().div_ceil(1_000_000);
    u32::try_from(millis).unwrap_or(u32::MAX)
}

/// Longest reason on the wire, in bytes; longer ones are cut.
pub(crate) const MAX_REASON: usize = 256;

/// Cuts a reason at a character boundary.
pub(crate) fn cut_reason(mut reason: String) -> String {
    if reason.len() > MAX_REASON {
        let end = (0..=MAX_REASON).rev().find(|at| reason.is_char_boundary(*at)).unwrap_or(0);
        reason.truncate(end);
    }
    reason
}

/// Appends a close packet in the clear, as a side sends it before the channel is sealed: two bytes of code, then the
/// reason in UTF-8. A server also answers with it what is not a packet at all.
///
/// ```
/// use im_proto::{encode_plain_close, CloseCode};
/// let mut out = Vec::new();
/// encode_plain_close(CloseCode::PROTOCOL, "not a packet", &mut out);
/// assert_eq!(&out[24..26], &4002u16.to_be_bytes());
/// assert_eq!(&out[26..], b"not a packet");
/// ```
pub fn encode_plain_close(code: CloseCode, reason: &str, out: &mut Vec<u8>) {
    let reason = cut_reason(reason.into());
    let body = [&code.0.to_be_bytes(), reason.as_bytes()].concat();
    // The body is at most MAX_REASON + 2 bytes, which every limit admits.
    let _ = encode_packet(out, &Header::new(MessageType::CLOSE), &body, &Limits::default());
}

/// Reads the body of a close packet in the clear; a damaged one is still a close.
pub(crate) fn decode_plain_close(body: &[u8]) -> (CloseCode, String) {
    match body.split_first_chunk::<2>() {
        Some((code, reason)) => {
            (CloseCode(u16::from_be_bytes(*code)), cut_reason(String::from_utf8_lossy(reason).into_owned()))
        }
        None => (CloseCode::PROTOCOL, "a close packet without a code".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_close_round_trips_and_cuts_long_reasons_at_a_character() {
        let mut out = Vec::new();
        encode_plain_close(CloseCode::BUSY, &"é".repeat(300), &mut out);
        let (code, reason) = decode_plain_close(&out[24..]);
        assert_eq!(code, CloseCode::BUSY);
        assert_eq!(reason, "é".repeat(128));
        assert_eq!(decode_plain_close(&[1]).0, CloseCode::PROTOCOL);
    }
}
