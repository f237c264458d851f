//! HTTP batches: the iterator agrees with the decoder, and what was read writes itself.

use im_codec::{Batch, BatchErrorKind, BatchLimits, BatchWriteError, BatchWriter, Decoder, Limits, Versions};

/// Byte 0 is the most packets, bytes 1 and 2 the most bytes, the rest is the batch.
pub fn http_batch(data: &[u8]) {
    let [count, high, low, body @ ..] = data else { return };
    let limits = Limits::new(1024).with_versions(Versions::V1AndV2);
    let max_bytes = u32::from(u16::from_be_bytes([*high, *low]));
    let batch_limits = BatchLimits { max_packets: u32::from(*count), max_bytes };

    let mut written = Vec::new();
    let mut writer = BatchWriter::new(&mut written, limits, batch_limits);
    let mut failed = None;
    let mut batch = Batch::new(body, limits, batch_limits);
    for packet in batch.by_ref() {
        assert!(failed.is_none(), "an error is the end");
        match packet {
            Ok(packet) => writer.push(&packet.header(), packet.body()).unwrap(),
            Err(error) => failed = Some(error),
        }
    }
    assert!(batch.next().is_none());
    let (packets, bytes) = (writer.packets(), writer.bytes());
    assert_eq!(written, &body[..bytes]);
    assert!(packets <= batch_limits.max_packets && bytes <= max_bytes as usize);

    let Some(error) = failed else {
        assert_eq!(bytes, body.len(), "whole packets only");
        return;
    };
    assert_eq!((error.index, error.packet_offset as usize), (packets, bytes));
    assert!(error.offset() >= bytes || packets == 0);
    let rest = &body[bytes..];
    let stream = Decoder::new(limits).decode_slice(&mut &*rest);
    match error.kind {
        BatchErrorKind::Packet(why) => assert_eq!(stream, Err(why)),
        BatchErrorKind::Truncated { missing } => {
            assert_eq!(stream, Ok(None));
            assert_eq!(Decoder::new(limits).needs(rest), Ok(missing as usize));
        }
        BatchErrorKind::TooManyPackets { max } => {
            assert_eq!(max, packets);
            // A writer stops at the same packet, or the packet was no packet.
            if let Ok(Some(packet)) = stream {
                let mut again = BatchWriter::new(&mut written, limits, batch_limits);
                for packet in Batch::new(&body[..bytes], limits, batch_limits) {
                    let packet = packet.unwrap();
                    again.push(&packet.header(), packet.body()).unwrap();
                }
                let full = again.push(&packet.header(), packet.body()).unwrap_err();
                assert!(matches!(full, BatchWriteError::Full { .. } | BatchWriteError::NeverFits { .. }));
            }
        }
        BatchErrorKind::TooManyBytes { max } => assert!(body.len() > max as usize && packets == 0),
        other => panic!("a kind without a check: {other}"),
    }
}

/// A batch that fits, one with a packet too many, one with a byte too many, one cut short.
pub fn seeds() -> Vec<Vec<u8>> {
    let limits = Limits::new(1024);
    let mut body = Vec::new();
    let mut writer = BatchWriter::new(&mut body, limits, BatchLimits::default());
    for len in [0, 5, 100] {
        writer.push(&im_codec::Header::new(im_codec::MessageType::SEND), &vec![7; len]).unwrap();
    }
    let exact = (body.len() as u16).to_be_bytes();
    let below = (body.len() as u16 - 1).to_be_bytes();
    vec![
        [&[3], &exact[..], &body].concat(),
        [&[2], &exact[..], &body].concat(),
        [&[3], &below[..], &body].concat(),
        [&[3], &exact[..], &body[..60]].concat(),
    ]
}
