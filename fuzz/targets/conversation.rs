//! A relay's messages to a session.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| connector::fuzz::conversation(data));
