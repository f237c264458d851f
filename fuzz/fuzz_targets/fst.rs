//! Bytes are a body in FST's JSON form or a typed error, and what was read is written and read again.
#![no_main]

#[path = "../record_body.rs"]
mod record_body;

use std::sync::LazyLock;

use im_serial_java::Fst;
use libfuzzer_sys::fuzz_target;

static FORMAT: LazyLock<Fst> = LazyLock::new(|| Fst::default());

fuzz_target!(|data: &[u8]| record_body::check(&*FORMAT, data));
