//! An instance that calls back.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use handover_proto::container::peer::Phase;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;

use super::builder::{BeginError, Builder};
use super::complete::CompleteError;
use super::conduct::{Conduct, Standing, Step, Teller};
use super::news::News;

/// News that wait for a slow reader before it loses the oldest.
const NEWS: usize = 256;

/// Why an instance could not be announced, or could not leave.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// It does not listen.
    #[error("this instance does not listen; call `listen` before, or nothing could end it")]
    NotListening,
    /// It listens already.
    #[error("this instance listens already; the first callback stays")]
    Listening,
    /// It has begun to go.
    #[error("this instance is {phase:?} and is not announced; start another one")]
    Going {
        /// What it does.
        phase: Phase,
    },
    /// It could not begin.
    #[error(transparent)]
    Begin(#[from] BeginError),
    /// The handover-complete file could not be written.
    #[error(transparent)]
    Complete(Arc<CompleteError>),
}

type Action<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Drain = Box<dyn FnMut() -> Option<Action<()>> + Send>;
type Resume = Box<dyn FnMut() -> Action<Result<(), String>> + Send>;

/// What a program does when it is asked to.
struct Callbacks {
    drain: Drain,
    resume: Option<Resume>,
}

/// What became of an instance.
#[derive(Clone, Debug, Default)]
struct End {
    /// The file.
    complete: Option<Result<PathBuf, Arc<CompleteError>>>,
    left: bool,
}

/// A container of a service that hands over to the next one. See [the module](super).
///
/// Dropping it ends the instance's part without a word.
#[derive(Debug)]
pub struct Peer {
    begin: Mutex<Option<Builder>>,
    running: Mutex<Option<Running>>,
    news: broadcast::Sender<News>,
    end: watch::Sender<End>,
}

#[derive(Debug)]
struct Running {
    teller: Teller,
    standing: watch::Receiver<Standing>,
    task: JoinHandle<()>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Some(running) = lock(&self.running).take() {
            running.task.abort();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Peer {
    /// An instance of the service that `BALENA_SERVICE_NAME` names, else the program's file name,
    /// by its environment alone: the shape of `new HandoverPeer(startedAt)`.
    ///
    /// # Errors
    /// A variable cannot be read, or the service has no usable name.
    pub fn new(started_at: SystemTime) -> Result<Self, BeginError> {
        Builder::new(None).started_at(started_at).build()
    }

    /// An instance of this service, of which more is to be said than its environment does.
    pub fn builder(service: impl Into<String>) -> Builder {
        Builder::new(Some(service.into()))
    }

    pub(super) fn new_from(builder: Builder) -> Result<Self, BeginError> {
        // What can be known to be wrong is said before the program starts.
        builder.check()?;
        Ok(Self {
            begin: Mutex::new(Some(builder)),
            running: Mutex::new(None),
            news: broadcast::channel(NEWS).0,
            end: watch::channel(End::default()).0,
        })
    }

    /// Listens for younger instances. When one serves, `drain` is called, once: it is to stop
    /// serving, finish what was begun, and return. Then, as soon as the younger one confirms that
    /// it serves, the handover-complete file is written.
    ///
    /// There is no probation, since this instance could not take back: should the younger one fail
    /// before the drain is over, nobody serves, the file is not written until another one does, and
    /// an event says so. To be able to take back, call
    /// [`listen_and_resume`](Self::listen_and_resume) instead.
    ///
    /// Returns when the sockets are open; with a volume it waits for a lock and for the disk. Not
    /// cancel-safe: one that is cancelled leaves nothing open, and cannot be called again.
    ///
    /// # Errors
    /// [`PeerError::Listening`], [`PeerError::Begin`]; after the latter nothing is left open, and it
    /// may be called again.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O and time.
    pub async fn listen<F, D>(&self, drain: F) -> Result<(), PeerError>
    where
        F: FnOnce() -> D + Send + 'static,
        D: Future<Output = ()> + Send + 'static,
    {
        let mut drain = Some(drain);
        let drain: Drain = Box::new(move || {
            let drain = drain.take()?;
            Some(Box::pin(drain()))
        });
        let resume = None;
        self.begin(Callbacks { drain, resume }).await
    }

    /// Like [`listen`](Self::listen), for a program that can serve again after it was drained:
    /// `resume` is called when the younger instance fails within the probation, and is to serve
    /// again before it returns. Then this instance is the youngest; `drain` is called again when
    /// the next one comes.
    ///
    /// # Errors
    /// As [`listen`](Self::listen).
    ///
    /// # Panics
    /// As [`listen`](Self::listen).
    pub async fn listen_and_resume<F, D, G, R, E>(
        &self,
        mut drain: F,
        mut resume: G,
    ) -> Result<(), PeerError>
    where
        F: FnMut() -> D + Send + 'static,
        D: Future<Output = ()> + Send + 'static,
        G: FnMut() -> R + Send + 'static,
        R: Future<Output = Result<(), E>> + Send + 'static,
        E: std::fmt::Display + 'static,
    {
        self.begin(Callbacks {
            drain: Box::new(move || Some(Box::pin(drain()))),
            resume: Some(Box::new(move || {
                let resumed = resume();
                Box::pin(async move { resumed.await.map_err(|error| error.to_string()) })
            })),
        })
        .await
    }

    async fn begin(&self, callbacks: Callbacks) -> Result<(), PeerError> {
        let builder = lock(&self.begin).take().ok_or(PeerError::Listening)?;
        let begun = builder.clone().can_resume(callbacks.resume.is_some());
        // The register's lock and the disk are waited for.
        let conduct = match tokio::task::spawn_blocking(|| begun.conduct()).await {
            Ok(Ok(conduct)) => conduct,
            Ok(Err(error)) => {
                *lock(&self.begin) = Some(builder);
                return Err(error.into());
            }
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime ends, and with it this future.
                Err(_) => std::future::pending().await,
            },
        };
        let teller = conduct.teller().clone();
        let standing = conduct.watch();
        let (news, end) = (self.news.clone(), self.end.clone());
        let task = tokio::spawn(obey(conduct, callbacks, news, end));
        *lock(&self.running) = Some(Running {
            teller,
            standing,
            task,
        });
        Ok(())
    }

    fn teller(&self) -> Result<(Teller, watch::Receiver<Standing>), PeerError> {
        let running = lock(&self.running);
        let running = running.as_ref().ok_or(PeerError::NotListening)?;
        Ok((running.teller.clone(), running.standing.clone()))
    }

    /// Announces that this instance is ready and serves. Older ones drain for it then.
    ///
    /// Returns at once; while there is no network, the announcement goes out when one appears.
    /// Cancel-safe. Without effect the second time.
    ///
    /// # Errors
    /// [`PeerError::NotListening`]; [`PeerError::Going`] when a still younger instance serves
    /// already, or this one was told to leave.
    pub async fn announce(&self) -> Result<(), PeerError> {
        let (teller, mut standing) = self.teller()?;
        teller.ready();
        let phase = match standing.wait_for(|now| now.phase != Phase::Warming).await {
            Ok(standing) => standing.phase,
            Err(_) => Phase::Left,
        };
        match phase {
            Phase::Warming | Phase::Serving | Phase::Asking => Ok(()),
            Phase::Draining
            | Phase::Probation
            | Phase::Stranded
            | Phase::TakingBack
            | Phase::Retired
            | Phase::Leaving
            | Phase::Left => Err(PeerError::Going { phase }),
        }
    }

    /// Leaves, as on SIGTERM: drains if that has not happened, and writes the handover-complete
    /// file, since some platform versions stop the old container without waiting for it. Returns
    /// when all that is done; immediately if it was.
    ///
    /// Cancel-safe: it goes on. Without effect the second time.
    ///
    /// # Errors
    /// [`PeerError::NotListening`], [`PeerError::Complete`].
    pub async fn finish(&self) -> Result<(), PeerError> {
        let (teller, _) = self.teller()?;
        let mut end = self.end.subscribe();
        teller.stop();
        let Ok(end) = end.wait_for(|end| end.left).await else {
            return Ok(());
        };
        match &end.complete {
            Some(Err(error)) => Err(PeerError::Complete(Arc::clone(error))),
            Some(Ok(_)) | None => Ok(()),
        }
    }

    /// Waits until this instance has let go for good and the handover-complete file is written; its
    /// path. From then on the platform may end this container. Do not end the process by yourself:
    /// a restart policy would revive it. Cancel-safe.
    ///
    /// # Errors
    /// [`PeerError::Complete`].
    pub async fn retired(&self) -> Result<PathBuf, PeerError> {
        let mut end = self.end.subscribe();
        let ended = end.wait_for(|end| end.complete.is_some()).await;
        match ended.ok().and_then(|end| end.complete.clone()) {
            Some(Ok(path)) => Ok(path),
            Some(Err(error)) => Err(PeerError::Complete(error)),
            // The sender is in `self`.
            None => std::future::pending().await,
        }
    }

    /// What happens from now on. Asked for before the instance listens, the first one says how the
    /// others are reached.
    #[must_use]
    pub fn events(&self) -> Events {
        Events {
            news: self.news.subscribe(),
        }
    }

    /// Who this instance is and where it stands; `None` before it listens.
    #[must_use]
    pub fn standing(&self) -> Option<Standing> {
        let running = lock(&self.running);
        let running = running.as_ref()?;
        Some(*running.standing.borrow())
    }
}

/// News of an instance, from [`Peer::events`].
#[derive(Debug)]
pub struct Events {
    news: broadcast::Receiver<News>,
}

impl Events {
    /// The next one; `None` when the [`Peer`] is gone. A reader that is too slow loses the oldest.
    /// Cancel-safe.
    pub async fn next(&mut self) -> Option<News> {
        loop {
            match self.news.recv().await {
                Ok(news) => return Some(news),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

/// A callback that is under way.
enum Doing {
    Draining(JoinHandle<()>),
    Resuming(JoinHandle<Result<(), String>>),
}

/// Takes every step of an instance by its callbacks, one at a time.
async fn obey(
    mut conduct: Conduct,
    mut callbacks: Callbacks,
    news: broadcast::Sender<News>,
    end: watch::Sender<End>,
) {
    let teller = conduct.teller().clone();
    let mut doing: Option<Doing> = None;
    loop {
        let step = tokio::select! {
            () = finished(&mut doing, &teller) => {
                doing = None;
                continue;
            }
            step = conduct.next() => step,
        };
        match step {
            Some(Step::Drain { .. }) => match (callbacks.drain)() {
                Some(drain) => doing = Some(Doing::Draining(tokio::spawn(drain))),
                None => teller.drained(),
            },
            Some(Step::Resume { .. }) => match &mut callbacks.resume {
                Some(resume) => doing = Some(Doing::Resuming(tokio::spawn(resume()))),
                None => teller.cannot_resume(),
            },
            Some(Step::Complete { .. }) => {
                let file = conduct.complete_file();
                let written = file.write().map(|()| file.path().to_owned());
                if let Err(error) = &written {
                    tracing::error!(%error, "the platform is not told");
                }
                end.send_modify(|end| end.complete = Some(written.map_err(Arc::new)));
            }
            Some(Step::News(one)) => {
                if one.is_warning() {
                    tracing::warn!(service = conduct.service(), "{one}");
                } else {
                    tracing::info!(service = conduct.service(), "{one}");
                }
                // Nobody may be interested.
                let _ = news.send(one);
            }
            Some(Step::Left) | None => break,
        }
    }
    end.send_modify(|end| end.left = true);
}

/// Tells what a callback came to; pends for ever without one. One that panicked has done what it
/// could: it drained, but did not begin to serve.
async fn finished(doing: &mut Option<Doing>, teller: &Teller) {
    match doing {
        None => std::future::pending().await,
        Some(Doing::Draining(task)) => {
            if let Err(error) = task.await {
                tracing::error!(%error, "the callback that drains ended early");
            }
            teller.drained();
        }
        Some(Doing::Resuming(task)) => match task.await {
            Ok(Ok(())) => teller.resumed(),
            Ok(Err(error)) => {
                tracing::warn!(error, "this instance cannot serve again");
                teller.cannot_resume();
            }
            Err(error) => {
                tracing::error!(%error, "the callback that serves again ended early");
                teller.cannot_resume();
            }
        },
    }
}
