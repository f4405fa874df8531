//! Two versions of a program in one cluster: states move both ways between them.

use handover_hub::process::{Context, Handed, Process, Stop};
use handover_hub::{ChildSpec, Hub};
use serde::{Deserialize, Serialize};

use crate::world::{World, id_on, until};

/// As it was.
#[derive(Serialize, Deserialize)]
struct Old {
    cents: u32,
}

/// As it is: its state says more, and it can still be written as it was.
#[derive(Serialize, Deserialize)]
struct New {
    cents: u64,
    currency: String,
}

impl Process for Old {
    type Argument = ();
    type Request = u32;
    type Reply = (u64, String);

    async fn start((): (), _: &Context) -> Result<Self, Stop> {
        Ok(Self { cents: 0 })
    }

    async fn handle(&mut self, add: u32, _: &mut Context) -> (u64, String) {
        self.cents += add;
        (u64::from(self.cents), "old".to_owned())
    }
}

impl Process for New {
    type Argument = ();
    type Request = u32;
    type Reply = (u64, String);

    const SCHEMA: u32 = 2;
    const READS: std::ops::RangeInclusive<u32> = 1..=2;
    const WRITES: std::ops::RangeInclusive<u32> = 1..=2;

    async fn start((): (), _: &Context) -> Result<Self, Stop> {
        Ok(Self {
            cents: 0,
            currency: "EUR".to_owned(),
        })
    }

    async fn handle(&mut self, add: u32, _: &mut Context) -> (u64, String) {
        self.cents += u64::from(add);
        (self.cents, self.currency.clone())
    }

    fn prepare_handover_state(&mut self, schema: u32) -> Result<Handed, Stop> {
        match schema {
            1 => {
                let cents = u32::try_from(self.cents)?;
                Ok(Handed::encode(1, &Old { cents })?)
            }
            _ => Ok(Handed::encode(schema, self)?),
        }
    }

    fn alter_handover_state(self, handed: Handed) -> Result<Self, Stop> {
        match handed.schema() {
            1 => {
                let old: Old = handed.decode()?;
                Ok(Self {
                    cents: u64::from(old.cents),
                    ..self
                })
            }
            _ => Ok(handed.decode()?),
        }
    }
}

/// Writes a version that the old one does not read, and no other.
#[derive(Serialize, Deserialize)]
struct Strict(u64);

impl Process for Strict {
    type Argument = ();
    type Request = u32;
    type Reply = (u64, String);

    const SCHEMA: u32 = 2;

    async fn start((): (), _: &Context) -> Result<Self, Stop> {
        Ok(Self(0))
    }

    async fn handle(&mut self, add: u32, _: &mut Context) -> (u64, String) {
        self.0 += u64::from(add);
        (self.0, "strict".to_owned())
    }
}

async fn pair<P: Process>(world: &World) -> (Hub, Hub) {
    let old = world.builder("old").kind::<Old>("account");
    let new = world.builder("new").kind::<P>("account");
    let (old, new) = (old.start().await.unwrap(), new.start().await.unwrap());
    until("both know both", || {
        old.nodes().len() == 2 && new.nodes().len() == 2
    })
    .await;
    (old, new)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_moves_to_the_new_version_and_back() {
    let world = World::default();
    let (old, new) = pair::<New>(&world).await;
    let child = ChildSpec::new("account", "alice");
    old.start_child(child).await.unwrap();
    old.move_child("alice", "old").await.unwrap();
    let told = old.call::<Old>("alice", 5).await.unwrap();
    assert_eq!(told, (5, "old".to_owned()));
    old.move_child("alice", "new").await.unwrap();
    let told = old.call::<Old>("alice", 1).await.unwrap();
    assert_eq!(told, (6, "EUR".to_owned()));
    new.move_child("alice", "old").await.unwrap();
    let told = new.call::<New>("alice", 1).await.unwrap();
    assert_eq!(told, (7, "old".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_the_target_cannot_read_stays() {
    let world = World::default();
    let (old, new) = pair::<Strict>(&world).await;
    let bob = id_on(&new).await;
    let child = ChildSpec::new("account", &bob);
    new.start_child(child).await.unwrap();
    new.call::<Strict>(&bob, 5).await.unwrap();
    let failed = old.move_child(&bob, "old").await.unwrap_err();
    assert!(failed.to_string().contains("version 2"), "{failed}");
    let told = old.call::<Old>(&bob, 1).await.unwrap();
    assert_eq!(told, (6, "strict".to_owned()));
}
