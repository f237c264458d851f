//! The transcripts of `docs/spec/vectors/handshake.json`, made by any provider.

use std::sync::Arc;

use im_crypto::{ClientTicket, CookieKeys, CryptoProvider, Entropy, HandshakeId, ServerKey, StaticKey, TicketKeys};
use serde::{Deserialize, Serialize};

use super::{
    FixedRng, Padding, hex, packet,
    world::{HANDSHAKES, Message, World},
};

/// One handshake. Everything that is not a number is hex; each entropy is 32 times the byte given.
#[derive(Serialize, Deserialize, PartialEq, Debug)]
pub(crate) struct Golden {
    pub(crate) name: String,
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

fn golden(provider: &'static CryptoProvider, id: HandshakeId, demand: bool) -> Golden {
    let mut world = World { demand, fixed_entropy: true, ..World::between(provider, provider) };
    world.keys = vec![ServerKey::generate(provider, fixed(0x51)).unwrap()];
    world.client_key = Arc::new(StaticKey::generate(provider, fixed(0xc5)).unwrap());
    world.tickets = TicketKeys::new(provider, fixed(0x71)).unwrap();
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

/// Every handshake, and three of them after a RETRY, with one provider on both sides.
pub(crate) fn transcripts(provider: &'static CryptoProvider) -> Vec<Golden> {
    let mut transcripts: Vec<Golden> = HANDSHAKES.iter().map(|id| golden(provider, *id, false)).collect();
    let retried = [HandshakeId::NK, HandshakeId::NK_HFS, HandshakeId::NN_PSK0];
    transcripts.extend(retried.map(|id| golden(provider, id, true)));
    transcripts
}
