//! What an instance needs to be told before it begins.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use handover_proto::container::PeerId;
use handover_proto::container::envelope::Key;
use handover_proto::container::peer::Identity;
use handover_proto::container::settings::{Legacy, Settings};

use super::complete::CompleteFile;
use super::conduct::Conduct;
use super::driver::{Driver, Numbering};
use super::environment::{Environment, EnvironmentError};
use super::key::{self, KeyFileError};
use super::medium::{Media, Wanted};
use super::multicast::GroupError;
use super::network::Network;
use super::news::{Medium, Way};
use super::peer::Peer;
use super::register::{self, Place, RegisterError};
use super::volume::{self, Counter, Shelf, Volume, VolumeError};
use super::{lookout, random};

/// Why an instance did not begin. Whoever served before serves on.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// A variable cannot be read.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// The service has no usable name.
    #[error(
        "the service name {name:?} cannot be used: 1 to 63 bytes without '/', not beginning with \
         '.'; set BALENA_SERVICE_NAME, or name it in the program"
    )]
    Service {
        /// The name.
        name: String,
    },
    /// The volume cannot be used.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// There is no place among the other instances.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// The volume's key cannot be read or made.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// A port cannot be had.
    #[error(transparent)]
    Group(#[from] GroupError),
}

/// How many heartbeats may be lost before an instance counts as gone.
const HEARTBEATS: u32 = 5;

/// Tells an instance what its environment does not; see [`Peer::builder`].
#[derive(Clone, Debug)]
#[must_use = "`build` it"]
pub struct Builder {
    service: Option<String>,
    started_at: SystemTime,
    environment: Option<Environment>,
    network: Option<Network>,
    volume: Option<PathBuf>,
    key: Option<Key>,
    legacy: Option<Legacy>,
    settings: Settings,
    complete: Option<PathBuf>,
}

/// Everything that was found out before an instance begins.
pub(super) struct Setup {
    pub(super) service: String,
    pub(super) directory: Option<PathBuf>,
    pub(super) key: Option<Key>,
    pub(super) wanted: Wanted,
    pub(super) settings: Settings,
    pub(super) complete: CompleteFile,
    started_at: SystemTime,
}

impl Builder {
    pub(super) fn new(service: Option<String>) -> Self {
        Self {
            service,
            started_at: SystemTime::now(),
            environment: None,
            network: None,
            volume: None,
            key: None,
            legacy: None,
            settings: Settings::default(),
            complete: None,
        }
    }

    /// When the program started, for legacy peers, who compare it. By default now.
    pub fn started_at(mut self, started_at: SystemTime) -> Self {
        self.started_at = started_at;
        self
    }

    /// In place of the variables of this process.
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = Some(environment);
        self
    }

    /// Which interfaces, in place of `HANDOVER_NETWORK_MODE` and `NETWORK_INTERFACE`.
    pub fn network(mut self, network: Network) -> Self {
        self.network = Some(network);
        self
    }

    /// A directory that old and new container share, on a filesystem of the device. Version 3 then
    /// goes through sockets in it and not over the network; instances are put in order by a
    /// register in it; and a key is made in it unless one is given.
    ///
    /// It must exist. Each service has a directory of its own in it, private to its user.
    pub fn volume(mut self, volume: impl Into<PathBuf>) -> Self {
        self.volume = Some(volume.into());
        self
    }

    /// The secret that all instances of the service have; see [`read_key`](super::read_key).
    /// Without one, anybody on the network can retire the service.
    pub fn key(mut self, key: Key) -> Self {
        self.key = Some(key);
        self
    }

    /// What to do about peers of handover-lib. By default [`Legacy::Obey`] without a key and
    /// [`Legacy::Announce`] with one, also one that a volume made.
    pub fn legacy(mut self, legacy: Legacy) -> Self {
        self.legacy = Some(legacy);
        self
    }

    /// For how long this instance, once it is drained, stays able to take back, if it can at all.
    /// By default 10 s; zero: until the younger one says for the first time that it heard.
    pub fn probation(mut self, probation: Duration) -> Self {
        self.settings.probation = probation;
        self
    }

    /// After so long without a word another instance counts as gone. By default 5 s, in which it
    /// says five times that it is there. Give all instances the same: one that counts on less hears
    /// too little from one that does not know.
    pub fn silence(mut self, silence: Duration) -> Self {
        let usual = Settings::default().heartbeat;
        self.settings.heartbeat = usual.min(silence / HEARTBEATS);
        self.settings.silence = silence;
        self
    }

    /// In place of the path that the platform names; see [`CompleteFile`].
    pub fn complete_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.complete = Some(path.into());
        self
    }

    /// Whether a [`Conduct`] can answer [`Step::Resume`](super::Step::Resume). By default it can. A
    /// [`Peer`] decides that by [`listen`](Peer::listen) or
    /// [`listen_and_resume`](Peer::listen_and_resume).
    pub fn can_resume(mut self, can_resume: bool) -> Self {
        self.settings.can_resume = can_resume;
        self
    }

    /// An instance that calls back. Reads the environment; opens nothing yet.
    ///
    /// # Errors
    /// A variable cannot be read, or the service has no usable name.
    pub fn build(self) -> Result<Peer, BeginError> {
        Peer::new_from(self)
    }

    /// An instance whose every step the caller takes. Opens all sockets, takes a number from the
    /// volume's register (which blocks for its lock and for the disk), and begins to listen.
    ///
    /// # Errors
    /// See [`BeginError`]; nothing is left open.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O and time.
    pub fn conduct(self) -> Result<Conduct, BeginError> {
        self.setup()?.begin()
    }

    /// Who serves now, as far as they answer `within` this time: asked by every way this instance
    /// would use, without taking part. The youngest comes last.
    ///
    /// For a container that a restart policy revives after it let go: somebody who
    /// [came after](handover_proto::container::order::Order::came_after) it may serve.
    ///
    /// # Errors
    /// See [`BeginError`].
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O and time.
    pub async fn who_serves(self, within: Duration) -> Result<Vec<super::Serving>, BeginError> {
        lookout::ask(self.setup()?, within).await
    }

    /// The start time of a peer of handover-lib that began at `since_ms` or later, milliseconds since
    /// the Unix epoch, if one announces itself `within` this time; theirs do so every 10 s. `None`
    /// at once with [`Legacy::Off`].
    ///
    /// For a container that let go for such a peer, as [`who_serves`](Self::who_serves).
    ///
    /// # Errors
    /// See [`BeginError`].
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O and time.
    pub async fn legacy_serves(
        self,
        since_ms: i64,
        within: Duration,
    ) -> Result<Option<i64>, BeginError> {
        lookout::listen(self.setup()?, since_ms, within).await
    }

    /// The service, and the environment.
    fn named(&self) -> Result<(String, Environment), BeginError> {
        let environment = match &self.environment {
            Some(environment) => environment.clone(),
            None => Environment::read()?,
        };
        let named = self.service.clone().or(environment.service.clone());
        let name = named.or_else(program).unwrap_or_default();
        if !volume::is_service(&name) {
            return Err(BeginError::Service { name });
        }
        Ok((name, environment))
    }

    /// What can be found wrong without opening anything.
    pub(super) fn check(&self) -> Result<(), BeginError> {
        self.named().map(drop)
    }

    fn setup(self) -> Result<Setup, BeginError> {
        let (service, environment) = self.named()?;
        let directory = self.volume.as_deref();
        let directory = directory.map(|volume| volume::directory(volume, &service));
        let directory = directory.transpose()?;
        let key = match (self.key, &directory) {
            (Some(key), _) => Some(key),
            (None, Some(directory)) => Some(volume_key(directory)?),
            (None, None) => None,
        };
        let legacy = self.legacy.unwrap_or(Legacy::sensible(key.is_some()));
        let wanted = Wanted {
            network: self.network.unwrap_or(environment.network),
            group: environment.group,
            peer_port: directory.is_none().then_some(environment.peer_port),
            legacy: (legacy != Legacy::Off).then_some(environment.legacy_port),
        };
        Ok(Setup {
            service,
            directory,
            key,
            wanted,
            settings: Settings {
                legacy,
                ..self.settings
            },
            complete: CompleteFile::named(self.complete.or(environment.complete)),
            started_at: self.started_at,
        })
    }
}

fn program() -> Option<String> {
    let path = std::env::current_exe().ok()?;
    Some(path.file_stem()?.to_str()?.to_owned())
}

fn volume_key(directory: &Path) -> Result<Key, BeginError> {
    let _lock = register::locked(directory)?;
    Ok(key::read_or_make(directory)?)
}

impl Setup {
    /// The ways to others, and what is to be told of them.
    pub(super) fn ways(&self, peer: PeerId) -> Result<(Media, Vec<Way>), BeginError> {
        let volume = match &self.directory {
            Some(directory) => Some(Volume::open(directory.clone(), peer)?),
            None => None,
        };
        let mut told = vec![self.chosen(volume.as_ref())];
        if let Some(kind) = volume.as_ref().and_then(Volume::doubt) {
            let reason = kind.to_string();
            told.push(Way::VolumeDoubtful { reason });
        }
        let media = Media::open(&self.wanted, volume)?;
        Ok((media, told))
    }

    fn chosen(&self, volume: Option<&Volume>) -> Way {
        let (medium, because) = match volume {
            Some(volume) => {
                let path = volume.path().display();
                (Medium::Volume, format!("{path} is shared"))
            }
            None => {
                let Wanted { network, group, .. } = &self.wanted;
                let port = self.wanted.peer_port.unwrap_or_default();
                let because = format!("no volume is named; {network}, group {group}:{port}");
                (Medium::Multicast, because)
            }
        };
        Way::Chosen {
            medium,
            because,
            key: self.key.is_some(),
            legacy: self.settings.legacy,
        }
    }

    fn begin(self) -> Result<Conduct, BeginError> {
        let peer = PeerId(random::bytes().map_err(RegisterError::Random)?);
        let seed = random::bytes().map_err(RegisterError::Random)?;
        let (media, mut told) = self.ways(peer)?;
        let numbering = Numbering::new(self.directory.clone());
        let place = numbering.draw(register::wall_ms(self.started_at))?;
        let Place {
            order, legacy_ms, ..
        } = place;
        if let Some(reason) = place.broken {
            told.push(Way::RegisterAnew { reason });
        }
        let shelf = Shelf::default();
        let counter = self.directory.clone().and_then(|directory| {
            let opened = Counter::open(directory, peer, self.service.clone(), shelf.clone());
            opened
                .map_err(|error| {
                    let reason = error.to_string();
                    told.push(Way::NoListeners { reason });
                })
                .ok()
        });
        let identity = Identity {
            service: self.service,
            peer,
            order,
            legacy_ms,
            seed,
        };
        Ok(Driver {
            identity,
            settings: self.settings,
            key: self.key,
            media,
            numbering,
            shelf,
            counter,
            told,
        }
        .start(self.directory, self.complete))
    }
}
