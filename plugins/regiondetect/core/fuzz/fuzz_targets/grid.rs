#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| regiondetect_core::grid::fuzz(bytes));
