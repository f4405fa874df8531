#![no_main]

libfuzzer_sys::fuzz_target!(
    init: handover_fuzz::begin("lease"),
    |data: &[u8]| handover_fuzz::disk::lease(data)
);
