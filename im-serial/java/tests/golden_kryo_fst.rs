//! What real Java wrote: the values, and the same bytes when written again.
#![cfg(all(feature = "kryo", feature = "fst"))]

#[path = "../../tests/golden/mod.rs"]
mod golden;

use im_serial::class::Record;
use im_serial::v1::PushMessage;
use im_serial::{Format, Limits, Problem};
use im_serial_java::{Fst, Kryo, KryoVersion, Options};

fn read(format: &dyn Format, like: &dyn Record, bytes: &[u8]) -> Box<dyn Record> {
    let mut record = (like.class().new)();
    format.decode_record(&mut *record, bytes, &Limits::default()).expect("reads what Java wrote");
    record
}

fn written(format: &dyn Format, record: &dyn Record) -> Vec<u8> {
    let mut out = b"before".to_vec();
    format.encode_record(record, &mut out).expect("writes");
    assert_eq!(out[..6], *b"before");
    out.split_off(6)
}

/// Checks every vector; gives the names of those that are not written byte for byte as Java did.
fn differing(format: &dyn Format, folder: &str, serializer: &str) -> Vec<&'static str> {
    let files = golden::cases().into_iter().map(|(case, record)| (case, record, golden::vector(folder, case)));
    let rows = golden::tsv_cases().into_iter().map(|(case, record)| (case, record, golden::row(serializer, case)));
    let mut differing = Vec::new();
    for (case, record, java) in files.chain(rows) {
        assert_eq!(*read(format, &*record, &java), *record, "{folder} {case}");
        let out = written(format, &*record);
        if out != java {
            differing.push(case);
        }
        assert_eq!(*read(format, &*record, &out), *record, "{folder} {case}, as written here");
    }
    differing
}

fn lone_surrogate(format: &dyn Format, folder: &str, offset: usize) {
    let error = format
        .decode_record(&mut PushMessage::default(), &golden::vector(folder, golden::LONE_SURROGATE), &Limits::default())
        .unwrap_err();
    assert_eq!((error.problem, error.offset()), (Problem::BadString, Some(offset)));
}

/// Java writes a reference where two fields hold the same String object; a record here does not know.
const SHARED_STRINGS: [&str; 3] = ["pchat_routed", "push_200", "heartbeat_ack_routed"];

#[test]
fn kryo_5() {
    let kryo = Kryo::default();
    assert_eq!(differing(&kryo, "kryo_5.0.0-RC9", "kryo5"), SHARED_STRINGS);
    lone_surrogate(&kryo, "kryo_5.0.0-RC9", 0x30);
}

#[test]
fn kryo_4() {
    let kryo = Kryo::new(KryoVersion::V4, Options::default());
    assert_eq!(differing(&kryo, "kryo_4.0.2", "kryo4"), SHARED_STRINGS);
    lone_surrogate(&kryo, "kryo_4.0.2", 0x30);
}

#[test]
fn fst() {
    let fst = Fst::default();
    assert_eq!(differing(&fst, "fst_json", "fst"), [""; 0]);
    lone_surrogate(&fst, "fst_json", 212);
}
