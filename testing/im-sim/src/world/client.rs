//! Clients and their applications.

use std::collections::{BTreeMap, VecDeque};

use im_proto::{
    Arrival, Client, ClientEvent, CloseCode, Command, Connection, Conversation, Entry, Instant, PacketId, SavedTicket,
    SendError, SessionAnswer,
};

use crate::link::Direction;
use crate::pair::entropy;

use super::*;

pub(super) struct SimClient {
    pub(super) user: String,
    pub(super) connection: Connection<Client>,
    pub(super) transport: Option<u64>,
    pub(super) inbox: Vec<u8>,
    pub(super) link: Direction,
    /// Messages that the outbox had no room for.
    pub(super) waiting: VecDeque<Said>,
    pub(super) sent: BTreeMap<PacketId, (Conversation, Entry)>,
    pub(super) stored: BTreeMap<PacketId, u64>,
    /// With the moment at which the transport was begun.
    pub(super) received: BTreeMap<Conversation, Vec<(u64, String, Entry, Instant)>>,
    pub(super) dialed: Instant,
    /// The furthest that the application read, and what it was told of each position.
    pub(super) read: BTreeMap<Conversation, u64>,
    pub(super) told: BTreeMap<(bool, Conversation, String), u64>,
    pub(super) device: String,
    /// Tickets that the application stored, used or not.
    pub(super) saved: Vec<SavedTicket>,
}

impl SimClient {
    /// Positions that a client is told of only grow.
    pub(super) fn told(&mut self, read: bool, conversation: Conversation, user: String, up_to: u64) -> Outcome {
        match self.told.insert((read, conversation, user), up_to) {
            Some(before) if before >= up_to => Err(format!("a position went from {before} to {up_to}")),
            _ => Ok(()),
        }
    }
}

impl World {
    pub(super) fn dial(&mut self, index: usize) -> Outcome {
        self.next_id += 1;
        let transport = self.next_id;
        self.report.connections += 1;
        let again = self.plan.tickets && self.rng.u64(0..4) == 0;
        let client = &mut self.clients[index];
        client.inbox.clear();
        client.dialed = self.now;
        client.link = Direction::default();
        client.transport = Some(transport);
        if again && !client.saved.is_empty() {
            // As from a backup of the device.
            let saved = &client.saved[self.rng.usize(0..client.saved.len())];
            client.connection.add_ticket(saved).map_err(|error| error.to_string())?;
        }
        client.connection.connect(entropy(self.rng.u64(..)), self.now).map_err(|error| error.to_string())?;
        let mut arrival = Arrival::at(self.unix_secs());
        if self.plan.tickets {
            arrival.tickets = Some(self.ticket_keys.clone());
            arrival.demand_cookie = self.rng.u64(0..4) == 0;
        }
        let connection = Connection::server_for(self.server.clone(), arrival, entropy(self.rng.u64(..)), self.now)
            .map_err(|error| error.to_string())?;
        let session = Session {
            client: index,
            connection,
            inbox: Vec::new(),
            link: Direction::default(),
            login: None,
            since: self.now,
            cut: false,
            ticket: None,
        };
        self.sessions.insert(transport, session);
        Ok(())
    }

    /// Whether anything happened.
    pub(super) fn pump_client(&mut self, index: usize) -> Result<bool, String> {
        let mut busy = false;
        let client = &mut self.clients[index];
        while let Some(said) = client.waiting.pop_front() {
            let entry = said.entry();
            let taken = match said {
                Said::Message(message) => match client.connection.send(self.now, message) {
                    Ok(id) => Ok(id),
                    Err(SendError::Blocked(message)) => Err(Said::Message(message)),
                    Err(error) => return Err(format!("a message was not taken: {error}")),
                },
                Said::Command(command) => match client.connection.command(self.now, command) {
                    Ok(id) => Ok(id),
                    Err(SendError::Blocked(command)) => Err(Said::Command(command)),
                    Err(error) => return Err(format!("a command was not taken: {error}")),
                },
            };
            match taken {
                Ok(id) => drop(client.sent.insert(id, entry)),
                Err(said) => {
                    client.waiting.push_front(said);
                    break;
                }
            }
        }
        let taken = client.connection.handle_input(self.now, &mut client.inbox);
        client.inbox.drain(..taken);
        let events: Vec<_> = std::iter::from_fn(|| client.connection.poll_event()).collect();
        busy |= taken > 0 || !events.is_empty();
        for event in events {
            self.client_event(index, event)?;
        }
        let client = &mut self.clients[index];
        let mut out = Vec::new();
        while let Some(transmit) = client.connection.poll_transmit(self.now, &mut out, 65_536) {
            busy |= transmit.len > 0;
        }
        if let Some(transport) = client.transport {
            let chunks = client.link.carry(self.now, out, &self.plan.profile, &mut self.rng);
            for chunk in chunks {
                let event = Event::Arrive { transport, to_server: true, bytes: chunk.bytes, last: chunk.last };
                self.schedule(chunk.at, event);
            }
        }
        Ok(busy)
    }

    pub(super) fn client_event(&mut self, index: usize, event: ClientEvent) -> Outcome {
        let client = &mut self.clients[index];
        match event {
            ClientEvent::Stored { packet_id, conversation, seq, .. } => {
                if client.stored.insert(packet_id, seq).is_some() {
                    return Err(format!("message {packet_id} was stored twice"));
                }
                let message = client.sent.get(&packet_id).is_some_and(|(_, entry)| entry.is_message());
                if message && self.plan.commands_percent > 0 && self.rng.u64(0..100) < self.plan.commands_percent {
                    let command = match self.rng.u8(0..4) {
                        0 | 1 => Command::recall(conversation, seq),
                        2 => Command::edit(conversation, seq, "better"),
                        _ => Command::react(conversation, seq, "👍"),
                    };
                    // A second one about the same message, sometimes.
                    let delay = self.rng.u64(0..2_000);
                    if self.rng.u8(0..3) == 0 {
                        let again = Command::edit(command.to.clone(), seq, "better still");
                        self.at(delay + 300, Event::Submit(index, Said::Command(again)));
                    }
                    self.at(delay, Event::Submit(index, Said::Command(command)));
                }
            }
            ClientEvent::Message(delivery) => {
                if delivery.counts_as_unread() != (delivery.entry.is_message() && delivery.from != client.user) {
                    return Err(format!("{delivery:?} counts wrongly"));
                }
                if self.plan.commands_percent > 0 && self.rng.u8(0..4) == 0 {
                    let read = client.connection.read(&delivery.conversation, delivery.seq);
                    read.map_err(|error| error.to_string())?;
                    let furthest = client.read.entry(delivery.conversation.clone()).or_default();
                    *furthest = delivery.seq.max(*furthest);
                }
                let list = client.received.entry(delivery.conversation).or_default();
                list.push((delivery.seq, delivery.from, delivery.entry, client.dialed));
                self.report.delivered += 1;
                let delay = self.rng.u64(0..3) * self.rng.u64(0..400);
                self.at(delay, Event::Ack(index, delivery.token));
            }
            ClientEvent::Closed(closed) => {
                // Links end and time out, and some tickets do not suffice; nothing else may end a connection here.
                let session = client.transport.and_then(|transport| self.sessions.get(&transport));
                let sent_back = match closed.code {
                    CloseCode::LOGIN_REQUIRED => self.plan.tickets,
                    // A used ticket behind a cookie: there is no second retry.
                    CloseCode::HANDSHAKE_FAILED => session.is_some_and(|session| session.ticket == Some(false)),
                    _ => false,
                };
                if !sent_back && !matches!(closed.code, CloseCode::GOING_AWAY | CloseCode::TIMEOUT) {
                    return Err(format!("a client was closed: {closed}"));
                }
                if let Some(transport) = client.transport.take() {
                    self.sessions.remove(&transport);
                }
                let delay = client.connection.reconnect_delay();
                let at = self.now + delay;
                self.schedule(at, Event::Dial(index));
            }
            ClientEvent::ReadBy { conversation, user, up_to } => client.told(true, conversation, user, up_to)?,
            ClientEvent::DeliveredTo { conversation, user, up_to } => client.told(false, conversation, user, up_to)?,
            ClientEvent::Gap { conversation, had, next } => {
                return Err(format!("a gap in {conversation} from {had} to {next}"));
            }
            ClientEvent::Refused { packet_id, reason, .. } => {
                return Err(format!("message {packet_id} was refused: {reason}"));
            }
            ClientEvent::Unknown { packet_id } => return Err(format!("message {packet_id} was given up")),
            ClientEvent::Reload { conversation, reason, .. } => {
                return Err(format!("{conversation} had to be reloaded: {reason:?}"));
            }
            ClientEvent::LoggedIn { session, .. } => {
                self.report.recovered += u64::from(session == SessionAnswer::Recovered);
            }
            ClientEvent::Ticket { saved, .. } => {
                if client.saved.len() == SAVED {
                    client.saved.remove(0);
                }
                client.saved.push(saved);
            }
            ClientEvent::ServerKeySeen(key) => return Err(format!("a pinned client was asked about {key}")),
            ClientEvent::Negotiated(_) => {}
            ClientEvent::Signal(_) | ClientEvent::SignalRefused { .. } | ClientEvent::CallAnswered { .. } => {
                return Err("a signal, and nobody signals here".into());
            }
            other => return Err(format!("an event that the world does not know: {other:?}")),
        }
        Ok(())
    }
}
