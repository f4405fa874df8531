//! One container from start to end: its program under a supervisor, itself as one instance among
//! others, and the platform's signals.

mod outlook;
mod steps;

use super::beacon::Beacon;
use super::listeners;
use super::marker::Place;
use super::options::Options;
use super::program::Program;
use super::signals::{Signalled, Signals};
use super::voice::Voice;
use crate::error::CliError;
use crate::exit::ExitCode;
use handover::container::{Builder, Conduct, PeerId, Step};
use handover::supervisor::{Config, ListenError, StartError, Unit};
use handover_proto::settings::Stop;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// What the program is doing for the instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    /// It starts, for the first time.
    Start,
    /// It serves, or is started again after it crashed.
    Serve,
    /// It drains.
    Drain,
    /// It is not there.
    Rest,
    /// It starts again, because a younger instance failed.
    Resume,
    /// It stops, because the container ends.
    End,
}

/// What to do where old and new cannot bind one address each.
const IN_USE: &str = "if the container that serves has the address, because both are in the \
                      device's network: with --volume DIR, shared by both, this one uses its \
                      listeners";

fn is_in_use(error: &CliError) -> bool {
    matches!(
        error,
        CliError::Start(StartError::Listener(ListenError::InUse { .. }))
    )
}

/// A container that takes part.
pub(super) struct Container {
    program: Program,
    task: Task,
    conduct: Conduct,
    /// The conduct has ended.
    is_alone: bool,
    /// Older instances that could still take back.
    uncommitted: BTreeSet<PeerId>,
    beacon: Beacon,
    marker: Place,
    /// To ask who serves.
    builder: Builder,
    exit_when_done: bool,
    /// The platform wants it gone, and how urgently.
    is_stopping: bool,
    stop: Stop,
    /// The container ends with this code: then, or when its program has gone, if that is later.
    ending: Option<(ExitCode, Instant)>,
}

impl Container {
    /// Takes part, and starts the program.
    ///
    /// # Errors
    /// What is in the way. Nothing runs; whoever served before serves on.
    pub(super) async fn begin(
        options: Options,
        config: Config,
        unit: Unit,
        marker: Place,
        voice: &mut Voice,
    ) -> Result<Self, CliError> {
        let (environment, service) = (options.environment, options.service);
        let beacon = Beacon::new(environment, service, options.status)?;
        let mut conduct = options.builder.clone().conduct()?;
        // How others are reached is told first.
        if let Some(Step::News(news)) = conduct.next().await {
            voice.news(&news);
        }
        let shared = match options.volume && !config.listeners.is_empty() {
            true => listeners::take(&conduct, &config.listeners, voice).await,
            false => Vec::new(),
        };
        let mut program = Program::new(config, unit, shared);
        if let Err(error) = program.start(voice.printing()).await {
            if !options.volume && is_in_use(&error) {
                voice.doubt(IN_USE);
            }
            return Err(error);
        }
        Ok(Self {
            program,
            task: Task::Start,
            conduct,
            is_alone: false,
            uncommitted: BTreeSet::new(),
            beacon,
            marker,
            builder: options.builder,
            exit_when_done: options.exit_when_done,
            is_stopping: false,
            stop: Stop::Drain,
            ending: None,
        })
    }

    /// Runs until it is told to end, or its program fails for good.
    ///
    /// # Errors
    /// The supervisor failed.
    pub(super) async fn run(
        mut self,
        signals: &mut Signals,
        voice: &mut Voice,
    ) -> Result<ExitCode, CliError> {
        loop {
            let ending = self.ending.filter(|_| !self.program.is_running());
            if let Some((code, at)) = ending
                && at <= Instant::now()
            {
                return Ok(code);
            }
            let at = ending.map_or_else(Instant::now, |(_, at)| at);
            tokio::select! {
                news = self.program.news() => self.program_news(news, voice).await?,
                step = self.conduct.next(), if !self.is_alone => match step {
                    Some(step) => self.step(step, voice).await,
                    None => self.is_alone = true,
                },
                signal = signals.next() => self.signalled(signal).await,
                () = sleep_until(at), if ending.is_some() => {}
            }
        }
    }

    async fn signalled(&mut self, signal: Signalled) {
        match signal {
            Signalled::ChildEnded => return self.program.bury_orphans(),
            Signalled::Stop if self.is_stopping => self.hurry(Stop::Now).await,
            Signalled::Stop => {}
            Signalled::FastStop => self.hurry(Stop::Fast).await,
        }
        self.is_stopping = true;
        self.conduct.teller().stop();
    }

    async fn hurry(&mut self, how: Stop) {
        self.stop = how;
        if matches!(self.task, Task::Drain | Task::End) {
            self.program.stop(how, false).await;
        }
    }

    /// The container ends with this code after this time, or when its program has gone, if that is
    /// later.
    async fn end(&mut self, code: ExitCode, after: Duration) {
        self.ending = Some((code, Instant::now() + after));
        if self.program.is_running() && self.task != Task::End {
            self.task = Task::End;
            self.program.stop(self.stop, false).await;
        }
    }
}
