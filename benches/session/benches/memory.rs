//! Allocations for each message, and what an idle connection holds: `cargo bench -p im-session-benches --bench memory`.

mod contenders;

use std::sync::Arc;

use allocation_counter::measure;
use contenders::{CONTENDERS, WINDOW};
use im_proto::{
    Client, ClientConfig, Connection, Conversation, Entry, FeedItem, Message, Server, ServerConfig, ServerEvent,
};
use im_sim::{Pair, configs, entropy};

fn main() {
    const BATCHES: usize = 16;
    println!("| messages of {} bytes | allocations each | bytes allocated each |\n|---|---|---|", contenders::CONTENT);
    for (name, make) in CONTENDERS {
        let mut contender = make();
        for _ in 0..64 {
            contender.batch();
        }
        let counted = measure(|| {
            for _ in 0..BATCHES {
                contender.batch();
            }
        });
        let each = |n: u64| n as f64 / (BATCHES * WINDOW) as f64;
        println!("| {name} | {:.2} | {:.0} |", each(counted.count_total), each(counted.bytes_total));
    }
    println!("\n| an idle connection | inline | allocated | bytes |\n|---|---|---|---|");
    let (client, server) = configs();
    let server = Arc::new(server);
    let (client, server) = rested(&client, &server);
    let client_heap = measure(|| drop(client)).bytes_current.unsigned_abs();
    let server_heap = measure(|| drop(server)).bytes_current.unsigned_abs();
    for (name, inline, heap) in [
        ("im-proto, server", size_of::<Connection<Server>>() as u64, server_heap),
        ("im-proto, client", size_of::<Connection<Client>>() as u64, client_heap),
    ] {
        println!("| {name} | {inline} | {heap} | {} |", inline + heap);
    }
}

/// Both ends after messages both ways and a heartbeat. What connections share, the configuration, is made before.
fn rested(client: &ClientConfig, server: &Arc<ServerConfig>) -> (Connection<Client>, Connection<Server>) {
    let bob = Conversation::private("bob");
    let mut pair = Pair::new(client.clone(), configs().1);
    pair.server = Connection::server(Arc::clone(server), entropy(2), pair.now).expect("a valid configuration");
    pair.login();
    for seq in 1..=WINDOW as u64 {
        pair.client.send(pair.now, Message::text("bob", "a message to bob")).expect("room");
        pair.settle();
        let submitted = |event| if let ServerEvent::Message(message) = event { Some(message.packet_id) } else { None };
        let Some(id) = pair.server_events.drain(..).find_map(submitted) else { continue };
        pair.server.stored(id, &bob, seq, seq, 0, false).expect("it was asked");
        pair.settle();
    }
    let head = WINDOW as u64 + 5;
    pair.server.notify(&bob, head);
    pair.settle();
    for event in std::mem::take(&mut pair.server_events) {
        if let ServerEvent::Fetch { conversation, .. } = event {
            let item = |seq| FeedItem {
                seq,
                message_id: seq,
                time_ms: 0,
                from: "bob".into(),
                own: false,
                entry: Entry::text("hi"),
            };
            pair.server.fetched(&conversation, 0, (1..=head).map(item).collect()).expect("it was asked");
        }
    }
    pair.settle();
    for event in std::mem::take(&mut pair.client_events) {
        if let im_proto::ClientEvent::Message(delivery) = event {
            pair.client.ack(delivery.token);
        }
    }
    pair.settle();
    assert_eq!(pair.server.unacked(), 0);
    // A heartbeat goes by.
    let (at, _) = pair.client.poll_timeout().expect("a heartbeat");
    pair.now = at;
    pair.client.handle_timeout(at);
    pair.settle();
    let Pair { client, server, .. } = pair;
    (client, server)
}
