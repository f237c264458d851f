//! Any bytes as bincode.
#![no_main]

mod serial;

libfuzzer_sys::fuzz_target!(|data: &[u8]| serial::format(&im_serial::Bincode, false, data));
