//! No allocation for a packet in the steady state.

use std::hint::black_box;

use allocation_counter::measure;
use bytes::BytesMut;
use im_codec::*;

/// Allocations and growths during `work`.
fn traffic(work: impl FnOnce()) -> u64 {
    measure(work).count_total
}

#[test]
fn nothing_is_allocated_for_a_packet() {
    const PACKETS: usize = 1_000;
    let limits = Limits::default().with_versions(Versions::V1AndV2);
    let decoder = Decoder::new(limits);
    let headers = [Header::new(MessageType::SEND), Header::v1(v1::PRIVATE_CHAT)];
    let bodies: Vec<Vec<u8>> = [0, 128, 1024, 16 * 1024].map(|len| vec![7; len]).into();
    let packets: Vec<(&Header, &[u8])> =
        (0..PACKETS).map(|at| (&headers[at % 2], bodies[at % bodies.len()].as_slice())).collect();

    let mut wire = Vec::new();
    encode_packets(&mut wire, packets.iter().copied(), &limits).unwrap();
    // The counter counts.
    assert_ne!(traffic(|| drop(black_box(vec![0u8; 100]))), 0);

    // Encoded, into a buffer that has the room.
    let mut out = Vec::with_capacity(wire.len());
    let encoded = traffic(|| {
        for (header, body) in &packets {
            encode_packet(&mut out, header, body, &limits).unwrap();
        }
        out.clear();
        encode_packets(&mut out, packets.iter().copied(), &limits).unwrap();
        out.clear();
        for (header, body) in &packets {
            let start = begin_packet(&mut out);
            out.extend_from_slice(body);
            finish_packet(&mut out, start, header, &limits).unwrap();
        }
    });
    assert_eq!((encoded, &out), (0, &wire));
    // Many packets reserve once.
    let mut fresh = Vec::new();
    assert_eq!(traffic(|| encode_packets(&mut fresh, packets.iter().copied(), &limits).unwrap()), 1);

    // Decoded, borrowed.
    let mut count = 0;
    let borrowed = traffic(|| {
        let mut rest = &wire[..];
        while let Some(packet) = decoder.decode_slice(&mut rest).unwrap() {
            count += usize::from(packet.header().packet_id == 0);
        }
    });
    assert_eq!((borrowed, count), (0, PACKETS));

    // Rewritten in place.
    let mut rewritten = wire.clone();
    let changed = traffic(|| {
        let mut rest = &mut rewritten[..];
        while let Ok(Ok(mut packet)) = parse_mut(rest, &limits) {
            packet.set_packet_id(1);
            let len = HEADER_LEN + packet.body().len();
            rest = &mut rest[len..];
        }
        assert!(rest.is_empty());
    });
    assert_eq!(changed, 0);

    // Decoded from a `BytesMut` that is filled again and again, in chunks that split packets. The first rounds grow it.
    let mut buffer = BytesMut::with_capacity(64 * 1024);
    let mut round = || {
        let mut count = 0;
        for chunk in wire.chunks(10_000) {
            buffer.extend_from_slice(chunk);
            while let Some(packet) = decoder.decode(&mut buffer).unwrap() {
                count += packet.view().body().len();
            }
        }
        count
    };
    let warm = round();
    let shared = traffic(|| assert_eq!(round(), warm));
    assert_eq!(shared, 0);

    // A refusal costs no memory either, whatever the header claims.
    let claim = Header::new(MessageType::SEND).to_bytes(u32::MAX);
    assert_eq!(traffic(|| assert!(parse(&claim, &limits).is_err())), 0);
    let batch = traffic(|| {
        let limits = BatchLimits { max_packets: PACKETS as u32, max_bytes: wire.len() as u32 };
        assert_eq!(Batch::new(&wire, decoder_limits(), limits).filter(|packet| packet.is_ok()).count(), PACKETS);
    });
    assert_eq!(batch, 0);
}

fn decoder_limits() -> Limits {
    Limits::default().with_versions(Versions::V1AndV2)
}
