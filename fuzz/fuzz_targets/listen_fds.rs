#![no_main]

libfuzzer_sys::fuzz_target!(
    init: handover_fuzz::begin("listen_fds"),
    |data: &[u8]| handover_fuzz::launch::listen_fds(data)
);
