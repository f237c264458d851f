//! The server and its application.

use im_proto::policy::{Decision, DeviceKind, DevicePolicy, NewDevice, OnlineDevice};
use im_proto::{
    AnswerError, CloseCode, Command, Connection, Conversation, Entry, Instant, LogFacts, ResumeRequest, Server,
    ServerEvent, State, Submission, TicketStore, TicketUse,
};

use crate::link::Direction;
use crate::log::Submitted;
use crate::pair::entropy;

use super::*;

pub(super) struct Session {
    pub(super) client: usize,
    pub(super) connection: Connection<Server>,
    pub(super) inbox: Vec<u8>,
    pub(super) link: Direction,
    pub(super) login: Option<(String, String)>,
    pub(super) since: Instant,
    /// The transport is gone, and the server did not notice yet.
    pub(super) cut: bool,
    /// Whether the ticket that was shown on it may be used.
    pub(super) ticket: Option<bool>,
}

impl World {
    pub(super) fn pump_session(&mut self, transport: u64) -> Result<bool, String> {
        let mut busy = false;
        let Some(session) = self.sessions.get_mut(&transport) else { return Ok(false) };
        let taken = session.connection.handle_input(self.now, &mut session.inbox);
        session.inbox.drain(..taken);
        let events: Vec<_> = std::iter::from_fn(|| session.connection.poll_event()).collect();
        busy |= taken > 0 || !events.is_empty();
        for event in events {
            self.server_event(transport, event)?;
        }
        let Some(session) = self.sessions.get_mut(&transport) else { return Ok(true) };
        let mut out = Vec::new();
        while let Some(transmit) = session.connection.poll_transmit(self.now, &mut out, 65_536) {
            busy |= transmit.len > 0;
        }
        let chunks = session.link.carry(self.now, out, &self.plan.profile, &mut self.rng);
        for chunk in chunks {
            let event = Event::Arrive { transport, to_server: false, bytes: chunk.bytes, last: chunk.last };
            self.schedule(chunk.at, event);
        }
        Ok(busy)
    }

    pub(super) fn server_event(&mut self, transport: u64, event: ServerEvent) -> Outcome {
        let Some(session) = self.sessions.get_mut(&transport) else { return Ok(()) };
        let text = |error: AnswerError| error.to_string();
        match event {
            ServerEvent::Ticket(ticket) => {
                let delay = self.rng.u64(0..30);
                self.at(delay, Event::Ticket { transport, ticket });
            }
            ServerEvent::Login(login) => self.log_in(transport, &login.user, login.device, login.resume)?,
            ServerEvent::Resumed(login) => {
                let of = &self.clients[session.client];
                if (&login.user, &login.device) != (&of.user, &of.device) {
                    return Err(format!("{}/{} came back as somebody else", of.user, of.device));
                }
                if session.ticket != Some(true) {
                    return Err(format!("{}/{} was let in by a used ticket", login.user, login.device));
                }
                if self.rng.u64(0..10) == 0 {
                    return session.connection.refuse_login(self.now, "come with your token").map_err(text);
                }
                self.report.resumed += 1;
                self.log_in(transport, &login.user, login.device, login.resume)?;
            }
            ServerEvent::Message(message) => {
                let delay = self.rng.u64(0..30);
                let Submission { packet_id, to, content_type, content } = message;
                let message = Submitted { packet_id, to, entry: Entry::Message { content_type, content } };
                self.at(delay, Event::Durable { transport, message });
            }
            ServerEvent::Command { packet_id, command: Command { to, about, change } } => {
                let delay = self.rng.u64(0..30);
                let message = Submitted { packet_id, to, entry: Entry::Command { about, change } };
                self.at(delay, Event::Durable { transport, message });
            }
            ServerEvent::Unread { limit } => {
                let (user, device) = session.login.as_ref().ok_or("asked before the login")?;
                let (heads, complete) = self.log.unread(user, device, limit);
                session.connection.unread(&heads, complete).map_err(text)?;
            }
            ServerEvent::Fetch { conversation, after, max_messages, .. } => {
                let (user, device) = session.login.as_ref().ok_or("asked before the login")?;
                let after = after.unwrap_or_else(|| self.log.cursor(user, device, &conversation));
                let items = self.log.items(user, device, &conversation, after, max_messages);
                session.connection.fetched(&conversation, after, items).map_err(text)?;
            }
            ServerEvent::Delivered { conversation, up_to, .. } => {
                let (user, device) = session.login.as_ref().ok_or("acked before the login")?;
                self.log.advance(user, device, &conversation, up_to);
                let user = user.clone();
                self.tell(&user, &conversation, false, up_to);
            }
            ServerEvent::Read { conversation, up_to } => {
                let (user, _) = session.login.clone().ok_or("read before the login")?;
                let position = self.log.read(&user, &conversation, up_to);
                self.tell(&user, &conversation, true, position);
            }
            ServerEvent::Closed(closed) => {
                if closed.error.is_some_and(|error| error.fault() == im_proto::Fault::PeerViolated) {
                    return Err(format!("the server found a violation: {closed}"));
                }
            }
            ServerEvent::Negotiated(_) => {}
            ServerEvent::Signal { .. } => return Err("a signal, and nobody signals here".into()),
            other => return Err(format!("an event that the world does not know: {other:?}")),
        }
        Ok(())
    }

    pub(super) fn unix_secs(&self) -> u64 {
        WALL + self.now.as_micros() / 1_000_000
    }

    /// The store of used tickets answers.
    pub(super) fn ticket(&mut self, transport: u64, ticket: TicketUse) -> Outcome {
        let Some(session) = self.sessions.get_mut(&transport) else { return Ok(()) };
        let fresh = self.used.spend(&ticket.id, ticket.expires, ticket.now);
        session.ticket = Some(fresh);
        if !fresh {
            self.report.reused += 1;
        } else if !self.spent.insert(ticket.id) {
            return Err("a ticket was good twice".into());
        }
        match session.connection.ticket(self.now, fresh) {
            Ok(()) | Err(AnswerError::State(_)) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Somebody may come in: older connections of the device go, the session goes on, and a ticket is given.
    pub(super) fn log_in(
        &mut self,
        transport: u64,
        user: &str,
        device: String,
        resume: Option<ResumeRequest>,
    ) -> Outcome {
        self.replace(transport, user, &device)?;
        let text = |error: AnswerError| error.to_string();
        let (unix_secs, ticket) = (self.unix_secs(), entropy(self.rng.u64(..)));
        // Now and then the server does not know the session.
        let continues = self.plan.tickets && self.rng.u64(0..8) > 0;
        let Some(session) = self.sessions.get_mut(&transport) else { return Ok(()) };
        if continues {
            let positions = resume.map_or_else(Vec::new, |resume| resume.positions);
            let facts = positions.iter().map(|position| LogFacts {
                epoch: 0,
                oldest: 1,
                head: self.log.conversation(user, &position.conversation).len() as u64,
                acked: self.log.cursor(user, &device, &position.conversation),
            });
            let facts: Vec<_> = facts.collect();
            let _ = session.connection.resume_login(self.now, user, unix_secs * 1000, &facts).map_err(text)?;
        } else {
            session.connection.accept_login(self.now, user, unix_secs * 1000).map_err(text)?;
        }
        for (conversation, _) in self.log.heads(user) {
            let position = self.log.read_position(user, &conversation);
            session.connection.read_by(&conversation, user, position);
        }
        (session.login, session.since) = (Some((user.into(), device)), self.now);
        if self.plan.tickets {
            let issued = session.connection.issue_ticket(&self.ticket_keys, unix_secs, 3600, ticket);
            issued.map_err(|error| error.to_string())?;
        }
        // A client has one transport, and whoever logs in came by it.
        debug_assert_eq!(self.clients[session.client].transport, Some(transport));
        Ok(())
    }

    pub(super) fn replace(&mut self, transport: u64, user: &str, device: &str) -> Outcome {
        let online = self.sessions.iter().filter_map(|(id, session)| {
            let (of, device) = session.login.as_ref()?;
            let online = State::Online == session.connection.state();
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
                    self.report.replaced += 1;
                    if kick.code != CloseCode::REPLACED {
                        return Err(format!("{user}/{device} threw another device out"));
                    }
                    if let Some(session) = self.sessions.get_mut(&kick.session) {
                        session.connection.close(self.now, kick.code, &kick.reason.to_string());
                    }
                }
                Ok(())
            }
        }
    }

    pub(super) fn answer(&mut self, transport: u64, message: &Submitted, result: Result<(u64, bool), u64>) -> Outcome {
        let Ok((seq, duplicate)) = result else {
            return Err("a retry was taken for another message".into());
        };
        let mut from = None;
        if let Some(session) = self.sessions.get_mut(&transport) {
            let answered = session.connection.stored(message.packet_id, &message.to, seq, seq, 0, duplicate);
            match answered {
                // An older connection of the device, which had to go.
                Ok(()) | Err(AnswerError::State(_)) => {}
                Err(error) => return Err(error.to_string()),
            }
            from = session.login.clone().map(|(user, _)| user);
        }
        // The hint goes to everybody concerned; it may be lost with a connection, the log is not.
        let Some(from) = from else { return Ok(()) };
        for session in self.sessions.values_mut() {
            let Some((user, _)) = &session.login else { continue };
            if *user == message.to.id {
                session.connection.notify(&Conversation::private(from.as_str()), seq);
            }
            if *user == from {
                session.connection.notify(&message.to, seq);
            }
        }
        Ok(())
    }

    /// Tells how far a user read or has a private conversation: its own devices, of what was read, and those of the other.
    pub(super) fn tell(&mut self, user: &str, conversation: &Conversation, read: bool, up_to: u64) {
        for session in self.sessions.values_mut() {
            let Some((me, _)) = &session.login else { continue };
            let named = match me {
                me if *me == *user && read => conversation.clone(),
                me if *me == conversation.id => Conversation::private(user),
                _ => continue,
            };
            if read {
                session.connection.read_by(&named, user, up_to);
            } else {
                session.connection.delivered_to(&named, user, up_to);
            }
        }
    }
}
