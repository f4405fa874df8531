//! A process whose hooks panic or refuse while it moves continues where it was (H5).

use std::time::Duration;

use handover_hub::process::{Consent, Context, Handed, Process, Stop};
use handover_hub::proto::node::Settings;
use handover_hub::{ChildSpec, Hub};
use serde::{Deserialize, Serialize};

use crate::world::{World, id_on, place, until};

/// Fails in one of its hooks.
#[derive(Serialize, Deserialize)]
struct Fragile {
    breaks: Breaks,
    value: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Breaks {
    Never,
    Prepare,
    Alter,
    Warm,
    Consent,
    Start,
    Resume,
    /// On the node that it was to leave, after another hook failed on the other one.
    ResumeAfterAlter,
    Stop,
    Defer,
    Refuse,
}

#[derive(Serialize, Deserialize)]
enum Say {
    Add,
    Breaks(Breaks),
    PanicAfter(u64),
}

impl Fragile {
    /// It must first come to node a, which it may: it has no value before.
    fn breaks_at(&self, point: Breaks) -> bool {
        self.breaks == point && self.value > 0
    }
}

impl Process for Fragile {
    type Argument = Breaks;
    type Request = Say;
    type Reply = u64;

    async fn start(breaks: Breaks, context: &Context) -> Result<Self, Stop> {
        // Only the target of its first move: every child of these tests starts on node a.
        assert!(
            breaks != Breaks::Start || context.node().as_str() == "a",
            "start breaks"
        );
        Ok(Self { breaks, value: 0 })
    }

    async fn handle(&mut self, say: Say, _: &mut Context) -> u64 {
        match say {
            Say::Add => self.value += 1,
            Say::Breaks(breaks) => self.breaks = breaks,
            Say::PanicAfter(milliseconds) => {
                tokio::time::sleep(Duration::from_millis(milliseconds)).await;
                panic!("handle breaks");
            }
        }
        self.value
    }

    fn prepare_handover_state(&mut self, schema: u32) -> Result<Handed, Stop> {
        assert!(!self.breaks_at(Breaks::Prepare), "prepare breaks");
        if self.breaks_at(Breaks::Refuse) {
            return Err(Stop::new("not now"));
        }
        Ok(Handed::encode(schema, self)?)
    }

    fn alter_handover_state(self, handed: Handed) -> Result<Self, Stop> {
        let altered: Self = handed.decode()?;
        assert!(!altered.breaks_at(Breaks::ResumeAfterAlter), "alter breaks");
        assert!(!altered.breaks_at(Breaks::Alter), "alter breaks");
        Ok(altered)
    }

    async fn warm(&mut self, context: &Context) -> Result<(), Stop> {
        let broken = self.breaks == Breaks::Warm && context.node().as_str() == "b";
        assert!(!broken, "warm breaks");
        Ok(())
    }

    async fn resume(&mut self, context: &Context) {
        let broken = self.breaks == Breaks::Resume && context.node().as_str() == "b";
        assert!(!broken, "resume breaks");
        assert!(!self.breaks_at(Breaks::ResumeAfterAlter), "resume breaks");
    }

    async fn stop(self, _: &Context) {
        assert!(!self.breaks_at(Breaks::Stop), "stop breaks");
    }

    fn consent(&self) -> Consent {
        assert!(!self.breaks_at(Breaks::Consent), "consent breaks");
        if self.breaks_at(Breaks::Defer) {
            Consent::Defer
        } else {
            Consent::Ready
        }
    }
}

async fn two(world: &World) -> (Hub, Hub) {
    let settings = Settings {
        shards: 64,
        ..Settings::default()
    };
    let node = async |name: &str| {
        let builder = world.builder(name).settings(settings.clone());
        builder.kind::<Fragile>("fragile").start().await.unwrap()
    };
    let (a, b) = (node("a").await, node("b").await);
    until("both know both", || {
        a.nodes().len() == 2 && b.nodes().len() == 2
    })
    .await;
    (a, b)
}

/// A child on node a, whatever placement says.
async fn child(a: &Hub, id: &str, breaks: Breaks) {
    let child = ChildSpec::new("fragile", id).argument(&breaks);
    a.start_child(child).await.unwrap();
    if place(a, id).await != "a" {
        a.move_child(id, "a").await.unwrap();
    }
    a.call::<Fragile>(id, Say::Add).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_whose_hook_panics_leaves_the_process_where_it_was() {
    let world = World::default();
    let (a, b) = two(&world).await;
    for breaks in [
        Breaks::Prepare,
        Breaks::Refuse,
        Breaks::Alter,
        Breaks::Consent,
        Breaks::Warm,
        Breaks::Start,
        Breaks::Resume,
    ] {
        let id = match breaks {
            Breaks::Start => id_on(&a).await,
            _ => format!("{breaks:?}"),
        };
        child(&a, &id, breaks).await;
        let failed = a.move_child(&id, "b").await;
        assert!(failed.is_err(), "{id}: {failed:?}");
        assert_eq!(place(&a, &id).await, "a", "{id}");
        let value = b.call::<Fragile>(&id, Say::Add).await;
        assert_eq!(value, Ok(2), "{id} lost its state");
    }
    // The same set-up does move what does not break.
    child(&a, "sound", Breaks::Never).await;
    a.move_child("sound", "b").await.unwrap();
    assert_eq!(place(&a, "sound").await, "b");
    assert_eq!(b.call::<Fragile>("sound", Say::Add).await, Ok(2));
}

/// What crashes where it serves is started again there, and its state is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_panics_where_it_serves_is_started_again() {
    let world = World::default();
    let (a, b) = two(&world).await;
    child(&a, "returns", Breaks::ResumeAfterAlter).await;
    assert!(a.move_child("returns", "b").await.is_err());
    assert_eq!(place(&a, "returns").await, "a");
    assert_eq!(b.call::<Fragile>("returns", Say::Add).await, Ok(1));

    // While its move waits for the message to be finished.
    child(&a, "handles", Breaks::Never).await;
    let (call, moved) = tokio::join!(b.call::<Fragile>("handles", Say::PanicAfter(200)), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        a.move_child("handles", "b").await
    });
    let crashed = call.unwrap_err().to_string();
    assert!(crashed.contains("handle breaks"), "{crashed}");
    let serves = if moved.is_ok() { "b" } else { "a" };
    assert_eq!(place(&a, "handles").await, serves, "{moved:?}");
    assert_eq!(b.call::<Fragile>("handles", Say::Add).await, Ok(1));
    a.move_child("handles", "b").await.unwrap();
    assert_eq!(b.call::<Fragile>("handles", Say::Add).await, Ok(2));

    // It ends all the same, and its id is free.
    child(&a, "stops", Breaks::Stop).await;
    a.stop_child("stops").await.unwrap();
    assert!(a.lookup("stops").is_none());
    child(&a, "stops", Breaks::Never).await;
    assert_eq!(b.call::<Fragile>("stops", Say::Add).await, Ok(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_defers_moves_when_it_is_ready() {
    let world = World::default();
    let (a, b) = two(&world).await;
    child(&a, "later", Breaks::Defer).await;
    let moving = {
        let a = a.clone();
        tokio::spawn(async move { a.move_child("later", "b").await })
    };
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(place(&a, "later").await, "a");
    let free = Say::Breaks(Breaks::Never);
    a.call::<Fragile>("later", free).await.unwrap();
    let first = moving.await.unwrap();
    if first.is_err() {
        a.move_child("later", "b").await.unwrap();
    }
    assert_eq!(place(&a, "later").await, "b");
    assert_eq!(b.call::<Fragile>("later", Say::Add).await, Ok(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_cannot_run_does_not_move_there() {
    let world = World::default();
    let builder = world.builder("a").state_limit(1000);
    let a = builder.kind::<Fragile>("fragile").kind::<Bag>("bag");
    let a = a.start().await.unwrap();
    let b = world.builder("b").kind::<Bag>("bag").start().await.unwrap();
    until("both know both", || {
        a.nodes().len() == 2 && b.nodes().len() == 2
    })
    .await;
    let alien = id_on(&a).await;
    child(&a, &alien, Breaks::Never).await;
    let failed = a.move_child(&alien, "b").await.unwrap_err();
    assert!(failed.to_string().contains("kind"), "{failed}");
    assert_eq!(a.call::<Fragile>(&alien, Say::Add).await, Ok(2));

    for id in ["large", "small"] {
        a.start_child(ChildSpec::new("bag", id)).await.unwrap();
        a.move_child(id, "a").await.unwrap();
    }
    assert_eq!(a.call::<Bag>("large", 2000).await, Ok(2000));
    assert_eq!(a.call::<Bag>("small", 900).await, Ok(900));
    let failed = a.move_child("large", "b").await.unwrap_err();
    assert!(failed.to_string().contains("1000"), "{failed}");
    assert_eq!(b.call::<Bag>("large", 1).await, Ok(2001));
    assert_eq!(place(&b, "large").await, "a");
    a.move_child("small", "b").await.unwrap();
    assert_eq!(b.call::<Bag>("small", 1).await, Ok(901));
}

/// Has a state of any size.
#[derive(Serialize, Deserialize)]
struct Bag(Vec<u8>);

impl Process for Bag {
    type Argument = ();
    type Request = usize;
    type Reply = usize;

    async fn start((): (), _: &Context) -> Result<Self, Stop> {
        Ok(Self(Vec::new()))
    }

    async fn handle(&mut self, more: usize, _: &mut Context) -> usize {
        self.0.resize(self.0.len() + more, 7);
        self.0.len()
    }
}
