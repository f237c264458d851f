//! Answers of a server to a client, and third messages to a server.

use im_crypto::{Accepted, ClientWait, HandshakeError, HandshakeId, Replied};

use super::input::Input;
use super::world::{HANDSHAKES, SUITES, World, blames_the_peer, is_xx};

/// Any bytes, or a changed message, in the place of HELLO_REPLY, of RETRY and of the third message. Only the message that the other
/// side sent completes a handshake.
pub fn reply(data: &[u8]) {
    let mut input = Input(data);
    let mut world = World::from_input(input.byte(), 0);
    let [kind, place] = input.step().unwrap_or_default();
    let id = HANDSHAKES[usize::from(kind % 8)];
    world.demand = place % 3 == 1;
    let (header, hello, wait) = World::write(world.start(id, &SUITES, 0));
    let (accepted, genuine) = world.accept(&header, &hello);
    let accepted = accepted.expect("an honest HELLO");
    match place % 3 {
        0 => {
            let mut bytes = message(kind, input, &genuine);
            let same = bytes == genuine;
            let replied = wait.finish(&mut bytes);
            check(same, replied.map(|replied| assert_eq!(matches!(replied, Replied::Finish(_)), is_xx(id))));
        }
        1 => {
            let bytes = message(kind, input, &genuine);
            assert!(matches!(accepted, Accepted::Retry));
            retry(&mut world, wait, &bytes, bytes == genuine);
        }
        _ => {
            let Accepted::Wait(server) = accepted else { return };
            let mut reply = genuine;
            let Ok(Replied::Finish(client)) = wait.finish(&mut reply) else { panic!("an honest reply") };
            assert_eq!(client.server_key(), world.fixed.keys[0].public());
            let mut third = Vec::new();
            client.write(&mut third).expect("its own message");
            let mut bytes = message(kind, input, &third);
            let same = bytes == third;
            let key = server.finish(&mut bytes).map(|server| server.peer_key);
            check(same, key.map(|key| assert_eq!(key, Some(world.fixed.client_key.public()))));
        }
    }
}

/// The genuine message with changes, or what the input says instead.
fn message(kind: u8, mut input: Input<'_>, genuine: &[u8]) -> Vec<u8> {
    if kind >= 128 {
        return input.rest().to_vec();
    }
    let mut bytes = genuine.to_vec();
    input.edit(&mut bytes);
    bytes
}

fn check(same: bool, result: Result<(), HandshakeError>) {
    assert_eq!(result.is_ok(), same, "{result:?}");
    if let Err(error) = result {
        blames_the_peer(error);
    }
}

/// Follows a RETRY as far as it goes.
fn retry(world: &mut World<'_>, wait: ClientWait, bytes: &[u8], same: bool) {
    let entropy = world.entropy();
    let start = match wait.retry(bytes, entropy) {
        Ok(start) => start,
        Err(error) => {
            assert!(!same, "{error}");
            return blames_the_peer(error);
        }
    };
    let id: HandshakeId = start.handshake();
    let (header, hello, wait) = World::write(start);
    let (accepted, mut answer) = world.accept(&header, &hello);
    assert_eq!(accepted.is_ok(), same, "{accepted:?}");
    match accepted {
        Ok(Accepted::Established(_)) => assert!(wait.finish(&mut answer).is_ok()),
        Ok(Accepted::Wait(_)) => assert!(is_xx(id) && wait.finish(&mut answer).is_ok()),
        Ok(Accepted::Retry) => panic!("a second RETRY"),
        // The answer to the first HELLO is no answer to the second one.
        Err(_) => {
            let refused = wait.retry(bytes, world.entropy()).map(|_| ());
            assert_eq!(refused, Err(HandshakeError::SecondRetry));
        }
    }
}

/// Each message of each handshake: as it is, with one change; and raw bytes.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![vec![0, 128, 0, 1, 2, 3], vec![0, 128, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]];
    for kind in 0..8 {
        for place in 0..3 {
            if place < 2 || is_xx(HANDSHAKES[usize::from(kind)]) {
                seeds.push(vec![kind, kind, place]);
                seeds.push(vec![0, kind, place, 0, 0, 9, 1]);
            }
        }
    }
    seeds
}
