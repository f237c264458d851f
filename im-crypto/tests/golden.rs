//! Whole sessions with fixed keys, byte for byte as in `vectors/golden-nk.json`: what is on the wire must not change by accident.
#![cfg(feature = "rustcrypto")]

mod common;

use common::*;
use im_crypto::{Client, Entropy, Offer, Padding, RUSTCRYPTO, Server, ServerContext, ServerKey, ServerPolicy, SuiteId};
use serde::{Deserialize, Serialize};

/// One session. The secret keys are 32 times the byte given; everything else is hex.
#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Golden {
    suite: u8,
    server_static_byte: u8,
    client_ephemeral_byte: u8,
    server_ephemeral_byte: u8,
    server_public: String,
    header: String,
    hello: String,
    reply: String,
    handshake_hash: String,
    /// Inner type 1, payload "ping", no padding: header, then body.
    client_record: String,
    /// Inner type 2, payload "pong", padded to 64: header, then body.
    server_record: String,
}

fn session(suite: u8) -> Golden {
    let entropy = |byte| Entropy::from_rng(&mut FixedRng(byte)).unwrap();
    let key = ServerKey::generate(&RUSTCRYPTO, entropy(0x51)).unwrap();
    let offer = Offer { suites: vec![SuiteId(suite), SuiteId(17)], formats: vec![16, 2], max_body: 65_536 };
    let offer = if suite == 17 { Offer { suites: vec![SuiteId(17)], ..offer } } else { offer };
    let client = Client::new(&RUSTCRYPTO, client_policy(offer), &[key.public()]).unwrap();
    let start = client.start(entropy(0xc1)).unwrap();
    let header = hello_header(start.body_len());
    let (mut hello, mut reply) = (Vec::new(), Vec::new());
    let wait = start.write(&header, &mut hello).unwrap();
    let policy = ServerPolicy { formats: vec![2], max_body: 1 << 20, ..policy(&[SuiteId(suite)]) };
    let mut context = ServerContext::new(std::slice::from_ref(&key));
    let server = Server::new(&RUSTCRYPTO, policy).unwrap().start(entropy(0x5e));
    let mut server = established(server.accept(&mut context, &header, &mut hello.clone(), &mut reply).unwrap());
    let mut client = finish(wait, &mut reply.clone()).unwrap();
    let (client_header, client_body) = packet(&mut client.sealer, 1, b"ping", Padding::None);
    let (server_header, server_body) = packet(&mut server.sealer, 2, b"pong", Padding::Block(64.try_into().unwrap()));
    Golden {
        suite,
        server_static_byte: 0x51,
        client_ephemeral_byte: 0xc1,
        server_ephemeral_byte: 0x5e,
        server_public: key.public().to_string(),
        header: hex(&header),
        hello: hex(&hello),
        reply: hex(&reply),
        handshake_hash: hex(&client.handshake_hash),
        client_record: hex(&client_header) + &hex(&client_body),
        server_record: hex(&server_header) + &hex(&server_body),
    }
}

#[test]
fn golden_sessions() {
    let actual = [16, 17, 18].map(session);
    let expected: Vec<Golden> = serde_json::from_str(include_str!("vectors/golden-nk.json")).unwrap();
    assert_eq!(actual.as_slice(), expected, "now: {}", serde_json::to_string_pretty(&actual).unwrap());
}
