//! Clients, a server and its log, over links that delay, split and cut.

mod client;
mod event;
mod judge;
mod plan;
mod server;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use im_proto::{
    Change, Connection, Conversation, Entry, Instant, Message, RUSTCRYPTO, ServerConfig, TicketKeys, UsedTickets,
};

use crate::link::Direction;
use crate::log::Log;
use crate::pair::{configs, credentials, entropy};

use self::client::SimClient;
use self::event::{Event, Said};
pub use self::plan::{Failure, Plan, Report};
use self::server::Session;

fn ticket_keys(seed: u64) -> Arc<TicketKeys> {
    Arc::new(TicketKeys::new(&RUSTCRYPTO, entropy(seed)).expect("a valid key"))
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
}
