#![no_main]

libfuzzer_sys::fuzz_target!(
    init: handover_fuzz::begin("hub_gossip"),
    |data: &[u8]| handover_fuzz::hub::hub_gossip(data)
);
