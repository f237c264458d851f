//! Seal and open of packets beside the primitive below, beside ring and aws-lc as they are, and the fan-out of one body
//! to 1,000 connections, in one run: `cargo bench -p im-crypto-benches`; then
//! `cargo run --release -p im-crypto-benches --example crypto-table` prints the tables of docs/benchmarks/crypto.md.
#![expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]

mod raw;

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkGroup, Criterion, Throughput, measurement::WallTime};
use im_bench_rounds::Fastest;
use im_crypto::{HandshakeId, Opener, Padding, Sealer, finish_plaintext};
use im_crypto_benches::{PROVIDERS, Peers, SIZES, SUITES, header};
use raw::Raw;

const TAG: usize = 16;
/// Packets that are sealed, then opened while the clock runs: as many as stay in the cache.
fn batch(size: usize) -> usize {
    (64 * 1024 / size).clamp(4, BLOCK as usize)
}

/// A finished body: `size` bytes of plaintext, and room for the tag.
fn body(size: usize) -> Vec<u8> {
    let mut body = vec![0xa5; size - 1];
    finish_plaintext(&mut body, 0, Padding::None);
    assert_eq!(body.len(), size + TAG);
    body
}

/// Calls of one block: some 30 us, short enough to fall between two interruptions of a shared machine.
const BLOCK: u64 = 200;

fn bench(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, block: u64, mut time: impl FnMut(u64) -> Duration) {
    group.bench_function(name, |b| b.iter_fastest_custom(block, &mut time));
}

/// Writes the plaintext and seals it in place, as a connection does.
fn seal(mut fresh: impl FnMut() -> Sealer, size: usize) -> impl FnMut(u64) -> Duration {
    let (plain, mut packet) = (body(size), body(size));
    let mut sealer = fresh();
    let header = header(sealer.suite(), plain.len());
    move |times| {
        if sealer.needs_update() {
            sealer = fresh();
        }
        let begun = Instant::now();
        for _ in 0..times {
            packet.copy_from_slice(black_box(&plain));
            sealer.seal(&header, black_box(&mut packet)).expect("sealed");
        }
        begun.elapsed()
    }
}

fn seal_raw(raw: &Raw, size: usize) -> impl FnMut(u64) -> Duration {
    let (plain, mut packet) = (body(size), body(size));
    let header = header(im_crypto::SuiteId::NONE, plain.len());
    let mut nonce = 0u64;
    move |times| {
        let begun = Instant::now();
        for _ in 0..times {
            nonce += 1;
            packet.copy_from_slice(black_box(&plain));
            raw.seal(nonce, &header, black_box(&mut packet));
        }
        begun.elapsed()
    }
}

fn open(mut fresh: impl FnMut() -> (Sealer, Opener), size: usize) -> impl FnMut(u64) -> Duration {
    let plain = body(size);
    let mut packets = vec![plain.clone(); batch(size)];
    let (mut sealer, mut opener) = fresh();
    let header = header(sealer.suite(), plain.len());
    move |times| {
        let mut spent = Duration::ZERO;
        let mut left = times as usize;
        while left > 0 {
            if sealer.needs_update() {
                (sealer, opener) = fresh();
            }
            let now = left.min(packets.len());
            for packet in &mut packets[..now] {
                packet.copy_from_slice(&plain);
                sealer.seal(&header, packet).expect("sealed");
            }
            let begun = Instant::now();
            for packet in &mut packets[..now] {
                black_box(opener.open(&header, black_box(packet)).expect("opened"));
            }
            spent += begun.elapsed();
            left -= now;
        }
        spent
    }
}

fn open_raw(raw: &Raw, size: usize) -> impl FnMut(u64) -> Duration {
    let plain = body(size);
    let mut packets = vec![plain.clone(); batch(size)];
    let header = header(im_crypto::SuiteId::NONE, plain.len());
    let mut nonce = 0u64;
    move |times| {
        let mut spent = Duration::ZERO;
        let mut left = times as usize;
        while left > 0 {
            let now = left.min(packets.len());
            for (packet, nonce) in packets[..now].iter_mut().zip(nonce..) {
                packet.copy_from_slice(&plain);
                raw.seal(nonce, &header, packet);
            }
            let begun = Instant::now();
            for (packet, nonce) in packets[..now].iter_mut().zip(nonce..) {
                raw.open(nonce, &header, black_box(packet));
            }
            spent += begun.elapsed();
            nonce += now as u64;
            left -= now;
        }
        spent
    }
}

fn records(c: &mut Criterion) {
    for (suite, id) in SUITES {
        for size in SIZES {
            for way in ["seal", "open"] {
                let mut group = c.benchmark_group(format!("{way} {suite} {size}"));
                group.throughput(Throughput::Bytes(size as u64));
                for (name, provider) in PROVIDERS {
                    let mut peers = Peers::new(provider, HandshakeId::NK, id);
                    let mut fresh = move || {
                        let session = peers.session();
                        (session.client.sealer, session.server.opener)
                    };
                    let ours = format!("im-crypto, {name}");
                    match way {
                        "seal" => bench(&mut group, &ours, BLOCK, seal(move || fresh().0, size)),
                        _ => bench(&mut group, &ours, BLOCK, open(fresh, size)),
                    }
                }
                for (name, raw) in raw::all(id) {
                    match way {
                        "seal" => bench(&mut group, name, BLOCK, seal_raw(&raw, size)),
                        _ => bench(&mut group, name, BLOCK, open_raw(&raw, size)),
                    }
                }
            }
        }
    }
}

/// One body of 256 bytes for 1,000 connections, each with its key and its buffer.
fn fan_out(c: &mut Criterion) {
    const CONNECTIONS: usize = 1000;
    let plain = body(256);
    for (suite, id) in SUITES {
        let mut group = c.benchmark_group(format!("fan-out {suite}"));
        group.throughput(Throughput::Elements(CONNECTIONS as u64));
        let head = header(id, plain.len());
        for (name, provider) in PROVIDERS {
            let mut peers = Peers::new(provider, HandshakeId::NK, id);
            let mut receivers: Vec<_> = (0..CONNECTIONS)
                .map(|_| (peers.session().server.sealer, Vec::with_capacity(head.len() + plain.len())))
                .collect();
            bench(&mut group, &format!("im-crypto, {name}"), 1, |_| {
                let begun = Instant::now();
                for (sealer, buffer) in &mut receivers {
                    buffer.clear();
                    buffer.extend_from_slice(&head);
                    buffer.resize(head.len() + plain.len(), 0);
                    sealer.seal_into(&head, &plain, &mut buffer[head.len()..]).expect("sealed");
                }
                begun.elapsed()
            });
        }
        for at in 0..3 {
            let room = head.len() + plain.len();
            let mut receivers: Vec<_> = (0..CONNECTIONS)
                .filter_map(|_| Some((raw::all(id).into_iter().nth(at)?, Vec::with_capacity(room))))
                .collect();
            let (name, mut nonce) = (receivers[0].0.0, 0);
            bench(&mut group, name, 1, |_| {
                nonce += 1;
                let begun = Instant::now();
                for ((_, raw), buffer) in &mut receivers {
                    buffer.clear();
                    buffer.extend_from_slice(&head);
                    buffer.extend_from_slice(&plain);
                    raw.seal(nonce, &head, &mut buffer[head.len()..]);
                }
                begun.elapsed()
            });
        }
    }
}

fn main() {
    im_bench_rounds::run(&[records, fan_out]);
}
