//! im-proto driven by blocking sockets and threads: a server and two clients, alice and bob, in one process.
//!
//! `Peer::next` is the whole driver, for both roles: the read timeout is the connection's own timeout.
//!
//! Run it with `cargo run -p im-proto --example blocking`.
#![expect(clippy::disallowed_methods, reason = "a program owns its clock, sockets and threads")]
#![expect(clippy::wildcard_enum_match_arm, reason = "events that this program has no use for")]

mod common;

use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use common::{Device, Log};
use getrandom::SysRng;
use im_proto::{
    Client, ClientConfig, ClientEvent, CloseCode, Connection, Credentials, Entropy, Instant, Message, RUSTCRYPTO, Role,
    Server, ServerConfig, ServerEvent, ServerKey, ServerPublicKey,
};

type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// A connection with its socket.
struct Peer<R: Role> {
    connection: Connection<R>,
    socket: TcpStream,
    /// Bytes that came in and are not yet a whole packet.
    input: Vec<u8>,
    /// The connection's clock counts from here.
    epoch: std::time::Instant,
}

impl<R: Role> Peer<R> {
    fn new(connection: Connection<R>, socket: TcpStream, epoch: std::time::Instant) -> Self {
        Self { connection, socket, input: Vec::new(), epoch }
    }

    fn now(&self) -> Instant {
        Instant::from_micros(self.epoch.elapsed().as_micros() as u64)
    }

    /// Drives the connection to its next event, or for `patience`, if that is over first.
    fn next(&mut self, patience: Duration) -> Fallible<Option<R::Event>> {
        let until = self.now() + patience;
        loop {
            // 1. Feed what came in, until a packet makes an event.
            let now = self.now();
            let taken = self.connection.handle_input(now, &mut self.input);
            self.input.drain(..taken);
            // 2. Send what is to be sent. A client that sends much while much arrives writes from a thread of its own,
            //    or both ends could wait for the other one to read.
            let (mut output, max) = (Vec::new(), self.connection.max_transmit());
            while self.connection.poll_transmit(now, &mut output, max).is_some() {}
            if self.socket.write_all(&output).is_err() {
                self.connection.handle_eof(now);
            }
            // 3. Hand out what happened.
            if let Some(event) = self.connection.poll_event() {
                return Ok(Some(event));
            }
            if taken > 0 {
                continue;
            }
            if now >= until {
                return Ok(None);
            }
            // 4. Wait for bytes or for the time. A read timeout of zero would mean none at all.
            let timeout = self.connection.poll_timeout().map_or(until, |(at, _why)| at.min(until));
            self.socket.set_read_timeout(Some(timeout.saturating_since(now).max(Duration::from_millis(1))))?;
            let mut chunk = [0; 4096];
            match self.socket.read(&mut chunk) {
                Ok(0) => self.connection.handle_eof(now),
                Ok(n) => self.input.extend_from_slice(&chunk[..n]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    self.connection.handle_timeout(self.now());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // A socket that fails is a socket that ended.
                Err(_) => self.connection.handle_eof(now),
            }
        }
    }
}

/// The clients only wait for events.
const PATIENT: Duration = Duration::from_secs(30);

/// A client's connection, online or soon to be. A client that comes back after a lost transport keeps the `Connection`
/// and calls `connect` again.
fn connect(user: &str, server: (SocketAddr, ServerPublicKey)) -> Fallible<Peer<Client>> {
    let (address, key) = server;
    let credentials = Credentials { user: user.into(), device: "phone".into(), token: String::new() };
    let config = ClientConfig::new(&RUSTCRYPTO, key, credentials);
    let connection = Connection::client(config, getrandom::u64()?)?;
    let mut peer = Peer::new(connection, TcpStream::connect(address)?, std::time::Instant::now());
    peer.connection.connect(Entropy::from_rng(&mut SysRng)?, peer.now())?;
    Ok(peer)
}

fn alice(server: (SocketAddr, ServerPublicKey)) -> Fallible<()> {
    let mut alice = connect("alice", server)?;
    // Messages may be queued at once; they leave after the login.
    let now = alice.now();
    let id = alice.connection.send(now, Message::text("bob", "hello, bob"))?;
    loop {
        match alice.next(PATIENT)?.ok_or("alice waited in vain")? {
            ClientEvent::Negotiated(chosen) => println!("alice: {}, {}", chosen.suite, chosen.format_name),
            ClientEvent::Stored { packet_id, seq, .. } => {
                assert_eq!((packet_id, seq), (id, 1));
                println!("alice: message {id} is stored as #{seq}");
                alice.connection.close(alice.now(), CloseCode::NORMAL, "done");
            }
            ClientEvent::Closed(closed) => {
                assert_eq!(closed.code, CloseCode::NORMAL);
                return Ok(alice.socket.shutdown(Shutdown::Write)?);
            }
            _ => {}
        }
    }
}

fn bob(server: (SocketAddr, ServerPublicKey)) -> Fallible<()> {
    let mut bob = connect("bob", server)?;
    loop {
        match bob.next(PATIENT)?.ok_or("bob waited in vain")? {
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
                return Ok(bob.socket.shutdown(Shutdown::Write)?);
            }
            _ => {}
        }
    }
}

/// A blocking read waits for one socket alone, so a server's thread looks this often for what other clients stored.
const LOOK: Duration = Duration::from_millis(20);

/// One client's connection on the server.
fn serve(mut peer: Peer<Server>, log: &Mutex<Log>) -> Fallible<()> {
    let mut me = Device::default();
    loop {
        match peer.next(LOOK)? {
            None => {
                for (conversation, head) in log.lock().unwrap().unread(&me) {
                    peer.connection.notify(&conversation, head);
                }
            }
            Some(ServerEvent::Login(login)) => {
                // A real server checks the token here, or calls `refuse_login`.
                peer.connection.accept_login(peer.now(), &login.user, 0)?;
                me = Device { user: login.user, device: login.device };
            }
            Some(ServerEvent::Closed(closed)) => {
                println!("server: {} is gone: {}", me.user, closed.code);
                return Ok(());
            }
            Some(event) => log.lock().unwrap().answer(&mut peer.connection, &me, event)?,
        }
    }
}

fn accept(listener: &TcpListener, config: &Arc<ServerConfig>) -> Fallible<()> {
    let log = Arc::new(Mutex::new(Log::default()));
    loop {
        let (socket, _) = listener.accept()?;
        let (log, epoch) = (Arc::clone(&log), std::time::Instant::now());
        let entropy = Entropy::from_rng(&mut SysRng)?;
        let connection = Connection::server(Arc::clone(config), entropy, Instant::from_micros(0))?;
        thread::spawn(move || serve(Peer::new(connection, socket, epoch), &log));
    }
}

fn main() -> Fallible<()> {
    let key = ServerKey::generate(&RUSTCRYPTO, Entropy::from_rng(&mut SysRng)?)?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let server = (listener.local_addr()?, key.public());
    let config = Arc::new(ServerConfig::new(&RUSTCRYPTO, key));
    // The server's threads end with the process.
    thread::spawn(move || accept(&listener, &config));
    let alice = thread::spawn(move || alice(server));
    bob(server)?;
    alice.join().map_err(|_| "alice panicked")?
}
