//! The frames of NIP-77.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| connector::fuzz::exchange(data));
