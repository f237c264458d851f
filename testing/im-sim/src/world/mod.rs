//! Clients, servers and their log, over links that delay, split, change and cut.

mod client;
mod event;
mod judge;
mod live;
mod plan;
mod report;
mod server;
mod store;
mod transport;
mod trouble;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use im_proto::{Instant, ServerConfig};

use self::client::SimClient;
use self::event::{Event, Said};
pub use self::plan::Plan;
pub use self::report::{Failure, Report};
use self::server::{Session, SimServer};
use self::transport::Link;
use self::trouble::Partition;
use crate::fault::Fault;
use crate::log::Log;
use crate::pair::configs_with;
use crate::provider::QUICK;

/// Who has something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Client(usize),
    Session(u64),
}

/// A clock that began long ago, so that it can jump back, and stands off from virtual time.
#[derive(Clone, Copy, Debug, Default)]
struct Clock {
    offset_us: i64,
}

impl Clock {
    /// A hundred days, in microseconds.
    const BEGAN: i64 = 100 * 86_400 * 1_000_000;

    fn at(self, now: Instant) -> Instant {
        let now = i64::try_from(now.as_micros()).unwrap_or(i64::MAX);
        let local = now.saturating_add(Self::BEGAN).saturating_add(self.offset_us);
        Instant::from_micros(u64::try_from(local).unwrap_or(0))
    }

    /// When the clock shows `local`, in virtual time.
    fn when(self, local: Instant) -> Instant {
        let local = i64::try_from(local.as_micros()).unwrap_or(i64::MAX);
        let now = local.saturating_sub(Self::BEGAN).saturating_sub(self.offset_us);
        Instant::from_micros(u64::try_from(now).unwrap_or(0))
    }
}

/// A run in progress.
pub struct World {
    plan: Plan,
    rng: fastrand::Rng,
    /// Virtual time. Clients and servers have clocks of their own.
    now: Instant,
    next_id: u64,
    queue: BTreeMap<(Instant, u64), Event>,
    /// Submissions and troubles that are still to come.
    to_come: usize,
    /// By then everybody must have come to rest.
    limit: Instant,
    /// How far clocks went back, all jumps together.
    back: Duration,
    touched: VecDeque<Node>,
    clients: Vec<SimClient>,
    servers: Vec<SimServer>,
    server_config: Arc<ServerConfig>,
    sessions: BTreeMap<u64, Session>,
    links: BTreeMap<u64, Link>,
    partitions: Vec<Partition>,
    log: Log,
    /// Every ticket that let somebody in, over crashes.
    spent: BTreeSet<[u8; 16]>,
    report: Report,
    tell: Option<fn(u64, &dyn fmt::Debug)>,
}

/// Everybody must be at rest so long after the last trouble: longer than every back-off and every wait together, and
/// than a link of a kibibyte a second needs on which one connection in a hundred brings a message up.
const PATIENCE: Duration = Duration::from_secs(8 * 3600);

type Outcome = Result<(), String>;

impl World {
    /// Runs a seed to its end: everybody has everything, and nothing is on its way.
    ///
    /// # Errors
    /// What went wrong, with the seed.
    pub fn run(seed: u64, plan: &Plan) -> Result<Report, Failure> {
        Self::new(seed, plan).finish(seed)
    }

    /// The same, and `tell` is told of every event: virtual time in microseconds, and what happens.
    ///
    /// # Errors
    /// What went wrong, with the seed.
    pub fn trace(seed: u64, plan: &Plan, tell: fn(u64, &dyn fmt::Debug)) -> Result<Report, Failure> {
        Self { tell: Some(tell), ..Self::new(seed, plan) }.finish(seed)
    }

    fn finish(self, seed: u64) -> Result<Report, Failure> {
        let mut world = self;
        match world.go() {
            Ok(()) => Ok(world.report),
            Err(what) => Err(Failure { seed, what }),
        }
    }

    fn new(seed: u64, plan: &Plan) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        // Schedules are about what comes after the handshake, which would be most of their time.
        let (mut template, mut server) = configs_with(&QUICK);
        template.handshakes.retain(|id| !id.is_post_quantum());
        server.handshakes.retain(|id| !id.is_post_quantum());
        server.send_max = plan.send_max;
        let members = plan.clients.iter().chain(&plan.late);
        let clients = members.map(|(user, device)| SimClient::new(&template, plan, user, device, &mut rng)).collect();
        let shared = trouble::ticket_keys(seed);
        let servers = (0..plan.servers).map(|n| SimServer::new(plan, n, &shared, seed)).collect();
        Self {
            plan: plan.clone(),
            rng,
            now: Instant::from_micros(0),
            next_id: 1,
            queue: BTreeMap::new(),
            to_come: 0,
            limit: Instant::from_micros(0),
            back: Duration::ZERO,
            touched: VecDeque::new(),
            clients,
            servers,
            server_config: Arc::new(server),
            sessions: BTreeMap::new(),
            links: BTreeMap::new(),
            partitions: Vec::new(),
            log: Log::default(),
            spent: BTreeSet::new(),
            report: Report::default(),
            tell: None,
        }
    }

    fn trace_of(&self, what: &dyn fmt::Debug) {
        if let Some(tell) = self.tell {
            tell(self.now.as_micros(), what);
        }
    }

    fn at(&mut self, delay_ms: u64, event: Event) {
        let at = self.now + Duration::from_millis(delay_ms);
        self.schedule(at, event);
    }

    fn schedule(&mut self, at: Instant, event: Event) {
        self.next_id += 1;
        self.to_come += usize::from(event.is_to_come());
        self.queue.insert((at.max(self.now), self.next_id), event);
    }

    /// How long the store takes this time.
    fn store_ms(&mut self) -> u64 {
        let delay = self.rng.u64(self.plan.store_ms.clone());
        if delay > 1_000 {
            self.report.faults.count(Fault::SlowStore);
        }
        delay
    }

    fn chance(&mut self, percent: u64) -> bool {
        percent > 0 && self.rng.u64(0..100) < percent
    }

    fn go(&mut self) -> Outcome {
        self.begin();
        self.until("come to rest", Self::at_rest)?;
        if !self.plan.late.is_empty() || self.plan.away > 0 {
            if self.plan.night_days > 0 {
                self.night()?;
            }
            self.everybody_comes();
            self.until("come to rest with those who were away", Self::at_rest)?;
        }
        self.bury()?;
        // What was given up may have been stored since.
        self.limit = self.now + PATIENCE;
        self.until("come to rest again", Self::at_rest)?;
        self.judge()
    }

    /// A connection whose client is gone ends within the idle time.
    fn bury(&mut self) -> Outcome {
        let heard = Duration::from_millis(self.plan.linger_ms + self.plan.partition_ms.end());
        self.limit = self.now + self.server_config.idle + Duration::from_secs(10) + heard + self.back;
        self.until("end its dead connections", |world| world.sessions.keys().all(|id| world.is_alive(*id)))
    }

    /// What is to happen.
    fn begin(&mut self) {
        let users: Vec<String> = self.plan.clients.iter().map(|(user, _)| user.clone()).collect();
        for client in 0..self.plan.clients.len() {
            let delay = self.rng.u64(0..200);
            self.at(delay, Event::Dial { client, life: 0 });
            self.live_begins(client);
            for n in 0..self.plan.messages {
                let delay = self.rng.u64(0..=self.plan.spread_ms);
                let message = self.message(client, n, &users);
                self.at(delay, Event::Submit(client, Said::Message(message)));
            }
        }
        for server in 0..self.plan.servers {
            if self.plan.poll_ms > 0 {
                self.at(self.plan.poll_ms, Event::Poll { server });
            }
        }
        self.troubles();
        let troubles = Duration::from_millis(self.plan.spread_ms + self.plan.partition_ms.end());
        self.limit = self.now + troubles + PATIENCE;
    }

    /// Handles events until `done`, within bounds of steps and of time.
    fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) -> Outcome {
        loop {
            self.pump()?;
            if done(self) {
                return Ok(());
            }
            let Some(event) = self.next_event() else {
                return Err(format!("nothing happens any more, and the world does not {what}: {}", self.unrest()));
            };
            self.report.steps += 1;
            if self.report.steps > self.plan.max_steps {
                return Err(format!(
                    "livelock: {} steps, and the world does not {what}: {}",
                    self.plan.max_steps,
                    self.unrest()
                ));
            }
            if self.now > self.limit {
                return Err(format!("stuck: the world does not {what}: {}", self.unrest()));
            }
            self.handle(event)?;
        }
    }

    /// The next event; a timer of a connection counts as one.
    fn next_event(&mut self) -> Option<Event> {
        let clients = self
            .clients
            .iter()
            .filter_map(|client| client.connection.poll_timeout().map(|(at, _)| client.clock.when(at)));
        let sessions = self.sessions.values().filter_map(|session| {
            session.connection.poll_timeout().map(|(at, _)| self.servers[session.server].clock.when(at))
        });
        let timer = clients.chain(sessions).min();
        match (self.queue.first_key_value().map(|((at, _), _)| *at), timer) {
            (queued, Some(timer)) if queued.is_none_or(|queued| timer < queued) => {
                self.now = self.now.max(timer);
                Some(Event::Timer)
            }
            (Some(_), _) => {
                let ((at, _), event) = self.queue.pop_first()?;
                self.to_come -= usize::from(event.is_to_come());
                self.now = self.now.max(at);
                Some(event)
            }
            (None, _) => None,
        }
    }

    fn handle(&mut self, event: Event) -> Outcome {
        self.trace_of(&event);
        match event {
            Event::Dial { client, life } => self.dial(client, life)?,
            Event::Submit(client, said) => {
                self.clients[client].waiting.push_back(said);
                self.touch(Node::Client(client));
            }
            Event::Live { client, deed } => self.live(client, deed)?,
            Event::Respond { transport, packet_id, content } => self.respond(transport, packet_id, content)?,
            Event::Arrive { transport, to_server } => self.arrive(transport, to_server)?,
            Event::Gone { transport, at_server } => self.gone(transport, at_server),
            Event::Writable { transport, to_server } => self.writable(transport, to_server),
            Event::Ack { client, life, conversation, seq, token } => {
                self.acked(client, life, &conversation, seq, token);
            }
            Event::Store(op) => self.decide(op),
            Event::Answer(op, outcome) => self.answer(&op, outcome)?,
            Event::Ticket { transport, ticket } => self.ticket(transport, ticket)?,
            Event::Login { transport, asked } => self.log_in(transport, asked)?,
            Event::Unread { transport, heads, complete } => self.unread(transport, &heads, complete)?,
            Event::Fetched { transport, conversation, epoch, after, items } => {
                self.fetched(transport, &conversation, epoch, after, items)?;
            }
            Event::Hint { server, hint } => self.hint(server, &hint),
            Event::Poll { server } => self.poll(server),
            Event::Trouble(trouble) => self.trouble(trouble),
            Event::Timer => self.timers()?,
        }
        Ok(())
    }

    /// Somebody has something to do.
    fn touch(&mut self, node: Node) {
        if !self.touched.contains(&node) {
            self.touched.push_back(node);
        }
    }

    /// Until nobody has anything to do now.
    fn pump(&mut self) -> Outcome {
        while let Some(node) = self.touched.pop_front() {
            match node {
                Node::Client(client) => self.pump_client(client)?,
                Node::Session(transport) => self.pump_session(transport)?,
            }
        }
        Ok(())
    }

    /// Timers that are due, each on the clock of its owner.
    fn timers(&mut self) -> Outcome {
        for index in 0..self.clients.len() {
            let client = &mut self.clients[index];
            let now = client.clock.at(self.now);
            if client.connection.poll_timeout().is_some_and(|(at, _)| at <= now) {
                client.connection.handle_timeout(now);
                if let Some((at, timer)) = client.connection.poll_timeout()
                    && at <= now
                {
                    return Err(format!("the client's {timer:?} timer is due again at once"));
                }
                self.touch(Node::Client(index));
            }
        }
        let transports: Vec<u64> = self.sessions.keys().copied().collect();
        for transport in transports {
            let Some(session) = self.sessions.get_mut(&transport) else { continue };
            let now = self.servers[session.server].clock.at(self.now);
            if session.connection.poll_timeout().is_some_and(|(at, _)| at <= now) {
                session.connection.handle_timeout(now);
                if let Some((at, timer)) = session.connection.poll_timeout()
                    && at <= now
                {
                    return Err(format!("the server's {timer:?} timer is due again at once"));
                }
                self.touch(Node::Session(transport));
            }
        }
        Ok(())
    }
}
