//! Taking over before the driver is there: who serves becomes what the machine begins with.

use std::path::PathBuf;
use std::sync::Arc;

use handover_proto::identity::{CandidateId, InstanceId, InstancePid};
use handover_proto::journal::{Observation, Recorded, Recovery, Stance};
use handover_proto::manifest::{ListenerEntry, ListenerKind};
use handover_proto::phase::Mode;
use handover_proto::zero::{Step, Way};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::arrival::{self, Arrival, Had};
use super::taking::Line;
use super::{News, Taking, Zero, ZeroError};
use crate::supervisor::config::{Config, ListenerSpec};
use crate::supervisor::driver::{Command, Driver};
use crate::supervisor::error::StartError;
use crate::supervisor::record::Envelope;
use crate::supervisor::sockets::OpenListener;
use crate::supervisor::{candidate, preflight};

/// What a listener is called that nobody named.
const NAME: &str = "http";

/// The exchange of a service, before its driver is there.
pub(in crate::supervisor) struct Approach {
    path: PathBuf,
    name: String,
    /// The listener that was had, and who serves.
    had: Option<Had>,
    /// The connection to who serves, if it was not asked yet.
    stream: Option<UnixStream>,
    /// The number of who serves.
    instance: Option<InstanceId>,
}

impl Approach {
    /// Looks who serves at the configured path, if one is. Adds the listener to `config` and its
    /// process to `observed`.
    pub(in crate::supervisor) async fn begin(
        config: &mut Config,
        found: Option<&Envelope>,
        observed: &mut Observation,
    ) -> Result<Option<Self>, StartError> {
        let Some(path) = config.zero.clone() else {
            return Ok(None);
        };
        let name = listener_name(config)?;
        // The plain exchange cannot be taken back, so what can be known before is looked at before.
        let program = config.program.first().cloned().unwrap_or_default();
        preflight::inspect(&candidate::locate(&program, config.directory.as_deref())?)?;
        let wanted = config.listeners.iter().find(|spec| spec.name == name);
        let mut approach = Self {
            path: path.clone(),
            name: name.clone(),
            had: None,
            stream: None,
            instance: None,
        };
        match arrival::arrive(&path, wanted).await? {
            // Instances of ours outlived a supervisor that took over: it goes on from there.
            Arrival::Vacant { .. } if !observed.alive.is_empty() => {
                let recorded = found.map_or(&[][..], |found| &found.listeners);
                let known = recorded.iter().find(|known| known.entry.name == name);
                if let (Some(known), None) = (known, wanted) {
                    config.listeners.push(known.spec.clone());
                }
                return Ok(Some(approach));
            }
            Arrival::Vacant { stale } if config.take => {
                return Err(ZeroError::NobodyServes { path, stale }.into());
            }
            Arrival::Vacant { .. } if wanted.is_none() => {
                return Err(ZeroError::NothingToBind { path }.into());
            }
            Arrival::Vacant { .. } => return Ok(Some(approach)),
            Arrival::Given(had) => approach.had = Some(had),
            // The very program that is being adopted: it is retired as such.
            Arrival::Serving(serving) if is_known(observed, serving.had.pid) => {
                return Ok(Some(approach));
            }
            Arrival::Serving(serving) => {
                let pid = InstancePid(serving.had.pid);
                let instance = number(found, observed, pid);
                observed.alive.push((instance, pid));
                approach.instance = Some(instance);
                approach.had = Some(serving.had);
                approach.stream = Some(serving.stream);
            }
        }
        if let (Some(had), None) = (&approach.had, wanted) {
            config.listeners.push(ListenerSpec {
                name,
                kind: ListenerKind::Tcp,
                address: had.address.to_string(),
            });
        }
        Ok(Some(approach))
    }

    /// The listener that was had, once.
    pub(in crate::supervisor) fn listener(&mut self, config: &Config) -> Option<Arc<OpenListener>> {
        let duplicate = self.had.as_ref()?.fd.try_clone().ok()?;
        let spec = config
            .listeners
            .iter()
            .find(|spec| spec.name == self.name)?;
        let entry = ListenerEntry {
            name: self.name.clone(),
            kind: ListenerKind::Tcp,
            address: self.had.as_ref()?.address.to_string(),
        };
        Some(Arc::new(OpenListener::adopted(
            spec.clone(),
            entry,
            duplicate,
        )))
    }

    /// Puts who serves into what the machine begins with. `first` is the new version.
    pub(in crate::supervisor) fn settle(
        &self,
        recovery: &mut Option<Recovery>,
        first: CandidateId,
    ) {
        let (Some(instance), Some(had)) = (self.instance, &self.had) else {
            return;
        };
        // As if it ran the new version: what it runs cannot be started, so there is nothing to fall
        // back to.
        let incumbent = Recorded {
            instance,
            candidate: first,
            pid: Some(InstancePid(had.pid)),
        };
        let found = recovery.get_or_insert_with(|| Recovery::fresh(first, instance));
        // With an instance of ours that serves, it is only to go.
        if found.stance == Stance::Start {
            found.retire.retain(|member| member.instance != instance);
            found.stance = Stance::Serve(incumbent);
            found.current = first;
        }
    }

    /// From here the driver goes on.
    pub(in crate::supervisor) fn attend(self, driver: &mut Driver) {
        let Self {
            path,
            name,
            had,
            stream,
            instance,
        } = self;
        let pid = had.as_ref().map_or(0, |had| had.pid);
        let mut zero = Zero {
            path: path.clone(),
            listener: name,
            taking: None,
            offer: None,
            had: had.map(|had| had.fd),
            attempted: None,
            code: None,
        };
        if let (Some(stream), Some(instance)) = (stream, instance) {
            let (to, mut heard) = mpsc::unbounded_channel();
            let line = Line::open(stream, path, to);
            let to_self = driver.to_self.clone();
            tokio::spawn(async move {
                while let Some(news) = heard.recv().await {
                    let _ = to_self.send(Command::Zero(News::Taking(news)));
                }
            });
            zero.taking = Some(Taking {
                instance,
                pid,
                line,
                asked: false,
                given: false,
            });
        }
        let way = match zero.taking {
            Some(_) => Way::ReadyFirst,
            None => Way::Plain,
        };
        let found = zero.had.is_some();
        driver.zero = Some(zero);
        if found {
            driver.exchanged(Step::Found { pid, way });
        }
        if way == Way::Plain && found {
            driver.exchanged(Step::Taken { pid });
        }
        driver.begin_to_take();
    }
}

/// Which listener is exchanged.
fn listener_name(config: &Config) -> Result<String, ZeroError> {
    if config.mode == Mode::Exclusive {
        return Err(ZeroError::Exclusive);
    }
    let spec = match (&config.zero_listener, config.listeners.as_slice()) {
        // It is had from whoever serves, where nothing says its address.
        (Some(name), []) => return Ok(name.clone()),
        (None, []) => return Ok(NAME.into()),
        (None, [one]) => one,
        (None, several) => {
            let found = several.len();
            return Err(ZeroError::WhichListener { found });
        }
        (Some(name), several) => match several.iter().find(|spec| spec.name == *name) {
            Some(spec) => spec,
            None => return Err(ZeroError::NoSuchListener { name: name.clone() }),
        },
    };
    let name = spec.name.clone();
    match spec.kind {
        ListenerKind::Tcp => Ok(name),
        ListenerKind::Udp | ListenerKind::Unix => Err(ZeroError::NotTcp { name }),
    }
}

fn is_known(observed: &Observation, pid: u32) -> bool {
    observed.alive.iter().any(|(_, alive)| alive.0 == pid)
}

/// The number of a process that serves: the one it has in the journal of a supervisor that died while
/// it took over, or the next.
fn number(found: Option<&Envelope>, observed: &Observation, pid: InstancePid) -> InstanceId {
    let record = found.map(|found| &found.record);
    let known = record.and_then(|record| record.members().find(|member| member.pid == Some(pid)));
    if let Some(known) = known {
        return known.instance;
    }
    let last = record.map(|record| record.last_instance);
    let alive = observed.alive.iter().map(|(instance, _)| *instance);
    let last = alive.chain(last).max().unwrap_or(InstanceId(0));
    last.next()
}
