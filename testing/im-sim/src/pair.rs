//! One client and one server, connected without loss or delay.

use std::sync::Arc;

use im_proto::{
    Client, ClientConfig, ClientEvent, Connection, Credentials, CryptoProvider, Entropy, Instant, RUSTCRYPTO, Server,
    ServerConfig, ServerEvent, ServerKey,
};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

/// Secret bytes that follow from a seed: for tests only.
///
/// # Panics
/// Never: the generator does not fail.
pub fn entropy(seed: u64) -> Entropy {
    Entropy::from_rng(&mut ChaCha20Rng::seed_from_u64(seed)).expect("a seeded generator does not fail")
}

/// Credentials without a token.
pub fn credentials(user: &str, device: &str) -> Credentials {
    Credentials { user: user.into(), device: device.into(), token: String::new() }
}

/// Default settings of a client (`alice` on `phone`) and of a server that share a fixed key.
///
/// # Panics
/// Never: the fixed key is valid.
pub fn configs() -> (ClientConfig, ServerConfig) {
    configs_with(&RUSTCRYPTO)
}

/// The same with another provider.
pub(crate) fn configs_with(provider: &'static CryptoProvider) -> (ClientConfig, ServerConfig) {
    let key = ServerKey::from_bytes([7; 32], provider).expect("a valid key");
    let client = ClientConfig::new(provider, key.public(), credentials("alice", "phone"));
    (client, ServerConfig::new(provider, key))
}

/// A client and a server with the bytes between them in reach.
///
/// ```
/// use im_sim::{Pair, configs};
/// let (client, server) = configs();
/// let mut pair = Pair::new(client, server);
/// pair.login();
/// assert_eq!(pair.client.state(), im_proto::State::Online);
/// ```
pub struct Pair {
    /// Virtual time.
    pub now: Instant,
    /// The client.
    pub client: Connection<Client>,
    /// The server.
    pub server: Connection<Server>,
    /// Written by the client, not yet read by the server.
    pub to_server: Vec<u8>,
    /// Written by the server, not yet read by the client.
    pub to_client: Vec<u8>,
    /// What the client told.
    pub client_events: Vec<ClientEvent>,
    /// What the server told.
    pub server_events: Vec<ServerEvent>,
}

impl Pair {
    /// Both ends with a hello on its way.
    ///
    /// # Panics
    /// If a configuration is not valid.
    pub fn new(client: ClientConfig, server: ServerConfig) -> Self {
        let now = Instant::from_micros(1_000_000);
        let mut client = Connection::client(client, 1).expect("a valid client configuration");
        let server = Connection::server(Arc::new(server), entropy(2), now).expect("a valid server configuration");
        client.connect(entropy(1), now).expect("a client that is offline");
        Self {
            now,
            client,
            server,
            to_server: Vec::new(),
            to_client: Vec::new(),
            client_events: Vec::new(),
            server_events: Vec::new(),
        }
    }

    /// Both ends after [`Pair::login`], with no events yet.
    ///
    /// # Panics
    /// If a configuration is not valid.
    pub fn online(client: ClientConfig, server: ServerConfig) -> Self {
        let mut pair = Self::new(client, server);
        pair.login();
        pair.client_events.clear();
        pair.server_events.clear();
        pair
    }

    /// Takes what both ends have to send.
    pub fn transmit(&mut self) {
        while self.client.poll_transmit(self.now, &mut self.to_server, usize::MAX).is_some() {}
        self.transmit_server();
    }

    /// Takes what the server has to send.
    pub fn transmit_server(&mut self) {
        while self.server.poll_transmit(self.now, &mut self.to_client, usize::MAX).is_some() {}
    }

    /// Gives both ends what is on its way and collects events, once.
    pub fn receive(&mut self) {
        loop {
            let n = self.server.handle_input(self.now, &mut self.to_server);
            self.to_server.drain(..n);
            let m = self.client.handle_input(self.now, &mut self.to_client);
            self.to_client.drain(..m);
            let before = (self.server_events.len(), self.client_events.len());
            self.server_events.extend(std::iter::from_fn(|| self.server.poll_event()));
            self.client_events.extend(std::iter::from_fn(|| self.client.poll_event()));
            if n + m == 0 && before == (self.server_events.len(), self.client_events.len()) {
                break;
            }
        }
    }

    /// Until nobody has anything to say.
    ///
    /// # Panics
    /// If the two ends never stop talking.
    pub fn settle(&mut self) {
        for _ in 0..10_000 {
            let before = (self.client.stats(), self.server.stats());
            self.transmit();
            self.receive();
            if before == (self.client.stats(), self.server.stats()) {
                return;
            }
        }
        panic!("livelock: the two ends never stop talking");
    }

    /// Handshake and login, with a log that has nothing for the client.
    ///
    /// # Panics
    /// If the server does not ask for the login.
    pub fn login(&mut self) {
        self.settle();
        self.server.accept_login(self.now, "alice", 0).expect("a login to accept");
        self.settle();
        if self.server_events.iter().any(|event| matches!(event, ServerEvent::Unread { .. })) {
            self.server.unread(&[], true).expect("the question was asked");
        }
        self.settle();
    }
}
