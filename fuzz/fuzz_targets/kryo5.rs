//! Bytes are a body in Kryo 5 or a typed error, and what was read is written and read again.
#![no_main]

#[path = "../record_body.rs"]
mod record_body;

use std::sync::LazyLock;

use im_serial_java::Kryo;
use libfuzzer_sys::fuzz_target;

static FORMAT: LazyLock<Kryo> = LazyLock::new(|| Kryo::default());

fuzz_target!(|data: &[u8]| record_body::check(&*FORMAT, data));
