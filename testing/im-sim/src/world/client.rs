//! Clients and their applications.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use im_proto::{
    AckToken, Arrival, Client, ClientConfig, ClientEvent, CloseCode, Closed, ClosedBy, Command, Connection,
    Conversation, Entry, Instant, Message, Name, PacketId, RefusalCode, ReloadReason, SavedTicket, SendError,
    SessionAnswer, State,
};

use super::event::{Event, Said};
use super::live::ClientLive;
use super::server::Session;
use super::transport::{Link, Taken, check_tampered, front};
use super::{Clock, Node, Outcome, Plan, World};
use crate::fault::Fault;
use crate::pair::{credentials, entropy};

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Stored(u64),
    Refused(RefusalCode),
    Unknown,
    /// The client crashed before it was told: the application sends it again, as another one.
    Crashed,
}

/// A message or command that the connection took.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) to: Conversation,
    pub(super) entry: Entry,
    pub(super) said: Said,
    pub(super) fate: Option<Fate>,
}

/// An entry that the application has.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Got {
    pub(super) from: Name,
    pub(super) entry: Entry,
    /// When the transport was begun that brought it.
    pub(super) dialed: Instant,
    /// The application has it safe.
    safe: bool,
}

pub(super) struct SimClient {
    config: ClientConfig,
    pub(super) user: String,
    pub(super) device: String,
    pub(super) connection: Connection<Client>,
    pub(super) clock: Clock,
    /// How often the client was started again.
    pub(super) life: u32,
    pub(super) transport: Option<u64>,
    /// It does not come back by itself.
    pub(super) away: bool,
    /// It dials when the time has come.
    dials: bool,
    /// What the outbox had no room for; the application has it safe.
    pub(super) waiting: VecDeque<Said>,
    pub(super) sent: BTreeMap<PacketId, Sent>,
    pub(super) received: BTreeMap<Conversation, BTreeMap<u64, Got>>,
    /// What was delivered in this life, and is not safe yet.
    pub(super) held: usize,
    /// The last seq of each conversation in this life.
    last: BTreeMap<Conversation, u64>,
    dialed: Instant,
    /// The furthest that the application read, with the epoch of the log, and what it was told of each position.
    pub(super) read: BTreeMap<Conversation, (u64, u64)>,
    told: BTreeMap<(bool, Conversation, String), (u64, u64)>,
    /// Tickets that the application stored, used or not.
    saved: Vec<SavedTicket>,
    /// It gave the connection a ticket that may have been used.
    pub(super) shows_old_tickets: bool,
    /// The transport that a server closed because an older login of the same device came late.
    pub(super) replaced_by_older: BTreeSet<u64>,
    /// Of connections of earlier lives.
    pub(super) duplicates: u64,
    pub(super) retries: u64,
    pub(super) live: ClientLive,
}

/// Saved tickets that an application keeps.
const SAVED: usize = 6;

impl SimClient {
    pub(super) fn new(template: &ClientConfig, plan: &Plan, user: &str, device: &str, rng: &mut fastrand::Rng) -> Self {
        let mut config = template.clone();
        config.credentials = credentials(user, device);
        (config.receive_max, config.max_tries) = (plan.receive_max, plan.max_tries);
        config.receive_bytes = plan.receive_bytes;
        config.outbox_bytes = rng.usize(2_000..20_000);
        let formats = config.formats.ids();
        config.formats = config.formats.select(&formats[rng.usize(0..formats.len())..]);
        let connection = Connection::client(config.clone(), rng.u64(..)).expect("a valid configuration");
        let late = plan.late.iter().any(|(of, late)| (of.as_str(), late.as_str()) == (user, device));
        Self {
            config,
            user: user.into(),
            device: device.into(),
            connection,
            clock: Clock::default(),
            life: 0,
            transport: None,
            away: late,
            dials: false,
            waiting: VecDeque::new(),
            sent: BTreeMap::new(),
            received: BTreeMap::new(),
            held: 0,
            last: BTreeMap::new(),
            dialed: Instant::default(),
            read: BTreeMap::new(),
            told: BTreeMap::new(),
            saved: Vec::new(),
            shows_old_tickets: plan.old_tickets,
            replaced_by_older: BTreeSet::new(),
            duplicates: 0,
            retries: 0,
            live: ClientLive::default(),
        }
    }

    /// The process ends, and another one begins with what the application had safe: deliveries that it acked, messages without an
    /// outcome, read positions, the last ticket. The interface has no way to send a message again under its id after that.
    pub(super) fn crash(&mut self, seed: u64) {
        self.duplicates += self.connection.stats().duplicates;
        self.retries += self.connection.stats().retries;
        self.connection = Connection::client(self.config.clone(), seed).expect("a valid configuration");
        self.life += 1;
        (self.transport, self.held, self.dials) = (None, 0, false);
        self.live.crash();
        self.last.clear();
        self.told.clear();
        for entries in self.received.values_mut() {
            entries.retain(|_, got| got.safe);
        }
        for sent in self.sent.values_mut().rev().filter(|sent| sent.fate.is_none()) {
            sent.fate = Some(Fate::Crashed);
            self.waiting.push_front(sent.said.clone());
        }
        for (conversation, (epoch, up_to)) in &self.read {
            let _ = self.connection.read(conversation, *epoch, *up_to);
        }
        if let Some(saved) = self.saved.last() {
            self.shows_old_tickets = true;
            let _ = self.connection.add_ticket(saved);
        }
    }

    /// The bound of the outbox, in bytes.
    pub(super) fn outbox_bytes(&self) -> usize {
        self.config.outbox_bytes
    }

    /// Positions that a client is told of only grow within a log.
    fn told(&mut self, read: bool, conversation: Conversation, user: String, up_to: (u64, u64)) -> Outcome {
        match self.told.insert((read, conversation, user), up_to) {
            Some(before) if before.0 == up_to.0 && before.1 >= up_to.1 => {
                Err(format!("a position went from {before:?} to {up_to:?}"))
            }
            _ => Ok(()),
        }
    }

    /// The outcome of a message, which comes once.
    fn outcome(&mut self, id: PacketId, fate: Fate) -> Result<&Sent, String> {
        let sent = self.sent.get_mut(&id).ok_or_else(|| format!("{fate:?} of message {id}, which was never sent"))?;
        if let Some(before) = sent.fate.replace(fate) {
            return Err(format!("message {id} was {before:?}, and then {fate:?}"));
        }
        Ok(sent)
    }

    /// The device was set back to nothing in a conversation.
    fn reload(&mut self, conversation: &Conversation, epoch: u64) {
        self.received.remove(conversation);
        self.last.remove(conversation);
        self.read.retain(|of, read| of != conversation || read.0 == epoch);
        self.told.retain(|(_, of, _), told| of != conversation || told.0 == epoch);
    }
}

impl World {
    /// A message for somebody, from the application of a client.
    pub(super) fn message(&mut self, client: usize, n: usize, users: &[String]) -> Message {
        let to = if self.chance(self.plan.forbidden_percent) {
            super::store::NOBODY.to_string()
        } else {
            users[self.rng.usize(0..users.len())].clone()
        };
        let mut text = format!("{}/{} {n}", self.clients[client].user, self.clients[client].device);
        let filled = self.rng.usize(self.plan.content.clone());
        text.extend(std::iter::repeat_n('.', filled.saturating_sub(text.len())));
        Message::text(&to, &text)
    }

    pub(super) fn dial(&mut self, index: usize, life: u32) -> Outcome {
        let client = &mut self.clients[index];
        if client.life != life || client.away || client.transport.is_some() {
            return Ok(());
        }
        client.dials = false;
        let server = if self.servers.len() > 1 { self.rng.usize(0..self.servers.len()) } else { 0 };
        let partition = self.blocked(index, server, true).or_else(|| self.blocked(index, server, false)).is_some();
        if self.servers[server].up_again > self.now || partition && self.rng.bool() {
            self.report.faults.count(Fault::DialFailed);
            self.dial_again(index);
            return Ok(());
        }
        self.next_id += 1;
        let transport = self.next_id;
        self.report.connections += 1;
        let again = self.plan.old_tickets && self.rng.u64(0..4) == 0;
        let client = &mut self.clients[index];
        client.dialed = self.now;
        client.transport = Some(transport);
        if again && !client.saved.is_empty() {
            // As from a backup of the device.
            let saved = &client.saved[self.rng.usize(0..client.saved.len())];
            client.connection.add_ticket(saved).map_err(|error| error.to_string())?;
        }
        if self.plan.tickets && !self.plan.shared_tickets && self.servers.len() > 1 && client.connection.tickets() > 0 {
            self.report.faults.count(Fault::ForeignTicket);
        }
        let now = client.clock.at(self.now);
        client.connection.connect(entropy(self.rng.u64(..)), now).map_err(|error| error.to_string())?;
        let mut arrival = Arrival::at(self.unix_secs(server));
        if self.plan.tickets {
            arrival.tickets = Some(self.servers[server].ticket_keys.clone());
            arrival.demand_cookie = self.rng.u64(0..4) == 0;
        }
        let now = self.servers[server].clock.at(self.now);
        let connection = Connection::server_for(self.server_config.clone(), arrival, entropy(self.rng.u64(..)), now)
            .map_err(|error| error.to_string())?;
        let (since, came) = (now, self.now);
        let session = Session {
            client: index,
            server,
            connection,
            login: None,
            since,
            came,
            ticket: None,
            unanswered: 0,
            streams: BTreeMap::new(),
        };
        self.sessions.insert(transport, session);
        self.links.insert(transport, Link::new(index, server));
        self.touch(Node::Client(index));
        self.touch(Node::Session(transport));
        Ok(())
    }

    fn dial_again(&mut self, index: usize) {
        let client = &mut self.clients[index];
        if std::mem::replace(&mut client.dials, true) {
            return;
        }
        let (delay, life) = (client.connection.reconnect_delay(), client.life);
        self.schedule(self.now + delay, Event::Dial { client: index, life });
    }

    pub(super) fn pump_client(&mut self, index: usize) -> Outcome {
        let damages = self.plan.profile.damages();
        loop {
            self.submit(index)?;
            let client = &mut self.clients[index];
            let now = client.clock.at(self.now);
            let before = client.connection.state();
            let (mut front_was, mut tampered, mut taken) = (Taken::Nothing, false, 0);
            if let Some(link) = client.transport.and_then(|transport| self.links.get_mut(&transport)) {
                front_was = front(&link.down, damages);
                taken = client.connection.handle_input(now, &mut link.down.inbox);
                link.down.taken(taken);
                tampered = taken > 0 && matches!(front_was, Taken::Tampered(_));
                link.damaged |= tampered;
            }
            let events: Vec<_> = std::iter::from_fn(|| client.connection.poll_event()).collect();
            if tampered {
                check_tampered(before, client.connection.state())?;
                // Nobody looks at the number of the transport in the clear, bytes 1 and 2 of the header of a reply.
                let unseen = matches!(front_was, Taken::Tampered(1..=2)) && before == State::Handshaking;
                if !unseen && !events.iter().all(super::live::is_end) {
                    return Err(format!("bytes that nobody wrote ({front_was:?}) gave a client {before} {events:?}"));
                }
            }
            if taken == 0 && events.is_empty() {
                break;
            }
            for event in events {
                self.client_event(index, event)?;
            }
        }
        self.transmit_client(index)
    }

    /// The application hands over what the outbox takes.
    fn submit(&mut self, index: usize) -> Outcome {
        let client = &mut self.clients[index];
        let now = client.clock.at(self.now);
        while let Some(said) = client.waiting.pop_front() {
            let taken = match said.clone() {
                Said::Message(message) => match client.connection.send(now, message) {
                    Err(SendError::Blocked(_)) => None,
                    other => Some(other.map_err(|error| format!("a message was not taken: {error}"))?),
                },
                Said::Command(command) => match client.connection.command(now, command) {
                    Err(SendError::Blocked(_)) => None,
                    other => Some(other.map_err(|error| format!("a command was not taken: {error}"))?),
                },
            };
            let Some(id) = taken else {
                client.waiting.push_front(said);
                break;
            };
            let (to, entry) = said.entry();
            client.sent.insert(id, Sent { to, entry, said, fate: None });
        }
        Ok(())
    }

    fn transmit_client(&mut self, index: usize) -> Outcome {
        let mut out = Vec::new();
        let transport = self.clients[index].transport;
        while transport.is_none_or(|transport| self.may_write(transport, true)) {
            let client = &mut self.clients[index];
            let now = client.clock.at(self.now);
            if client.connection.poll_transmit(now, &mut out, 65_536).is_none() {
                break;
            }
            if let Some(transport) = transport.filter(|_| self.plan.profile.bytes_per_sec.is_some()) {
                self.write(transport, true, &std::mem::take(&mut out));
            }
        }
        if let Some(transport) = transport {
            self.write(transport, true, &out);
        }
        self.check_client(index)?;
        let client = &mut self.clients[index];
        let events: Vec<_> = std::iter::from_fn(|| client.connection.poll_event()).collect();
        if !events.is_empty() {
            self.touch(Node::Client(index));
        }
        for event in events {
            self.client_event(index, event)?;
        }
        Ok(())
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "what the world does not do is an error")]
    fn client_event(&mut self, index: usize, event: ClientEvent) -> Outcome {
        self.trace_of(&(index, &event));
        let Some(event) = self.live_client_event(index, event)? else { return Ok(()) };
        let client = &mut self.clients[index];
        match event {
            ClientEvent::Stored { packet_id, conversation, seq, .. } => {
                let message = client.outcome(packet_id, Fate::Stored(seq))?.entry.is_message();
                if message && self.chance(self.plan.commands_percent) {
                    self.command(index, conversation, seq);
                }
            }
            ClientEvent::Refused { packet_id, code, .. } => drop(client.outcome(packet_id, Fate::Refused(code))?),
            ClientEvent::Unknown { packet_id } => {
                client.outcome(packet_id, Fate::Unknown)?;
                self.report.faults.count(Fault::GivenUp);
            }
            ClientEvent::Message(delivery) => {
                if delivery.counts_as_unread() != (delivery.entry.is_message() && delivery.from != client.user) {
                    return Err(format!("{delivery:?} counts wrongly"));
                }
                let (conversation, epoch, seq) = (delivery.conversation, delivery.epoch, delivery.seq);
                let token = delivery.token;
                let last = client.last.insert(conversation.clone(), seq).unwrap_or(0);
                if seq <= last {
                    return Err(format!("{seq} of {conversation} came to the application after {last}"));
                }
                let (from, entry, dialed) = (delivery.from, delivery.entry, client.dialed);
                let entries = client.received.entry(conversation.clone()).or_default();
                // What was safe before a crash may come again after it, where its ack was lost.
                entries.entry(seq).or_insert(Got { from, entry, dialed, safe: false });
                client.held += 1;
                self.report.delivered += 1;
                self.read(index, &conversation, epoch, seq)?;
                let delay = self.rng.u64(0..3) * self.rng.u64(0..400);
                let life = self.clients[index].life;
                self.at(delay, Event::Ack { client: index, life, conversation, seq, token });
            }
            ClientEvent::Closed(closed) => self.closed(index, &closed)?,
            ClientEvent::ReadBy { conversation, user, epoch, up_to } => {
                client.told(true, conversation, user, (epoch, up_to))?;
            }
            ClientEvent::DeliveredTo { conversation, user, epoch, up_to } => {
                client.told(false, conversation, user, (epoch, up_to))?;
            }
            ClientEvent::Gap { conversation, had, next } => {
                return Err(format!("a gap in {conversation} from {had} to {next}"));
            }
            ClientEvent::Reload { conversation, reason, epoch } => {
                if self.plan.replaced_logs == 0 || reason != ReloadReason::Epoch {
                    return Err(format!("{conversation} had to be reloaded: {reason:?}"));
                }
                client.reload(&conversation, epoch);
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

    /// The application commands something about a message of its own.
    fn command(&mut self, index: usize, conversation: Conversation, seq: u64) {
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

    /// The user reads now and then.
    fn read(&mut self, index: usize, conversation: &Conversation, epoch: u64, seq: u64) -> Outcome {
        if self.rng.u8(0..4) != 0 {
            return Ok(());
        }
        let client = &mut self.clients[index];
        client.connection.read(conversation, epoch, seq).map_err(|error| error.to_string())?;
        let furthest = client.read.entry(conversation.clone()).or_default();
        *furthest = (epoch, if furthest.0 == epoch { seq.max(furthest.1) } else { seq });
        Ok(())
    }

    /// The application has a delivery safe.
    pub(super) fn acked(&mut self, index: usize, life: u32, conversation: &Conversation, seq: u64, token: AckToken) {
        let client = &mut self.clients[index];
        if client.life != life {
            return;
        }
        client.held -= 1;
        if let Some(got) = client.received.get_mut(conversation).and_then(|entries| entries.get_mut(&seq)) {
            got.safe = true;
        }
        client.connection.ack(token);
        self.touch(Node::Client(index));
    }

    /// Links end and time out, and some tickets do not suffice; nothing else may end a connection without a reason.
    fn closed(&mut self, index: usize, closed: &Closed) -> Outcome {
        let client = &mut self.clients[index];
        client.live.closed()?;
        let transport = client.transport.take();
        let link = transport.and_then(|transport| self.links.get(&transport));
        let damaged = link.is_some_and(|link| link.damaged);
        let older = transport.is_some_and(|transport| client.replaced_by_older.contains(&transport));
        // It may still be on its way when the device is called back.
        let goodbye = closed.code == CloseCode::NORMAL && closed.by == ClosedBy::Local;
        let expected = match closed.code {
            // The server cannot know which login is the later one; the user brings the device back.
            CloseCode::REPLACED => older,
            CloseCode::GOING_AWAY | CloseCode::TIMEOUT => true,
            CloseCode::NORMAL => client.away || goodbye,
            CloseCode::LOGIN_REQUIRED => self.plan.tickets,
            // A ticket that is no good behind a cookie: there is no second retry.
            CloseCode::HANDSHAKE_FAILED => self.plan.tickets,
            CloseCode::RESYNC => self.plan.replaced_logs > 0,
            _ => false,
        };
        if !expected && !damaged {
            return Err(format!("a client was closed: {closed}"));
        }
        if !client.away && !older && !goodbye && !closed.may_reconnect() {
            return Err(format!("a client must not come back: {closed}"));
        }
        if !client.away {
            self.dial_again(index);
        }
        if let Some(transport) = transport {
            self.let_go(transport, true);
        }
        Ok(())
    }
}
