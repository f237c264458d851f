//! A server on a free loopback port, and peers that drive the protocol's own client over real sockets.
#![allow(clippy::disallowed_methods, reason = "tests of a program may read the clock")]

pub mod process;
pub mod receiver;
pub mod store;
pub mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use im_proto::{
    Client, ClientConfig, ClientEvent, Closed, Command, Connection, Conversation, Credentials, Delivery, Entropy,
    Entry, Instant, Message, Name, PacketId, PeerSignal, RUSTCRYPTO, RefusalCode, RequestFailure, ServerKey,
    ServerPublicKey,
};
use im_server::auth::{Authenticator, OpenLoopback};
use im_server::store::{FjallConfig, FjallStore, Store};
use im_server::{Server, ServerBuilder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_websockets::{ClientBuilder, MaybeTlsStream, WebSocketStream};

/// Nothing here takes that long unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it hangs")
}

pub struct TestServer {
    pub server: Server,
    pub store: Arc<dyn Store>,
    pub address: SocketAddr,
    /// Goes with the server.
    _dir: Option<tempfile::TempDir>,
}

impl TestServer {
    pub async fn start() -> Self {
        Self::with(|address| Arc::new(OpenLoopback::new(address).unwrap()), |builder| builder).await
    }

    pub async fn with(
        authenticator: impl FnOnce(SocketAddr) -> Arc<dyn Authenticator>,
        change: impl FnOnce(ServerBuilder) -> ServerBuilder,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(FjallStore::open(dir.path(), &FjallConfig::default()).unwrap());
        Self { _dir: Some(dir), ..Self::on(store, authenticator, change).await }
    }

    /// On a store of the test's own.
    pub async fn on(
        store: Arc<dyn Store>,
        authenticator: impl FnOnce(SocketAddr) -> Arc<dyn Authenticator>,
        change: impl FnOnce(ServerBuilder) -> ServerBuilder,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let key = ServerKey::generate(&RUSTCRYPTO, Entropy::from_rng(&mut getrandom::SysRng).unwrap()).unwrap();
        let server = change(Server::builder(store.clone(), authenticator(address), key)).build().unwrap();
        tokio::spawn({
            let server = server.clone();
            async move { server.serve(listener).await.unwrap() }
        });
        Self { server, store, address, _dir: None }
    }

    pub async fn tcp(&self, user: &str, device: &str) -> Peer {
        let mut peer = Peer::offline(self.server.public_key(), user, device, "");
        peer.connect_tcp(self.address).await;
        peer
    }

    /// Logged in over TCP.
    pub async fn online(&self, user: &str, device: &str) -> Peer {
        let mut peer = self.tcp(user, device).await;
        peer.logged_in().await;
        peer
    }
}

pub enum Wire {
    None,
    Tcp(TcpStream),
    Ws(Box<WebSocketStream<MaybeTlsStream<TcpStream>>>),
}

/// The protocol's defaults for a device.
pub fn config(key: ServerPublicKey, user: &str, device: &str) -> ClientConfig {
    let credentials = Credentials { user: user.into(), device: device.into(), token: String::new() };
    ClientConfig::new(&RUSTCRYPTO, key, credentials)
}

/// A delivery that was acked.
pub struct Received {
    pub from: Name,
    pub seq: u64,
    pub content: Vec<u8>,
}

/// One device of a user.
pub struct Peer {
    pub connection: Connection<Client>,
    pub wire: Wire,
    start: std::time::Instant,
    input: Vec<u8>,
    /// WebSocket close code of the server.
    pub ws_close: Option<u16>,
    pub user: String,
}

impl Peer {
    pub fn offline(key: ServerPublicKey, user: &str, device: &str, token: &str) -> Self {
        let mut config = config(key, user, device);
        config.credentials.token = token.into();
        Self::configured(config, getrandom::u64().unwrap())
    }

    pub fn configured(config: ClientConfig, seed: u64) -> Self {
        let user = config.credentials.user.clone();
        let connection = Connection::client(config, seed).unwrap();
        let start = std::time::Instant::now();
        Self { connection, wire: Wire::None, start, input: Vec::new(), ws_close: None, user }
    }

    pub fn now(&self) -> Instant {
        Instant::from_micros(self.start.elapsed().as_micros() as u64)
    }

    pub fn begin(&mut self, wire: Wire) {
        self.wire = wire;
        self.input.clear();
        let now = self.now();
        self.connection.connect(Entropy::from_rng(&mut getrandom::SysRng).unwrap(), now).unwrap();
    }

    pub async fn connect_tcp(&mut self, address: SocketAddr) {
        let stream = within(TcpStream::connect(address)).await.unwrap();
        self.begin(Wire::Tcp(stream));
    }

    pub async fn connect_ws(&mut self, address: SocketAddr) {
        let uri = format!("ws://{address}/im");
        let (stream, _) = within(ClientBuilder::new().uri(&uri).unwrap().connect()).await.unwrap();
        self.begin(Wire::Ws(Box::new(stream)));
    }

    /// Sends what waits.
    pub async fn flush(&mut self) {
        let now = self.now();
        let mut out = Vec::new();
        while let Some(packet) = self.connection.poll_transmit(now, &mut out, 1 << 21) {
            if let Wire::Ws(ws) = &mut self.wire {
                let message = out.split_off(out.len() - packet.len);
                within(ws.send(tokio_websockets::Message::binary(message))).await.unwrap();
            }
        }
        if let Wire::Tcp(tcp) = &mut self.wire {
            within(tcp.write_all(&out)).await.unwrap();
        }
    }

    /// The next event; drives the connection meanwhile.
    pub async fn event(&mut self) -> ClientEvent {
        loop {
            if let Some(event) = self.connection.poll_event() {
                if matches!(event, ClientEvent::Ticket { .. }) {
                    // The connection keeps it; these clients store nothing.
                    continue;
                }
                return event;
            }
            self.flush().await;
            let now = self.now();
            let taken = self.connection.handle_input(now, &mut self.input);
            self.input.drain(..taken);
            if taken > 0 {
                continue;
            }
            let ended = match &mut self.wire {
                Wire::None => panic!("not connected"),
                Wire::Tcp(tcp) => within(tcp.read_buf(&mut self.input)).await.unwrap() == 0,
                Wire::Ws(ws) => match within(ws.next()).await {
                    Some(Ok(message)) if message.is_binary() => {
                        self.input.extend_from_slice(message.as_payload());
                        false
                    }
                    Some(Ok(message)) => {
                        self.ws_close = message.as_close().map(|(code, _)| code.into());
                        true
                    }
                    Some(Err(error)) => panic!("{error}"),
                    None => true,
                },
            };
            if ended {
                self.connection.handle_eof(now);
            }
        }
    }

    pub async fn logged_in(&mut self) {
        loop {
            match self.event().await {
                ClientEvent::LoggedIn { .. } => return,
                ClientEvent::Negotiated(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    pub fn send(&mut self, to: &str, text: &str) -> PacketId {
        let now = self.now();
        self.connection.send(now, Message::text(to, text)).unwrap()
    }

    /// The next event that is no receipt: those come whenever others acked.
    pub async fn news(&mut self) -> ClientEvent {
        self.until(|event| match event {
            ClientEvent::DeliveredTo { .. } | ClientEvent::ReadBy { .. } => None,
            event => Some(event),
        })
        .await
    }

    /// Waits for what `wanted` finds, past everything else.
    pub async fn until<T>(&mut self, mut wanted: impl FnMut(ClientEvent) -> Option<T>) -> T {
        loop {
            match self.event().await {
                ClientEvent::Closed(closed) => match wanted(ClientEvent::Closed(closed.clone())) {
                    Some(found) => return found,
                    None => panic!("{closed}"),
                },
                event => {
                    if let Some(found) = wanted(event) {
                        return found;
                    }
                }
            }
        }
    }

    pub fn send_to(&mut self, to: &Conversation, text: &str) -> PacketId {
        let now = self.now();
        self.connection.send(now, Message { to: to.clone(), ..Message::text("", text) }).unwrap()
    }

    pub fn command(&mut self, command: Command) -> PacketId {
        let now = self.now();
        self.connection.command(now, command).unwrap()
    }

    /// Waits for the refusal of this packet: code and reason.
    pub async fn refused(&mut self, id: PacketId) -> (RefusalCode, String) {
        self.until(|event| match event {
            ClientEvent::Refused { packet_id, code, reason }
            | ClientEvent::SignalRefused { packet_id, code, reason, .. }
            | ClientEvent::RoomRefused { packet_id, code, reason, .. }
            | ClientEvent::StreamRefused { stream: packet_id, code, reason, .. }
            | ClientEvent::RequestFailed { packet_id, failure: RequestFailure::Refused { code, reason, .. } }
                if packet_id == id =>
            {
                Some((code, reason))
            }
            ClientEvent::Stored { packet_id, .. } if packet_id == id => panic!("it was taken"),
            _ => None,
        })
        .await
    }

    /// Waits for the next entry of a conversation, and acks it: seq, sender and entry.
    pub async fn entry(&mut self) -> (u64, Name, Entry) {
        let delivery = self
            .until(|event| match event {
                ClientEvent::Message(delivery) => Some(delivery),
                _ => None,
            })
            .await;
        let Delivery { seq, from, entry, token, .. } = delivery;
        self.connection.ack(token);
        (seq, from, entry)
    }

    /// Waits for the answer to this packet: seq.
    pub async fn stored_as(&mut self, id: PacketId) -> u64 {
        self.until(|event| match event {
            ClientEvent::Stored { packet_id, seq, .. } if packet_id == id => Some(seq),
            ClientEvent::Refused { packet_id, code, reason } if packet_id == id => panic!("{code}: {reason}"),
            _ => None,
        })
        .await
    }

    /// Waits for the next signal of others.
    pub async fn signal(&mut self) -> PeerSignal {
        self.until(|event| match event {
            ClientEvent::Signal(signal) => Some(signal),
            _ => None,
        })
        .await
    }

    /// Everything that was asked of the server before is answered: it stored a message to this user itself.
    pub async fn settled(&mut self) {
        let own = self.user.clone();
        let id = self.send(&own, "settled");
        self.stored_as(id).await;
    }

    /// Waits for an ack of storage: packet and seq.
    pub async fn stored(&mut self) -> (PacketId, u64) {
        match self.news().await {
            ClientEvent::Stored { packet_id, seq, .. } => (packet_id, seq),
            other => panic!("{other:?}"),
        }
    }

    /// Waits for a delivery and acks it.
    pub async fn message(&mut self) -> Received {
        match self.news().await {
            ClientEvent::Message(Delivery { from, seq, entry, token, .. }) => {
                self.connection.ack(token);
                let content = entry.content().to_vec();
                Received { from, seq, content }
            }
            other => panic!("{other:?}"),
        }
    }

    pub async fn text(&mut self) -> String {
        String::from_utf8(self.message().await.content).unwrap()
    }

    pub async fn closed(&mut self) -> Closed {
        loop {
            if let ClientEvent::Closed(closed) = self.event().await {
                return closed;
            }
        }
    }
}
