//! The session of this project: sealed, the default format, handshake and window.

use std::collections::VecDeque;
use std::sync::Arc;

use im_proto::{
    Client, ClientConfig, ClientEvent, Connection, Conversation, Entry, FeedItem, Message, PacketId, Server,
    ServerConfig, ServerEvent,
};
use im_sim::{Pair, configs, entropy};

use crate::{CONTENT, Contender, WINDOW};

/// Both ends, and the bytes between them.
struct Ends {
    pair: Pair,
    up: Vec<u8>,
    down: Vec<u8>,
}

impl Ends {
    fn new(receive_max: u32) -> Self {
        let (mut client, server) = configs();
        client.receive_max = receive_max;
        Self { pair: Pair::online(client, server), up: Vec::new(), down: Vec::new() }
    }

    fn client_to_server(&mut self, mut event: impl FnMut(&mut Connection<Server>, ServerEvent)) {
        let Pair { now, client, server, .. } = &mut self.pair;
        while client.poll_transmit(*now, &mut self.up, usize::MAX).is_some() {}
        let mut at = 0;
        while let Some(rest) = self.up.get_mut(at..) {
            let taken = server.handle_input(*now, rest);
            at += taken;
            while let Some(told) = server.poll_event() {
                event(server, told);
            }
            if taken == 0 {
                break;
            }
        }
        assert_eq!(at, self.up.len());
        self.up.clear();
    }

    fn server_to_client(&mut self, mut event: impl FnMut(&mut Connection<Client>, ClientEvent)) {
        let Pair { now, client, server, .. } = &mut self.pair;
        while server.poll_transmit(*now, &mut self.down, usize::MAX).is_some() {}
        let mut at = 0;
        while let Some(rest) = self.down.get_mut(at..) {
            let taken = client.handle_input(*now, rest);
            at += taken;
            while let Some(told) = client.poll_event() {
                event(client, told);
            }
            if taken == 0 {
                break;
            }
        }
        assert_eq!(at, self.down.len());
        self.down.clear();
    }
}

/// A client sends, the server stores and says so.
pub(crate) struct Up {
    ends: Ends,
    to: Conversation,
    content: Vec<u8>,
    seq: u64,
    submitted: VecDeque<PacketId>,
}

impl Up {
    pub(crate) fn new() -> Self {
        let to = Conversation::private("bob");
        Self { ends: Ends::new(0), to, content: vec![b'x'; CONTENT], seq: 0, submitted: VecDeque::new() }
    }
}

impl Contender for Up {
    fn batch(&mut self) {
        let Self { ends, to, content, seq, submitted } = self;
        for _ in 0..WINDOW {
            let message = Message { to: to.clone(), content_type: 1, content: content.clone() };
            ends.pair.client.send(ends.pair.now, message).expect("room");
        }
        ends.client_to_server(|_, event| {
            if let ServerEvent::Message(message) = event {
                submitted.push_back(message.packet_id);
            }
        });
        for packet_id in submitted.drain(..) {
            *seq += 1;
            ends.pair.server.stored(packet_id, to, 1 << 40 | *seq, *seq, 1_700_000_000_000, false).expect("it was asked");
        }
        let mut stored = 0;
        ends.server_to_client(|_, event| stored += usize::from(matches!(event, ClientEvent::Stored { .. })));
        assert_eq!(stored, WINDOW);
    }
}

/// A server delivers from its log, the client acks.
pub(crate) struct Down {
    ends: Ends,
    from: Conversation,
    content: Vec<u8>,
    seq: u64,
}

impl Down {
    pub(crate) fn new() -> Self {
        Self { ends: Ends::new(256), from: Conversation::private("bob"), content: vec![b'x'; CONTENT], seq: 0 }
    }
}

impl Contender for Down {
    fn batch(&mut self) {
        let Self { ends, from, content, seq } = self;
        let server = &mut ends.pair.server;
        server.notify(from, *seq + WINDOW as u64);
        while let Some(event) = server.poll_event() {
            let ServerEvent::Fetch { conversation, max_messages, .. } = event else { continue };
            assert!(max_messages >= WINDOW);
            let item = |n: u64| FeedItem {
                seq: *seq + n,
                message_id: 1 << 40 | (*seq + n),
                time_ms: 1_700_000_000_000,
                from: "bob".into(),
                own: false,
                entry: Entry::Message { content_type: 1, content: content.clone() },
            };
            let items = (1..=WINDOW as u64).map(item).collect();
            server.fetched(&conversation, *seq, items).expect("it was asked");
        }
        let mut delivered = 0;
        ends.server_to_client(|client, event| {
            if let ClientEvent::Message(delivery) = event {
                delivered += 1;
                client.ack(delivery.token);
            }
        });
        assert_eq!(delivered, WINDOW);
        *seq += WINDOW as u64;
        ends.client_to_server(|_, _| ());
        assert_eq!(ends.pair.server.unacked(), 0);
    }
}

/// Bytes that each end of a connection holds when nothing is under way, after messages both ways and a heartbeat: the server's
/// and the client's. What connections share, the configuration, is not in it.
pub(crate) fn idle() -> (u64, u64) {
    let (client_config, server_config) = configs();
    let server_config = Arc::new(server_config);
    let mut kept = None;
    let both = allocation_counter::measure(|| kept = Some(rested(&client_config, &server_config)));
    let Some((client, server)) = kept else { return (0, 0) };
    let freed = allocation_counter::measure(|| drop(client));
    let client = freed.bytes_current.unsigned_abs();
    let server_heap = both.bytes_current.unsigned_abs() - client;
    drop(server);
    (size_of::<Connection<Server>>() as u64 + server_heap, size_of::<Connection<Client>>() as u64 + client)
}

fn rested(client: &ClientConfig, server: &Arc<ServerConfig>) -> (Connection<Client>, Connection<Server>) {
    let mut pair = Pair::new(client.clone(), configs().1);
    pair.server = Connection::server(Arc::clone(server), entropy(2), pair.now).expect("a valid configuration");
    pair.login();
    let mut ends = Ends { pair, up: Vec::new(), down: Vec::new() };
    let mut up = Up { to: Conversation::private("bob"), content: vec![b'x'; CONTENT], ends, seq: 0, submitted: VecDeque::new() };
    up.batch();
    ends = up.ends;
    let mut down = Down { ends, from: Conversation::private("bob"), content: vec![b'x'; CONTENT], seq: WINDOW as u64 };
    down.batch();
    ends = down.ends;
    // A heartbeat goes by.
    let (at, _) = ends.pair.client.poll_timeout().expect("a heartbeat");
    ends.pair.now = at;
    ends.pair.client.handle_timeout(at);
    ends.client_to_server(|_, _| ());
    ends.server_to_client(|_, _| ());
    let Pair { client, server, .. } = ends.pair;
    (client, server)
}
