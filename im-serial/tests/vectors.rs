//! The vectors of the specification: each body in each serialization, both ways.
//! After a change that is meant: `UPDATE_VECTORS=1 cargo test -p im-serial --test vectors`, then look at the difference.
#![cfg(all(feature = "json", feature = "protobuf", feature = "msgpack"))]

use im_serial::*;
use serde_json::{Map, Value, json};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/spec/vectors/bodies.json");

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn samples() -> Vec<(Kind, Value)> {
    let bob = json!({"kind": 1, "id": "bob"});
    let team = json!({"kind": 2, "id": "team"});
    let show = json!({"kind": 3, "id": "show"});
    vec![
        (
            Kind::Login,
            json!({"user": "alice", "device": "phone", "token": "", "receive_max": 64, "session": "77", "positions": [{"conversation": bob, "epoch": 2, "seq": 9, "acked": 8}]}),
        ),
        (
            Kind::LoginOk,
            json!({"user": "alice", "server_time_ms": 1_700_000_000_123u64, "heartbeat_secs": 25, "idle_secs": 60, "send_max": 64, "session": "77", "resume": 2, "reload": [{"conversation": bob, "reason": 1, "epoch": 3}]}),
        ),
        (Kind::Close, json!({"code": 4009, "reason": "replaced"})),
        (Kind::Ping, json!({})),
        (Kind::Pong, json!({})),
        (Kind::Ticket, json!({"ticket": "AAH/", "lifetime_secs": 86_400})),
        (Kind::Epoch, json!({"conversation": bob, "epoch": 3})),
        (Kind::Send, json!({"to": bob, "content_type": 1, "content": "aGVsbG8sIOS9oOWlvSDwn5iA"})),
        (
            Kind::Stored,
            json!({"conversation": bob, "message_id": "1175430285918216192", "seq": 1, "time_ms": 1_700_000_000_123u64, "duplicate": false, "in_stream": true}),
        ),
        (Kind::Refused, json!({"code": 2, "reason": "used before", "retry": true, "retry_after_ms": 1500})),
        (
            Kind::Deliver,
            json!({"conversation": bob, "from": "bob", "message_id": "18446744073709551615", "seq": 300, "time_ms": 0, "content_type": 200, "content": "AAH/", "kind": 2, "about": 299}),
        ),
        (Kind::Delivered, json!({"conversation": bob, "up_to": 300, "epoch": 3})),
        (Kind::Recall, json!({"to": bob, "about": 299})),
        (Kind::Edit, json!({"to": team, "about": 1, "content_type": 1, "content": "YmV0dGVy"})),
        (Kind::Reaction, json!({"to": team, "about": 70_000, "text": "👍", "remove": true})),
        (Kind::SendSealed, json!({"to": bob, "content_type": 1, "parts": "A2JvYgRkZXNrAAAAAQc="})),
        (Kind::Read, json!({"conversation": team, "up_to": 300, "epoch": 3})),
        (Kind::ReadBy, json!({"conversation": team, "user": "carol", "up_to": u64::MAX, "epoch": 3})),
        (Kind::DeliveredTo, json!({"conversation": bob, "user": "bob", "up_to": 1, "epoch": 0})),
        (Kind::Typing, json!({"conversation": team, "user": "carol", "on": true})),
        (Kind::Presence, json!({"user": "carol", "state": 2, "seen_ms": 1_700_000_000_123u64})),
        (Kind::Watch, json!({"user": "carol", "on": true})),
        (
            Kind::CallSignal,
            json!({"call": "10", "signal": 16, "group": "team", "user": "", "media": 2, "fail": 0, "camera": true, "microphone": false, "users": "bob\ncarol", "payload": "AAH/"}),
        ),
        (
            Kind::CallAnswer,
            json!({"call": "10", "phase": 3, "end": 5, "fail": 3, "duplicate": true, "refusal": 12, "other": "11", "len": 40_000, "max": 32_768}),
        ),
        (
            Kind::CallNotice,
            json!({"call": "10", "notice": 9, "group": "team", "user": "bob", "device": "desk", "media": 1, "end": 6, "fail": 1, "camera": false, "microphone": true, "users": "dave", "host": "carol", "payload": "AAH/"}),
        ),
        (Kind::RoomJoin, json!({"room": show})),
        (Kind::RoomJoined, json!({"room": show})),
        (Kind::RoomLeave, json!({"room": show})),
        (Kind::RoomLeft, json!({"room": show, "exit": 2, "reason": "by the host"})),
        (
            Kind::RoomMessage,
            json!({"room": show, "from": "carol", "message_id": "12", "time_ms": 1_700_000_000_123u64, "content_type": 1, "content": "d293", "dropped": 300}),
        ),
        (Kind::StreamOpen, json!({"stream": "20", "conversation": bob, "from": "bob", "content_type": 1})),
        (Kind::StreamDelta, json!({"stream": "20", "offset": 70_000, "content": "d29y"})),
        (Kind::StreamEnd, json!({"stream": "20", "len": 70_003, "aborted": 2, "seq": 9})),
        (Kind::Request, json!({"method": "files.put", "content_type": 200, "content": "AAH/", "timeout_ms": 5_000})),
        (Kind::Response, json!({"content_type": 200, "content": "/wEA"})),
    ]
}

#[test]
#[expect(clippy::disallowed_methods, reason = "writes the vectors when asked to from outside")]
fn every_body_is_the_same_in_every_serialization() {
    let limits = Limits::default();
    let mut made = Vec::new();
    for (kind, json) in samples() {
        let body = Json.decode(kind, json.to_string().as_bytes(), &limits).expect("a body");
        let mut vector = Map::new();
        vector.insert("kind".into(), kind.name().into());
        vector.insert("message_type".into(), kind.code().into());
        let formats: [&dyn Format; 3] = [&Json, &Protobuf, &MsgPack];
        for format in formats {
            let mut out = Vec::new();
            format.encode(&body, &mut out).expect("encodes");
            let text = if format.id() == FormatId::JSON { String::from_utf8(out).expect("UTF-8") } else { hex(&out) };
            vector.insert(format.name().into(), text.into());
        }
        made.push(Value::Object(vector));
    }
    assert_eq!(made.len(), Kind::ALL.len(), "a sample of each kind");
    if std::env::var("UPDATE_VECTORS").is_ok() {
        let about = "Each body: JSON as text, the binary serializations as hex.";
        let text = serde_json::to_string_pretty(&json!({"about": about, "bodies": made})).expect("JSON");
        std::fs::write(PATH, text + "\n").expect("the vectors can be written");
    }
    let file: Value = serde_json::from_str(include_str!("../../docs/spec/vectors/bodies.json")).expect("valid JSON");
    let listed = file["bodies"].as_array().expect("a list");
    assert_eq!(*listed, made);
    for vector in listed {
        let kind = Kind::from_code(vector["message_type"].as_u64().unwrap() as u8).unwrap();
        let text = |name: &str| vector[name].as_str().unwrap();
        let want = Json.decode(kind, text("json").as_bytes(), &limits).unwrap();
        assert_eq!(Protobuf.decode(kind, &unhex(text("protobuf")), &limits).unwrap(), want);
        assert_eq!(MsgPack.decode(kind, &unhex(text("msgpack")), &limits).unwrap(), want);
    }
}
