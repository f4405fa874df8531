#![no_main]

libfuzzer_sys::fuzz_target!(
    init: handover_fuzz::begin("hub_messages"),
    |data: &[u8]| handover_fuzz::cluster::hub_messages(data)
);
