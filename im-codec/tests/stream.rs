//! Every split of a stream gives the same packets, and every damaged header a packet, a need or a typed error.

use bytes::BytesMut;
use im_codec::*;
use proptest::prelude::*;

fn sample_stream() -> (Vec<u8>, Vec<(Header, Vec<u8>)>) {
    let packets: Vec<(Header, Vec<u8>)> = [0usize, 1, 23, 24, 25, 300]
        .iter()
        .enumerate()
        .map(|(i, len)| {
            let header = Header {
                protocol: Protocol(i as u16 + 1),
                packet_id: 0x0102_0304_0506_0708 + i as u64,
                device: DeviceType(i as u8),
                ip: 0xc0a8_010a,
                encryption: EncryptionId(16),
                serialization: SerializationId(6),
                ..Header::new(MessageType(200 + i as u8))
            };
            (header, vec![i as u8; *len])
        })
        .collect();
    let mut wire = Vec::new();
    for (header, body) in &packets {
        encode_packet(&mut wire, header, body, &Limits::default()).unwrap();
    }
    (wire, packets)
}

fn decode_chunks<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> Vec<(Header, Vec<u8>)> {
    let decoder = Decoder::default();
    let mut buffer = BytesMut::new();
    let mut got = Vec::new();
    for chunk in chunks {
        buffer.extend_from_slice(chunk);
        while let Some(packet) = decoder.decode(&mut buffer).unwrap() {
            got.push((packet.header(), packet.body().to_vec()));
        }
        assert!(buffer.is_empty() || decoder.needs(&buffer).unwrap() > 0);
    }
    assert!(buffer.is_empty());
    got
}

#[test]
fn every_two_way_split_and_every_chunk_size_gives_the_same_packets() {
    let (wire, want) = sample_stream();
    for at in 0..=wire.len() {
        let (a, b) = wire.split_at(at);
        assert_eq!(decode_chunks([a, b].into_iter()), want, "split at {at}");
    }
    for size in 1..64 {
        assert_eq!(decode_chunks(wire.chunks(size)), want, "chunks of {size}");
    }
}

#[test]
fn every_prefix_needs_exactly_what_is_missing_from_header_or_packet() {
    let mut wire = Vec::new();
    encode_packet(&mut wire, &Header::new(MessageType::SEND), b"hello", &Limits::default()).unwrap();
    for n in 0..wire.len() {
        let want = if n < HEADER_LEN { HEADER_LEN - n } else { wire.len() - n };
        match frame_len(&wire[..n], &Limits::default()) {
            Ok(Framing::Need(need)) => assert_eq!(need.get(), want),
            other => panic!("prefix {n}: {other:?}"),
        }
    }
}

#[test]
fn every_single_byte_corruption_of_the_header_is_a_packet_a_need_or_a_typed_error() {
    let mut wire = Vec::new();
    encode_packet(&mut wire, &Header::new(MessageType::SEND), &[7; 100], &Limits::default()).unwrap();
    let (mut packets, mut needs, mut errors) = (0, 0, 0);
    for at in 0..HEADER_LEN {
        for value in 0..=255u8 {
            let mut bad = wire.clone();
            bad[at] = value;
            match parse(&bad, &Limits::default()) {
                Ok(Ok(packet)) => {
                    packets += 1;
                    let mut again = Vec::new();
                    encode_packet(&mut again, &packet.header(), packet.body(), &Limits::default()).unwrap();
                    assert_eq!(again, packet.as_bytes());
                }
                Ok(Err(_)) => needs += 1,
                Err(error) => {
                    errors += 1;
                    assert!(error.offset() <= at);
                    assert!(!error.to_string().is_empty());
                }
            }
        }
    }
    assert_eq!(packets + needs + errors, 24 * 256);
    assert!(errors >= 255 * 2 && needs > 255 && packets > 255 * 10);
}

#[test]
fn bad_starts_are_refused_by_name_at_the_first_byte_that_shows_them() {
    let limits = Limits::default();
    assert_eq!(frame_len(b"G", &limits), Err(DecodeError::Magic { found: b'G' }));
    assert_eq!(frame_len(b"OUYUNC", &limits), Err(DecodeError::OuyuncLayout { release: "6" }));
    assert_eq!(frame_len(b"OPTIONS", &limits), Err(DecodeError::Magic { found: b'O' }));
    assert_eq!(frame_len(&[0x66, 1, 1], &limits), Err(DecodeError::OuyuncLayout { release: "2 to 5" }));
    assert_eq!(frame_len(&[0x66, 0, 5, 1], &limits), Err(DecodeError::Version { found: 1 }));
    let mut huge = Header::new(MessageType::SEND).to_bytes(u32::MAX);
    let error = frame_len(&huge, &limits).unwrap_err();
    assert_eq!(error, DecodeError::BodyTooLarge { len: u32::MAX, max: DEFAULT_MAX_BODY });
    assert_eq!(error.fault(), Fault::PeerViolated);
    huge[20..].copy_from_slice(&(DEFAULT_MAX_BODY + 1).to_be_bytes());
    assert_eq!(frame_len(&huge, &limits).unwrap_err().fault(), Fault::LocalLimit);
}

#[test]
fn a_body_over_the_limit_leaves_the_buffer_as_it_was() {
    let limits = Limits::new(3);
    let mut out = b"kept".to_vec();
    let want = Err(EncodeError::BodyTooLarge { len: 4, max: 3 });
    assert_eq!(encode_packet(&mut out, &Header::new(MessageType::SEND), b"long", &limits), want);
    let start = begin_packet(&mut out);
    out.extend_from_slice(b"long");
    assert_eq!(finish_packet(&mut out, start, &Header::new(MessageType::SEND), &limits), want);
    assert_eq!(out, b"kept");
    assert_eq!(
        finish_packet(&mut out, 99, &Header::new(MessageType::SEND), &limits),
        Err(EncodeError::NotBegun { start: 99 })
    );
}

#[test]
fn errors_are_small() {
    assert!(size_of::<DecodeError>() <= 32 && size_of::<EncodeError>() <= 32);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_what_parses_emits_itself(bytes in proptest::collection::vec(any::<u8>(), 0..200), fix in any::<bool>()) {
        let mut bytes = bytes;
        if fix && bytes.len() >= 24 {
            bytes[..4].copy_from_slice(&[0x66, 0, 5, 2]);
            let len = (bytes.len() as u32 - 24) / 2;
            bytes[20..24].copy_from_slice(&len.to_be_bytes());
        }
        if let Ok(Ok(packet)) = parse(&bytes, &Limits::default()) {
            let mut again = Vec::new();
            encode_packet(&mut again, &packet.header(), packet.body(), &Limits::default()).unwrap();
            prop_assert_eq!(&again[..], packet.as_bytes());
        }
    }
}
