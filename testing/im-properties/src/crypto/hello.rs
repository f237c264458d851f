//! HELLOs to a server.

use im_crypto::Accepted;

use super::input::Input;
use super::world::{HANDSHAKES, SUITES, World, is_xx};

/// Any bytes, or a changed HELLO of any handshake: a typed error without a byte of answer, or an answer. Never a session for a HELLO
/// that was changed, where the handshake authenticates it at once.
pub fn hello(data: &[u8]) {
    let mut input = Input(data);
    let mut world = World::from_input(input.byte(), input.byte());
    let kind = input.byte();
    if kind >= 128 {
        // Other lengths of the header are the caller's fault, and no panic either.
        let length = usize::from(kind - 128).min(32);
        let (header, body) = data.get(3..).unwrap_or_default().split_at_checked(length).unwrap_or_default();
        let _ = world.accept(header, body);
        return;
    }
    let id = HANDSHAKES[usize::from(kind % 8)];
    let (header, body, _) = World::write(world.start(id, &SUITES, 0));
    let genuine = [header.as_slice(), &body].concat();
    let mut changed = genuine.clone();
    input.edit(&mut changed);
    let (header, body) = changed.split_at(24.min(changed.len()));
    match world.accept(header, body).0 {
        Ok(Accepted::Established(server)) => assert!(changed == genuine && server.handshake == id),
        // XX has no key in its first message; there the client finds out.
        Ok(Accepted::Wait(_)) => assert!(is_xx(id) || changed != genuine),
        Ok(Accepted::Retry) => assert!(world.sends_retries),
        Err(error) => assert!(changed != genuine, "{error}"),
    }
}

/// The HELLO of each handshake: as it is, with one change, as raw bytes.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (kind, id) in (0..).zip(HANDSHAKES) {
        for seed in [0, 7] {
            seeds.push(vec![seed, 0, kind]);
        }
        seeds.push(vec![0, 4, kind, 0, 0, 40, 1]);
        let (header, body, _) = World::write(World::from_input(0, 0).start(id, &SUITES, 0));
        seeds.push([&[0, 0, 128 + 24], header.as_slice(), &body].concat());
    }
    seeds.push(vec![0, 2, 0]);
    seeds
}
