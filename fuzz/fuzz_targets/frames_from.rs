#![no_main]

libfuzzer_sys::fuzz_target!(
    init: handover_fuzz::begin("frames_from"),
    |data: &[u8]| handover_fuzz::frames::frames_from(data)
);
