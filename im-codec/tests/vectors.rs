//! The vectors of the specification: parse, compare fields, emit, identical bytes; and every error where it says.

use im_codec::*;
use serde_json::Value;

fn hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().expect("hex text");
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex digits")).collect()
}

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../docs/spec/vectors/packets.json")).expect("valid JSON")
}

fn cases(name: &str) -> Vec<Value> {
    let cases = vectors()[name].as_array().unwrap().clone();
    assert!(!cases.is_empty());
    cases
}

fn limits(case: &Value) -> Limits {
    Limits::default().with_versions(match case["versions"].as_str() {
        None | Some("2") => Versions::V2,
        Some("1") => Versions::V1,
        Some("1 and 2") => Versions::V1AndV2,
        Some(other) => panic!("versions {other}"),
    })
}

/// The name of an error's variant.
fn kind(error: &impl core::fmt::Debug) -> String {
    format!("{error:?}").split(|c: char| !c.is_alphanumeric()).next().unwrap().to_owned()
}

#[test]
fn every_packet_parses_to_its_fields_and_emits_its_bytes() {
    let limits = Limits::default().with_versions(Versions::V1AndV2);
    for vector in cases("packets") {
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
        let packet = parse(&bytes, &limits).unwrap().expect("a whole packet");
        assert_eq!((packet.header(), packet.body()), (header, hex(&vector["body"]).as_slice()), "{vector}");
        assert_eq!(header.message_name(), vector["message_name"].as_str(), "{vector}");
        let mut again = Vec::new();
        encode_packet(&mut again, &header, packet.body(), &limits).unwrap();
        assert_eq!(again, bytes, "{vector}");
        // A side that did not name version 1 takes version 2 only.
        assert_eq!(parse(&bytes, &Limits::default()).is_ok(), header.version == Version::V2);
    }
}

#[test]
fn the_six_packets_of_ouyu_im_and_every_packet_of_version_2_are_among_them() {
    let packets = cases("packets");
    let ouyu = packets.iter().filter(|packet| packet["name"].as_str().unwrap().starts_with("OUYU-IM ")).count();
    assert_eq!(ouyu, 6);
    for code in (0..=127).map(MessageType).filter(|code| code.name(Version::V2).is_some()) {
        let found = packets.iter().any(|packet| packet["version"] == 2 && packet["message_type"] == code.0);
        assert!(found, "no vector for {code}");
    }
}

#[test]
fn every_error_is_found_by_name_at_its_offset() {
    for vector in cases("errors") {
        let bytes = hex(&vector["hex"]);
        let limits = limits(&vector);
        let error = parse(&bytes, &limits).expect_err("an error");
        assert_eq!(error.offset() as u64, vector["offset"].as_u64().unwrap(), "{vector}");
        assert_eq!(kind(&error), vector["error"].as_str().unwrap(), "{vector}");
        // 4002 is the peer's fault, 4003 its other language, 4004 a limit.
        let close = match (&error, error.fault()) {
            (DecodeError::BodyTooLarge { .. }, _) => 4004,
            (_, Fault::PeerIncompatible) => 4003,
            (_, Fault::PeerViolated) => 4002,
            (_, fault) => panic!("{fault:?}: {vector}"),
        };
        assert_eq!(vector["close_code"], close, "{vector}");
        // The first byte that shows it is enough, and no byte less is.
        let shown = match error {
            DecodeError::OuyuncLayout { release: "2 to 5" } => 3,
            DecodeError::BodyTooLarge { .. } => 24,
            DecodeError::Magic { found: b'O' } => 2,
            DecodeError::Magic { .. } | DecodeError::OuyuncLayout { .. } | _ => error.offset() + 1,
        };
        assert_eq!(parse(&bytes[..shown], &limits), Err(error), "{vector}");
        assert!(parse(&bytes[..shown - 1], &limits).is_ok(), "{vector}");
    }
}

#[test]
fn every_need_is_exact() {
    for vector in cases("needs") {
        let need = parse(&hex(&vector["hex"]), &limits(&vector)).unwrap().expect_err("a need");
        assert_eq!(need.get() as u64, vector["need"].as_u64().unwrap(), "{vector}");
    }
}

#[test]
fn a_message_is_exactly_one_packet() {
    for vector in cases("messages") {
        let bytes = hex(&vector["hex"]);
        let got = parse_message(&bytes, &limits(&vector));
        let owned = Packet::from_message(bytes.clone().into(), &limits(&vector));
        assert_eq!(owned.as_ref().map(Packet::view), got.as_ref().copied());
        match vector["error"].as_str() {
            None => assert_eq!(got.unwrap().as_bytes(), bytes),
            Some(name) => {
                let error = got.unwrap_err();
                assert_eq!((kind(&error).as_str(), error.offset() as u64), (name, vector["offset"].as_u64().unwrap()));
                assert_eq!(error.fault(), Fault::PeerViolated);
            }
        }
    }
}

#[test]
fn every_batch_gives_its_packets_and_then_its_error() {
    for vector in cases("batches") {
        let bytes = hex(&vector["hex"]);
        let mut batch_limits = BatchLimits::default();
        if let Some(max) = vector["max_packets"].as_u64() {
            batch_limits.max_packets = max as u32;
        }
        if let Some(max) = vector["max_bytes"].as_u64() {
            batch_limits.max_bytes = max as u32;
        }
        let mut batch = Batch::new(&bytes, limits(&vector), batch_limits);
        let mut again = Vec::new();
        let mut writer = BatchWriter::new(&mut again, limits(&vector), batch_limits);
        for _ in 0..vector["packets"].as_u64().unwrap() {
            let packet = batch.next().expect("another packet").unwrap();
            writer.push(&packet.header(), packet.body()).unwrap();
        }
        match vector["error"].as_str() {
            None => assert_eq!(again, bytes, "{vector}"),
            Some(name) => {
                let error = batch.next().expect("an error").unwrap_err();
                assert_eq!(kind(&error.kind), name, "{vector}");
                assert_eq!(u64::from(error.index), vector["index"].as_u64().unwrap(), "{vector}");
                assert_eq!(u64::from(error.packet_offset), vector["packet_offset"].as_u64().unwrap(), "{vector}");
                assert_eq!(error.offset() as u64, vector["offset"].as_u64().unwrap(), "{vector}");
            }
        }
        assert!(batch.next().is_none(), "{vector}");
    }
}

/// The tables of the specification name what the crate names, and nothing else.
#[test]
fn every_code_has_the_name_of_the_specification() {
    let vectors = vectors();
    let name_of = |table: &str, code: u16| {
        let byte = code as u8;
        match table {
            "protocol" => Protocol(code).name(),
            _ if code > 255 => None,
            "version" => Version(byte).name(),
            "device" => DeviceType(byte).name(),
            "encryption" => EncryptionId(byte).name(),
            "serialization" => SerializationId(byte).name(),
            "message_type_1" => MessageType(byte).name(Version::V1),
            "message_type_2" => MessageType(byte).name(Version::V2),
            _ => panic!("a table without a type: {table}"),
        }
    };
    for (table, names) in vectors["codes"].as_object().unwrap() {
        for code in 0..=1_000u16 {
            let range = &vectors["application"][table];
            let application = range[0].as_u64() <= Some(code.into()) && Some(code.into()) <= range[1].as_u64();
            let want = if application {
                Some("application")
            } else {
                names.get(code.to_string()).unwrap_or(&Value::Null).as_str()
            };
            assert_eq!(name_of(table, code), want, "{table} {code}");
        }
    }
    assert!(Protocol(128).is_application() && !Protocol(127).is_application() && !Protocol(192).is_application());
    assert!(MessageType(191).is_application() && !MessageType(192).is_application());
    assert!(SerializationId(64).is_application() && !SerializationId(128).is_application());
    assert_eq!(EncryptionId::RC4.to_string(), "rc4 (8)");
    assert_eq!(MessageType(130).to_string(), "application (130)");
}
