#![no_main]

libfuzzer_sys::fuzz_target!(
    init: handover_fuzz::begin("preflight"),
    |data: &[u8]| handover_fuzz::launch::preflight(data)
);
