//! The program of this container, under a supervisor that can be started more than once: an
//! instance that takes back starts it again.

use crate::command::printing::Printing;
use crate::error::CliError;
use handover::supervisor::{
    Config, Ended, Requests, SharedListener, Subscription, SuperviseError, Supervisor, Unit,
};
use handover_proto::event::{Event, EventKind};
use handover_proto::outcome::Outcome;
use handover_proto::settings::Stop;
use tokio::task::JoinHandle;

/// What became of the program.
#[derive(Debug)]
pub(super) enum News {
    /// It serves.
    Serves,
    /// It served and is gone, or never became ready; it is about to be started again.
    Faltered,
    /// Nothing of it is left, and the supervisor has ended with this code.
    Ended(Result<Ended, CliError>),
}

/// The program, running or not.
pub(super) struct Program {
    config: Config,
    unit: Option<Unit>,
    running: Option<Running>,
    /// Listeners that another container has as well, while nothing runs here: clients wait in their
    /// queue if that one dies.
    held: Vec<SharedListener>,
}

struct Running {
    requests: Requests,
    events: Subscription,
    /// The last event that was seen.
    seq: u64,
    serves: bool,
    task: JoinHandle<Result<Ended, SuperviseError>>,
}

impl Program {
    /// Not started. `held` are listeners of another container, to be used if they are configured.
    pub(super) fn new(mut config: Config, unit: Unit, held: Vec<SharedListener>) -> Self {
        config.stopped_by_request = true;
        Self {
            config,
            unit: Some(unit),
            running: None,
            held,
        }
    }

    /// Opens the listeners and starts the program.
    ///
    /// # Errors
    /// What is in the way; nothing was started.
    pub(super) async fn start(&mut self, printing: Option<&Printing>) -> Result<(), CliError> {
        let shared: Result<Vec<_>, _> = self.held.iter().map(SharedListener::try_clone).collect();
        let shared = shared.map_err(CliError::Duplicate)?;
        let unit = self.unit.take().unwrap_or_default();
        let supervisor = Supervisor::beside(self.config.clone(), unit, shared).await?;
        if let Some(printing) = printing {
            // Ends with the supervisor.
            drop(printing.follow(supervisor.events()));
        }
        self.running = Some(Running {
            requests: supervisor.requests(),
            events: supervisor.events(),
            seq: 0,
            serves: false,
            task: tokio::task::spawn_local(supervisor.run()),
        });
        self.held.clear();
        Ok(())
    }

    pub(super) const fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Stops the program; [`News::Ended`] follows. With `hold` the listeners stay open here.
    pub(super) async fn stop(&mut self, how: Stop, hold: bool) {
        if hold && self.held.is_empty() {
            self.held = self.listeners().await;
        }
        if let Some(running) = &mut self.running {
            running.serves = false;
            running.requests.stop(how);
        }
    }

    /// Lets go of the listeners.
    pub(super) fn release(&mut self) {
        self.held.clear();
    }

    /// Duplicates of the listeners it serves on; none while it does not run.
    pub(super) async fn listeners(&self) -> Vec<SharedListener> {
        let Some(running) = &self.running else {
            return Vec::new();
        };
        running.requests.listeners().await.unwrap_or_else(|error| {
            tracing::warn!("the listeners could not be duplicated: {error}");
            Vec::new()
        })
    }

    /// As the first process of a container every orphan is ours; a supervisor buries them itself.
    pub(super) fn bury_orphans(&self) {
        if std::process::id() == 1 && self.running.is_none() {
            handover_sys::reap::reap_orphans(|_| false);
        }
    }

    /// The next change; never while nothing runs. Cancel-safe.
    pub(super) async fn news(&mut self) -> News {
        let Some(running) = &mut self.running else {
            return std::future::pending().await;
        };
        let news = running.news().await;
        if matches!(news, News::Ended(_)) {
            self.running = None;
            // Of whoever ended just before, nobody is told any more.
            self.bury_orphans();
        }
        news
    }
}

impl Running {
    async fn news(&mut self) -> News {
        while let Some(event) = self.events.next().await {
            let missed = event.seq != self.seq + 1;
            self.seq = event.seq;
            let serves = match self.verdict(&event) {
                None if missed => self.ask().await,
                serves => serves,
            };
            match (self.serves, serves) {
                (_, Some(false)) => {
                    self.serves = false;
                    return News::Faltered;
                }
                (false, Some(true)) => {
                    self.serves = true;
                    return News::Serves;
                }
                (true, Some(true)) | (_, None) => {}
            }
        }
        self.serves = false;
        let ended = (&mut self.task).await;
        News::Ended(match ended {
            Ok(ended) => ended.map_err(CliError::from),
            Err(_) => Err(CliError::SupervisorGone),
        })
    }

    /// Whether it serves from here on, if the event says.
    fn verdict(&self, event: &Event) -> Option<bool> {
        match &event.kind {
            EventKind::HandoverFinished {
                outcome: Outcome::Committed { .. },
                ..
            }
            | EventKind::TakenBack { .. } => Some(true),
            EventKind::RestartScheduled { .. } => Some(false),
            _ => None,
        }
    }

    /// After events were missed.
    async fn ask(&self) -> Option<bool> {
        let status = self.requests.status().await?;
        status.incumbent.is_some().then_some(true)
    }
}
