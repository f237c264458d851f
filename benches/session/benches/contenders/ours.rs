//! The session of this project: sealed, the default format, handshake and window.

use std::collections::VecDeque;

use im_proto::{
    Client, ClientEvent, Connection, Conversation, CryptoProvider, Entry, FeedItem, Message, PacketId, Server,
    ServerConfig, ServerEvent, ServerKey,
};
use im_sim::{Pair, configs};

use super::{CONTENT, Contender, WINDOW};

/// Both ends, and the bytes between them.
struct Ends {
    pair: Pair,
    up: Vec<u8>,
    down: Vec<u8>,
}

impl Ends {
    fn new(provider: &'static CryptoProvider, receive_max: u32) -> Self {
        let mut client = configs().0;
        client.provider = provider;
        client.receive_max = receive_max;
        let key = ServerKey::from_bytes([7; 32], provider).expect("a valid key");
        let server = ServerConfig::new(provider, key);
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
    pub(crate) fn new(provider: &'static CryptoProvider) -> Self {
        let to = Conversation::private("bob");
        Self { ends: Ends::new(provider, 0), to, content: vec![b'x'; CONTENT], seq: 0, submitted: VecDeque::new() }
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
            ends.pair
                .server
                .stored(packet_id, to, 1 << 40 | *seq, *seq, 1_700_000_000_000, false)
                .expect("it was asked");
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
    pub(crate) fn new(provider: &'static CryptoProvider) -> Self {
        Self {
            ends: Ends::new(provider, 256),
            from: Conversation::private("bob"),
            content: vec![b'x'; CONTENT],
            seq: 0,
        }
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
