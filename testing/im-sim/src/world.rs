//! Clients, a server and its log, over links that delay, split and cut.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use im_proto::policy::{Decision, DeviceKind, DevicePolicy, NewDevice, OnlineDevice};
use im_proto::{
    AckToken, AnswerError, Arrival, Change, Client, ClientEvent, CloseCode, Command, Connection, Conversation, Entry,
    Instant, LogFacts, Message, PacketId, RUSTCRYPTO, ResumeRequest, SavedTicket, SendError, Server, ServerConfig,
    ServerEvent, SessionAnswer, State, Submission, TicketKeys, TicketStore, TicketUse, UsedTickets,
};

use crate::link::{Direction, Profile};
use crate::log::{Log, Record, Submitted};
use crate::pair::{configs, credentials, entropy};

/// What a run does.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The links.
    pub profile: Profile,
    /// Who takes part: user and device. Devices of one user have conversations in common.
    pub clients: Vec<(String, String)>,
    /// Messages that each client sends, to users at random.
    pub messages: usize,
    /// Of so many percent of its messages a client recalls, edits or reacts to one when it is stored.
    pub commands_percent: u64,
    /// They are handed to the client within so many virtual milliseconds.
    pub spread_ms: u64,
    /// The server crashes so often, at random moments within the spread; what was not durable is gone.
    pub crashes: usize,
    /// The server gives tickets and continues sessions. Clients come back with them, some with one that was used before; some are
    /// sent back to a full login; and half of the crashes lose the ticket keys.
    pub tickets: bool,
    /// The server notices that a client's transport is gone only after up to so many milliseconds, so that a device often
    /// comes back while its older connection stands.
    pub linger_ms: u64,
    /// Deliveries that a client takes unacked.
    pub receive_max: u32,
    /// Steps after which a run counts as a livelock.
    pub max_steps: u64,
}

impl Plan {
    /// Two users and three devices over links that lose nothing.
    pub fn lossless() -> Self {
        let clients = [("alice", "phone"), ("alice", "desk"), ("bob", "phone")];
        Self {
            profile: Profile::lossless(),
            clients: clients.map(|(user, device)| (user.into(), device.into())).to_vec(),
            messages: 12,
            commands_percent: 0,
            spread_ms: 5_000,
            crashes: 0,
            tickets: false,
            linger_ms: 0,
            receive_max: 4,
            max_steps: 200_000,
        }
    }

    /// The same over links that lose every fifth chunk together with the connection.
    pub fn lossy() -> Self {
        Self { profile: Profile::lossy(), ..Self::lossless() }
    }

    /// The same, and the server crashes three times.
    pub fn crashing() -> Self {
        Self { crashes: 3, ..Self::lossy() }
    }

    /// The same with tickets, sessions that go on, and connections that outlive their transport.
    pub fn resuming() -> Self {
        Self { tickets: true, linger_ms: 3_000, ..Self::crashing() }
    }

    /// The same, and clients recall, edit and react.
    pub fn commanding() -> Self {
        Self { commands_percent: 60, ..Self::crashing() }
    }

    /// Messages sent in a run.
    pub fn messages_in_all(&self) -> usize {
        self.clients.len() * self.messages
    }
}

fn ticket_keys(seed: u64) -> Arc<TicketKeys> {
    Arc::new(TicketKeys::new(&RUSTCRYPTO, entropy(seed)).expect("a valid key"))
}

/// Why a run failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The seed that shows it again.
    pub seed: u64,
    /// What went wrong.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}: {}", self.seed, self.what)
    }
}

/// What a run that succeeded did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Messages in the log.
    pub stored: usize,
    /// Commands in the log.
    pub commands: usize,
    /// Deliveries without the content that was recalled before.
    pub recalled: usize,
    /// Deliveries that clients told their applications of.
    pub delivered: usize,
    /// Transports begun.
    pub connections: u64,
    /// Deliveries dropped because they were had before.
    pub duplicates: u64,
    /// Messages transmitted more than once on one connection.
    pub retries: u64,
    /// Logins with a ticket.
    pub resumed: u64,
    /// Tickets that were shown after their use.
    pub reused: u64,
    /// Sessions that went on where the device stood.
    pub recovered: u64,
    /// Connections that had to go because their device came back.
    pub replaced: u64,
    /// Events handled.
    pub steps: u64,
    /// Virtual time at rest, in milliseconds.
    pub ended_ms: u64,
}

#[derive(Debug)]
enum Event {
    /// The client dials.
    Dial(usize),
    /// The application hands something to the client.
    Submit(usize, Said),
    /// Bytes arrive at one end of a transport, and perhaps its end.
    Arrive {
        transport: u64,
        to_server: bool,
        bytes: Vec<u8>,
        last: bool,
    },
    /// The application is done with a delivery.
    Ack(usize, AckToken),
    /// A message becomes durable.
    Durable {
        transport: u64,
        message: Submitted,
    },
    /// The server knows that it is durable.
    Answer {
        transport: u64,
        message: Submitted,
        result: Result<(u64, bool), u64>,
    },
    Crash,
    /// The store of used tickets answers.
    Ticket {
        transport: u64,
        ticket: TicketUse,
    },
    /// The server notices the end of a transport.
    Gone {
        transport: u64,
    },
    /// Somebody's timer; everybody looks.
    Timer,
}

/// What an application says.
#[derive(Debug)]
enum Said {
    Message(Message),
    Command(Command),
}

impl Said {
    fn entry(&self) -> (Conversation, Entry) {
        match self {
            Self::Message(Message { to, content_type, content }) => {
                (to.clone(), Entry::Message { content_type: *content_type, content: content.clone() })
            }
            Self::Command(Command { to, about, change }) => {
                (to.clone(), Entry::Command { about: *about, change: change.clone() })
            }
        }
    }
}

struct SimClient {
    user: String,
    connection: Connection<Client>,
    transport: Option<u64>,
    inbox: Vec<u8>,
    link: Direction,
    /// Messages that the outbox had no room for.
    waiting: VecDeque<Said>,
    sent: BTreeMap<PacketId, (Conversation, Entry)>,
    stored: BTreeMap<PacketId, u64>,
    /// With the moment at which the transport was begun.
    received: BTreeMap<Conversation, Vec<(u64, String, Entry, Instant)>>,
    dialed: Instant,
    /// The furthest that the application read, and what it was told of each position.
    read: BTreeMap<Conversation, u64>,
    told: BTreeMap<(bool, Conversation, String), u64>,
    device: String,
    /// Tickets that the application stored, used or not.
    saved: Vec<SavedTicket>,
}

impl SimClient {
    /// Positions that a client is told of only grow.
    fn told(&mut self, read: bool, conversation: Conversation, user: String, up_to: u64) -> Outcome {
        match self.told.insert((read, conversation, user), up_to) {
            Some(before) if before >= up_to => Err(format!("a position went from {before} to {up_to}")),
            _ => Ok(()),
        }
    }
}

struct Session {
    client: usize,
    connection: Connection<Server>,
    inbox: Vec<u8>,
    link: Direction,
    login: Option<(String, String)>,
    since: Instant,
    /// The transport is gone, and the server did not notice yet.
    cut: bool,
    /// Whether the ticket that was shown on it may be used.
    ticket: Option<bool>,
}

/// A run in progress.
pub struct World {
    plan: Plan,
    rng: fastrand::Rng,
    now: Instant,
    next_id: u64,
    queue: BTreeMap<(Instant, u64), Event>,
    clients: Vec<SimClient>,
    server: Arc<ServerConfig>,
    sessions: BTreeMap<u64, Session>,
    log: Log,
    ticket_keys: Arc<TicketKeys>,
    used: UsedTickets,
    /// Every ticket that let somebody in, over crashes.
    spent: BTreeSet<[u8; 16]>,
    report: Report,
}

/// The wall clock at the start of every run, seconds since 1970.
const WALL: u64 = 1_800_000_000;
/// Saved tickets that an application keeps.
const SAVED: usize = 6;

type Outcome = Result<(), String>;

impl World {
    /// Runs a seed to its end: everybody has everything, and nothing is on its way.
    pub fn run(seed: u64, plan: &Plan) -> Result<Report, Failure> {
        let mut world = Self::new(seed, plan);
        match world.go() {
            Ok(()) => Ok(world.report),
            Err(what) => Err(Failure { seed, what }),
        }
    }

    fn new(seed: u64, plan: &Plan) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (mut template, mut server) = configs();
        // Schedules are about what comes after; ML-KEM would be half of their time.
        template.handshakes.retain(|id| !id.is_post_quantum());
        server.handshakes.retain(|id| !id.is_post_quantum());
        let clients = plan
            .clients
            .iter()
            .map(|(user, device)| {
                let mut config = template.clone();
                config.credentials = credentials(user, device);
                config.receive_max = plan.receive_max;
                // A cut connection is no answer; nobody gives up in these runs.
                config.max_tries = u32::MAX;
                config.outbox_bytes = rng.usize(2_000..20_000);
                let formats = config.formats.ids();
                config.formats = config.formats.select(&formats[rng.usize(0..formats.len())..]);
                let connection = Connection::client(config, rng.u64(..)).expect("a valid configuration");
                SimClient {
                    user: user.clone(),
                    device: device.clone(),
                    connection,
                    transport: None,
                    inbox: Vec::new(),
                    link: Direction::default(),
                    waiting: VecDeque::new(),
                    sent: BTreeMap::new(),
                    stored: BTreeMap::new(),
                    received: BTreeMap::new(),
                    saved: Vec::new(),
                    dialed: Instant::default(),
                    read: BTreeMap::new(),
                    told: BTreeMap::new(),
                }
            })
            .collect();
        Self {
            plan: plan.clone(),
            rng,
            now: Instant::from_micros(0),
            next_id: 1,
            queue: BTreeMap::new(),
            clients,
            server: Arc::new(server),
            sessions: BTreeMap::new(),
            log: Log::default(),
            ticket_keys: ticket_keys(seed),
            used: UsedTickets::new(10_000),
            spent: BTreeSet::new(),
            report: Report::default(),
        }
    }

    fn at(&mut self, delay_ms: u64, event: Event) {
        let at = self.now + Duration::from_millis(delay_ms);
        self.schedule(at, event);
    }

    fn schedule(&mut self, at: Instant, event: Event) {
        self.next_id += 1;
        self.queue.insert((at.max(self.now), self.next_id), event);
    }

    fn go(&mut self) -> Outcome {
        let users: Vec<String> = self.plan.clients.iter().map(|(user, _)| user.clone()).collect();
        for client in 0..self.clients.len() {
            let delay = self.rng.u64(0..200);
            self.at(delay, Event::Dial(client));
            for n in 0..self.plan.messages {
                let to = users[self.rng.usize(0..users.len())].clone();
                let text = format!("{}/{} {n}", self.clients[client].user, self.clients[client].device);
                let delay = self.rng.u64(0..=self.plan.spread_ms);
                self.at(delay, Event::Submit(client, Said::Message(Message::text(&to, &text))));
            }
        }
        for _ in 0..self.plan.crashes {
            let delay = self.rng.u64(0..=self.plan.spread_ms);
            self.at(delay, Event::Crash);
        }
        while let Some(event) = self.next_event() {
            self.report.steps += 1;
            if self.report.steps > self.plan.max_steps {
                return Err(format!("livelock: {} steps and not at rest", self.report.steps));
            }
            self.handle(event)?;
            self.pump_all()?;
            if self.at_rest() {
                break;
            }
        }
        self.judge()
    }

    /// The next event; a timer of a connection counts as one.
    fn next_event(&mut self) -> Option<Event> {
        let timers = self.clients.iter().filter_map(|client| client.connection.poll_timeout());
        let timers = timers.chain(self.sessions.values().filter_map(|session| session.connection.poll_timeout()));
        let timer = timers.map(|(at, _)| at).min();
        match (self.queue.first_key_value().map(|((at, _), _)| *at), timer) {
            (queued, Some(timer)) if queued.is_none_or(|queued| timer < queued) => {
                self.now = self.now.max(timer);
                Some(Event::Timer)
            }
            (Some(_), _) => {
                let ((at, _), event) = self.queue.pop_first()?;
                self.now = at;
                Some(event)
            }
            (None, _) => None,
        }
    }

    fn handle(&mut self, event: Event) -> Outcome {
        match event {
            Event::Dial(client) => self.dial(client),
            Event::Submit(client, said) => {
                self.clients[client].waiting.push_back(said);
                Ok(())
            }
            Event::Arrive { transport, to_server, bytes, last } => {
                self.arrive(transport, to_server, &bytes, last);
                Ok(())
            }
            Event::Ack(client, token) => {
                self.clients[client].connection.ack(token);
                Ok(())
            }
            Event::Durable { transport, message } => {
                let Some(Session { login: Some((user, device)), .. }) = self.sessions.get(&transport) else {
                    return Ok(());
                };
                let result = self.log.append(self.now, user, device, &message);
                if let Entry::Command { about, change: Change::Recall } = message.entry {
                    let (user, other) = (user.clone(), message.to.id.clone());
                    for session in self.sessions.values_mut() {
                        let Some((me, _)) = &session.login else { continue };
                        if *me == other {
                            session.connection.recalled(&Conversation::private(user.as_str()), about);
                        }
                        if *me == user {
                            session.connection.recalled(&message.to, about);
                        }
                    }
                }
                let delay = self.rng.u64(0..20);
                self.at(delay, Event::Answer { transport, message, result });
                Ok(())
            }
            Event::Answer { transport, message, result } => self.answer(transport, &message, result),
            Event::Crash => {
                let transports: Vec<u64> = self.sessions.keys().copied().collect();
                for transport in transports {
                    self.cut(transport);
                    self.sessions.remove(&transport);
                }
                if self.plan.tickets && self.rng.bool() {
                    // With the keys the memory of used tickets may go too: none of them opens any more.
                    self.ticket_keys = ticket_keys(self.rng.u64(..));
                    self.used = UsedTickets::new(10_000);
                }
                Ok(())
            }
            Event::Ticket { transport, ticket } => self.ticket(transport, ticket),
            Event::Gone { transport } => {
                self.sessions.remove(&transport);
                Ok(())
            }
            Event::Timer => {
                for client in &mut self.clients {
                    client.connection.handle_timeout(self.now);
                    if let Some((at, timer)) = client.connection.poll_timeout()
                        && at <= self.now
                    {
                        return Err(format!("the client's {timer:?} timer is due again at once"));
                    }
                }
                for session in self.sessions.values_mut() {
                    session.connection.handle_timeout(self.now);
                }
                Ok(())
            }
        }
    }

    fn dial(&mut self, index: usize) -> Outcome {
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

    fn arrive(&mut self, transport: u64, to_server: bool, bytes: &[u8], last: bool) {
        if to_server {
            if let Some(session) = self.sessions.get_mut(&transport).filter(|session| !session.cut) {
                session.inbox.extend_from_slice(bytes);
            }
        } else if let Some(client) = self.clients.iter_mut().find(|client| client.transport == Some(transport)) {
            client.inbox.extend_from_slice(bytes);
        }
        if last {
            // The reader gets what came before the end.
            let _ = self.pump_all();
            self.cut(transport);
        }
    }

    /// The transport is gone for both ends.
    fn cut(&mut self, transport: u64) {
        if self.plan.linger_ms == 0 {
            self.sessions.remove(&transport);
        } else {
            if let Some(session) = self.sessions.get_mut(&transport) {
                session.cut = true;
            }
            let delay = self.rng.u64(0..=self.plan.linger_ms);
            self.at(delay, Event::Gone { transport });
        }
        if let Some(client) = self.clients.iter_mut().find(|client| client.transport == Some(transport)) {
            client.connection.handle_eof(self.now);
            client.transport = None;
        }
    }

    fn answer(&mut self, transport: u64, message: &Submitted, result: Result<(u64, bool), u64>) -> Outcome {
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

    fn pump_all(&mut self) -> Outcome {
        loop {
            let mut busy = false;
            for client in 0..self.clients.len() {
                busy |= self.pump_client(client)?;
            }
            let transports: Vec<u64> = self.sessions.keys().copied().collect();
            for transport in transports {
                busy |= self.pump_session(transport)?;
            }
            if !busy {
                return Ok(());
            }
        }
    }

    /// Whether anything happened.
    fn pump_client(&mut self, index: usize) -> Result<bool, String> {
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

    #[expect(clippy::wildcard_enum_match_arm, reason = "what the world does not do is an error")]
    fn client_event(&mut self, index: usize, event: ClientEvent) -> Outcome {
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

    fn pump_session(&mut self, transport: u64) -> Result<bool, String> {
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

    #[expect(clippy::wildcard_enum_match_arm, reason = "what the world does not do is an error")]
    fn server_event(&mut self, transport: u64, event: ServerEvent) -> Outcome {
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

    fn unix_secs(&self) -> u64 {
        WALL + self.now.as_micros() / 1_000_000
    }

    /// The store of used tickets answers.
    fn ticket(&mut self, transport: u64, ticket: TicketUse) -> Outcome {
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
    fn log_in(&mut self, transport: u64, user: &str, device: String, resume: Option<ResumeRequest>) -> Outcome {
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

    fn replace(&mut self, transport: u64, user: &str, device: &str) -> Outcome {
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

    /// Tells how far a user read or has a private conversation: its own devices, of what was read, and those of the other.
    fn tell(&mut self, user: &str, conversation: &Conversation, read: bool, up_to: u64) {
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

    /// Everything was handed over, answered and acked.
    fn at_rest(&self) -> bool {
        let submitted = !self.queue.values().any(|event| matches!(event, Event::Submit(..) | Event::Crash));
        submitted
            && self.clients.iter().all(|client| {
                client.waiting.is_empty()
                    && client.connection.unanswered() == 0
                    && client.connection.unconfirmed_reads() == 0
                    && self.log.heads(&client.user).iter().all(|(conversation, head)| {
                        self.log.cursor(&client.user, &client.device, conversation) == *head
                    })
            })
    }

    /// Every message is in the log once, and every device has every conversation once and in order.
    fn judge(&mut self) -> Outcome {
        let (mut stored, mut commands, mut recalled) = (0, 0, 0);
        for client in &self.clients {
            let messages = client.sent.values().filter(|(_, entry)| entry.is_message()).count();
            if client.stored.len() != client.sent.len() || messages != self.plan.messages {
                return Err(format!(
                    "{}/{} came to rest with {} of {} messages stored",
                    client.user,
                    client.device,
                    client.stored.len(),
                    self.plan.messages
                ));
            }
            for (id, (to, entry)) in &client.sent {
                let log = self.log.conversation(&client.user, to);
                let places: Vec<u64> = log
                    .iter()
                    .zip(1..)
                    .filter(|(record, _)| {
                        (record.from.as_str(), record.device.as_str()) == (&client.user, &client.device)
                            && record.packet_id == *id
                            && record.entry == *entry
                    })
                    .map(|(_, seq)| seq)
                    .collect();
                if places != [client.stored[id]] {
                    return Err(format!("message {id} was acked at {} and stands at {places:?}", client.stored[id]));
                }
                *(if entry.is_message() { &mut stored } else { &mut commands }) += 1;
            }
            for (conversation, furthest) in &client.read {
                let devices = self.clients.iter().filter(|other| other.user == client.user);
                let most = devices.filter_map(|other| other.read.get(conversation)).max();
                let position = self.log.read_position(&client.user, conversation);
                if Some(&position) != most || position < *furthest {
                    return Err(format!("{} read {conversation} up to {most:?}, kept is {position}", client.user));
                }
            }
            for (conversation, _) in self.log.heads(&client.user) {
                let own = |record: &Record| record.from == client.user && record.device == client.device;
                let want: Vec<_> = self
                    .log
                    .conversation(&client.user, &conversation)
                    .iter()
                    .zip(1..)
                    .filter(|(record, _)| !own(record))
                    .map(|(record, seq)| (seq, record))
                    .collect();
                let got = client.received.get(&conversation).map_or(&[][..], Vec::as_slice);
                let fits =
                    |((seq, from, entry, dialed), (place, record)): (&(_, _, Entry, Instant), &(u64, &Record))| {
                        let right = match record.recalled {
                            None => *entry == record.entry,
                            // On a connection that was begun later nothing but the place may come.
                            Some(at) => *entry == Entry::Recalled || *entry == record.entry && *dialed <= at,
                        };
                        recalled += usize::from(*entry == Entry::Recalled);
                        (seq, from) == (place, &record.from) && right
                    };
                if got.len() != want.len() || !got.iter().zip(&want).all(fits) {
                    return Err(format!(
                        "{}/{} has {got:?} of {conversation}, not {want:?}",
                        client.user, client.device
                    ));
                }
            }
            self.report.duplicates += client.connection.stats().duplicates;
            self.report.retries += client.connection.stats().retries;
        }
        (self.report.stored, self.report.commands, self.report.recalled) = (stored, commands, recalled);
        self.report.ended_ms = self.now.as_micros() / 1000;
        Ok(())
    }
}
