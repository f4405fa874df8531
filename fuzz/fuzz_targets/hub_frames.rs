#![no_main]

libfuzzer_sys::fuzz_target!(
    init: handover_fuzz::begin("hub_frames"),
    |data: &[u8]| handover_fuzz::hub::hub_frames(data)
);
