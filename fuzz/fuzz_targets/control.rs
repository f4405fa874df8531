#![no_main]

libfuzzer_sys::fuzz_target!(
    init: handover_fuzz::begin("control"),
    |data: &[u8]| handover_fuzz::text::control(data)
);
