//! The Java formats beside serde_json's derive on an equal struct, in one run: a message with 152 bytes of text.
//! Run by `cargo bench -p im-serial-benches --bench java`.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion};
use im_bench_rounds::Fastest;
use im_serial::Limits;
use im_serial::v1::PushMessage;
use im_serial_benches::{Entry, TEXT, java_formats, push};
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

fn java(criterion: &mut Criterion) {
    let some = |text: &str| Some(String::from(text));
    let message = push();
    let plain = Plain {
        from: some("u1001"),
        to: some("u1002"),
        content_type: 1,
        content: some(TEXT),
        create_time: 1_700_000_000_123,
        ..Plain::default()
    };
    let json = serde_json::to_vec(&plain).expect("JSON");
    let mut group = criterion.benchmark_group("java_encode");
    group.bench_function(BenchmarkId::from_parameter("serde_json"), |b| {
        b.iter_fastest(|| serde_json::to_vec(black_box(&plain)).expect("JSON"));
    });
    for Entry { name, format, .. } in java_formats() {
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter_fastest(|| {
                let mut out = Vec::new();
                format.encode_record(black_box(&message), &mut out).expect("writes");
                out
            });
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group("java_decode");
    group.bench_function(BenchmarkId::from_parameter("serde_json"), |b| {
        b.iter_fastest(|| serde_json::from_slice::<Plain>(black_box(&json)).expect("reads"));
    });
    for Entry { name, format, .. } in java_formats() {
        let mut out = Vec::new();
        format.encode_record(&message, &mut out).expect("writes");
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter_fastest(|| {
                let mut read = PushMessage::default();
                format.decode_record(&mut read, black_box(&out), &Limits::default()).expect("reads");
                read
            });
        });
    }
    group.finish();
}

fn main() {
    im_bench_rounds::run(&[java]);
}
