//! An instance whose every step is taken by the caller: what `handover peer` and [`Peer`] are made
//! of.
//!
//! [`Peer`]: super::Peer

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use handover_proto::container::PeerId;
use handover_proto::container::event::{Cause, Successor};
use handover_proto::container::order::Order;
use handover_proto::container::peer::Phase;
use tokio::sync::{mpsc, watch};

use super::complete::CompleteFile;
use super::news::News;
use super::volume::{self, Crossed, CrossingError, Shelf};

/// Most news that wait to be read; what comes beyond them is dropped. Requests never are.
const MOST_NEWS: usize = 1024;

/// What is to be done next. Requests come one at a time, in the order in which they are to be
/// carried out; news in between.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Drain the program and stop it, then say [`Teller::drained`]. Comes once for each time it
    /// serves.
    Drain {
        /// For whom.
        by: Successor,
    },
    /// Start the program again, then say [`Teller::resumed`] or [`Teller::cannot_resume`]. Comes
    /// only after [`Teller::drained`].
    Resume {
        /// Why.
        cause: Cause,
    },
    /// Let go for good: write the handover-complete file ([`Conduct::complete_file`]), upon which
    /// the platform may end this container. Comes once.
    Complete {
        /// Who serves.
        by: Successor,
    },
    /// Tell people.
    News(News),
    /// The instance has left, after [`Teller::stop`] or [`Teller::failed`]. Nothing follows.
    Left,
}

/// What is said to the driver.
pub(super) enum Said {
    Ready,
    Failed,
    Drained,
    Resumed,
    CannotResume,
    Stop,
}

/// Says to an instance what became of its program. Cheap to clone. Nothing is changed once the
/// instance has ended.
#[derive(Clone, Debug)]
pub struct Teller {
    to: mpsc::UnboundedSender<Said>,
}

impl Teller {
    fn say(&self, said: Said) {
        // An instance that has ended needs to know nothing.
        let _ = self.to.send(said);
    }

    /// The program is ready and serves: it is announced. Refused, with an event, once the drain has
    /// begun.
    pub fn ready(&self) {
        self.say(Said::Ready);
    }

    /// The program is gone and will not be started again: older instances that could still come
    /// back are told to.
    pub fn failed(&self) {
        self.say(Said::Failed);
    }

    /// The program serves no more: the answer to [`Step::Drain`].
    pub fn drained(&self) {
        self.say(Said::Drained);
    }

    /// The program serves again: an answer to [`Step::Resume`]. It is announced as the youngest.
    pub fn resumed(&self) {
        self.say(Said::Resumed);
    }

    /// The program cannot be started again: an answer to [`Step::Resume`].
    pub fn cannot_resume(&self) {
        self.say(Said::CannotResume);
    }

    /// The platform wants this instance gone (SIGTERM): it drains if it serves, then completes and
    /// leaves.
    pub fn stop(&self) {
        self.say(Said::Stop);
    }
}

/// Who an instance is and where it stands, as it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Standing {
    /// Its name.
    pub peer: PeerId,
    /// Its place among the others; another one after it took back.
    pub order: Order,
    /// What it does.
    pub phase: Phase,
}

/// The driver's end of the steps.
#[derive(Debug)]
pub(super) struct Steps {
    to: mpsc::UnboundedSender<Step>,
    news: Arc<AtomicUsize>,
}

impl Steps {
    pub(super) fn push(&self, step: Step) {
        if let Step::News(_) = &step {
            if self.news.load(Ordering::Relaxed) >= MOST_NEWS {
                return;
            }
            self.news.fetch_add(1, Ordering::Relaxed);
        }
        // Whoever reads may have gone; the driver ends then.
        let _ = self.to.send(step);
    }

    pub(super) async fn closed(&self) {
        self.to.closed().await;
    }
}

/// One instance of a service, in the hands of the caller. Made by
/// [`Builder::conduct`](super::Builder::conduct).
///
/// ```no_run
/// use handover::container::{Peer, Step};
///
/// # async fn start() -> Program { Program }
/// # struct Program;
/// # impl Program { async fn ready(&self) {} async fn drain(&self) {} }
/// # async fn f() -> Result<(), Box<dyn std::error::Error>> {
/// let mut conduct = Peer::builder("api").conduct()?;
/// let mut program = start().await;
/// program.ready().await;
/// conduct.teller().ready();
/// while let Some(step) = conduct.next().await {
///     match step {
///         Step::News(news) => println!("{news}"),
///         Step::Drain { .. } => {
///             program.drain().await;
///             conduct.teller().drained();
///         }
///         Step::Resume { .. } => {
///             program = start().await;
///             conduct.teller().resumed();
///         }
///         Step::Complete { .. } => conduct.complete_file().write()?,
///         Step::Left => break,
///     }
/// }
/// # Ok(())
/// # }
/// ```
///
/// Dropping it ends the instance's part without a word: to the others it falls silent.
#[derive(Debug)]
pub struct Conduct {
    steps: mpsc::UnboundedReceiver<Step>,
    news: Arc<AtomicUsize>,
    teller: Teller,
    standing: watch::Receiver<Standing>,
    service: String,
    directory: Option<PathBuf>,
    complete: CompleteFile,
    shelf: Shelf,
}

impl Conduct {
    pub(super) fn new(
        standing: watch::Receiver<Standing>,
        service: String,
        directory: Option<PathBuf>,
        complete: CompleteFile,
        shelf: Shelf,
    ) -> (Self, Steps, mpsc::UnboundedReceiver<Said>) {
        let (to_caller, steps) = mpsc::unbounded_channel();
        let (to, said) = mpsc::unbounded_channel();
        let news = Arc::default();
        let conduct = Self {
            steps,
            news: Arc::clone(&news),
            teller: Teller { to },
            standing,
            service,
            directory,
            complete,
            shelf,
        };
        let to = to_caller;
        (conduct, Steps { to, news }, said)
    }

    /// The next step; `None` after the last one. Cancel-safe: no step is lost.
    pub async fn next(&mut self) -> Option<Step> {
        let step = self.steps.recv().await?;
        if let Step::News(_) = &step {
            self.news.fetch_sub(1, Ordering::Relaxed);
        }
        Some(step)
    }

    /// By which the instance is told what became of its program.
    #[must_use]
    pub const fn teller(&self) -> &Teller {
        &self.teller
    }

    /// Who this instance is and where it stands now.
    #[must_use]
    pub fn standing(&self) -> Standing {
        *self.standing.borrow()
    }

    pub(super) fn watch(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// The service.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.service
    }

    /// The file to write at [`Step::Complete`].
    #[must_use]
    pub const fn complete_file(&self) -> &CompleteFile {
        &self.complete
    }

    /// The service's directory in the volume, private to this user.
    #[must_use]
    pub fn directory(&self) -> Option<&std::path::Path> {
        self.directory.as_deref()
    }

    /// Listeners of the instance that serves, through the volume, for a program that is to be
    /// started on them: the very sockets, so that what waits in their queues is not lost. They
    /// cross only into the same network namespace.
    ///
    /// Ends within a few seconds for each instance that does not answer. Not cancel-safe in that
    /// listeners may have been sent already; they are closed then.
    ///
    /// # Errors
    /// Why none came; the program is then to bind its own.
    pub async fn take_listeners(&self) -> Result<Vec<Crossed>, CrossingError> {
        let Some(directory) = self.directory.clone() else {
            return Err(CrossingError::NoVolume);
        };
        let (service, own) = (self.service.clone(), self.standing().peer);
        let asked =
            tokio::task::spawn_blocking(move || volume::ask(directory, &service, own)).await;
        asked.unwrap_or(Err(CrossingError::Nobody))
    }

    /// What a younger instance gets that asks while this one serves, in place of what was offered
    /// before. These are duplicates: while they are held the sockets stay open. They are closed
    /// when the instance has let go for good.
    pub fn offer_listeners(&self, listeners: Vec<Crossed>) {
        self.shelf.put(listeners);
    }

    /// Whether a younger instance was given listeners: only then somebody else can accept what
    /// waits in their queues.
    #[must_use]
    pub fn listeners_given(&self) -> bool {
        self.shelf.was_given()
    }
}
