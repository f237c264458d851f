//! Bytes are a body or a typed error; a body survives every serialization.
#![no_main]

use im_serial::{Kind, Limits, Registry};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [which, kind, bytes @ ..] = data else { return };
    let formats = Registry::default();
    let ids = formats.ids();
    let format = formats.get(ids[usize::from(*which) % ids.len()]).unwrap();
    let kind = Kind::ALL[usize::from(*kind) % Kind::ALL.len()];
    let Ok(body) = format.decode(kind, bytes, &Limits::default()) else { return };
    for id in ids {
        let format = formats.get(id).unwrap();
        let mut out = Vec::new();
        format.encode(&body, &mut out).unwrap();
        let limits = Limits::new(out.len());
        assert_eq!(format.decode(kind, &out, &limits).unwrap(), body);
    }
});
