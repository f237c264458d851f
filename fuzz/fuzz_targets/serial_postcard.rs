//! Any bytes as postcard.
#![no_main]

mod serial;

libfuzzer_sys::fuzz_target!(|data: &[u8]| serial::format(&im_serial::Postcard, false, data));
