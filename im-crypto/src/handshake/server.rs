//! The server's side of the handshake.

use alloc::{boxed::Box, vec::Vec};
use core::fmt;

use super::{Established, HELLO_PAD, Keys, Outcome, header_of, message_len, noise_state, prologue};
use crate::{
    HandshakeId,
    binding::TlsExporter,
    error::HandshakeError,
    key::{Entropy, StaticKey},
    negotiation::{HEADER_LEN, HelloPrefix, MAX_HANDSHAKE_BODY, Retry, TLS_EXPORTER},
    noise::{self, HandshakeState, NoiseError, Pattern, Role},
    policy::Server,
    retry::{CookieKeys, hello_hash, retry_hash},
    ticket::{OpenTicket, TicketKeys, TicketStore},
};

/// What a server has at hand when a HELLO arrives.
///
/// ```
/// # #[cfg(feature = "rustcrypto")] {
/// use im_crypto::{CookieKeys, Entropy, RUSTCRYPTO, Resumption, RetryPolicy, ServerContext, ServerKey, TicketKeys, UsedTickets};
/// let rng = &mut getrandom::SysRng;
/// let mut entropy = || Entropy::from_rng(rng).unwrap();
/// let keys = [ServerKey::generate(&RUSTCRYPTO, entropy()).unwrap()];
/// let (tickets, mut used) = (TicketKeys::new(&RUSTCRYPTO, entropy()).unwrap(), UsedTickets::new(100_000));
/// let cookies = CookieKeys::new(entropy(), 30);
/// let context = ServerContext {
///     now: 1_800_000_000,
///     resumption: Some(Resumption { keys: &tickets, used: &mut used }),
///     retry: Some(RetryPolicy { cookies: &cookies, address: &[192, 0, 2, 1], demand: false }),
///     ..ServerContext::new(&keys)
/// };
/// # }
/// ```
pub struct ServerContext<'a> {
    /// The server's static keys: the current one first, the one before or the next one behind it. A HELLO says which one it was made
    /// for.
    pub keys: &'a [StaticKey],
    /// Wall time, seconds since 1970; for tickets and cookies only.
    pub now: u64,
    /// The TLS connection underneath, if there is one and its library gives the exporter.
    pub exporter: Option<TlsExporter>,
    /// Opens tickets. Without it every ticket is refused.
    pub resumption: Option<Resumption<'a>>,
    /// Sends RETRYs. Without it, what a RETRY would settle is an error.
    pub retry: Option<RetryPolicy<'a>>,
}

impl<'a> ServerContext<'a> {
    /// A server with these keys and nothing else.
    #[must_use]
    pub const fn new(keys: &'a [StaticKey]) -> Self {
        Self { keys, now: 0, exporter: None, resumption: None, retry: None }
    }

    fn key(&self, id: &[u8; 8]) -> Option<&'a StaticKey> {
        self.keys.iter().find(|key| key.key_id() == *id)
    }

    fn open_ticket(&self, ticket: &[u8]) -> Option<OpenTicket> {
        self.resumption.as_ref().and_then(|resumption| resumption.keys.open(ticket, self.now))
    }
}

impl fmt::Debug for ServerContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerContext")
            .field("keys", &self.keys)
            .field("now", &self.now)
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}

/// What a server opens tickets with.
pub struct Resumption<'a> {
    /// The keys that sealed them.
    pub keys: &'a TicketKeys,
    /// Remembers which were used.
    pub used: &'a mut dyn TicketStore,
}

impl fmt::Debug for Resumption<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resumption").field("keys", self.keys).finish_non_exhaustive()
    }
}

/// What a server sends RETRYs with.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy<'a> {
    /// Make and check the cookies.
    pub cookies: &'a CookieKeys,
    /// Where the HELLO comes from, as bytes: the cookie is good from there only.
    pub address: &'a [u8],
    /// Under load: demands a cookie of everybody before the first key agreement.
    pub demand: bool,
}

/// What became of a HELLO.
#[derive(Debug)]
pub enum Accepted {
    /// The reply was appended: send it as HELLO_REPLY. The handshake is complete.
    Established(Box<Established>),
    /// The reply was appended: send it as HELLO_REPLY. XX only: the client's key comes with its next message.
    Wait(ServerWait),
    /// A RETRY was appended: send it as RETRY. Nothing is kept of this client; its second HELLO needs a new [`ServerStart`].
    Retry,
}

/// A server that waits for a HELLO. The crate's front page shows a whole handshake.
pub struct ServerStart {
    server: Server,
    entropy: Entropy,
}

impl ServerStart {
    pub(crate) fn new(server: Server, entropy: Entropy) -> Self {
        Self { server, entropy }
    }

    /// Reads the HELLO body and appends the body of the answer to `out`; nothing is appended on error.
    ///
    /// `header` are the 24 header bytes in front of the HELLO, exactly as received. `hello` is decrypted in place and worthless
    /// afterwards. The answer is always shorter than the HELLO. A client can replay an old HELLO: it proves itself only with its
    /// first record, so do nothing for it before that one opened.
    ///
    /// # Errors
    /// [`HandshakeError::Authentication`] if anything was changed on the way or the client does not know the server's key; before
    /// any key agreement: [`HandshakeError::UnsupportedHandshake`], [`HandshakeError::UnsupportedBinding`],
    /// [`HandshakeError::BindingRequired`], [`HandshakeError::UnknownServerKey`], [`HandshakeError::PeerOffer`],
    /// [`HandshakeError::NoCommonSuite`], [`HandshakeError::NoCommonFormat`], [`HandshakeError::BadCookie`],
    /// [`HandshakeError::TooLong`], [`HandshakeError::Truncated`], [`HandshakeError::HeaderLength`];
    /// [`HandshakeError::TicketRefused`], [`HandshakeError::WeakPublicKey`].
    pub fn accept(
        self,
        context: &mut ServerContext<'_>,
        header: &[u8],
        hello: &mut [u8],
        out: &mut Vec<u8>,
    ) -> Result<Accepted, HandshakeError> {
        let Self { server, entropy } = self;
        let header = header_of(header)?;
        if hello.len() > MAX_HANDSHAKE_BODY {
            return Err(HandshakeError::TooLong(hello.len()));
        }
        let (prefix, prefix_len) = HelloPrefix::decode(hello, server.policy.allow_plaintext)?;
        // Shorter than any that can succeed: a RETRY to it would be longer than its cause, for an address that nobody checked.
        let least = noise::by_id(prefix.handshake).map_or(0, |pattern| prefix_len + message_len(&pattern));
        let short = hello.len() < least;
        let call = Call { server: &server, header, prefix: &prefix };
        match call.admit(context, hello)? {
            Admission::Go { pattern, retry_hash, ticket } => {
                // Decryption is in place, so a RETRY that names this HELLO must be ready before.
                let fallback = match (&prefix.cookie, prefix.handshake.is_resumption()) {
                    (None, true) if !short => call.retry(context, hello, call.full()),
                    _ => None,
                };
                let (plain, message) = hello.split_at_mut_checked(prefix_len).ok_or(HandshakeError::Truncated)?;
                let exporter = context.exporter.as_ref().filter(|_| prefix.binding == TLS_EXPORTER);
                let prologue = prologue(header, plain, retry_hash.as_ref(), exporter.map(TlsExporter::as_bytes));
                let accepted = call.answer(context, pattern, ticket, &prologue, entropy, message, out);
                match (accepted, fallback) {
                    (Err(HandshakeError::TicketRefused), Some(retry)) => {
                        out.extend_from_slice(&retry.encode());
                        Ok(Accepted::Retry)
                    }
                    (accepted, _) => accepted,
                }
            }
            Admission::Retry(_) if short => Err(HandshakeError::Truncated),
            Admission::Retry(retry) => {
                out.extend_from_slice(&retry.encode());
                Ok(Accepted::Retry)
            }
        }
    }
}

impl fmt::Debug for ServerStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerStart").field("policy", &self.server.policy).finish_non_exhaustive()
    }
}

/// One HELLO under examination.
struct Call<'a> {
    server: &'a Server,
    header: &'a [u8; HEADER_LEN],
    prefix: &'a HelloPrefix,
}

/// What to do with a HELLO, before any key agreement.
enum Admission {
    Go { pattern: Pattern, retry_hash: Option<[u8; 32]>, ticket: Option<OpenTicket> },
    Retry(Retry),
}

impl Call<'_> {
    /// Everything that costs no more than a hash or the opening of a ticket.
    fn admit(&self, context: &ServerContext<'_>, hello: &[u8]) -> Result<Admission, HandshakeError> {
        let Self { server, prefix, .. } = self;
        // Nobody who cannot be served is sent around for a cookie first.
        server.choose(&prefix.offer)?;
        match prefix.binding {
            TLS_EXPORTER if context.exporter.is_none() => {
                return Err(HandshakeError::UnsupportedBinding(prefix.binding));
            }
            TLS_EXPORTER => {}
            _ if server.policy.require_binding => return Err(HandshakeError::BindingRequired),
            _ => {}
        }
        let ticket = if prefix.handshake.is_resumption() { context.open_ticket(&prefix.ticket) } else { None };
        let pattern = server.allows(prefix.handshake);
        let refused = match pattern {
            None => Some(HandshakeError::UnsupportedHandshake(prefix.handshake)),
            Some(pattern) if pattern.responder_known && context.key(&prefix.key_id).is_none() => {
                Some(HandshakeError::UnknownServerKey(prefix.key_id))
            }
            Some(pattern) if pattern.uses_psk() && ticket.is_none() => Some(HandshakeError::TicketRefused),
            Some(_) => None,
        };
        let Some(cookie) = &prefix.cookie else {
            let demand = context.retry.is_some_and(|retry| retry.demand);
            let wanted = match refused {
                None if demand => Some(prefix.handshake),
                None => None,
                Some(HandshakeError::UnknownServerKey(_)) => Some(prefix.handshake),
                Some(_) => self.full(),
            };
            let retry = self.retry(context, hello, wanted);
            return match (retry, refused, pattern) {
                (Some(retry), _, _) => Ok(Admission::Retry(retry)),
                (None, Some(refused), _) => Err(refused),
                (None, None, Some(pattern)) => Ok(Admission::Go { pattern, retry_hash: None, ticket }),
                (None, None, None) => Err(HandshakeError::UnsupportedHandshake(prefix.handshake)),
            };
        };
        let Some(policy) = context.retry else { return Err(HandshakeError::BadCookie) };
        let retry = Retry { handshake: prefix.handshake, key_id: prefix.key_id, cookie: cookie.clone() };
        let first = policy.cookies.check(server.provider, policy.address, context.now, &retry)?;
        match (refused, pattern) {
            (None, Some(pattern)) => {
                let retry_hash = Some(retry_hash(server.provider, &first, &retry));
                Ok(Admission::Go { pattern, retry_hash, ticket })
            }
            (Some(refused), _) => Err(refused),
            (None, None) => Err(HandshakeError::UnsupportedHandshake(prefix.handshake)),
        }
    }

    /// The full handshake to ask for when this one cannot be.
    fn full(&self) -> Option<HandshakeId> {
        self.server.alternative(self.prefix.handshake)
    }

    /// A RETRY that asks for `wanted`, if this server sends any and can keep its word.
    fn retry(&self, context: &ServerContext<'_>, hello: &[u8], wanted: Option<HandshakeId>) -> Option<Retry> {
        let (policy, wanted) = (context.retry?, wanted?);
        let provider = self.server.provider;
        let key_id = if self.server.allows(wanted)?.responder_known {
            context.key(&self.prefix.key_id).or(context.keys.first())?.key_id()
        } else {
            [0; 8]
        };
        let hash = hello_hash(provider, self.header, hello);
        Some(policy.cookies.retry(provider, policy.address, context.now, &hash, wanted, key_id))
    }

    /// The key agreement.
    #[expect(clippy::too_many_arguments, reason = "all of them are parts of one HELLO")]
    fn answer(
        &self,
        context: &mut ServerContext<'_>,
        pattern: Pattern,
        ticket: Option<OpenTicket>,
        prologue: &[u8],
        entropy: Entropy,
        message: &mut [u8],
        out: &mut Vec<u8>,
    ) -> Result<Accepted, HandshakeError> {
        let Self { server, prefix, .. } = self;
        let choice = server.choose(&prefix.offer)?;
        if ticket.as_ref().is_some_and(|ticket| ticket.claims.suite != choice.suite) {
            return Err(HandshakeError::TicketRefused);
        }
        let s = if pattern.responder_known {
            Some(context.key(&prefix.key_id).ok_or(HandshakeError::UnknownServerKey(prefix.key_id))?)
        } else if pattern.responder_has_static() {
            Some(context.keys.first().ok_or(HandshakeError::UnknownServerKey(prefix.key_id))?)
        } else {
            None
        };
        let (psk, claims, spend) = match ticket {
            Some(OpenTicket { claims, psk, id }) => (Some(psk), Some(claims), Some(id)),
            None => (None, None, None),
        };
        let keys = Keys { entropy, s: s.map(StaticKey::pair), rs: None, psk };
        let mut state = noise_state(server.provider, prefix.handshake, Role::Responder, prologue, keys)?;
        let payload = state.read_message(message).map_err(|error| match (error, pattern.uses_psk()) {
            // Somebody shows a ticket whose key he does not have: one more way in which it is no good.
            (NoiseError::BadTag, true) => HandshakeError::TicketRefused,
            (error, _) => error.into(),
        })?;
        // The content is reserved; its length keeps the HELLO longer than the reply.
        if payload.len() < HELLO_PAD {
            return Err(HandshakeError::Truncated);
        }
        // Only now, so that nobody can use up a ticket that he saw but does not have the key of.
        if let (Some(id), Some(claims), Some(resumption)) = (spend, &claims, &mut context.resumption)
            && !resumption.used.spend(&id, claims.expires, context.now)
        {
            return Err(HandshakeError::TicketRefused);
        }
        let mut reply = Vec::new();
        state.write_message(&choice.encode(), &mut reply)?;
        let peer_max_body = prefix.offer.max_body;
        let outcome = Outcome { handshake: prefix.handshake, choice, peer_max_body, ticket: claims };
        let accepted = if pattern.messages.len() == 2 {
            Accepted::Established(Box::new(outcome.establish(server.provider, state, Role::Responder)?))
        } else {
            Accepted::Wait(ServerWait { server: (*server).clone(), state: Box::new(state), outcome })
        };
        out.extend_from_slice(&reply);
        Ok(accepted)
    }
}

/// A server in XX that replied and waits for the client's key.
pub struct ServerWait {
    server: Server,
    state: Box<HandshakeState>,
    outcome: Outcome,
}

impl ServerWait {
    /// Reads the body of the client's third message; it is decrypted in place and worthless afterwards. Whether
    /// [`Established::peer_key`] belongs to somebody is for the caller to find out.
    ///
    /// # Errors
    /// [`HandshakeError::Authentication`] if anything was changed on the way; [`HandshakeError::TooLong`],
    /// [`HandshakeError::Truncated`], [`HandshakeError::WeakPublicKey`].
    pub fn finish(self, message: &mut [u8]) -> Result<Established, HandshakeError> {
        let Self { server, mut state, outcome } = self;
        if message.len() > MAX_HANDSHAKE_BODY {
            return Err(HandshakeError::TooLong(message.len()));
        }
        state.read_message(message)?;
        outcome.establish(server.provider, *state, Role::Responder)
    }
}

impl fmt::Debug for ServerWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerWait").field("handshake", &self.outcome.handshake).finish_non_exhaustive()
    }
}
