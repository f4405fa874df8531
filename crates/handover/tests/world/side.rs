//! One side of an exclusive handover: an instance with a service, under a coordinator.

use std::path::Path;

use handover::{Inheritance, Instance, ItemSpec, Lease, OwnError};
use handover_proto::message::{FromInstance, ToInstance};
use tokio::task::JoinHandle;

use super::coordinator::{ATTEMPT, Coordinator};
use super::store::{Log, Script, Store, sum};
use super::{instance_of, within};

/// An instance under a coordinator, with a service that writes down what happens to it.
pub struct Side {
    pub coordinator: Coordinator,
    pub instance: Instance,
    pub log: Log,
    pub owning: JoinHandle<Result<Lease, OwnError>>,
}

impl Side {
    pub async fn of(number: u64, dir: &Path, script: Script) -> Self {
        let (coordinator, inheritance) = Coordinator::with(number, None);
        Self::with(coordinator, inheritance, dir, script).await
    }

    pub async fn with(
        coordinator: Coordinator,
        inheritance: Inheritance,
        dir: &Path,
        script: Script,
    ) -> Self {
        let instance = instance_of(inheritance).await;
        Self::over(coordinator, instance, dir, script)
    }

    /// The side of an instance that has opened its listeners.
    pub fn over(coordinator: Coordinator, instance: Instance, dir: &Path, script: Script) -> Self {
        let (store, log) = Store::new(script);
        let (owner, dir) = (instance.clone(), dir.to_owned());
        let owning = tokio::spawn(async move { owner.own(dir, store).await });
        Self {
            coordinator,
            instance,
            log,
            owning,
        }
    }

    /// What `own` returns.
    pub async fn owned(&mut self) -> Result<Lease, OwnError> {
        within("own returns", &mut self.owning).await.unwrap()
    }

    /// The next instance, introduced to this one, and warm.
    pub async fn next(&mut self, dir: &Path, script: Script) -> Self {
        let mut next = Self::of(2, dir, script).await;
        self.coordinator.introduce(&mut next.coordinator).await;
        assert_eq!(next.coordinator.hear().await, Some(FromInstance::Warmed));
        next
    }

    /// Takes over from one that has sealed: the lease.
    pub async fn activate(&mut self) -> Lease {
        let (id, sealed) = (ATTEMPT, true);
        self.coordinator
            .say(ToInstance::Activate { id, sealed })
            .await;
        let epoch = self.coordinator.ready().await;
        let lease = self.owned().await.unwrap();
        assert_eq!(lease.epoch(), epoch);
        lease
    }

    /// The first instance, which serves.
    pub async fn first(dir: &Path, script: Script) -> (Self, Lease) {
        let mut first = Self::of(1, dir, script).await;
        first.coordinator.start().await;
        let lease = first.owned().await.unwrap();
        (first, lease)
    }
}

pub fn items(names: &[&str]) -> Vec<ItemSpec> {
    names.iter().map(|name| ItemSpec::required(*name)).collect()
}

/// `length` bytes that are not all alike.
pub fn noise(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + at / 251) as u8).collect()
}

pub fn noted(name: &str, bytes: &[u8]) -> String {
    format!("  {name} v1 {} bytes, sum {}", bytes.len(), sum(bytes))
}
