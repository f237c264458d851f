//! The vectors of the specification: parse, compare fields, emit, identical bytes.

use im_codec::*;
use serde_json::Value;

fn hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().expect("hex text");
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex digits")).collect()
}

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../docs/spec/vectors/packets.json")).expect("valid JSON")
}

#[test]
fn every_packet_parses_to_its_fields_and_emits_its_bytes() {
    for vector in vectors()["packets"].as_array().unwrap() {
        let bytes = hex(&vector["hex"]);
        let number = |name: &str| vector[name].as_u64().unwrap_or_else(|| panic!("{name} in {vector}"));
        let header = Header {
            protocol: Protocol(number("protocol") as u16),
            version: Version(number("version") as u8),
            packet_id: number("packet_id"),
            device: DeviceType(number("device") as u8),
            ip: number("ip") as u32,
            encryption: EncryptionId(number("encryption") as u8),
            serialization: SerializationId(number("serialization") as u8),
            message_type: MessageType(number("message_type") as u8),
        };
        let packet = parse(&bytes, &Limits::default()).unwrap().expect("a whole packet");
        assert_eq!((packet.header(), packet.body()), (header, hex(&vector["body"]).as_slice()), "{vector}");
        let mut again = Vec::new();
        encode_packet(&mut again, &header, packet.body(), &Limits::default()).unwrap();
        assert_eq!(again, bytes, "{vector}");
    }
}

#[test]
fn every_error_is_found_at_its_offset() {
    for vector in vectors()["errors"].as_array().unwrap() {
        let error = parse(&hex(&vector["hex"]), &Limits::default()).expect_err("an error");
        assert_eq!(error.offset() as u64, vector["offset"].as_u64().unwrap(), "{vector}");
    }
}
