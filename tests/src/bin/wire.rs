//! Whoever else is on a network; see [`handover_tests::network::wire::program`].
#![forbid(unsafe_code)]

use handover_tests::network::wire::program;

fn main() -> program::Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    program::run(&arguments)
}
