//! The server's part: login, answers to submitted messages, deliveries from the log.

use alloc::borrow::Cow;
use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use im_codec::{HEADER_LEN, MessageType};
use im_crypto::{Entropy, ResumptionSecret, StaticPublicKey, TicketClaims, TicketIdentity, TicketKeys};
use im_serial::Body;
use im_serial::body::{
    Conversation, ConversationKind, Delivered, Login, LoginOk, Position, Refused, Reload, Send, Stored, Ticket,
};

use super::machine::{Core, Machine, Offer};
use super::{Connection, State};
use crate::close::{CloseCode, Closed, RefusalCode};
use crate::config::{ServerConfig, content_fits, valid_name};
use crate::error::{AnswerError, ConnectError, Error, IssueError};
use crate::feed::{Feed, FeedItem, Question};
use crate::keepalive::Keepalive;
use crate::link::{Arrival, Link, Negotiated, Opened, Taken, TicketUse};
use crate::outbox::PacketId;
use crate::resume::{LogFacts, MAX_POSITIONS, ResumeRequest, SessionAnswer, judge, wire_cost};
use crate::time::Instant;
use crate::timer::Timer;

/// Who wants to log in.
#[derive(Clone, PartialEq)]
pub struct LoginRequest {
    /// The user that the client says it is; a valid name.
    pub user: String,
    /// The device's id; a valid name.
    pub device: String,
    /// The client's proof; may be empty.
    pub token: String,
    /// The static key that the client showed in XX or IK. That it holds the key is proven; whose key it is, is for the
    /// application to know.
    pub client_key: Option<StaticPublicKey>,
    /// The session that the device wants to continue, if it had one.
    pub resume: Option<ResumeRequest>,
}

/// Who came back with a ticket: proven by the ticket, which was given to this user's device in this session.
#[derive(Clone, PartialEq)]
pub struct ResumedLogin {
    /// The user, as it was accepted when the ticket was given.
    pub user: String,
    /// The device.
    pub device: String,
    /// The session that the ticket was given in.
    pub session: u64,
    /// When the ticket was given, seconds since 1970: rights that were taken away since then count.
    pub issued: u64,
    /// The session that the device wants to continue, if it had one; the same, unless the ticket is from an earlier one.
    pub resume: Option<ResumeRequest>,
}

impl fmt::Debug for ResumedLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResumedLogin").field("user", &self.user).field("device", &self.device).finish_non_exhaustive()
    }
}

impl fmt::Debug for LoginRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginRequest").field("user", &self.user).field("device", &self.device).finish_non_exhaustive()
    }
}

/// A message that a client wants stored.
#[derive(Clone, PartialEq, Eq)]
pub struct Submission {
    /// The sender's id of the message; with user and device it identifies the message over retries.
    pub packet_id: PacketId,
    /// Where to; a valid name of a known kind.
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
    /// A client shows a good ticket. Note its use, then answer with [`Connection::ticket`]: whether it was fresh. Servers that
    /// share ticket keys must share what they noted.
    Ticket(TicketUse),
    /// The channel is sealed.
    Negotiated(Negotiated),
    /// Answer with [`Connection::accept_login`] or [`Connection::refuse_login`]. Nothing else is read until then.
    /// To continue the session that it names, [`Connection::resume_login`].
    Login(LoginRequest),
    /// The same for a client that came back with a ticket. Who it is, is proven; whether it may log in is asked again.
    Resumed(ResumedLogin),
    /// Store it, then answer with [`Connection::stored`] or [`Connection::refused`].
    Message(Submission),
    /// Answer with [`Connection::unread`]: the conversations in which this device lacks messages.
    Unread {
        /// No more than so many.
        limit: usize,
    },
    /// Answer with [`Connection::fetched`]: the messages of a conversation.
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
    /// The end of the connection.
    Closed(Closed),
}

/// Tickets that may wait to be transmitted.
const MAX_WAITING_TICKETS: usize = 4;

/// The server's role. See [`Connection`].
#[derive(Debug)]
pub struct Server {
    config: Arc<ServerConfig>,
    client_key: Option<StaticPublicKey>,
    /// What the ticket says, after a resumption.
    claims: Option<TicketClaims>,
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
    feed: Feed,
    /// Messages that wait for their answer.
    unanswered: u32,
    answers: VecDeque<(u64, Body)>,
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
            login_pending: false,
            receive_max: 0,
            feed: Feed::new(0, 1),
            unanswered: 0,
            answers: VecDeque::new(),
        };
        let mut connection = Self::new(role, State::Handshaking, link, max_body);
        connection.core.timers.set(Timer::Login, Some(now + login_timeout));
        Ok(connection)
    }

    /// Answers [`ServerEvent::Ticket`]: whether the ticket was not used before, and its use is noted now. Otherwise the client is
    /// asked for a full handshake.
    pub fn ticket(&mut self, now: Instant, fresh: bool) -> Result<(), AnswerError> {
        if self.core.state != State::Handshaking {
            return Err(AnswerError::State(self.core.state));
        }
        let Self { core, role, .. } = self;
        let taken = core.link.ticket(&role.config, fresh, &mut core.clear, now).ok_or(AnswerError::NotAsked)?;
        let opened = match taken {
            Ok(Taken::Open(opened)) => self.opened(*opened),
            Ok(Taken::Waiting | Taken::Ticket(_)) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = opened {
            self.fail(now, error);
        }
        self.after_change(now);
        Ok(())
    }

    /// The client is who it says it is, and gets a new session. `server_time_ms` is the wall clock in Unix milliseconds.
    pub fn accept_login(&mut self, now: Instant, user: &str, server_time_ms: u64) -> Result<(), AnswerError> {
        self.take_login()?;
        self.role.resume = None;
        self.log_in(now, user, server_time_ms, self.role.fresh_session, SessionAnswer::New, Vec::new());
        Ok(())
    }

    /// The client is who it says it is, and the session that its login names is this device's: it goes on. `facts` says what the
    /// log knows about each position that the login names, in the same order; one that is missing is a conversation that the
    /// log does not have. The answer tells the client which conversations continue where it stands, and which do not. Without a
    /// session to continue it is [`accept_login`](Self::accept_login).
    pub fn resume_login(
        &mut self,
        now: Instant,
        user: &str,
        server_time_ms: u64,
        facts: &[LogFacts],
    ) -> Result<SessionAnswer, AnswerError> {
        self.take_login()?;
        let Some(ResumeRequest { session, positions }) = self.role.resume.take() else {
            self.log_in(now, user, server_time_ms, self.role.fresh_session, SessionAnswer::New, Vec::new());
            return Ok(SessionAnswer::New);
        };
        let (continued, reload) = judge(positions, facts, self.role.config.max_conversations as usize);
        let room = match &self.core.link {
            Link::Open(channel) => channel.peer_max_body() as usize / 2,
            Link::Down
            | Link::AwaitReply(_)
            | Link::Verify(_)
            | Link::AwaitHello(_)
            | Link::AwaitTicket(_)
            | Link::AwaitEnd(_) => 0,
        };
        let cost: usize = reload.iter().map(|reload| wire_cost(reload.conversation.id.len())).sum();
        if cost > room {
            // Too many to name to a client that takes small packets: it is told conversation by conversation instead.
            self.log_in(now, user, server_time_ms, session, SessionAnswer::New, Vec::new());
            return Ok(SessionAnswer::New);
        }
        let answer = if reload.is_empty() { SessionAnswer::Recovered } else { SessionAnswer::Reload };
        self.log_in(now, user, server_time_ms, session, answer, reload);
        for continued in continued {
            self.role.feed.continue_at(&continued);
            if continued.record_behind {
                let (conversation, up_to, epoch) = (continued.conversation, continued.acked, continued.epoch);
                self.events.push_back(ServerEvent::Delivered { conversation, up_to, epoch });
            }
        }
        Ok(answer)
    }

    fn log_in(
        &mut self,
        now: Instant,
        user: &str,
        server_time_ms: u64,
        session: u64,
        answer: SessionAnswer,
        reload: Vec<Reload>,
    ) {
        let config = &self.role.config;
        let secs = |duration: core::time::Duration| u32::try_from(duration.as_secs()).unwrap_or(u32::MAX);
        let ok = LoginOk {
            user: user.to_string(),
            server_time_ms,
            heartbeat_secs: secs(config.heartbeat),
            idle_secs: secs(config.idle),
            send_max: config.send_max,
            session,
            resume: answer.code(),
            reload,
        };
        self.role.answers.push_back((0, ok.into()));
        self.role.feed = Feed::new(self.role.receive_max, config.max_conversations);
        self.role.identity = Some(TicketIdentity {
            user: user.as_bytes().to_vec(),
            device: core::mem::take(&mut self.role.device).into_bytes(),
            session: session.to_be_bytes().to_vec(),
        });
        self.core.keepalive = Some(Keepalive::new(config.heartbeat, config.idle, now));
        self.core.timers.set(Timer::Login, None);
        self.core.state = State::Online;
        self.after_change(now);
    }

    /// Gives the client a ticket, good for `lifetime_secs` seconds (at most 7 days) from `unix_secs`, the wall clock in seconds since
    /// 1970. With it the client's next connection resumes: one round trip, no token, and [`ServerEvent::Resumed`] here. At most
    /// four tickets wait to be transmitted. `entropy` is used for this ticket only.
    pub fn issue_ticket(
        &mut self,
        keys: &TicketKeys,
        unix_secs: u64,
        lifetime_secs: u32,
        entropy: Entropy,
    ) -> Result<(), IssueError> {
        let state = self.core.state;
        let (State::Online, Some(identity), Some(secret)) = (state, &self.role.identity, &self.role.resumption) else {
            return Err(IssueError::State(state));
        };
        let waiting = self.role.answers.iter().filter(|(_, body)| matches!(body, Body::Ticket(_)));
        if waiting.count() >= MAX_WAITING_TICKETS {
            return Err(IssueError::Blocked);
        }
        let ticket = keys.issue(secret, identity, unix_secs, u64::from(lifetime_secs), entropy)?;
        self.role.answers.push_back((0, Ticket { ticket, lifetime_secs }.into()));
        Ok(())
    }

    /// The login is refused: the connection closes with this reason. A client that came with a ticket is asked to log in with
    /// its token (4007) instead of being sent away (4006).
    pub fn refuse_login(&mut self, now: Instant, reason: &str) -> Result<(), AnswerError> {
        self.take_login()?;
        let code = if self.role.claims.is_some() { CloseCode::LOGIN_REQUIRED } else { CloseCode::LOGIN_REFUSED };
        self.close(now, code, reason);
        Ok(())
    }

    fn take_login(&mut self) -> Result<(), AnswerError> {
        if self.core.state != State::LoggingIn {
            return Err(AnswerError::State(self.core.state));
        }
        if !core::mem::take(&mut self.role.login_pending) {
            return Err(AnswerError::NotAsked);
        }
        Ok(())
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

    /// Deliveries that the client has not acked.
    pub fn unacked(&self) -> u64 {
        self.role.feed.in_flight()
    }
}

impl Server {
    fn login(&mut self, login: Login) -> Result<ServerEvent, Error> {
        let Login { user, device, token, receive_max, session, positions } = login;
        for (field, name) in [("user", &user), ("device", &device)] {
            if !valid_name(name) {
                return Err(Error::Name { field });
            }
        }
        if positions.len() > MAX_POSITIONS {
            return Err(Error::Positions { count: positions.len() });
        }
        if positions.iter().any(|Position { conversation, .. }| !valid_name(&conversation.id)) {
            return Err(Error::Name { field: "conversation" });
        }
        let resume = (session != 0).then_some(ResumeRequest { session, positions });
        let event = match &self.claims {
            None => {
                let (client_key, device, resume) = (self.client_key, device.clone(), resume.clone());
                ServerEvent::Login(LoginRequest { user, device, token, client_key, resume })
            }
            Some(TicketClaims { identity, issued, .. }) => {
                // The ticket says who it is. A client that says something else has mixed up two accounts.
                for (field, said, given) in [("user", &user, &identity.user), ("device", &device, &identity.device)] {
                    if said.as_bytes() != given.as_slice() {
                        return Err(Error::Identity { field });
                    }
                }
                let session = identity.session.first_chunk().copied().map_or(0, u64::from_be_bytes);
                let (device, resume, issued) = (device.clone(), resume.clone(), *issued);
                ServerEvent::Resumed(ResumedLogin { user, device, session, issued, resume })
            }
        };
        (self.device, self.resume) = (device, resume);
        self.receive_max = receive_max.min(self.config.receive_max);
        self.login_pending = true;
        Ok(event)
    }

    fn refuse(&mut self, id: u64, code: RefusalCode, reason: &str, retry: bool) {
        let refused = Refused { code: u32::from(code.0), reason: crate::close::cut_reason(reason.into()), retry };
        self.answers.push_back((id, refused.into()));
    }

    /// Refuses at once what no store should see.
    fn submit(&mut self, events: &mut VecDeque<ServerEvent>, id: u64, send: Send) {
        let Send { to, content_type, content } = send;
        let refusal = if to.kind != ConversationKind::Private as u32 {
            Some((RefusalCode::INVALID, "this server knows private conversations (kind 1) only"))
        } else if !valid_name(&to.id) {
            Some((RefusalCode::INVALID, "the target is not a valid name: 1 to 128 bytes without control characters"))
        } else if content.len() > self.config.max_content {
            Some((RefusalCode::TOO_LARGE, "the content is over this server's limit: send it as a file"))
        } else if id == 0 {
            Some((RefusalCode::INVALID, "the packet id of a message must not be zero"))
        } else {
            None
        };
        if let Some((code, reason)) = refusal {
            return self.refuse(id, code, reason, false);
        }
        self.unanswered = self.unanswered.saturating_add(1);
        events.push_back(ServerEvent::Message(Submission { packet_id: PacketId(id), to, content_type, content }));
    }
}

impl Machine for Server {
    type Event = ServerEvent;
    const PINGS: bool = false;
    const AFTER: State = State::Closed;

    fn closed_event(closed: Closed) -> ServerEvent {
        ServerEvent::Closed(closed)
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
        if let Link::Open(channel) = &core.link {
            let max_body = channel.peer_max_body();
            if !content_fits(self.config.max_content, max_body) {
                let max_content = u32::try_from(self.config.max_content).unwrap_or(u32::MAX);
                return Err(Error::PeerLimit { max_body, max_content });
            }
        }
        let Opened { negotiated, peer_key, ticket, resumption } = opened;
        let start = negotiated.handshake_hash.first_chunk().copied().unwrap_or_default();
        // Unique, and not 0, which names no session.
        self.fresh_session = (u64::from_be_bytes(start) >> 1).max(1);
        (self.client_key, self.claims, self.resumption) = (peer_key, ticket, Some(resumption));
        events.push_back(ServerEvent::Negotiated(negotiated));
        Ok(())
    }

    fn on_body(
        &mut self,
        core: &mut Core,
        events: &mut VecDeque<ServerEvent>,
        _now: Instant,
        id: u64,
        body: Body,
    ) -> Result<(), Error> {
        match (core.state, body) {
            (State::LoggingIn, Body::Login(login)) => {
                let event = self.login(login)?;
                events.push_back(event);
                Ok(())
            }
            (State::Online, Body::Send(send)) => {
                self.submit(events, id, send);
                Ok(())
            }
            (State::Online, Body::Delivered(Delivered { conversation, up_to, epoch })) => {
                if conversation.kind != ConversationKind::Private as u32 || !valid_name(&conversation.id) {
                    return Err(Error::Name { field: "conversation" });
                }
                let other = self.feed.epoch(&conversation).is_some_and(|known| known != epoch);
                if !other && self.feed.acked(&conversation, up_to) {
                    events.push_back(ServerEvent::Delivered { conversation, up_to, epoch });
                }
                Ok(())
            }
            // What arrives behind our own close is dropped.
            (State::Closing, _) => Ok(()),
            (state, body) => Err(Error::Unexpected { got: MessageType(body.kind().code()), state }),
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
        self.feed.next().map(|body| (0, Cow::Borrowed(body)))
    }

    fn message_sent(&mut self, _core: &mut Core, _id: u64, _now: Instant) {
        self.feed.transmitted();
    }

    fn message_too_large(&mut self, _core: &mut Core, _events: &mut VecDeque<ServerEvent>, _id: u64) {
        // The handshake admitted only peers that take every content; the receiver would see the gap.
        self.feed.transmitted();
    }

    fn produce(&mut self, core: &Core) -> Option<ServerEvent> {
        if core.state != State::Online {
            return None;
        }
        Some(match self.feed.question()? {
            Question::Unread { limit } => ServerEvent::Unread { limit },
            Question::Fetch { conversation, after, max_messages } => {
                ServerEvent::Fetch { conversation, after, max_messages, max_bytes: self.config.fetch_bytes }
            }
        })
    }

    fn on_retry_timer(&mut self, _core: &mut Core, _events: &mut VecDeque<ServerEvent>, _now: Instant) {}

    fn retry_at(&self, _core: &Core, _now: Instant) -> Option<Instant> {
        None
    }

    fn on_closed(&mut self, _closed: &Closed) {
        (self.claims, self.resumption, self.identity) = (None, None, None);
        self.login_pending = false;
        self.answers.clear();
    }
}
