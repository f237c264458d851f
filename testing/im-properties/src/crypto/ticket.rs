//! Tickets, proofs of possession and signed logins.

use std::time::Duration;

use im_crypto::{
    Accepted, AppSecret, ClientTicket, DeviceKey, DevicePublicKey, HandshakeId, LoginAlgorithm, LoginClaim,
    LoginVerifier, Proof,
};

use super::input::Input;
use super::world::{SUITES, USERS, World};

/// Any bytes, or changed ones, as what a client stored, as a ticket in a HELLO, as a proof, as a login: nothing is accepted but
/// what was made by whoever holds the key.
pub fn ticket(data: &[u8]) {
    let mut input = Input(data);
    let mut world = World::from_input(input.byte(), input.byte());
    let kind = input.byte();
    match kind % 4 {
        0 => resume(&mut world, kind, input),
        1 => prove(kind, input),
        2 => device_key(input),
        _ => login(input),
    }
}

/// The part that is chosen by the high bits of the kind: bytes of the input, or genuine ones that it changes.
fn bytes(kind: u8, mut input: Input<'_>, genuine: &[u8]) -> Vec<u8> {
    if kind >= 128 {
        return input.rest().to_vec();
    }
    let mut bytes = genuine.to_vec();
    input.edit(&mut bytes);
    bytes
}

fn resume(world: &mut World<'_>, kind: u8, input: Input<'_>) {
    world.demand = false;
    let id = if kind & 4 == 0 { HandshakeId::NN_PSK0 } else { HandshakeId::NN_PSK0_HFS };
    let stored = bytes(kind, input, &world.fixed.stored[0]);
    let known = world.fixed.stored.iter().position(|genuine| *genuine == stored);
    if let Ok(ticket) = ClientTicket::from_bytes(&stored) {
        let mut again = Vec::new();
        ticket.write_to(&mut again);
        assert_eq!(again, stored);
    } else {
        assert!(stored.len() < 33 || stored.len() > 32 + im_crypto::MAX_TICKET);
    }
    let Ok(start) = world.start_with(id, &SUITES, &stored) else { return };
    let (header, hello, _) = World::write(start);
    match world.accept(&header, &hello).0 {
        Ok(Accepted::Established(server)) => {
            let user = USERS[known.expect("only a genuine ticket resumes")];
            assert_eq!(server.ticket.expect("the claims").identity.user, user);
            assert!(!matches!(world.accept(&header, &hello).0, Ok(Accepted::Established(_))), "once");
        }
        Ok(Accepted::Wait(_)) => panic!("a resumption has two messages"),
        Ok(Accepted::Retry) | Err(_) => assert_eq!(known, None),
    }
}

fn prove(kind: u8, input: Input<'_>) {
    let device = DeviceKey::from_bytes(&[5; 32]);
    // Handshake hash, proof, token.
    let genuine = [&[9; 32], device.prove(&[9; 32], b"token").0.as_slice(), b"token"].concat();
    let bytes = bytes(kind, input, &genuine);
    let Some((hash, rest)) = bytes.split_first_chunk::<32>() else { return };
    let Some((proof, token)) = rest.split_first_chunk::<64>() else { return };
    let verified = device.public().verify(hash, token, &Proof(*proof)).is_ok();
    assert_eq!(verified, device.prove(hash, token).0 == *proof, "Ed25519 has one signature for each text");
}

/// Public key, proof, text: a key of which nobody has the secret.
fn device_key(input: Input<'_>) {
    let Some((key, rest)) = input.rest().split_first_chunk::<32>() else { return };
    let Ok(key) = DevicePublicKey::from_bytes(key) else { return };
    if key == DeviceKey::from_bytes(&[5; 32]).public() {
        return;
    }
    let Some((proof, token)) = rest.split_first_chunk::<64>() else { return };
    assert!(key.verify(&[9; 32], token, &Proof(*proof)).is_err(), "forged");
}

const ALGORITHMS: [LoginAlgorithm; 3] = [LoginAlgorithm::Md5, LoginAlgorithm::HmacSha256, LoginAlgorithm::HmacSm3];

fn login(mut input: Input<'_>) {
    const NOW_MS: i64 = 1_700_000_000_000;
    let [algorithm, signer, app, age] = input.step().unwrap_or_default();
    let create_time_ms = input.step().map_or(0, i64::from_be_bytes);
    let create_time_ms = if age < 128 { NOW_MS - i64::from(age) * 1000 + i64::from(algorithm) } else { create_time_ms };
    let (identity, rest) = input.0.split_at(input.0.len().min(usize::from(app / 4)));
    let (identity, other) = (String::from_utf8_lossy(identity), String::from_utf8_lossy(rest));
    let apps = [("shop", LoginAlgorithm::HmacSha256), ("old", LoginAlgorithm::Md5)];
    let mut verifier = LoginVerifier::new(Duration::from_secs(60));
    for (name, weakest) in apps {
        verifier.add(name, AppSecret::legacy("secret").expect("not empty"), weakest).expect("a good name");
    }
    let app_key = match app % 4 {
        0 => "shop",
        1 => "old",
        2 => &other,
        _ => "",
    };
    let claim = LoginClaim { app_key, identity: &identity, create_time_ms };
    let secret = AppSecret::legacy("secret").expect("not empty");
    let by = ALGORITHMS.get(usize::from(signer % 4));
    let signature = by.map_or_else(|| other.as_bytes().to_vec(), |by| claim.sign(*by, &secret).as_bytes().to_vec());
    let signature = String::from_utf8_lossy(&signature);
    let named = ALGORITHMS.into_iter().find(|named| *named as u8 == algorithm);
    let expected = named.is_some_and(|named| {
        *signature == **claim.sign(named, &secret)
            && apps.iter().any(|(name, weakest)| *name == app_key && *weakest <= named)
            && NOW_MS.abs_diff(create_time_ms) <= 60_000
    });
    let verified = verifier.verify(&claim, algorithm, &signature, NOW_MS);
    assert_eq!(verified.is_ok(), expected, "{verified:?}");
}

/// Each kind: genuine, changed, raw.
pub fn seeds() -> Vec<Vec<u8>> {
    let genuine = World::from_input(0, 0).fixed.stored[1].clone();
    let mut seeds = vec![[&[0, 0, 128], genuine.as_slice()].concat()];
    for kind in [0, 4, 1] {
        seeds.push(vec![0, 0, kind]);
        seeds.push(vec![7, 1, kind]);
        seeds.push(vec![0, 1, kind, 0, 0, 40, 1]);
    }
    seeds.push([&[0, 0, 2], DeviceKey::from_bytes(&[5; 32]).public().as_bytes().as_slice(), &[3; 70]].concat());
    let mut identity = [0; 32];
    identity[0] = 1;
    seeds.push([&[0, 0, 2], identity.as_slice(), &[0; 70]].concat());
    for algorithm in 0..4_u8 {
        for app in 20..24 {
            let login = [algorithm, algorithm.saturating_sub(1), app, 10];
            seeds.push([&[0, 0, 3], login.as_slice(), &[0; 8], b"alice and more"].concat());
        }
    }
    seeds
}
