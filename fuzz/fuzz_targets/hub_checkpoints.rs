#![no_main]

libfuzzer_sys::fuzz_target!(
    init: handover_fuzz::begin("hub_checkpoints"),
    |data: &[u8]| handover_fuzz::hub::hub_checkpoints(data)
);
