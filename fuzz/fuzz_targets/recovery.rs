#![no_main]

libfuzzer_sys::fuzz_target!(
    init: handover_fuzz::begin("recovery"),
    |data: &[u8]| handover_fuzz::disk::recovery(data)
);
