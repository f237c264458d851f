//! Parse and encode of one packet, beside a copy of the same bytes: `cargo bench -p im-benches --bench codec`.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use im_codec::{Header, Limits, MessageType, encode_packet, parse};

fn codec(c: &mut Criterion) {
    let limits = Limits::default();
    let header = Header { packet_id: 42, ..Header::new(MessageType::SEND) };
    let mut group = c.benchmark_group("codec");
    for size in [0usize, 128, 1024, 16 * 1024] {
        let body = vec![0xa5u8; size];
        let mut wire = Vec::new();
        encode_packet(&mut wire, &header, &body, &limits).expect("within the limit");
        group.throughput(Throughput::Bytes(wire.len() as u64));
        group.bench_with_input(BenchmarkId::new("parse", size), &wire, |b, wire| {
            b.iter(|| parse(black_box(wire), &limits).map(|packet| packet.map(|packet| packet.body().len())));
        });
        let mut out = Vec::with_capacity(wire.len());
        group.bench_with_input(BenchmarkId::new("encode", size), &body, |b, body| {
            b.iter(|| {
                out.clear();
                encode_packet(&mut out, &header, black_box(body), &limits)
            });
        });
        group.bench_with_input(BenchmarkId::new("copy", size), &wire, |b, wire| {
            b.iter(|| {
                out.clear();
                out.extend_from_slice(black_box(wire));
                black_box(&out);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, codec);
criterion_main!(benches);
