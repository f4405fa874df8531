//! A service in a container; see [`handover_tests::network::ours::program`].
#![forbid(unsafe_code)]

use handover_tests::network::ours::program;

#[tokio::main]
async fn main() -> program::Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    program::run(&arguments).await
}
