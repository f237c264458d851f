//! Every format: round trips of every body, evolution, limits, and no content in `Debug`.
#![cfg(all(
    feature = "bincode",
    feature = "cbor",
    feature = "json",
    feature = "msgpack",
    feature = "postcard",
    feature = "protobuf",
    feature = "thrift",
    feature = "v1"
))]

mod records;

use im_serial::body::*;
use im_serial::class::Record;
use im_serial::*;
use proptest::prelude::*;
use records::{Loss, any_record, classes, copy, formats};

fn decode(format: &dyn Format, like: &dyn Record, bytes: &[u8]) -> Result<Box<dyn Record>, DecodeError> {
    let mut record = (like.class().new)();
    format.decode_record(&mut *record, bytes, &Limits::default())?;
    Ok(record)
}

fn body(kind: Kind, record: &dyn Record) -> Body {
    let fill = |into: &mut dyn Record| Json.decode_record(into, &encode(&Json, record), &Limits::default());
    Body::from_record(kind, fill).expect("its own")
}

fn encode(format: &dyn Format, record: &dyn Record) -> Vec<u8> {
    let mut out = b"earlier".to_vec();
    format.encode_record(record, &mut out).expect("encodes");
    assert_eq!(out[..7], *b"earlier");
    out.split_off(7)
}

fn kinds() -> impl Strategy<Value = (Kind, std::sync::Arc<dyn Record>)> {
    let each = Kind::ALL.iter().map(|kind| (Just(*kind), records::record(kind.class())).boxed());
    proptest::strategy::Union::new(each)
}

proptest! {
    #[test]
    fn every_record_survives_every_format(record in any_record()) {
        for format in formats() {
            let bytes = encode(&*format, &*record);
            let read = decode(&*format, &*record, &bytes);
            prop_assert_eq!(&*read.unwrap(), &*copy(&*record, Loss::of(format.id())), "{}", format.name());
        }
    }

    /// What a crate derives and what the class table does are the same, both ways.
    #[test]
    fn version_2_is_the_same_by_both_ways((kind, record) in kinds()) {
        let body = body(kind, &*record);
        prop_assert_eq!(body.as_record(), &*record);
        for format in formats() {
            let mut derived = Vec::new();
            format.encode(&body, &mut derived).unwrap();
            prop_assert_eq!(&derived, &encode(&*format, &*record), "{}", format.name());
            prop_assert_eq!(&format.decode(kind, &derived, &Limits::default()).unwrap(), &body);
            prop_assert_eq!(&*decode(&*format, &*record, &derived).unwrap(), &*record);
        }
    }

    #[test]
    fn arbitrary_bytes_are_a_record_or_a_typed_error(bytes in proptest::collection::vec(any::<u8>(), 0..100), class in any::<proptest::sample::Index>()) {
        let classes = classes();
        let class = classes[class.index(classes.len())];
        for format in formats() {
            match decode(&*format, &*(class.new)(), &bytes) {
                Ok(record) => {
                    let again = encode(&*format, &*record);
                    prop_assert_eq!(&*decode(&*format, &*record, &again).unwrap(), &*record);
                }
                Err(error) => prop_assert_eq!(error.format, format.name()),
            }
        }
    }

}

proptest! {
    // Each case is some thousand bodies.
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn every_truncation_and_change_is_a_record_or_a_typed_error(record in any_record(), change in any::<u8>()) {
        for format in formats() {
            let mut bytes = encode(&*format, &*record);
            for n in 0..bytes.len() {
                let _ = decode(&*format, &*record, &bytes[..n]);
                bytes[n] ^= change;
                let _ = decode(&*format, &*record, &bytes);
                bytes[n] ^= change;
            }
            // Protobuf's fields may be any; an unknown one is skipped.
            bytes.push(0xff);
            prop_assert!(decode(&*format, &*record, &bytes).is_err(), "{}", format.name());
        }
    }
}

#[test]
fn errors_are_small_and_say_what_where_and_whose() {
    assert!(size_of::<DecodeError>() <= 40 && size_of::<EncodeError>() <= 32 && size_of::<Error>() <= 40);
    assert!(size_of::<RegisterError>() <= 32 && size_of::<Unknown>() <= 32);
    let error = Thrift.decode(Kind::Close, b"\x15\x02\x18\x7f", &Limits::default()).unwrap_err();
    assert_eq!(error.to_string(), "the thrift body of a Close packet cannot be read: it ends early (at byte 4)");
    let error = Protobuf.decode_record(&mut Conversation::default(), b"\x12\x02a", &Limits::default()).unwrap_err();
    assert_eq!((error.problem, error.offset()), (Problem::Truncated, Some(1)));
}

#[test]
fn missing_fields_are_defaults_and_unknown_fields_are_skipped() {
    let limits = Limits::default();
    let want = Body::from(Delivered { conversation: Conversation::private("b"), up_to: 0, epoch: 0 });
    let json = br#"{"conversation":{"kind":1,"id":"b"},"new":[{"deep":null}]}"#;
    assert_eq!(Json.decode(Kind::Delivered, json, &limits).unwrap(), want);
    let protobuf = b"\x0a\x05\x08\x01\x12\x01b\xaa\x06\x03new";
    assert_eq!(Protobuf.decode(Kind::Delivered, protobuf, &limits).unwrap(), want);
    let msgpack = b"\x82\xacconversation\x82\xa4kind\x01\xa2id\xa1b\xa3new\x91\xc0";
    assert_eq!(MsgPack.decode(Kind::Delivered, msgpack, &limits).unwrap(), want);
}

#[test]
fn records_have_the_same_rules() {
    let limits = Limits::default();
    let read = |format: &dyn Format, bytes: &[u8]| {
        let mut record = v1::PushMessage::default();
        format.decode_record(&mut record, bytes, &limits).map(|()| record).map_err(|error| error.problem)
    };
    let want = || Ok(v1::PushMessage { from: Some("a".into()), ..Default::default() });
    // Any order, unknown properties, null for a number.
    let json = br#"{"new":[{"deep":1.5}],"contentType":null,"from":"a"}"#;
    assert_eq!(read(&Json, json), want());
    assert_eq!(read(&MsgPack, b"\x83\xa3new\x91\x81\xc0\xc4\x01x\xa1t\xc7\x01\x05x\xa4from\xa1a"), want());
    assert_eq!(read(&Cbor, b"\xa2\x63new\x81\xc1\xf9\x3c\x00\x64from\x61a"), want());
    assert_eq!(read(&Cbor, b"\xbf\x64from\x7f\x61a\x60\xff\xff"), want(), "of indefinite length");
    assert_eq!(read(&Protobuf, b"\xa3\x06\x08\x01\xa4\x06\x0a\x01a\xad\x06four"), want(), "a group, four bytes");
    // A map of bool to struct, a set of doubles, a uuid-free tail, then the field by its long id.
    assert_eq!(read(&Thrift, b"\xfb\x01\x1c\x01\x11\x00\x0a\xa0\x01\x17eight888\x08\x02\x01a\x00"), want());
    // Wrong types, twice the same, text that is none.
    assert_eq!(read(&MsgPack, b"\x81\xa4from\xc4\x01a"), Err(Problem::Malformed), "bytes are no text");
    assert_eq!(read(&Json, br#"{"contentType":"1"}"#), Err(Problem::Malformed));
    assert_eq!(read(&Json, br#"{"contentType":2147483648}"#), Err(Problem::Malformed));
    assert_eq!(read(&Json, br#"{"from":"a","from":"b"}"#), Err(Problem::Malformed));
    assert_eq!(read(&Protobuf, b"\x08\x01"), Err(Problem::Malformed));
    assert_eq!(read(&Thrift, b"\x15\x02\x00"), Err(Problem::Malformed));
    for (format, bytes) in [
        (&Protobuf as &dyn Format, &b"\x0a\x01\xff"[..]),
        (&MsgPack, b"\x81\xa4from\xa1\xff"),
        (&Cbor, b"\xa1\x64from\x61\xff"),
        (&Thrift, b"\x18\x01\xff\x00"),
        (&Postcard, b"\x01\x01\xff"),
        (&Bincode, b"\x01\x01\xff"),
        (&Json, b"{\"from\":\"\xff\"}"),
        (&Json, br#"{"from":"\ud83d"}"#),
    ] {
        assert_eq!(read(format, bytes), Err(Problem::BadString), "{}", format.name());
    }
}

#[test]
fn a_longer_string_than_the_limit_is_refused_by_every_format() {
    let mut limits = Limits::default();
    limits.max_string_units = 3;
    for format in formats() {
        for (text, fits) in [("abc", true), ("a😀", true), ("abcd", false), ("ab😀", false)] {
            let record = v1::PushMessage { content: Some(text.into()), ..Default::default() };
            let bytes = encode(&*format, &record);
            let read = format.decode_record(&mut v1::PushMessage::default(), &bytes, &limits);
            let want = if fits { Ok(()) } else { Err(Problem::StringTooLong) };
            assert_eq!(read.map_err(|error| error.problem), want, "{} {text}", format.name());
        }
    }
}

#[test]
fn trailing_bytes_long_bodies_and_hostile_lengths_are_refused() {
    let limits = Limits::new(4096);
    let problem = |format: &dyn Format, kind, bytes: &[u8]| format.decode(kind, bytes, &limits).unwrap_err().problem;
    assert_eq!(problem(&Json, Kind::Ping, b"{} {}"), Problem::TrailingBytes);
    assert_eq!(problem(&MsgPack, Kind::Ping, b"\x80\x80"), Problem::TrailingBytes);
    assert_eq!(problem(&Json, Kind::Ping, b"{"), Problem::Truncated);
    assert_eq!(problem(&MsgPack, Kind::Close, b"\x81\xa6reason\xdb\xff\xff\xff\xff"), Problem::Truncated);
    assert_eq!(problem(&MsgPack, Kind::Ping, &[b"\x81\xa1x".to_vec(), vec![0x91; 4000]].concat()), Problem::TooDeep);
    assert_eq!(problem(&MsgPack, Kind::Send, &[b"\x81\xa2to".to_vec(), vec![0x91; 4000]].concat()), Problem::Malformed);
    // serde_json skips an unknown field without recursion, however deep.
    assert_eq!(problem(&Json, Kind::Ping, &[b"{\"x\":".to_vec(), vec![b'['; 4000]].concat()), Problem::Truncated);
    assert_eq!(problem(&Protobuf, Kind::Close, b"\x12\xff\xff\xff\xff\x0f"), Problem::Malformed);
    for format in formats() {
        assert_eq!(problem(&*format, Kind::Ping, &[b' '; 4097]), Problem::TooLarge);
    }
}

#[test]
fn json_ids_are_decimal_strings_and_integers_are_read() {
    let limits = Limits::default();
    let stored = Body::from(Stored { message_id: u64::MAX, ..Default::default() });
    let mut out = Vec::new();
    Json.encode(&stored, &mut out).unwrap();
    assert!(String::from_utf8(out).unwrap().contains(r#""message_id":"18446744073709551615""#));
    let decode = |text: &str| match Json.decode(Kind::Stored, text.as_bytes(), &limits) {
        Ok(Body::Stored(stored)) => Some(stored.message_id),
        _ => None,
    };
    assert_eq!(decode(r#"{"message_id":7}"#), Some(7));
    assert_eq!(decode(r#"{"message_id":"+7"}"#), None);
    assert_eq!(decode(r#"{"message_id":-7}"#), None);
}

#[test]
fn debug_shows_neither_content_nor_tokens() {
    let login = Login { user: "alice".into(), token: "hush-hush".into(), ..Default::default() };
    let send = Send { content: b"hush-hush".to_vec(), ..Default::default() };
    let text = format!("{login:?} {send:?} {:?}", Body::from(send.clone()));
    assert!(text.contains("alice") && text.contains("<9 bytes>") && !text.contains("hush"), "{text}");
}
