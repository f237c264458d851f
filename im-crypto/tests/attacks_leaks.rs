//! What refusals and log lines tell, by the numbers of `docs/spec/attacks.md`.
#![cfg(all(feature = "pq", feature = "pop"))]

mod common;

use std::collections::BTreeSet;

use common::{
    entropy, hello_header, hex,
    world::{HANDSHAKES, World},
};
use im_crypto::{DeviceKey, HandshakeId, RUSTCRYPTO, Replied, ServerContext, StaticKey, TlsExporter, UsedTickets};

use HandshakeId as Id;

/// A server that refuses says nothing at all, whatever the cause.
#[test]
fn attack_31_no_bytes_tell_the_cause() {
    let world = World::new();
    let start = world.start(Id::NK);
    let (header, mut hello) = (hello_header(start.body_len()), Vec::new());
    start.write(&header, &mut hello).unwrap();
    let mut causes = BTreeSet::new();
    for at in 0..hello.len() {
        let mut world = World { sends_retries: false, ..World::new() };
        let server = world.server(&[Id::NK]);
        let mut changed = hello.clone();
        changed[at] ^= 0x81;
        // The helper asserts that nothing was written.
        let (accepted, answer) = world.accept(&server, &header, &changed);
        causes.insert(accepted.unwrap_err().to_string());
        assert_eq!(answer, []);
    }
    assert!(causes.len() > 5, "{causes:?}");
}

/// Nothing that can be printed shows a byte of a secret.
#[test]
fn attack_32_debug_output() {
    let mut texts = Vec::new();
    let mut world = World { client_tls: Some(TlsExporter::new([0xc7; 32])), ..World::new() };
    world.server_tls = world.client_tls;
    for id in HANDSHAKES {
        world.used = UsedTickets::new(10);
        let start = world.start(id);
        texts.push(format!("{start:?}"));
        let (header, mut hello) = (hello_header(start.body_len()), Vec::new());
        let wait = start.write(&header, &mut hello).unwrap();
        let server = world.server(&HANDSHAKES);
        texts.push(format!("{wait:?} {server:?} {:?}", server.start(entropy(1))));
        let (accepted, mut reply) = world.accept(&server, &header, &hello);
        texts.push(format!("{accepted:?}"));
        let replied = wait.finish(&mut reply).unwrap();
        texts.push(format!("{replied:?}"));
        if let Replied::Established(client) = replied {
            texts.push(format!("{client:?} {:?}", client.resumption));
        }
    }
    let (_, ticket) = world.ticket(3600);
    let device = DeviceKey::from_bytes(&[0xc7; 32]);
    texts.push(format!("{ticket:?} {:?} {:?} {:?}", world.tickets, world.cookies, world.client_tls));
    texts.push(format!("{device:?} {:?} {:?}", device.prove(&[0; 32], b"token"), World::identity()));
    texts.push(format!("{:?}", StaticKey::from_bytes([0xc7; 32], &RUSTCRYPTO).unwrap()));
    texts.push(format!("{:?}", ServerContext::new(&world.keys)));
    let public: Vec<String> =
        [world.keys[0].public(), world.client_key.public()].iter().map(ToString::to_string).collect();
    let public = [
        public,
        vec![
            hex(device.public().as_bytes()),
            StaticKey::from_bytes([0xc7; 32], &RUSTCRYPTO).unwrap().public().to_string(),
        ],
    ]
    .concat();
    for mut text in texts {
        public.iter().for_each(|key| text = text.replace(key, ""));
        assert!(!text.contains("c7c7") && !text.contains("199, 199") && !text.contains("alice"), "{text}");
        let digits = text.split(|c: char| !c.is_ascii_hexdigit()).map(str::len).max();
        assert!(digits.unwrap_or(0) < 16, "{text}");
        let run =
            text.split(|c: char| !c.is_ascii_digit() && c != ',' && c != ' ').map(|part| part.matches(',').count());
        assert!(run.max().unwrap_or(0) < 4, "{text}");
    }
}
