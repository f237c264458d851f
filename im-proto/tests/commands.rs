//! Kinds of conversations, and commands about earlier entries, between two real ends.
#![allow(clippy::wildcard_enum_match_arm, reason = "the enums are open")]

use im_proto::*;
use im_sim::{Pair, configs};

fn online() -> Pair {
    let (client, server) = configs();
    Pair::online(client, server)
}

fn item(seq: u64, from: &str, entry: Entry) -> FeedItem {
    FeedItem { seq, message_id: 100 + seq, time_ms: 5, from: from.into(), own: false, entry }
}

fn command(about: u64, change: Change) -> Entry {
    Entry::Command { about, change }
}

/// Gives the client these entries as the log of a group.
fn delivered(pair: &mut Pair, items: Vec<FeedItem>) -> Vec<Delivery> {
    delivered_in(pair, &Conversation::group("team"), items)
}

fn delivered_in(pair: &mut Pair, log: &Conversation, items: Vec<FeedItem>) -> Vec<Delivery> {
    pair.server.notify(log, items.len() as u64);
    pair.receive();
    assert!(matches!(pair.server_events.pop(), Some(ServerEvent::Fetch { conversation, .. }) if conversation == *log));
    pair.server.fetched(log, 0, items).unwrap();
    pair.settle();
    let events = std::mem::take(&mut pair.client_events);
    let delivery = |event| match event {
        ClientEvent::Message(delivery) => delivery,
        other => panic!("{other:?}"),
    };
    events.into_iter().map(delivery).collect()
}

fn event(kind: EventKind, users: &[&str], text: &str) -> Entry {
    Entry::Event(Event::new(kind, users, text).unwrap())
}

#[test]
fn events_come_in_their_place_and_only_a_friend_request_of_somebody_else_counts_as_unread() {
    use EventKind::{FriendAccepted, FriendRequested, GroupCreated, MemberLeft};
    let unknown = || Entry::Unknown { kind: 6 };
    for (log, entries) in [
        (
            Conversation::group("team"),
            vec![
                ("bob", event(GroupCreated, &["alice", "carol"], "Team"), None, false),
                ("bob", Entry::text("hi"), None, true),
                ("carol", event(MemberLeft, &["carol"], ""), None, false),
                ("carol", event(FriendRequested, &["alice"], "forged"), Some(unknown()), false),
            ],
        ),
        (
            Conversation::notices("friends"),
            vec![
                ("carol", event(FriendRequested, &["alice"], "it is me"), None, true),
                ("alice", event(FriendAccepted, &["carol"], ""), None, false),
                ("alice", event(FriendRequested, &["dave"], ""), None, false),
                ("bob", event(GroupCreated, &[], "elsewhere"), Some(unknown()), false),
            ],
        ),
    ] {
        let mut pair = online();
        let items = entries.iter().zip(1..).map(|((from, entry, ..), seq)| item(seq, from, entry.clone())).collect();
        let got = delivered_in(&mut pair, &log, items);
        assert_eq!(got.len(), entries.len());
        for (delivery, (from, entry, seen, unread)) in got.into_iter().zip(entries) {
            assert_eq!(delivery.from, from);
            assert_eq!(delivery.counts_as_unread(), unread, "{delivery:?}");
            assert_eq!(delivery.entry, seen.unwrap_or(entry));
            pair.client.ack(delivery.token);
        }
        pair.settle();
        let acked = ServerEvent::Delivered { conversation: log, up_to: 4, epoch: 0 };
        assert_eq!(pair.server_events.pop(), Some(acked));
    }
}

#[test]
fn box_im_08_a_client_writes_to_groups_and_rooms_and_never_to_a_broadcast_or_notices() {
    for (to, want) in [
        (Conversation::group("team"), None),
        (Conversation::room("show"), None),
        (Conversation::broadcast("news"), Some(RefusalCode::FORBIDDEN)),
        (Conversation::notices("friends"), Some(RefusalCode::FORBIDDEN)),
        (Conversation { kind: 6, id: "x".into() }, Some(RefusalCode::INVALID)),
    ] {
        let mut pair = online();
        let id = pair.client.send(pair.now, Message { to: to.clone(), ..Message::text("", "hi") }).unwrap();
        pair.settle();
        match want {
            None => {
                let Some(ServerEvent::Message(message)) = pair.server_events.pop() else { panic!("{to}") };
                assert_eq!((message.packet_id, message.to), (id, to));
            }
            Some(code) => {
                assert!(pair.server_events.is_empty(), "{to}");
                let Some(ClientEvent::Refused { packet_id, code: got, reason }) = pair.client_events.pop() else {
                    panic!("{to}")
                };
                assert_eq!((packet_id, got, pair.client.unanswered()), (id, code, 0));
                assert!(["broadcast", "notices", "kind 6"].iter().any(|word| reason.contains(word)), "{reason}");
                assert_eq!((pair.client.state(), pair.server.state()), (State::Online, State::Online));
            }
        }
    }
}

#[test]
fn a_command_is_answered_like_a_message_and_tried_again_until_then() {
    let mut pair = online();
    let team = Conversation::group("team");
    let recall = Command::recall(team.clone(), 3);
    let id = pair.client.command(pair.now, recall.clone()).unwrap();
    pair.settle();
    let event = || ServerEvent::Command { packet_id: id, command: recall.clone() };
    assert_eq!(pair.server_events.pop(), Some(event()));
    // The answer is lost with its connection, and the same command comes again with the same id.
    pair.server.stored(id, &team, 900, 7, 5, false).unwrap();
    pair.client.handle_eof(pair.now);
    pair.server = Connection::server(configs().1.into(), im_sim::entropy(5), pair.now).unwrap();
    pair.client.connect(im_sim::entropy(6), pair.now).unwrap();
    pair.to_client.clear();
    pair.to_server.clear();
    pair.server_events.clear();
    pair.login();
    assert_eq!(pair.server_events.pop(), Some(event()));
    pair.server.stored(id, &team, 900, 7, 5, true).unwrap();
    pair.settle();
    let stored = ClientEvent::Stored { packet_id: id, conversation: team, message_id: 900, seq: 7, time_ms: 5 };
    assert_eq!(pair.client_events.pop(), Some(stored));
    assert_eq!(pair.client.unanswered(), 0);
}

#[test]
fn a_command_without_an_answer_ends_as_unknown_and_a_refused_one_says_why() {
    let (mut client, server) = configs();
    client.max_tries = 2;
    let mut pair = Pair::new(client, server);
    pair.login();
    let late = pair.client.command(pair.now, Command::edit(Conversation::private("bob"), 3, "better")).unwrap();
    pair.settle();
    pair.server.refused(late, RefusalCode::TOO_LATE, "a day is over", false).unwrap();
    pair.settle();
    let refused = ClientEvent::Refused { packet_id: late, code: RefusalCode::TOO_LATE, reason: "a day is over".into() };
    assert_eq!(pair.client_events.pop(), Some(refused));
    let lost = pair.client.command(pair.now, Command::react(Conversation::private("bob"), 3, "👍")).unwrap();
    pair.settle();
    while pair.client.unanswered() > 0 {
        pair.now = pair.client.poll_timeout().unwrap().0;
        pair.client.handle_timeout(pair.now);
        pair.settle();
    }
    assert!(pair.client_events.contains(&ClientEvent::Unknown { packet_id: lost }));
}

#[test]
fn commands_that_no_server_would_take_come_back_at_once() {
    let mut pair = online();
    let team = || Conversation::group("team");
    for bad in [
        Command::recall(team(), 0),
        Command::react(team(), 1, ""),
        Command::react(team(), 1, "a\nb"),
        Command::unreact(team(), 1, &"x".repeat(65)),
    ] {
        assert_eq!(pair.client.command(pair.now, bad.clone()), Err(SendError::InvalidCommand(bad)));
    }
    let nobody = Command::recall(Conversation::group(""), 1);
    assert_eq!(pair.client.command(pair.now, nobody.clone()), Err(SendError::InvalidTarget(nobody)));
    let content = vec![0; 32 * 1024 + 1];
    let large = Command { to: team(), about: 1, change: Change::Edit { content_type: 1, content } };
    assert!(matches!(pair.client.command(pair.now, large), Err(SendError::TooLarge { max: 32_768, .. })));
    assert_eq!(pair.client.unanswered(), 0);
    let longest = Command::react(team(), 1, &"x".repeat(64));
    assert!(pair.client.command(pair.now, longest).is_ok());
}

#[test]
fn a_full_outbox_gives_a_command_back() {
    let (mut client, server) = configs();
    client.outbox_bytes = 300;
    let mut pair = Pair::new(client, server);
    pair.login();
    pair.client.send(pair.now, Message::text("bob", &"x".repeat(300))).unwrap();
    let recall = Command::recall(Conversation::private("bob"), 1);
    assert_eq!(pair.client.command(pair.now, recall.clone()), Err(SendError::Blocked(recall)));
}

#[test]
fn every_entry_comes_in_its_place_and_only_messages_of_others_count_as_unread() {
    let mut pair = online();
    let react = || "👍".to_owned();
    let entries = [
        ("bob", Entry::text("one"), true),
        ("alice", Entry::text("from my desk"), false),
        ("bob", command(1, Change::Edit { content_type: 1, content: b"two".to_vec() }), false),
        ("carol", command(1, Change::React { text: react() }), false),
        ("carol", command(1, Change::Unreact { text: react() }), false),
        ("bob", Entry::Recalled, false),
        ("bob", command(6, Change::Recall), false),
        ("bob", Entry::Unknown { kind: 40 }, false),
        ("bob", Entry::text("again"), true),
    ];
    let items = entries.iter().zip(1..).map(|((from, entry, _), seq)| item(seq, from, entry.clone())).collect();
    let got = delivered(&mut pair, items);
    assert_eq!(got.len(), entries.len());
    for ((delivery, (from, entry, unread)), seq) in got.into_iter().zip(&entries).zip(1..) {
        assert_eq!((delivery.seq, delivery.from.as_str(), &delivery.entry), (seq, *from, entry));
        assert_eq!(delivery.counts_as_unread(), *unread, "{delivery:?}");
        pair.client.ack(delivery.token);
    }
    pair.settle();
    let acked = ServerEvent::Delivered { conversation: Conversation::group("team"), up_to: 9, epoch: 0 };
    assert_eq!(pair.server_events.pop(), Some(acked));
}

/// The bytes on the wire are looked at, before they are sealed too: a provider cannot hide a leak from the length.
#[test]
fn box_im_07_recalled_content_does_not_leave_the_server() {
    let secret = "x".repeat(5_000);
    let mut pair = online();
    let team = Conversation::group("team");
    pair.server.notify(&team, 3);
    pair.receive();
    let edit = Change::Edit { content_type: 1, content: secret.clone().into_bytes() };
    let items =
        vec![item(1, "bob", Entry::text(&secret)), item(2, "bob", command(1, edit)), item(3, "bob", Entry::text("hi"))];
    // Fetched, and then recalled before it is transmitted: a slow reader, say.
    pair.server.fetched(&team, 0, items).unwrap();
    pair.server.recalled(&team, 1);
    pair.transmit_server();
    assert!(pair.to_client.len() < 1_000, "{} bytes for two empty places and a greeting", pair.to_client.len());
    pair.receive();
    let entries: Vec<_> = std::mem::take(&mut pair.client_events)
        .into_iter()
        .map(|event| match event {
            ClientEvent::Message(delivery) => delivery.entry,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(entries, [Entry::Recalled, Entry::Recalled, Entry::text("hi")]);
}
