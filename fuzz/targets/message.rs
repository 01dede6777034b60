//! Messages of the bus, of every version.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bus::fuzz::message(data));
