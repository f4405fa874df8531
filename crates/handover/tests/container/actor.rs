//! The program of every child: this very test, started again. It hands over as its variables tell,
//! says on standard output what becomes of it, and does what standard input tells.
//!
//! | variable | |
//! |---|---|
//! | `ACTOR_SERVICE` | the name of the service |
//! | `ACTOR_VOLUME`, `ACTOR_KEY`, `ACTOR_LEGACY` | of [`Builder`] |
//! | `ACTOR_SILENCE_MS`, `ACTOR_PROBATION_MS` | of [`Builder`], by default 5 s and 10 s |
//! | `ACTOR_RESUMES` | it can serve again |
//! | `ACTOR_HOLD` | it drains for as long as this file exists |
//! | `ACTOR_TAKES` | it only asks for listeners, and says which it got |
//!
//! | word | |
//! |---|---|
//! | `announce` | it is ready |
//! | `finish` | it is to leave |

use std::convert::Infallible;
use std::io::BufRead;
use std::path::PathBuf;
use std::time::Duration;

use handover::container::{Builder, Legacy, News, Peer, read_key};
use tokio::sync::mpsc;

fn set(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn say(text: impl std::fmt::Display) {
    println!(">{text}");
}

fn builder() -> Builder {
    let mut builder = Peer::builder(set("ACTOR_SERVICE").unwrap_or_else(|| "api".into()));
    let milliseconds = |name: &str| Some(Duration::from_millis(set(name)?.parse().ok()?));
    if let Some(volume) = set("ACTOR_VOLUME") {
        builder = builder.volume(volume);
    }
    if let Some(path) = set("ACTOR_KEY") {
        builder = builder.key(read_key(path).expect("a key"));
    }
    if let Some(silence) = milliseconds("ACTOR_SILENCE_MS") {
        builder = builder.silence(silence);
    }
    if let Some(probation) = milliseconds("ACTOR_PROBATION_MS") {
        builder = builder.probation(probation);
    }
    match set("ACTOR_LEGACY").as_deref() {
        Some("obey") => builder.legacy(Legacy::Obey),
        Some("announce") => builder.legacy(Legacy::Announce),
        Some("off") => builder.legacy(Legacy::Off),
        _ => builder,
    }
}

async fn drain() {
    say("drains");
    if let Some(path) = set("ACTOR_HOLD").map(PathBuf::from) {
        while path.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// What standard input tells, line by line. A thread reads it, so that the end of this process
/// never waits for the next line.
fn words() -> mpsc::UnboundedReceiver<String> {
    let (tell, words) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if tell.send(line).is_err() {
                return;
            }
        }
    });
    words
}

async fn play() -> Result<(), Box<dyn std::error::Error>> {
    let peer = std::sync::Arc::new(builder().build()?);
    let mut events = peer.events();
    tokio::spawn(async move {
        while let Some(news) = events.next().await {
            let name = match &news {
                News::Peer(event) => event.name(),
                News::Way(_) => news.name(),
            };
            say(format_args!("event {name}: {news}"));
        }
    });
    let retired = std::sync::Arc::clone(&peer);
    tokio::spawn(async move {
        match retired.retired().await {
            Ok(path) => say(format_args!("wrote {}", path.display())),
            Err(error) => say(format_args!("failed: {error}")),
        }
    });
    if set("ACTOR_RESUMES").is_some() {
        let resume = || async {
            say("serves again");
            Ok::<(), Infallible>(())
        };
        peer.listen_and_resume(drain, resume).await?;
    } else {
        peer.listen(drain).await?;
    }
    let standing = peer.standing().expect("it listens");
    let number = standing.order.entry.map(|entry| entry.epoch);
    say(format_args!("began {:?} {}", number, standing.peer));
    let mut words = words();
    while let Some(word) = words.recv().await {
        match word.as_str() {
            "announce" => match peer.announce().await {
                Ok(()) => say("announced"),
                Err(error) => say(format_args!("not announced: {error}")),
            },
            "finish" => {
                peer.finish().await?;
                say("finished");
            }
            other => panic!("{other:?}"),
        }
    }
    Ok(())
}

async fn take() -> Result<(), Box<dyn std::error::Error>> {
    let conduct = builder().conduct()?;
    match conduct.take_listeners().await {
        Ok(listeners) => {
            let names = listeners.iter().map(|one| one.entry.name.as_str());
            say(format_args!("took {}", names.collect::<Vec<_>>().join(" ")));
        }
        Err(error) => say(format_args!("took none: {error}")),
    }
    Ok(())
}

#[test]
#[ignore = "the part of a child"]
fn role() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let part = async {
        match set("ACTOR_TAKES") {
            Some(_) => take().await,
            None => play().await,
        }
    };
    if let Err(error) = runtime.block_on(part) {
        say(format_args!("error: {error}"));
    }
}
