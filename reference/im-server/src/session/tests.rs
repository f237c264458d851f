//! What needs a session's inside: that nothing recalled leaves, however it waits.

use std::io;
use std::sync::Arc;

use futures_util::FutureExt;
use im_proto::{Client, ClientConfig, ClientEvent, Conversation, Credentials, Entry, FeedItem, RUSTCRYPTO, ServerKey};

use super::*;
use crate::auth::OpenLoopback;
use crate::hub::Place;
use crate::limits::{Bounds, Slots};
use crate::server::Server as ImServer;
use crate::store::{FjallConfig, FjallStore};

/// The test moves the bytes itself.
struct ByHand;

impl Transport for ByHand {
    const NAME: &'static str = "test";

    async fn read(&mut self, _into: &mut Vec<u8>) -> io::Result<Input> {
        std::future::pending().await
    }

    async fn write(&mut self, packets: &[u8]) -> io::Result<usize> {
        Ok(packets.len())
    }

    async fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    async fn close(self, _code: CloseCode, _reason: &str) {}
}

struct Pair {
    session: Session<ByHand>,
    client: Connection<Client>,
    events: Vec<ClientEvent>,
    _dir: tempfile::TempDir,
}

impl Pair {
    /// Bob, logged in.
    async fn online() -> Self {
        let entropy = || Entropy::from_rng(&mut getrandom::SysRng).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(FjallStore::open(dir.path(), &FjallConfig::default()).unwrap());
        let key = ServerKey::generate(&RUSTCRYPTO, entropy()).unwrap();
        let public = key.public();
        let login = Arc::new(OpenLoopback::new("127.0.0.1:1".parse().unwrap()).unwrap());
        let services = ImServer::builder(store, login, key).build().unwrap().services();
        let now = services.clock.now();
        let connection = Connection::server(services.config.clone(), entropy(), now).unwrap();
        let bounds = Bounds { total: 1, per_address: 1, refused_logins: 1, bytes: u64::MAX };
        let slot = Arc::new(Arc::new(Slots::new(bounds, services.metrics.clone())).take(None).unwrap());
        let session = Session::new(ByHand, services, slot, None, connection);
        let credentials = Credentials { user: "bob".into(), device: "phone".into(), token: String::new() };
        let mut client = Connection::client(ClientConfig::new(&RUSTCRYPTO, public, credentials), 1).unwrap();
        client.connect(entropy(), now).unwrap();
        let mut pair = Self { session, client, events: Vec::new(), _dir: dir };
        while pair.session.member.is_none() {
            pair.carry();
            if let Some(login) = pair.session.login.take() {
                let (entrant, result) = login.await;
                assert!(pair.session.handle(now, Wake::Login(entrant, result)).is_continue());
            }
        }
        pair
    }

    /// Carries what both sides have, once each way.
    fn carry(&mut self) {
        let now = self.session.services.clock.now();
        while self.client.poll_transmit(now, &mut self.session.input, 1 << 20).is_some() {}
        self.session.feed(now);
        self.session.fill(now);
        let mut bytes = std::mem::take(&mut self.session.output.bytes);
        self.session.output.unflushed = false;
        let mut rest = &mut bytes[..];
        loop {
            let taken = self.client.handle_input(now, rest);
            while let Some(event) = self.client.poll_event() {
                self.events.push(event);
            }
            if taken == 0 {
                break;
            }
            rest = &mut rest[taken..];
        }
    }

    fn entries(&mut self) -> Vec<Entry> {
        let entry = |event| if let ClientEvent::Message(delivery) = event { Some(delivery.entry) } else { None };
        std::mem::take(&mut self.events).into_iter().filter_map(entry).collect()
    }
}

/// Entries wait in the connection for their transmission, and one of them is recalled: the session finds that out before it
/// transmits, without a turn of its loop in between.
#[tokio::test]
async fn what_was_fetched_and_not_transmitted_loses_its_content_at_once() {
    let mut pair = Pair::online().await;
    let now = pair.session.services.clock.now();
    pair.carry();
    let unread = pair.session.questions.take_waiting().is_some();
    assert!(unread, "after a login the log is asked");
    let alice = Conversation::private("alice");
    pair.session.connection.unread(&[(alice.clone(), 2)], true).unwrap();
    pair.session.events(now);
    let item = |seq| FeedItem {
        seq,
        message_id: seq,
        time_ms: 1,
        from: "alice".into(),
        own: false,
        entry: Entry::text("nobody may read this again"),
    };
    pair.session.connection.fetched_in(&alice, 7, 0, vec![item(1), item(2)]).unwrap();
    let bob = Conversation::private("bob");
    pair.session.services.hub.recalled(Place { user: "alice", conversation: &bob }, 1);
    pair.carry();
    assert_eq!(pair.entries(), [Entry::Recalled, Entry::text("nobody may read this again")]);
    // The mail that comes round later brings nothing twice.
    let mail = pair.session.member.as_ref().unwrap().membership.mailbox.take().now_or_never();
    assert!(mail.is_none_or(|mail| mail.recalled.is_empty()));
}
