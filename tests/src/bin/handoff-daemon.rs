//! The daemon that beyond-handoff is tried with. See `handover_tests::handoff`.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    handover_tests::handoff::main()
}
