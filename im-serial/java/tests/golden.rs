//! What Java wrote is read as listed, and what is written is what Java writes.
#![cfg(all(feature = "jdk", feature = "hessian"))]

#[path = "../../tests/golden/mod.rs"]
mod golden;

use im_serial::class::{Declared, Record};
use im_serial::{Format, Limits, Problem, v1};
use im_serial_java::{Hessian, Hessian2, Jdk};

/// Where Java refers back to a `String` object that occurred before. Ours writes the text again, which Java reads.
const SHARED_STRINGS: [&str; 3] = ["pchat_routed", "push_200", "heartbeat_ack_routed"];

fn check(format: &dyn Format, case: &str, expected: &dyn Record, bytes: &[u8], identical: bool) {
    let name = format.name();
    let mut read = (expected.class().new)();
    format.decode_record(&mut *read, bytes, &Limits::default()).unwrap_or_else(|error| panic!("{name} {case}: {error}"));
    assert_eq!(&*read, expected, "{name} {case}");
    let mut written = b"before".to_vec();
    format.encode_record(expected, &mut written).unwrap();
    assert_eq!(written.strip_prefix(b"before").unwrap() == bytes, identical, "{name} {case}: {written:02x?}\n{bytes:02x?}");
    let mut again = (expected.class().new)();
    format.decode_record(&mut *again, &written[6..], &Limits::default()).unwrap();
    assert_eq!(&*again, expected, "{name} {case}");
}

#[test]
fn every_vector_is_read_and_written() {
    for (case, expected) in golden::cases() {
        let identical = !SHARED_STRINGS.contains(&case);
        check(&Jdk::default(), case, &*expected, &golden::vector("jdk", case), identical);
        check(&Hessian::default(), case, &*expected, &golden::vector("hessian1_4.0.7", case), true);
        check(&Hessian2::default(), case, &*expected, &golden::vector("hessian2_4.0.7", case), true);
        check(&Hessian2::default(), case, &*expected, &golden::vector("hessian2_4.0.38", case), true);
    }
    for (sample, expected) in golden::tsv_cases() {
        let identical = !SHARED_STRINGS.contains(&sample);
        check(&Jdk::default(), sample, &*expected, &golden::row("jdk", sample), identical);
        check(&Hessian::default(), sample, &*expected, &golden::row("hessian", sample), true);
        check(&Hessian2::default(), sample, &*expected, &golden::row("hessian2", sample), true);
    }
}

#[test]
fn half_a_surrogate_pair_is_no_text() {
    let formats: [(&dyn Format, &str); 4] = [
        (&Jdk::default(), "jdk"),
        (&Hessian::default(), "hessian1_4.0.7"),
        (&Hessian2::default(), "hessian2_4.0.7"),
        (&Hessian2::default(), "hessian2_4.0.38"),
    ];
    for (format, folder) in formats {
        let bytes = golden::vector(folder, golden::LONE_SURROGATE);
        let mut push = v1::PushMessage::default();
        let error = format.decode_record(&mut push, &bytes, &Limits::default()).unwrap_err();
        assert_eq!(error.problem, Problem::BadString, "{folder}");
        assert!(error.offset().is_some(), "{folder}");
        assert_eq!(error.class, v1::PushMessage::CLASS);
    }
}
