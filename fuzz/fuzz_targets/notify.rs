#![no_main]

libfuzzer_sys::fuzz_target!(
    init: handover_fuzz::begin("notify"),
    |data: &[u8]| handover_fuzz::launch::notify(data)
);
