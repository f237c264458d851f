//! Handshakes: what both ends compute and what the server alone computes, beside snow, in one run.
//! `cargo bench -p im-crypto-benches --bench handshake`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::Criterion;
use im_crypto::SuiteId;
use im_crypto_benches::{HANDSHAKE_PROVIDERS, HANDSHAKES, Peers};

fn ours(c: &mut Criterion) {
    for (pattern, id) in HANDSHAKES {
        let mut group = c.benchmark_group(format!("handshake {pattern}"));
        for (name, provider) in HANDSHAKE_PROVIDERS {
            if !id.is_post_quantum() && name == "aws-lc-kem" {
                continue;
            }
            let mut peers = Peers::new(provider, id, SuiteId::AES_128_GCM);
            group.bench_function(format!("both, {name}"), |b| {
                // A ticket is made beforehand, by the session that it resumes.
                b.iter_custom(|times| (0..times).map(|_| both(&mut peers)).sum());
            });
            group.bench_function(format!("server, {name}"), |b| {
                b.iter_custom(|times| (0..times).map(|_| peers.session().server_time).sum::<Duration>());
            });
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]
fn both(peers: &mut Peers) -> Duration {
    let start = peers.start();
    let begun = Instant::now();
    black_box(peers.run(start));
    begun.elapsed()
}

/// Both ends of snow with the same primitives, as far as snow goes: no negotiation, no key schedule of records.
fn snow(c: &mut Criterion) {
    for pattern in ["NK", "NNpsk0", "XX", "IK"] {
        let params: snow::params::NoiseParams =
            format!("Noise_{pattern}_25519_ChaChaPoly_SHA256").parse().expect("a name");
        let keys = [(); 2].map(|()| snow::Builder::new(params.clone()).generate_keypair().expect("a key"));
        let [client_key, server_key] = &keys;
        let run = || {
            let builder = || snow::Builder::new(params.clone()).prologue(&[0; 100]).expect("a prologue");
            let (mut client, mut server) = match pattern {
                "NNpsk0" => (
                    builder().psk(0, &[7; 32]).expect("a psk").build_initiator(),
                    builder().psk(0, &[7; 32]).expect("a psk").build_responder(),
                ),
                "XX" => (
                    builder().local_private_key(&client_key.private).expect("a key").build_initiator(),
                    builder().local_private_key(&server_key.private).expect("a key").build_responder(),
                ),
                _ => {
                    let client = builder().remote_public_key(&server_key.public).expect("a key");
                    let client = match pattern {
                        "IK" => client.local_private_key(&client_key.private).expect("a key"),
                        _ => client,
                    };
                    let server = builder().local_private_key(&server_key.private).expect("a key");
                    (client.build_initiator(), server.build_responder())
                }
            };
            let (client, server) = (client.as_mut().expect("built"), server.as_mut().expect("built"));
            let (mut message, mut payload) = ([0; 1024], [0; 1024]);
            let mut from_client = true;
            while !(client.is_handshake_finished() && server.is_handshake_finished()) {
                let (from, to) = if from_client { (&mut *client, &mut *server) } else { (&mut *server, &mut *client) };
                let len = from.write_message(&[0; 64], &mut message).expect("written");
                to.read_message(&message[..len], &mut payload).expect("read");
                from_client = !from_client;
            }
        };
        c.benchmark_group(format!("handshake {pattern}")).bench_function("both, snow", |b| b.iter(run));
    }
}

fn main() {
    im_bench_rounds::run(&[ours, snow]);
}
