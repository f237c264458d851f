//! Every way to the server with every serialization: two users talk both ways, each over a socket of its own.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::common::tls::Authority;
use crate::common::{TestServer, within};
use im_client::{Client, Credentials, Event, Events, FormatId, Message, Negotiated, Options, Tls};
use im_server::auth::OpenLoopback;
use im_server::{ListenerConfig, Security};
use tokio::net::TcpListener;

/// Scheme, path, and whether the listener takes nothing but TLS.
const TRANSPORTS: [(&str, &str, bool); 6] = [
    ("tcp", "", false),
    ("tcps", "", true),
    ("ws", "/im", false),
    ("wss", "/im", true),
    ("http", "/im", false),
    ("https", "/im", true),
];

/// A server of its own whose listener cannot be reached in the wrong way.
async fn server(authority: &Authority, tls: bool) -> (TestServer, SocketAddr) {
    let server_tls = authority.server_tls();
    let open = |address| Arc::new(OpenLoopback::new(address).unwrap()) as _;
    let server = TestServer::with(open, |builder| builder.tls(server_tls)).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut config = ListenerConfig::default();
    config.security = if tls { Security::TlsOnly } else { Security::PlainOnly };
    let serving = server.server.clone();
    tokio::spawn(async move { serving.serve_with(listener, config).await.unwrap() });
    (server, address)
}

/// A client that offers one serialization and no other.
struct One {
    cell: String,
    client: Client,
    events: Events,
}

impl One {
    fn start(cell: &str, options: Options) -> Self {
        let (client, events) = Client::start(options.reconnect(false)).unwrap();
        Self { cell: cell.to_owned(), client, events }
    }

    async fn until<T>(&mut self, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
        loop {
            let event = within(self.events.next()).await;
            match event.unwrap_or_else(|| panic!("{}: the client ended", self.cell)) {
                Event::Disconnected { closed, .. } => panic!("{}: {closed}", self.cell),
                Event::DialFailed { error, .. } => panic!("{}: {error}", self.cell),
                event => {
                    if let Some(found) = wanted(event) {
                        return found;
                    }
                }
            }
        }
    }

    async fn negotiated(&mut self) -> Negotiated {
        self.until(|event| match event {
            Event::Negotiated(negotiated) => Some(negotiated),
            _ => None,
        })
        .await
    }

    async fn say(&self, to: &str, text: &str, seq: u64) {
        let sent = within(self.client.send(Message::text(to, text))).await;
        let sent = sent.unwrap_or_else(|failure| panic!("{}: {failure}", self.cell));
        assert_eq!(sent.seq, seq, "{}", self.cell);
    }

    /// The next message of the other, acked.
    async fn hear(&mut self, from: &str, text: &str, seq: u64) {
        let delivery = self
            .until(|event| match event {
                Event::Message(delivery) => Some(delivery),
                _ => None,
            })
            .await;
        let heard = (delivery.from.as_str(), delivery.seq, delivery.entry.content());
        assert_eq!(heard, (from, seq, text.as_bytes()), "{}", self.cell);
        self.client.ack(delivery.token).await;
    }
}

#[tokio::test]
async fn every_transport_carries_every_serialization() {
    let authority = Authority::new();
    let mut cells = 0;
    for (scheme, path, tls) in TRANSPORTS {
        let (server, address) = server(&authority, tls).await;
        let options = |user: &str| {
            let credentials = Credentials { user: user.into(), device: "test".into(), token: String::new() };
            let url = format!("{scheme}://localhost:{}{path}", address.port()).parse().unwrap();
            let trusted = if tls { authority.client_tls() } else { Tls::default() };
            Options::new(url, server.server.public_key(), credentials).tls(trusted)
        };
        // Whatever is compiled in, without a list here that could fall behind.
        let formats = options("nobody").config.formats.ids();
        for known in [FormatId::JSON, FormatId::PROTOBUF, FormatId::MSGPACK] {
            assert!(formats.contains(&known), "{known:?} is not compiled in");
        }
        for format in formats {
            let name = format.known_name().expect("a format of the protocol");
            let cell = format!("{scheme} with {name}");
            let (a, b) = (format!("alice-{name}"), format!("bob-{name}"));
            let mut alice = One::start(&cell, options(&a).formats(&[format]));
            let mut bob = One::start(&cell, options(&b).formats(&[format]));
            for one in [&mut alice, &mut bob] {
                let negotiated = one.negotiated().await;
                assert_eq!((negotiated.format, negotiated.format_name), (format, name), "{cell}");
                // The session is sealed by itself, whatever is underneath.
                assert!(negotiated.suite.name().is_some(), "{cell}: {:?}", negotiated.suite);
            }
            let (to_bob, to_alice) =
                (format!("{cell}: to bob \u{1f680}"), format!("{cell}: {}", "to alice ".repeat(900)));
            alice.say(&b, &to_bob, 1).await;
            bob.hear(&a, &to_bob, 1).await;
            bob.say(&a, &to_alice, 2).await;
            alice.hear(&b, &to_alice, 2).await;
            within(alice.client.close()).await;
            within(bob.client.close()).await;
            cells += 1;
        }
    }
    println!("{cells} cells of transport and serialization");
    assert!(cells >= 18, "{cells}");
}
