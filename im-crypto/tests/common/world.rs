//! A client, a server and the wire between them, for every handshake, with somebody on the wire who can change each message.

use std::sync::Arc;

use im_crypto::{
    Accepted, Client, ClientPolicy, ClientStart, ClientTicket, CookieKeys, CryptoProvider, Entropy, Established,
    HandshakeError, HandshakeId, RUSTCRYPTO, Replied, Resumption, RetryPolicy, Server, ServerContext, ServerKey,
    ServerPolicy, StaticKey, SuiteId, TicketIdentity, TicketKeys, TlsExporter, UsedTickets,
};

use super::{ALL_SUITES, FixedRng, Padding, entropy, hello_header, offer, open, packet, policy};

pub(crate) const HANDSHAKES: [HandshakeId; 8] = [
    HandshakeId::NK,
    HandshakeId::NK_HFS,
    HandshakeId::NN_PSK0,
    HandshakeId::NN_PSK0_HFS,
    HandshakeId::XX,
    HandshakeId::IK,
    HandshakeId::XX_HFS,
    HandshakeId::IK_HFS,
];

/// A message on the wire, in the order of a handshake that has all of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Message {
    Hello,
    Retry,
    SecondHello,
    Reply,
    Third,
}

/// Who refused, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    Client(HandshakeError),
    Server(HandshakeError),
}

/// Both ends of a finished handshake, and what was on the wire.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) client: Established,
    pub(crate) server: Established,
    pub(crate) wire: Vec<(Message, Vec<u8>)>,
}

impl Session {
    pub(crate) fn saw(&self, message: Message) -> bool {
        self.wire.iter().any(|(seen, _)| *seen == message)
    }

    /// A record in each direction.
    pub(crate) fn talk(&mut self) {
        let (header, body) = packet(&mut self.client.sealer, 1, b"up", Padding::None);
        assert_eq!(open(&mut self.server.opener, &header, &body), Some((1, b"up".to_vec())));
        self.talk_down();
    }

    /// A record of the server.
    pub(crate) fn talk_down(&mut self) {
        let (header, body) = packet(&mut self.server.sealer, 2, b"down", Padding::None);
        assert_eq!(open(&mut self.client.opener, &header, &body), Some((2, b"down".to_vec())));
    }
}

/// The refusal of a handshake that must not succeed.
pub(crate) fn refused(result: Result<Session, Refusal>) -> Refusal {
    match result {
        Ok(session) => panic!("both are established: {session:?}"),
        Err(refusal) => refusal,
    }
}

/// Length of Noise message 1 with 64 bytes of padding.
pub(crate) fn noise_len(id: HandshakeId) -> usize {
    match id {
        HandshakeId::NK | HandshakeId::NN_PSK0 => 32 + 80,
        HandshakeId::NK_HFS | HandshakeId::NN_PSK0_HFS => 32 + 1200 + 80,
        HandshakeId::XX => 32 + 64,
        HandshakeId::XX_HFS => 32 + 1184 + 64,
        HandshakeId::IK => 32 + 48 + 80,
        _ => 32 + 1200 + 48 + 80,
    }
}

pub(crate) struct World {
    pub(crate) client_provider: &'static CryptoProvider,
    pub(crate) server_provider: &'static CryptoProvider,
    /// Offered and accepted.
    pub(crate) suites: Vec<SuiteId>,
    pub(crate) keys: Vec<ServerKey>,
    pub(crate) client_key: Arc<StaticKey>,
    pub(crate) tickets: TicketKeys,
    pub(crate) used: UsedTickets,
    pub(crate) cookies: CookieKeys,
    pub(crate) sends_retries: bool,
    pub(crate) demand: bool,
    pub(crate) address: Vec<u8>,
    pub(crate) now: u64,
    pub(crate) client_tls: Option<TlsExporter>,
    pub(crate) server_tls: Option<TlsExporter>,
    /// Seeds the entropy of both sides. Fixed, unless a test moves it.
    pub(crate) seed: u64,
    /// Simple bytes instead of seeded ones, for vectors: 0xc1 and 0xc2 for the two HELLOs, 0x5e for the server.
    pub(crate) fixed_entropy: bool,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::between(&RUSTCRYPTO, &RUSTCRYPTO)
    }

    pub(crate) fn between(client: &'static CryptoProvider, server: &'static CryptoProvider) -> Self {
        Self {
            client_provider: client,
            server_provider: server,
            suites: ALL_SUITES.to_vec(),
            keys: vec![ServerKey::generate(server, entropy(1)).unwrap()],
            client_key: Arc::new(StaticKey::generate(client, entropy(2)).unwrap()),
            tickets: TicketKeys::new(server, entropy(3)).unwrap(),
            used: UsedTickets::new(1000),
            cookies: CookieKeys::new(entropy(4), 30),
            sends_retries: true,
            demand: false,
            address: vec![192, 0, 2, 1],
            now: 1_000_000,
            client_tls: None,
            server_tls: None,
            seed: 100,
            fixed_entropy: false,
        }
    }

    fn entropy(&self, offset: u64) -> Entropy {
        if self.fixed_entropy {
            let byte = [0xc1, 0x5e, 0xc2].get(offset as usize).copied().unwrap_or(0xee);
            return Entropy::from_rng(&mut FixedRng(byte)).unwrap();
        }
        entropy(self.seed * 10 + offset)
    }

    pub(crate) fn client_policy(&self, handshakes: &[HandshakeId]) -> ClientPolicy {
        ClientPolicy {
            offer: offer(&self.suites),
            handshakes: handshakes.to_vec(),
            require_pq: false,
            allow_plaintext: false,
        }
    }

    pub(crate) fn client(&self, handshakes: &[HandshakeId]) -> Client {
        let pins: Vec<_> = self.keys.iter().map(ServerKey::public).collect();
        let pins = if handshakes.iter().all(|id| [HandshakeId::XX, HandshakeId::XX_HFS].contains(id)) {
            &[][..]
        } else {
            &pins
        };
        Client::with_key(self.client_provider, self.client_policy(handshakes), pins, Arc::clone(&self.client_key))
            .unwrap()
    }

    pub(crate) fn server(&self, handshakes: &[HandshakeId]) -> Server {
        let policy = ServerPolicy { handshakes: handshakes.to_vec(), ..policy(&self.suites) };
        Server::new(self.server_provider, policy).unwrap()
    }

    pub(crate) fn identity() -> TicketIdentity {
        TicketIdentity { user: b"alice".to_vec(), device: b"phone".to_vec(), session: vec![7; 16] }
    }

    /// A ticket out of a session of its own, as the server sends it, and the client's half.
    pub(crate) fn ticket(&self, lifetime: u64) -> (Vec<u8>, ClientTicket) {
        let aside = Self::between(self.client_provider, self.server_provider);
        let mut aside = Self { seed: 7, suites: self.suites.clone(), ..aside };
        let session = aside.run_id(HandshakeId::NK).unwrap();
        let secret = &session.server.resumption;
        let ticket = self.tickets.issue(secret, &Self::identity(), self.now, lifetime, self.entropy(9)).unwrap();
        let client = ClientTicket::new(self.client_provider, &session.client.resumption, ticket.clone()).unwrap();
        (ticket, client)
    }

    /// A client about to make this handshake, with a ticket if it needs one.
    pub(crate) fn start(&self, id: HandshakeId) -> ClientStart {
        let mut list = vec![id];
        if id.is_resumption() {
            list.push(if id.is_post_quantum() { HandshakeId::NK_HFS } else { HandshakeId::NK });
        }
        let client = self.client(&list);
        if id.is_resumption() { self.resume(&client, self.ticket(3600).1) } else { self.begin(&client) }
    }

    pub(crate) fn begin(&self, client: &Client) -> ClientStart {
        self.bound(client.start(self.entropy(0)).unwrap())
    }

    pub(crate) fn resume(&self, client: &Client, ticket: ClientTicket) -> ClientStart {
        self.bound(client.resume(ticket, self.entropy(0)).unwrap())
    }

    fn bound(&self, start: ClientStart) -> ClientStart {
        match self.client_tls {
            Some(exporter) => start.bind(exporter),
            None => start,
        }
    }

    pub(crate) fn accept(
        &mut self,
        server: &Server,
        header: &[u8],
        hello: &[u8],
    ) -> (Result<Accepted, HandshakeError>, Vec<u8>) {
        let start = server.start(self.entropy(1));
        let retry = RetryPolicy { cookies: &self.cookies, address: &self.address, demand: self.demand };
        let mut context = ServerContext {
            now: self.now,
            exporter: self.server_tls,
            resumption: Some(Resumption { keys: &self.tickets, used: &mut self.used }),
            retry: self.sends_retries.then_some(retry),
            ..ServerContext::new(&self.keys)
        };
        let mut out = Vec::new();
        let accepted = start.accept(&mut context, header, &mut hello.to_vec(), &mut out);
        assert_eq!(accepted.is_err(), out.is_empty(), "bytes exactly if it is accepted");
        (accepted, out)
    }

    pub(crate) fn run_id(&mut self, id: HandshakeId) -> Result<Session, Refusal> {
        let start = self.start(id);
        self.run(&self.server(&HANDSHAKES), start)
    }

    pub(crate) fn run(&mut self, server: &Server, start: ClientStart) -> Result<Session, Refusal> {
        self.run_with(server, start, |_, _, _| {})
    }

    /// The whole handshake. `attacker` sees each message (for a HELLO with its header) and may change it.
    pub(crate) fn run_with(
        &mut self,
        server: &Server,
        start: ClientStart,
        mut attacker: impl FnMut(Message, &mut [u8; 24], &mut Vec<u8>),
    ) -> Result<Session, Refusal> {
        let mut wire = Vec::new();
        let mut pass = |message, header: &mut [u8; 24], bytes: &mut Vec<u8>| {
            attacker(message, header, bytes);
            wire.push((message, bytes.clone()));
        };
        let mut start = Some(start);
        let mut message = Message::Hello;
        loop {
            let ready = start.take().unwrap();
            let mut header = hello_header(ready.body_len());
            let (length, mut hello) = (ready.body_len(), Vec::new());
            let wait = ready.write(&header, &mut hello).map_err(Refusal::Client)?;
            assert_eq!(hello.len(), length);
            pass(message, &mut header, &mut hello);
            let (accepted, mut answer) = self.accept(server, &header, &hello);
            assert!(answer.len() < hello.len(), "no amplification");
            let mut none = [0; 24];
            match accepted.map_err(Refusal::Server)? {
                Accepted::Retry => {
                    pass(Message::Retry, &mut none, &mut answer);
                    start = Some(wait.retry(&answer, self.entropy(2)).map_err(Refusal::Client)?);
                    message = Message::SecondHello;
                }
                Accepted::Established(server) => {
                    pass(Message::Reply, &mut none, &mut answer);
                    let Replied::Established(client) = wait.finish(&mut answer).map_err(Refusal::Client)? else {
                        panic!("the server is done, the client is not");
                    };
                    return Ok(Session { client: *client, server: *server, wire });
                }
                Accepted::Wait(server) => {
                    pass(Message::Reply, &mut none, &mut answer);
                    let Replied::Finish(client) = wait.finish(&mut answer).map_err(Refusal::Client)? else {
                        panic!("the client is done, the server is not");
                    };
                    let mut third = Vec::new();
                    let client = client.write(&mut third).map_err(Refusal::Client)?;
                    pass(Message::Third, &mut none, &mut third);
                    let server = server.finish(&mut third).map_err(Refusal::Server)?;
                    return Ok(Session { client, server, wire });
                }
            }
        }
    }
}
