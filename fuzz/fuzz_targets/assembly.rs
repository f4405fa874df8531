#![no_main]

libfuzzer_sys::fuzz_target!(
    init: handover_fuzz::begin("assembly"),
    |data: &[u8]| handover_fuzz::state::assembly(data)
);
