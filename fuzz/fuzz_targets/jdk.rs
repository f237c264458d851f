//! See `java/mod.rs`.
#![no_main]

#[path = "java/mod.rs"]
mod java;

libfuzzer_sys::fuzz_target!(|data: &[u8]| java::check::<im_serial_java::Jdk>(data));
