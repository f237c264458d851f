//! im-proto driven by tokio: a server and two clients, alice and bob, over real sockets in one process.
//!
//! `Peer::next` is the whole driver: bytes and time go in, bytes and events come out. It serves both roles.
//!
//! Run it with `cargo run -p im-proto --example tokio`.
#![expect(clippy::wildcard_enum_match_arm, reason = "events that this program has no use for")]

mod common;

use std::error::Error;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Device, Log};
use getrandom::SysRng;
use im_proto::{
    Client, ClientConfig, ClientEvent, CloseCode, Connection, Credentials, Entropy, Instant, Message, RUSTCRYPTO, Role,
    Server, ServerConfig, ServerEvent, ServerKey, ServerPublicKey,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// A connection with its socket.
struct Peer<R: Role> {
    connection: Connection<R>,
    socket: TcpStream,
    /// Bytes that came in and are not yet a whole packet.
    input: Vec<u8>,
    /// Sealed bytes on their way out.
    output: Vec<u8>,
    /// The connection's clock counts from here.
    epoch: tokio::time::Instant,
}

impl<R: Role> Peer<R> {
    fn new(connection: Connection<R>, socket: TcpStream, epoch: tokio::time::Instant) -> Self {
        Self { connection, socket, input: Vec::new(), output: Vec::new(), epoch }
    }

    fn now(&self) -> Instant {
        Instant::from_micros(self.epoch.elapsed().as_micros() as u64)
    }

    /// Drives the connection to its next event. May be cancelled without loss, as `select!` does: what is under way stays
    /// in the buffers.
    async fn next(&mut self) -> Fallible<R::Event> {
        loop {
            // 1. Feed what came in, until a packet makes an event.
            let now = self.now();
            let taken = self.connection.handle_input(now, &mut self.input);
            self.input.drain(..taken);
            // 2. Take what is to be sent, but do not pile it up before a slow peer.
            let max = self.connection.max_transmit();
            while self.output.len() < 64 * 1024 {
                if self.connection.poll_transmit(now, &mut self.output, max).is_none() {
                    break;
                }
            }
            // 3. Hand out what happened.
            if let Some(event) = self.connection.poll_event() {
                return Ok(event);
            }
            if taken > 0 {
                continue;
            }
            // 4. Wait for bytes, for room to write, or for the time. Never for one alone: a peer may do the same.
            let timeout = self.connection.poll_timeout().map(|(at, _why)| at.saturating_since(now));
            let (mut reader, mut writer) = self.socket.split();
            tokio::select! {
                read = reader.read_buf(&mut self.input), if self.connection.wants_read() => {
                    // A socket that fails is a socket that ended.
                    if read.unwrap_or(0) == 0 {
                        self.connection.handle_eof(now);
                    }
                }
                written = writer.write(&self.output), if !self.output.is_empty() => match written {
                    Ok(n) => drop(self.output.drain(..n)),
                    Err(_) => self.connection.handle_eof(now),
                },
                () = tokio::time::sleep(timeout.unwrap_or(Duration::MAX)) => {
                    self.connection.handle_timeout(self.now());
                }
            }
        }
    }

    /// After the `Closed` event: the close packet may still be on its way out.
    async fn finish(mut self) -> Fallible<()> {
        self.socket.write_all(&self.output).await?;
        Ok(self.socket.shutdown().await?)
    }
}

/// A client's connection, online or soon to be. A client that comes back after a lost transport keeps the `Connection`
/// and calls `connect` again.
async fn connect(user: &str, server: (SocketAddr, ServerPublicKey)) -> Fallible<Peer<Client>> {
    let (address, key) = server;
    let credentials = Credentials { user: user.into(), device: "phone".into(), token: String::new() };
    let config = ClientConfig::new(&RUSTCRYPTO, key, credentials);
    let connection = Connection::client(config, getrandom::u64()?)?;
    let socket = TcpStream::connect(address).await?;
    let mut peer = Peer::new(connection, socket, tokio::time::Instant::now());
    peer.connection.connect(Entropy::from_rng(&mut SysRng)?, peer.now())?;
    Ok(peer)
}

async fn alice(server: (SocketAddr, ServerPublicKey)) -> Fallible<()> {
    let mut alice = connect("alice", server).await?;
    // Messages may be queued at once; they leave after the login.
    let now = alice.now();
    let id = alice.connection.send(now, Message::text("bob", "hello, bob"))?;
    loop {
        match alice.next().await? {
            ClientEvent::Negotiated(chosen) => println!("alice: {}, {}", chosen.suite, chosen.format_name),
            ClientEvent::Stored { packet_id, seq, .. } => {
                assert_eq!((packet_id, seq), (id, 1));
                println!("alice: message {id} is stored as #{seq}");
                alice.connection.close(alice.now(), CloseCode::NORMAL, "done");
            }
            ClientEvent::Closed(closed) => {
                assert_eq!(closed.code, CloseCode::NORMAL);
                return alice.finish().await;
            }
            _ => {}
        }
    }
}

async fn bob(server: (SocketAddr, ServerPublicKey)) -> Fallible<()> {
    let mut bob = connect("bob", server).await?;
    loop {
        match bob.next().await? {
            ClientEvent::Message(delivery) => {
                let text = String::from_utf8(delivery.entry.content().to_vec())?;
                println!("bob: {} #{} says: {text}", delivery.from, delivery.seq);
                assert_eq!((delivery.from.as_str(), text.as_str()), ("alice", "hello, bob"));
                // Only when the message is safe. The ack goes out before the close packet.
                bob.connection.ack(delivery.token);
                bob.connection.close(bob.now(), CloseCode::NORMAL, "done");
            }
            ClientEvent::Closed(closed) => {
                assert_eq!(closed.code, CloseCode::NORMAL);
                return bob.finish().await;
            }
            _ => {}
        }
    }
}

/// One client's connection on the server. `news` counts the messages stored by anybody.
async fn serve(mut peer: Peer<Server>, log: Arc<Mutex<Log>>, news: watch::Sender<u64>) -> Fallible<()> {
    let mut changes = news.subscribe();
    let mut me = Device::default();
    loop {
        let event = tokio::select! {
            event = peer.next() => event?,
            _ = changes.changed() => {
                for (conversation, head) in log.lock().unwrap().unread(&me) {
                    peer.connection.notify(&conversation, head);
                }
                continue;
            }
        };
        match event {
            ServerEvent::Login(login) => {
                // A real server checks the token here, or calls `refuse_login`.
                peer.connection.accept_login(peer.now(), &login.user, 0)?;
                me = Device { user: login.user, device: login.device };
            }
            ServerEvent::Closed(closed) => {
                println!("server: {} is gone: {}", me.user, closed.code);
                return peer.finish().await;
            }
            event => {
                let stores = matches!(event, ServerEvent::Message(_));
                log.lock().unwrap().answer(&mut peer.connection, &me, event)?;
                if stores {
                    news.send_modify(|count| *count += 1);
                }
            }
        }
    }
}

async fn accept(listener: TcpListener, config: Arc<ServerConfig>) -> Fallible<()> {
    let (log, news) = (Arc::new(Mutex::new(Log::default())), watch::channel(0).0);
    loop {
        let (socket, _) = listener.accept().await?;
        let (epoch, entropy) = (tokio::time::Instant::now(), Entropy::from_rng(&mut SysRng)?);
        let connection = Connection::server(Arc::clone(&config), entropy, Instant::from_micros(0))?;
        tokio::spawn(serve(Peer::new(connection, socket, epoch), Arc::clone(&log), news.clone()));
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Fallible<()> {
    let key = ServerKey::generate(&RUSTCRYPTO, Entropy::from_rng(&mut SysRng)?)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let server = (listener.local_addr()?, key.public());
    let config = Arc::new(ServerConfig::new(&RUSTCRYPTO, key));
    tokio::select! {
        done = async { tokio::try_join!(alice(server), bob(server)) } => done.map(drop),
        failed = accept(listener, config) => failed,
    }
}
