//! A text message of 152 bytes in each Java format, beside serde_json's derive on an equal struct, in one run:
//! `cargo bench -p im-serial-benches --bench java`.

use std::hint::black_box;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use criterion::{Criterion, criterion_group, criterion_main};
use im_serial::v1::PChatMessage;
use im_serial::{Format, Limits};
use im_serial_java::{Hessian, Hessian2, Jdk};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What Jackson makes of the message.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Json {
    current_retry: i32,
    target_server_address: Option<String>,
    from: Option<String>,
    to: Option<String>,
    create_time: i64,
    content_type: i32,
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    content: Option<Vec<u8>>,
    delivery: bool,
}

fn to_base64<S: Serializer>(bytes: &Option<Vec<u8>>, to: S) -> Result<S::Ok, S::Error> {
    bytes.as_ref().map(|bytes| STANDARD.encode(bytes)).serialize(to)
}

fn from_base64<'a, D: Deserializer<'a>>(from: D) -> Result<Option<Vec<u8>>, D::Error> {
    Option::<&str>::deserialize(from)?.map(|text| STANDARD.decode(text).map_err(serde::de::Error::custom)).transpose()
}

fn java(c: &mut Criterion) {
    let content = "消息 message ".repeat(12).into_bytes()[..152].to_vec();
    let chat = PChatMessage {
        from: Some("u1001".into()),
        to: Some("u1002".into()),
        create_time: 1_700_000_000_123,
        content_type: 1,
        content: Some(content.clone()),
        ..PChatMessage::default()
    };
    let json = Json {
        from: chat.from.clone(),
        to: chat.to.clone(),
        create_time: chat.create_time,
        content_type: 1,
        content: Some(content),
        ..Json::default()
    };
    let limits = Limits::default();
    let mut group = c.benchmark_group("java");
    group.bench_function("encode/serde_json", |b| b.iter(|| serde_json::to_vec(black_box(&json)).expect("json")));
    let bytes = serde_json::to_vec(&json).expect("json");
    group.bench_function("decode/serde_json", |b| {
        b.iter(|| serde_json::from_slice::<Json>(black_box(&bytes)).expect("json"));
    });
    let formats: [&dyn Format; 3] = [&Jdk::default(), &Hessian::default(), &Hessian2::default()];
    for format in formats {
        let name = format.name();
        group.bench_function(format!("encode/{name}"), |b| {
            b.iter(|| {
                let mut out = Vec::new();
                format.encode_record(black_box(&chat), &mut out).expect("a chat message");
                out
            });
        });
        let mut bytes = Vec::new();
        format.encode_record(&chat, &mut bytes).expect("a chat message");
        group.bench_function(format!("decode/{name}"), |b| {
            b.iter(|| {
                let mut chat = PChatMessage::default();
                format.decode_record(&mut chat, black_box(&bytes), &limits).expect("what was written");
                chat
            });
        });
    }
    group.finish();
}

criterion_group!(benches, java);
criterion_main!(benches);
