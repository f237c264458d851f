//! The client's part: outbox, inbox, and what outlives a transport.

mod session;

use alloc::borrow::Cow;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use im_codec::{HEADER_LEN, Header};
use im_crypto::{Entropy, ResumptionSecret, TlsExporter};
use im_serial::Body;
use im_serial::body::{Conversation, Deliver, Delivered, Epoch, Position, Read, Refused, Stored};

pub use self::event::{ClientEvent, Delivery};
use self::lanes::Lane;
use super::machine::{Core, Machine, Offer};
use super::{Connection, State, requests, unexpected};
use crate::close::{CloseCode, Closed, ClosedBy, RefusalCode, cut_reason};
use crate::config::{ClientConfig, ConfigError};
use crate::entry::{Entry, Parts};
use crate::error::{ConnectError, Error, SendError};
use crate::inbox::{AckToken, Inbox, Verdict};
use crate::link::{Heard, Link, Opened};
use crate::outbox::{MAX_WAIT, Message, Outbox, PacketId};
use crate::receipts::{Positions, Reads, UpTo, Whose};
use crate::requests::{RequestEvent, RequestFailure, Requests};
use crate::resume::ReloadReason;
use crate::rooms::Memberships;
use crate::signals::Dropping;
use crate::streams::{AbortReason, Incomings, Outgoings, StreamId, StreamOutcome};
use crate::tickets::Shelf;
use crate::time::Instant;
use crate::timer::Timer;

mod commands;
mod event;
mod lanes;
mod receipts;
mod rooms;
mod sealed;
mod signals;
mod streams;

/// The client's role. See [`Connection`].
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    rng: fastrand::Rng,
    outbox: Outbox,
    inbox: Inbox,
    reads: Reads,
    positions: Positions<Whose>,
    signals: Dropping,
    /// Packet ids of the latest signals that were transmitted.
    sent_signals: VecDeque<u64>,
    rooms: Memberships,
    streams_in: Incomings,
    streams_out: Outgoings,
    requests: Requests,
    /// What was transmitted last of what takes turns.
    last: Lane,
    login_due: bool,
    send_max: u32,
    /// The session of the last login; 0 before the first.
    session: u64,
    /// The user's id as the server knows it; empty before the first login.
    account: String,
    /// This connection tries a ticket that was given to this account.
    resuming: Option<String>,
    /// What the login named.
    named: Vec<Position>,
    shelf: Shelf,
    /// What turns a ticket of this connection into a key.
    resumption: Option<ResumptionSecret>,
    /// Connections that failed since the last login.
    failures: u32,
    /// The server asked to stay away for so long.
    retry_after: Duration,
}

impl Connection<Client> {
    /// A client, offline. It keeps its outbox, and what it has of each conversation, over any number of transports:
    /// [`connect`](Self::connect) begins one. `seed` serves packet ids and jitter and should differ from run to run.
    pub fn client(config: ClientConfig, seed: u64) -> Result<Self, ConfigError> {
        config.check()?;
        let mut rng = fastrand::Rng::with_seed(seed);
        let outbox = Outbox::new(config.outbox_bytes, config.max_tries, config.retry, &mut rng);
        let inbox = Inbox::new(config.max_conversations);
        let max_body = config.max_body;
        let (reads, positions) = (Reads::new(config.max_conversations), Positions::new(config.max_conversations));
        let (signals, rooms) = (Dropping::new(config.signal_bytes), Memberships::new(config.rooms_max));
        let streams_in = Incomings::new(config.streams_max);
        let streams_out = Outgoings::new(config.streams_max, config.stream_bytes, config.max_content);
        let requests = Requests::new(config.requests_max, config.request_bytes);
        let role = Client {
            shelf: Shelf::new(config.max_tickets),
            config,
            rng,
            outbox,
            inbox,
            reads,
            positions,
            signals,
            sent_signals: VecDeque::new(),
            rooms,
            streams_in,
            streams_out,
            requests,
            last: Lane::Signals,
            login_due: false,
            send_max: 0,
            session: 0,
            account: String::new(),
            resuming: None,
            named: Vec::new(),
            resumption: None,
            failures: 0,
            retry_after: Duration::ZERO,
        };
        Ok(Self::new(role, State::Offline, Link::Down, max_body))
    }

    /// A new transport is there: the handshake begins. What was in flight before is sent again after the login.
    pub fn connect(&mut self, entropy: Entropy, now: Instant) -> Result<(), ConnectError> {
        self.connect_bound(entropy, None, now)
    }

    /// The same for a transport over TLS whose library gives the exporter: if TLS ends somewhere between the two sides, the
    /// handshake fails.
    pub fn connect_bound(
        &mut self,
        entropy: Entropy,
        exporter: Option<TlsExporter>,
        now: Instant,
    ) -> Result<(), ConnectError> {
        if self.core.state != State::Offline {
            return Err(ConnectError::Busy(self.core.state));
        }
        let packet_id = self.role.rng.u64(1..1 << 62);
        self.core.clear.clear();
        let Self { core, role, .. } = self;
        let ticket = role.take_ticket(now);
        core.link = Link::hello(&role.config, ticket, exporter, entropy, packet_id, &mut core.clear)?;
        self.core.state = State::Handshaking;
        self.core.timers.set(Timer::Login, Some(now + self.role.config.login_timeout));
        self.role.outbox.disconnected();
        self.role.inbox.connected();
        self.role.reads.connected();
        // What the application signalled for the last connection makes no sense on this one.
        self.core.stats.dropped_signals += self.role.signals.clear();
        self.role.sent_signals.clear();
        Ok(())
    }

    /// Queues a message, also while offline. The id comes back in exactly one of [`ClientEvent::Stored`],
    /// [`ClientEvent::Refused`] and [`ClientEvent::Unknown`].
    pub fn send(&mut self, now: Instant, message: Message) -> Result<PacketId, SendError<Message>> {
        let max = self.role.config.max_content;
        if message.content.len() > max {
            return Err(SendError::TooLarge { message, max });
        }
        if !crate::config::valid_name(&message.to.id) {
            return Err(SendError::InvalidTarget(message));
        }
        let id = self.role.outbox.push(message).map_err(SendError::Blocked)?;
        self.after_change(now);
        Ok(id)
    }

    /// The application has the message safe: the server need not deliver it to this device again.
    pub fn ack(&mut self, token: AckToken) {
        self.role.inbox.ack(token);
    }

    /// How long to wait before the next [`connect`](Self::connect), growing with each call since the last login; and once, after a
    /// close that said when to come back, no less than that, up to an hour.
    pub fn reconnect_delay(&mut self) -> Duration {
        self.role.failures = self.role.failures.saturating_add(1);
        let asked = core::mem::take(&mut self.role.retry_after).min(MAX_WAIT);
        self.role.config.reconnect.delay(self.role.failures, &mut self.role.rng).max(asked)
    }

    /// Another token for the next login.
    /// It says nothing about tickets: those that are left are used first.
    pub fn set_token(&mut self, token: String) {
        self.role.config.credentials.token = token;
    }

    /// Messages without an outcome yet.
    pub fn unanswered(&self) -> usize {
        self.role.outbox.len()
    }

    /// Bytes in the outbox, with the overhead of each message.
    pub fn buffered(&self) -> usize {
        self.role.outbox.bytes()
    }
}

impl Client {
    fn stored(&mut self, events: &mut VecDeque<ClientEvent>, id: u64, stored: Stored) -> Result<(), Error> {
        let packet_id = PacketId(id);
        if stored.in_stream {
            self.take(events, &stored.conversation, stored.seq, None)?;
        }
        if self.outbox.remove(packet_id) {
            let Stored { conversation, message_id, seq, time_ms, .. } = stored;
            events.push_back(ClientEvent::Stored { packet_id, conversation, message_id, seq, time_ms });
        }
        Ok(())
    }

    fn deliver(&mut self, core: &mut Core, events: &mut VecDeque<ClientEvent>, deliver: Deliver) -> Result<(), Error> {
        let Deliver { conversation, from, message_id, seq, time_ms, content_type, content, kind, about } = deliver;
        if !self.take(events, &conversation, seq, Some(content.len()))? {
            core.stats.duplicates += 1;
            return Ok(());
        }
        let (token, epoch) = self.inbox.token(conversation.clone(), seq);
        let entry = Entry::from_parts(seq, Parts { kind, about, content_type, content }).in_conversation(&conversation);
        let own = from == self.account;
        events.push_back(ClientEvent::Message(Delivery {
            conversation,
            from,
            message_id,
            seq,
            epoch,
            time_ms,
            entry,
            own,
            token,
        }));
        Ok(())
    }

    /// Whether the item is new.
    fn take(
        &mut self,
        events: &mut VecDeque<ClientEvent>,
        conversation: &Conversation,
        seq: u64,
        content: Option<usize>,
    ) -> Result<bool, Error> {
        if !crate::config::valid_name(&conversation.id) {
            return Err(Error::Name { field: "conversation" });
        }
        if self.inbox.lacks_epoch(conversation) {
            // The server names no epoch any more, so this is not the log of before.
            self.reload(events, conversation.clone(), ReloadReason::Epoch, 0);
        }
        let (max, max_bytes) = (self.config.receive_max, self.config.receive_bytes);
        match self.inbox.item(conversation, seq, content) {
            Verdict::Take if self.inbox.pending_here() > max as usize => Err(Error::ReceiveMax { max }),
            Verdict::Take if self.inbox.over_credit(max_bytes, content) => Err(Error::ReceiveBytes { max: max_bytes }),
            Verdict::Take => Ok(true),
            Verdict::TakeAfterGap { had } => {
                events.push_back(ClientEvent::Gap { conversation: conversation.clone(), had, next: seq });
                Ok(true)
            }
            Verdict::Duplicate => Ok(false),
            Verdict::Gap { had } => Err(Error::Gap { had, got: seq }),
            Verdict::Full => Err(Error::TooManyConversations { max: self.config.max_conversations }),
        }
    }

    fn refused(&mut self, events: &mut VecDeque<ClientEvent>, now: Instant, id: u64, refused: Refused) {
        if self.signal_refused(events, id, &refused)
            || self.room_refused(events, id, &refused)
            || self.stream_refused(events, id, &refused)
            || requests::failed(self, events, id, &refused)
        {
            return;
        }
        let packet_id = PacketId(id);
        let Refused { code, reason, retry, retry_after_ms } = refused;
        let wait = Duration::from_millis(retry_after_ms.into());
        // With `retry` the server speaks of this try only.
        let doubtful = retry && self.outbox.is_doubtful(packet_id);
        if retry && self.outbox.postpone(packet_id, now, wait, &mut self.rng) {
            return;
        }
        if doubtful {
            self.outbox.remove(packet_id);
            events.push_back(ClientEvent::Unknown { packet_id });
            return;
        }
        // A retry that is not left is final too: the server said of each try that it did not store the message.
        if self.outbox.remove(packet_id) || retry {
            let code = RefusalCode(u16::try_from(code).unwrap_or(RefusalCode::INVALID.0));
            events.push_back(ClientEvent::Refused { packet_id, code, reason: cut_reason(reason) });
        }
    }
}

impl Machine for Client {
    type Event = ClientEvent;
    const PINGS: bool = true;
    const AFTER: State = State::Offline;

    fn closed_event(closed: Closed) -> ClientEvent {
        ClientEvent::Closed(closed)
    }

    fn request_event(event: RequestEvent) -> ClientEvent {
        match event {
            RequestEvent::Asked { packet_id, request } => ClientEvent::Request { packet_id, request },
            RequestEvent::Answered { packet_id, content_type, content } => {
                ClientEvent::Response { packet_id, content_type, content }
            }
            RequestEvent::Failed { packet_id, failure } => ClientEvent::RequestFailed { packet_id, failure },
        }
    }

    fn requests(&mut self) -> &mut Requests {
        &mut self.requests
    }

    fn request_id(&mut self) -> PacketId {
        self.outbox.take_id()
    }

    fn max_content(&self) -> usize {
        self.config.max_content
    }

    fn on_hello(
        &mut self,
        core: &mut Core,
        events: &mut VecDeque<ClientEvent>,
        header: &[u8; HEADER_LEN],
        body: &mut [u8],
        now: Instant,
    ) -> Result<Option<Opened>, Error> {
        let header = Header::from_bytes(header).0;
        Ok(match core.link.hear(&self.config, header, body, &mut core.clear, now)? {
            Heard::Open(opened) => Some(*opened),
            Heard::Again => None,
            Heard::Key(key) => {
                events.push_back(ClientEvent::ServerKeySeen(key));
                None
            }
        })
    }

    fn on_open(&mut self, core: &mut Core, events: &mut VecDeque<ClientEvent>, opened: Opened) -> Result<(), Error> {
        events.push_back(self.opened(core, opened));
        Ok(())
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "all others are a client's to say")]
    fn on_body(
        &mut self,
        core: &mut Core,
        events: &mut VecDeque<ClientEvent>,
        now: Instant,
        id: u64,
        body: Body,
    ) -> Result<(), Error> {
        let state = core.state;
        if !matches!(state, State::Online | State::Closing) {
            if state == State::LoggingIn
                && !self.login_due
                && let Body::LoginOk(ok) = body
            {
                self.logged_in(core, events, now, ok);
                return Ok(());
            }
            return Err(unexpected(&body, state));
        }
        match body {
            Body::Ticket(ticket) => self.ticket(events, now, ticket),
            Body::Epoch(Epoch { conversation, epoch }) => self.epoch(events, conversation, epoch),
            Body::Stored(stored) => self.stored(events, id, stored),
            Body::Refused(refused) => {
                self.refused(events, now, id, refused);
                Ok(())
            }
            Body::Deliver(deliver) => self.deliver(core, events, deliver),
            Body::CallAnswer(body) => {
                self.call_answered(events, id, &body);
                Ok(())
            }
            body @ (Body::Typing(_) | Body::Presence(_) | Body::CallNotice(_)) => self.peer_signal(core, events, body),
            Body::RoomJoined(body) => {
                self.room_joined(events, id, body);
                Ok(())
            }
            Body::RoomLeft(body) => {
                self.room_left(events, body);
                Ok(())
            }
            Body::RoomMessage(body) => self.room_message(events, body),
            Body::StreamOpen(body) => self.stream_open(core, events, body),
            Body::StreamDelta(body) => {
                self.stream_delta(core, events, body);
                Ok(())
            }
            Body::StreamEnd(body) => {
                self.stream_end(core, events, &body);
                Ok(())
            }
            Body::Request(body) => {
                if let Err((code, reason)) = requests::asked(self, events, now, id, body) {
                    self.requests.refuse(id, requests::refused(code, reason, None));
                }
                Ok(())
            }
            Body::Response(body) => {
                requests::answered(self, core, events, id, body);
                Ok(())
            }
            Body::ReadBy(body) => self.read_by(events, body),
            Body::DeliveredTo(body) => self.delivered_to(events, body),
            body => Err(unexpected(&body, state)),
        }
    }

    /// One connection brings no more than `receive_max` unacked deliveries, and `receive_bytes` of content, but those of earlier ones may still be with
    /// the application: beyond twice the window it has to ack first.
    fn accepts_input(&self, core: &Core) -> bool {
        let max = (self.config.receive_max as usize).max(1);
        let max_bytes = u64::from(self.config.receive_bytes);
        let room = self.inbox.pending() < 2 * max && (max_bytes == 0 || self.inbox.pending_bytes() < 2 * max_bytes);
        core.state != State::Online || room
    }

    fn next_answer(&self, state: State) -> Option<Offer<'_>> {
        match state {
            State::LoggingIn if self.login_due => {
                let login = self.login();
                Some((0, Cow::Owned(login.into())))
            }
            // A close that overtakes the login takes no acks along: the server would see them before the login.
            State::Closing if self.login_due => None,
            State::Online | State::Closing => {
                if let Some((conversation, up_to, epoch)) = self.inbox.next_ack() {
                    return Some((
                        0,
                        Cow::Owned(Delivered { conversation: conversation.clone(), up_to, epoch }.into()),
                    ));
                }
                let (conversation, UpTo { epoch, seq: up_to }) = self.reads.next()?;
                Some((0, Cow::Owned(Read { conversation: conversation.clone(), up_to, epoch }.into())))
            }
            State::Offline | State::Handshaking | State::LoggingIn | State::Closed => None,
        }
    }

    fn answer_sent(&mut self) {
        if self.login_due {
            self.login_due = false;
        } else if self.inbox.next_ack().is_some() {
            self.inbox.ack_sent();
        } else {
            self.reads.sent();
        }
    }

    fn next_message(&self, state: State, now: Instant) -> Option<Offer<'_>> {
        if state == State::Online { self.in_turn(now) } else { None }
    }

    fn message_sent(&mut self, core: &mut Core, id: u64, now: Instant) {
        self.sent_in_turn(core, id, now);
    }

    fn message_too_large(&mut self, _core: &mut Core, events: &mut VecDeque<ClientEvent>, id: u64) {
        if self.signals.next().is_some_and(|(signal, _)| signal == id) {
            self.signals.pop();
            events.push_back(ClientEvent::SignalRefused {
                packet_id: PacketId(id),
                code: RefusalCode::TOO_LARGE,
                reason: "the signal is over the server's packet limit".into(),
                retry_after: None,
            });
            return;
        }
        if self.rooms.next().is_some_and(|(said, _)| said == id) {
            self.rooms.sent();
            let reason = "the room's name is over the server's packet limit".into();
            let refused = Refused { code: u32::from(RefusalCode::TOO_LARGE.0), reason, ..Refused::default() };
            self.room_refused(events, id, &refused);
            return;
        }
        if self.requests.next().is_some_and(|(request, _)| request == id) {
            if let Some(own) = self.requests.too_large() {
                let reason = "the request is over the server's packet limit".into();
                let failure = RequestFailure::Refused { code: RefusalCode::TOO_LARGE, reason, retry_after: None };
                events.push_back(ClientEvent::RequestFailed { packet_id: PacketId(own), failure });
            }
            return;
        }
        if self.streams_out.next().is_some_and(|(stream, _)| stream == id) {
            self.streams_out.forget(id);
            events.push_back(ClientEvent::StreamRefused {
                stream: PacketId(id),
                code: RefusalCode::TOO_LARGE,
                reason: "a piece of the stream is over the server's packet limit".into(),
                retry_after: None,
            });
            return;
        }
        let packet_id = PacketId(id);
        if self.outbox.remove(packet_id) {
            let reason = "the message is over the server's packet limit: send it as a file".into();
            events.push_back(ClientEvent::Refused { packet_id, code: RefusalCode::TOO_LARGE, reason });
        }
    }

    fn produce(&mut self, _core: &Core) -> Option<ClientEvent> {
        None
    }

    fn on_retry_timer(&mut self, _core: &mut Core, events: &mut VecDeque<ClientEvent>, now: Instant) {
        requests::expire(self, events, now);
        while let Some(packet_id) = self.outbox.expire(now) {
            events.push_back(ClientEvent::Unknown { packet_id });
        }
    }

    fn retry_at(&self, _now: Instant) -> Option<Instant> {
        self.outbox.due().into_iter().chain(self.requests.due()).min()
    }

    fn on_closed(&mut self, events: &mut VecDeque<ClientEvent>, closed: &Closed) {
        requests::lost(self, events);
        self.streams_out.clear();
        let outcome = StreamOutcome::Aborted(AbortReason::Lost);
        events.extend(self.streams_in.clear().map(|id| ClientEvent::StreamEnded { stream: StreamId(id), outcome }));
        // A ticket that opened the channel and was not enough for the login: the others are worth no more.
        let refused = matches!(closed.code, CloseCode::LOGIN_REQUIRED | CloseCode::LOGIN_REFUSED);
        if self.resuming.take().is_some() && refused && closed.by == ClosedBy::Peer && closed.authenticated {
            self.shelf.clear();
        }
        // Only what the server proved to have said can keep a client away.
        let asked = closed.retry_after.filter(|_| closed.by == ClosedBy::Peer && closed.authenticated);
        self.retry_after = asked.unwrap_or_default();
        self.login_due = false;
        self.rooms.clear();
        self.resumption = None;
        self.outbox.disconnected();
    }

    fn rest(&mut self) {
        self.outbox.rest();
        self.signals.rest();
        self.streams_out.rest();
        self.requests.rest();
        self.sent_signals.shrink_to_fit();
        self.named = Vec::new();
    }
}

#[cfg(test)]
mod tests;
