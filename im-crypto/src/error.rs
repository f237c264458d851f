//! What can go wrong, and whose fault it is.

use crate::{HandshakeId, SuiteId};

/// Who has to change something so that an error does not happen again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fault {
    /// The peer, or somebody between, broke the protocol. Close; do not retry on the same connection.
    PeerViolated,
    /// The peer kept to the protocol, but shares nothing usable with this side: another version or configuration.
    PeerIncompatible,
    /// This program called the library wrongly or configured it wrongly.
    CallerMisused,
    /// This side met a limit or lacks a resource.
    LocalLimit,
}

/// What to use instead of a legacy suite.
const fn replacement(legacy: SuiteId) -> &'static str {
    match legacy.0 {
        // Whoever names SM1 or SM4 may have to stay in that family.
        4 | 5 => "SM4-GCM (21), AES-128-GCM (16) or ChaCha20-Poly1305 (18)",
        _ => "AES-128-GCM (16) or ChaCha20-Poly1305 (18)",
    }
}

/// What is wrong with a list of suites or formats, or with a body limit.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum OfferProblem {
    /// No suite was listed.
    #[error("no suite is listed")]
    NoSuites,
    /// More than [`MAX_SUITES`](crate::MAX_SUITES) suites; the number that was given.
    #[error("{0} suites are listed, at most 8 are allowed")]
    TooManySuites(usize),
    /// The same suite twice.
    #[error("{0} is listed twice")]
    DuplicateSuite(SuiteId),
    /// [`SuiteId::NONE`] in the list: encryption cannot be negotiated away.
    #[error("suite 0 (no encryption) cannot be negotiated")]
    NoEncryption,
    /// One of the ids 1 to 9.
    #[error("{0} is not secure and always refused; use {instead}", instead = replacement(*.0))]
    LegacySuite(SuiteId),
    /// No serialization format was listed.
    #[error("no serialization format is listed")]
    NoFormats,
    /// More than [`MAX_FORMATS`](crate::MAX_FORMATS) formats; the number that was given.
    #[error("{0} serialization formats are listed, at most 16 are allowed")]
    TooManyFormats(usize),
    /// The same format twice.
    #[error("serialization format {0} is listed twice")]
    DuplicateFormat(u8),
    /// A body limit below [`MIN_BODY_LIMIT`](crate::MIN_BODY_LIMIT) bytes.
    #[error("a body limit of {0} bytes is too small, the least is 256")]
    BodyLimit(u32),
}

/// What is wrong with the handshakes that a side is configured for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum PolicyProblem {
    /// No full handshake is allowed: without one no session ever begins.
    #[error("no full handshake is allowed; add NK (1) or NKhfs (2)")]
    NoFullHandshake,
    /// A resumption was asked for, and none is allowed.
    #[error("no resumption is allowed; add NNpsk0 (3) or NNhfs+psk0 (4)")]
    NoResumption,
    /// The same handshake twice.
    #[error("handshake {0} is listed twice")]
    DuplicateHandshake(HandshakeId),
    /// An id that is not assigned.
    #[error("{0} cannot be allowed")]
    UnknownHandshake(HandshakeId),
    /// Post-quantum key agreement is required, and this handshake has none.
    #[error("post-quantum key agreement is required, but {0} has none")]
    NotPostQuantum(HandshakeId),
    /// The provider has no ML-KEM, which this handshake needs.
    #[error("{0} needs a crypto provider with ML-KEM-768 (feature `pq`)")]
    NoKem(HandshakeId),
    /// The handshake needs a pinned server key.
    #[error("{0} needs a pinned server key")]
    NoPin(HandshakeId),
    /// More than [`MAX_PINS`](crate::MAX_PINS) pinned keys; the number that was given.
    #[error("{0} server keys are pinned, at most 2 are allowed")]
    TooManyPins(usize),
    /// The handshake shows a static key of the client, and there is none.
    #[error("{0} needs a static key of the client's own")]
    NoOwnKey(HandshakeId),
}

/// Why a ticket was not made or stored.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TicketError {
    /// Not between 1 and [`MAX_TICKET_LIFETIME`](crate::MAX_TICKET_LIFETIME) seconds; the number that was given.
    #[error("a ticket cannot live for {0} seconds, at most for 604800 (7 days)")]
    Lifetime(u64),
    /// A field of the identity is longer than [`MAX_TICKET_FIELD`](crate::MAX_TICKET_FIELD); its length.
    #[error("a field of a ticket is {0} bytes long, at most 128 are allowed")]
    Field(usize),
    /// The ticket is empty or longer than [`MAX_TICKET`](crate::MAX_TICKET); its length.
    #[error("a ticket is {0} bytes long, 1 to 512 are allowed")]
    Length(usize),
    /// A local cryptographic operation failed.
    #[error("a local cryptographic operation failed")]
    Provider,
}

impl TicketError {
    /// Whose fault this is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Lifetime(_) | Self::Field(_) => Fault::CallerMisused,
            Self::Length(_) => Fault::PeerViolated,
            Self::Provider => Fault::LocalLimit,
        }
    }
}

/// Why a handshake did not complete. The state machine that returned it is gone; the connection has to be closed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The caller's random number generator failed.
    #[error("the random number generator failed")]
    Entropy,
    /// The local offer is not valid.
    #[error("own offer: {0}")]
    OwnOffer(OfferProblem),
    /// The local server policy is not valid.
    #[error("own policy: {0}")]
    OwnPolicy(OfferProblem),
    /// The handshakes that this side is configured for cannot work.
    #[error("own configuration: {0}")]
    OwnHandshakes(#[from] PolicyProblem),
    /// A suite is configured that the provider does not implement.
    #[error("the crypto provider has no {0}")]
    ProviderLacks(SuiteId),
    /// A local cryptographic operation failed.
    #[error("a local cryptographic operation failed")]
    Provider,
    /// The header given is not [`HEADER_LEN`](crate::HEADER_LEN) bytes long.
    #[error("the packet header is {0} bytes long instead of 24")]
    HeaderLength(usize),
    /// The body ended too early.
    #[error("the handshake packet is truncated")]
    Truncated,
    /// The body is longer than [`MAX_HANDSHAKE_BODY`](crate::MAX_HANDSHAKE_BODY).
    #[error("the handshake packet is {0} bytes long, at most 2048 are allowed")]
    TooLong(usize),
    /// The HELLO asks for a handshake that this side does not know or allow.
    #[error("the peer asks for handshake {0}, which is not allowed here")]
    UnsupportedHandshake(HandshakeId),
    /// The HELLO asks for a channel binding that this side does not know, or has no TLS connection for.
    #[error("the peer asks for channel binding type {0}, which is not available here")]
    UnsupportedBinding(u8),
    /// This server wants the handshake bound to TLS, and the client did not.
    #[error("the peer did not bind the handshake to its TLS connection, which is required here")]
    BindingRequired,
    /// The ticket in a HELLO is empty or longer than [`MAX_TICKET`](crate::MAX_TICKET); its length.
    #[error("the peer's ticket is {0} bytes long, 1 to 512 are allowed")]
    BadTicketLength(usize),
    /// The ticket is not good (any more), for whatever cause, and this server does not send a RETRY. Connect again without it.
    #[error("the ticket was refused; connect again without it")]
    TicketRefused,
    /// The cookie was not made here for this client, or is too old.
    #[error("the cookie of the second HELLO is not valid; connect again")]
    BadCookie,
    /// The RETRY is malformed.
    #[error("the RETRY is malformed")]
    BadRetry,
    /// A second RETRY on one connection.
    #[error("the server sent a second RETRY")]
    SecondRetry,
    /// The RETRY asks for a handshake that this client does not allow: a server of another configuration, or somebody who wants to
    /// weaken the connection.
    #[error("the server's RETRY asks for handshake {0}, which is not allowed here")]
    RetryHandshake(HandshakeId),
    /// The server named, or showed, a key that this client did not pin.
    #[error("the server has none of the pinned keys")]
    NotPinned,
    /// The HELLO was made for another server key.
    #[error("the peer used a server key that this server does not have (id {})", KeyIdHex(.0))]
    UnknownServerKey([u8; 8]),
    /// The peer's offer breaks a rule.
    #[error("peer's offer: {0}")]
    PeerOffer(OfferProblem),
    /// No suite is on both lists.
    #[error("no record suite in common with the peer")]
    NoCommonSuite,
    /// No serialization format is on both lists.
    #[error("no serialization format in common with the peer")]
    NoCommonFormat,
    /// The peer sent a public key of small order, which would make the shared secret public (RFC 7748 section 6.1), or bytes that
    /// are not an ML-KEM key (FIPS 203 section 7.2).
    #[error("the peer sent a weak or malformed public key")]
    WeakPublicKey,
    /// A tag did not verify: bytes were changed on the way, or the two sides do not agree on the server's key.
    #[error("the handshake does not authenticate: wrong server key, or changed on the way")]
    Authentication,
    /// The server's encrypted choice is malformed.
    #[error("the server's choice is malformed")]
    BadChoice,
    /// The server chose something that the client did not offer.
    #[error("the server chose {suite} with format {format}, which was not offered")]
    NotOffered {
        /// The suite that the server named.
        suite: SuiteId,
        /// The serialization format that the server named.
        format: u8,
    },
}

impl HandshakeError {
    /// Whose fault this is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Entropy | Self::Provider => Fault::LocalLimit,
            Self::OwnOffer(_)
            | Self::OwnPolicy(_)
            | Self::OwnHandshakes(_)
            | Self::ProviderLacks(_)
            | Self::HeaderLength(_) => Fault::CallerMisused,
            Self::UnsupportedHandshake(_)
            | Self::UnsupportedBinding(_)
            | Self::BindingRequired
            | Self::TicketRefused
            | Self::RetryHandshake(_)
            | Self::UnknownServerKey(_)
            | Self::NoCommonSuite
            | Self::NoCommonFormat => Fault::PeerIncompatible,
            Self::PeerOffer(OfferProblem::LegacySuite(_)) => Fault::PeerIncompatible,
            Self::Truncated
            | Self::BadTicketLength(_)
            | Self::BadCookie
            | Self::BadRetry
            | Self::SecondRetry
            | Self::NotPinned
            | Self::TooLong(_)
            | Self::PeerOffer(_)
            | Self::WeakPublicKey
            | Self::Authentication
            | Self::BadChoice
            | Self::NotOffered { .. } => Fault::PeerViolated,
        }
    }
}

struct KeyIdHex<'a>(&'a [u8; 8]);

impl core::fmt::Display for KeyIdHex<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// Why a packet was not sealed. The buffer and the state are as before, except after [`Failed`](Self::Failed).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The hard limit of this key is reached: 2^23 packets or 2^34 blocks of 16 bytes, or 2^32 key updates. Reconnect.
    #[error("the traffic key is used up; a new handshake is needed")]
    KeyExhausted,
    /// This direction was closed by a packet of type [`CLOSE_TYPE`](crate::CLOSE_TYPE).
    #[error("the channel is closed, nothing may follow the close packet")]
    Closed,
    /// A key update that would break the rate limit, which the peer takes for an attack. Send other packets first; see
    /// [`Sealer::may_update`](crate::Sealer::may_update) and [`DatagramSealer::update_key`](crate::DatagramSealer::update_key).
    #[error("too soon for another key update, send other packets first")]
    UpdateTooSoon,
    /// The body is not `inner type, payload, 0x80, zeros, 16 bytes of room` (see
    /// [`finish_plaintext`](crate::finish_plaintext)), or it is a key update with a payload that is none.
    #[error("the body was not finished with its padding and room for the tag")]
    Unfinished,
    /// Byte 17 of the header does not name the suite of this session.
    #[error("the header does not name the suite of this session")]
    WrongSuite,
    /// The provider failed. The sealer is unusable from here on and its key wiped; the body's content is undefined.
    #[error("a local cryptographic operation failed")]
    Failed,
}

impl SealError {
    /// Whose fault this is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::KeyExhausted | Self::Failed => Fault::LocalLimit,
            Self::Closed | Self::UpdateTooSoon | Self::Unfinished | Self::WrongSuite => Fault::CallerMisused,
        }
    }
}

/// A packet did not open. There is one error for every cause, so that nothing about the cause can leak to the peer; the opener is
/// unusable from here on and its key wiped. Close the connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[error("the packet does not authenticate")]
pub struct OpenError;

impl OpenError {
    /// Whose fault this is: always the peer's, or somebody's in between.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::PeerViolated
    }
}

/// The transport ended without the peer's close, so packets may be missing: cut by the network, or by somebody.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[error("the stream ended without a close packet, the end may be missing")]
pub struct Truncated;

impl Truncated {
    /// Whose fault this is: the peer's, or somebody's in between.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::PeerViolated
    }
}

/// Why a datagram gave nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum DatagramError {
    /// Changed, forged, repeated, or too late: one answer for all of it. Go on with the next packet and tell nobody.
    #[error("the datagram is not a new one of the peer")]
    Dropped,
    /// No more datagrams are opened: 2^20 of them did not authenticate under one key, or the peer closed. Keys are wiped.
    #[error("the datagram channel is closed")]
    Closed,
}

impl DatagramError {
    /// Whose fault this is: the peer's, or somebody's in between.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::PeerViolated
    }
}

/// Why a text is not a server public key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum KeyParseError {
    /// Not 64 characters; the number that was given, in bytes.
    #[error("a server key is 64 hex digits, this text has {0} characters")]
    Length(usize),
    /// A character that is not a lower-case hex digit; its position from 0.
    #[error("a server key is 64 lower-case hex digits, the character at position {0} is none")]
    Digit(usize),
}

impl KeyParseError {
    /// Whose fault this is: the text comes from this side's configuration.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::CallerMisused
    }
}
