//! The program `container-peer`: a service on [`handover::container::Peer`] that says what happens
//! as one JSON object a line, with the names that the one on handover-lib has, and all news besides.
//!
//! ```text
//! container-peer [--service NAME] [--started-at MS] [--volume DIR] [--key-file FILE]
//!                [--legacy obey|announce|off] [--probation MS] [--silence MS] [--drain MS]
//!                [--resumes] [--announce-on FILE]
//! ```

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use handover::container::{Builder, Events, Legacy, Peer, read_key};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

/// What became of it; the program prints the error.
pub type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Between two looks at a file.
const PAUSE: Duration = Duration::from_millis(1);

struct Arguments {
    builder: Builder,
    drain: Duration,
    resumes: bool,
    announce_on: Option<PathBuf>,
}

fn parse(arguments: &[String]) -> Outcome<Arguments> {
    let named = arguments
        .iter()
        .position(|argument| argument == "--service");
    let service = named.and_then(|at| arguments.get(at + 1));
    let mut parsed = Arguments {
        builder: Peer::builder(service.map_or("api", String::as_str)),
        drain: Duration::ZERO,
        resumes: false,
        announce_on: None,
    };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "--resumes" {
            parsed.resumes = true;
            continue;
        }
        let value = rest.next().ok_or_else(|| format!("{argument} what?"))?;
        let after = || value.parse().map(Duration::from_millis);
        match argument.as_str() {
            "--service" => {}
            "--drain" => parsed.drain = after()?,
            "--announce-on" => parsed.announce_on = Some(value.into()),
            _ => parsed.builder = build(parsed.builder, argument, value)?,
        }
    }
    Ok(parsed)
}

fn build(builder: Builder, argument: &str, value: &str) -> Outcome<Builder> {
    let after = || value.parse().map(Duration::from_millis);
    Ok(match argument {
        "--started-at" => builder.started_at(UNIX_EPOCH + after()?),
        "--volume" => builder.volume(value),
        "--key-file" => builder.key(read_key(value)?),
        "--legacy" => builder.legacy(match value {
            "obey" => Legacy::Obey,
            "announce" => Legacy::Announce,
            "off" => Legacy::Off,
            other => return Err(format!("--legacy {other}").into()),
        }),
        "--probation" => builder.probation(after()?),
        "--silence" => builder.silence(after()?),
        other => return Err(format!("{other}: no such argument").into()),
    })
}

fn say(event: &str, more: &Value) {
    let mut said = json!({ "event": event });
    if let (Some(said), Some(more)) = (said.as_object_mut(), more.as_object()) {
        said.extend(more.clone());
    }
    println!("{said}");
}

async fn report(mut events: Events) {
    while let Some(news) = events.next().await {
        match serde_json::to_value(&news) {
            Ok(value) => say(news.name(), &value),
            Err(error) => say("unreadable", &json!({ "why": error.to_string() })),
        }
        // As people read it.
        eprintln!("{news}");
    }
}

/// Serves until SIGTERM.
///
/// # Errors
/// When an argument is none of the above, or the library refuses.
pub async fn run(arguments: &[String]) -> Outcome<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let Arguments {
        builder,
        drain,
        resumes,
        announce_on,
    } = parse(arguments)?;
    let peer = builder.build()?;
    tokio::spawn(report(peer.events()));
    let stop = move || async move {
        say("callback", &Value::Null);
        tokio::time::sleep(drain).await;
        say("drained", &Value::Null);
    };
    if resumes {
        let resume = || async {
            say("resumed", &Value::Null);
            Ok::<_, std::convert::Infallible>(())
        };
        peer.listen_and_resume(stop, resume).await?;
    } else {
        peer.listen(stop).await?;
    }
    say("started", &json!({ "clock_ms": clock_ms() }));
    if let Some(file) = announce_on {
        until_there(&file).await;
    }
    tokio::select! {
        announced = peer.announce() => match announced {
            Ok(()) => say("announced", &Value::Null),
            Err(error) => say("not_announced", &json!({ "why": error.to_string() })),
        },
        _ = terminate.recv() => return finish(&peer).await,
    }
    tokio::select! {
        retired = peer.retired() => say("complete", &json!({ "file": retired? })),
        _ = terminate.recv() => return finish(&peer).await,
    }
    // Who ends by itself is revived by a restart policy.
    terminate.recv().await;
    finish(&peer).await
}

async fn finish(peer: &Peer) -> Outcome<()> {
    peer.finish().await?;
    say("finished", &Value::Null);
    Ok(())
}

/// What the wall clock shows to this program, so that a test can see that it is off.
fn clock_ms() -> u128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_millis()
}

async fn until_there(file: &Path) {
    while !file.exists() {
        tokio::time::sleep(PAUSE).await;
    }
}
