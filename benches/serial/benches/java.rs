//! The Java formats beside serde_json's derive on an equal struct, in one run: a message with 152 bytes of text.
//! Run by `cargo bench -p im-serial-benches --bench java`.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion};
use im_serial::v1::PushMessage;
use im_serial::{Format, Limits};
use im_serial_java::{Fst, Hessian, Hessian2, Jdk, Kryo, KryoVersion, Options};
use serde::{Deserialize, Serialize};

/// The fields of [`PushMessage`] for serde.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Plain {
    current_retry: i32,
    target_server_address: Option<String>,
    routing_tables: Option<Vec<String>>,
    is_delivery: bool,
    from: Option<String>,
    to: Option<String>,
    content_type: i32,
    content: Option<String>,
    create_time: i64,
}

fn main() {
    let text = "Shall we meet at the station at half past six? 我们六点半在车站见面好吗？ I will bring the tickets, and Li Wei says that he comes too.";
    let text: String = text.chars().chain(" ".repeat(152).chars()).collect::<String>()[..152].into();
    assert_eq!(text.len(), 152);
    let some = |text: &str| Some(String::from(text));
    let message = PushMessage {
        from: some("u1001"),
        to: some("u1002"),
        content_type: 1,
        content: Some(text.clone()),
        create_time: 1_700_000_000_123,
        ..PushMessage::default()
    };
    let plain = Plain {
        from: some("u1001"),
        to: some("u1002"),
        content_type: 1,
        content: Some(text),
        create_time: 1_700_000_000_123,
        ..Plain::default()
    };
    let mut criterion = Criterion::default().configure_from_args();
    let json = serde_json::to_vec(&plain).expect("JSON");
    let formats: [(&str, Box<dyn Format>); 6] = [
        ("jdk", Box::new(Jdk::default())),
        ("hessian", Box::new(Hessian::default())),
        ("hessian2", Box::new(Hessian2::default())),
        ("kryo5", Box::new(Kryo::default())),
        ("kryo4", Box::new(Kryo::new(KryoVersion::V4, Options::default()))),
        ("fst", Box::new(Fst::default())),
    ];
    let mut group = criterion.benchmark_group("java_encode");
    group.bench_function(BenchmarkId::from_parameter("serde_json"), |b| {
        b.iter(|| serde_json::to_vec(black_box(&plain)).expect("JSON"));
    });
    for (name, format) in &formats {
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| {
                let mut out = Vec::new();
                format.encode_record(black_box(&message), &mut out).expect("writes");
                out
            });
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group("java_decode");
    group.bench_function(BenchmarkId::from_parameter("serde_json"), |b| {
        b.iter(|| serde_json::from_slice::<Plain>(black_box(&json)).expect("reads"));
    });
    for (name, format) in &formats {
        let mut out = Vec::new();
        format.encode_record(&message, &mut out).expect("writes");
        println!("{name}: {} bytes; JSON: {}", out.len(), json.len());
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| {
                let mut read = PushMessage::default();
                format.decode_record(&mut read, black_box(&out), &Limits::default()).expect("reads");
                read
            });
        });
    }
    group.finish();
    criterion.final_summary();
}
