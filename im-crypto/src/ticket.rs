//! Tickets: how a session is resumed without the server keeping anything about it.

use alloc::{boxed::Box, collections::BTreeMap, vec::Vec};
use core::fmt;

use zeroize::Zeroizing;

use crate::{
    HandshakeId, SuiteId,
    error::TicketError,
    key::Entropy,
    negotiation::MAX_TICKET,
    provider::{CryptoProvider, Secret, TrafficKey},
};

/// Longest life of a ticket, seconds: 7 days, as TLS 1.3 allows (RFC 8446 section 4.6.1).
pub const MAX_TICKET_LIFETIME: u64 = 7 * 24 * 3600;
/// Longest of each field of a [`TicketIdentity`], bytes.
pub const MAX_TICKET_FIELD: usize = 128;
/// How many seconds a ticket's issue may lie in the future: clocks of servers that share ticket keys differ.
const SKEW: u64 = 60;
const VERSION: u8 = 1;
/// Version, key id, salt.
const CLEAR_LEN: usize = 1 + 8 + 32;
const TAG_LEN: usize = 16;

/// What a session leaves behind for its resumption: `Expand(Extract(ck, ""), "im/1 res" || h, 32)`, the same on both sides. It tells
/// nothing about the session's traffic keys.
///
/// Not `Clone`, and wiped when dropped.
pub struct ResumptionSecret {
    secret: Box<Secret>,
    handshake: HandshakeId,
    suite: SuiteId,
}

impl ResumptionSecret {
    pub(crate) fn new(secret: Box<Secret>, handshake: HandshakeId, suite: SuiteId) -> Self {
        Self { secret, handshake, suite }
    }
}

impl fmt::Debug for ResumptionSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResumptionSecret(..)")
    }
}

/// `Expand(resumption secret, "im/1 psk" || SHA-256(ticket), 32)`: each ticket of a session has its own.
fn psk(provider: &CryptoProvider, secret: &Secret, ticket: &[u8]) -> Result<Secret, TicketError> {
    let mut psk = Secret::default();
    let hash = provider.hash.hash(&[ticket]);
    provider.hash.expand(secret, &[b"im/1 psk", &hash], psk.as_mut_slice()).map_err(|_| TicketError::Provider)?;
    Ok(psk)
}

/// A ticket on the client: the server's opaque bytes and the key that belongs to them.
///
/// Not `Clone`: [`Client::resume`](crate::Client::resume) takes it, because a ticket is used once.
///
/// ```compile_fail,E0382
/// fn twice(client: &im_crypto::Client, ticket: im_crypto::ClientTicket, a: im_crypto::Entropy, b: im_crypto::Entropy) {
///     let first = client.resume(ticket, a);
///     let second = client.resume(ticket, b);
/// }
/// ```
pub struct ClientTicket {
    ticket: Vec<u8>,
    psk: Box<Secret>,
}

impl ClientTicket {
    /// Takes a ticket that the server sent through the session that left `secret` behind.
    ///
    /// # Errors
    /// [`TicketError::Length`] if it is empty or longer than [`MAX_TICKET`]; [`TicketError::Provider`].
    pub fn new(provider: &CryptoProvider, secret: &ResumptionSecret, ticket: Vec<u8>) -> Result<Self, TicketError> {
        check_length(&ticket)?;
        Ok(Self { psk: Box::new(psk(provider, &secret.secret, &ticket)?), ticket })
    }

    /// Appends 32 bytes and the ticket to `out`, for storage. Whoever reads them can take the session over: wipe the buffer.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        out.reserve_exact(32 + self.ticket.len());
        out.extend_from_slice(self.psk.as_slice());
        out.extend_from_slice(&self.ticket);
    }

    /// What [`write_to`](Self::write_to) wrote.
    ///
    /// # Errors
    /// [`TicketError::Length`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TicketError> {
        let (psk, ticket) = bytes.split_first_chunk::<32>().ok_or(TicketError::Length(bytes.len()))?;
        check_length(ticket)?;
        Ok(Self { psk: Box::new(Secret::new(*psk)), ticket: ticket.to_vec() })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.ticket
    }

    pub(crate) fn psk(&self) -> &Secret {
        &self.psk
    }
}

impl fmt::Debug for ClientTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientTicket(..)")
    }
}

fn check_length(ticket: &[u8]) -> Result<(), TicketError> {
    if ticket.is_empty() || ticket.len() > MAX_TICKET { Err(TicketError::Length(ticket.len())) } else { Ok(()) }
}

/// Whom a ticket was given to; the application's own identifiers, at most [`MAX_TICKET_FIELD`] bytes each. The server reads them back
/// at the resumption; clients see only the sealed ticket.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct TicketIdentity {
    /// The user that logged in.
    pub user: Vec<u8>,
    /// The device, as the application names it.
    pub device: Vec<u8>,
    /// The session that is resumed.
    pub session: Vec<u8>,
}

impl fmt::Debug for TicketIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names of people do not belong in a log.
        f.write_str("TicketIdentity(..)")
    }
}

/// What a server learns from a good ticket. The application still has to ask its own lists whether the user may log in: a ticket
/// cannot be called back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TicketClaims {
    /// Whom it was given to.
    pub identity: TicketIdentity,
    /// The handshake of the session that it was given in.
    pub handshake: HandshakeId,
    /// The suite of that session; the resumed one has the same.
    pub suite: SuiteId,
    /// When it was made, seconds since 1970.
    pub issued: u64,
    /// From when on it is refused, seconds since 1970.
    pub expires: u64,
}

/// Remembers which tickets were used.
pub trait TicketStore {
    /// Notes a ticket's id. `false` if it was used before, or if that is not known: the client then makes a full handshake. The id may
    /// be forgotten at `expires` (seconds since 1970); `now` is the caller's time. Servers that share ticket keys must share this too,
    /// or a ticket can be used once at each.
    fn spend(&mut self, id: &[u8; 16], expires: u64, now: u64) -> bool;
}

/// Used tickets in memory, bounded: about 50 bytes each. When it is full of ids that are not over yet, further tickets are refused
/// (and their clients make full handshakes), so nothing is ever forgotten too early.
///
/// ```
/// use im_crypto::{TicketStore, UsedTickets};
/// let mut used = UsedTickets::new(100_000);
/// assert!(used.spend(&[1; 16], 2000, 1000));
/// assert!(!used.spend(&[1; 16], 2000, 1001));
/// ```
#[derive(Debug)]
pub struct UsedTickets {
    until: BTreeMap<[u8; 16], u64>,
    capacity: usize,
    /// Nothing ends before this, so a full map is searched once per ending, not once per ticket.
    next_end: u64,
}

impl UsedTickets {
    /// Remembers at most `capacity` tickets.
    #[must_use]
    pub const fn new(capacity: usize) -> Self {
        Self { until: BTreeMap::new(), capacity, next_end: u64::MAX }
    }
}

impl TicketStore for UsedTickets {
    fn spend(&mut self, id: &[u8; 16], expires: u64, now: u64) -> bool {
        if self.until.contains_key(id) {
            return false;
        }
        if self.until.len() >= self.capacity && self.next_end <= now {
            self.until.retain(|_, until| *until > now);
            self.next_end = self.until.values().copied().min().unwrap_or(u64::MAX);
        }
        if self.until.len() >= self.capacity {
            return false;
        }
        self.next_end = self.next_end.min(expires);
        self.until.insert(*id, expires);
        true
    }
}

/// The keys under which a server seals tickets: one that seals, and older ones that still open. The application brings, stores and
/// rotates them; whoever has one can read the tickets made with it, but not the sessions, because a resumption always makes
/// new ephemeral keys.
///
/// ```
/// # #[cfg(feature = "rustcrypto")] {
/// use im_crypto::{Entropy, RUSTCRYPTO, TicketKeys};
/// let rng = &mut getrandom::SysRng;
/// let mut keys = TicketKeys::new(&RUSTCRYPTO, Entropy::from_rng(rng).unwrap()).unwrap();
/// // Every 12 hours; two older ones still open.
/// keys.rotate(Entropy::from_rng(rng).unwrap(), 2).unwrap();
/// # }
/// ```
///
/// `Clone`, so that a server can rotate a copy and put it in place of the one that its connections share.
#[derive(Clone)]
pub struct TicketKeys {
    provider: &'static CryptoProvider,
    /// The first one seals.
    keys: Vec<TicketKey>,
}

#[derive(Clone)]
struct TicketKey {
    id: [u8; 8],
    secret: Box<Secret>,
}

impl TicketKey {
    fn new(provider: &CryptoProvider, key: Entropy) -> Result<Self, TicketError> {
        let secret = key.into_secret();
        let mut id = [0; 8];
        provider.hash.expand(&secret, &[b"im/1 tkt id"], &mut id).map_err(|_| TicketError::Provider)?;
        Ok(Self { id, secret })
    }

    /// Each ticket has a key of its own, so the nonce is constant and the number of tickets is not bounded by nonce collisions.
    fn cipher(&self, provider: &CryptoProvider, salt: &[u8]) -> Result<Box<dyn crate::provider::AeadKey>, TicketError> {
        let suite = provider.aead(SuiteId::CHACHA20_POLY1305).ok_or(TicketError::Provider)?;
        TrafficKey::derive(suite.key_len(), |out| provider.hash.expand(&self.secret, &[b"im/1 tkt key", salt], out))
            .and_then(|key| suite.key(&key))
            .map_err(|_| TicketError::Provider)
    }
}

/// An opened ticket: what it says, the key of the handshake, and the id under which its use is noted.
pub(crate) struct OpenTicket {
    pub(crate) claims: TicketClaims,
    pub(crate) psk: Secret,
    pub(crate) id: [u8; 16],
}

impl TicketKeys {
    /// Starts with one key.
    ///
    /// # Errors
    /// [`TicketError::Provider`].
    pub fn new(provider: &'static CryptoProvider, key: Entropy) -> Result<Self, TicketError> {
        Ok(Self { provider, keys: Vec::from([TicketKey::new(provider, key)?]) })
    }

    /// Seals with a new key from here on; the newest `keep` of the older ones still open tickets. A stolen key is thrown away with
    /// `keep` = 0.
    ///
    /// # Errors
    /// [`TicketError::Provider`]; the keys are then as before.
    pub fn rotate(&mut self, key: Entropy, keep: usize) -> Result<(), TicketError> {
        self.keys.insert(0, TicketKey::new(self.provider, key)?);
        self.keys.truncate(keep.saturating_add(1));
        Ok(())
    }

    /// Makes a ticket for the client of the session that left `secret` behind, good for `lifetime` seconds from `now` (seconds
    /// since 1970). Send it through the session, after the client logged in. `entropy` is used for this ticket only.
    ///
    /// # Errors
    /// [`TicketError::Lifetime`], [`TicketError::Field`], [`TicketError::Provider`].
    pub fn issue(
        &self,
        secret: &ResumptionSecret,
        identity: &TicketIdentity,
        now: u64,
        lifetime: u64,
        entropy: Entropy,
    ) -> Result<Vec<u8>, TicketError> {
        if lifetime == 0 || lifetime > MAX_TICKET_LIFETIME {
            return Err(TicketError::Lifetime(lifetime));
        }
        let expires = now.checked_add(lifetime).ok_or(TicketError::Lifetime(lifetime))?;
        let fields = [&identity.user, &identity.device, &identity.session];
        if let Some(long) = fields.iter().find(|field| field.len() > MAX_TICKET_FIELD) {
            return Err(TicketError::Field(long.len()));
        }
        let key = self.keys.first().ok_or(TicketError::Provider)?;
        let salt = entropy.into_secret();
        let cipher = key.cipher(self.provider, salt.as_slice())?;
        // Sealed in place, and never moved to a larger buffer before.
        let mut ticket = Vec::with_capacity(MAX_TICKET);
        ticket.push(VERSION);
        ticket.extend_from_slice(&key.id);
        ticket.extend_from_slice(salt.as_slice());
        let aad = [b"im/1 tkt".as_slice(), &ticket].concat();
        ticket.extend_from_slice(&[secret.handshake.0, secret.suite.0]);
        ticket.extend_from_slice(secret.secret.as_slice());
        ticket.extend_from_slice(&now.to_be_bytes());
        ticket.extend_from_slice(&expires.to_be_bytes());
        for field in fields {
            ticket.push(field.len() as u8);
            ticket.extend_from_slice(field);
        }
        let plain = ticket.get_mut(CLEAR_LEN..).ok_or(TicketError::Provider)?;
        let mut tag = [0; TAG_LEN];
        cipher.seal(&[0; 12], &aad, plain, &mut tag).map_err(|_| TicketError::Provider)?;
        ticket.extend_from_slice(&tag);
        Ok(ticket)
    }

    /// `None` for every cause, so that none of them can be told from another.
    pub(crate) fn open(&self, ticket: &[u8], now: u64) -> Option<OpenTicket> {
        let (clear, sealed) = ticket.split_first_chunk::<CLEAR_LEN>()?;
        let ([version], rest) = clear.split_first_chunk()?;
        let (key_id, salt) = rest.split_first_chunk::<8>()?;
        if *version != VERSION {
            return None;
        }
        let key = self.keys.iter().find(|key| key.id == *key_id)?;
        let (text, tag) = sealed.split_last_chunk::<TAG_LEN>()?;
        let mut buffer = Zeroizing::new([0; MAX_TICKET]);
        let plain = buffer.get_mut(..text.len())?;
        plain.copy_from_slice(text);
        let aad = [b"im/1 tkt".as_slice(), clear].concat();
        key.cipher(self.provider, salt).ok()?.open(&[0; 12], &aad, plain, tag).ok()?;
        let (secret, claims) = parse(plain)?;
        if now >= claims.expires || claims.issued > now.saturating_add(SKEW) {
            return None;
        }
        let psk = psk(self.provider, &secret, ticket).ok()?;
        let hash = self.provider.hash.hash(&[b"im/1 tkt used", ticket]);
        Some(OpenTicket { claims, psk, id: *hash.first_chunk()? })
    }
}

fn parse(plain: &[u8]) -> Option<(Secret, TicketClaims)> {
    let ([handshake, suite], rest) = plain.split_first_chunk()?;
    let (secret, rest) = rest.split_first_chunk::<32>()?;
    let (issued, rest) = rest.split_first_chunk()?;
    let (expires, mut rest) = rest.split_first_chunk()?;
    let mut field = || {
        let (&length, after) = rest.split_first()?;
        let (value, after) = after.split_at_checked(usize::from(length))?;
        rest = after;
        Some(value.to_vec())
    };
    let identity = TicketIdentity { user: field()?, device: field()?, session: field()? };
    let mut owned = Secret::default();
    owned.copy_from_slice(secret);
    let claims = TicketClaims {
        identity,
        handshake: HandshakeId(*handshake),
        suite: SuiteId(*suite),
        issued: u64::from_be_bytes(*issued),
        expires: u64::from_be_bytes(*expires),
    };
    rest.is_empty().then_some((owned, claims))
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TicketKeys {{ keys: {} }}", self.keys.len())
    }
}
