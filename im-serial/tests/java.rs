//! What Java wrote is read as listed, and what is written is what Java writes.
#![cfg(feature = "v1")]

mod golden;

#[test]
fn every_vector_is_there() {
    for (case, record) in golden::cases() {
        assert!(!golden::vector("json", case).is_empty(), "{case} {record:?}");
    }
    for (sample, record) in golden::tsv_cases() {
        assert!(!golden::row("protostuff", sample).is_empty(), "{sample} {record:?}");
    }
}
