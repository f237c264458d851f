//! A server with every handshake, and the clients that it knows.

use std::sync::{Arc, LazyLock};

use im_crypto::{
    Accepted, Client, ClientPolicy, ClientStart, ClientTicket, ClientWait, CookieKeys, CryptoProvider, Entropy,
    Established, Fault, HandshakeError, HandshakeId, Offer, RUSTCRYPTO, Replied, Resumption, RetryPolicy, Server,
    ServerContext, ServerPolicy, StaticKey, SuiteId, TicketIdentity, TicketKeys, TlsExporter, UsedTickets,
};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

use im_sim::FAST;

pub(super) const HANDSHAKES: [HandshakeId; 8] = [
    HandshakeId::NK,
    HandshakeId::NK_HFS,
    HandshakeId::NN_PSK0,
    HandshakeId::NN_PSK0_HFS,
    HandshakeId::XX,
    HandshakeId::IK,
    HandshakeId::XX_HFS,
    HandshakeId::IK_HFS,
];

pub(super) const SUITES: [SuiteId; 3] = [SuiteId::AES_128_GCM, SuiteId::AES_256_GCM, SuiteId::CHACHA20_POLY1305];

/// The users that the tickets of a world were given to.
pub(super) const USERS: [&[u8]; 2] = [b"alice", b"bob"];

/// In front of a message, so that a test sees that nothing is written over.
const BEFORE: [u8; 2] = [0xaa, 0xbb];

pub(super) fn is_xx(id: HandshakeId) -> bool {
    [HandshakeId::XX, HandshakeId::XX_HFS].contains(&id)
}

/// The header of a packet: only that both sides see the same one matters, and the suite in byte 17.
pub(super) fn header(suite: SuiteId, body: usize) -> [u8; 24] {
    let mut header = [0x66; 24];
    header[17] = suite.0;
    header[20..].copy_from_slice(&u32::try_from(body).expect("short").to_be_bytes());
    header
}

/// A peer can break the rules or differ from us; that it shows a mistake of ours must not be.
pub(super) fn blames_the_peer(error: HandshakeError) {
    let fault = error.fault();
    assert!([Fault::PeerViolated, Fault::PeerIncompatible].contains(&fault), "{error}: {fault:?}");
}

/// What does not change from run to run.
pub(super) struct Fixed {
    pub(super) provider: &'static CryptoProvider,
    pub(super) keys: [StaticKey; 1],
    pub(super) client_key: Arc<StaticKey>,
    server: Server,
    tickets: TicketKeys,
    cookies: CookieKeys,
    /// Of [`USERS`], as a client stores them.
    pub(super) stored: [Vec<u8>; 2],
}

static WITH_FAST: LazyLock<Fixed> = LazyLock::new(|| Fixed::new(&FAST));
static WITH_X25519: LazyLock<Fixed> = LazyLock::new(|| Fixed::new(&RUSTCRYPTO));

impl Fixed {
    fn new(provider: &'static CryptoProvider) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut entropy = || Entropy::from_rng(&mut random).expect("it never fails");
        let key = StaticKey::generate(provider, entropy()).expect("a key");
        let client_key = Arc::new(StaticKey::generate(provider, entropy()).expect("a key"));
        let policy = ServerPolicy {
            suites: SUITES.to_vec(),
            formats: vec![2, 16],
            max_body: 100_000,
            handshakes: HANDSHAKES.to_vec(),
            require_pq: false,
            require_binding: false,
            allow_plaintext: false,
        };
        let mut fixed = Self {
            provider,
            keys: [key],
            client_key,
            server: Server::new(provider, policy).expect("a good policy"),
            tickets: TicketKeys::new(provider, entropy()).expect("keys"),
            cookies: CookieKeys::new(entropy(), 30),
            stored: [vec![], vec![]],
        };
        let (client, server) = World::new(&fixed, 0).honest(HandshakeId::NK);
        fixed.stored = USERS.map(|user| {
            let identity = TicketIdentity { user: user.to_vec(), ..TicketIdentity::default() };
            let ticket = fixed.tickets.issue(&server.resumption, &identity, NOW, 3600, entropy()).expect("a ticket");
            let mut stored = Vec::new();
            ClientTicket::new(provider, &client.resumption, ticket).expect("a ticket").write_to(&mut stored);
            stored
        });
        fixed
    }
}

/// When runs begin, seconds since 1970.
const NOW: u64 = 1_000_000;

/// One run: the server's state and the randomness of all sides.
pub(super) struct World<'a> {
    pub(super) fixed: &'a Fixed,
    random: ChaCha8Rng,
    used: UsedTickets,
    pub(super) now: u64,
    pub(super) sends_retries: bool,
    pub(super) demand: bool,
    /// Both sides see the same TLS connection.
    pub(super) tls: bool,
}

impl World<'static> {
    /// By the first two bytes of an input. In one of eight the key agreement is X25519, and ML-KEM.
    pub(super) fn from_input(seed: u8, options: u8) -> Self {
        let fixed = if seed % 8 == 7 { &WITH_X25519 } else { &WITH_FAST };
        let mut world = Self::new(fixed, seed.into());
        world.sends_retries = options & 1 == 0;
        world.demand = options & 2 != 0;
        world.tls = options & 4 != 0;
        world
    }
}

impl<'a> World<'a> {
    fn new(fixed: &'a Fixed, seed: u64) -> Self {
        let random = ChaCha8Rng::seed_from_u64(seed + 2);
        let used = UsedTickets::new(100);
        Self { fixed, random, used, now: NOW, sends_retries: true, demand: false, tls: false }
    }

    pub(super) fn entropy(&mut self) -> Entropy {
        Entropy::from_rng(&mut self.random).expect("it never fails")
    }

    /// The exporter of the connection, if there is TLS.
    fn exporter(&self) -> Option<TlsExporter> {
        self.tls.then(|| TlsExporter::new([3; 32]))
    }

    /// A client that is about to make this handshake; in a resumption with the ticket of a user.
    pub(super) fn start(&mut self, id: HandshakeId, suites: &[SuiteId], user: usize) -> ClientStart {
        self.start_with(id, suites, &self.fixed.stored[user]).expect("a client can begin")
    }

    /// The same with this stored ticket.
    pub(super) fn start_with(
        &mut self,
        id: HandshakeId,
        suites: &[SuiteId],
        stored: &[u8],
    ) -> Result<ClientStart, im_crypto::TicketError> {
        let Fixed { provider, keys: [key], client_key, .. } = self.fixed;
        let mut handshakes = vec![id];
        if id.is_resumption() {
            handshakes.push(if id.is_post_quantum() { HandshakeId::NK_HFS } else { HandshakeId::NK });
        }
        let offer = Offer { suites: suites.to_vec(), formats: vec![16, 2], max_body: 65_536 };
        let policy = ClientPolicy { offer, handshakes, require_pq: false, allow_plaintext: false };
        let pins = [key.public()];
        let client = Client::with_key(provider, policy, &pins, Arc::clone(client_key)).expect("a good policy");
        let start = if id.is_resumption() {
            client.resume(ClientTicket::from_bytes(stored)?, self.entropy())
        } else {
            client.start(self.entropy())
        };
        let start = start.expect("a client can begin");
        Ok(match self.exporter() {
            Some(exporter) => start.bind(exporter),
            None => start,
        })
    }

    /// Header and body of a HELLO, and the client that waits for its answer.
    pub(super) fn write(start: ClientStart) -> ([u8; 24], Vec<u8>, ClientWait) {
        let length = start.body_len();
        let header = header(SuiteId::NONE, length);
        let mut body = BEFORE.to_vec();
        let wait = start.write(&header, &mut body).expect("its own HELLO");
        let body = body.split_off(BEFORE.len());
        assert_eq!(body.len(), length);
        (header, body, wait)
    }

    /// What the server makes of a HELLO, and what it answers.
    pub(super) fn accept(&mut self, header: &[u8], hello: &[u8]) -> (Result<Accepted, HandshakeError>, Vec<u8>) {
        let start = self.fixed.server.start(self.entropy());
        let retry = RetryPolicy { cookies: &self.fixed.cookies, address: &[192, 0, 2, 1], demand: self.demand };
        let mut context = ServerContext {
            now: self.now,
            exporter: self.exporter(),
            resumption: Some(Resumption { keys: &self.fixed.tickets, used: &mut self.used }),
            retry: self.sends_retries.then_some(retry),
            ..ServerContext::new(&self.fixed.keys)
        };
        let mut out = BEFORE.to_vec();
        let accepted = start.accept(&mut context, header, &mut hello.to_vec(), &mut out);
        let answer = out.split_off(BEFORE.len());
        assert_eq!(out, BEFORE, "written over");
        assert_eq!(accepted.is_err(), answer.is_empty(), "an answer exactly if there is something to say");
        assert!(answer.len() < hello.len().max(1), "no amplification");
        match accepted {
            Err(HandshakeError::HeaderLength(length)) => assert!(length == header.len() && length != 24),
            Err(error) => blames_the_peer(error),
            Ok(_) => {}
        }
        (accepted, answer)
    }

    /// A handshake of two messages without anybody between: client, server.
    pub(super) fn honest(&mut self, id: HandshakeId) -> (Established, Established) {
        let (header, hello, wait) = Self::write(self.start(id, &SUITES, 0));
        let (Ok(Accepted::Established(server)), mut reply) = self.accept(&header, &hello) else {
            panic!("an honest HELLO is accepted")
        };
        let Ok(Replied::Established(client)) = wait.finish(&mut reply) else { panic!("an honest reply is accepted") };
        (*client, *server)
    }
}
