#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| usersync_fuzzed::ids(data));
