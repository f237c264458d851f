//! The server's part: answers to submitted messages, deliveries from the log.

mod login;

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use im_codec::HEADER_LEN;
use im_crypto::{Entropy, ResumptionSecret, StaticPublicKey, TicketClaims, TicketIdentity};
use im_serial::Body;
use im_serial::body::{Conversation, Delivered, Request as RequestBody, RoomJoin, RoomLeave, Stored};

pub use self::event::{ServerEvent, Submission};
pub(crate) use self::live::Live;
pub use self::login::{LoginRequest, ResumedLogin};
use super::machine::{Core, Machine, Offer};
use super::{Connection, State, requests, turns, unexpected};
use crate::budget::{Budgets, Operation};
use crate::close::{Closed, RefusalCode};
use crate::config::{ServerConfig, valid_name};
use crate::error::{AnswerError, ConnectError, Error};
use crate::feed::{Feed, FeedItem, Question, has_positions};
use crate::link::{Arrival, Link, Opened, Taken};
use crate::outbox::PacketId;
use crate::requests::{RequestEvent, Requests};
use crate::resume::ResumeRequest;
use crate::time::Instant;
use crate::timer::Timer;

mod event;
mod live;
mod receipts;
mod rooms;
mod signals;
mod streams;
mod submit;

/// The server's role. See [`Connection`].
#[derive(Debug)]
pub struct Server {
    config: Arc<ServerConfig>,
    client_key: Option<StaticPublicKey>,
    /// What the ticket says, after a resumption.
    claims: Option<Box<TicketClaims>>,
    /// What tickets of this connection are made from.
    resumption: Option<ResumptionSecret>,
    /// Of the handshake: names a new session.
    fresh_session: u64,
    /// What the pending login wants to continue, and whose it is.
    resume: Option<ResumeRequest>,
    device: String,
    /// Whom tickets are given to; since the login was accepted.
    identity: Option<TicketIdentity>,
    /// A login waits for its answer.
    login_pending: bool,
    receive_max: u32,
    receive_bytes: u32,
    feed: Feed,
    live: Option<Box<Live>>,
    /// The packet id of the latest request.
    latest_request: u64,
    /// Packets that were transmitted since the last one of a room.
    since_room: u8,
    /// What the client may cost, once it is logged in.
    budgets: Option<Box<Budgets>>,
    /// Messages that wait for their answer.
    unanswered: u32,
    answers: VecDeque<(u64, Body)>,
    /// What was transmitted last of what takes turns.
    last: Lane,
}

impl Connection<Server> {
    /// A server's side of a transport that was just accepted, without tickets; see [`server_for`](Self::server_for).
    pub fn server(config: Arc<ServerConfig>, entropy: Entropy, now: Instant) -> Result<Self, ConnectError> {
        Self::server_for(config, Arrival::default(), entropy, now)
    }

    /// A server's side of a transport that was just accepted, with what is known about it: for resumptions with tickets, a cookie
    /// under load, and a handshake that is bound to TLS.
    pub fn server_for(
        config: Arc<ServerConfig>,
        arrival: Arrival,
        entropy: Entropy,
        now: Instant,
    ) -> Result<Self, ConnectError> {
        let link = Link::await_hello(&config, arrival, entropy, now)?;
        let max_body = config.max_body;
        let login_timeout = config.login_timeout;
        let role = Server {
            config,
            client_key: None,
            claims: None,
            resumption: None,
            fresh_session: 0,
            resume: None,
            device: String::new(),
            identity: None,
            live: None,
            latest_request: 0,
            since_room: 0,
            budgets: None,
            login_pending: false,
            receive_max: 0,
            receive_bytes: 0,
            feed: Feed::new(0, 0, 1),
            unanswered: 0,
            answers: VecDeque::new(),
            last: Lane::Feed,
        };
        let mut connection = Self::new(role, State::Handshaking, link, max_body);
        connection.core.timers.set(Timer::Login, Some(now + login_timeout));
        Ok(connection)
    }

    /// The message is durable. Call it only then.
    pub fn stored(
        &mut self,
        packet_id: PacketId,
        to: &Conversation,
        message_id: u64,
        seq: u64,
        time_ms: u64,
        duplicate: bool,
    ) -> Result<(), AnswerError> {
        self.take_answer()?;
        let in_stream = self.role.feed.stored(to, seq);
        let stored = Stored { conversation: to.clone(), message_id, seq, time_ms, duplicate, in_stream };
        self.role.answers.push_back((packet_id.0, stored.into()));
        Ok(())
    }

    /// The message was not stored. With `retry` the client may send the same packet again.
    pub fn refused(
        &mut self,
        packet_id: PacketId,
        code: RefusalCode,
        reason: &str,
        retry: bool,
    ) -> Result<(), AnswerError> {
        self.take_answer()?;
        self.role.refuse(packet_id.0, code, reason, retry);
        Ok(())
    }

    /// No answer: whether the message is stored is not known. The client will try again.
    pub fn unanswerable(&mut self) -> Result<(), AnswerError> {
        self.take_answer()
    }

    fn take_answer(&mut self) -> Result<(), AnswerError> {
        match self.core.state {
            State::Online | State::Closing => {}
            state @ (State::Offline | State::Handshaking | State::LoggingIn | State::Closed) => {
                return Err(AnswerError::State(state));
            }
        }
        self.role.unanswered = self.role.unanswered.checked_sub(1).ok_or(AnswerError::NotAsked)?;
        Ok(())
    }

    /// A conversation of this user has messages up to `head`. A hint: what is sent is asked of the log.
    pub fn notify(&mut self, conversation: &Conversation, head: u64) {
        if self.core.state == State::Online {
            self.role.feed.notify(conversation, head);
        }
    }

    /// Any of this user's conversations may have more messages, for a caller that could not keep every hint: the log is
    /// asked again, with [`ServerEvent::Unread`].
    pub fn notify_all(&mut self) {
        if self.core.state == State::Online {
            self.role.feed.notify_all();
        }
    }

    /// The message at `seq` was recalled, and the log has no content for it any more. Tell every connection of every user
    /// of the conversation, at once: entries that this one fetched and did not transmit yet lose the content.
    pub fn recalled(&mut self, conversation: &Conversation, seq: u64) {
        self.role.feed.recalled(conversation, seq);
    }

    /// Answers [`ServerEvent::Unread`]. `complete` when there are no more such conversations than given.
    pub fn unread(&mut self, heads: &[(Conversation, u64)], complete: bool) -> Result<(), AnswerError> {
        self.role.feed.unread(heads, complete)
    }

    /// Answers [`ServerEvent::Fetch`] with the messages after `after` (the seq that the event named, or the device's
    /// position), in order and without a gap; none when the log has no more. For logs that are never replaced: their epoch is 0.
    pub fn fetched(
        &mut self,
        conversation: &Conversation,
        after: u64,
        items: Vec<FeedItem>,
    ) -> Result<(), AnswerError> {
        self.fetched_in(conversation, 0, after, items)
    }

    /// The same for a log with an epoch. The device's position belongs to an epoch too: in a new log it is 0 at first. The client
    /// is told the epoch, and one that stands in another is told to reload.
    pub fn fetched_in(
        &mut self,
        conversation: &Conversation,
        epoch: u64,
        after: u64,
        items: Vec<FeedItem>,
    ) -> Result<(), AnswerError> {
        self.role.feed.fetched(conversation, epoch, after, items)
    }

    /// What waits here for transmission, in bytes: entries of the log, signals, streams, requests, answers, without what the
    /// members of a room share. It is much only while the peer takes nothing; what a driver counts against a budget of all
    /// connections, see [`Endpoint::report`](crate::Endpoint::report), together with its own buffers.
    pub fn buffered(&self) -> usize {
        let answers = self.role.answers.len() * size_of::<(u64, Body)>();
        self.role.feed.bytes() + answers + self.role.live.as_ref().map_or(0, |live| live.bytes())
    }

    /// Deliveries that the client has not acked.
    pub fn unacked(&self) -> u64 {
        self.role.feed.in_flight()
    }

    /// Bytes of content in them: no more than the client's `receive_bytes`, or one content that is larger.
    pub fn unacked_bytes(&self) -> u64 {
        self.role.feed.in_flight_bytes()
    }
}

/// What takes turns, so that none of it waits for ever behind another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lane {
    Feed,
    Receipts,
    Signals,
    Streams,
    Requests,
    /// Behind the others, which each room message lets [`BEFORE_ROOM`] packets go before.
    Rooms,
}

impl Lane {
    /// Those that are equal.
    const ALL: [Self; 5] = [Self::Feed, Self::Receipts, Self::Signals, Self::Streams, Self::Requests];
}

/// What is for this user alone goes before what is for everybody in a room: so many packets of it for one of a room.
const BEFORE_ROOM: u8 = 4;

impl Server {
    /// Whose turn it is: the next lane after the last one that has something.
    fn lane(&self) -> Option<Lane> {
        let Some(live) = self.live.as_deref() else { return self.feed.next().map(|_| Lane::Feed) };
        let room = (!live.rooms.is_empty()).then_some(Lane::Rooms);
        if room.is_some() && self.since_room >= BEFORE_ROOM {
            return room;
        }
        let own = turns::next(&Lane::ALL, self.last, |lane| match lane {
            Lane::Feed => self.feed.next().is_some(),
            Lane::Receipts => !live.receipts.is_empty(),
            Lane::Signals => !live.signals.is_empty(),
            Lane::Streams => !live.streams_out.is_empty(),
            Lane::Requests => !live.requests.is_empty(),
            Lane::Rooms => false,
        });
        own.or(room)
    }

    /// What is not acceptable costs as much as what is.
    fn request(&mut self, events: &mut VecDeque<ServerEvent>, now: Instant, id: u64, body: RequestBody) {
        let bytes = u32::try_from(body.content.len()).unwrap_or(u32::MAX);
        if self.spend(now, id, Operation::Message { bytes })
            && let Err((code, reason)) = requests::asked(self, events, now, id, body)
        {
            self.refuse(id, code, reason, false);
        }
    }

    fn refuse(&mut self, id: u64, code: RefusalCode, reason: &str, retry: bool) {
        self.refuse_for(id, code, reason, retry.then_some(Duration::ZERO));
    }

    /// Refuses; with a wait the same packet may be sent again after it.
    fn refuse_for(&mut self, id: u64, code: RefusalCode, reason: &str, wait: Option<Duration>) {
        self.answers.push_back((id, requests::refused(code, reason, wait).into()));
    }
}

/// A conversation in which the devices of this user have positions.
fn check_position(conversation: &Conversation) -> Result<(), Error> {
    if !has_positions(conversation) {
        return Err(Error::ConversationKind { kind: conversation.kind });
    }
    if valid_name(&conversation.id) { Ok(()) } else { Err(Error::Name { field: "conversation" }) }
}

impl Machine for Server {
    type Event = ServerEvent;
    const PINGS: bool = false;
    const AFTER: State = State::Closed;

    fn closed_event(closed: Closed) -> ServerEvent {
        ServerEvent::Closed(closed)
    }

    fn request_event(event: RequestEvent) -> ServerEvent {
        match event {
            RequestEvent::Asked { packet_id, request } => ServerEvent::Request { packet_id, request },
            RequestEvent::Answered { packet_id, content_type, content } => {
                ServerEvent::Response { packet_id, content_type, content }
            }
            RequestEvent::Failed { packet_id, failure } => ServerEvent::RequestFailed { packet_id, failure },
        }
    }

    fn requests(&mut self) -> &mut Requests {
        &mut self.live().requests
    }

    fn request_id(&mut self) -> PacketId {
        self.latest_request += 1;
        PacketId(self.latest_request)
    }

    fn max_content(&self) -> usize {
        self.config.max_content
    }

    fn on_hello(
        &mut self,
        core: &mut Core,
        events: &mut VecDeque<ServerEvent>,
        header: &[u8; HEADER_LEN],
        body: &mut [u8],
        now: Instant,
    ) -> Result<Option<Opened>, Error> {
        Ok(match core.link.take(&self.config, header, body, &mut core.clear, now)? {
            Taken::Open(opened) => Some(*opened),
            Taken::Ticket(ticket) => {
                events.push_back(ServerEvent::Ticket(ticket));
                None
            }
            Taken::Waiting => None,
        })
    }

    fn on_open(&mut self, core: &mut Core, events: &mut VecDeque<ServerEvent>, opened: Opened) -> Result<(), Error> {
        events.push_back(self.opened(core, opened)?);
        Ok(())
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "all others are a server's to say")]
    fn on_body(
        &mut self,
        core: &mut Core,
        events: &mut VecDeque<ServerEvent>,
        now: Instant,
        id: u64,
        body: Body,
    ) -> Result<(), Error> {
        match core.state {
            State::Online => {}
            // What arrives behind our own close is dropped.
            State::Closing => return Ok(()),
            state @ (State::Offline | State::Handshaking | State::LoggingIn | State::Closed) => {
                if state == State::LoggingIn
                    && let Body::Login(login) = body
                {
                    let event = self.login(login)?;
                    events.push_back(event);
                    return Ok(());
                }
                return Err(unexpected(&body, state));
            }
        }
        match body {
            Body::Send(send) => {
                self.submit(events, now, id, send);
                Ok(())
            }
            Body::SendSealed(body) => {
                self.submit_sealed(events, now, id, body);
                Ok(())
            }
            Body::Recall(body) => {
                self.command(events, now, id, body.into());
                Ok(())
            }
            Body::Edit(body) => {
                self.command(events, now, id, body.into());
                Ok(())
            }
            Body::Reaction(body) => {
                self.command(events, now, id, body.into());
                Ok(())
            }
            Body::Delivered(Delivered { conversation, up_to, epoch }) => {
                check_position(&conversation)?;
                let other = self.feed.epoch(&conversation).is_some_and(|known| known != epoch);
                if !other && self.feed.acked(&conversation, up_to) {
                    events.push_back(ServerEvent::Delivered { conversation, up_to, epoch });
                }
                Ok(())
            }
            Body::Read(body) => self.read(events, body),
            Body::Typing(body) => {
                self.typing(events, now, id, body);
                Ok(())
            }
            Body::Presence(body) => {
                self.presence(events, now, id, &body);
                Ok(())
            }
            Body::Watch(body) => {
                self.watch(events, now, id, body);
                Ok(())
            }
            Body::CallSignal(body) => {
                self.call_signal(events, now, id, body);
                Ok(())
            }
            Body::RoomJoin(RoomJoin { room }) => {
                self.room_join(events, now, id, room);
                Ok(())
            }
            Body::RoomLeave(RoomLeave { room }) => {
                self.room_leave(events, now, id, room);
                Ok(())
            }
            Body::StreamOpen(body) => {
                self.stream_open(events, now, id, body);
                Ok(())
            }
            Body::StreamDelta(body) => {
                self.stream_delta(core, events, now, body);
                Ok(())
            }
            Body::StreamEnd(body) => {
                self.stream_end(events, &body);
                Ok(())
            }
            Body::Request(body) => {
                self.request(events, now, id, body);
                Ok(())
            }
            Body::Response(body) => {
                requests::answered(self, core, events, id, body);
                Ok(())
            }
            Body::Refused(body) => {
                if !requests::failed(self, events, id, &body) {
                    core.stats.late_responses += 1;
                }
                Ok(())
            }
            body => Err(unexpected(&body, core.state)),
        }
    }

    fn accepts_input(&self, _core: &Core) -> bool {
        // Refusals are answers without a question, so both are bounded.
        let open = self.unanswered as usize + self.answers.len();
        !self.login_pending && open < self.config.send_max as usize
    }

    fn next_answer(&self, state: State) -> Option<Offer<'_>> {
        match state {
            State::Online | State::Closing => self.answers.front().map(|(id, body)| (*id, Cow::Borrowed(body))),
            State::Offline | State::Handshaking | State::LoggingIn | State::Closed => None,
        }
    }

    fn answer_sent(&mut self) {
        self.answers.pop_front();
    }

    fn next_message(&self, state: State, _now: Instant) -> Option<Offer<'_>> {
        if state != State::Online {
            return None;
        }
        let lane = self.lane()?;
        if lane == Lane::Feed {
            return self.feed.next().map(|body| (0, Cow::Borrowed(body)));
        }
        let live = self.live.as_deref()?;
        let body = match lane {
            Lane::Feed => return None,
            Lane::Receipts => Cow::Owned(live.receipts.next()?),
            Lane::Signals => Cow::Borrowed(live.signals.next()?.1),
            Lane::Streams => Cow::Owned(live.streams_out.next()?.1),
            Lane::Requests => {
                let (id, body) = live.requests.next()?;
                return Some((id, Cow::Borrowed(body)));
            }
            Lane::Rooms => live.rooms.next()?,
        };
        Some((0, body))
    }

    fn message_sent(&mut self, _core: &mut Core, _id: u64, _now: Instant) {
        let Some(lane) = self.lane() else { return };
        match lane {
            Lane::Feed => self.feed.transmitted(),
            Lane::Receipts => self.live().receipts.sent(),
            Lane::Signals => self.live().signals.pop(),
            Lane::Streams => self.live().streams_out.sent(),
            Lane::Requests => self.live().requests.sent(),
            Lane::Rooms => {
                self.live().rooms.sent();
                self.since_room = 0;
                return;
            }
        }
        (self.last, self.since_room) = (lane, self.since_room.saturating_add(1));
    }

    fn message_too_large(&mut self, core: &mut Core, _events: &mut VecDeque<ServerEvent>, id: u64) {
        // The handshake admitted only peers that take every content; the receiver would see the gap.
        self.message_sent(core, id, Instant::default());
    }

    fn produce(&mut self, core: &Core) -> Option<ServerEvent> {
        if core.state != State::Online {
            return None;
        }
        Some(match self.feed.question()? {
            Question::Unread { limit } => ServerEvent::Unread { limit },
            Question::Fetch { conversation, after, max_messages, max_bytes } => {
                let max_bytes = max_bytes.min(self.config.fetch_bytes);
                ServerEvent::Fetch { conversation, after, max_messages, max_bytes }
            }
        })
    }

    fn on_retry_timer(&mut self, _core: &mut Core, events: &mut VecDeque<ServerEvent>, now: Instant) {
        requests::expire(self, events, now);
    }

    fn retry_at(&self, _now: Instant) -> Option<Instant> {
        self.live.as_deref()?.requests.due()
    }

    fn on_closed(&mut self, events: &mut VecDeque<ServerEvent>, _closed: &Closed) {
        if self.live.is_some() {
            requests::lost(self, events);
            self.streams_lost(events);
        }
        if let Some(mut live) = self.live.take() {
            events.extend(live.rooms.clear().map(|room| ServerEvent::RoomLeft { room }));
        }
        (self.claims, self.resumption, self.identity) = (None, None, None);
        self.login_pending = false;
        self.answers.clear();
    }

    fn rest(&mut self) {
        self.answers.shrink_to_fit();
        self.rest_live();
        self.feed.rest();
    }
}

#[cfg(test)]
#[allow(clippy::wildcard_enum_match_arm, reason = "the enums are open")]
mod tests;
