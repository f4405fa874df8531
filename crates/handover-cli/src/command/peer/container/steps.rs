//! What the instance wants done, and what becomes of the program, in both directions.

use super::{Container, Task};
use crate::command::peer::listeners;
use crate::command::peer::marker::Marker;
use crate::command::peer::program::News as Program;
use crate::command::peer::voice::Voice;
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::view::peer::{Note, Serves};
use handover::container::{Event, News, Step, Successor};
use handover_proto::settings::Stop;
use std::time::Duration;

/// How long an instance that is to exit goes on speaking: what it says last, that its successor is
/// alone now or that an older one must take back, is said three times in well under a second.
const LAST_WORDS: Duration = Duration::from_secs(1);

impl Container {
    /// Carries out a step.
    pub(super) async fn step(&mut self, step: Step, voice: &mut Voice) {
        match step {
            Step::News(news) => self.news(&news, voice).await,
            Step::Drain { .. } => self.drain(voice).await,
            Step::Resume { .. } => self.resume(voice).await,
            Step::Complete { by } => self.complete(by, voice).await,
            Step::Left => {
                let code = self.ending.map_or(ExitCode::Done, |(code, _)| code);
                self.end(code, Duration::ZERO).await;
            }
        }
    }

    async fn news(&mut self, news: &News, voice: &mut Voice) {
        voice.news(news);
        let News::Peer(event) = news else { return };
        match event {
            Event::Serving { legacy_ms, .. } => self.beacon.begin(*legacy_ms, voice).await,
            Event::Asked { by: older }
            | Event::OlderDrains { peer: older }
            | Event::OlderReleased { peer: older } => {
                self.uncommitted.insert(*older);
            }
            Event::OlderCommitted { peer }
            | Event::OlderSilent { peer, .. }
            | Event::OlderResumed { peer } => {
                self.uncommitted.remove(peer);
            }
            _ => {}
        }
    }

    async fn drain(&mut self, voice: &mut Voice) {
        self.beacon.down(voice).await;
        if !self.program.is_running() {
            return self.conduct.teller().drained();
        }
        self.task = Task::Drain;
        // Those that nobody else has are closed with the program: clients are refused rather than
        // held up, and go where somebody serves.
        let hold = self.conduct.listeners_given();
        if !hold {
            self.conduct.offer_listeners(Vec::new());
        }
        self.program.stop(self.stop, hold).await;
    }

    async fn resume(&mut self, voice: &mut Voice) {
        self.task = Task::Resume;
        if let Err(error) = self.program.start(voice.printing()).await {
            voice.doubt(format!("the program cannot be started again: {error}"));
            self.task = Task::Rest;
            self.conduct.teller().cannot_resume();
            self.end(ExitCode::NobodyServes, Duration::ZERO).await;
        }
    }

    async fn complete(&mut self, by: Successor, voice: &mut Voice) {
        self.program.release();
        self.beacon.end();
        let leaves = by == Successor::Nobody;
        // One that was told to stop serves when it is started again: somebody wants it to.
        if !leaves {
            let standing = self.conduct.standing();
            let (peer, order) = (standing.peer, standing.order);
            let marked = self.marker.write(&Marker { peer, order, by });
            marked.unwrap_or_else(|error| voice.doubt(error));
        }
        let exits = leaves || self.exit_when_done;
        let file = self.conduct.complete_file();
        match file.write() {
            Ok(()) => voice.note(&Note::Completed {
                path: file.path().to_owned(),
                exits,
            }),
            Err(error) => voice.doubt(error),
        }
        // One that leaves is told so next.
        if self.exit_when_done && !leaves {
            self.end(ExitCode::Done, LAST_WORDS).await;
        }
    }

    /// What became of the program.
    ///
    /// # Errors
    /// The supervisor failed.
    pub(super) async fn program_news(
        &mut self,
        news: Program,
        voice: &mut Voice,
    ) -> Result<(), CliError> {
        match news {
            Program::Serves => self.serves(voice).await,
            Program::Faltered => self.faltered(voice).await,
            Program::Ended(ended) => {
                let code = ended?.exit_code();
                self.ended(ExitCode::of_service(code), voice).await;
            }
        }
        Ok(())
    }

    async fn serves(&mut self, voice: &mut Voice) {
        match self.task {
            Task::Start => self.conduct.teller().ready(),
            Task::Resume => self.conduct.teller().resumed(),
            Task::Serve => {
                voice.serves(Serves::This);
                self.beacon.up(voice).await;
            }
            Task::Drain | Task::Rest | Task::End => return,
        }
        self.task = Task::Serve;
        if self.conduct.directory().is_some() {
            let listeners = self.program.listeners().await;
            let offered = listeners::offered(listeners);
            self.conduct.offer_listeners(offered);
        }
    }

    /// It crashed, and its supervisor is about to start it again. If an older instance can still
    /// come back, that is better than to try.
    async fn faltered(&mut self, voice: &mut Voice) {
        if self.task != Task::Serve {
            return;
        }
        self.beacon.down(voice).await;
        voice.serves(Serves::Nobody);
        if !self.uncommitted.is_empty() {
            voice.note(&Note::RolledBack);
            self.stop = Stop::Now;
            self.conduct.teller().failed();
            self.end(ExitCode::RolledBack, LAST_WORDS).await;
        }
    }

    async fn ended(&mut self, code: ExitCode, voice: &mut Voice) {
        match std::mem::replace(&mut self.task, Task::Rest) {
            Task::Drain => self.conduct.teller().drained(),
            Task::Rest | Task::End => {}
            // By `handover stop`: as if the platform had wanted it.
            Task::Start | Task::Serve | Task::Resume if code == ExitCode::Done => {
                self.is_stopping = true;
                self.conduct.teller().stop();
            }
            Task::Resume => {
                self.conduct.teller().cannot_resume();
                self.end(code, Duration::ZERO).await;
            }
            Task::Start | Task::Serve => {
                self.beacon.down(voice).await;
                voice.serves(Serves::Nobody);
                self.conduct.teller().failed();
                match self.uncommitted.is_empty() {
                    false => {
                        voice.note(&Note::RolledBack);
                        self.end(ExitCode::RolledBack, LAST_WORDS).await;
                    }
                    true => self.give_up(code, voice).await,
                }
            }
        }
    }
}
