//! Brings datagrams, time and what is said to the machine of an instance, and carries out what it
//! wants. Decides nothing.

use std::path::PathBuf;
use std::time::SystemTime;

use handover_proto::container::envelope::{self, Envelope, Key};
use handover_proto::container::legacy;
use handover_proto::container::peer::{Effect, Identity, Input, Peer, Phase, Refusal};
use handover_proto::container::settings::Settings;
use handover_proto::moment::{Machine, Moment};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant, sleep, sleep_until};

use super::complete::CompleteFile;
use super::conduct::{Conduct, Said, Standing, Step, Steps};
use super::medium::{Came, Media};
use super::news::{Medium, News, Way};
use super::register::{self, Place, RegisterError, wall_ms};
use super::volume::{Counter, Shelf};

/// Sending that fails is told of when it lasts: an address that was just set cannot be used at
/// once.
const PATIENCE: Duration = Duration::from_secs(5);

/// A deadline that is missed by more than this was missed because the process, or the machine, was
/// suspended; or it is so busy that it makes no difference.
const SUSPENDED: Duration = Duration::from_millis(100);

/// Pause before a number is asked for again, when the disk was full or the lock was held.
const DRAW_AGAIN: Duration = Duration::from_secs(1);

/// Where places come from.
#[derive(Clone, Debug)]
pub(super) struct Numbering(Option<PathBuf>);

impl Numbering {
    pub(super) const fn new(directory: Option<PathBuf>) -> Self {
        Self(directory)
    }

    /// Blocks with a volume.
    pub(super) fn draw(&self, legacy_ms: i64) -> Result<Place, RegisterError> {
        match &self.0 {
            Some(directory) => register::draw(directory, legacy_ms),
            None => register::stamp(legacy_ms),
        }
    }
}

/// An instance that is about to begin.
pub(super) struct Driver {
    pub(super) identity: Identity,
    pub(super) settings: Settings,
    pub(super) key: Option<Key>,
    pub(super) media: Media,
    pub(super) numbering: Numbering,
    pub(super) shelf: Shelf,
    pub(super) counter: Option<Counter>,
    pub(super) told: Vec<Way>,
}

impl Driver {
    /// Runs in a task of its own, until the instance has left or its conduct is dropped.
    pub(super) fn start(self, directory: Option<PathBuf>, complete: CompleteFile) -> Conduct {
        let service = self.identity.service.clone();
        let legacy_ms = self.identity.legacy_ms;
        let machine = Peer::new(self.settings, self.identity, Moment::ZERO);
        let (stands, standing) = watch::channel(standing_of(&machine));
        let shelf = self.shelf.clone();
        let (conduct, steps, said) = Conduct::new(standing, service, directory, complete, shelf);
        let running = Running {
            machine,
            origin: Instant::now(),
            key: self.key,
            media: self.media,
            numbering: self.numbering,
            legacy_ms,
            drawing: None,
            unplaced: false,
            shelf: self.shelf,
            counter: self.counter,
            steps,
            stands,
            failing: None,
        };
        tokio::spawn(running.run(said, self.told));
        conduct
    }
}

fn standing_of(machine: &Peer) -> Standing {
    let Identity { peer, order, .. } = *machine.identity();
    let phase = machine.phase();
    Standing { peer, order, phase }
}

/// Since when nothing could be sent.
struct Failing {
    since: Instant,
    told: bool,
}

struct Running {
    machine: Peer,
    /// When the machine's time began; later by as long as this process was suspended. Nothing can be
    /// heard in that time, so it must not count as silence of the others.
    origin: Instant,
    key: Option<Key>,
    media: Media,
    numbering: Numbering,
    /// The last time announced to legacy peers; the next one is later.
    legacy_ms: i64,
    /// The number of an instance that takes back.
    drawing: Option<JoinHandle<Result<Place, RegisterError>>>,
    /// It was told that there is no number.
    unplaced: bool,
    shelf: Shelf,
    counter: Option<Counter>,
    steps: Steps,
    stands: watch::Sender<Standing>,
    failing: Option<Failing>,
}

/// What happens.
enum Happened {
    Said(Said),
    Came(Came),
    Drawn(Result<Place, RegisterError>),
    Deadline,
    /// The conduct is gone.
    Abandoned,
}

impl Running {
    async fn run(mut self, mut said: mpsc::UnboundedReceiver<Said>, told: Vec<Way>) {
        told.into_iter().for_each(|way| self.tell(way));
        self.look();
        while self.settle() {
            match self.next(&mut said).await {
                Happened::Said(said) => self.obey(said),
                Happened::Came(came) => self.take(came),
                Happened::Drawn(place) => self.resumed(place),
                Happened::Deadline => self.handle(Input::Tick),
                Happened::Abandoned => return,
            }
        }
    }

    async fn next(&mut self, said: &mut mpsc::UnboundedReceiver<Said>) -> Happened {
        let deadline = self.machine.next_deadline();
        let deadline = deadline.map(|at| self.origin + Duration::from_nanos(at.as_nanos()));
        let happened = tokio::select! {
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                Happened::Deadline
            }
            said = said.recv() => said.map_or(Happened::Abandoned, Happened::Said),
            place = drawn(&mut self.drawing) => Happened::Drawn(place),
            () = self.steps.closed() => Happened::Abandoned,
            came = self.media.next() => Happened::Came(came),
        };
        let missed = deadline.map_or(Duration::ZERO, |at| at.elapsed());
        if missed > SUSPENDED {
            self.origin += missed;
        }
        happened
    }

    fn handle(&mut self, input: Input) {
        let now = u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.machine.handle(Moment::from_nanos(now), input);
    }

    fn tell(&mut self, way: Way) {
        self.steps.push(Step::News(News::Way(way)));
    }

    fn obey(&mut self, said: Said) {
        match said {
            Said::Ready => self.handle(Input::Ready),
            Said::Failed => self.handle(Input::Failed),
            Said::Drained => self.handle(Input::Drained),
            Said::CannotResume => self.handle(Input::CannotResume),
            Said::Stop => self.handle(Input::Stop),
            Said::Resumed => self.draw(Duration::ZERO),
        }
    }

    fn take(&mut self, came: Came) {
        match came {
            Came::Look => self.look(),
            Came::Peer(bytes) => {
                let opened = envelope::open(&bytes, self.key.as_ref());
                self.handle(match opened {
                    Ok(envelope) => Input::Heard(envelope),
                    Err(error) => Input::Refused(Refusal::Envelope(error)),
                });
            }
            Came::Legacy(bytes) => {
                let wall_ms = wall_ms(SystemTime::now());
                self.handle(match legacy::decode(&bytes) {
                    Ok(time_ms) => Input::Legacy { time_ms, wall_ms },
                    Err(error) => Input::Refused(Refusal::Legacy(error)),
                });
            }
            Came::Broken(medium, error) => self.failed(medium, format!("hearing failed: {error}")),
        }
    }

    fn look(&mut self) {
        let (told, reachable) = self.media.look();
        told.into_iter().for_each(|way| self.tell(way));
        if reachable {
            self.handle(Input::Reachable);
        }
    }

    /// A new place for an instance that serves again; the announcement waits for it.
    fn draw(&mut self, pause: Duration) {
        let numbering = self.numbering.clone();
        let legacy_ms = wall_ms(SystemTime::now()).max(self.legacy_ms.saturating_add(1));
        self.drawing = Some(tokio::spawn(async move {
            sleep(pause).await;
            let drawn = tokio::task::spawn_blocking(move || numbering.draw(legacy_ms)).await;
            drawn.unwrap_or_else(|error| Err(RegisterError::Random(std::io::Error::other(error))))
        }));
    }

    fn resumed(&mut self, place: Result<Place, RegisterError>) {
        self.drawing = None;
        match place {
            Ok(place) => {
                self.unplaced = false;
                if let Some(reason) = place.broken {
                    self.tell(Way::RegisterAnew { reason });
                }
                self.legacy_ms = place.legacy_ms;
                self.handle(Input::Resumed {
                    order: place.order,
                    legacy_ms: place.legacy_ms,
                });
            }
            Err(error) => {
                // Without a place it would not be the youngest; it serves, and tries again.
                if !std::mem::replace(&mut self.unplaced, true) {
                    self.failed(Medium::Volume, error.to_string());
                }
                self.draw(DRAW_AGAIN);
            }
        }
    }

    /// Carries out what the machine wants, in order; whether the instance goes on.
    fn settle(&mut self) -> bool {
        let mut left = false;
        while let Some(effect) = self.machine.poll_effect() {
            match effect {
                Effect::Send(envelope) => self.send(&envelope),
                Effect::SendLegacy { time_ms } => {
                    self.legacy_ms = self.legacy_ms.max(time_ms);
                    let sent = self.media.send_legacy(&legacy::encode(time_ms));
                    self.note(sent);
                }
                Effect::Drain { by } => self.steps.push(Step::Drain { by }),
                Effect::Resume { cause } => self.steps.push(Step::Resume { cause }),
                Effect::Complete { by } => {
                    self.counter = None;
                    self.shelf.clear();
                    self.steps.push(Step::Complete { by });
                }
                Effect::Report(event) => self.steps.push(Step::News(News::Peer(event))),
                Effect::Leave => left = true,
            }
        }
        let standing = standing_of(&self.machine);
        let serves = matches!(
            standing.phase,
            Phase::Serving | Phase::Asking | Phase::Draining
        );
        self.shelf.set_serves(serves);
        self.stands.send_if_modified(|before| {
            let changed = *before != standing;
            *before = standing;
            changed
        });
        if left {
            self.steps.push(Step::Left);
        }
        !left
    }

    fn send(&mut self, envelope: &Envelope) {
        let sent = match envelope::seal(envelope, self.key.as_ref()) {
            Ok(bytes) => self.media.send(&bytes),
            Err(error) => Err((Medium::Multicast, error.to_string())),
        };
        self.note(sent);
    }

    /// Tells of sending that fails, once it lasts, and once until it works again.
    fn note(&mut self, sent: Result<(), (Medium, String)>) {
        let Err((medium, reason)) = sent else {
            self.failing = None;
            return;
        };
        let now = Instant::now();
        let failing = self.failing.get_or_insert(Failing {
            since: now,
            told: false,
        });
        if !failing.told && now.duration_since(failing.since) >= PATIENCE {
            failing.told = true;
            self.failed(medium, reason);
        }
    }

    fn failed(&mut self, medium: Medium, reason: String) {
        self.tell(Way::Failed { medium, reason });
    }
}

/// Pends for ever when nothing is drawn.
async fn drawn(
    drawing: &mut Option<JoinHandle<Result<Place, RegisterError>>>,
) -> Result<Place, RegisterError> {
    match drawing {
        None => std::future::pending().await,
        Some(task) => match task.await {
            Ok(place) => place,
            Err(error) => Err(RegisterError::Random(std::io::Error::other(error))),
        },
    }
}
