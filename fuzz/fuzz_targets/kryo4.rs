//! Bytes are a body in Kryo 4 or a typed error, and what was read is written and read again.
#![no_main]

#[path = "../record_body.rs"]
mod record_body;

use std::sync::LazyLock;

use im_serial_java::{Kryo, KryoVersion, Options};
use libfuzzer_sys::fuzz_target;

static FORMAT: LazyLock<Kryo> = LazyLock::new(|| Kryo::new(KryoVersion::V4, Options::default()));

fuzz_target!(|data: &[u8]| record_body::check(&*FORMAT, data));
