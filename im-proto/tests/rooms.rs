//! Rooms between two real ends: joins that the application decides, a slow reader that costs a bound, nothing for outsiders.
#![allow(clippy::wildcard_enum_match_arm, reason = "the enums are open")]

use std::time::Duration;

use im_proto::budget::{BudgetConfig, Rate};
use im_proto::*;
use im_sim::{Pair, configs};

fn online() -> Pair {
    let (client, server) = configs();
    Pair::online(client, server)
}

fn show(n: u32) -> Conversation {
    Conversation::room(format!("show-{n}"))
}

fn post(room: &Conversation, n: u64, bytes: usize) -> RoomPost {
    RoomPost::new(room, "bob", n, 5, 1, vec![n as u8; bytes]).unwrap()
}

/// Lets the client into a room.
fn join(pair: &mut Pair, room: &Conversation) {
    let id = pair.client.join_room(room).unwrap();
    pair.settle();
    assert_eq!(pair.server_events.pop(), Some(ServerEvent::RoomJoin { packet_id: id, room: room.clone() }));
    pair.server.accept_join(id).unwrap();
    pair.settle();
    assert_eq!(pair.client_events.pop(), Some(ClientEvent::RoomJoined { packet_id: id, room: room.clone() }));
}

/// Message and loss of each room message that the client was told.
fn heard(pair: &mut Pair) -> Vec<(u64, u64)> {
    let events = std::mem::take(&mut pair.client_events);
    let message = |event| match event {
        ClientEvent::RoomMessage { message_id, dropped, .. } => (message_id, dropped),
        other => panic!("{other:?}"),
    };
    events.into_iter().map(message).collect()
}

#[test]
fn who_was_let_in_gets_what_is_said_and_nobody_else_does() {
    let mut pair = online();
    let (room, other) = (show(1), show(2));
    assert_eq!(pair.server.room_message(post(&room, 1, 9)), Err(PostError::NotIn));
    join(&mut pair, &room);
    assert!(pair.server.is_in_room(&room) && pair.client.is_in_room(&room));
    pair.server.room_message(post(&room, 2, 9)).unwrap();
    assert_eq!(pair.server.room_message(post(&other, 3, 9)), Err(PostError::NotIn));
    pair.settle();
    let want = ClientEvent::RoomMessage {
        room: room.clone(),
        from: "bob".into(),
        message_id: 2,
        time_ms: 5,
        content_type: 1,
        content: vec![2; 9],
        dropped: 0,
    };
    assert_eq!(std::mem::take(&mut pair.client_events), [want]);

    pair.client.leave_room(&room).unwrap();
    assert_eq!(pair.client.leave_room(&room), Err(RoomError::NotIn), "it leaves already");
    pair.server.room_message(post(&room, 4, 9)).unwrap();
    pair.settle();
    let left = ClientEvent::RoomLeft { room: room.clone(), exit: RoomExit::LEFT, reason: String::new() };
    assert_eq!(std::mem::take(&mut pair.client_events), [left], "and not what was said meanwhile");
    assert_eq!(std::mem::take(&mut pair.server_events), [ServerEvent::RoomLeft { room: room.clone() }]);
    assert_eq!(pair.server.room_message(post(&room, 5, 9)), Err(PostError::NotIn));
    join(&mut pair, &room);
}

#[test]
fn a_message_to_a_room_is_answered_without_a_place_in_a_log() {
    let mut pair = online();
    let room = show(1);
    let id = pair.client.send(pair.now, Message { to: room.clone(), ..Message::text("", "hi") }).unwrap();
    pair.settle();
    assert!(matches!(pair.server_events.pop(), Some(ServerEvent::Message(message)) if message.to == room));
    pair.server.stored(id, &room, 7, 0, 5, false).unwrap();
    pair.settle();
    let stored = ClientEvent::Stored { packet_id: id, conversation: room, message_id: 7, seq: 0, time_ms: 5 };
    assert_eq!(pair.client_events, [stored]);
}

#[test]
fn the_application_refuses_a_join_and_takes_a_connection_out_of_a_room() {
    let mut pair = online();
    let (room, wait) = (show(1), Duration::from_secs(3));
    let id = pair.client.join_room(&room).unwrap();
    assert_eq!(pair.client.join_room(&room), Err(RoomError::UnderWay));
    pair.settle();
    pair.server.refuse_join(id, RefusalCode::FORBIDDEN, "not yet", Some(wait)).unwrap();
    assert_eq!(pair.server.accept_join(id), Err(AnswerError::NotAsked));
    pair.settle();
    let refused = ClientEvent::RoomRefused {
        packet_id: id,
        room: room.clone(),
        code: RefusalCode::FORBIDDEN,
        reason: "not yet".into(),
        retry_after: Some(wait),
    };
    assert_eq!(std::mem::take(&mut pair.client_events), [refused]);
    pair.server_events.clear();

    join(&mut pair, &room);
    pair.server.room_message(post(&room, 1, 9)).unwrap();
    assert!(pair.server.remove_from_room(&room, RoomExit::BANNED, "spam"));
    assert!(!pair.server.remove_from_room(&room, RoomExit::BANNED, "again"));
    pair.settle();
    let left = ClientEvent::RoomLeft { room: room.clone(), exit: RoomExit::BANNED, reason: "spam".into() };
    assert_eq!(std::mem::take(&mut pair.client_events), [left]);
    assert_eq!(pair.server_events, [], "the application knows");
    // Both say so at once: one end, no error.
    join(&mut pair, &room);
    pair.client.leave_room(&room).unwrap();
    pair.transmit();
    pair.server.remove_from_room(&room, RoomExit::CLOSED, "");
    pair.settle();
    let left = ClientEvent::RoomLeft { room: room.clone(), exit: RoomExit::CLOSED, reason: String::new() };
    assert_eq!(std::mem::take(&mut pair.client_events), [left]);
    join(&mut pair, &room);
}

#[test]
fn a_slow_reader_costs_a_bounded_number_of_bytes_and_is_told_what_it_lost() {
    let (client, mut server) = configs();
    server.room_bytes = 20_000;
    let mut pair = Pair::online(client, server);
    let (one, two) = (show(1), show(2));
    join(&mut pair, &one);
    join(&mut pair, &two);
    for n in 0..1000 {
        pair.server.room_message(post(if n % 10 == 0 { &two } else { &one }, n, 1000)).unwrap();
    }
    let dropped = pair.server.stats().dropped_room_messages;
    assert!((980..1000).contains(&dropped), "{dropped}");
    pair.settle();
    let heard = heard(&mut pair);
    assert_eq!(heard.len() as u64, 1000 - dropped);
    assert_eq!(heard.last(), Some(&(999, 0)), "the latest are there");
    assert_eq!(heard.iter().map(|(_, dropped)| dropped).sum::<u64>(), dropped, "every loss is told, once");
    assert_eq!(heard.iter().filter(|(_, dropped)| *dropped > 0).count(), 2, "with the next of its room");
}

/// A server whose task for the connection had too many waiting tells that as if the connection had dropped them.
#[test]
fn what_was_lost_before_it_came_to_the_connection_is_told_with_the_next_message() {
    let mut pair = online();
    let (room, other) = (show(1), show(2));
    join(&mut pair, &room);
    pair.server.lost_in_room(&room, 3);
    pair.server.lost_in_room(&room, 4);
    pair.server.lost_in_room(&other, 9);
    assert_eq!(pair.server.stats().dropped_room_messages, 7, "a room that it is not in does not count");
    pair.server.room_message(post(&room, 1, 9)).unwrap();
    pair.server.room_message(post(&room, 2, 9)).unwrap();
    pair.settle();
    assert_eq!(heard(&mut pair), [(1, 7), (2, 0)]);
}

#[test]
fn private_messages_go_before_a_busy_room_and_the_room_does_not_starve() {
    let mut pair = online();
    let room = show(1);
    join(&mut pair, &room);
    for n in 0..20 {
        pair.server.room_message(post(&room, n, 9)).unwrap();
    }
    let bob = Conversation::private("bob");
    pair.server.notify(&bob, 20);
    pair.receive();
    let items = (1..=20).map(|seq| FeedItem {
        seq,
        message_id: seq,
        time_ms: 0,
        from: "bob".into(),
        own: false,
        entry: Entry::text("hi"),
    });
    pair.server.fetched(&bob, 0, items.collect()).unwrap();
    pair.settle();
    let order: String = pair
        .client_events
        .iter()
        .map(|event| match event {
            ClientEvent::Message(_) => 'm',
            ClientEvent::RoomMessage { .. } => 'r',
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(order, "mmmmr".repeat(5) + &"r".repeat(15));
}

#[test]
fn rooms_end_with_the_connection_and_are_not_joined_again_by_themselves() {
    let mut pair = online();
    let (in_it, asked) = (show(1), show(2));
    join(&mut pair, &in_it);
    pair.client.join_room(&asked).unwrap();
    pair.settle();
    pair.server_events.clear();
    pair.server.room_message(post(&in_it, 1, 9)).unwrap();
    pair.server.handle_eof(pair.now);
    pair.client.handle_eof(pair.now);
    let events: Vec<_> = std::iter::from_fn(|| pair.server.poll_event()).collect();
    assert!(
        matches!(&events[..], [ServerEvent::RoomLeft { room }, ServerEvent::Closed(_)] if *room == in_it),
        "{events:?}"
    );
    assert_eq!(pair.server.rooms().count(), 0);
    assert_eq!(pair.client.join_room(&in_it), Err(RoomError::Offline));
    pair.client.connect(im_sim::entropy(6), pair.now).unwrap();
    pair.server = Connection::server(configs().1.into(), im_sim::entropy(5), pair.now).unwrap();
    pair.login();
    assert!(!pair.client.is_in_room(&in_it));
    pair.client_events.clear();
    pair.server_events.clear();
    join(&mut pair, &in_it);
    join(&mut pair, &asked);
}

#[test]
fn rooms_are_bounded_at_both_ends_and_the_refusal_says_so() {
    let (client, mut server) = configs();
    server.rooms_max = 2;
    let mut pair = Pair::online(client, server);
    join(&mut pair, &show(1));
    join(&mut pair, &show(2));
    let third = pair.client.join_room(&show(3)).unwrap();
    pair.settle();
    let Some(ClientEvent::RoomRefused { packet_id, code, reason, retry_after: None, .. }) = pair.client_events.pop()
    else {
        panic!()
    };
    assert_eq!((packet_id, code), (third, RefusalCode::TOO_MANY));
    assert!(reason.contains("2 rooms"), "{reason}");
    assert_eq!(pair.server_events, []);

    let (mut client, server) = configs();
    client.rooms_max = 1;
    let mut pair = Pair::online(client, server);
    join(&mut pair, &show(1));
    assert_eq!(pair.client.join_room(&show(2)), Err(RoomError::TooMany { max: 1 }));
    assert_eq!(pair.client.join_room(&Conversation::group("team")), Err(RoomError::Invalid));
    assert_eq!(pair.client.leave_room(&show(2)), Err(RoomError::NotIn));
}

#[test]
fn joins_cost_the_budget_of_signals() {
    let (client, mut server) = configs();
    let signals = Rate::per_second(1, 2);
    server.budgets = Some(BudgetConfig { signals, ..BudgetConfig::default() });
    let mut pair = Pair::online(client, server);
    for n in 1..=3 {
        pair.client.join_room(&show(n)).unwrap();
    }
    pair.settle();
    assert_eq!(pair.server_events.len(), 2);
    let Some(ClientEvent::RoomRefused { code, retry_after, .. }) = pair.client_events.pop() else { panic!() };
    assert_eq!((code, retry_after), (RefusalCode::OVER_BUDGET, Some(Duration::from_secs(1))));
}

#[test]
fn a_message_that_no_packet_holds_is_the_callers_to_know() {
    let mut pair = online();
    join(&mut pair, &show(1));
    let large = pair.server.room_message(post(&show(1), 1, 32 * 1024 + 1));
    assert_eq!(large, Err(PostError::TooLarge { len: 32 * 1024 + 1, max: 32 * 1024 }));
    pair.server.room_message(post(&show(1), 2, 32 * 1024)).unwrap();
    pair.settle();
    assert_eq!(heard(&mut pair), [(2, 0)]);
}
