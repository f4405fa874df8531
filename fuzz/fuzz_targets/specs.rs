#![no_main]

libfuzzer_sys::fuzz_target!(
    init: handover_fuzz::begin("specs"),
    |data: &[u8]| handover_fuzz::text::specs(data)
);
