//! Packets: the decoder agrees with the specification, whatever the chunks, and what parses emits itself.

use bytes::{Bytes, BytesMut};
use im_codec::{
    Decoder, DeviceType, EncryptionId, Framing, Header, Limits, MessageType, Packet, PacketCodec, Protocol,
    SerializationId, Version, Versions, begin_packet, encode_packet, encode_packets, finish_packet, frame_len, parse,
    parse_message, parse_mut,
};

/// Small, so that the fuzzer reaches it.
const MAX_BODY: u32 = 4096;

/// What the specification says of the start of `input`.
#[derive(Debug, PartialEq)]
enum Answer {
    Packet(usize),
    Need(usize),
    /// Offset of the offending byte.
    Error(usize),
}

/// `docs/spec/packet.md` once more, in the plainest words: byte by byte, without the codec.
fn specification(input: &[u8], limits: &Limits) -> Answer {
    let [first, rest @ ..] = input else { return Answer::Need(24) };
    if *first != 0x66 {
        return match (*first, rest.first()) {
            (b'O', None) => Answer::Need(23),
            (b'O', Some(b'U')) => Answer::Error(1),
            _ => Answer::Error(0),
        };
    }
    if rest.len() >= 2 && (1..=7).contains(&rest[0]) && (rest[1] == 1 || rest[1] == 4) {
        return Answer::Error(1);
    }
    if rest.len() >= 3 {
        let accepted: &[u8] = match limits.versions() {
            Versions::V1 => &[1],
            Versions::V2 => &[2],
            Versions::V1AndV2 => &[1, 2],
        };
        if !accepted.contains(&rest[2]) {
            return Answer::Error(3);
        }
    }
    if input.len() < 24 {
        return Answer::Need(24 - input.len());
    }
    let len = input[20..24].iter().fold(0u64, |len, byte| len << 8 | u64::from(*byte));
    if len > u64::from(limits.max_body()) {
        return Answer::Error(20);
    }
    let total = 24 + len as usize;
    if input.len() < total { Answer::Need(total - input.len()) } else { Answer::Packet(total) }
}

fn limits(choice: u8) -> Limits {
    let versions = [Versions::V2, Versions::V1AndV2, Versions::V1][usize::from(choice % 3)];
    Limits::new(MAX_BODY).with_versions(versions)
}

/// The first byte picks the versions, the rest is a stream. Every step gives what the specification says, and every way
/// to ask gives the same.
pub fn packet_stream(data: &[u8]) {
    let Some((choice, stream)) = data.split_first() else { return };
    let limits = limits(*choice);
    let decoder = Decoder::new(limits);
    let mut rest = stream;
    loop {
        let want = specification(rest, &limits);
        let framing = frame_len(rest, &limits);
        let got = match framing {
            Ok(Framing::Complete(total)) => Answer::Packet(total),
            Ok(Framing::Need(n)) => Answer::Need(n.get()),
            Err(error) => Answer::Error(error.offset()),
        };
        assert_eq!(got, want, "{rest:02x?}");
        if let Answer::Need(n) | Answer::Packet(n) = want {
            assert!(n <= limits.max_packet());
        }
        let before = rest;
        match decoder.decode_slice(&mut rest) {
            Ok(Some(packet)) => {
                assert_eq!(want, Answer::Packet(packet.as_bytes().len()));
                assert_eq!(packet.as_bytes(), &before[..packet.as_bytes().len()]);
                assert_eq!(packet.body(), &packet.as_bytes()[24..]);
                assert_eq!(packet.as_bytes().len() + rest.len(), before.len());
                assert_eq!(parse(before, &limits), Ok(Ok(packet)));
                assert_eq!(parse_message(packet.as_bytes(), &limits), Ok(packet));
                assert_eq!(decoder.needs(before), Ok(0));
            }
            Ok(None) => {
                assert_eq!(rest, before, "nothing is taken before a packet is whole");
                assert_eq!(want, Answer::Need(decoder.needs(rest).unwrap()));
                assert!(parse_message(before, &limits).is_err());
                return;
            }
            Err(error) => {
                assert_eq!(rest, before, "nothing is taken of what is no packet");
                assert_eq!(Err(error), framing);
                assert!(!error.to_string().is_empty());
                return;
            }
        }
    }
}

/// A header, a body and new fields. What is written reads as it was given, or was refused; a packet that is rewritten in
/// place is what writing it anew would have given, and magic, version and length stay.
pub fn packet_identity(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else { return };
    let Some((raw, data)) = data.split_first_chunk::<24>() else { return };
    let Some((new, body)) = data.split_first_chunk::<24>() else { return };
    let limits = limits(*choice);
    let (header, _) = Header::from_bytes(raw);
    let mut wire = Vec::new();
    let written = encode_packet(&mut wire, &header, body, &limits);

    // Every way to write does the same.
    let mut built = Vec::new();
    let start = begin_packet(&mut built);
    built.extend_from_slice(body);
    assert_eq!(finish_packet(&mut built, start, &header, &limits), written);
    let mut many = BytesMut::new();
    assert_eq!(encode_packets(&mut many, [(&header, body)], &limits), written);
    assert_eq!((&built, &many[..]), (&wire, &wire[..]));
    if written.is_err() {
        assert!(wire.is_empty());
        // What is refused is what a reader would refuse.
        let mut refused = header.to_bytes(body.len() as u32).to_vec();
        refused.extend_from_slice(body);
        assert!(parse(&refused, &limits).is_err(), "{refused:02x?}");
        return;
    }

    let packet = parse(&wire, &limits).unwrap().unwrap();
    assert_eq!((packet.header(), packet.body()), (header, body));
    assert_eq!(packet.to_packet().view(), packet);

    let (new, _) = Header::from_bytes(new);
    let mut rewritten = wire.clone();
    let mut view = parse_mut(&mut rewritten, &limits).unwrap().unwrap();
    let protocol_set = view.set_protocol(new.protocol).is_ok();
    view.set_packet_id(new.packet_id);
    view.set_device(new.device);
    view.set_ip(new.ip);
    view.set_encryption(new.encryption);
    view.set_serialization(new.serialization);
    view.set_message_type(new.message_type);
    view.body_mut().reverse();

    let want = Header { version: header.version, ..new };
    let want = if protocol_set { want } else { Header { protocol: header.protocol, ..want } };
    let body: Vec<u8> = body.iter().rev().copied().collect();
    let mut again = Vec::new();
    encode_packet(&mut again, &want, &body, &limits).unwrap();
    assert_eq!(rewritten, again);
    assert_eq!((rewritten[0], rewritten[3], &rewritten[20..24]), (wire[0], wire[3], &wire[20..24]));

    // An owned packet, alone and shared.
    let owned = Packet::from_message(Bytes::from(wire.clone()), &limits).unwrap();
    let keep = owned.clone();
    for packet in [owned, keep.clone()] {
        let edited = packet.edit(|view| {
            let _ = view.set_protocol(new.protocol);
            view.set_packet_id(new.packet_id);
        });
        assert_eq!((edited.header().packet_id, edited.header().protocol), (new.packet_id, want.protocol));
        assert_eq!(edited.body(), keep.body());
    }
    assert_eq!(keep.into_bytes(), wire);
}

type Outcome = (Vec<Bytes>, Option<im_codec::DecodeError>, usize);

/// All packets in one shot, the error, and how many bytes are left.
fn one_shot(stream: &[u8], limits: &Limits) -> Outcome {
    let decoder = Decoder::new(*limits);
    let (mut rest, mut packets) = (stream, Vec::new());
    loop {
        match decoder.decode_slice(&mut rest) {
            Ok(Some(packet)) => packets.push(Bytes::copy_from_slice(packet.as_bytes())),
            Ok(None) => return (packets, None, rest.len()),
            Err(error) => return (packets, Some(error), rest.len()),
        }
    }
}

/// Byte 0 picks the versions, byte 1 says how many bytes of chunk sizes follow, the rest is a stream. Chunks of these
/// sizes, over and over, give the same packets and the same error as one piece, in a `BytesMut` and through the codec of
/// `tokio`.
pub fn packet_chunks(data: &[u8]) {
    let [choice, count, data @ ..] = data else { return };
    let Some((sizes, stream)) = data.split_at_checked(usize::from(*count % 16)) else { return };
    let limits = limits(*choice);
    let want = one_shot(stream, &limits);

    let decoder = Decoder::new(limits);
    let mut codec = PacketCodec::new(limits);
    let (mut buffer, mut framed) = (BytesMut::new(), BytesMut::new());
    let (mut packets, mut from_codec) = (Vec::new(), Vec::new());
    let mut sizes = sizes.iter().cycle();
    let mut rest = stream;
    let mut failed = None;
    let mut taken = 0;
    while !rest.is_empty() && failed.is_none() {
        let size = sizes.next().map_or(1, |size| usize::from(*size).max(1)).min(rest.len());
        let (chunk, next) = rest.split_at(size);
        rest = next;
        buffer.extend_from_slice(chunk);
        framed.extend_from_slice(chunk);
        loop {
            let framed = tokio_util::codec::Decoder::decode(&mut codec, &mut framed);
            match decoder.decode(&mut buffer) {
                Ok(Some(packet)) => {
                    from_codec.push(framed.unwrap().unwrap().into_bytes());
                    taken += packet.view().as_bytes().len();
                    packets.push(packet.into_bytes());
                }
                Ok(None) => {
                    assert!(framed.unwrap().is_none());
                    let needs = decoder.needs(&buffer).unwrap();
                    assert!(needs > 0 && needs <= limits.max_packet());
                    break;
                }
                Err(error) => {
                    assert!(framed.is_err());
                    failed = Some(error);
                    break;
                }
            }
        }
    }
    assert_eq!((&packets, failed), (&want.0, want.1));
    assert_eq!(from_codec, want.0);
    assert_eq!(stream.len() - taken, want.2);
}

/// A stream of both versions, with bodies of no, one, a header's and many bytes.
fn stream() -> Vec<u8> {
    let limits = Limits::new(MAX_BODY).with_versions(Versions::V1AndV2);
    let mut stream = Vec::new();
    for (at, len) in [0, 1, 24, 300].into_iter().enumerate() {
        let header = Header {
            protocol: Protocol(at as u16 + 1),
            version: if at == 1 { Version::V1 } else { Version::V2 },
            packet_id: 0x0102_0304_0506_0708 + at as u64,
            device: DeviceType::PC_WINDOWS,
            ip: 0xc0a8_010a,
            encryption: EncryptionId::NONE,
            serialization: SerializationId::PROTOBUF,
            message_type: MessageType(at as u8),
        };
        encode_packet(&mut stream, &header, &vec![0x66; len], &limits).unwrap();
    }
    stream
}

/// For [`packet_stream`]: both versions, one of them, and other protocols.
pub fn stream_seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = (0..3).map(|choice| [&[choice], stream().as_slice()].concat()).collect();
    seeds.push(b"\0OUYUNC\x03\x01".to_vec());
    seeds.push(b"\0\x66\x06\x04".to_vec());
    seeds.push(b"\0GET / HTTP/1.1\r\n".to_vec());
    let mut large = vec![0];
    large.extend_from_slice(&Header::new(MessageType::SEND).to_bytes(MAX_BODY + 1));
    seeds.push(large);
    seeds
}

/// For [`packet_identity`]: a header, another one and a body.
pub fn identity_seeds() -> Vec<Vec<u8>> {
    let stream = stream();
    (0..3).map(|choice| [&[choice], &stream[..24], &stream[24..48], b"body"].concat()).collect()
}

/// For [`packet_chunks`]: one byte at a time, a header at a time, and uneven.
pub fn chunk_seeds() -> Vec<Vec<u8>> {
    let stream = stream();
    [&[1u8, 0][..], &[1, 1, 24], &[1, 3, 1, 23, 7], &[1, 1, 255]]
        .iter()
        .map(|head| [head, &stream[..]].concat())
        .collect()
}
