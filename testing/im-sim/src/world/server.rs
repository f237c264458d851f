//! Servers: sessions, logins, and who is online.

use std::collections::BTreeMap;
use std::sync::Arc;

use im_proto::policy::{Decision, DeviceKind, DevicePolicy, NewDevice, OnlineDevice};
use im_proto::{
    AbortReason, AnswerError, CloseCode, Command, Connection, Conversation, Entry, Error, Fault as Whose, Instant,
    LogFacts, MessageType, ResumeRequest, Server, ServerEvent, State, StreamOutcome, Submission, TicketKeys,
    TicketStore, TicketUse, UsedTickets,
};

use super::event::Event;
use super::live::SessionStreams;
use super::transport::{Taken, check_tampered, front};
use super::{Clock, Node, Outcome, World};
use crate::fault::Fault;
use crate::log::Submitted;
use crate::pair::entropy;

/// One server of the service.
pub(super) struct SimServer {
    pub(super) clock: Clock,
    /// How often it was started again: what was under way in an earlier life comes to nothing.
    pub(super) life: u32,
    pub(super) up_again: Instant,
    pub(super) ticket_keys: Arc<TicketKeys>,
    /// Which memory of used tickets it has.
    pub(super) used: usize,
    pub(super) memory: Vec<UsedTickets>,
    /// The transport of each user's device: where hints go.
    pub(super) online: BTreeMap<(String, String), u64>,
}

impl SimServer {
    pub(super) fn new(plan: &super::Plan, n: usize, shared: &Arc<TicketKeys>, seed: u64) -> Self {
        let ticket_keys =
            if plan.shared_tickets { shared.clone() } else { super::trouble::ticket_keys(seed ^ (n as u64 + 1)) };
        Self {
            clock: Clock::default(),
            life: 0,
            up_again: Instant::default(),
            ticket_keys,
            used: 0,
            memory: vec![UsedTickets::new(10_000)],
            online: BTreeMap::new(),
        }
    }
}

/// A server's side of a transport.
pub(super) struct Session {
    pub(super) client: usize,
    pub(super) server: usize,
    pub(super) connection: Connection<Server>,
    pub(super) login: Option<(String, String)>,
    pub(super) since: Instant,
    /// The same in virtual time, which all servers agree on.
    pub(super) came: Instant,
    /// Whether the ticket that was shown on it may be used.
    pub(super) ticket: Option<bool>,
    /// Messages that wait for their answer.
    pub(super) unanswered: u32,
    pub(super) streams: SessionStreams,
}

/// Who wants to log in.
#[derive(Debug)]
pub(super) struct LoginAsked {
    user: String,
    device: String,
    resume: Option<ResumeRequest>,
    ticket: bool,
}

/// A message on its way into the store.
#[derive(Clone, Debug)]
pub(super) struct Op {
    pub(super) transport: u64,
    pub(super) server: usize,
    pub(super) life: u32,
    pub(super) user: String,
    pub(super) device: String,
    pub(super) message: Submitted,
}

/// What one server tells the others; it may be lost.
#[derive(Clone, Debug)]
pub(super) enum Hint {
    /// A user's conversation has entries up to here.
    Head { user: String, conversation: Conversation, head: u64 },
    /// A position of somebody, for a user's devices.
    Position { to: String, conversation: Conversation, user: String, read: bool, epoch: u64, up_to: u64 },
    /// A message was recalled.
    Recalled { user: String, conversation: Conversation, about: u64 },
    /// The device came in elsewhere.
    Replaced { user: String, device: String, at: Instant, by: u64 },
}

/// The wall clock at the start of every run, seconds since 1970.
const WALL: u64 = 1_800_000_000;

fn text(error: AnswerError) -> String {
    error.to_string()
}

impl World {
    pub(super) fn pump_session(&mut self, transport: u64) -> Outcome {
        let damages = self.plan.profile.damages();
        loop {
            let Some(session) = self.sessions.get_mut(&transport) else { return Ok(()) };
            let now = self.servers[session.server].clock.at(self.now);
            let before = session.connection.state();
            let (mut front_was, mut tampered, mut taken) = (Taken::Nothing, false, 0);
            if let Some(link) = self.links.get_mut(&transport) {
                front_was = front(&link.up, damages);
                taken = session.connection.handle_input(now, &mut link.up.inbox);
                link.up.taken(taken);
                tampered = taken > 0 && matches!(front_was, Taken::Tampered(_));
                link.damaged |= tampered;
            }
            let events: Vec<_> = std::iter::from_fn(|| session.connection.poll_event()).collect();
            if tampered {
                check_tampered(before, session.connection.state())?;
                // A hello that comes again asks again about its ticket, which is refused: it was shown before.
                let lost = StreamOutcome::Aborted(AbortReason::Lost);
                let refused = |event: &ServerEvent| {
                    matches!(event, ServerEvent::Closed(_) | ServerEvent::Ticket(_))
                        || matches!(event, ServerEvent::StreamEnded { outcome, .. } if *outcome == lost)
                };
                if !events.iter().all(refused) {
                    return Err(format!("bytes that nobody wrote ({front_was:?}) gave a server {before} {events:?}"));
                }
            }
            if taken == 0 && events.is_empty() {
                break;
            }
            for event in events {
                self.server_event(transport, event)?;
            }
        }
        self.transmit_session(transport)
    }

    fn transmit_session(&mut self, transport: u64) -> Outcome {
        let mut out = Vec::new();
        while self.may_write(transport, false) {
            let Some(session) = self.sessions.get_mut(&transport) else { return Ok(()) };
            let now = self.servers[session.server].clock.at(self.now);
            if session.connection.poll_transmit(now, &mut out, 65_536).is_none() {
                break;
            }
            if self.plan.profile.bytes_per_sec.is_some() {
                self.write(transport, false, &std::mem::take(&mut out));
            }
        }
        self.write(transport, false, &out);
        let Some(session) = self.sessions.get_mut(&transport) else { return Ok(()) };
        // Room to send may have made room to ask, and a close that went out is an event.
        let events: Vec<_> = std::iter::from_fn(|| session.connection.poll_event()).collect();
        self.check_session(transport)?;
        if !events.is_empty() {
            self.touch(Node::Session(transport));
        }
        for event in events {
            self.server_event(transport, event)?;
        }
        Ok(())
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "what the world does not do is an error")]
    fn server_event(&mut self, transport: u64, event: ServerEvent) -> Outcome {
        self.trace_of(&(transport, &event));
        let Some(event) = self.live_server_event(transport, event)? else { return Ok(()) };
        let Some(session) = self.sessions.get_mut(&transport) else { return Ok(()) };
        let login = session.login.clone();
        match event {
            ServerEvent::Ticket(ticket) => {
                let delay = self.store_ms();
                self.at(delay, Event::Ticket { transport, ticket });
            }
            ServerEvent::Login(login) => {
                let asked = LoginAsked { user: login.user, device: login.device, resume: login.resume, ticket: false };
                self.ask_login(transport, asked)?;
            }
            ServerEvent::Resumed(login) => {
                let of = &self.clients[session.client];
                if (&login.user, &login.device) != (&of.user, &of.device) {
                    return Err(format!("{}/{} came back as somebody else", of.user, of.device));
                }
                if session.ticket != Some(true) {
                    return Err(format!("{}/{} was let in by a used ticket", login.user, login.device));
                }
                let asked = LoginAsked { user: login.user, device: login.device, resume: login.resume, ticket: true };
                self.ask_login(transport, asked)?;
            }
            ServerEvent::Message(Submission { packet_id, to, content_type, content }) => {
                let message = Submitted { packet_id, to, entry: Entry::Message { content_type, content } };
                self.submitted(transport, message)?;
            }
            ServerEvent::Command { packet_id, command: Command { to, about, change } } => {
                let message = Submitted { packet_id, to, entry: Entry::Command { about, change } };
                self.submitted(transport, message)?;
            }
            ServerEvent::Unread { limit } => self.ask_unread(transport, login.as_ref(), limit)?,
            ServerEvent::Fetch { conversation, after, max_messages, .. } => {
                self.ask_fetch(transport, login.as_ref(), conversation, after, max_messages)?;
            }
            ServerEvent::Delivered { conversation, up_to, epoch } => {
                let server = session.server;
                let (user, device) = login.ok_or("acked before the login")?;
                // An ack of another epoch counts for nothing.
                if epoch == self.log.epoch(&user, &conversation) {
                    self.log.advance(&user, &device, &conversation, up_to);
                    self.tell(server, &user, &conversation, false, up_to);
                }
            }
            ServerEvent::Read { conversation, epoch, up_to } => {
                let server = session.server;
                let (user, _) = login.ok_or("read before the login")?;
                let position = self.log.read(&user, &conversation, epoch, up_to);
                self.tell(server, &user, &conversation, true, position);
            }
            ServerEvent::Closed(closed) => {
                if !session.streams.is_empty() {
                    return Err(format!("closed before the end of {:?}", session.streams.keys()));
                }
                let damaged = self.links.get(&transport).is_some_and(|link| link.damaged);
                let fault = closed.error.map(|error| error.fault());
                let expected = match closed.error {
                    // A ticket that is no good behind a cookie: there is no second retry.
                    Some(Error::Handshake(_)) => self.plan.tickets,
                    // A client whose login deadline is over before the reply is there says so in the clear.
                    Some(Error::Unexpected { got: MessageType::CLOSE, .. }) => true,
                    _ => false,
                };
                if !damaged && !expected && matches!(fault, Some(Whose::PeerViolated | Whose::PeerIncompatible)) {
                    return Err(format!("the server found a violation: {closed}"));
                }
                self.session_over(transport);
            }
            ServerEvent::Negotiated(_) => {}
            ServerEvent::Signal { .. } => return Err("a signal, and nobody signals here".into()),
            other => return Err(format!("an event that the world does not know: {other:?}")),
        }
        Ok(())
    }

    /// A connection is over. Its device may be online on another one already.
    fn session_over(&mut self, transport: u64) {
        let Some(session) = self.sessions.remove(&transport) else { return };
        if let Some(login) = session.login {
            let online = &mut self.servers[session.server].online;
            if online.get(&login) == Some(&transport) {
                online.remove(&login);
            }
        }
        self.let_go(transport, false);
    }

    pub(super) fn unix_secs(&self, server: usize) -> u64 {
        let since = Clock::default().at(Instant::default()).as_micros();
        let now = self.servers[server].clock.at(self.now).as_micros();
        (WALL * 1_000_000 + now - since) / 1_000_000
    }

    /// The store of used tickets answers.
    pub(super) fn ticket(&mut self, transport: u64, ticket: TicketUse) -> Outcome {
        let Some(session) = self.sessions.get_mut(&transport) else { return Ok(()) };
        let (server, client) = (session.server, session.client);
        let of = if self.plan.shared_tickets { 0 } else { server };
        let memory = self.servers[of].used;
        let fresh = self.servers[of].memory[memory].spend(&ticket.id, ticket.expires, ticket.now);
        session.ticket = Some(fresh);
        if !fresh {
            self.report.reused += 1;
            self.report.faults.count(Fault::UsedTicket);
            let damaged = self.links.get(&transport).is_some_and(|link| link.damaged);
            if !self.clients[client].shows_old_tickets && !damaged {
                return Err("a client showed a ticket twice by itself".into());
            }
        } else if !self.spent.insert(ticket.id) {
            return Err("a ticket was good twice".into());
        }
        self.touch(Node::Session(transport));
        let Some(session) = self.sessions.get_mut(&transport) else { return Ok(()) };
        match session.connection.ticket(self.servers[server].clock.at(self.now), fresh) {
            Ok(()) | Err(AnswerError::State(_)) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn ask_login(&mut self, transport: u64, asked: LoginAsked) -> Outcome {
        // With a fast store the answer is there at once.
        if *self.plan.store_ms.end() < 100 {
            return self.log_in(transport, asked);
        }
        let delay = self.store_ms();
        self.at(delay, Event::Login { transport, asked });
        Ok(())
    }

    /// Somebody may come in: older connections of the device go, the session goes on, and a ticket is given.
    pub(super) fn log_in(&mut self, transport: u64, asked: LoginAsked) -> Outcome {
        let LoginAsked { user, device, resume, ticket } = asked;
        let Some(session) = self.sessions.get_mut(&transport) else { return Ok(()) };
        let server = session.server;
        let now = self.servers[server].clock.at(self.now);
        if session.connection.state() != State::LoggingIn {
            return Ok(());
        }
        self.touched.push_back(Node::Session(transport));
        if ticket && self.rng.u64(0..10) == 0 {
            return session.connection.refuse_login(now, "come with your token").map_err(text);
        }
        self.report.resumed += u64::from(ticket);
        self.replace(transport, server, &user, &device)?;
        let (unix_secs, entropy) = (self.unix_secs(server), entropy(self.rng.u64(..)));
        // Now and then the server does not know the session.
        let continues = self.plan.tickets && self.rng.u64(0..8) > 0;
        let Some(session) = self.sessions.get_mut(&transport) else { return Ok(()) };
        if continues {
            let positions = resume.map_or_else(Vec::new, |resume| resume.positions);
            let facts = positions.iter().map(|position| LogFacts {
                epoch: self.log.epoch(&user, &position.conversation),
                oldest: 1,
                head: self.log.conversation(&user, &position.conversation).len() as u64,
                acked: self.log.cursor(&user, &device, &position.conversation),
            });
            let facts: Vec<_> = facts.collect();
            let _ = session.connection.resume_login(now, &user, unix_secs * 1000, &facts).map_err(text)?;
        } else {
            session.connection.accept_login(now, &user, unix_secs * 1000).map_err(text)?;
        }
        for (conversation, _) in self.log.heads(&user) {
            let (epoch, position) =
                (self.log.epoch(&user, &conversation), self.log.read_position(&user, &conversation));
            session.connection.read_by(&conversation, &user, epoch, position);
        }
        (session.login, session.since, session.came) = (Some((user.clone(), device.clone())), now, self.now);
        if self.plan.tickets {
            let issued = session.connection.issue_ticket(&self.servers[server].ticket_keys, unix_secs, 3600, entropy);
            issued.map_err(|error| error.to_string())?;
        }
        self.servers[server].online.insert((user.clone(), device.clone()), transport);
        self.tell_others(server, &Hint::Replaced { user, device, at: self.now, by: transport });
        Ok(())
    }

    /// The device's older connection goes.
    fn replace(&mut self, transport: u64, server: usize, user: &str, device: &str) -> Outcome {
        let online = self.sessions.iter().filter_map(|(id, session)| {
            let (of, device) = session.login.as_ref()?;
            let online = State::Online == session.connection.state() && session.server == server;
            (online && *id != transport && of == user).then(|| OnlineDevice {
                session: *id,
                device: device.clone(),
                kind: DeviceKind(0),
                since: session.since,
            })
        });
        let online: Vec<_> = online.collect();
        let new = NewDevice { device: device.into(), kind: DeviceKind(0) };
        match DevicePolicy::default().decide(&online, &new) {
            Decision::Refuse(rule) => Err(format!("{user}/{device} was refused: {rule}")),
            Decision::Admit { kicks } => {
                for kick in kicks {
                    if kick.code != CloseCode::REPLACED {
                        return Err(format!("{user}/{device} threw another device out"));
                    }
                    self.kick(kick.session, transport, &kick.reason.to_string());
                }
                Ok(())
            }
        }
    }

    /// A connection has to go because its device came in on another one.
    pub(super) fn kick(&mut self, transport: u64, by: u64, reason: &str) {
        let Some(session) = self.sessions.get_mut(&transport) else { return };
        if by < transport {
            self.report.faults.count(Fault::LateLogin);
            self.clients[session.client].replaced_by_older.insert(transport);
        }
        self.report.replaced += 1;
        session.connection.close(self.servers[session.server].clock.at(self.now), CloseCode::REPLACED, reason);
        self.touch(Node::Session(transport));
    }
}
