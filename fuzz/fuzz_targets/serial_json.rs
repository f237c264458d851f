//! Any bytes as json.
#![no_main]

mod serial;

libfuzzer_sys::fuzz_target!(|data: &[u8]| serial::format(&im_serial::Json, true, data));
