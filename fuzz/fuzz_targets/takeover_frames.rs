#![no_main]

libfuzzer_sys::fuzz_target!(
    init: handover_fuzz::begin("takeover_frames"),
    |data: &[u8]| handover_fuzz::takeover::takeover_frames(data)
);
