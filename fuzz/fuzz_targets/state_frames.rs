#![no_main]

libfuzzer_sys::fuzz_target!(
    init: handover_fuzz::begin("state_frames"),
    |data: &[u8]| handover_fuzz::state::state_frames(data)
);
