//! Read positions and receipts between two real ends: they only grow, the latest wins, and nothing queues up.
#![allow(clippy::wildcard_enum_match_arm, reason = "the enums are open")]

use im_proto::*;
use im_sim::{Pair, configs, entropy};

fn online() -> Pair {
    let (client, server) = configs();
    Pair::online(client, server)
}

/// The transport is lost, and the client logs in again.
fn reconnect(pair: &mut Pair) {
    pair.client.handle_eof(pair.now);
    pair.server = Connection::server(configs().1.into(), entropy(5), pair.now).unwrap();
    pair.to_client.clear();
    pair.to_server.clear();
    pair.client.connect(entropy(6), pair.now).unwrap();
    pair.login();
    let news = |event: &ServerEvent| matches!(event, ServerEvent::Read { .. });
    pair.server_events.retain(news);
    pair.client_events.clear();
}

fn team() -> Conversation {
    Conversation::group("team")
}

fn read(conversation: Conversation, up_to: u64) -> ServerEvent {
    ServerEvent::Read { conversation, epoch: 0, up_to }
}

fn read_by(user: &str, up_to: u64) -> ClientEvent {
    ClientEvent::ReadBy { conversation: team(), user: user.into(), epoch: 0, up_to }
}

#[test]
fn of_one_conversation_only_the_highest_position_is_said() {
    let mut pair = online();
    for up_to in [3, 9, 5, 0] {
        pair.client.read(&team(), 0, up_to).unwrap();
    }
    pair.client.read(&Conversation::private("bob"), 0, 2).unwrap();
    pair.settle();
    pair.server_events.sort_by_key(|event| format!("{event:?}"));
    assert_eq!(pair.server_events, [read(Conversation::private("bob"), 2), read(team(), 9)]);
    pair.server_events.clear();
    pair.client.read(&team(), 0, 8).unwrap();
    pair.settle();
    assert_eq!(pair.server_events, [], "a position does not go back");
}

#[test]
fn box_im_06_what_arrives_after_the_position_stays_unread() {
    let mut pair = online();
    let item =
        |seq| FeedItem { seq, message_id: seq, time_ms: 0, from: "bob".into(), own: false, entry: Entry::text("x") };
    pair.server.notify(&team(), 3);
    pair.receive();
    pair.server.fetched(&team(), 0, vec![item(1), item(2), item(3)]).unwrap();
    pair.settle();
    pair.server_events.clear();
    // The user looks at 3 while 4 is on its way.
    pair.client.read(&team(), 0, 3).unwrap();
    pair.server.notify(&team(), 4);
    pair.receive();
    pair.server.fetched(&team(), 3, vec![item(4)]).unwrap();
    pair.settle();
    let position = pair.server_events.iter().find_map(|event| match event {
        ServerEvent::Read { up_to, .. } => receipts::advance(0, *up_to, 4),
        _ => None,
    });
    assert_eq!(position, Some(3), "and not the head");
    pair.server.read_by(&team(), "alice", 0, 3);
    pair.settle();
    let unread = pair.client_events.iter().filter(
        |event| matches!(event, ClientEvent::Message(delivery) if delivery.counts_as_unread() && delivery.seq > 3),
    );
    assert_eq!(unread.count(), 1);
    assert_eq!(pair.client_events.last(), Some(&read_by("alice", 3)));
}

#[test]
fn a_position_is_said_again_until_the_server_tells_it_back() {
    let mut pair = online();
    pair.client.handle_eof(pair.now);
    pair.client.read(&team(), 0, 7).unwrap();
    reconnect(&mut pair);
    assert_eq!((pair.server_events.pop(), pair.client.unconfirmed_reads()), (Some(read(team(), 7)), 1));
    // The server kept it, or not: the connection is lost before it told.
    reconnect(&mut pair);
    assert_eq!(pair.server_events.pop(), Some(read(team(), 7)));
    pair.server.read_by(&team(), "alice", 0, 7);
    pair.settle();
    assert_eq!((pair.client_events.pop(), pair.client.unconfirmed_reads()), (Some(read_by("alice", 7)), 0));
    reconnect(&mut pair);
    assert_eq!(pair.server_events, []);
}

#[test]
fn what_another_device_read_needs_not_be_said() {
    let mut pair = online();
    pair.server.read_by(&team(), "alice", 0, 9);
    pair.settle();
    pair.client_events.clear();
    pair.client.read(&team(), 0, 9).unwrap();
    pair.settle();
    assert_eq!((pair.server_events.len(), pair.client.unconfirmed_reads()), (0, 0));
}

#[test]
fn receipts_coalesce_and_positions_never_go_back_at_the_client() {
    let mut pair = online();
    for up_to in [4, 6, 5] {
        pair.server.read_by(&team(), "bob", 0, up_to);
        pair.server.delivered_to(&team(), "bob", 0, up_to + 1);
    }
    let before = pair.server.stats().packets_out;
    pair.settle();
    assert_eq!(pair.server.stats().packets_out, before + 1, "both in one bundle");
    let delivered = ClientEvent::DeliveredTo { conversation: team(), user: "bob".into(), epoch: 0, up_to: 7 };
    assert_eq!(std::mem::take(&mut pair.client_events), [read_by("bob", 6), delivered]);
    pair.server.read_by(&team(), "bob", 0, 6);
    pair.server.read_by(&team(), "bob", 0, 2);
    pair.settle();
    assert_eq!(pair.client_events, []);
    // Nor after a reconnect to a server that remembers less.
    reconnect(&mut pair);
    pair.server.read_by(&team(), "bob", 0, 5);
    pair.settle();
    assert_eq!(pair.client_events, []);
    pair.server.read_by(&team(), "bob", 0, 8);
    pair.settle();
    assert_eq!(pair.client_events, [read_by("bob", 8)]);
}

#[test]
fn a_slow_reader_costs_a_bounded_number_of_receipts() {
    let (client, mut server) = configs();
    server.receipts_max = 10;
    let mut pair = Pair::online(client, server);
    for user in 0..1000 {
        for up_to in 1..4 {
            pair.server.read_by(&team(), &format!("user {user}"), 0, up_to);
        }
    }
    assert_eq!(pair.server.stats().dropped_receipts, 990);
    pair.settle();
    let want: Vec<_> = (990..1000).map(|user| read_by(&format!("user {user}"), 3)).collect();
    assert_eq!(pair.client_events, want, "the latest are there");
}

#[test]
fn a_room_has_no_positions() {
    let mut pair = online();
    for bad in [Conversation::room("show"), Conversation { kind: 9, id: "x".into() }, Conversation::group("")] {
        assert_eq!(pair.client.read(&bad, 0, 1), Err(ReadError::NoPositions));
    }
    // A server that tells of one is closed.
    pair.server.read_by(&Conversation::room("show"), "bob", 0, 1);
    pair.settle();
    let Some(ClientEvent::Closed(closed)) = pair.client_events.pop() else { panic!("{:?}", pair.client_events) };
    assert_eq!((closed.code, closed.error), (CloseCode::PROTOCOL, Some(Error::ConversationKind { kind: 3 })));
}

#[test]
fn positions_that_the_server_never_confirms_are_bounded() {
    let (mut client, server) = configs();
    client.max_conversations = 3;
    let mut pair = Pair::online(client, server);
    for n in 0..3 {
        pair.client.read(&Conversation::group(n.to_string()), 0, 1).unwrap();
    }
    assert_eq!(pair.client.read(&team(), 0, 1), Err(ReadError::Full));
    pair.server.read_by(&Conversation::group("1"), "alice", 0, 1);
    pair.settle();
    assert_eq!(pair.client.read(&team(), 0, 1), Ok(()));
}

/// What was told of a log before the device heard that it is another one says nothing about the new one.
#[test]
fn a_receipt_is_told_again_when_the_log_is_another_one() {
    let mut pair = online();
    pair.server.read_by(&team(), "alice", 0, 1);
    pair.settle();
    pair.server.notify(&team(), 1);
    pair.settle();
    let item =
        FeedItem { seq: 1, message_id: 1, time_ms: 0, from: "bob".into(), own: false, entry: Entry::text("new") };
    pair.server.fetched_in(&team(), 7, 0, vec![item]).unwrap();
    pair.settle();
    pair.client_events.clear();
    pair.server.read_by(&team(), "alice", 7, 1);
    pair.server.read_by(&team(), "alice", 7, 1);
    let before = pair.server.stats().packets_out;
    pair.settle();
    assert_eq!(pair.server.stats().packets_out, before + 1, "told again, once");
    let told = ClientEvent::ReadBy { conversation: team(), user: "alice".into(), epoch: 7, up_to: 1 };
    assert_eq!(std::mem::take(&mut pair.client_events), [told]);
    // What somebody tells late of the log before.
    pair.server.read_by(&team(), "alice", 0, 9);
    pair.settle();
    assert_eq!(pair.client_events, []);
}
