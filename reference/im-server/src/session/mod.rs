//! One session: the loop that carries bytes between a transport and a [`Connection`], and the connection's questions to
//! the authenticator, the directory and the store. The same for every transport.
//!
//! It reads what is there, feeds all of it, gathers all output up to a cap, and flushes once. While output waits for a
//! slow peer it reads nothing more and asks the store for nothing more, so memory per session is bounded: one packet and
//! one read of input, [`OUTPUT`] and one packet of output, and what `ServerConfig` states for the connection.

mod appender;
mod authorize;
mod commit;
mod events;
mod jobs;
mod live;
mod questions;
mod requests;
mod resume;
mod submission;
#[cfg(test)]
mod tests;
mod wakes;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use im_codec::Snowflake;
use im_proto::policy::DeviceKind;
use im_proto::rights::RightsPolicy;
use im_proto::{
    Arrival, CloseCode, Closed, Connection, Entropy, Instant, PacketId, RefusalCode, Server, ServerConfig,
    encode_plain_close,
};
use tokio::sync::watch;

use self::appender::{Appender, Outcome};
pub(crate) use self::authorize::{may_read, may_send};
use self::jobs::{Done, Jobs, Retelling};
use self::questions::{Answer, Device, Questions};
use self::requests::Requests;
use self::resume::Accepted;
use crate::auth::{AuthError, Authenticator};
use crate::blob::Files;
use crate::calls::Calls;
use crate::clock::{self, Clock};
use crate::directory::Directory;
use crate::hooks::{Hooks, Reply};
use crate::hub::{Hub, Mail, Membership};
use crate::limits::{Held, Slot};
use crate::metrics::Metrics;
use crate::store::{Ban, Bans, ConversationKey, Store};
use crate::tickets::Tickets;
use crate::transport::{Input, Transport};

/// Output is gathered up to so many bytes before it is flushed.
const OUTPUT: usize = 64 * 1024;
/// How long a refusal may take to be written.
const REFUSAL: Duration = Duration::from_secs(10);
/// How long a stopping server waits for the answers to what a session sent before.
const DRAIN: Duration = Duration::from_secs(2);

/// What sessions share.
pub(crate) struct Services {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) authenticator: Arc<dyn Authenticator>,
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) rights: RightsPolicy,
    pub(crate) device_kind: Box<dyn Fn(&str) -> DeviceKind + Send + Sync>,
    pub(crate) hooks: Hooks,
    pub(crate) bans: Option<Arc<dyn Bans>>,
    pub(crate) files: Option<Files>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) calls: Calls,
    /// Broadcasts that every user reads.
    pub(crate) channels: Arc<[ConversationKey]>,
    pub(crate) ids: Mutex<Snowflake>,
    pub(crate) clock: Clock,
    pub(crate) tickets: Tickets,
    pub(crate) metrics: Arc<Metrics>,
    /// A peer that takes nothing for so long is cut.
    pub(crate) stall: Duration,
    /// When clients should come back after a stop, at the earliest.
    pub(crate) return_after: Duration,
    /// True when the server stops.
    pub(crate) stopping: watch::Sender<bool>,
}

/// A moment between `wait` and twice `wait`, another one for each client.
fn spread(wait: Duration) -> Duration {
    let random = getrandom::u32().unwrap_or(0);
    wait + wait.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

impl Services {
    /// Whether this user may log in, as far as bans go.
    async fn not_banned(&self, user: &str) -> Result<(), AuthError> {
        let Some(bans) = &self.bans else { return Ok(()) };
        match bans.get(user).await {
            Ok(Some(ban)) if ban.holds(clock::unix_ms()) => Err(AuthError::Refused(ban_text(&ban))),
            Ok(_) => Ok(()),
            Err(error) => Err(AuthError::Unavailable(error.to_string())),
        }
    }
}

/// What a banned user is told.
pub(crate) fn ban_text(ban: &Ban) -> String {
    let until = ban.until_ms.map(|until| format!(" until {}", clock::format_utc(until / 1000))).unwrap_or_default();
    format!("you are banned{until}: {}", ban.reason)
}

/// Why something is not done, for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: RefusalCode,
    reason: Cow<'static, str>,
    /// The same may be done later.
    pub(crate) retry: bool,
}

impl Refusal {
    /// For people.
    pub(crate) fn reason(&self) -> &str {
        &self.reason
    }

    pub(crate) fn new(code: RefusalCode, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { code, reason: reason.into(), retry: false }
    }

    /// As the application's hook says.
    pub(crate) fn by_hook(code: RefusalCode, reason: String, retry: bool) -> Self {
        Self { retry, ..Self::new(code, reason) }
    }

    /// Nothing is wrong with it: the server cannot do it now.
    pub(crate) fn later(reason: &'static str) -> Self {
        Self { retry: true, ..Self::new(RefusalCode::STORE, reason) }
    }

    /// When the same may be asked again, for what has no retry of its own.
    fn retry_after(&self) -> Option<Duration> {
        self.retry.then_some(Duration::from_secs(1))
    }
}

/// Whom a session serves, once it is logged in.
struct Member {
    device: Device,
    membership: Membership,
    appender: Appender,
}

/// Waits until the server stops.
pub(crate) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // The sender lives in the services that every waiter holds.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// Who wants to come in, by a token or a ticket.
struct Entrant {
    /// As the client says.
    user: String,
    device: String,
    by_ticket: bool,
}

type Login = BoxFuture<'static, (Entrant, Result<Accepted, AuthError>)>;

struct Session<T> {
    services: Arc<Services>,
    slot: Arc<Slot>,
    held: Held,
    peer: Option<SocketAddr>,
    transport: T,
    connection: Connection<Server>,
    input: Vec<u8>,
    output: Output,
    negotiated: Option<im_proto::Negotiated>,
    login: Option<Login>,
    member: Option<Member>,
    questions: Questions,
    jobs: Jobs,
    requests: Requests,
    retelling: Retelling,
    /// Messages that wait for the store.
    unanswered: usize,
    stopping: watch::Receiver<bool>,
    /// Since the server stops, until when answers are waited for.
    drain_until: Option<Instant>,
    closed: Option<Closed>,
}

/// Packets on their way to the transport.
#[derive(Default)]
struct Output {
    bytes: Vec<u8>,
    written: usize,
    unflushed: bool,
    /// When the peer took something last.
    progress: Instant,
}

impl Output {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty() && !self.unflushed
    }
}

/// Why the loop woke up.
enum Wake {
    Read(std::io::Result<Input>),
    Written(std::io::Result<usize>),
    Flushed(std::io::Result<()>),
    Login(Entrant, Result<Accepted, AuthError>),
    Stored(Outcome),
    Answer(Answer),
    Done(Done),
    Replied(PacketId, Reply),
    Mail(Mail),
    Stopping,
    Timer,
}

/// Serves one peer until it is gone.
pub(crate) async fn drive<T: Transport>(
    transport: T,
    services: Arc<Services>,
    slot: Arc<Slot>,
    peer: Option<SocketAddr>,
) {
    let now = services.clock.now();
    let _counted = services.metrics.session(T::NAME);
    let entropy = Entropy::from_rng(&mut getrandom::SysRng).map_err(im_proto::ConnectError::from);
    let mut arrival = Arrival::at(clock::unix_ms() / 1000);
    arrival.address = peer.map(|peer| peer.ip().to_string().into_bytes()).unwrap_or_default();
    if services.authenticator.ticket_lifetime().is_some() {
        arrival.tickets = services.tickets.keys(arrival.unix_secs);
    }
    let connection = entropy.and_then(|entropy| Connection::server_for(services.config.clone(), arrival, entropy, now));
    let connection = match connection {
        Ok(connection) => connection,
        Err(error) => {
            tracing::error!(%error, "a connection could not be served");
            return refuse(transport, CloseCode::INTERNAL, "the server has no random numbers: come back later").await;
        }
    };
    Session::new(transport, services, slot, peer, connection).run().await;
}

/// Answers a peer that is not served with a close packet in the clear.
pub(crate) async fn refuse<T: Transport>(mut transport: T, code: CloseCode, reason: &str) {
    let mut packet = Vec::new();
    encode_plain_close(code, reason, &mut packet);
    let said = async {
        let mut rest = packet.as_slice();
        while !rest.is_empty() {
            let len = transport.write(rest).await?;
            rest = rest.get(len..).unwrap_or_default();
        }
        transport.flush().await
    };
    if matches!(tokio::time::timeout(REFUSAL, said).await, Ok(Ok(()))) {
        transport.close(code, reason).await;
    }
}

impl<T: Transport> Session<T> {
    fn new(
        transport: T,
        services: Arc<Services>,
        slot: Arc<Slot>,
        peer: Option<SocketAddr>,
        connection: Connection<Server>,
    ) -> Self {
        Self {
            questions: Questions::new(services.store.clone()),
            jobs: Jobs::default(),
            requests: Requests::default(),
            retelling: Retelling::Idle,
            stopping: services.stopping.subscribe(),
            services,
            held: slot.holds(),
            slot,
            peer,
            transport,
            connection,
            input: Vec::new(),
            output: Output::default(),
            negotiated: None,
            login: None,
            member: None,
            unanswered: 0,
            drain_until: None,
            closed: None,
        }
    }

    async fn run(mut self) {
        loop {
            let now = self.services.clock.now();
            self.feed(now);
            self.fill(now);
            if let Some(closed) = self.closed.take_if(|_| self.output.is_empty()) {
                self.log_end(&closed);
                let Self { member, questions, transport, services, .. } = self;
                if let Some(member) = member {
                    questions.finish(&member.device, &services.hub).await;
                    // The device's place is free before the goodbye.
                }
                return transport.close(closed.code, &closed.reason).await;
            }
            if let Some(member) = &self.member {
                self.questions.start(&member.device, !self.output.is_empty());
            }
            self.retell();
            self.held.set(self.input.capacity() + self.output.bytes.capacity() + self.connection.buffered());
            let wake = self.wait(now).await;
            let now = self.services.clock.now();
            if self.handle(now, wake).is_break() {
                if let Some(member) = self.member {
                    self.questions.finish(&member.device, &self.services.hub).await;
                }
                return;
            }
        }
    }

    /// Feeds the connection all input that it takes now, with every event handled.
    fn feed(&mut self, now: Instant) {
        let mut at = 0;
        self.events(now);
        while self.may_feed() {
            let Some(rest) = self.input.get_mut(at..).filter(|rest| !rest.is_empty()) else { break };
            let taken = self.connection.handle_input(now, rest);
            self.events(now);
            if taken == 0 {
                break;
            }
            at += taken;
        }
        self.input.drain(..at);
        if self.input.is_empty() {
            // An idle session holds no buffer.
            self.input = Vec::new();
        } else if self.input.capacity() > 2 * self.input.len() + 512 {
            // Nor does one that waits for the rest of a packet hold more than what came.
            self.input.shrink_to_fit();
        }
    }

    fn may_feed(&self) -> bool {
        self.output.is_empty() && self.drain_until.is_none() && self.questions.has_room() && self.jobs.has_room()
    }

    /// Gathers output, if the last one is out.
    fn fill(&mut self, now: Instant) {
        if !self.output.is_empty() {
            return;
        }
        if self.drain_until.is_some_and(|until| self.unanswered == 0 || until <= now) {
            let reason = "the server stops or restarts: come back later";
            self.connection.close_for(now, CloseCode::GOING_AWAY, reason, spread(self.services.return_after));
        }
        self.redact(now);
        let max = self.connection.max_transmit();
        while self.output.bytes.len() < OUTPUT
            && self.connection.poll_transmit(now, &mut self.output.bytes, max).is_some()
        {}
        self.output.unflushed = !self.output.bytes.is_empty();
        self.output.progress = now;
        self.events(now);
    }

    /// When something is due without any news.
    fn due(&self, now: Instant) -> Option<Instant> {
        let timer = self.connection.poll_timeout().map(|(at, _)| at);
        let stall = (!self.output.is_empty()).then(|| self.output.progress + self.services.stall);
        // Once it is past, the close waits for nothing but the output.
        let drain = self.drain_until.filter(|until| *until > now);
        [timer, stall, drain].into_iter().flatten().min()
    }

    async fn wait(&mut self, now: Instant) -> Wake {
        let due = self.due(now);
        let may_read = self.may_feed() && self.connection.wants_read();
        let stopping_known = self.drain_until.is_some();
        let Self { transport, input, output, login, member, questions, jobs, requests, stopping, .. } = self;
        tokio::select! {
            wake = transmit_or_read(transport, output, input, may_read) => wake,
            (request, result) = async {
                match login {
                    Some(login) => login.await,
                    None => std::future::pending().await,
                }
            } => Wake::Login(request, result),
            wake = async {
                match member {
                    Some(Member { membership, appender, .. }) => tokio::select! {
                        Some(outcome) = appender.outcome() => Wake::Stored(outcome),
                        mail = membership.mailbox.take() => Wake::Mail(mail),
                    },
                    None => std::future::pending().await,
                }
            } => wake,
            answer = questions.next() => Wake::Answer(answer),
            done = jobs.next() => Wake::Done(done),
            (packet_id, reply) = requests.next() => Wake::Replied(packet_id, reply),
            () = stopped(stopping), if !stopping_known => Wake::Stopping,
            () = async {
                match due {
                    Some(due) => tokio::time::sleep(due.saturating_since(now)).await,
                    None => std::future::pending().await,
                }
            } => Wake::Timer,
        }
    }
}

/// Output goes first: while it waits, nothing is read.
async fn transmit_or_read<T: Transport>(
    transport: &mut T,
    output: &mut Output,
    input: &mut Vec<u8>,
    may_read: bool,
) -> Wake {
    if let Some(rest) = output.bytes.get(output.written..).filter(|rest| !rest.is_empty()) {
        Wake::Written(transport.write(rest).await)
    } else if output.unflushed {
        Wake::Flushed(transport.flush().await)
    } else if may_read {
        Wake::Read(transport.read(input).await)
    } else {
        std::future::pending().await
    }
}
