//! The packet codec beside its peers, in one run: `cargo bench -p im-codec-benches`; then
//! `cargo run -p im-codec-benches --example table` prints the table of docs/benchmarks/codec.md.
#![allow(missing_docs, reason = "a benchmark")]

mod peers;

use std::hint::black_box;
use std::io::Cursor;

use bytes::{Bytes, BytesMut};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use im_codec::{Decoder, Header, Limits, MessageType, Packet, encode_packet, encode_packets, parse};
use mqtt_protocol_core::mqtt::connection::PacketBuilder;
use peers::{mqtt_core, protobuf, rumqtt, websocket};

const SIZES: [usize; 4] = [0, 128, 1024, 16 * 1024];
const STREAM: usize = 10_000;
const LIMITS: Limits = Limits::new(im_codec::DEFAULT_MAX_BODY);
const HEADER: Header = Header { packet_id: 42, ..Header::new(MessageType::SEND) };

fn body(size: usize) -> Bytes {
    vec![0xa5; size].into()
}

/// A copy of `bytes` half a page from `out`, in every round: where a load follows a store to an address that differs by
/// a multiple of 4 KiB the processor waits, and chance would give that to one peer and spare the next.
fn apart(bytes: &[u8], out: &[u8]) -> Bytes {
    const PAGE: usize = 4096;
    let room = vec![0; bytes.len() + PAGE];
    let skip = (out.as_ptr() as usize + PAGE / 2).wrapping_sub(room.as_ptr() as usize) % PAGE;
    let mut room = BytesMut::from(Bytes::from(room));
    room[skip..skip + bytes.len()].copy_from_slice(bytes);
    room.freeze().slice(skip..skip + bytes.len())
}

/// One packet in every format.
struct Wires {
    im: Bytes,
    rumqtt: Bytes,
    mqtt_core: Vec<u8>,
    websocket: Bytes,
    protobuf: Bytes,
}

fn wires(body: &Bytes, times: usize) -> Wires {
    let (mut im, mut rumqtt, mut mqtt_core, mut websocket, mut protobuf) =
        (Vec::new(), BytesMut::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..times {
        encode_packet(&mut im, &HEADER, body, &LIMITS).expect("within the limit");
        rumqtt::encode(&mut rumqtt, &rumqtt::message(body));
        mqtt_core::encode(&mut mqtt_core, &mqtt_core::message(body));
        websocket::encode(&mut websocket, body);
        protobuf::encode(&mut protobuf, &protobuf::Packet { body: body.clone() });
    }
    Wires { im: im.into(), rumqtt: rumqtt.freeze(), mqtt_core, websocket: websocket.into(), protobuf: protobuf.into() }
}

fn header(c: &mut Criterion) {
    let bytes = HEADER.to_bytes(1024);
    c.benchmark_group("header").bench_function("im-codec", |b| {
        b.iter(|| black_box(Header::from_bytes(black_box(&bytes))));
    });
}

fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode");
    for size in SIZES {
        let Wires { im, rumqtt, mqtt_core, websocket, protobuf } = wires(&body(size), 1);
        group.throughput(Throughput::Bytes(im.len() as u64));
        group.bench_function(BenchmarkId::new("im-codec", size), |b| {
            b.iter(|| {
                let packet = parse(black_box(&im), &LIMITS).expect("valid").expect("whole");
                black_box((packet.header(), packet.body()))
            });
        });
        group.bench_function(BenchmarkId::new("tungstenite", size), |b| {
            b.iter(|| black_box(websocket::next(&mut Cursor::new(black_box(&websocket[..])))));
        });
        group.bench_function(BenchmarkId::new("im-codec-shared", size), |b| {
            b.iter(|| black_box(Packet::from_message(black_box(&im).clone(), &LIMITS)));
        });
        group.bench_function(BenchmarkId::new("tungstenite-shared", size), |b| {
            b.iter(|| black_box(websocket::decode(black_box(&websocket))));
        });
        group.bench_function(BenchmarkId::new("rumqtt-shared", size), |b| {
            b.iter(|| black_box(rumqtt::decode(black_box(&rumqtt).clone())));
        });
        group.bench_function(BenchmarkId::new("prost-shared", size), |b| {
            b.iter(|| black_box(protobuf::next(&mut black_box(&protobuf).clone())));
        });
        let mut builder = PacketBuilder::new();
        group.bench_function(BenchmarkId::new("mqtt-protocol-core-shared", size), |b| {
            b.iter(|| black_box(mqtt_core::next(&mut builder, &mut mqtt_core::Cursor::new(black_box(&mqtt_core[..])))));
        });
        group.bench_function(BenchmarkId::new("memcpy", size), |b| copy(b, &im));
    }
    group.finish();
}

/// The same bytes as our packet, into a buffer that is kept.
fn copy(b: &mut criterion::Bencher<'_>, bytes: &[u8]) {
    let mut out = Vec::with_capacity(bytes.len());
    let bytes = apart(bytes, &out);
    b.iter(|| {
        out.clear();
        out.extend_from_slice(black_box(&bytes));
        black_box(out.as_slice());
    });
}

fn encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("encode");
    for size in SIZES {
        let body = body(size);
        let wire = wires(&body, 1).im;
        group.throughput(Throughput::Bytes(wire.len() as u64));
        let mut out = Vec::with_capacity(2 * wire.len());
        let body = apart(&body, &out);
        group.bench_function(BenchmarkId::new("im-codec", size), |b| {
            b.iter(|| {
                out.clear();
                encode_packet(&mut out, black_box(&HEADER), black_box(&body), &LIMITS).expect("within the limit");
                black_box(out.as_slice());
            });
        });
        group.bench_function(BenchmarkId::new("tungstenite", size), |b| {
            b.iter(|| {
                out.clear();
                websocket::encode(&mut out, black_box(&body));
                black_box(out.as_slice());
            });
        });
        let message = protobuf::Packet { body: body.clone() };
        group.bench_function(BenchmarkId::new("prost", size), |b| {
            b.iter(|| {
                out.clear();
                protobuf::encode(&mut out, black_box(&message));
                black_box(out.as_slice());
            });
        });
        let message = mqtt_core::message(&body);
        group.bench_function(BenchmarkId::new("mqtt-protocol-core", size), |b| {
            b.iter(|| {
                out.clear();
                mqtt_core::encode(&mut out, black_box(&message));
                black_box(out.as_slice());
            });
        });
        let message = rumqtt::message(&body);
        let mut bytes = BytesMut::from(Bytes::from(out));
        group.bench_function(BenchmarkId::new("rumqtt", size), |b| {
            b.iter(|| {
                bytes.clear();
                rumqtt::encode(&mut bytes, black_box(&message));
                black_box(&bytes[..]);
            });
        });
        group.bench_function(BenchmarkId::new("memcpy", size), |b| copy(b, &wire));
    }
    group.finish();
}

/// A relay: decode a packet, encode it again.
fn decode_encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode+encode");
    for size in SIZES {
        let Wires { im, rumqtt, mqtt_core, websocket, protobuf } = wires(&body(size), 1);
        group.throughput(Throughput::Bytes(im.len() as u64));
        let mut out = Vec::with_capacity(2 * im.len());
        let (im, rumqtt, websocket) = (apart(&im, &out), apart(&rumqtt, &out), apart(&websocket, &out));
        let (protobuf, mqtt_core) = (apart(&protobuf, &out), apart(&mqtt_core, &out));
        group.bench_function(BenchmarkId::new("im-codec", size), |b| {
            b.iter(|| {
                out.clear();
                let packet = parse(black_box(&im), &LIMITS).expect("valid").expect("whole");
                encode_packet(&mut out, &packet.header(), packet.body(), &LIMITS).expect("within the limit");
                black_box(out.as_slice());
            });
        });
        group.bench_function(BenchmarkId::new("tungstenite", size), |b| {
            b.iter(|| {
                out.clear();
                let (_, payload) = websocket::next(&mut Cursor::new(black_box(&websocket[..]))).expect("a frame");
                websocket::encode(&mut out, payload);
                black_box(out.as_slice());
            });
        });
        group.bench_function(BenchmarkId::new("prost", size), |b| {
            b.iter(|| {
                out.clear();
                let message = protobuf::next(&mut black_box(&protobuf).clone()).expect("a message");
                protobuf::encode(&mut out, &message);
                black_box(out.as_slice());
            });
        });
        let mut builder = PacketBuilder::new();
        group.bench_function(BenchmarkId::new("mqtt-protocol-core", size), |b| {
            b.iter(|| {
                out.clear();
                let message = mqtt_core::next(&mut builder, &mut mqtt_core::Cursor::new(black_box(&mqtt_core[..])));
                mqtt_core::encode(&mut out, &message.expect("a publish"));
                black_box(out.as_slice());
            });
        });
        let mut bytes = BytesMut::from(Bytes::from(out));
        group.bench_function(BenchmarkId::new("rumqtt", size), |b| {
            b.iter(|| {
                bytes.clear();
                rumqtt::encode(&mut bytes, &rumqtt::decode(black_box(&rumqtt).clone()));
                black_box(&bytes[..]);
            });
        });
        group.bench_function(BenchmarkId::new("memcpy", size), |b| copy(b, &im));
    }
    group.finish();
}

/// 10,000 packets of 128 B and 1 KiB: all decoded from one buffer, and all encoded into one.
fn stream(c: &mut Criterion) {
    let mut group = c.benchmark_group("stream-decode");
    for size in [128, 1024] {
        let Wires { im, rumqtt, mqtt_core, websocket, protobuf } = wires(&body(size), STREAM);
        group.throughput(Throughput::Bytes(im.len() as u64));
        let decoder = Decoder::new(LIMITS);
        group.bench_function(BenchmarkId::new("im-codec", size), |b| {
            b.iter(|| {
                let mut rest = black_box(&im[..]);
                while let Some(packet) = decoder.decode_slice(&mut rest).expect("valid") {
                    black_box((packet.header(), packet.body()));
                }
            });
        });
        group.bench_function(BenchmarkId::new("tungstenite", size), |b| {
            b.iter(|| {
                let mut input = Cursor::new(black_box(&websocket[..]));
                while let Some(frame) = websocket::next(&mut input) {
                    black_box(frame);
                }
            });
        });
        group.bench_function(BenchmarkId::new("im-codec-shared", size), |b| {
            b.iter_batched(
                || BytesMut::from(&im[..]),
                |mut buffer| {
                    while let Some(packet) = decoder.decode(&mut buffer).expect("valid") {
                        black_box(packet);
                    }
                    buffer
                },
                BatchSize::PerIteration,
            );
        });
        group.bench_function(BenchmarkId::new("rumqtt-shared", size), |b| {
            b.iter_batched(
                || BytesMut::from(&rumqtt[..]),
                |mut buffer| {
                    while let Some(packet) = rumqtt::next(&mut buffer) {
                        black_box(packet);
                    }
                    buffer
                },
                BatchSize::PerIteration,
            );
        });
        group.bench_function(BenchmarkId::new("prost-shared", size), |b| {
            b.iter_batched(
                || BytesMut::from(&protobuf[..]),
                |mut buffer| {
                    while let Some(packet) = protobuf::next(&mut buffer) {
                        black_box(packet);
                    }
                    buffer
                },
                BatchSize::PerIteration,
            );
        });
        group.bench_function(BenchmarkId::new("mqtt-protocol-core-shared", size), |b| {
            let mut builder = PacketBuilder::new();
            b.iter(|| {
                let mut input = mqtt_core::Cursor::new(black_box(&mqtt_core[..]));
                while let Some(packet) = mqtt_core::next(&mut builder, &mut input) {
                    black_box(packet);
                }
            });
        });
        group.bench_function(BenchmarkId::new("memcpy", size), |b| copy(b, &im));
    }
    group.finish();

    let mut group = c.benchmark_group("stream-encode");
    for size in [128, 1024] {
        let body = body(size);
        let wire = wires(&body, STREAM).im;
        group.throughput(Throughput::Bytes(wire.len() as u64));
        let mut out = Vec::with_capacity(2 * wire.len());
        let body = apart(&body, &out);
        group.bench_function(BenchmarkId::new("im-codec", size), |b| {
            b.iter(|| {
                out.clear();
                let packets = (0..STREAM).map(|_| (&HEADER, black_box(&body[..])));
                encode_packets(&mut out, packets, &LIMITS).expect("within the limit");
                black_box(out.as_slice());
            });
        });
        group.bench_function(BenchmarkId::new("tungstenite", size), |b| {
            b.iter(|| {
                out.clear();
                (0..STREAM).for_each(|_| websocket::encode(&mut out, black_box(&body)));
                black_box(out.as_slice());
            });
        });
        let message = protobuf::Packet { body: body.clone() };
        group.bench_function(BenchmarkId::new("prost", size), |b| {
            b.iter(|| {
                out.clear();
                (0..STREAM).for_each(|_| protobuf::encode(&mut out, black_box(&message)));
                black_box(out.as_slice());
            });
        });
        let message = mqtt_core::message(&body);
        group.bench_function(BenchmarkId::new("mqtt-protocol-core", size), |b| {
            b.iter(|| {
                out.clear();
                (0..STREAM).for_each(|_| mqtt_core::encode(&mut out, black_box(&message)));
                black_box(out.as_slice());
            });
        });
        let message = rumqtt::message(&body);
        let mut bytes = BytesMut::from(Bytes::from(out));
        group.bench_function(BenchmarkId::new("rumqtt", size), |b| {
            b.iter(|| {
                bytes.clear();
                (0..STREAM).for_each(|_| rumqtt::encode(&mut bytes, black_box(&message)));
                black_box(&bytes[..]);
            });
        });
        group.bench_function(BenchmarkId::new("memcpy", size), |b| copy(b, &wire));
    }
    group.finish();
}

fn main() {
    im_bench_rounds::run(&[header, decode, encode, decode_encode, stream]);
}
