//! A server's side as a whole: which connections there are, whose they are, and whether there is room for another one.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use im_crypto::{CookieKeys, Entropy, TicketKeys, TicketStore, UsedTickets};

use crate::close::CloseCode;
use crate::config::ServerConfig;
use crate::connection::{Connection, Server};
use crate::error::ConnectError;
use crate::link::{Arrival, TicketUse};
use crate::policy::{Decision, DeviceKind, DevicePolicy, NewDevice, OnlineDevice};
use crate::time::Instant;

/// Names a connection to its endpoint. No two of an endpoint are the same, also over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(u64);

/// What an endpoint has to tell a connection: given to [`Connection::handle_event`], in whatever task the connection lives.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "the connection that it is for has to hear of it"]
pub struct ConnectionEvent {
    pub(crate) code: CloseCode,
    pub(crate) reason: String,
}

/// The limits of an endpoint.
///
/// Worst case of memory of the endpoint itself: some 300 bytes and three names for each connection and each kept session, and 50 bytes
/// for each used ticket.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// What all connections may hold together, in bytes: [`IDLE_BYTES`] for each, and what they [report](Endpoint::report) on top.
    pub max_bytes: u64,
    /// Connections at once that are not logged in.
    pub max_handshakes: usize,
    /// While so many connections are not logged in, a new one has to show a cookie before its first key agreement.
    pub cookies_from: usize,
    /// Connections from one address at once. Addresses are what [`Arrival::address`] says; one that is empty is not counted.
    pub max_per_address: usize,
    /// Which devices of a user may be online together.
    pub devices: DevicePolicy,
    /// Sessions of devices that went away which are remembered, so that they can go on.
    pub max_sessions: usize,
    /// For how long they are.
    pub keep_sessions: Duration,
    /// Used tickets that are remembered. While there is no room for another one, tickets are refused.
    pub max_used_tickets: usize,
}

impl Default for EndpointConfig {
    fn default() -> Self {
        Self {
            max_bytes: 1 << 30,
            max_handshakes: 10_000,
            cookies_from: 1_000,
            max_per_address: 1_000,
            devices: DevicePolicy::default(),
            max_sessions: 100_000,
            keep_sessions: Duration::from_secs(24 * 3600),
            max_used_tickets: 1_000_000,
        }
    }
}

/// What an idle connection counts for, in bytes: the state of the protocol, and as much again for the caller's socket and tasks.
pub const IDLE_BYTES: u64 = 4096;

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AdmissionError {
    /// The byte budget is used up.
    #[error("the connections hold {used} of {max} bytes: no room for another one")]
    Memory {
        /// Bytes in use.
        used: u64,
        /// The budget.
        max: u64,
    },
    /// Too many connections are not logged in.
    #[error("{max} connections are not logged in yet, as many as may be")]
    Handshakes {
        /// The limit.
        max: usize,
    },
    /// Too many connections from this address.
    #[error("{max} connections come from this address, as many as may")]
    Address {
        /// The limit.
        max: usize,
    },
    /// The caller's configuration.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

impl AdmissionError {
    /// What to tell the peer, with [`encode_plain_close`](crate::encode_plain_close).
    pub const fn close_code(&self) -> CloseCode {
        match self {
            Self::Memory { .. } | Self::Handshakes { .. } | Self::Address { .. } => CloseCode::BUSY,
            Self::Connect(_) => CloseCode::INTERNAL,
        }
    }
}

#[derive(Debug)]
struct Entry {
    address: Vec<u8>,
    /// Beyond [`IDLE_BYTES`].
    reported: u64,
    /// Since it was admitted.
    owner: Option<Owner>,
}

#[derive(Debug)]
struct Owner {
    user: String,
    device: String,
    kind: DeviceKind,
    since: Instant,
    /// It was told to go, and counts as a device of the user no more.
    kicked: bool,
}

/// The session of a device, also for a while after its last connection ended.
#[derive(Debug)]
struct Session {
    id: u64,
    /// The connection that has it, or when it ended.
    held: Result<Handle, Instant>,
}

/// All connections of a server: admission under limits, one session for each device, kicks by the device policy, used tickets. It has no
/// sockets and no connections in it: they may live in tasks of their own, and an endpoint behind a lock.
///
/// ```
/// use std::sync::Arc;
/// use im_proto::*;
/// # use rand_chacha::rand_core::SeedableRng;
/// # fn entropy(n: u64) -> Entropy { Entropy::from_rng(&mut rand_chacha::ChaCha20Rng::seed_from_u64(n)).unwrap() }
/// let config = Arc::new(ServerConfig::new(&RUSTCRYPTO, ServerKey::generate(&RUSTCRYPTO, entropy(1))?));
/// let mut endpoint = Endpoint::new(EndpointConfig::default(), config, entropy(2));
/// let now = Instant::from_micros(0);
///
/// let (phone, mut connection) = endpoint.accept(now, Arrival::at(1_800_000_000), entropy(3))?;
/// // ... the handshake, and ServerEvent::Login, whose token the application finds good:
/// let kicks = endpoint.admit(now, phone, "alice", "phone", policy::DeviceKind(0)).unwrap();
/// assert!(kicks.is_empty());
///
/// // The same device again: its older connection is told to go.
/// let (again, _) = endpoint.accept(now, Arrival::at(1_800_000_000), entropy(4))?;
/// for (handle, event) in endpoint.admit(now, again, "alice", "phone", policy::DeviceKind(0)).unwrap() {
///     assert_eq!(handle, phone);
///     connection.handle_event(now, event);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Endpoint {
    config: EndpointConfig,
    server: Arc<ServerConfig>,
    cookies: Arc<CookieKeys>,
    tickets: Option<Arc<TicketKeys>>,
    used: UsedTickets,
    next: u64,
    connections: BTreeMap<Handle, Entry>,
    users: BTreeMap<String, BTreeSet<Handle>>,
    addresses: BTreeMap<Vec<u8>, usize>,
    /// By user and device.
    sessions: BTreeMap<(String, String), Session>,
    /// Those without a connection, the oldest first.
    ended: BTreeSet<(Instant, (String, String))>,
    reported: u64,
    handshakes: usize,
}

/// A cookie is good for so many seconds.
const COOKIE_WINDOW: u64 = 30;

impl Endpoint {
    /// An endpoint without connections. The entropy serves its cookies.
    pub fn new(config: EndpointConfig, server: Arc<ServerConfig>, entropy: Entropy) -> Self {
        Self {
            used: UsedTickets::new(config.max_used_tickets),
            config,
            server,
            cookies: Arc::new(CookieKeys::new(entropy, COOKIE_WINDOW)),
            tickets: None,
            next: 0,
            connections: BTreeMap::new(),
            users: BTreeMap::new(),
            addresses: BTreeMap::new(),
            sessions: BTreeMap::new(),
            ended: BTreeSet::new(),
            reported: 0,
            handshakes: 0,
        }
    }

    /// Tickets are opened with these keys from now on; without any, all are refused.
    pub fn set_ticket_keys(&mut self, keys: Option<Arc<TicketKeys>>) {
        self.tickets = keys;
    }

    /// A transport was accepted. Its connection, or why there is no room for it; `arrival` needs no keys and no demand for a cookie,
    /// which are the endpoint's.
    pub fn accept(
        &mut self,
        now: Instant,
        arrival: Arrival,
        entropy: Entropy,
    ) -> Result<(Handle, Connection<Server>), AdmissionError> {
        let EndpointConfig { max_bytes, max_handshakes, cookies_from, max_per_address, .. } = self.config;
        let used = self.bytes();
        if used.saturating_add(IDLE_BYTES) > max_bytes {
            return Err(AdmissionError::Memory { used, max: max_bytes });
        }
        if self.handshakes >= max_handshakes {
            return Err(AdmissionError::Handshakes { max: max_handshakes });
        }
        let address = arrival.address.clone();
        if self.addresses.get(&address).is_some_and(|there| *there >= max_per_address) {
            return Err(AdmissionError::Address { max: max_per_address });
        }
        let arrival = Arrival {
            demand_cookie: arrival.demand_cookie || self.handshakes >= cookies_from,
            cookies: Some(Arc::clone(&self.cookies)),
            tickets: self.tickets.clone(),
            ..arrival
        };
        let connection = Connection::server_for(Arc::clone(&self.server), arrival, entropy, now)?;
        let handle = Handle(self.next);
        self.next += 1;
        self.handshakes += 1;
        if !address.is_empty() {
            *self.addresses.entry(address.clone()).or_default() += 1;
        }
        self.connections.insert(handle, Entry { address, reported: 0, owner: None });
        Ok((handle, connection))
    }

    /// Whether a ticket is used for the first time: the answer to [`ServerEvent::Ticket`](crate::ServerEvent::Ticket), given to
    /// [`Connection::ticket`].
    pub fn spend(&mut self, ticket: &TicketUse) -> bool {
        self.used.spend(&ticket.id, ticket.expires, ticket.now)
    }

    /// Whether `session`, which a login names, is this device's, and may go on with [`Connection::resume_login`].
    pub fn may_resume(&self, user: &str, device: &str, session: u64) -> bool {
        let key = (user.to_string(), device.to_string());
        session != 0 && self.sessions.get(&key).is_some_and(|known| known.id == session)
    }

    /// A device whose user is proven wants to come in. The connections that have to go for it, or, as an error, what to tell the new
    /// one; it is not logged in then. Ask before [`Connection::accept_login`].
    pub fn admit(
        &mut self,
        now: Instant,
        handle: Handle,
        user: &str,
        device: &str,
        kind: DeviceKind,
    ) -> Result<Vec<(Handle, ConnectionEvent)>, ConnectionEvent> {
        let online: Vec<OnlineDevice> = self
            .connections_of(user)
            .filter(|there| *there != handle)
            .filter_map(|there| {
                let owner = self.connections.get(&there)?.owner.as_ref().filter(|owner| !owner.kicked)?;
                Some(OnlineDevice {
                    session: there.0,
                    device: owner.device.clone(),
                    kind: owner.kind,
                    since: owner.since,
                })
            })
            .collect();
        let kicks = match self.config.devices.decide(&online, &NewDevice { device: device.into(), kind }) {
            Decision::Admit { kicks } => kicks,
            Decision::Refuse(rule) => {
                return Err(ConnectionEvent { code: rule.refusal_code(), reason: rule.to_string() });
            }
        };
        let kicks = kicks.into_iter().map(|kick| {
            let handle = Handle(kick.session);
            self.kicked(handle);
            (handle, ConnectionEvent { code: kick.code, reason: kick.reason.to_string() })
        });
        let kicks = kicks.collect();
        if let Some(entry) = self.connections.get_mut(&handle)
            && entry.owner.is_none()
        {
            entry.owner = Some(Owner { user: user.into(), device: device.into(), kind, since: now, kicked: false });
            self.handshakes -= 1;
            self.users.entry(user.into()).or_default().insert(handle);
        }
        Ok(kicks)
    }

    /// The session of an admitted connection, see [`Connection::session`].
    pub fn set_session(&mut self, handle: Handle, session: u64) {
        let Some(Entry { owner: Some(owner), .. }) = self.connections.get(&handle) else { return };
        let key = (owner.user.clone(), owner.device.clone());
        if let Some(Session { held: Err(since), .. }) =
            self.sessions.insert(key.clone(), Session { id: session, held: Ok(handle) })
        {
            self.ended.remove(&(since, key));
        }
    }

    /// A connection holds so many bytes in its queues and its driver's buffers. What has to go when that is too much: the one that holds
    /// most, which is the slowest reader.
    pub fn report(&mut self, handle: Handle, bytes: u64) -> Option<(Handle, ConnectionEvent)> {
        let entry = self.connections.get_mut(&handle)?;
        self.reported = self.reported - entry.reported + bytes;
        entry.reported = bytes;
        if self.bytes() <= self.config.max_bytes {
            return None;
        }
        let (most, _) = self.connections.iter().max_by_key(|(handle, entry)| (entry.reported, **handle))?;
        let reason = "the server is out of memory and this connection holds most of it: read faster".into();
        Some((*most, ConnectionEvent { code: CloseCode::BUSY, reason }))
    }

    /// A connection ended. Its session can go on for a while.
    pub fn ended(&mut self, now: Instant, handle: Handle) {
        let Some(entry) = self.connections.remove(&handle) else { return };
        self.reported -= entry.reported;
        if let Some(there) = self.addresses.get_mut(&entry.address) {
            *there -= 1;
            if *there == 0 {
                self.addresses.remove(&entry.address);
            }
        }
        match entry.owner {
            None => self.handshakes -= 1,
            Some(Owner { user, device, .. }) => {
                self.leave(&user, handle);
                let key = (user, device);
                // A newer connection of the device keeps the session.
                if let Some(session) = self.sessions.get_mut(&key).filter(|session| session.held == Ok(handle)) {
                    session.held = Err(now);
                    self.ended.insert((now, key));
                }
            }
        }
        self.forget_sessions(now);
    }

    fn kicked(&mut self, handle: Handle) {
        let Some(Entry { owner: Some(owner), .. }) = self.connections.get_mut(&handle) else { return };
        owner.kicked = true;
        let user = owner.user.clone();
        self.leave(&user, handle);
    }

    fn leave(&mut self, user: &str, handle: Handle) {
        if let Some(handles) = self.users.get_mut(user) {
            handles.remove(&handle);
            if handles.is_empty() {
                self.users.remove(user);
            }
        }
    }

    fn forget_sessions(&mut self, now: Instant) {
        while let Some((since, _)) = self.ended.first() {
            let over = *since + self.config.keep_sessions <= now || self.ended.len() > self.config.max_sessions;
            if !over {
                break;
            }
            if let Some((_, key)) = self.ended.pop_first() {
                self.sessions.remove(&key);
            }
        }
    }

    /// The connections of a user that are logged in.
    pub fn connections_of(&self, user: &str) -> impl Iterator<Item = Handle> + '_ {
        self.users.get(user).into_iter().flatten().copied()
    }

    /// How many connections there are.
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// How many of them are not logged in.
    pub const fn handshakes(&self) -> usize {
        self.handshakes
    }

    /// What they count for, in bytes.
    pub fn bytes(&self) -> u64 {
        (self.connections.len() as u64).saturating_mul(IDLE_BYTES).saturating_add(self.reported)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("connections", &self.connections.len())
            .field("handshakes", &self.handshakes)
            .field("sessions", &self.sessions.len())
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

impl Connection<Server> {
    /// Takes what its [`Endpoint`] tells it.
    pub fn handle_event(&mut self, now: Instant, event: ConnectionEvent) {
        let ConnectionEvent { code, reason } = event;
        self.close(now, code, &reason);
    }
}

#[cfg(test)]
mod tests;
