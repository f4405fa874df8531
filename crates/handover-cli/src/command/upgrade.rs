//! `handover upgrade`, `handover rollback` and `handover undo`: ask, show what happens, and wait until it is over.

use super::show::{json_line, request};
use super::{connect, incumbent, interruptible};
use crate::args::{Format, RollbackArgs, UndoArgs, UpgradeArgs};
use crate::client::{Client, ClientError, EventLine, EventStream};
use crate::clock::unix_ms;
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::output::{Ink, Output, say, stderr_is_terminal};
use crate::view;
use crate::view::outcome::{Ending, Wish};
use handover::takeover::Request;
use handover_proto::event::{Event, EventKind};
use handover_proto::identity::InstanceId;
use handover_proto::outcome::Outcome;
use handover_proto::phase::Phase;
use indicatif::{ProgressBar, ProgressStyle};
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long after a failure the last words of the new version are waited for: they come by another
/// connection than the outcome, and a version that is slow to die speaks late.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How often the spinner turns.
const TURN: Duration = Duration::from_millis(80);

const GOES_ON: &str =
    "the handover goes on: `handover status` shows it, `handover abort` cancels it";

pub(super) async fn upgrade(root: PathBuf, args: UpgradeArgs) -> Result<ExitCode, CliError> {
    if let Some(socket) = incumbent::asked(&args.incumbent)? {
        incumbent::chooses_nothing(&args)?;
        return incumbent::attempt(socket, Request::Upgrade, args.format.format).await;
    }
    let (_, client) = connect(&root, &args.select)?;
    let request = request(&args.candidate, args.busy.meaning())?;
    let attempt = client.upgrade(&request);
    let followed = follow(&client, attempt, args.format.format, Wish::Forward);
    interruptible(followed, GOES_ON).await
}

/// In probation: lets the parked instance take back.
pub(super) async fn undo(root: PathBuf, args: UndoArgs) -> Result<ExitCode, CliError> {
    if let Some(socket) = incumbent::asked(&args.incumbent)? {
        return incumbent::attempt(socket, Request::Undo, args.format.format).await;
    }
    let (_, client) = connect(&root, &args.select)?;
    let attempt = client.undo();
    let followed = follow(&client, attempt, args.format.format, Wish::Back);
    interruptible(followed, GOES_ON).await
}

pub(super) async fn rollback(root: PathBuf, args: RollbackArgs) -> Result<ExitCode, CliError> {
    let (_, client) = connect(&root, &args.select)?;
    let attempt = client.rollback(args.busy.meaning());
    let followed = follow(&client, attempt, args.format.format, Wish::Forward);
    interruptible(followed, GOES_ON).await
}

/// Shows events until the attempt is over, then how it ended.
async fn follow(
    client: &Client,
    attempt: impl Future<Output = Result<Outcome, ClientError>>,
    format: Format,
    wish: Wish,
) -> Result<ExitCode, CliError> {
    let begun = Instant::now();
    let mut screen = Screen::new(format);
    // Without events there is no progress to show; the outcome comes nevertheless.
    let mut events = client.events(0).await.ok();
    let mut story = Story::since(unix_ms());
    let mut attempt = std::pin::pin!(attempt);
    let outcome = loop {
        tokio::select! {
            outcome = &mut attempt => break outcome,
            Some(line) = next(&mut events) => {
                story.hear(&line, &mut screen).map_err(CliError::Stdout)?;
            }
        }
    };
    screen.clear();
    let outcome = outcome?;
    let rest = async {
        while !story.told(&outcome, wish)
            && let Some(line) = next(&mut events).await
        {
            story.hear(&line, &mut screen)?;
        }
        io::Result::Ok(())
    };
    // Passing the time limit only means that there are no last words.
    if let Ok(result) = tokio::time::timeout(LAST_WORDS, rest).await {
        result.map_err(CliError::Stdout)?;
    }
    let ending = Ending {
        wish,
        took: begun.elapsed(),
        dark: story.dark,
        last_words: story.last_words,
        status: client.status().await.ok(),
    };
    screen.end(&outcome, &ending).map_err(CliError::Stdout)?;
    Ok(ExitCode::from(&outcome))
}

/// The next line. A stream that ended is forgotten: the outcome comes by another connection.
async fn next(events: &mut Option<EventStream>) -> Option<EventLine> {
    let line = events.as_mut()?.next().await;
    match line {
        Ok(Some(line)) => Some(line),
        Ok(None) | Err(_) => {
            *events = None;
            None
        }
    }
}

/// What is gathered from the events of the attempt.
#[derive(Debug)]
struct Story {
    /// Events before belong to earlier attempts.
    from_unix_ms: u64,
    /// The new instance of the latest attempt.
    successor: Option<InstanceId>,
    successor_is_gone: bool,
    finished: bool,
    /// How long nobody could serve, if that was so.
    dark: Option<Duration>,
    last_words: Vec<String>,
}

impl Story {
    fn since(from_unix_ms: u64) -> Self {
        Self {
            from_unix_ms,
            successor: None,
            successor_is_gone: false,
            finished: false,
            dark: None,
            last_words: Vec::new(),
        }
    }

    fn hear(&mut self, line: &EventLine, screen: &mut Screen) -> io::Result<()> {
        match &line.event {
            Some(event) if event.unix_ms < self.from_unix_ms => Ok(()),
            Some(event) => {
                self.learn(event);
                screen.event(event, line)
            }
            None => screen.unknown(line),
        }
    }

    fn learn(&mut self, event: &Event) {
        match &event.kind {
            EventKind::HandoverStarted { to, .. } => {
                *self = Self::since(self.from_unix_ms);
                self.successor = Some(*to);
            }
            EventKind::HandoverFinished { dark, .. } => {
                self.finished = true;
                self.dark = Some(*dark).filter(|dark| !dark.is_zero());
            }
            EventKind::RequestRefused { .. } => self.finished = true,
            EventKind::InstanceExited {
                instance,
                last_words,
                ..
            } if Some(*instance) == self.successor => {
                self.successor_is_gone = true;
                self.last_words.clone_from(last_words);
            }
            _ => {}
        }
    }

    /// Whether nothing more is to come that belongs to the ending.
    fn told(&self, outcome: &Outcome, wish: Wish) -> bool {
        match outcome {
            Outcome::Committed { .. } => self.finished,
            Outcome::Refused { .. } => true,
            // The one that was to take back stays parked.
            Outcome::RolledBack { .. } | Outcome::TimedOut { .. } if wish == Wish::Back => {
                self.finished
            }
            Outcome::RolledBack { .. }
            | Outcome::TimedOut { .. }
            | Outcome::NobodyServes { .. } => self.finished && self.successor_is_gone,
        }
    }
}

/// Where progress goes: a spinner on a terminal, plain lines on another standard error, JSON lines
/// on standard output.
enum Screen {
    Spinner(ProgressBar),
    Lines,
    Json(Output<io::Stdout>),
}

impl Screen {
    fn new(format: Format) -> Self {
        match format {
            Format::Json => Self::Json(Output::stdout()),
            Format::Text if stderr_is_terminal() => {
                let bar = ProgressBar::new_spinner();
                if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
                    bar.set_style(style);
                }
                bar.set_message("asking");
                bar.enable_steady_tick(TURN);
                Self::Spinner(bar)
            }
            Format::Text => Self::Lines,
        }
    }

    fn event(&mut self, event: &Event, line: &EventLine) -> io::Result<()> {
        match self {
            Self::Json(output) => return output.line(&line.json),
            Self::Lines => say(&view::event::headline(event, Ink::stderr())),
            Self::Spinner(bar) => {
                bar.println(view::event::headline(event, Ink::stderr()));
                if let Some(stage) = stage(&event.kind) {
                    bar.set_message(stage);
                }
            }
        }
        Ok(())
    }

    fn unknown(&mut self, line: &EventLine) -> io::Result<()> {
        match self {
            Self::Json(output) => output.line(&line.json),
            Self::Spinner(_) | Self::Lines => Ok(()),
        }
    }

    fn clear(&self) {
        if let Self::Spinner(bar) = self {
            bar.finish_and_clear();
        }
    }

    fn end(&mut self, outcome: &Outcome, ending: &Ending) -> io::Result<()> {
        match self {
            Self::Json(output) => output.write(&json_line(outcome)),
            Self::Spinner(_) | Self::Lines => {
                let text = view::outcome::render(outcome, ending, Ink::stderr());
                say(text.trim_end());
                Ok(())
            }
        }
    }
}

/// What the spinner says from this event on.
fn stage(kind: &EventKind) -> Option<String> {
    Some(match kind {
        EventKind::RequestQueued => "waiting for the running handover".to_owned(),
        EventKind::HandoverStarted { .. } => Phase::Warm.to_string(),
        EventKind::PhaseEntered { phase, .. } => phase.to_string(),
        EventKind::InstanceStatus { text, .. } => text.clone(),
        EventKind::SealProgress { done, total: 0, .. } => format!("seal: {done} so far"),
        EventKind::SealProgress { done, total, .. } => format!("seal: {done} of {total}"),
        EventKind::InstanceReady { .. } => "ready".to_owned(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::sample;

    #[test]
    fn last_words_are_those_of_the_latest_attempt() {
        let mut story = Story::since(0);
        let outcomes = sample::outcomes();
        let failed = &outcomes[7].0;
        for event in sample::events() {
            story.learn(&event);
        }
        assert_eq!(story.last_words, ["config.toml: unknown key `prot`"]);
        assert!(story.told(failed, Wish::Forward));
        for event in sample::events().iter().take(5) {
            story.learn(event);
        }
        assert!(story.last_words.is_empty());
        assert!(!story.told(failed, Wish::Forward));
    }
}
