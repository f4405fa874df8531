//! Code of the user panics wherever a hub calls it: the hub goes on, and tells it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use handover_hub::process::{Consent, Context, Process, Stop};
use handover_hub::proto::balance::Balancing;
use handover_hub::proto::event::Event;
use handover_hub::proto::hook::Hook;
use handover_hub::proto::node::Evacuation;
use handover_hub::proto::placement::Distribution;
use handover_hub::proto::redundancy::Signal;
use handover_hub::proto::row::Role;
use handover_hub::{Builder, Call, ChildSpec, Hub};
use serde::{Deserialize, Serialize};

use crate::world::{Ask, Counter, PATIENCE, Told, World, counter, id_on, place, until};

/// Hooks whose handler panicked, as the hub told.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<BTreeSet<Hook>>>);

impl Heard {
    /// A node all of whose handlers panic.
    async fn start(&self, builder: Builder) -> Hub {
        let mut builder = builder;
        for hook in Hook::ALL {
            builder = builder.hook(*hook, "breaks", 1, Arc::new(|_, _| panic!("as asked")));
        }
        let hub = builder.start().await.unwrap();
        let (mut events, heard) = (hub.events(), self.clone());
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                if let Event::HookFailed {
                    hook,
                    handler,
                    reason,
                } = event
                {
                    assert_eq!(handler.as_deref(), Some("breaks"));
                    assert_eq!(reason, "panicked: as asked");
                    heard.0.lock().unwrap().insert(hook);
                }
            }
        });
        hub
    }

    /// Waits until it was told of each of these.
    async fn of(&self, hooks: &[Hook]) {
        for hook in hooks {
            until(hook.name(), || self.0.lock().unwrap().contains(hook)).await;
        }
    }

    fn forget(&self) {
        self.0.lock().unwrap().clear();
    }
}

async fn both_know_both(a: &Hub, b: &Hub) {
    until("both know both", || {
        a.nodes().len() == 2 && b.nodes().len() == 2
    })
    .await;
}

/// Never wants to move.
#[derive(Serialize, Deserialize)]
struct Homely;

impl Process for Homely {
    type Argument = ();
    type Request = ();
    type Reply = ();

    async fn start((): (), _: &Context) -> Result<Self, Stop> {
        Ok(Self)
    }

    async fn handle(&mut self, (): (), _: &mut Context) {}

    fn consent(&self) -> Consent {
        Consent::Defer
    }
}

/// The hooks of one child's life, and of moves.
async fn of_a_child(a: &Hub, b: &Hub, heard: &Heard) {
    heard.forget();
    let id = id_on(a).await;
    a.start_child(counter(&id, 3)).await.unwrap();
    let started = [
        Hook::AlterSpec,
        Hook::BeforeStart,
        Hook::AfterStart,
        Hook::Registered,
        Hook::Started,
    ];
    heard.of(&started).await;
    a.move_child(&id, "b").await.unwrap();
    heard.of(&[Hook::Moved]).await;
    a.move_child(&id, "a").await.unwrap();
    heard.of(&[Hook::HandedOver]).await;
    let told = b.call::<Counter>(&id, Ask::Add(1)).await;
    assert_eq!(told, Ok(Told::Value(4)));
    let _ = a.call::<Counter>(&id, Ask::Panic).await;
    heard.of(&[Hook::Restarted]).await;
    let told = b.call::<Counter>(&id, Ask::Read).await;
    assert_eq!(told, Ok(Told::Value(3)));
    a.stop_child(&id).await.unwrap();
    heard.of(&[Hook::Unregistered]).await;

    let homely = ChildSpec::new("homely", &id).argument(&());
    a.start_child(homely).await.unwrap();
    assert_eq!(place(a, &id).await, "a");
    let (asks, moves) = (a.clone(), id.clone());
    let moving = tokio::spawn(async move { asks.move_child(&moves, "b").await });
    heard.of(&[Hook::Deferred]).await;
    moving.abort();
    a.stop_child(&id).await.unwrap();
}

/// The start of a child whose home dies is passed on to the next one.
async fn of_a_start_passed_on(a: &Hub, b: Hub, heard: &Heard) {
    let id = id_on(&b).await;
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (wait, begun) = (Mutex::new(wait), Arc::new(AtomicBool::new(false)));
    let begins = Arc::clone(&begun);
    let slow: Call = Arc::new(move |_, _| {
        begins.store(true, Ordering::Release);
        let _ = wait.lock().unwrap().recv();
    });
    b.add_hook(Hook::BeforeStart, "slow", 0, slow).unwrap();
    let (asks, child) = (a.clone(), counter(&id, 5));
    let start = tokio::spawn(async move { asks.start_child(child).await });
    until("its start has begun", || begun.load(Ordering::Acquire)).await;
    drop(b);
    heard.of(&[Hook::Forwarded]).await;
    start.await.unwrap().unwrap();
    drop(go);
    let told = a.call::<Counter>(&id, Ask::Read).await;
    assert_eq!(told, Ok(Told::Value(5)));
    heard.of(&[Hook::BeforeLeave, Hook::AfterLeave]).await;
}

async fn of_a_plain_hub(told: &mut BTreeSet<Hook>) {
    let (world, heard) = (World::default(), Heard::default());
    let builder = |name: &str| world.builder(name).kind::<Homely>("homely");
    let a = heard.start(builder("a")).await;
    let b = builder("b").hook_patience(PATIENCE).start().await.unwrap();
    both_know_both(&a, &b).await;
    let joined = [
        Hook::BeforeJoin,
        Hook::AfterJoin,
        Hook::BeforeRedistribution,
        Hook::AfterRedistribution,
    ];
    heard.of(&joined).await;
    told.extend(heard.0.lock().unwrap().iter());
    of_a_child(&a, &b, &heard).await;
    told.extend(heard.0.lock().unwrap().iter());
    world.authority.expire(a.node());
    heard.of(&[Hook::Suspension]).await;
    until("it goes on", || !a.is_suspended()).await;
    both_know_both(&a, &b).await;
    a.evacuate(Evacuation::of(a.node_name().clone()))
        .await
        .unwrap();
    heard.of(&[Hook::Emptied]).await;
    a.abort_evacuation("a").await.unwrap();
    of_a_start_passed_on(&a, b, &heard).await;
    a.leave(PATIENCE).await.unwrap();
    heard.of(&[Hook::Shutdown]).await;
    told.extend(heard.0.lock().unwrap().iter());
}

async fn of_a_balanced_hub(told: &mut BTreeSet<Hook>) {
    let (world, heard) = (World::default(), Heard::default());
    let balancing = Balancing {
        every: Duration::from_millis(200),
        ..Balancing::default()
    };
    let builder = world.builder("a");
    let builder = builder.distribution(Distribution::LoadBalanced(balancing));
    let builder = builder.measured(Duration::from_millis(50));
    let a = heard.start(builder).await;
    heard.of(&[Hook::Scores]).await;
    a.start_child(counter("one", 1)).await.unwrap();
    let said = a.call::<Counter>("one", Ask::Add(1)).await;
    assert_eq!(said, Ok(Told::Value(2)));
    told.extend(heard.0.lock().unwrap().iter());
}

async fn of_a_replicated_hub(told: &mut BTreeSet<Hook>) {
    let (world, heard) = (World::default(), Heard::default());
    let a = heard.start(world.replicated("a", Signal::All)).await;
    let b = world.replicated("b", Signal::All).start().await.unwrap();
    both_know_both(&a, &b).await;
    let ids: Vec<String> = (0..16).map(|n| format!("r{n}")).collect();
    for id in &ids {
        a.start_child(counter(id, 1)).await.unwrap();
    }
    heard.forget();
    drop(b);
    heard.of(&[Hook::BeforeRoles]).await;
    for id in &ids {
        let said = a.call_within::<Counter>(id, Ask::Add(1), PATIENCE).await;
        assert_eq!(said, Ok(Told::Value(2)), "{id}");
    }
    told.extend(heard.0.lock().unwrap().iter());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_may_panic_at_every_hook() {
    let mut told = BTreeSet::new();
    of_a_plain_hub(&mut told).await;
    of_a_balanced_hub(&mut told).await;
    of_a_replicated_hub(&mut told).await;
    let all: BTreeSet<Hook> = Hook::ALL.iter().copied().collect();
    assert_eq!(told, all);
}

/// Panics when it is told what it is for, in this role.
#[derive(Serialize, Deserialize)]
struct Actor {
    breaks: u8,
    value: u64,
}

const NEVER: u8 = 0;
const AS_ACTIVE: u8 = 1;
const AS_PASSIVE: u8 = 2;

impl Process for Actor {
    type Argument = u8;
    type Request = ();
    type Reply = u64;

    async fn start(breaks: u8, _: &Context) -> Result<Self, Stop> {
        Ok(Self { breaks, value: 0 })
    }

    async fn handle(&mut self, (): (), _: &mut Context) -> u64 {
        self.value += 1;
        self.value
    }

    fn role(&mut self, role: Role) {
        let at = match role {
            Role::Active => AS_ACTIVE,
            Role::Passive => AS_PASSIVE,
        };
        // It must first have been started, which it may.
        assert!(self.breaks != at || self.value == 0, "role breaks");
    }
}

/// It has the role all the same, with all that was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_may_panic_when_it_is_told_its_role() {
    let world = World::default();
    let builder = |name: &str| world.replicated(name, Signal::All).kind::<Actor>("actor");
    let a = builder("a").start().await.unwrap();
    let b = builder("b").start().await.unwrap();
    both_know_both(&a, &b).await;
    let mut events = a.events();
    let mut ids = Vec::new();
    for breaks in [NEVER, AS_ACTIVE] {
        for number in 0..16 {
            let id = format!("r{breaks}-{number}");
            let child = ChildSpec::new("actor", &id).argument(&breaks);
            a.start_child(child).await.unwrap();
            assert_eq!(a.call::<Actor>(&id, ()).await, Ok(1), "{id}");
            ids.push((id, breaks));
        }
    }
    let taken: BTreeSet<String> = (ids.iter())
        .filter(|(id, breaks)| {
            let row = a.lookup(id).unwrap();
            *breaks == AS_ACTIVE && row.active().is_some_and(|host| host.node == b.node())
        })
        .map(|(id, _)| format!("role of {id}"))
        .collect();
    assert!(!taken.is_empty());
    drop(b);
    for (id, _) in &ids {
        let told = a.call_within::<Actor>(id, (), PATIENCE).await;
        assert_eq!(told, Ok(2), "{id}");
    }
    let mut heard = BTreeSet::new();
    while heard != taken {
        let event = tokio::time::timeout(PATIENCE, events.next()).await.unwrap();
        if let Some(Event::HookFailed {
            hook,
            handler,
            reason,
        }) = event
        {
            assert_eq!(hook, Hook::BeforeRoles);
            assert_eq!(reason, "panicked: role breaks");
            heard.insert(handler.unwrap());
        }
    }
}
