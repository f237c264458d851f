//! Sessions: an attacker between two ends edits, drops, repeats and adds bytes.

use std::time::Duration;

use im_proto::{ClientEvent, Conversation, Message, Request, ServerEvent, State, StreamId, Submission};
use im_sim::{Pair, configs};

/// Four bytes are a step of the attacker or of an end. Nobody panics, no byte is delivered that was not sent, and both
/// ends end.
pub fn session(data: &[u8]) {
    let (client, server) = configs();
    let mut pair = Pair::new(client, server);
    let mut ops = data.chunks(4);
    for op in &mut ops {
        let at = usize::from(op.get(1).copied().unwrap_or(0)) * 2;
        let value = op.get(2).copied().unwrap_or(0);
        let up = op.get(3).copied().unwrap_or(0).is_multiple_of(2);
        let wire = if up { &mut pair.to_server } else { &mut pair.to_client };
        match op[0] % 10 {
            0 => pair.transmit(),
            1 => pair.receive(),
            2 => {
                if let Some(byte) = wire.get_mut(at) {
                    *byte ^= value;
                }
            }
            3 => wire.truncate(at),
            4 => wire.extend_from_within(at.min(wire.len())..),
            5 => wire.insert(at.min(wire.len()), value),
            6 => {
                let _ = pair.client.send(pair.now, Message::text("bob", "genuine"));
            }
            7 => {
                let _ = pair.server.accept_login(pair.now, "alice", 0);
                let _ = pair.server.unread(&[], true);
            }
            8 => {
                let _ = pair.client.join_room(&Conversation::room("show"));
                let _ = pair.client.request(pair.now, &Request::new("m", b"genuine".into(), Duration::from_secs(1)));
                if let Ok(stream) = pair.client.open_stream(&Conversation::private("bob"), 1) {
                    let _ = pair.client.extend_stream(stream, b"genuine");
                }
            }
            _ => {
                let _ = pair.server.open_stream(StreamId(1), &Conversation::private("bob"), "bob", 1);
                let _ = pair.server.extend_stream(StreamId(1), b"genuine");
                let _ = pair.server.request(pair.now, &Request::new("m", b"genuine".into(), Duration::from_secs(1)));
            }
        }
    }
    pair.receive();
    for event in &pair.server_events {
        if let ServerEvent::Message(Submission { content, .. })
        | ServerEvent::Request { request: Request { content, .. }, .. }
        | ServerEvent::StreamDelta { content, .. } = event
        {
            assert_eq!(content, b"genuine");
        }
    }
    for event in &pair.client_events {
        assert!(!matches!(event, ClientEvent::Message(_) | ClientEvent::RoomMessage { .. }), "nobody sent one");
    }
    pair.server.handle_eof(pair.now);
    pair.client.handle_eof(pair.now);
    assert_eq!((pair.client.state(), pair.server.state()), (State::Offline, State::Closed));
}

/// An honest login with a message, a stream and a request each way, and the same with each kind of damage behind it.
pub fn seeds() -> Vec<Vec<u8>> {
    let honest = [0, 1, 0, 1, 7, 0, 1, 6, 8, 9, 0].map(|op| [op, 0, 0, 0]);
    let mut seeds = vec![honest.concat()];
    for damage in 2..6 {
        for up in 0..2 {
            let mut steps = honest.to_vec();
            steps.extend([[damage, 10, 1, up], [1, 0, 0, 0]]);
            seeds.push(steps.concat());
        }
    }
    seeds
}
