//! Every split of a stream gives the same packets, and every damaged header a packet, a need or a typed error.

use bytes::BytesMut;
use im_codec::*;
use proptest::prelude::*;

const BOTH: Limits = Limits::new(DEFAULT_MAX_BODY).with_versions(Versions::V1AndV2);

type Packets = Vec<(Header, Vec<u8>)>;

/// Packets of both versions with bodies of these lengths.
fn sample(lengths: &[usize]) -> (Vec<u8>, Packets) {
    let packets: Packets = lengths
        .iter()
        .enumerate()
        .map(|(at, len)| {
            let header = Header {
                protocol: Protocol(at as u16 % 256 + 1),
                version: if at % 3 == 0 { Version::V1 } else { Version::V2 },
                packet_id: 0x0102_0304_0506_0708 + at as u64,
                device: DeviceType(at as u8),
                ip: 0xc0a8_010a,
                encryption: EncryptionId(16),
                serialization: SerializationId(6),
                message_type: MessageType(at as u8),
            };
            (header, vec![at as u8; *len])
        })
        .collect();
    let mut wire = Vec::new();
    encode_packets(&mut wire, packets.iter().map(|(header, body)| (header, body.as_slice())), &BOTH).unwrap();
    (wire, packets)
}

fn decode_chunks<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> Packets {
    let decoder = Decoder::new(BOTH);
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
fn one_shot_gives_the_packets() {
    let (wire, want) = sample(&[0, 1, 23, 24, 25, 300]);
    let mut rest = &wire[..];
    let mut got = Vec::new();
    while let Some(packet) = Decoder::new(BOTH).decode_slice(&mut rest).unwrap() {
        got.push((packet.header(), packet.body().to_vec()));
    }
    assert_eq!((got, rest), (want, &[][..]));
}

#[test]
fn every_two_way_split_and_every_chunk_size_gives_the_same_packets() {
    let (wire, want) = sample(&[0, 1, 23, 24, 25, 300]);
    for at in 0..=wire.len() {
        let (a, b) = wire.split_at(at);
        assert_eq!(decode_chunks([a, b].into_iter()), want, "split at {at}");
    }
    for size in 1..=wire.len() {
        assert_eq!(decode_chunks(wire.chunks(size)), want, "chunks of {size}");
    }
}

#[test]
fn random_chunkings_of_a_long_mixed_stream_give_the_same_packets() {
    let mut random = 0x243f_6a88_85a3_08d3u64;
    let mut next = move |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below
    };
    let lengths: Vec<usize> = (0..400).map(|at| if at % 50 == 0 { next(65_537) } else { next(600) }).collect();
    let (wire, want) = sample(&lengths);
    for round in 0..30 {
        let longest = [3, 50, 2_000, 70_000][round % 4];
        let mut rest = &wire[..];
        let chunks = core::iter::from_fn(|| {
            let (chunk, next) = rest.split_at((next(longest) + 1).min(rest.len()));
            rest = next;
            (!chunk.is_empty()).then_some(chunk)
        });
        assert_eq!(decode_chunks(chunks), want, "round {round}");
    }
}

#[test]
fn every_prefix_needs_exactly_what_is_missing_from_header_or_packet() {
    let (wire, want) = sample(&[5, 0, 300]);
    let ends: Vec<usize> = want
        .iter()
        .scan(0, |end, (_, body)| {
            *end += HEADER_LEN + body.len();
            Some(*end)
        })
        .collect();
    for n in 0..=wire.len() {
        let mut rest = &wire[..n];
        let mut whole = 0;
        while Decoder::new(BOTH).decode_slice(&mut rest).unwrap().is_some() {
            whole += 1;
        }
        assert_eq!(whole, ends.iter().filter(|end| **end <= n).count(), "prefix of {n}");
        let missing = match ends.get(whole) {
            None => HEADER_LEN,
            Some(_) if rest.len() < HEADER_LEN => HEADER_LEN - rest.len(),
            Some(end) => end - n,
        };
        assert_eq!(Decoder::new(BOTH).needs(rest), Ok(missing), "prefix of {n}");
        assert_eq!(frame_len(rest, &BOTH), Ok(Framing::Need(missing.try_into().unwrap())));
    }
}

#[test]
fn every_single_byte_corruption_of_the_header_is_a_packet_a_need_or_a_typed_error() {
    for limits in [Limits::default(), BOTH] {
        let mut wire = Vec::new();
        encode_packet(&mut wire, &Header::new(MessageType::SEND), &[7; 100], &limits).unwrap();
        let (mut packets, mut needs, mut errors) = (0, 0, 0);
        for at in 0..HEADER_LEN {
            for value in 0..=255u8 {
                let mut bad = wire.clone();
                bad[at] = value;
                match parse(&bad, &limits) {
                    Ok(Ok(packet)) => {
                        packets += 1;
                        let mut again = Vec::new();
                        encode_packet(&mut again, &packet.header(), packet.body(), &limits).unwrap();
                        assert_eq!(again, packet.as_bytes());
                    }
                    Ok(Err(_)) => needs += 1,
                    Err(error) => {
                        errors += 1;
                        assert!(error.offset() <= at && error.offset() + 3 >= at, "{error}");
                        assert!(!error.to_string().is_empty());
                    }
                }
            }
        }
        assert_eq!(packets + needs + errors, 24 * 256);
        // Magic and version have one or two good values. Byte 20 is too large with any other value, and byte 21 with more
        // than 1 (64 KiB). Byte 1 reads as OUYUNC with 1 to 7 only where byte 2 is 1 or 4, and here it is 5.
        let version = if limits == BOTH { 254 } else { 255 };
        assert_eq!(errors, 255 + version + 255 + 255 - usize::from(limits.max_body() == 0), "{limits:?}");
        assert!(needs >= 255 && packets > 255 * 10, "{needs} {packets}");
    }
}

#[test]
fn bad_starts_are_refused_by_name_at_the_first_byte_that_shows_them() {
    let limits = Limits::default();
    assert_eq!(frame_len(b"G", &limits), Err(DecodeError::Magic { found: b'G' }));
    assert_eq!(frame_len(b"OPTIONS", &limits), Err(DecodeError::Magic { found: b'O' }));
    assert_eq!(frame_len(&[0x66, 0, 5, 7], &limits), Err(DecodeError::Version { found: 7 }));
    let mut huge = Header::new(MessageType::SEND).to_bytes(u32::MAX);
    let error = frame_len(&huge, &limits).unwrap_err();
    assert_eq!(error, DecodeError::BodyTooLarge { len: u32::MAX, max: DEFAULT_MAX_BODY });
    assert_eq!(error.fault(), Fault::PeerViolated);
    huge[20..].copy_from_slice(&(DEFAULT_MAX_BODY + 1).to_be_bytes());
    assert_eq!(frame_len(&huge, &limits).unwrap_err().fault(), Fault::LocalLimit);
}

/// `ouyu-im.md` B1: byte 1 is 0 in version 1, and the protocol code in OUYUNC 2 to 5, with 1 or (MQTT) 4 behind it.
#[test]
fn layouts_of_later_ouyunc_releases_are_refused_by_name_however_they_are_cut() {
    for limits in [Limits::default(), BOTH, Limits::default().with_versions(Versions::V1)] {
        for protocol in 0..=255u8 {
            for version in [0, 1, 2, 4, 5] {
                let start = [0x66, protocol, version, 1];
                let ouyunc = (1..=7).contains(&protocol) && (version == 1 || version == 4);
                let want = Err(DecodeError::OuyuncLayout { release: "2 to 5" });
                for n in 3..=4 {
                    assert_eq!(frame_len(&start[..n], &limits) == want, ouyunc, "{start:?}");
                }
            }
        }
        assert!(frame_len(b"O", &limits).is_ok(), "it may still be either");
        for n in 2..=6 {
            assert_eq!(frame_len(&b"OUYUNC"[..n], &limits), Err(DecodeError::OuyuncLayout { release: "6" }));
        }
    }
}

#[test]
fn a_version_that_is_off_is_refused_by_name_and_says_how_to_switch_it_on() {
    for (versions, on, off) in
        [(Versions::V2, Version::V2, Some(Version::V1)), (Versions::V1, Version::V1, Some(Version::V2))]
    {
        let limits = Limits::default().with_versions(versions);
        assert!(frame_len(&[0x66, 0, 1, on.0], &limits).is_ok());
        let off = off.unwrap();
        let error = frame_len(&[0x66, 0, 1, off.0], &limits).unwrap_err();
        assert_eq!(error, DecodeError::VersionOff { found: off });
        let text = error.to_string();
        assert!(text.contains("switched off here") && text.contains("Versions::V1AndV2"), "{text}");
        let mut out = Vec::new();
        let header = Header { version: off, ..Header::new(MessageType::SEND) };
        assert_eq!(encode_packet(&mut out, &header, b"", &limits), Err(EncodeError::Version { found: off }));
    }
    for version in [Version::V1, Version::V2] {
        assert!(frame_len(&[0x66, 0, 1, version.0], &BOTH).is_ok());
    }
}

#[test]
fn what_cannot_be_read_is_not_written_and_leaves_the_buffer_as_it_was() {
    let limits = Limits::new(3);
    let header = Header::new(MessageType::SEND);
    let ouyunc = Header { protocol: Protocol(0x0101), ..header };
    let cases = [
        (header, &b"long"[..], EncodeError::BodyTooLarge { len: 4, max: 3 }),
        (ouyunc, b"", EncodeError::Protocol { found: Protocol(0x0101) }),
        (Header { version: Version(7), ..header }, b"", EncodeError::Version { found: Version(7) }),
    ];
    for (header, body, want) in cases {
        let mut out = b"kept".to_vec();
        assert_eq!(encode_packet(&mut out, &header, body, &limits), Err(want));
        let good = Header::new(MessageType::SEND);
        assert_eq!(encode_packets(&mut out, [(&good, &b"a"[..]), (&header, body)], &limits), Err(want));
        let start = begin_packet(&mut out);
        out.extend_from_slice(body);
        assert_eq!(finish_packet(&mut out, start, &header, &limits), Err(want));
        assert_eq!(out, b"kept");
        assert!(want.offset() < HEADER_LEN && !want.to_string().is_empty());
    }
    let mut out = Vec::new();
    assert_eq!(finish_packet(&mut out, 99, &header, &limits), Err(EncodeError::NotBegun { start: 99 }));
    encode_packet(&mut out, &header, b"", &limits).unwrap();
    let mut packet = parse_mut(&mut out, &limits).unwrap().unwrap();
    let refused = packet.set_protocol(Protocol(0x0704));
    assert_eq!(refused, Err(EncodeError::Protocol { found: Protocol(0x0704) }));
    assert_eq!(packet.header(), header);
}

#[test]
fn errors_are_small() {
    assert!(size_of::<DecodeError>() <= 32 && size_of::<EncodeError>() <= 32);
    assert!(size_of::<MessageError>() <= 32 && size_of::<BatchError>() <= 32 && size_of::<BatchWriteError>() <= 32);
    assert!(size_of::<SnowflakeError>() <= 32);
    #[cfg(feature = "tokio")]
    assert!(size_of::<CodecError>() <= 32);
}

#[test]
fn content_does_not_get_into_debug_output() {
    let mut wire = Vec::new();
    encode_packet(&mut wire, &Header::new(MessageType::SEND), b"\xde\xad", &Limits::default()).unwrap();
    let packet = parse(&wire, &Limits::default()).unwrap().unwrap();
    let owned = format!("{:?}", packet.to_packet());
    let borrowed = format!("{packet:?}");
    let mutable = format!("{:?}", parse_mut(&mut wire.clone(), &Limits::default()).unwrap().unwrap());
    for text in [owned, borrowed, mutable] {
        assert!(text.contains("body_len: 2") && !text.contains("222") && !text.contains("173"), "{text}");
    }
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
