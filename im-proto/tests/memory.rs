//! The formula of a connection's memory, and what a message costs, by a counting allocator.

use std::sync::Arc;

use allocation_counter::measure;
use im_proto::*;
use im_sim::{Pair, configs, entropy};

fn name(n: usize) -> String {
    format!("{n:0128}")
}

/// A server's connection whose client takes nothing any more, driven to every limit at once.
#[test]
fn a_server_s_connection_stays_within_the_formula_of_its_configuration() {
    let (client, mut server) = configs();
    (server.max_conversations, server.receipts_max, server.watch_max) = (200, 300, 100);
    (server.signal_bytes, server.fetch_bytes, server.room_bytes) = (50_000, 30_000, 40_000);
    (server.max_body, server.max_content) = (8 * 1024, 2 * 1024);
    let most = server.memory_max();
    let mut pair = Pair::online(client, server);
    let names: Vec<_> = (0..1000).map(name).collect();
    // Made anew each time, as by the bytes of a peer: clones of a long name share it.
    let group = |n| Conversation::group(name(n));
    let room = Conversation::room("show");
    pair.client.join_room(&room).unwrap();
    for who in &names[..100] {
        pair.client.signal(Signal::Watch { user: who.clone(), on: true }).unwrap();
    }
    pair.settle();
    let asked = std::mem::take(&mut pair.server_events);
    let join = asked
        .iter()
        .find_map(|event| if let ServerEvent::RoomJoin { packet_id, .. } = event { Some(*packet_id) } else { None });
    pair.server.accept_join(join.unwrap()).unwrap();
    pair.settle();
    let items = |_: &Conversation| -> Vec<FeedItem> {
        let item = |seq| FeedItem {
            seq,
            message_id: seq,
            time_ms: 0,
            from: name(1).into(),
            own: false,
            entry: Entry::text(&"x".repeat(450)),
        };
        (1..=64).map(item).collect()
    };
    let used = measure(|| {
        let server = &mut pair.server;
        for (n, name) in names.iter().enumerate() {
            server.notify(&group(n), 100);
            server.read_by(&group(n), name, 0, 5);
            server.delivered_to(&group(n), name, 0, 5);
            server.signal(PeerSignal::Typing { conversation: group(n), user: name.clone(), on: true });
            let post = RoomPost::new(&room, &names[n], 1, 2, 1, vec![7; 200]).unwrap();
            let _ = server.room_message(post);
        }
        while let Some(event) = server.poll_event() {
            if let ServerEvent::Fetch { conversation, .. } = event {
                server.fetched(&conversation, 0, items(&conversation)).unwrap();
            }
        }
    });
    println!("server: {} bytes of {most}", used.bytes_max);
    assert!(used.bytes_max < most as u64, "{} bytes, the formula says {most}", used.bytes_max);
    assert!(
        used.bytes_max > most as u64 / 6,
        "{} bytes: the formula says {most}, which is nothing to plan with",
        used.bytes_max
    );
}

/// Limits that mean "none" are no reason to panic.
#[test]
fn the_formula_of_endless_limits_is_the_largest_number() {
    let (mut client, mut server) = configs();
    (client.streams_max, client.requests_max, client.outbox_bytes) = (u32::MAX, u32::MAX, usize::MAX);
    (server.streams_max, server.send_max, server.fetch_bytes) = (u32::MAX, u32::MAX, usize::MAX);
    (server.max_content, server.room_bytes, server.request_bytes) = (usize::MAX, usize::MAX, usize::MAX);
    assert_eq!((client.memory_max(), server.memory_max()), (usize::MAX, usize::MAX));
}

#[test]
fn a_client_stays_within_the_formula_of_its_configuration() {
    let (mut client, server) = configs();
    (client.outbox_bytes, client.signal_bytes, client.max_conversations) = (100_000, 20_000, 100);
    let most = client.memory_max();
    let mut pair = Pair::online(client, server);
    let names: Vec<_> = (0..1000).map(name).collect();
    let used = measure(|| {
        for who in &names {
            let _ = pair.client.send(pair.now, Message::text(who, "a few words"));
            let _ = pair.client.read(&Conversation::private(who.as_str()), 0, 7);
            let _ = pair.client.signal(Signal::Typing { conversation: Conversation::private(who.as_str()), on: true });
        }
    });
    println!("client: {} bytes of {most}", used.bytes_max);
    assert!(pair.client.buffered() <= 100_000);
    assert!(used.bytes_max < most as u64, "{} bytes, the formula says {most}", used.bytes_max);
}

/// Thousands of messages and their answers.
#[test]
fn a_message_and_its_answer_allocate_the_content_at_each_end_and_nothing_else() {
    let (mut client, server) = configs();
    client.receive_max = 0;
    let mut pair = Pair::online(client, server);
    let bob = Conversation::private("bob");
    let (mut up, mut packet) = (Vec::with_capacity(1 << 16), Vec::with_capacity(1 << 16));
    let mut sent = Vec::with_capacity(64);
    let mut round = |pair: &mut Pair, first: u64| {
        for _ in 0..32 {
            let message = Message { to: bob.clone(), content_type: 1, content: vec![7; 128] };
            pair.client.send(pair.now, message).unwrap();
        }
        let mut client_to_server = || {
            while pair.client.poll_transmit(pair.now, &mut packet, usize::MAX).is_some() {
                assert_eq!(pair.server.handle_input(pair.now, &mut packet), packet.len());
                packet.clear();
                while let Some(event) = pair.server.poll_event() {
                    if let ServerEvent::Message(message) = event {
                        sent.push(message.packet_id);
                    }
                }
            }
        };
        client_to_server();
        for (id, seq) in sent.drain(..).zip(first..) {
            pair.server.stored(id, &bob, seq, seq, 0, false).unwrap();
        }
        while pair.server.poll_transmit(pair.now, &mut up, usize::MAX).is_some() {
            assert_eq!(pair.client.handle_input(pair.now, &mut up), up.len());
            up.clear();
            while pair.client.poll_event().is_some() {}
        }
    };
    for n in 0..20 {
        round(&mut pair, 1 + 32 * n);
    }
    let used = measure(|| {
        for n in 20..120 {
            round(&mut pair, 1 + 32 * n);
        }
    });
    println!("{} allocations for 3200 messages up and their answers", used.count_total);
    assert_eq!(used.count_total, 2 * 3200, "the content, here and there");
    let sending = measure(|| {
        let message = Message { to: bob.clone(), content_type: 1, content: vec![7; 128] };
        pair.client.send(pair.now, message).unwrap();
        while pair.client.poll_transmit(pair.now, &mut packet, usize::MAX).is_some() {}
    });
    assert_eq!(sending.count_total, 1, "the content");
}

/// Thousands of messages from the log of a server to a client that acks them.
#[test]
fn a_delivery_and_its_ack_allocate_the_content_at_each_end_and_nothing_else() {
    let (client, server) = configs();
    let mut pair = Pair::online(client, server);
    let bob = Conversation::private("bob");
    let (mut down, mut up) = (Vec::with_capacity(1 << 16), Vec::with_capacity(1 << 16));
    let mut round = |pair: &mut Pair, after: u64| {
        pair.server.notify(&bob, after + 32);
        while let Some(event) = pair.server.poll_event() {
            if let ServerEvent::Fetch { conversation, .. } = event {
                let entry = || Entry::Message { content_type: 1, content: vec![7; 128] };
                let item =
                    |seq| FeedItem { seq, message_id: seq, time_ms: 0, from: "bob".into(), own: false, entry: entry() };
                let items = (after + 1..=after + 32).map(item).collect();
                pair.server.fetched(&conversation, after, items).unwrap();
            }
        }
        while pair.server.poll_transmit(pair.now, &mut down, usize::MAX).is_some() {
            assert_eq!(pair.client.handle_input(pair.now, &mut down), down.len());
            down.clear();
            while let Some(event) = pair.client.poll_event() {
                if let ClientEvent::Message(delivery) = event {
                    pair.client.ack(delivery.token);
                }
            }
        }
        while pair.client.poll_transmit(pair.now, &mut up, usize::MAX).is_some() {
            assert_eq!(pair.server.handle_input(pair.now, &mut up), up.len());
            up.clear();
            while pair.server.poll_event().is_some() {}
        }
        assert_eq!(pair.server.unacked(), 0);
    };
    for n in 0..20 {
        round(&mut pair, 32 * n);
    }
    let used = measure(|| {
        for n in 20..120 {
            round(&mut pair, 32 * n);
        }
    });
    println!("{} allocations for 3200 messages down and their acks", used.count_total);
    assert_eq!(used.count_total, 2 * 3200 + 4 * 100, "the content, here and there, and four for each page of the log");
}

/// A server's connection that had traffic of every kind, and then a heartbeat with nothing to say.
#[test]
fn an_idle_connection_of_a_server_takes_two_kibibytes() {
    let (client, server) = configs();
    let (room, bob) = (Conversation::room("show"), Conversation::private("bob"));
    // What connections share is not one's own.
    let server = Arc::new(server);
    let mut pair = Pair::new(client, configs().1);
    pair.server = Connection::server(Arc::clone(&server), entropy(2), pair.now).unwrap();
    pair.login();
    pair.client.join_room(&room).unwrap();
    pair.client.signal(Signal::Typing { conversation: bob.clone(), on: true }).unwrap();
    pair.client.send(pair.now, Message::text("bob", "hello")).unwrap();
    pair.settle();
    for event in std::mem::take(&mut pair.server_events) {
        if let ServerEvent::RoomJoin { packet_id, .. } = event {
            pair.server.accept_join(packet_id).unwrap();
        } else if let ServerEvent::Message(message) = event {
            pair.server.stored(message.packet_id, &bob, 1, 1, 0, false).unwrap();
        }
    }
    pair.settle();
    // Nothing is left open: the log has no more than the message, which the device itself sent.
    for event in std::mem::take(&mut pair.server_events) {
        if let ServerEvent::Fetch { conversation, .. } = event {
            pair.server.fetched(&conversation, 1, Vec::new()).unwrap();
        }
    }
    pair.settle();
    pair.server.read_by(&bob, "bob", 0, 1);
    pair.server.room_message(RoomPost::new(&room, "bob", 1, 2, 1, vec![7; 200]).unwrap()).unwrap();
    pair.settle();
    pair.client.leave_room(&room).unwrap();
    pair.settle();
    for _ in 0..2 {
        let (at, _) = pair.client.poll_timeout().expect("a heartbeat");
        pair.now = at;
        pair.client.handle_timeout(at);
        pair.settle();
    }
    let Pair { client, server: connection, .. } = pair;
    let heap = measure(|| drop(connection)).bytes_current.unsigned_abs() as usize;
    drop(client);
    let all = size_of::<Connection<Server>>() + heap;
    println!("{all} bytes, {heap} of them allocated");
    assert!(all <= 2048, "{all} bytes, {heap} of them allocated");
}
