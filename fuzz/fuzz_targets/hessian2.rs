//! See `java/mod.rs`.
#![no_main]

use std::sync::LazyLock;

#[path = "java/mod.rs"]
mod java;

static FORMAT: LazyLock<im_serial_java::Hessian2> = LazyLock::new(Default::default);

libfuzzer_sys::fuzz_target!(|data: &[u8]| java::check(&*FORMAT, data));
