//! Packets: a stream in chunks gives the same packets as in one piece, and what parses emits itself.

use bytes::BytesMut;
use im_codec::{Decoder, Header, Limits, MessageType, encode_packet};

fn decode<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, bool) {
    let decoder = Decoder::new(Limits::new(4096));
    let mut buffer = BytesMut::new();
    let mut packets = Vec::new();
    for chunk in chunks {
        buffer.extend_from_slice(chunk);
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(packet)) => {
                    let mut again = Vec::new();
                    encode_packet(&mut again, &packet.header(), &packet.body(), &Limits::new(4096)).unwrap();
                    assert_eq!(again, packet.clone().into_bytes());
                    packets.push(again);
                }
                Ok(None) => break,
                Err(_) => return (packets, true),
            }
        }
    }
    (packets, false)
}

/// The first byte is a chunk size and the rest a stream.
pub fn packet_stream(data: &[u8]) {
    let Some((size, stream)) = data.split_first() else { return };
    let whole = decode(std::iter::once(stream));
    assert_eq!(decode(stream.chunks(usize::from(*size).max(1))), whole);
}

/// Streams of a few packets, read in small and large chunks.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut stream = Vec::new();
    for len in [0, 1, 24, 300] {
        let header = Header { packet_id: len as u64, ..Header::new(MessageType::SEND) };
        encode_packet(&mut stream, &header, &vec![0x66; len], &Limits::default()).unwrap();
    }
    [1, 7, 24, 255].iter().map(|size| [&[*size], stream.as_slice()].concat()).collect()
}
