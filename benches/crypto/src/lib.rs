//! Sessions for the benchmarks: both ends in one place, over every handshake and provider.

use std::sync::Arc;
use std::time::{Duration, Instant};

use im_crypto::{
    Accepted, Client, ClientPolicy, ClientStart, ClientTicket, CryptoProvider, Entropy, Established, HEADER_LEN,
    HandshakeId, Offer, RUSTCRYPTO, Replied, Resumption, Server, ServerContext, ServerKey, ServerPolicy, StaticKey,
    SuiteId, TicketIdentity, TicketKeys, UsedTickets,
};
use im_crypto_aws_lc::{AWS_LC, AWS_LC_KEM};

/// The providers, as the tables call them.
pub const PROVIDERS: [(&str, &CryptoProvider); 2] = [("rustcrypto", &RUSTCRYPTO), ("aws-lc", &AWS_LC)];

/// The providers of the handshakes: the last one differs from the one before in ML-KEM only.
pub const HANDSHAKE_PROVIDERS: [(&str, &CryptoProvider); 3] = [PROVIDERS[0], PROVIDERS[1], ("aws-lc-kem", &AWS_LC_KEM)];

/// The suites, as the tables call them.
pub const SUITES: [(&str, SuiteId); 3] = [
    ("AES-128-GCM", SuiteId::AES_128_GCM),
    ("AES-256-GCM", SuiteId::AES_256_GCM),
    ("ChaCha20-Poly1305", SuiteId::CHACHA20_POLY1305),
];

/// The handshakes, as the tables call them.
pub const HANDSHAKES: [(&str, HandshakeId); 8] = [
    ("NK", HandshakeId::NK),
    ("NNpsk0", HandshakeId::NN_PSK0),
    ("XX", HandshakeId::XX),
    ("IK", HandshakeId::IK),
    ("NKhfs", HandshakeId::NK_HFS),
    ("NNpsk0hfs", HandshakeId::NN_PSK0_HFS),
    ("XXhfs", HandshakeId::XX_HFS),
    ("IKhfs", HandshakeId::IK_HFS),
];

/// Sizes of a plaintext, bytes.
pub const SIZES: [usize; 4] = [64, 256, 1024, 16 * 1024];

const NOW: u64 = 1_700_000_000;

fn entropy() -> Entropy {
    Entropy::from_rng(&mut getrandom::SysRng).expect("the system has randomness")
}

/// The header of a packet in suite `suite`.
#[must_use]
pub fn header(suite: SuiteId, body_len: usize) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    (header[0], header[3], header[im_crypto::SUITE_OFFSET]) = (0x66, 2, suite.0);
    header[20..].copy_from_slice(&u32::try_from(body_len).expect("short").to_be_bytes());
    header
}

/// Both ends of a session.
pub struct Session {
    /// The client's.
    pub client: Established,
    /// The server's.
    pub server: Established,
    /// What the server worked on the handshake.
    pub server_time: Duration,
}

/// A client and a server that make the same handshake again and again.
pub struct Peers {
    provider: &'static CryptoProvider,
    id: HandshakeId,
    client: Client,
    server: Server,
    keys: [ServerKey; 1],
    tickets: TicketKeys,
    used: UsedTickets,
    /// Whose secrets the tickets are made of.
    before: Option<Box<Session>>,
}

impl Peers {
    /// Two ends that agree on `suite`.
    #[must_use]
    pub fn new(provider: &'static CryptoProvider, id: HandshakeId, suite: SuiteId) -> Self {
        let keys = [ServerKey::generate(provider, entropy()).expect("a key")];
        let full = if id.is_post_quantum() { HandshakeId::NK_HFS } else { HandshakeId::NK };
        let mut handshakes = vec![id];
        if id.is_resumption() {
            handshakes.push(full);
        }
        let client = ClientPolicy {
            offer: Offer { suites: vec![suite], formats: vec![16, 2], max_body: 65_536 },
            handshakes: handshakes.clone(),
            require_pq: false,
            allow_plaintext: false,
        };
        let server = ServerPolicy {
            suites: vec![suite],
            formats: vec![2, 16],
            max_body: 65_536,
            handshakes,
            require_pq: false,
            require_binding: false,
            allow_plaintext: false,
        };
        let pins = [keys[0].public()];
        let pins = if [HandshakeId::XX, HandshakeId::XX_HFS].contains(&id) { &[][..] } else { &pins };
        let own = Arc::new(StaticKey::generate(provider, entropy()).expect("a key"));
        Self {
            provider,
            id,
            client: Client::with_key(provider, client, pins, own).expect("a policy"),
            server: Server::new(provider, server).expect("a policy"),
            keys,
            tickets: TicketKeys::new(provider, entropy()).expect("a key"),
            used: UsedTickets::new(1 << 20),
            before: id.is_resumption().then(|| Box::new(Self::new(provider, full, suite).session())),
        }
    }

    /// A ticket that was not used yet.
    fn ticket(&self, before: &Session) -> ClientTicket {
        let who = TicketIdentity { user: b"alice".to_vec(), device: b"phone".to_vec(), session: vec![7; 16] };
        let ticket = self.tickets.issue(&before.server.resumption, &who, NOW, 3600, entropy()).expect("a ticket");
        ClientTicket::new(self.provider, &before.client.resumption, ticket).expect("a ticket")
    }

    /// A client that is about to begin; not a part of what is measured.
    #[must_use]
    pub fn start(&self) -> ClientStart {
        match &self.before {
            Some(before) => self.client.resume(self.ticket(before), entropy()),
            None => self.client.start(entropy()),
        }
        .expect("a start")
    }

    /// A whole handshake.
    #[must_use]
    pub fn session(&mut self) -> Session {
        let start = self.start();
        self.run(start)
    }

    /// A whole handshake of this client.
    #[expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]
    pub fn run(&mut self, start: ClientStart) -> Session {
        let header = header(SuiteId::NONE, start.body_len());
        let (mut hello, mut reply, mut third) = (Vec::new(), Vec::new(), Vec::new());
        let wait = start.write(&header, &mut hello).expect("a HELLO");
        let mut context = ServerContext {
            now: NOW + 1,
            resumption: Some(Resumption { keys: &self.tickets, used: &mut self.used }),
            ..ServerContext::new(&self.keys)
        };
        let begun = Instant::now();
        let accepted = self.server.start(entropy()).accept(&mut context, &header, &mut hello, &mut reply);
        let mut server_time = begun.elapsed();
        let (client, server) = match accepted.expect("accepted") {
            Accepted::Retry => panic!("there is no reason for a RETRY"),
            Accepted::Established(server) => match wait.finish(&mut reply).expect("a reply") {
                Replied::Established(client) => (*client, *server),
                Replied::Finish(_) => panic!("two messages"),
            },
            Accepted::Wait(server) => {
                let Replied::Finish(client) = wait.finish(&mut reply).expect("a reply") else {
                    panic!("three messages")
                };
                let client = client.write(&mut third).expect("a third message");
                let begun = Instant::now();
                let server = server.finish(&mut third).expect("a third message");
                server_time += begun.elapsed();
                (client, server)
            }
        };
        assert_eq!(client.handshake, self.id);
        Session { client, server, server_time }
    }
}
