//! The server the end-to-end tests upgrade. See `handover_tests::fixture`.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    handover_tests::fixture::main()
}
