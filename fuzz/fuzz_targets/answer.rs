#![no_main]

libfuzzer_sys::fuzz_target!(
    init: handover_fuzz::begin("answer"),
    |data: &[u8]| handover_fuzz::text::answer(data)
);
