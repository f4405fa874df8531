#![no_main]

libfuzzer_sys::fuzz_target!(
    init: handover_fuzz::begin("container_datagrams"),
    |data: &[u8]| handover_fuzz::container::container_datagrams(data)
);
