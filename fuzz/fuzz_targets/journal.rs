#![no_main]

libfuzzer_sys::fuzz_target!(
    init: handover_fuzz::begin("journal"),
    |data: &[u8]| handover_fuzz::disk::journal(data)
);
