//! Any bytes as thrift.
#![no_main]

mod serial;

libfuzzer_sys::fuzz_target!(|data: &[u8]| serial::format(&im_serial::Thrift, false, data));
