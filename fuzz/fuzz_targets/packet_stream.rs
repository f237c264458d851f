//! A stream in chunks gives the same packets as in one piece, and what parses emits itself.
#![no_main]

use bytes::BytesMut;
use im_codec::{Decoder, Limits, encode_packet};
use libfuzzer_sys::fuzz_target;

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

fuzz_target!(|data: &[u8]| {
    let Some((size, stream)) = data.split_first() else { return };
    let whole = decode(std::iter::once(stream));
    assert_eq!(decode(stream.chunks(usize::from(*size).max(1))), whole);
});
