//! Embeds the supervisor of `handover run` in a program of one's own:
//! `cargo run --features supervisor --example supervise -- http=127.0.0.1:8080 ./server`

use handover::supervisor::{Config, Supervisor};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let listener = args.next().ok_or("expected NAME=ADDRESS PROGRAM ARGS…")?;
    let config = Config {
        listeners: vec![listener.parse()?],
        program: args.collect(),
        ..Config::default()
    };
    let supervisor = Supervisor::new(config).await?;
    let mut events = supervisor.events();
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            eprintln!("{}", event.kind);
        }
    });
    let ended = supervisor.run().await?;
    std::process::exit(ended.exit_code().into());
}
