//! From the handshake to the answer of the login: the server's key, tickets, sessions that go on.

use alloc::collections::VecDeque;
use alloc::string::String;
use core::time::Duration;

use im_crypto::ClientTicket;
use im_serial::body::{Conversation, Login, LoginOk, Reload, Ticket as TicketBody};

use super::{Client, ClientEvent};
use crate::connection::machine::Core;
use crate::connection::{Connection, State};
use crate::error::{AnswerError, Error};
use crate::keepalive::Keepalive;
use crate::link::{Link, Opened};
use crate::resume::{MAX_POSITIONS, ReloadReason, SessionAnswer};
use crate::tickets::{AddTicketError, SavedTicket, Ticket};
use crate::time::Instant;
use crate::timer::Timer;

impl Connection<Client> {
    /// Answers [`ClientEvent::ServerKeySeen`]: the key is the server's. It is pinned for later connections of this value; to keep
    /// it for longer, put it into [`ClientConfig::server_keys`](crate::ClientConfig::server_keys).
    pub fn trust_server(&mut self, now: Instant) -> Result<(), AnswerError> {
        if !matches!(self.core.state, State::Handshaking) {
            return Err(match self.core.state {
                State::LoggingIn | State::Online => AnswerError::NotAsked,
                state @ (State::Offline | State::Handshaking | State::Closing | State::Closed) => {
                    AnswerError::State(state)
                }
            });
        }
        let Self { core, role, .. } = self;
        match core.link.trust(&role.config, &mut core.clear, now) {
            Ok(Some(opened)) => {
                role.config.server_keys.extend(opened.peer_key);
                if let Err(error) = self.opened(opened) {
                    self.fail(now, error);
                }
                self.after_change(now);
                Ok(())
            }
            Ok(None) => Err(AnswerError::NotAsked),
            Err(error) => {
                self.fail(now, error);
                Err(AnswerError::State(self.core.state))
            }
        }
    }

    /// Gives back a ticket that the application stored: the next [`connect`](Self::connect) resumes with it, unless the server
    /// gives newer ones before. Store it no longer: a ticket is used once.
    pub fn add_ticket(&mut self, saved: &SavedTicket) -> Result<(), AddTicketError> {
        let ticket = Ticket::load(saved, &self.role.config.credentials)?;
        self.role.shelf.put(ticket);
        Ok(())
    }

    /// Tickets that are left for later connections.
    pub fn tickets(&self) -> usize {
        self.role.shelf.len()
    }
}

impl Client {
    /// The channel is open: the login is next.
    pub(super) fn opened(&mut self, core: &Core, opened: Opened) -> ClientEvent {
        let Opened { negotiated, resumption, .. } = opened;
        if !negotiated.handshake.is_resumption() && self.resuming.take().is_some() {
            // What made the server refuse one ticket holds for the others, most likely; each would cost a round trip.
            self.shelf.clear();
        }
        self.resumption = (self.config.max_tickets > 0).then_some(resumption);
        self.named.clear();
        if self.session != 0
            && self.config.receive_max > 0
            && let Link::Open(channel) = &core.link
        {
            let bytes = channel.peer_max_body() as usize / 2;
            self.named = self.inbox.positions(MAX_POSITIONS, bytes);
        }
        self.login_due = true;
        ClientEvent::Negotiated(negotiated)
    }

    /// The first packet of the channel.
    pub(super) fn login(&self) -> Login {
        let credentials = &self.config.credentials;
        // A ticket stands for the token, and for the account that it was given to.
        let (user, token) = match &self.resuming {
            Some(account) => (account.clone(), String::new()),
            None => (credentials.user.clone(), credentials.token.clone()),
        };
        Login {
            user,
            device: credentials.device.clone(),
            token,
            receive_max: self.config.receive_max,
            session: self.session,
            positions: self.named.clone(),
            receive_bytes: self.config.receive_bytes,
        }
    }

    /// The ticket for the next connection. It is used up, whatever comes of it.
    pub(super) fn take_ticket(&mut self, now: Instant) -> Option<ClientTicket> {
        self.resuming = None;
        if !self.config.possible_handshakes().iter().any(|id| id.is_resumption()) {
            return None;
        }
        let Ticket { ticket, account, session, .. } = self.shelf.take(now)?;
        if self.session == 0 {
            // After a restart: the ticket knows which session it was.
            self.session = session;
        }
        self.resuming = Some(account);
        Some(ticket)
    }

    pub(super) fn ticket(
        &mut self,
        events: &mut VecDeque<ClientEvent>,
        now: Instant,
        body: TicketBody,
    ) -> Result<(), Error> {
        let TicketBody { ticket, lifetime_secs } = body;
        let Some(secret) = &self.resumption else { return Ok(()) };
        let ticket = ClientTicket::new(self.config.provider, secret, ticket)?;
        let lifetime = Duration::from_secs(u64::from(lifetime_secs));
        let (account, session, until) = (self.account.clone(), self.session, Some(now + lifetime));
        let ticket = Ticket { ticket, account, session, until };
        events.push_back(ClientEvent::Ticket { saved: ticket.save(&self.config.credentials), lifetime });
        self.shelf.put(ticket);
        Ok(())
    }

    /// The server accepted the login and says what becomes of the session.
    pub(super) fn logged_in(&mut self, core: &mut Core, events: &mut VecDeque<ClientEvent>, now: Instant, ok: LoginOk) {
        let LoginOk { user, server_time_ms, heartbeat_secs, idle_secs, send_max, session, resume, reload } = ok;
        core.state = State::Online;
        core.timers.set(Timer::Login, None);
        let secs = |secs| Duration::from_secs(u64::from(secs));
        core.keepalive = Some(Keepalive::new(secs(heartbeat_secs), secs(idle_secs), now));
        self.send_max = send_max.max(1);
        self.failures = 0;
        (self.session, self.resuming) = (session, None);
        self.account.clone_from(&user);
        let answer = SessionAnswer::from_code(resume);
        events.push_back(ClientEvent::LoggedIn { user, server_time_ms, session: answer });
        for position in core::mem::take(&mut self.named) {
            match reload.iter().find(|reload| reload.conversation == position.conversation) {
                Some(Reload { reason, epoch, .. }) => {
                    let reason = ReloadReason::from_code(*reason).unwrap_or(ReloadReason::Unknown);
                    self.reload(events, position.conversation, reason, *epoch);
                }
                None if answer != SessionAnswer::New => self.inbox.continues(&position),
                None => {}
            }
        }
    }

    pub(super) fn reload(
        &mut self,
        events: &mut VecDeque<ClientEvent>,
        conversation: Conversation,
        reason: ReloadReason,
        epoch: u64,
    ) {
        self.inbox.reset(&conversation, epoch);
        self.forget_positions(&conversation, epoch);
        events.push_back(ClientEvent::Reload { conversation, reason, epoch });
    }

    /// What was read, and told of others, in another epoch was about a log that is there no more.
    fn forget_positions(&mut self, conversation: &Conversation, epoch: u64) {
        self.reads.forget(conversation, epoch);
        self.positions.forget(epoch, |(of, _, _)| of == conversation);
    }

    /// The server names the epoch of a conversation.
    pub(super) fn epoch(
        &mut self,
        events: &mut VecDeque<ClientEvent>,
        conversation: Conversation,
        epoch: u64,
    ) -> Result<(), Error> {
        if !crate::config::valid_name(&conversation.id) {
            return Err(Error::Name { field: "conversation" });
        }
        match self.inbox.epoch(&conversation, epoch) {
            None => return Err(Error::TooManyConversations { max: self.config.max_conversations }),
            Some(false) => {}
            Some(true) => {
                self.forget_positions(&conversation, epoch);
                events.push_back(ClientEvent::Reload { conversation, reason: ReloadReason::Epoch, epoch });
            }
        }
        Ok(())
    }
}
