//! Every handshake, a resumption and a RETRY with fixed entropy, byte for byte as in `docs/spec/vectors/handshake.json`.
//! After a meant change: `UPDATE_VECTORS=1 cargo test -p im-crypto --all-features --test golden_handshake`.
#![cfg(feature = "pq")]

mod common;

use std::sync::Arc;

use common::{
    world::{HANDSHAKES, Message, World},
    *,
};
use im_crypto::{
    ClientTicket, CookieKeys, Entropy, HandshakeId, Padding, RUSTCRYPTO, ServerKey, StaticKey, TicketKeys,
};
use serde::{Deserialize, Serialize};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/spec/vectors/handshake.json");

/// One handshake. Everything that is not a number is hex; each entropy is 32 times the byte given.
#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Golden {
    name: String,
    handshake: u8,
    server_static_byte: u8,
    client_static_byte: u8,
    /// Entropy of the client's first HELLO, its second one, and the server's reply.
    client_byte: u8,
    client_second_byte: u8,
    server_byte: u8,
    ticket_key_byte: u8,
    cookie_key_byte: u8,
    address: String,
    now: u64,
    /// The resumption's psk, empty in a full handshake.
    psk: String,
    messages: Vec<Bytes>,
    handshake_hash: String,
    /// Inner type 1, payload "up", no padding: header, then body.
    client_record: String,
    /// Inner type 2, payload "down", no padding: header, then body.
    server_record: String,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Bytes {
    what: String,
    header: String,
    body: String,
}

fn fixed(byte: u8) -> Entropy {
    Entropy::from_rng(&mut FixedRng(byte)).unwrap()
}

fn golden(id: HandshakeId, demand: bool) -> Golden {
    let mut world = World { demand, fixed_entropy: true, ..World::new() };
    world.keys = vec![ServerKey::generate(&RUSTCRYPTO, fixed(0x51)).unwrap()];
    world.client_key = Arc::new(StaticKey::generate(&RUSTCRYPTO, fixed(0xc5)).unwrap());
    world.tickets = TicketKeys::new(&RUSTCRYPTO, fixed(0x71)).unwrap();
    world.cookies = CookieKeys::new(fixed(0x72), 30);
    let mut psk = Vec::new();
    let start = if id.is_resumption() {
        let client = world.client(&[if id.is_post_quantum() { HandshakeId::NK_HFS } else { HandshakeId::NK }, id]);
        world.ticket(3600).1.write_to(&mut psk);
        let ticket = ClientTicket::from_bytes(&psk).unwrap();
        psk.truncate(32);
        world.resume(&client, ticket)
    } else {
        world.start(id)
    };
    let server = world.server(&HANDSHAKES);
    let mut headers = Vec::new();
    let mut session = world.run_with(&server, start, |_, header, _| headers.push(*header)).unwrap();
    let (client_header, client_body) = packet(&mut session.client.sealer, 1, b"up", Padding::None);
    let (server_header, server_body) = packet(&mut session.server.sealer, 2, b"down", Padding::None);
    let messages = session.wire.iter().zip(headers).map(|((message, body), header)| {
        let hello = [Message::Hello, Message::SecondHello].contains(message);
        Bytes {
            what: format!("{message:?}").to_lowercase(),
            header: if hello { hex(&header) } else { String::new() },
            body: hex(body),
        }
    });
    Golden {
        name: format!("{}{}", id.name().unwrap(), if demand { " after a retry" } else { "" }),
        handshake: id.0,
        server_static_byte: 0x51,
        client_static_byte: 0xc5,
        client_byte: 0xc1,
        client_second_byte: 0xc2,
        server_byte: 0x5e,
        ticket_key_byte: 0x71,
        cookie_key_byte: 0x72,
        address: hex(&world.address),
        now: world.now,
        psk: hex(&psk),
        messages: messages.collect(),
        handshake_hash: hex(&session.client.handshake_hash),
        client_record: hex(&client_header) + &hex(&client_body),
        server_record: hex(&server_header) + &hex(&server_body),
    }
}

#[test]
fn golden_handshakes() {
    let mut actual: Vec<Golden> = HANDSHAKES.iter().map(|id| golden(*id, false)).collect();
    actual.extend([HandshakeId::NK, HandshakeId::NK_HFS, HandshakeId::NN_PSK0].map(|id| golden(id, true)));
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        let mut text = serde_json::to_string_pretty(&actual).unwrap();
        text.push('\n');
        #[expect(clippy::disallowed_methods, reason = "the one test that writes the vectors")]
        std::fs::write(PATH, text).unwrap();
    }
    #[expect(clippy::disallowed_methods, reason = "the vectors are a file of the specification")]
    let read = std::fs::read(PATH).unwrap();
    let expected: Vec<Golden> = serde_json::from_slice(&read).unwrap();
    for (actual, expected) in actual.iter().zip(&expected) {
        assert_eq!(actual, expected, "{}", actual.name);
    }
    assert_eq!(actual.len(), expected.len());
}
