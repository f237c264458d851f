//! The codec of the `tokio` feature, driven as `Framed` drives it.
#![cfg(feature = "tokio")]

use bytes::{Bytes, BytesMut};
use im_codec::*;
use tokio_util::codec::{Decoder, Encoder};

#[test]
fn what_is_encoded_is_decoded_and_the_end_inside_a_packet_is_an_error() {
    let mut codec = PacketCodec::new(Limits::default());
    let mut wire = BytesMut::new();
    let header = Header { packet_id: 7, ..Header::new(MessageType::SEND) };
    codec.encode((header, Bytes::from_static(b"hello")), &mut wire).unwrap();
    let mut first = wire.clone();
    let packet = codec.decode(&mut first).unwrap().unwrap();
    assert_eq!((packet.header(), packet.body()), (header, Bytes::from_static(b"hello")));
    codec.encode(packet, &mut wire).unwrap();
    assert_eq!(wire.len(), 2 * 29);

    let mut cut = BytesMut::from(&wire[..57]);
    assert!(codec.decode_eof(&mut cut).unwrap().is_some());
    assert!(codec.decode(&mut cut).unwrap().is_none());
    let error = codec.decode_eof(&mut cut).unwrap_err();
    assert!(matches!(error, CodecError::Truncated { missing: 1 }), "{error}");
    assert_eq!(error.fault(), Some(Fault::PeerViolated));
    cut.clear();
    assert!(codec.decode_eof(&mut cut).unwrap().is_none());
}

#[test]
fn errors_are_typed_and_a_claim_reserves_nothing() {
    let mut codec = PacketCodec::new(Limits::new(100));
    let mut claim = BytesMut::from(&Header::new(MessageType::SEND).to_bytes(100)[..]);
    let capacity = claim.capacity();
    assert!(codec.decode(&mut claim).unwrap().is_none());
    assert_eq!(claim.capacity(), capacity);

    let mut large = BytesMut::from(&Header::new(MessageType::SEND).to_bytes(101)[..]);
    let error = codec.decode(&mut large).unwrap_err();
    assert_eq!((error.offset(), error.fault()), (Some(20), Some(Fault::LocalLimit)));
    let error = codec.encode((Header::new(MessageType::SEND), vec![0; 101].into()), &mut large).unwrap_err();
    assert!(matches!(error, CodecError::Encode(EncodeError::BodyTooLarge { len: 101, max: 100 })));
}
