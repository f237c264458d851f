//! From the handshake to the answer of the login: tickets, cookies, sessions that go on.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use im_crypto::{Entropy, StaticPublicKey, TicketClaims, TicketIdentity, TicketKeys};
use im_serial::Body;
use im_serial::body::{Login, LoginOk, Position, Reload, Ticket};

use super::{Server, ServerEvent, check_position};
use crate::budget::Budgets;
use crate::close::CloseCode;
use crate::config::{content_fits, valid_name};
use crate::connection::machine::Core;
use crate::connection::{Connection, State};
use crate::error::{AnswerError, Error, IssueError};
use crate::feed::Feed;
use crate::keepalive::Keepalive;
use crate::link::{Link, Opened, Taken};
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

/// Tickets that may wait to be transmitted.
const MAX_WAITING_TICKETS: usize = 4;

impl Connection<Server> {
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
        self.role.feed = Feed::new(self.role.receive_max, self.role.receive_bytes, config.max_conversations);
        self.role.identity = Some(TicketIdentity {
            user: user.as_bytes().to_vec(),
            device: core::mem::take(&mut self.role.device).into_bytes(),
            session: session.to_be_bytes().to_vec(),
        });
        self.role.claims = None;
        self.core.keepalive = Some(Keepalive::new(config.heartbeat, config.idle, now));
        self.role.budgets = config.budgets.as_ref().map(|budgets| Box::new(Budgets::new(budgets, now)));
        self.core.timers.set(Timer::Login, None);
        self.core.state = State::Online;
        self.after_change(now);
    }

    /// The session of the login that was accepted, which its tickets and later logins name. `None` before.
    pub fn session(&self) -> Option<u64> {
        let bytes = self.role.identity.as_ref()?.session.first_chunk()?;
        Some(u64::from_be_bytes(*bytes))
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
}

impl Server {
    /// The channel is open; nothing is done for the client before its login.
    pub(super) fn opened(&mut self, core: &Core, opened: Opened) -> Result<ServerEvent, Error> {
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
        (self.client_key, self.claims, self.resumption) = (peer_key, ticket.map(Box::new), Some(resumption));
        Ok(ServerEvent::Negotiated(negotiated))
    }

    pub(super) fn login(&mut self, login: Login) -> Result<ServerEvent, Error> {
        let Login { user, device, token, receive_max, session, positions, receive_bytes } = login;
        for (field, name) in [("user", &user), ("device", &device)] {
            if !valid_name(name) {
                return Err(Error::Name { field });
            }
        }
        if positions.len() > MAX_POSITIONS {
            return Err(Error::Positions { count: positions.len() });
        }
        for Position { conversation, .. } in &positions {
            check_position(conversation)?;
        }
        let resume = (session != 0).then_some(ResumeRequest { session, positions });
        let event = match self.claims.as_deref() {
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
        self.receive_bytes = receive_bytes;
        self.login_pending = true;
        Ok(event)
    }
}
