//! A server's way to a sealed channel.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::mem;

use im_codec::{HEADER_LEN, Header, Limits, MessageType, begin_packet, finish_packet};
use im_crypto::{
    Accepted, CookieKeys, Entropy, Established, HandshakeError, HandshakeId, Resumption, RetryPolicy, Server,
    ServerContext, ServerPolicy, ServerWait, TicketKeys, TicketStore, TlsExporter,
};

use super::{Link, Opened, Terms, expect_clear, expect_id, unexpected};
use crate::config::ServerConfig;
use crate::error::Error;
use crate::time::Instant;

/// What a server knows about a transport that was just accepted, and what it has at hand for its handshake.
///
/// ```
/// use im_proto::Arrival;
/// let mut arrival = Arrival::at(1_800_000_000);
/// arrival.address = vec![192, 0, 2, 1];
/// arrival.demand_cookie = true; // many connections, and most of them bring nothing
/// ```
#[derive(Clone, Default)]
pub struct Arrival {
    /// The wall clock, seconds since 1970. For tickets and cookies only: with 0 no ticket is good.
    pub unix_secs: u64,
    /// Where the peer is, as bytes of the caller's choice: a cookie is good from there only. May be empty.
    pub address: Vec<u8>,
    /// Sends the client around for a cookie before the first key agreement: under load.
    pub demand_cookie: bool,
    /// The keys of the cookies, where the second hello of a client may reach another process. `None`: keys of this connection.
    pub cookies: Option<Arc<CookieKeys>>,
    /// The keys of the tickets. `None`: every ticket is refused, and its client makes a full handshake.
    pub tickets: Option<Arc<TicketKeys>>,
    /// The TLS connection underneath, if the TLS library gives its exporter.
    pub exporter: Option<TlsExporter>,
}

impl Arrival {
    /// A transport that was accepted at this moment, seconds since 1970; nothing else is known.
    pub fn at(unix_secs: u64) -> Self {
        Self { unix_secs, ..Self::default() }
    }
}

impl fmt::Debug for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arrival")
            .field("unix_secs", &self.unix_secs)
            .field("demand_cookie", &self.demand_cookie)
            .field("tickets", &self.tickets.is_some())
            .finish_non_exhaustive()
    }
}

/// A ticket that is about to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TicketUse {
    /// Names the ticket; tells nothing about whose it is.
    pub id: [u8; 16],
    /// When it ends, seconds since 1970: the id may be forgotten then.
    pub expires: u64,
    /// The wall clock as this connection has it, seconds since 1970.
    pub now: u64,
}

/// Before the hello, or between a retry and the second one.
pub(crate) struct AwaitHello {
    server: Server,
    arrival: Arrival,
    cookies: Arc<CookieKeys>,
    began: Instant,
    entropy: Entropy,
    /// The client was sent around once.
    retried: bool,
}

/// A ticket was good; whether it was used before is asked. The client has no answer yet.
pub(crate) struct AwaitTicket {
    /// As it came, because reading is in place.
    header: [u8; HEADER_LEN],
    hello: Vec<u8>,
    reply: Vec<u8>,
    established: Established,
    /// For the retry, if it was used.
    back: Box<AwaitHello>,
}

/// XX: the reply is out, the client's key comes.
pub(crate) struct AwaitEnd {
    wait: ServerWait,
    packet_id: u64,
}

/// What a client's packet led to.
pub(crate) enum Taken {
    /// The channel is open.
    Open(Box<Opened>),
    /// The caller is asked about a ticket.
    Ticket(TicketUse),
    /// A packet of the client has to come.
    Waiting,
}

/// Takes down which ticket is about to be used, and leaves it to the caller whether it may.
#[derive(Default)]
struct Shown(Option<([u8; 16], u64)>);

impl TicketStore for Shown {
    fn spend(&mut self, id: &[u8; 16], expires: u64, _now: u64) -> bool {
        self.0 = Some((*id, expires));
        true
    }
}

impl AwaitHello {
    fn unix_secs(&self, now: Instant) -> u64 {
        self.arrival.unix_secs.saturating_add(now.saturating_since(self.began).as_secs())
    }

    /// Reads a hello and appends the packet that answers it. `tickets` says whether tickets are looked at.
    fn answer(
        &mut self,
        config: &ServerConfig,
        raw_header: &[u8; HEADER_LEN],
        hello: &mut [u8],
        tickets: bool,
        out: &mut Vec<u8>,
        now: Instant,
    ) -> Result<(Accepted, Shown), HandshakeError> {
        let start = self.server.start(self.entropy.split_off(config.provider)?);
        let mut shown = Shown::default();
        let keys = self.arrival.tickets.as_deref().filter(|_| tickets);
        let mut context = ServerContext {
            keys: &config.keys,
            now: self.unix_secs(now),
            exporter: self.arrival.exporter,
            resumption: keys.map(|keys| Resumption { keys, used: &mut shown }),
            retry: Some(RetryPolicy {
                cookies: &self.cookies,
                address: &self.arrival.address,
                demand: self.arrival.demand_cookie,
            }),
        };
        let at = begin_packet(out);
        let accepted = start.accept(&mut context, raw_header, hello, out);
        let message_type = match &accepted {
            Ok(Accepted::Retry) if self.retried => {
                out.truncate(at);
                // One retry per connection; this hello did not bring the cookie of the first.
                return Err(HandshakeError::BadCookie);
            }
            Ok(Accepted::Retry) => MessageType::RETRY,
            Ok(Accepted::Established(_) | Accepted::Wait(_)) => MessageType::HELLO_REPLY,
            Err(_) => {
                out.truncate(at);
                return accepted.map(|accepted| (accepted, shown));
            }
        };
        let header = Header { packet_id: Header::from_bytes(raw_header).0.packet_id, ..Header::new(message_type) };
        // The answer is shorter than a hello, which is far below every limit.
        let _ = finish_packet(out, at, &header, &Limits::default());
        accepted.map(|accepted| (accepted, shown))
    }
}

impl Link {
    /// Waits for a client's hello.
    pub(crate) fn await_hello(
        config: &ServerConfig,
        arrival: Arrival,
        mut entropy: Entropy,
        now: Instant,
    ) -> Result<Self, HandshakeError> {
        let server = server(config)?;
        let cookies = match &arrival.cookies {
            Some(cookies) => Arc::clone(cookies),
            None => {
                let window = config.login_timeout.as_secs().saturating_add(1);
                Arc::new(CookieKeys::new(entropy.split_off(config.provider)?, window))
            }
        };
        Ok(Self::AwaitHello(Box::new(AwaitHello { server, arrival, cookies, began: now, entropy, retried: false })))
    }

    /// Takes a client's packet in the clear and appends the answer to `out`.
    pub(crate) fn take(
        &mut self,
        config: &ServerConfig,
        raw_header: &[u8; HEADER_LEN],
        body: &mut [u8],
        out: &mut Vec<u8>,
        now: Instant,
    ) -> Result<Taken, Error> {
        let header = Header::from_bytes(raw_header).0;
        match mem::replace(self, Self::Down) {
            Self::AwaitHello(waiting) => self.take_hello(*waiting, config, raw_header, body, out, now),
            Self::AwaitEnd(waiting) => {
                let AwaitEnd { wait, packet_id } = *waiting;
                expect_clear(header, MessageType::HELLO_END)?;
                expect_id(header, packet_id)?;
                let established = wait.finish(body)?;
                Ok(Taken::Open(Box::new(self.open(terms(config), established, now)?)))
            }
            Self::Down | Self::AwaitReply(_) | Self::Verify(_) | Self::AwaitTicket(_) | Self::Open(_) => {
                Err(unexpected(header))
            }
        }
    }

    fn take_hello(
        &mut self,
        mut waiting: AwaitHello,
        config: &ServerConfig,
        raw_header: &[u8; HEADER_LEN],
        body: &mut [u8],
        out: &mut Vec<u8>,
        now: Instant,
    ) -> Result<Taken, Error> {
        let header = Header::from_bytes(raw_header).0;
        expect_clear(header, MessageType::HELLO)?;
        // The hello is read in place, and may be needed once more to make a retry of it. The handshake refuses longer ones.
        let resumes = body.first().is_some_and(|id| HandshakeId(*id).is_resumption());
        let copy = body.get(..).filter(|body| resumes && body.len() <= im_crypto::MAX_HANDSHAKE_BODY);
        let copy = copy.map(<[u8]>::to_vec);
        let mut answer = Vec::new();
        let (accepted, shown) = waiting.answer(config, raw_header, body, true, &mut answer, now)?;
        match (accepted, shown.0, copy) {
            (Accepted::Retry, ..) => {
                waiting.retried = true;
                *self = Self::AwaitHello(Box::new(waiting));
                out.append(&mut answer);
                Ok(Taken::Waiting)
            }
            (Accepted::Established(established), Some((id, expires)), Some(hello)) => {
                let now = waiting.unix_secs(now);
                let back = Box::new(waiting);
                let established = *established;
                *self = Self::AwaitTicket(Box::new(AwaitTicket {
                    header: *raw_header,
                    hello,
                    reply: answer,
                    established,
                    back,
                }));
                Ok(Taken::Ticket(TicketUse { id, expires, now }))
            }
            (Accepted::Established(established), ..) => {
                out.append(&mut answer);
                Ok(Taken::Open(Box::new(self.open(terms(config), *established, now)?)))
            }
            (Accepted::Wait(wait), ..) => {
                out.append(&mut answer);
                *self = Self::AwaitEnd(Box::new(AwaitEnd { wait, packet_id: header.packet_id }));
                Ok(Taken::Waiting)
            }
        }
    }

    /// The caller knows whether a ticket was used before; `None` when no ticket is asked about. A used one is answered like any
    /// other that is no good: with a retry.
    pub(crate) fn ticket(
        &mut self,
        config: &ServerConfig,
        fresh: bool,
        out: &mut Vec<u8>,
        now: Instant,
    ) -> Option<Result<Taken, Error>> {
        if !matches!(self, Self::AwaitTicket(_)) {
            return None;
        }
        let Self::AwaitTicket(waiting) = mem::replace(self, Self::Down) else { return None };
        let AwaitTicket { header, mut hello, mut reply, established, mut back } = *waiting;
        if fresh {
            out.append(&mut reply);
            return Some(self.open(terms(config), established, now).map(|opened| Taken::Open(Box::new(opened))));
        }
        Some(match back.answer(config, &header, &mut hello, false, out, now) {
            Ok((Accepted::Retry, _)) => {
                back.retried = true;
                *self = Self::AwaitHello(back);
                Ok(Taken::Waiting)
            }
            // Without ticket keys no resumption is established.
            Ok((Accepted::Established(_) | Accepted::Wait(_), _)) => Err(HandshakeError::TicketRefused.into()),
            Err(error) => Err(error.into()),
        })
    }
}

fn server(config: &ServerConfig) -> Result<Server, HandshakeError> {
    let policy = ServerPolicy {
        suites: config.suites.clone(),
        formats: config.formats.ids().into_iter().map(|id| id.0).collect(),
        max_body: config.max_body,
        handshakes: config.possible_handshakes(),
        require_pq: config.require_pq,
        require_binding: config.require_binding,
        allow_plaintext: false,
    };
    Server::new(config.provider, policy)
}

fn terms(config: &ServerConfig) -> Terms<'_> {
    Terms {
        formats: &config.formats,
        max_body: config.max_body,
        key_limits: config.key_limits,
        padding: config.padding,
    }
}
