//! A session that goes on: recovered where every conversation continues where the device stands, reload where one does not, and
//! never a part of it without a word.
#![allow(clippy::wildcard_enum_match_arm, reason = "a test names what it expects")]

use std::sync::Arc;

use im_proto::*;
use im_sim::{configs, entropy};

/// A log of one conversation with its epoch, as a store would have it for one device.
#[derive(Clone)]
struct Store {
    epoch: u64,
    oldest: u64,
    texts: Vec<String>,
    acked: u64,
}

impl Store {
    fn new(epoch: u64, n: u64) -> Self {
        Self { epoch, oldest: 1, texts: (1..=n).map(|seq| format!("{epoch}.{seq}")).collect(), acked: 0 }
    }

    fn head(&self) -> u64 {
        self.texts.len() as u64
    }

    fn facts(&self) -> LogFacts {
        LogFacts { epoch: self.epoch, oldest: self.oldest, head: self.head(), acked: self.acked }
    }

    fn items(&self, after: u64) -> Vec<FeedItem> {
        let item = |(seq, text): (u64, &String)| FeedItem {
            seq,
            message_id: seq,
            time_ms: 0,
            from: "bob".into(),
            own: false,
            entry: Entry::text(text),
        };
        (1..).zip(&self.texts).skip(after as usize).map(item).collect()
    }
}

struct World {
    now: Instant,
    store: Store,
    client: Connection<Client>,
    server: Connection<Server>,
    seed: u64,
    /// Whether the server looks at positions.
    resumes: bool,
    got: Vec<(u64, String)>,
    reloads: Vec<(ReloadReason, u64)>,
    gaps: usize,
    /// Positions that the client said it read.
    reads: Vec<u64>,
    answers: Vec<SessionAnswer>,
    tokens: Vec<AckToken>,
    acks: bool,
    requests: Vec<Option<ResumeRequest>>,
    /// Messages that were stored, where a test sends some.
    stored: Option<Vec<PacketId>>,
}

fn bob() -> Conversation {
    Conversation::private("bob")
}

impl World {
    fn new(store: Store) -> Self {
        let (client, server) = configs();
        let now = Instant::from_micros(1_000_000);
        Self {
            now,
            store,
            client: Connection::client(client, 1).unwrap(),
            server: Connection::server(Arc::new(server), entropy(1), now).unwrap(),
            seed: 10,
            resumes: true,
            got: Vec::new(),
            reloads: Vec::new(),
            gaps: 0,
            reads: Vec::new(),
            answers: Vec::new(),
            tokens: Vec::new(),
            acks: true,
            requests: Vec::new(),
            stored: None,
        }
    }

    fn connect(&mut self) {
        self.client.handle_eof(self.now);
        self.client_events();
        self.seed += 2;
        self.server = Connection::server(Arc::new(configs().1), entropy(self.seed), self.now).unwrap();
        self.client.connect(entropy(self.seed + 1), self.now).unwrap();
        self.settle();
    }

    fn settle(&mut self) {
        let (mut up, mut down) = (Vec::new(), Vec::new());
        for _ in 0..1000 {
            let before = (self.client.stats(), self.server.stats());
            while self.client.poll_transmit(self.now, &mut up, usize::MAX).is_some() {}
            while self.server.poll_transmit(self.now, &mut down, usize::MAX).is_some() {}
            let n = self.server.handle_input(self.now, &mut up);
            up.drain(..n);
            self.server_events();
            let n = self.client.handle_input(self.now, &mut down);
            down.drain(..n);
            self.client_events();
            if before == (self.client.stats(), self.server.stats()) && up.is_empty() && down.is_empty() {
                return;
            }
        }
        panic!("the two ends never stop talking");
    }

    fn server_events(&mut self) {
        while let Some(event) = self.server.poll_event() {
            match event {
                ServerEvent::Login(login) => {
                    if self.resumes {
                        let positions = login.resume.as_ref().map_or(0, |resume| resume.positions.len());
                        let facts = vec![self.store.facts(); positions];
                        let _ = self.server.resume_login(self.now, "alice", 0, &facts).unwrap();
                    } else {
                        self.server.accept_login(self.now, "alice", 0).unwrap();
                    }
                    self.requests.push(login.resume);
                }
                ServerEvent::Unread { .. } => {
                    let heads = [(bob(), self.store.head())];
                    let unread = self.store.head() > self.store.acked;
                    self.server.unread(if unread { &heads } else { &[] }, true).unwrap();
                }
                ServerEvent::Fetch { after, .. } => {
                    let after = after.unwrap_or(self.store.acked).max(self.store.oldest - 1);
                    let items = self.store.items(after);
                    self.server.fetched_in(&bob(), self.store.epoch, after, items).unwrap();
                }
                ServerEvent::Delivered { up_to, epoch, .. } => {
                    if epoch == self.store.epoch {
                        self.store.acked = self.store.acked.max(up_to.min(self.store.head()));
                    }
                }
                ServerEvent::Read { epoch, up_to, .. } => {
                    let counts = epoch == self.store.epoch;
                    self.reads.extend(counts.then_some(up_to));
                    self.server.read_by(&bob(), "alice", self.store.epoch, if counts { up_to } else { 0 });
                }
                ServerEvent::Message(message) => {
                    let Some(stored) = &mut self.stored else { panic!("{message:?}") };
                    let duplicate = stored.contains(&message.packet_id);
                    stored.push(message.packet_id);
                    self.server.stored(message.packet_id, &message.to, 1, 7, 0, duplicate).unwrap();
                }
                ServerEvent::Negotiated(_) | ServerEvent::Closed(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn settle_with_messages(&mut self, stored: &mut Vec<PacketId>) {
        self.stored = Some(std::mem::take(stored));
        self.settle();
        *stored = self.stored.take().unwrap_or_default();
    }

    fn client_events(&mut self) {
        while let Some(event) = self.client.poll_event() {
            match event {
                ClientEvent::LoggedIn { session, .. } => self.answers.push(session),
                ClientEvent::Message(delivery) => {
                    self.got.push((delivery.seq, String::from_utf8(delivery.entry.content().to_vec()).unwrap()));
                    if self.acks {
                        self.client.ack(delivery.token);
                    } else {
                        self.tokens.push(delivery.token);
                    }
                }
                ClientEvent::Reload { reason, epoch, .. } => self.reloads.push((reason, epoch)),
                ClientEvent::Gap { .. } => self.gaps += 1,
                ClientEvent::Stored { .. } if self.stored.is_some() => {}
                ClientEvent::Negotiated(_) | ClientEvent::Closed(_) | ClientEvent::ReadBy { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// What the device got since the last look.
    fn seqs(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.got).into_iter().map(|(seq, _)| seq).collect()
    }

    fn last_answer(&self) -> SessionAnswer {
        *self.answers.last().unwrap()
    }
}

#[test]
fn a_session_that_is_recovered_continues_where_the_device_stands() {
    let mut world = World::new(Store::new(3, 5));
    world.connect();
    assert_eq!((world.last_answer(), world.seqs()), (SessionAnswer::New, vec![1, 2, 3, 4, 5]));
    world.store.texts.push("six".into());
    world.connect();
    assert_eq!((world.last_answer(), world.seqs()), (SessionAnswer::Recovered, vec![6]));
    let Some(Some(request)) = world.requests.last() else { panic!() };
    assert_eq!(request.positions, [Position { conversation: bob(), epoch: 3, seq: 5, acked: 5 }]);
    assert_eq!(world.client.stats().duplicates, 0);
    assert!(world.reloads.is_empty() && world.gaps == 0);
}

/// The device acked, and the acks were lost with the connection: the login says so, and nothing is delivered again.
#[test]
fn acks_that_were_lost_are_made_up_for_by_the_login() {
    let mut world = World::new(Store::new(3, 5));
    world.connect();
    world.store.acked = 2;
    world.connect();
    assert_eq!(world.last_answer(), SessionAnswer::Recovered);
    assert_eq!((world.store.acked, world.client.stats().duplicates), (5, 0));
}

/// The store's record is ahead of the device, as after the device was set back to an older state: it gets what it lacks.
#[test]
fn a_device_behind_the_record_gets_what_it_lacks() {
    let mut world = World::new(Store::new(3, 5));
    world.connect();
    world.seqs();
    world.store = Store { acked: 8, ..Store::new(3, 8) };
    world.connect();
    assert_eq!((world.last_answer(), world.seqs()), (SessionAnswer::Recovered, vec![6, 7, 8]));
    assert_eq!(world.gaps, 0);
}

/// Deliveries that wait for the application when the connection is lost are neither delivered again nor forgotten.
#[test]
fn tokens_of_the_lost_connection_ack_on_the_next() {
    let mut world = World::new(Store::new(3, 5));
    world.acks = false;
    world.connect();
    assert_eq!(world.seqs().len(), 5);
    world.connect();
    assert_eq!((world.seqs(), world.client.stats().duplicates), (vec![], 0));
    assert_eq!((world.store.acked, world.server.unacked()), (0, 5));
    for token in std::mem::take(&mut world.tokens) {
        world.client.ack(token);
    }
    world.settle();
    assert_eq!((world.store.acked, world.server.unacked()), (5, 0));
}

/// Another epoch is another log: the device drops its position, is told, and gets the new log from its beginning.
#[test]
fn another_epoch_is_never_taken_for_recovered() {
    let mut world = World::new(Store::new(3, 5));
    world.acks = false;
    world.connect();
    world.seqs();
    world.store = Store::new(4, 7);
    world.acks = true;
    world.connect();
    assert_eq!(world.last_answer(), SessionAnswer::Reload);
    assert_eq!(world.reloads, [(ReloadReason::Epoch, 4)]);
    assert_eq!(world.seqs(), [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!((world.gaps, world.store.acked), (0, 7));
    // Tokens of the old log say nothing about the new one.
    for token in std::mem::take(&mut world.tokens) {
        world.client.ack(token);
    }
    world.settle();
    assert_eq!(world.client.state(), State::Online);
    world.connect();
    assert_eq!((world.last_answer(), world.seqs()), (SessionAnswer::Recovered, vec![]));
}

/// A server that does not look at positions still names the epoch before the first message of it.
#[test]
fn another_epoch_is_told_also_where_positions_are_not_looked_at() {
    let mut world = World::new(Store::new(3, 5));
    world.resumes = false;
    world.connect();
    world.seqs();
    world.store = Store::new(4, 2);
    world.connect();
    assert_eq!((world.last_answer(), world.reloads.as_slice()), (SessionAnswer::New, &[(ReloadReason::Epoch, 4)][..]));
    assert_eq!(world.seqs(), [1, 2]);
    // And a server that forgot its epochs is another log too.
    world.reloads.clear();
    world.store = Store::new(0, 2);
    world.connect();
    assert_eq!(world.reloads, [(ReloadReason::Epoch, 0)]);
    assert_eq!(world.seqs(), [1, 2]);
}

/// What was read of the old log says nothing about the new one, which is read from its beginning.
#[test]
fn read_positions_of_another_epoch_are_forgotten() {
    let mut world = World::new(Store::new(3, 5));
    world.connect();
    world.client.read(&bob(), 3, 5).unwrap();
    world.settle();
    assert_eq!((world.reads.as_slice(), world.client.unconfirmed_reads()), (&[5][..], 0));
    world.store = Store::new(4, 2);
    world.connect();
    assert_eq!(world.reloads, [(ReloadReason::Epoch, 4)]);
    // What comes late of the old log, and what was read of the new one.
    world.client.read(&bob(), 3, 4).unwrap();
    world.client.read(&bob(), 4, 2).unwrap();
    world.settle();
    assert_eq!((world.reads.as_slice(), world.client.unconfirmed_reads()), (&[5, 2][..], 0));
}

/// An application that begins again says what it has safe; the server knows another log by now, and says so.
#[test]
fn a_read_position_of_another_epoch_counts_for_nothing_and_is_said_once() {
    let mut world = World::new(Store::new(4, 0));
    world.client.read(&bob(), 3, 5).unwrap();
    world.connect();
    assert_eq!((world.reads.as_slice(), world.client.unconfirmed_reads()), (&[][..], 0));
    world.connect();
    world.client.read(&bob(), 4, 1).unwrap();
    world.settle();
    assert_eq!((world.reads.as_slice(), world.client.unconfirmed_reads()), (&[1][..], 0));
}

/// An ack for the old log that comes before the new one was named must not count as one for the new log.
#[test]
fn an_ack_of_another_epoch_counts_for_nothing() {
    let mut world = World::new(Store::new(3, 5));
    world.resumes = false;
    world.acks = false;
    world.connect();
    world.seqs();
    world.store = Store { acked: 9, ..Store::new(4, 9) };
    world.connect();
    world.store.acked = 0;
    for token in std::mem::take(&mut world.tokens) {
        world.client.ack(token);
    }
    world.settle();
    assert_eq!(world.store.acked, 0, "messages of the new log were acked by nobody");
}

#[test]
fn a_position_beyond_or_before_the_log_is_a_reload() {
    for (store, reason) in [
        (Store { acked: 3, ..Store::new(3, 3) }, ReloadReason::Unknown),
        (Store { oldest: 8, acked: 5, ..Store::new(3, 9) }, ReloadReason::TooOld),
    ] {
        let mut world = World::new(Store::new(3, 5));
        world.connect();
        world.seqs();
        world.store = store.clone();
        world.connect();
        assert_eq!((world.last_answer(), world.reloads.as_slice()), (SessionAnswer::Reload, &[(reason, 3)][..]));
        let from = store.acked.max(store.oldest - 1);
        assert_eq!(world.seqs(), (from + 1..=store.head()).collect::<Vec<_>>());
    }
}

/// A log that is replaced under a connection is refused: the device has to come back to be told.
#[test]
fn a_log_is_not_replaced_under_a_connection() {
    let mut world = World::new(Store::new(3, 5));
    world.connect();
    world.server.notify(&bob(), 6);
    let Some(ServerEvent::Fetch { after: Some(5), .. }) = world.server.poll_event() else { panic!() };
    let answer = world.server.fetched_in(&bob(), 4, 5, Vec::new());
    assert_eq!(answer, Err(AnswerError::OtherEpoch { expected: 3, got: 4 }));
}

/// A login names the conversations that were active last, and no more than 64.
#[test]
fn a_login_names_the_most_recently_active_conversations() {
    let mut world = World::new(Store::new(0, 0));
    world.connect();
    for n in 0..100_u64 {
        let other = Conversation::private(format!("user {n}"));
        world.server.notify(&other, 1);
        let Some(ServerEvent::Fetch { conversation, .. }) = world.server.poll_event() else { panic!() };
        world.server.fetched(&conversation, 0, Store::new(0, 1).items(0)).unwrap();
        world.settle();
    }
    world.seqs();
    world.store = Store::new(0, 1);
    world.connect();
    let Some(Some(request)) = world.requests.last() else { panic!() };
    assert_eq!(request.positions.len(), MAX_POSITIONS);
    assert_eq!(request.positions[0].conversation.id, "user 99");
    assert_eq!(world.last_answer(), SessionAnswer::Recovered);
}

/// The device comes back while its older connection stands, with an ack and a message under way on it. The policy closes the older
/// one; nothing is lost, and nothing comes twice.
#[test]
fn a_device_that_takes_over_from_itself_loses_nothing() {
    use im_proto::policy::{Decision, DeviceKind, DevicePolicy, NewDevice, OnlineDevice};

    for late_bytes_first in [true, false] {
        let mut world = World::new(Store::new(3, 5));
        world.acks = false;
        world.connect();
        assert_eq!(world.seqs(), [1, 2, 3, 4, 5]);
        // Three acks and a message are on their way when the client loses its transport.
        for token in world.tokens.drain(..3).collect::<Vec<_>>() {
            world.client.ack(token);
        }
        let id = world.client.send(world.now, Message::text("bob", "hello")).unwrap();
        let mut late = Vec::new();
        while world.client.poll_transmit(world.now, &mut late, usize::MAX).is_some() {}
        let next = Connection::server(Arc::new(configs().1), entropy(900), world.now).unwrap();
        let mut old = std::mem::replace(&mut world.server, next);
        let since = world.now;
        let mut stored = Vec::new();
        let mut take_late = |old: &mut Connection<Server>, store: &mut Store| {
            let mut at = 0;
            while at < late.len() {
                at += old.handle_input(world.now, &mut late[at..]);
                while let Some(event) = old.poll_event() {
                    match event {
                        ServerEvent::Delivered { up_to, .. } => store.acked = store.acked.max(up_to),
                        ServerEvent::Message(message) => stored.push(message.packet_id),
                        _ => {}
                    }
                }
            }
        };
        if late_bytes_first {
            take_late(&mut old, &mut world.store);
        }
        let online = [OnlineDevice { session: 1, device: "phone".into(), kind: DeviceKind(0), since }];
        let new = NewDevice { device: "phone".into(), kind: DeviceKind(0) };
        let Decision::Admit { kicks } = DevicePolicy::default().decide(&online, &new) else { panic!() };
        assert_eq!((kicks[0].session, kicks[0].code), (1, CloseCode::REPLACED));
        old.close(world.now, kicks[0].code, &kicks[0].reason.to_string());
        if !late_bytes_first {
            take_late(&mut old, &mut world.store);
        }
        assert_eq!(stored.len(), usize::from(late_bytes_first));

        world.store.texts.push("six".into());
        world.client.handle_eof(world.now);
        world.client_events();
        world.client.connect(entropy(901), world.now).unwrap();
        let before = world.client.unanswered();
        world.settle_with_messages(&mut stored);
        assert_eq!(world.last_answer(), SessionAnswer::Recovered);
        assert_eq!((world.seqs(), world.client.stats().duplicates), (vec![6], 0));
        assert_eq!(world.store.acked, 3, "the login made up for the ack, if it was lost");
        assert_eq!((before, world.client.unanswered()), (1, 0));
        assert_eq!(stored.last(), Some(&id), "the same message, with the same identity");
    }
}
