#![no_main]

libfuzzer_sys::fuzz_target!(
    init: handover_fuzz::begin("beyond_frames"),
    |data: &[u8]| handover_fuzz::beyond::beyond_frames(data)
);
