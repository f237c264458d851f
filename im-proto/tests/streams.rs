//! Streams between two real ends: pieces that come in order or not at all, bounds at both ends, an end in any case.
#![allow(clippy::wildcard_enum_match_arm, reason = "the enums are open")]

use std::time::Duration;

use im_proto::budget::{BudgetConfig, Rate};
use im_proto::*;
use im_sim::{Pair, configs};

const DONE: StreamOutcome = StreamOutcome::Done { seq: 0 };

fn online() -> Pair {
    let (client, server) = configs();
    Pair::online(client, server)
}

fn bob() -> Conversation {
    Conversation::private("bob")
}

/// A stream of the client that the server knows.
fn opened(pair: &mut Pair) -> PacketId {
    let stream = pair.client.open_stream(&bob(), 1).unwrap();
    pair.settle();
    let event = ServerEvent::StreamOpened { stream, conversation: bob(), content_type: 1 };
    assert_eq!(pair.server_events.pop(), Some(event));
    stream
}

fn refusal(pair: &mut Pair) -> (PacketId, RefusalCode, String, Option<Duration>) {
    match pair.client_events.pop() {
        Some(ClientEvent::StreamRefused { stream, code, reason, retry_after }) => (stream, code, reason, retry_after),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_stream_of_a_client_comes_to_the_application_piece_by_piece() {
    let mut pair = online();
    let stream = opened(&mut pair);
    let mut content = Vec::new();
    for piece in ["one ", "two ", "", "three"] {
        pair.client.extend_stream(stream, piece.as_bytes()).unwrap();
        pair.settle();
        for event in std::mem::take(&mut pair.server_events) {
            let ServerEvent::StreamDelta { stream: of, content: piece } = event else { panic!("{event:?}") };
            assert_eq!(of, stream);
            content.extend(piece);
        }
    }
    assert_eq!(content, b"one two three");
    pair.client.end_stream(stream, StreamOutcome::Done { seq: 77 }).unwrap();
    assert_eq!(pair.client.extend_stream(stream, b"x"), Err(StreamError::NotOpen));
    pair.settle();
    let ended = ServerEvent::StreamEnded { stream, outcome: DONE };
    assert_eq!(std::mem::take(&mut pair.server_events), [ended], "and no seq that a client says");
    assert_eq!(pair.client_events, []);
}

#[test]
fn a_device_is_told_of_streams_and_pieces_that_wait_are_one() {
    let mut pair = online();
    let stream = StreamId(9);
    pair.server.open_stream(stream, &bob(), "bob", 1).unwrap();
    for piece in ["a", "b", "c"] {
        pair.server.extend_stream(stream, piece.as_bytes()).unwrap();
    }
    pair.settle();
    pair.server.extend_stream(stream, b"d").unwrap();
    pair.server.end_stream(stream, StreamOutcome::Done { seq: 5 }).unwrap();
    pair.settle();
    let delta = |content: &[u8]| ClientEvent::StreamDelta { stream, content: content.to_vec() };
    let want = [
        ClientEvent::StreamOpened { stream, conversation: bob(), from: "bob".into(), content_type: 1 },
        delta(b"abc"),
        delta(b"d"),
        ClientEvent::StreamEnded { stream, outcome: StreamOutcome::Done { seq: 5 } },
    ];
    assert_eq!(std::mem::take(&mut pair.client_events), want);
    assert_eq!(pair.server.extend_stream(stream, b"e"), Err(StreamError::NotOpen));
    pair.server.open_stream(stream, &bob(), "bob", 1).unwrap();
}

#[test]
fn a_slow_reader_costs_a_bound_and_learns_that_it_has_not_all() {
    let (client, mut server) = configs();
    server.stream_bytes = 10_000;
    let mut pair = Pair::online(client, server);
    let (long, short) = (StreamId(1), StreamId(2));
    for stream in [long, short] {
        pair.server.open_stream(stream, &bob(), "bob", 1).unwrap();
        pair.server.extend_stream(stream, b"begin").unwrap();
    }
    pair.settle();
    pair.client_events.clear();
    for _ in 0..1000 {
        pair.server.extend_stream(long, &[b'x'; 1000]).unwrap();
    }
    pair.server.extend_stream(short, b" end").unwrap();
    for stream in [long, short] {
        pair.server.end_stream(stream, StreamOutcome::Done { seq: 5 }).unwrap();
    }
    assert_eq!(pair.server.stats().broken_streams, 1, "once, however much more came");
    pair.transmit_server();
    assert!(pair.to_client.len() < 1000, "{} bytes", pair.to_client.len());
    pair.settle();
    let ended = |stream| ClientEvent::StreamEnded { stream, outcome: StreamOutcome::Done { seq: 5 } };
    let of = |event: &ClientEvent, stream| match event {
        ClientEvent::StreamDelta { stream: of, .. }
        | ClientEvent::StreamBroken { stream: of }
        | ClientEvent::StreamEnded { stream: of, .. } => *of == stream,
        other => panic!("{other:?}"),
    };
    let (longs, shorts): (Vec<_>, Vec<_>) =
        std::mem::take(&mut pair.client_events).into_iter().partition(|event| of(event, long));
    assert_eq!(longs, [ClientEvent::StreamBroken { stream: long }, ended(long)]);
    assert_eq!(shorts, [ClientEvent::StreamDelta { stream: short, content: b" end".to_vec() }, ended(short)]);
    assert_eq!(pair.client.stats().broken_streams, 1);
}

#[test]
fn a_client_that_cannot_transmit_is_blocked_and_loses_nothing() {
    let (mut client, server) = configs();
    client.stream_bytes = 5_000;
    let mut pair = Pair::online(client, server);
    let stream = opened(&mut pair);
    let mut said = 0;
    for _ in 0..40 {
        while pair.client.extend_stream(stream, &[7; 1000]).is_ok() {
            said += 1000;
        }
        assert_eq!(pair.client.extend_stream(stream, &[7; 1000]), Err(StreamError::Blocked));
        pair.settle();
    }
    let heard: usize = pair
        .server_events
        .iter()
        .map(|event| match event {
            ServerEvent::StreamDelta { content, .. } => content.len(),
            other => panic!("{other:?}"),
        })
        .sum();
    assert_eq!((said, heard), (200_000, 200_000));
}

#[test]
fn the_end_of_a_connection_ends_the_streams_of_both_sides() {
    let mut pair = online();
    let own = opened(&mut pair);
    let other = StreamId(4);
    pair.server.open_stream(other, &bob(), "bob", 1).unwrap();
    pair.settle();
    pair.client_events.clear();
    pair.server.handle_eof(pair.now);
    pair.client.handle_eof(pair.now);
    let lost = StreamOutcome::Aborted(AbortReason::Lost);
    let server: Vec<_> = std::iter::from_fn(|| pair.server.poll_event()).collect();
    assert_eq!(server[0], ServerEvent::StreamEnded { stream: own, outcome: lost });
    assert!(matches!(server[1..], [ServerEvent::Closed(_)]), "{server:?}");
    let client: Vec<_> = std::iter::from_fn(|| pair.client.poll_event()).collect();
    assert_eq!(client[0], ClientEvent::StreamEnded { stream: other, outcome: lost });
    assert!(matches!(client[1..], [ClientEvent::Closed(_)]), "{client:?}");
    assert_eq!(pair.client.extend_stream(own, b"x"), Err(StreamError::NotOpen));
    assert_eq!(pair.client.open_stream(&bob(), 1), Err(StreamError::Offline));
    assert_eq!(pair.server.open_stream(other, &bob(), "bob", 1), Err(StreamError::Offline));
}

#[test]
fn streams_are_bounded_in_number_and_length_and_the_refusal_says_so() {
    let (client, mut server) = configs();
    (server.streams_max, server.stream_len_max) = (2, 10);
    let mut pair = Pair::online(client, server);
    let streams = [opened(&mut pair), opened(&mut pair)];
    let third = pair.client.open_stream(&bob(), 1).unwrap();
    pair.settle();
    let (stream, code, reason, _) = refusal(&mut pair);
    assert!((stream, code) == (third, RefusalCode::TOO_MANY) && reason.contains("2 streams"), "{reason}");
    assert_eq!(pair.client.extend_stream(third, b"x"), Err(StreamError::NotOpen));

    pair.client.extend_stream(streams[0], &[0; 10]).unwrap();
    pair.settle();
    pair.server_events.clear();
    pair.client.extend_stream(streams[0], &[0; 1]).unwrap();
    pair.settle();
    let (stream, code, reason, _) = refusal(&mut pair);
    assert!((stream, code) == (streams[0], RefusalCode::TOO_LARGE) && reason.contains("10 bytes"), "{reason}");
    let limit = StreamOutcome::Aborted(AbortReason::Limit);
    assert_eq!(
        std::mem::take(&mut pair.server_events),
        [ServerEvent::StreamEnded { stream: streams[0], outcome: limit }]
    );
    opened(&mut pair);

    for (server_id, want) in
        [(1, Ok(())), (2, Ok(())), (2, Err(StreamError::InUse)), (3, Err(StreamError::TooMany { max: 2 }))]
    {
        assert_eq!(pair.server.open_stream(StreamId(server_id), &bob(), "bob", 1), want);
    }
}

#[test]
fn a_stream_that_is_not_wanted_is_refused_at_any_time() {
    let mut pair = online();
    let stream = opened(&mut pair);
    pair.client.extend_stream(stream, b"under way").unwrap();
    pair.server.refuse_stream(stream, RefusalCode::FORBIDDEN, "bob is busy", None).unwrap();
    assert_eq!(pair.server.refuse_stream(stream, RefusalCode::FORBIDDEN, "", None), Err(AnswerError::NotAsked));
    pair.settle();
    assert_eq!(refusal(&mut pair), (stream, RefusalCode::FORBIDDEN, "bob is busy".into(), None));
    assert_eq!((pair.server_events.len(), pair.server.stats().dropped_deltas), (0, 1));
    let nowhere = pair.client.open_stream(&Conversation::broadcast("news"), 1).unwrap();
    pair.settle();
    let (stream, code, ..) = refusal(&mut pair);
    assert_eq!((stream, code), (nowhere, RefusalCode::FORBIDDEN));
    assert_eq!(pair.client.open_stream(&Conversation::group(""), 1), Err(StreamError::Invalid));
}

#[test]
fn pieces_have_a_budget_and_what_is_over_it_ends_the_stream() {
    let (client, mut server) = configs();
    let deltas = Rate::per_second(1, 2);
    server.budgets = Some(BudgetConfig { deltas, ..BudgetConfig::default() });
    let mut pair = Pair::online(client, server);
    let stream = opened(&mut pair);
    for _ in 0..3 {
        pair.client.extend_stream(stream, b"x").unwrap();
        pair.settle();
    }
    let (of, code, reason, retry_after) = refusal(&mut pair);
    assert_eq!((of, code, retry_after), (stream, RefusalCode::OVER_BUDGET, Some(Duration::from_secs(1))));
    assert!(reason.contains("deltas"), "{reason}");
    let limit = StreamOutcome::Aborted(AbortReason::Limit);
    assert_eq!(pair.server_events.pop(), Some(ServerEvent::StreamEnded { stream, outcome: limit }));
    assert_eq!(pair.server_events.len(), 2);
}

#[test]
fn more_streams_than_a_client_keeps_are_not_shown_and_cost_nothing() {
    let (mut client, server) = configs();
    client.streams_max = 1;
    let mut pair = Pair::online(client, server);
    for id in [1, 2] {
        pair.server.open_stream(StreamId(id), &bob(), "bob", 1).unwrap();
        pair.server.extend_stream(StreamId(id), b"x").unwrap();
        pair.server.end_stream(StreamId(id), DONE).unwrap();
    }
    pair.settle();
    assert!(pair.client_events.iter().all(|event| match event {
        ClientEvent::StreamOpened { stream, .. }
        | ClientEvent::StreamDelta { stream, .. }
        | ClientEvent::StreamEnded { stream, .. } => *stream == StreamId(1),
        other => panic!("{other:?}"),
    }));
    assert_eq!((pair.client_events.len(), pair.client.stats().broken_streams), (3, 1));
    assert_eq!(pair.client.open_stream(&bob(), 1).map(|_| ()), Ok(()));
    assert_eq!(pair.client.open_stream(&bob(), 1), Err(StreamError::TooMany { max: 1 }));
}
