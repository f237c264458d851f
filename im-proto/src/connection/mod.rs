//! The state machine of one connection, driven by the caller.

mod client;
mod requests;
mod server;
mod turns;

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use im_codec::{DecodeError, Framing, HEADER_LEN, Header, Limits, MessageType, Version, frame_len};
use im_crypto::KeyUpdate;
use im_serial::Body;
use im_serial::body::{Close, Ping, Pong};

use crate::close::{CloseCode, Closed, ClosedBy, cut_reason, decode_plain_close, encode_plain_close, wait_millis};
use crate::error::{Error, Fault};
use crate::keepalive::Keepalive;
use crate::link::bundle::{self, Item};
use crate::link::{Draft, Incoming, Link, MIN_SEALED, NotWritten, Opened};
use crate::outbox::PacketId;
use crate::requests::{RequestEvent, Requests};
use crate::time::Instant;
use crate::timer::{Timer, Timers};

pub use client::{Client, ClientEvent, Delivery};
pub(crate) use server::Live;
pub use server::{LoginRequest, ResumedLogin, Server, ServerEvent, Submission};

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// A client without a transport.
    Offline,
    /// The handshake is under way.
    Handshaking,
    /// The channel is sealed; who the client is is not settled yet.
    LoggingIn,
    /// Messages flow.
    Online,
    /// A close packet waits to be transmitted.
    Closing,
    /// Over.
    Closed,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Offline => "offline",
            Self::Handshaking => "in the handshake",
            Self::LoggingIn => "not logged in",
            Self::Online => "online",
            Self::Closing => "closing",
            Self::Closed => "closed",
        })
    }
}

/// What [`Connection::poll_transmit`] appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the bytes are sealed and must be sent"]
pub struct Transmit {
    /// Length of the packet, in bytes.
    pub len: usize,
}

/// What a connection counted since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Packets that came in whole.
    pub packets_in: u64,
    /// Packets transmitted.
    pub packets_out: u64,
    /// Bytes of whole packets in.
    pub bytes_in: u64,
    /// Bytes transmitted.
    pub bytes_out: u64,
    /// Deliveries dropped because they were had before.
    pub duplicates: u64,
    /// Messages transmitted again.
    pub retries: u64,
    /// Pings transmitted.
    pub pings: u64,
    /// Receipts that were dropped because too many waited.
    pub dropped_receipts: u64,
    /// Signals that were dropped because too many waited, or the connection ended.
    pub dropped_signals: u64,
    /// Room messages that were dropped because too many waited.
    pub dropped_room_messages: u64,
    /// Streams that were broken off because the reader was too slow (server), or of which a piece or all was missed (client).
    pub broken_streams: u64,
    /// Pieces of streams that were dropped because nobody knows the stream.
    pub dropped_deltas: u64,
    /// Answers to requests that nobody waited for, or not any more.
    pub late_responses: u64,
    /// Times that this side changed its key within a connection.
    pub key_updates: u64,
}

/// The role of this side: [`Client`] or [`Server`].
pub trait Role: Machine {}

impl<T: Machine> Role for T {}

pub(crate) mod machine {
    //! What differs between the roles. Not nameable outside of this crate, so nobody else can be a role.
    use super::*;

    /// What a machine offers to transmit.
    pub(crate) type Offer<'a> = (u64, Cow<'a, Body>);

    /// The role's part of a connection.
    pub trait Machine: Sized {
        /// What it tells the caller.
        type Event;
        #[doc(hidden)]
        fn closed_event(closed: Closed) -> Self::Event;
        #[doc(hidden)]
        fn request_event(event: RequestEvent) -> Self::Event;
        #[doc(hidden)]
        fn requests(&mut self) -> &mut Requests;
        /// A packet id that no other packet of this side has.
        #[doc(hidden)]
        fn request_id(&mut self) -> PacketId;
        /// The largest content, in bytes.
        #[doc(hidden)]
        fn max_content(&self) -> usize;
        /// A packet of the handshake. What it opened, if it did.
        #[doc(hidden)]
        fn on_hello(
            &mut self,
            core: &mut Core,
            events: &mut VecDeque<Self::Event>,
            header: &[u8; HEADER_LEN],
            body: &mut [u8],
            now: Instant,
        ) -> Result<Option<Opened>, Error>;
        #[doc(hidden)]
        fn on_open(&mut self, core: &mut Core, events: &mut VecDeque<Self::Event>, opened: Opened)
        -> Result<(), Error>;
        #[doc(hidden)]
        fn on_body(
            &mut self,
            core: &mut Core,
            events: &mut VecDeque<Self::Event>,
            now: Instant,
            id: u64,
            body: Body,
        ) -> Result<(), Error>;
        /// Whether more input may be taken now.
        #[doc(hidden)]
        fn accepts_input(&self, core: &Core) -> bool;
        /// Answers and acks: they go before a close.
        #[doc(hidden)]
        fn next_answer(&self, state: State) -> Option<Offer<'_>>;
        #[doc(hidden)]
        fn answer_sent(&mut self);
        /// Messages: they go last.
        #[doc(hidden)]
        fn next_message(&self, state: State, now: Instant) -> Option<Offer<'_>>;
        #[doc(hidden)]
        fn message_sent(&mut self, core: &mut Core, id: u64, now: Instant);
        /// A message does not fit into what the peer accepts.
        #[doc(hidden)]
        fn message_too_large(&mut self, core: &mut Core, events: &mut VecDeque<Self::Event>, id: u64);
        /// Events that follow from the machine's state rather than from one packet.
        #[doc(hidden)]
        fn produce(&mut self, core: &Core) -> Option<Self::Event>;
        #[doc(hidden)]
        fn on_retry_timer(&mut self, core: &mut Core, events: &mut VecDeque<Self::Event>, now: Instant);
        /// The next moment for [`Timer::Retry`].
        #[doc(hidden)]
        fn retry_at(&self, now: Instant) -> Option<Instant>;
        /// Whether this side pings.
        #[doc(hidden)]
        const PINGS: bool;
        #[doc(hidden)]
        fn on_closed(&mut self, events: &mut VecDeque<Self::Event>, closed: &Closed);
        /// Gives back the memory of queues that were longer once.
        #[doc(hidden)]
        fn rest(&mut self);
        /// The state after the end of a transport.
        #[doc(hidden)]
        const AFTER: State;
    }

    /// What the roles share.
    pub struct Core {
        pub(crate) state: State,
        pub(crate) link: Link,
        pub(crate) limits: Limits,
        pub(crate) timers: Timers,
        pub(crate) keepalive: Option<Keepalive>,
        /// A whole packet in the clear that waits for transmission: hello, reply or close.
        pub(crate) clear: Vec<u8>,
        pub(crate) ping_due: bool,
        pub(crate) pong_due: bool,
        pub(crate) closing: Option<Box<Closing>>,
        pub(crate) stats: Stats,
    }

    pub(crate) struct Closing {
        pub(crate) closed: Closed,
        pub(crate) body: Body,
        /// It stands in `clear` already.
        pub(crate) in_clear: bool,
    }
}

use machine::{Closing, Core, Machine};

/// Where the header says the version.
const VERSION_AT: u8 = 3;

/// One peer's protocol, without I/O: bytes and time go in, bytes and events come out.
///
/// # The driving contract
///
/// | family | methods | when |
/// |---|---|---|
/// | bytes in | [`handle_input`](Self::handle_input), [`handle_eof`](Self::handle_eof) | the transport has bytes, or ended |
/// | time in | [`handle_timeout`](Self::handle_timeout) | the moment of [`poll_timeout`](Self::poll_timeout) came |
/// | commands | `connect`, `send`, `command`, `read`, `signal`, `join_room`, `open_stream`, `request`, `ack`; `accept_login`, `stored`, `fetched`, ...; [`close`](Self::close) | any time |
/// | events out | [`poll_event`](Self::poll_event) | after any of the above, until `None` |
/// | bytes out | [`poll_transmit`](Self::poll_transmit) | after any of the above, until `None` |
/// | time out | [`poll_timeout`](Self::poll_timeout) | before waiting |
///
/// - Any order is safe. While events wait, `handle_input` takes nothing more (it returns 0), so a caller that forgets to
///   poll stalls its peer and nothing else.
/// - `handle_input` consumes at most one packet from the front of the caller's buffer, opens it in place, and says how
///   many bytes it took; 0 means that more bytes, a polled event or an answer are needed first.
/// - `poll_transmit` appends one whole packet and never more than `max` bytes; a packet that was sealed must be sent, and
///   in order. On WebSocket it is one binary message.
/// - Time is [`Instant`], given by the caller. After `handle_timeout(now)` the next timeout is `None` or later than
///   `now`. A clock that jumps closes early or late, and does nothing else.
/// - An error is final: the connection queues a close packet with the error's code, and [`Closed`] is the last event.
///
/// # A complete loop
///
/// Both ends in memory. With sockets the two `Vec`s become reads and writes; see the examples of this crate.
///
/// ```
/// use std::sync::Arc;
/// use im_proto::*;
/// # struct Rng(u8);
/// # impl rand_core::TryRng for Rng {
/// #     type Error = core::convert::Infallible;
/// #     fn try_next_u32(&mut self) -> Result<u32, Self::Error> { Ok(7) }
/// #     fn try_next_u64(&mut self) -> Result<u64, Self::Error> { Ok(7) }
/// #     fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), Self::Error> { for b in to { self.0 = self.0.wrapping_add(101); *b = self.0; } Ok(()) }
/// # }
/// # impl rand_core::TryCryptoRng for Rng {}
/// # let mut rng = Rng(0); // a program gives its operating system's generator
/// let now = Instant::from_micros(0);
/// let key = ServerKey::generate(&RUSTCRYPTO, Entropy::from_rng(&mut rng)?)?;
/// let alice = Credentials { user: "alice".into(), device: "phone".into(), token: String::new() };
/// let mut client = Connection::client(ClientConfig::new(&RUSTCRYPTO, key.public(), alice), 1)?;
/// let config = Arc::new(ServerConfig::new(&RUSTCRYPTO, key));
/// let mut server = Connection::server(config, Entropy::from_rng(&mut rng)?, now)?;
///
/// client.connect(Entropy::from_rng(&mut rng)?, now)?;
/// let id = client.send(now, Message::text("bob", "hello")).unwrap();
/// let (mut up, mut down) = (Vec::new(), Vec::new());
/// let mut stored = None;
/// while stored.is_none() {
///     while client.poll_transmit(now, &mut up, 65536).is_some() {}
///     loop {
///         let taken = server.handle_input(now, &mut up);
///         up.drain(..taken);
///         while let Some(event) = server.poll_event() {
///             match event {
///                 ServerEvent::Login(login) => server.accept_login(now, &login.user, 1_700_000_000_000)?,
///                 ServerEvent::Message(message) => { // store it, then:
///                     server.stored(message.packet_id, &message.to, 1, 1, 1_700_000_000_000, false)?
///                 }
///                 ServerEvent::Unread { .. } => server.unread(&[], true)?,
///                 ServerEvent::Fetch { conversation, .. } => server.fetched(&conversation, 0, Vec::new())?,
///                 _ => {}
///             }
///         }
///         if taken == 0 { break }
///     }
///     while server.poll_transmit(now, &mut down, 65536).is_some() {}
///     loop {
///         let taken = client.handle_input(now, &mut down);
///         down.drain(..taken);
///         while let Some(event) = client.poll_event() {
///             if let ClientEvent::Stored { packet_id, seq, .. } = event { stored = Some((packet_id, seq)) }
///         }
///         if taken == 0 { break }
///     }
/// }
/// assert_eq!(stored, Some((id, 1)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Connection<R: Role> {
    core: Core,
    role: R,
    events: VecDeque<R::Event>,
}

impl<R: Role> Connection<R> {
    fn new(role: R, state: State, link: Link, max_body: u32) -> Self {
        let core = Core {
            state,
            link,
            limits: Limits::new(max_body),
            timers: Timers::default(),
            keepalive: None,
            clear: Vec::new(),
            ping_due: false,
            pong_due: false,
            closing: None,
            stats: Stats::default(),
        };
        Self { core, role, events: VecDeque::new() }
    }

    /// Takes at most one packet from the front of `input` and returns how many bytes it took. It returns 0 when more
    /// bytes are needed, when an event waits to be polled, or when an answer is due first (a login to accept, too many
    /// messages unanswered). After the end of the connection it takes and drops everything.
    pub fn handle_input(&mut self, now: Instant, input: &mut [u8]) -> usize {
        if matches!(self.core.state, State::Closing | State::Closed | State::Offline) {
            return input.len();
        }
        if !self.wants_read() {
            return 0;
        }
        let total = match frame_len(input, &self.core.limits) {
            Ok(Framing::Need(_)) => return 0,
            Ok(Framing::Complete(total)) => total,
            Err(error) => {
                let error = self.framing_error(input, error);
                self.fail(now, error);
                return input.len();
            }
        };
        let Some(packet) = input.get_mut(..total) else { return 0 };
        self.core.stats.packets_in += 1;
        self.core.stats.bytes_in += total as u64;
        if let Err(error) = self.packet(now, packet) {
            self.fail(now, error);
        }
        self.after_change(now);
        total
    }

    /// What speaks another version on a sealed channel, where the version is settled, is a damaged packet and no other peer.
    fn framing_error(&self, input: &[u8], error: DecodeError) -> Error {
        let sealed = matches!(self.core.link, Link::Open(_));
        let (Ok(offset), Some(found)) = (u8::try_from(error.offset()), input.get(error.offset())) else {
            return error.into();
        };
        if !sealed || error.fault() != im_codec::Fault::PeerIncompatible {
            return error.into();
        }
        let expected = if offset == VERSION_AT { u32::from(Version::V2.0) } else { 0 };
        Error::HeaderField { offset, found: u32::from(*found), expected }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the role matches what is left")]
    fn packet(&mut self, now: Instant, packet: &mut [u8]) -> Result<(), Error> {
        if let Some(keepalive) = &mut self.core.keepalive {
            keepalive.received(now);
        }
        let state = self.core.state;
        let Link::Open(channel) = &mut self.core.link else {
            return self.clear_packet(now, packet);
        };
        let incoming = channel.read(packet, state)?;
        if channel.keys_used_up() {
            self.close(now, CloseCode::KEY_LIMIT, "the keys were used as often as is safe");
        }
        let (id, body) = match incoming {
            Incoming::Body(id, body) => (id, body),
            Incoming::Bundle(bundle) => return self.bundle(now, bundle),
            Incoming::KeyUpdate => return Ok(()),
        };
        match body {
            Body::Close(close) => {
                let code = CloseCode(u16::try_from(close.code).unwrap_or(CloseCode::PROTOCOL.0));
                self.end(Closed {
                    by: ClosedBy::Peer,
                    code,
                    reason: cut_reason(close.reason),
                    authenticated: true,
                    retry_after: (close.retry_after_ms != 0)
                        .then(|| Duration::from_millis(close.retry_after_ms.into())),
                    error: None,
                });
                Ok(())
            }
            Body::Ping(_) if state == State::Online => {
                self.core.pong_due = true;
                Ok(())
            }
            Body::Pong(_) if state == State::Online => {
                self.rest();
                Ok(())
            }
            body => self.role.on_body(&mut self.core, &mut self.events, now, id, body),
        }
    }

    /// Several bodies: as if each had come in a packet of its own.
    fn bundle(&mut self, now: Instant, bundle: &[u8]) -> Result<(), Error> {
        if bundle.is_empty() {
            return Err(Error::Bundle { at: 0 });
        }
        for (at, item) in bundle::items(bundle).enumerate() {
            let item = item.filter(|item| at < bundle::MAX_ITEMS && item.kind >= bundle::FIRST_TYPE);
            let Item { packet_id, kind, body } = item.ok_or(Error::Bundle { at })?;
            let state = self.core.state;
            let Link::Open(channel) = &self.core.link else { return Ok(()) };
            let body = channel.decode(kind, body, state)?;
            self.role.on_body(&mut self.core, &mut self.events, now, packet_id, body)?;
        }
        Ok(())
    }

    /// A packet before the channel is sealed.
    fn clear_packet(&mut self, now: Instant, packet: &mut [u8]) -> Result<(), Error> {
        let Some((head, body)) = packet.split_first_chunk_mut::<HEADER_LEN>() else {
            return Err(Error::Truncated);
        };
        let header = Header::from_bytes(head).0;
        match header.message_type {
            MessageType::HELLO | MessageType::HELLO_REPLY | MessageType::RETRY | MessageType::HELLO_END => {
                match self.role.on_hello(&mut self.core, &mut self.events, head, body, now)? {
                    Some(opened) => self.opened(opened),
                    None => Ok(()),
                }
            }
            MessageType::CLOSE => {
                let (code, reason) = decode_plain_close(body);
                let by = ClosedBy::Peer;
                self.end(Closed { by, code, reason, authenticated: false, retry_after: None, error: None });
                Ok(())
            }
            // Whatever else it is, it came before its time: the sender skipped handshake and login.
            got => Err(Error::Unexpected { got, state: State::LoggingIn }),
        }
    }

    /// The handshake is complete.
    fn opened(&mut self, opened: Opened) -> Result<(), Error> {
        self.core.state = State::LoggingIn;
        self.role.on_open(&mut self.core, &mut self.events, opened)
    }

    /// The transport ended: nothing more will come, and nothing more can be sent.
    pub fn handle_eof(&mut self, now: Instant) {
        let _ = now;
        match self.core.state {
            State::Offline | State::Closed => {}
            State::Closing => self.finish_closing(),
            State::Handshaking | State::LoggingIn | State::Online => {
                let error = Error::Truncated;
                self.end(Closed {
                    by: ClosedBy::Transport,
                    code: error.close_code(),
                    reason: error.to_string(),
                    authenticated: false,
                    retry_after: None,
                    error: Some(error),
                });
            }
        }
    }

    /// Handles every timer that is due at `now`. Harmless when none is.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.core.timers.take_due(now) {
            match timer {
                Timer::Login => self.fail(now, Error::Timeout(timer)),
                Timer::Linger => self.finish_closing(),
                Timer::Retry => self.role.on_retry_timer(&mut self.core, &mut self.events, now),
                Timer::Idle => {
                    // The timer is lazy: traffic moved the real moment on.
                    if self.core.keepalive.as_ref().is_some_and(|keepalive| keepalive.idle_at() <= now) {
                        self.fail(now, Error::Timeout(timer));
                    }
                }
                Timer::Ping => {
                    if let Some(keepalive) = &mut self.core.keepalive
                        && keepalive.ping_at() <= now
                    {
                        keepalive.pinged(now);
                        self.core.ping_due = true;
                    }
                }
            }
            self.after_change(now);
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) at the latest, and what for.
    pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        self.core.timers.next()
    }

    /// The next event, in the order in which things happened.
    pub fn poll_event(&mut self) -> Option<R::Event> {
        self.events.pop_front().or_else(|| self.role.produce(&self.core))
    }

    /// Appends the next packet to `out`, at most `max` bytes. `None` when there is nothing to send, or when it does not
    /// fit; a `max` of [`max_transmit`](Self::max_transmit) always fits.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut Vec<u8>, max: usize) -> Option<Transmit> {
        let len = self.transmit(now, out, max)?;
        self.core.stats.packets_out += 1;
        self.core.stats.bytes_out += len as u64;
        if let Some(keepalive) = &mut self.core.keepalive {
            keepalive.sent(now);
        }
        self.after_change(now);
        Some(Transmit { len })
    }

    fn transmit(&mut self, now: Instant, out: &mut Vec<u8>, max: usize) -> Option<usize> {
        if !self.core.clear.is_empty() {
            let len = self.core.clear.len();
            if len > max {
                return None;
            }
            out.append(&mut self.core.clear);
            if self.core.closing.as_ref().is_some_and(|closing| closing.in_clear) {
                self.finish_closing();
            }
            return Some(len);
        }
        if max < MIN_SEALED || matches!(self.core.state, State::Closed | State::Offline) {
            return None;
        }
        if let Some(update) = self.core.link.key_update_due(now) {
            return self.transmit_update(update, now, out, max);
        }
        let Self { core, role, events } = self;
        let mut draft: Option<Draft> = None;
        let mut alone = None;
        while let Link::Open(channel) = &mut core.link {
            let (what, (id, body)) = if let Some(offer) = role.next_answer(core.state) {
                (Sent::Answer, offer)
            } else if core.pong_due {
                (Sent::Pong, (0, Cow::Owned(Pong {}.into())))
            } else if let Some(closing) = &core.closing {
                (Sent::Close, (0, Cow::Borrowed(&closing.body)))
            } else if core.ping_due {
                (Sent::Ping, (0, Cow::Owned(Ping {}.into())))
            } else if let Some(offer) = role.next_message(core.state, now) {
                (Sent::Message(offer.0), offer)
            } else {
                break;
            };
            let bundles = body.kind().code() >= bundle::FIRST_TYPE;
            if let Some(draft) = &mut draft {
                if !bundles || !channel.add(draft, id, &body, out, max) {
                    break;
                }
            } else {
                match channel.begin(id, &body, out, max) {
                    Ok(begun) => draft = Some(begun),
                    Err(NotWritten::NoRoom) => return None,
                    Err(NotWritten::TooLarge) => {
                        match what {
                            Sent::Message(id) => role.message_too_large(core, events, id),
                            // Control packets are far below every limit that the handshake admits.
                            Sent::Answer => role.answer_sent(),
                            Sent::Pong => core.pong_due = false,
                            Sent::Ping => core.ping_due = false,
                            Sent::Close => {
                                self.finish_closing();
                                return None;
                            }
                        }
                        continue;
                    }
                }
            }
            // What is in the packet counts as sent: if it cannot be sealed, that is the end of the connection.
            match what {
                Sent::Answer => role.answer_sent(),
                Sent::Message(id) => role.message_sent(core, id, now),
                Sent::Pong | Sent::Ping | Sent::Close => {}
            }
            if !bundles {
                alone = Some(what);
                break;
            }
        }
        self.seal(now, &draft?, alone, out)
    }

    /// Seals what was put together, and sees to what follows from it.
    fn seal(&mut self, now: Instant, draft: &Draft, alone: Option<Sent>, out: &mut Vec<u8>) -> Option<usize> {
        let core = &mut self.core;
        let Link::Open(channel) = &mut core.link else { return None };
        let len = match channel.finish(draft, out) {
            Ok(len) => len,
            Err(error) => {
                // Nothing can be sealed any more, so nobody can be told.
                self.end(closed_by_error(Error::Seal(error)));
                return None;
            }
        };
        let used_up = channel.keys_used_up();
        match alone {
            Some(Sent::Pong) => {
                core.pong_due = false;
                self.rest();
            }
            Some(Sent::Ping) => {
                core.ping_due = false;
                core.stats.pings += 1;
                self.rest();
            }
            Some(Sent::Close) => self.finish_closing(),
            Some(Sent::Answer | Sent::Message(_)) | None => {}
        }
        if used_up {
            self.close(now, CloseCode::KEY_LIMIT, "the keys were used as often as is safe");
        }
        Some(len)
    }

    fn transmit_update(&mut self, update: KeyUpdate, now: Instant, out: &mut Vec<u8>, max: usize) -> Option<usize> {
        let Link::Open(channel) = &mut self.core.link else { return None };
        match channel.write_update(update, now, out, max) {
            Ok(written) => {
                self.core.stats.key_updates += u64::from(written.is_some());
                written
            }
            Err(error) => {
                self.end(closed_by_error(Error::Seal(error)));
                None
            }
        }
    }

    /// A heartbeat went by with nothing to say: gives back memory until there is.
    fn rest(&mut self) {
        if let Link::Open(channel) = &mut self.core.link {
            channel.rest();
        }
        self.events.shrink_to_fit();
        // The hello or reply was there, with a ciphertext of ML-KEM.
        self.core.clear.shrink_to_fit();
        self.role.rest();
    }

    /// The most that one packet can need, in bytes.
    pub fn max_transmit(&self) -> usize {
        Limits::new(u32::MAX).max_packet()
    }

    /// Ends the connection: what was answered goes out, then a close packet with this code and reason, then the event
    /// [`Closed`]. Does nothing when it is closing already.
    pub fn close(&mut self, now: Instant, code: CloseCode, reason: &str) {
        self.begin_close(now, closed_here(code, reason, None));
    }

    /// Like [`close`](Self::close), and tells a client not to come back before `retry_after`: a server that restarts gives each
    /// of its clients another moment, so that they do not all come at once.
    pub fn close_for(&mut self, now: Instant, code: CloseCode, reason: &str, retry_after: Duration) {
        self.begin_close(now, closed_here(code, reason, Some(retry_after)));
    }

    fn fail(&mut self, now: Instant, error: Error) {
        // There is nobody left to tell, or telling makes no sense.
        if error.fault() == Fault::Transport && !matches!(error, Error::Timeout(Timer::Login | Timer::Idle)) {
            return self.end(closed_by_error(error));
        }
        let authenticated = matches!(self.core.link, Link::Open(_));
        self.begin_close(now, Closed { authenticated, ..closed_by_error(error) });
    }

    fn begin_close(&mut self, now: Instant, closed: Closed) {
        const LINGER: Duration = Duration::from_secs(3);
        match self.core.state {
            State::Offline | State::Closing | State::Closed => return,
            State::Handshaking | State::LoggingIn | State::Online => {}
        }
        let reason = cut_reason(closed.reason.clone());
        let in_clear = !matches!(self.core.link, Link::Open(_));
        if in_clear {
            self.core.clear.clear();
            encode_plain_close(closed.code, &reason, &mut self.core.clear);
        }
        let retry_after_ms = wait_millis(closed.retry_after);
        let body = Close { code: u32::from(closed.code.0), reason, retry_after_ms }.into();
        self.core.state = State::Closing;
        self.core.closing = Some(Box::new(Closing { closed, body, in_clear }));
        self.core.timers.clear_all();
        self.core.timers.set(Timer::Linger, Some(now + LINGER));
    }

    fn finish_closing(&mut self) {
        if let Some(closing) = self.core.closing.take() {
            self.end(closing.closed);
        }
    }

    /// The end of this transport; the event goes out once.
    fn end(&mut self, closed: Closed) {
        if matches!(self.core.state, State::Closed | State::Offline) {
            return;
        }
        self.core.state = R::AFTER;
        self.core.link = Link::Down;
        self.core.closing = None;
        self.core.keepalive = None;
        self.core.clear.clear();
        (self.core.ping_due, self.core.pong_due) = (false, false);
        self.core.timers.clear_all();
        self.role.on_closed(&mut self.events, &closed);
        self.events.push_back(R::closed_event(closed));
    }

    /// Rearms the timers that follow from the state.
    fn after_change(&mut self, now: Instant) {
        let core = &mut self.core;
        let Some(keepalive) = &core.keepalive else { return };
        if core.state != State::Online {
            return;
        }
        let (idle, ping) = (keepalive.idle_at(), keepalive.ping_at());
        core.timers.set(Timer::Idle, Some(idle));
        core.timers.set(Timer::Ping, (R::PINGS && !core.ping_due).then_some(ping));
        let retry = self.role.retry_at(now);
        self.core.timers.set(Timer::Retry, retry);
    }

    /// Where the connection stands.
    pub fn state(&self) -> State {
        self.core.state
    }

    /// Whether [`handle_input`](Self::handle_input) would take a packet now. A driver stops reading while it is false, so
    /// that the transport's own flow control holds the peer back.
    pub fn wants_read(&self) -> bool {
        self.events.is_empty() && self.core.link.listens() && self.role.accepts_input(&self.core)
    }

    /// What was counted.
    pub fn stats(&self) -> Stats {
        self.core.stats
    }
}

/// What a packet was, for the bookkeeping after it is sealed.
#[derive(Clone, Copy)]
enum Sent {
    Answer,
    Pong,
    Ping,
    Close,
    Message(u64),
}

fn unexpected(body: &Body, state: State) -> Error {
    Error::Unexpected { got: MessageType(body.kind().code()), state }
}

fn closed_by_error(error: Error) -> Closed {
    let by = if error.fault() == Fault::Transport && !matches!(error, Error::Timeout(_)) {
        ClosedBy::Transport
    } else {
        ClosedBy::Local
    };
    let reason: String = error.to_string();
    Closed { by, code: error.close_code(), reason, authenticated: true, retry_after: None, error: Some(error) }
}

fn closed_here(code: CloseCode, reason: &str, retry_after: Option<Duration>) -> Closed {
    Closed { by: ClosedBy::Local, code, reason: reason.into(), authenticated: true, retry_after, error: None }
}

impl<R: Role> fmt::Debug for Connection<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("state", &self.core.state)
            .field("stats", &self.core.stats)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
