//! A sealed 128-byte message from client to server and its `stored` back, both ends in memory, beside a handshake:
//! `cargo bench -p im-benches --bench session`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use im_proto::{Conversation, Message, ServerEvent};
use im_sim::{Pair, configs};

fn session(c: &mut Criterion) {
    let mut group = c.benchmark_group("session");
    group.throughput(Throughput::Elements(1));
    let bob = Conversation::private("bob");
    let text = "x".repeat(128);
    let (mut pair, mut seq) = (online(), 0u64);
    group.bench_function("acked message", |b| {
        b.iter(|| {
            if seq % 100_000 == 99_999 {
                // Before the keys are worn.
                pair = online();
            }
            seq += 1;
            pair.client.send(pair.now, Message::text("bob", &text)).expect("room");
            pair.transmit();
            pair.receive();
            for event in pair.server_events.drain(..) {
                if let ServerEvent::Message(message) = event {
                    pair.server.stored(message.packet_id, &bob, seq, seq, 0, false).expect("asked");
                }
            }
            pair.transmit();
            pair.receive();
            assert_eq!(pair.client_events.drain(..).count(), 1);
        });
    });
    group.bench_function("handshake and login", |b| b.iter(online));
    group.finish();
}

/// A client that takes no deliveries, logged in.
fn online() -> Pair {
    let (mut client, server) = configs();
    client.receive_max = 0;
    let mut pair = Pair::new(client, server);
    pair.login();
    pair.client_events.clear();
    pair.server_events.clear();
    pair
}

criterion_group!(benches, session);
criterion_main!(benches);
