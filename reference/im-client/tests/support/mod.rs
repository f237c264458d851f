//! A server in the test's own process, with a log in memory, over real sockets.

#![allow(dead_code, reason = "each test file uses its part")]

#[path = "../../../../im-proto/examples/common/mod.rs"]
mod common;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Device, Log};
use futures_util::{SinkExt, StreamExt};
use getrandom::SysRng;
use im_client::{Backoff, Client, Credentials, Event, Events, Options, ServerPublicKey};
use im_proto::{
    CloseCode, Connection, Entropy, Instant, Name, PacketId, RUSTCRYPTO, RefusalCode, ServerConfig, ServerEvent,
    ServerKey,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_websockets::{Message as WsMessage, ServerBuilder, WebSocketStream};

/// Far more than any step needs.
pub(crate) const PATIENT: Duration = Duration::from_secs(30);

/// Waits for what must come.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENT, future).await.expect("it took more than 30 s")
}

/// What the server does with the next message, instead of storing and answering it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Stores it and drops the socket without an answer.
    StoreThenDrop,
    /// Refuses it for good.
    Refuse,
}

#[derive(Default)]
pub(crate) struct Shared {
    log: Mutex<Log>,
    faults: Mutex<VecDeque<Fault>>,
    /// Packet ids in the order in which messages came in.
    pub(crate) seen: Mutex<Vec<PacketId>>,
    /// Acks in the order in which they came in.
    pub(crate) acked: Mutex<Vec<(Name, u64)>>,
    /// Handshakes begun.
    pub(crate) connections: Mutex<u32>,
}

pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    pub(crate) key: ServerPublicKey,
    pub(crate) shared: Arc<Shared>,
    news: watch::Sender<u64>,
    close: watch::Sender<Option<CloseCode>>,
}

impl TestServer {
    pub(crate) async fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub(crate) fn on(listener: TcpListener) -> Self {
        let key = ServerKey::generate(&RUSTCRYPTO, Entropy::from_rng(&mut SysRng).unwrap()).unwrap();
        let (address, public) = (listener.local_addr().unwrap(), key.public());
        let config = Arc::new(ServerConfig::new(&RUSTCRYPTO, key));
        let server = Self {
            address,
            key: public,
            shared: Arc::default(),
            news: watch::channel(0).0,
            close: watch::channel(None).0,
        };
        let (shared, news, close) = (Arc::clone(&server.shared), server.news.clone(), server.close.clone());
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                *shared.connections.lock().unwrap() += 1;
                let serving = serve(socket, Arc::clone(&config), Arc::clone(&shared), news.clone(), close.subscribe());
                tokio::spawn(serving);
            }
        });
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("tcp://{}", self.address)
    }

    pub(crate) fn ws_url(&self) -> String {
        format!("ws://{}/im", self.address)
    }

    pub(crate) fn options(&self, url: &str, user: &str) -> Options {
        let credentials = Credentials { user: user.into(), device: "test".into(), token: "secret".into() };
        let mut options = Options::new(url.parse().unwrap(), self.key, credentials);
        options.config.reconnect = Backoff { first: Duration::from_millis(20), max: Duration::from_millis(100) };
        options
    }

    pub(crate) fn client(&self, url: &str, user: &str) -> (Client, Events) {
        Client::start(self.options(url, user)).unwrap()
    }

    pub(crate) fn fault(&self, fault: Fault) {
        self.shared.faults.lock().unwrap().push_back(fault);
    }

    /// Closes every open connection with this code.
    pub(crate) fn close_all(&self, code: CloseCode) {
        self.close.send_replace(Some(code));
    }
}

/// TCP, or a WebSocket if the first byte is not that of a packet.
enum Socket {
    Tcp(TcpStream),
    WebSocket(Box<WebSocketStream<TcpStream>>),
}

impl Socket {
    async fn accept(stream: TcpStream) -> Option<Self> {
        let mut first = [0];
        if stream.peek(&mut first).await.ok()? == 1 && first[0] != 0x66 {
            let (_, websocket) = ServerBuilder::new().accept(stream).await.ok()?;
            return Some(Self::WebSocket(Box::new(websocket)));
        }
        Some(Self::Tcp(stream))
    }

    /// Appends what comes; false at the end.
    async fn read(&mut self, input: &mut Vec<u8>) -> bool {
        match self {
            Self::Tcp(stream) => matches!(stream.read_buf(input).await, Ok(n) if n > 0),
            Self::WebSocket(stream) => match stream.next().await {
                Some(Ok(message)) => {
                    if message.is_binary() {
                        input.extend_from_slice(message.as_payload());
                    }
                    true
                }
                Some(Err(_)) | None => false,
            },
        }
    }

    async fn write(&mut self, packet: Vec<u8>) {
        match self {
            Self::Tcp(stream) => drop(stream.write_all(&packet).await),
            Self::WebSocket(stream) => drop(stream.send(WsMessage::binary(packet)).await),
        }
    }

    async fn finish(&mut self) {
        match self {
            Self::Tcp(stream) => drop(stream.shutdown().await),
            Self::WebSocket(stream) => drop(tokio::time::timeout(Duration::from_secs(2), stream.close()).await),
        }
    }
}

async fn serve(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    shared: Arc<Shared>,
    news: watch::Sender<u64>,
    mut close: watch::Receiver<Option<CloseCode>>,
) {
    let epoch = tokio::time::Instant::now();
    let now = || Instant::from_micros(epoch.elapsed().as_micros() as u64);
    let Some(mut socket) = Socket::accept(stream).await else { return };
    let entropy = Entropy::from_rng(&mut SysRng).unwrap();
    let mut connection = Connection::server(config, entropy, now()).unwrap();
    let mut changes = news.subscribe();
    let (mut me, mut input) = (Device::default(), Vec::new());
    loop {
        let taken = connection.handle_input(now(), &mut input);
        input.drain(..taken);
        let mut ended = false;
        while let Some(event) = connection.poll_event() {
            match event {
                ServerEvent::Login(login) if login.token != "secret" => {
                    connection.refuse_login(now(), "the token is not valid: ask for a new one").unwrap();
                }
                ServerEvent::Login(login) => {
                    connection.accept_login(now(), &login.user, 1_700_000_000_000).unwrap();
                    me = Device { user: login.user, device: login.device };
                }
                ServerEvent::Closed(_) => ended = true,
                event => {
                    let message = match &event {
                        ServerEvent::Message(message) => Some(message.packet_id),
                        _ => None,
                    };
                    if let Some(packet_id) = message {
                        shared.seen.lock().unwrap().push(packet_id);
                        let fault = shared.faults.lock().unwrap().pop_front();
                        if fault == Some(Fault::Refuse) {
                            let code = RefusalCode::FORBIDDEN;
                            connection.refused(packet_id, code, "bob does not want it", false).unwrap();
                            continue;
                        }
                        shared.log.lock().unwrap().answer(&mut connection, &me, event).unwrap();
                        news.send_modify(|count| *count += 1);
                        if fault == Some(Fault::StoreThenDrop) {
                            return;
                        }
                        continue;
                    }
                    if let ServerEvent::Delivered { conversation, up_to, .. } = &event {
                        shared.acked.lock().unwrap().push((conversation.id.clone(), *up_to));
                    }
                    shared.log.lock().unwrap().answer(&mut connection, &me, event).unwrap();
                }
            }
        }
        let mut packet = Vec::new();
        while connection.poll_transmit(now(), &mut packet, 1 << 21).is_some() {
            socket.write(std::mem::take(&mut packet)).await;
        }
        if ended {
            return socket.finish().await;
        }
        if taken > 0 {
            continue;
        }
        let timeout = connection.poll_timeout().map_or(PATIENT, |(at, _)| at.saturating_since(now()));
        tokio::select! {
            more = socket.read(&mut input) => if !more {
                connection.handle_eof(now());
            },
            _ = changes.changed() => {
                for (conversation, head) in shared.log.lock().unwrap().unread(&me) {
                    connection.notify(&conversation, head);
                }
            }
            Ok(()) = close.changed() => {
                let code = close.borrow_and_update().unwrap();
                connection.close(now(), code, "by the test");
            }
            () = tokio::time::sleep(timeout) => connection.handle_timeout(now()),
        }
    }
}

/// Reads on until an event fits.
pub(crate) async fn until<T>(events: &mut Events, mut fits: impl FnMut(Event) -> Option<T>) -> T {
    soon(async {
        loop {
            let event = events.next().await.expect("the client ended");
            if let Some(found) = fits(event) {
                return found;
            }
        }
    })
    .await
}
