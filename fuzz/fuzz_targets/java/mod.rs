//! Bytes are a body of a class or a typed error; what was read is written and read again as the same.

use im_serial::{Format, Kind, Limits, v1};

/// Reads the bytes as every class, whichever they name.
pub fn check(format: &dyn Format, bytes: &[u8]) {
    let limits = Limits::default();
    let messages = [1, 5, 7, 8, 10, 11].into_iter().filter_map(v1::class);
    for class in messages.chain(Kind::ALL.iter().map(|kind| kind.class())) {
        let mut record = (class.new)();
        match format.decode_record(&mut *record, bytes, &limits) {
            Ok(()) => {
                let mut written = Vec::new();
                format.encode_record(&*record, &mut written).expect("what was read");
                let mut again = (class.new)();
                // Back-references are written out, so that the second body may be longer than the first.
                let limits = Limits::new(limits.max_body * 8);
                format.decode_record(&mut *again, &written, &limits).expect("what was written");
                assert!(*again == *record);
            }
            Err(error) => assert!(error.offset().is_none_or(|at| at <= bytes.len())),
        }
    }
}
