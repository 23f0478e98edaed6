#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shmring_core::protocol::fuzz::packets(bytes));
