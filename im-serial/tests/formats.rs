//! Every format: round trips, evolution, hostile input, and no content in `Debug`.
#![cfg(all(feature = "json", feature = "protobuf", feature = "msgpack"))]

use im_serial::body::*;
use im_serial::*;
use proptest::prelude::*;

fn formats() -> Vec<std::sync::Arc<dyn Format>> {
    let registry = Registry::default();
    registry.ids().into_iter().map(|id| registry.get(id).unwrap().clone()).collect()
}

fn conversation() -> impl Strategy<Value = Conversation> {
    (0..3u32, ".{0,20}").prop_map(|(kind, id)| Conversation { kind, id })
}

fn body() -> impl Strategy<Value = Body> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..200);
    prop_oneof![
        (".*", ".*", ".*", any::<u32>()).prop_map(|(user, device, token, receive_max)| Login {
            user,
            device,
            token,
            receive_max
        }
        .into()),
        (".*", any::<u64>(), any::<u32>(), any::<u32>(), any::<u32>()).prop_map(
            |(user, server_time_ms, heartbeat_secs, idle_secs, send_max)| {
                LoginOk { user, server_time_ms, heartbeat_secs, idle_secs, send_max }.into()
            }
        ),
        (any::<u32>(), ".*").prop_map(|(code, reason)| Close { code, reason }.into()),
        Just(Ping {}.into()),
        Just(Pong {}.into()),
        (conversation(), any::<u32>(), bytes()).prop_map(|(to, content_type, content)| Send {
            to,
            content_type,
            content
        }
        .into()),
        (conversation(), any::<u64>(), any::<u64>(), any::<u64>(), any::<bool>(), any::<bool>()).prop_map(
            |(conversation, message_id, seq, time_ms, duplicate, in_stream)| {
                Stored { conversation, message_id, seq, time_ms, duplicate, in_stream }.into()
            }
        ),
        (any::<u32>(), ".*", any::<bool>()).prop_map(|(code, reason, retry)| Refused { code, reason, retry }.into()),
        (conversation(), ".*", any::<u64>(), any::<u64>(), any::<u64>(), any::<u32>(), bytes()).prop_map(
            |(conversation, from, message_id, seq, time_ms, content_type, content)| {
                Deliver { conversation, from, message_id, seq, time_ms, content_type, content }.into()
            }
        ),
        (conversation(), any::<u64>()).prop_map(|(conversation, up_to)| Delivered { conversation, up_to }.into()),
    ]
}

proptest! {
    #[test]
    fn every_body_survives_every_format(body in body()) {
        for format in formats() {
            let mut out = b"earlier".to_vec();
            format.encode(&body, &mut out).unwrap();
            prop_assert_eq!(&out[..7], b"earlier");
            prop_assert_eq!(&format.decode(body.kind(), &out[7..], &Limits::default()).unwrap(), &body);
        }
    }

    #[test]
    fn arbitrary_bytes_are_a_body_or_a_typed_error(bytes in proptest::collection::vec(any::<u8>(), 0..100), kind in 0..10usize) {
        for format in formats() {
            if let Err(error) = format.decode(Kind::ALL[kind], &bytes, &Limits::default()) {
                prop_assert_eq!(error.format, format.name());
            }
        }
    }

    #[test]
    fn every_truncation_is_a_body_or_a_typed_error(body in body()) {
        for format in formats() {
            let mut out = Vec::new();
            format.encode(&body, &mut out).unwrap();
            for n in 0..out.len() {
                let _ = format.decode(body.kind(), &out[..n], &Limits::default());
            }
        }
    }
}

#[test]
fn missing_fields_are_defaults_and_unknown_fields_are_skipped() {
    let limits = Limits::default();
    let want = Body::from(Delivered { conversation: Conversation::private("b"), up_to: 0 });
    let json = br#"{"conversation":{"kind":1,"id":"b"},"new":[{"deep":null}]}"#;
    assert_eq!(Json.decode(Kind::Delivered, json, &limits).unwrap(), want);
    let protobuf = b"\x0a\x05\x08\x01\x12\x01b\xaa\x06\x03new";
    assert_eq!(Protobuf.decode(Kind::Delivered, protobuf, &limits).unwrap(), want);
    let msgpack = b"\x82\xacconversation\x82\xa4kind\x01\xa2id\xa1b\xa3new\x91\xc0";
    assert_eq!(MsgPack.decode(Kind::Delivered, msgpack, &limits).unwrap(), want);
}

#[test]
fn trailing_bytes_long_bodies_and_hostile_lengths_are_refused() {
    let limits = Limits::new(4096);
    let problem = |format: &dyn Format, kind, bytes: &[u8]| format.decode(kind, bytes, &limits).unwrap_err().problem;
    assert_eq!(problem(&Json, Kind::Ping, b"{} {}"), Problem::TrailingBytes);
    assert_eq!(problem(&MsgPack, Kind::Ping, b"\x80\x80"), Problem::TrailingBytes);
    assert_eq!(problem(&Json, Kind::Ping, b"{"), Problem::Truncated);
    assert_eq!(problem(&MsgPack, Kind::Close, b"\x81\xa6reason\xdb\xff\xff\xff\xff"), Problem::Truncated);
    assert_eq!(problem(&MsgPack, Kind::Ping, &[b"\x81\xa1x".to_vec(), vec![0x91; 4000]].concat()), Problem::Malformed);
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
