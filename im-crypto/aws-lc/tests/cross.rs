//! Both providers in both roles: what is on the wire must not tell which one made it.

#[path = "../../tests/common/mod.rs"]
mod common;

use common::{
    golden::{Golden, transcripts},
    world::{HANDSHAKES, Session, World},
    *,
};
use im_crypto::{CryptoProvider, HandshakeId, KeyUpdate, Opener, Padding, RUSTCRYPTO, Sealer, SuiteId};
use im_crypto_aws_lc::{AWS_LC, AWS_LC_KEM};

const PROVIDERS: [&CryptoProvider; 2] = [&RUSTCRYPTO, &AWS_LC];

/// All that was sent, in order.
type Wire = Vec<Vec<u8>>;

fn session(
    client: &'static CryptoProvider,
    server: &'static CryptoProvider,
    suite: SuiteId,
    id: HandshakeId,
    demand: bool,
) -> Session {
    let mut world = World { suites: vec![suite], demand, ..World::between(client, server) };
    let session = world.run_id(id).unwrap_or_else(|refusal| panic!("{client:?} {server:?} {suite} {id}: {refusal:?}"));
    assert_eq!((session.client.handshake, session.client.choice.suite), (id, suite));
    assert_eq!(session.client.handshake_hash, session.server.handshake_hash);
    session
}

/// Records of many lengths, two key updates among them, and each once more out of another buffer.
fn exchange(sealer: &mut Sealer, opener: &mut Opener, wire: &mut Wire) {
    for n in 0..24_u8 {
        let payload = vec![n; usize::from(n).pow(2) * 7];
        let (header, body) = packet(sealer, 7, &payload, Padding::None);
        wire.push(body.clone());
        assert_eq!(open(opener, &header, &body), Some((7, payload.clone())));
        if n % 10 == 9 {
            let [inner_type, content] = KeyUpdate::Notice.content();
            let (header, mut body) = packet(sealer, inner_type, &[content], Padding::Padme);
            wire.push(body.clone());
            assert_eq!(opener.open(&header, &mut body).unwrap().key_update(), Some(KeyUpdate::Notice));
        }
        let mut plain = [&[8], payload.as_slice()].concat();
        im_crypto::finish_plaintext(&mut plain, 0, Padding::None);
        let (mut out, header) = (vec![0xee; plain.len()], record_header(sealer.suite(), plain.len()));
        sealer.seal_into(&header, &plain, &mut out).unwrap();
        wire.push(out.clone());
        assert_eq!(open(opener, &header, &out), Some((8, payload)));
    }
    assert_eq!(sealer.epoch(), 2);
}

fn talk(session: &mut Session) -> Wire {
    let mut wire: Wire = session.wire.iter().map(|(_, bytes)| bytes.clone()).collect();
    exchange(&mut session.client.sealer, &mut session.server.opener, &mut wire);
    exchange(&mut session.server.sealer, &mut session.client.opener, &mut wire);
    wire
}

/// Every pair of providers talks, in every handshake and suite, with and without a RETRY, and all four put the same bytes on the
/// wire.
#[test]
fn all_pairs_of_providers() {
    let mut sessions = 0;
    for suite in ALL_SUITES {
        for id in HANDSHAKES {
            for demand in [false, true] {
                let mut wires = Vec::new();
                for client in PROVIDERS {
                    for server in PROVIDERS {
                        wires.push(talk(&mut session(client, server, suite, id, demand)));
                        sessions += 1;
                    }
                }
                assert!(wires.windows(2).all(|pair| pair[0] == pair[1]), "{suite} {id}");
            }
        }
    }
    assert_eq!(sessions, 3 * 8 * 2 * 4);
}

/// The library's own ML-KEM on one side or both: its randomness is not the caller's, so two runs differ, but all sessions work.
#[test]
fn ml_kem_of_the_library() {
    let providers = [&RUSTCRYPTO, &AWS_LC, &AWS_LC_KEM];
    let mut sessions = 0;
    for id in HANDSHAKES.into_iter().filter(|id| id.is_post_quantum()) {
        for suite in ALL_SUITES {
            for client in providers {
                for server in providers {
                    let [once, again] = [(); 2].map(|()| talk(&mut session(client, server, suite, id, false)));
                    let own = [client, server].iter().any(|provider| std::ptr::eq(*provider, &AWS_LC_KEM));
                    assert_eq!(once != again, own, "{id} {suite}");
                    sessions += 2;
                }
            }
        }
    }
    assert_eq!(sessions, 4 * 3 * 9 * 2);
    // Where no KEM takes part, it is `AWS_LC`.
    let suite = SuiteId::AES_256_GCM;
    let [one, other] =
        [&AWS_LC, &AWS_LC_KEM].map(|provider| talk(&mut session(provider, provider, suite, HandshakeId::XX, false)));
    assert_eq!(one, other);
}

/// The vectors of the specification, made by this provider.
#[test]
fn golden_transcripts() {
    let expected: Vec<Golden> =
        serde_json::from_str(include_str!("../../../docs/spec/vectors/handshake.json")).unwrap();
    let actual = transcripts(&AWS_LC);
    for (actual, expected) in actual.iter().zip(&expected) {
        assert_eq!(actual, expected, "{}", actual.name);
    }
    assert_eq!((actual.len(), expected.len()), (11, 11));
}

/// One flipped bit of a record or its header: nothing opens, and none of the plaintext is in the buffer.
#[test]
fn a_failed_packet_gives_no_plaintext() {
    let secret = b"attack at dawn, from the north";
    for suite in ALL_SUITES {
        let fresh = || session(&AWS_LC, &AWS_LC, suite, HandshakeId::NK, false);
        let (header, body) = packet(&mut fresh().client.sealer, 5, secret, Padding::None);
        for bit in (0..(header.len() + body.len()) * 8).step_by(5) {
            let mut changed = [header.as_slice(), &body].concat();
            changed[bit / 8] ^= 1 << (bit % 8);
            let (header, body) = changed.split_at_mut(24);
            assert!(fresh().server.opener.open(header, body).is_err(), "{suite} {bit}");
            assert!(!body.windows(4).any(|four| secret.windows(4).any(|plain| plain == four)), "{suite} {bit}");
        }
    }
}
