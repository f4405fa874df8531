//! Every hook is called where it belongs, with what its name promises, and holds up nothing.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use handover_hub::proto::event::Event;
use handover_hub::proto::hook::Hook;
use handover_hub::proto::identity::{NodeId, ProcessId};
use handover_hub::proto::node::Evacuation;
use handover_hub::proto::redundancy::Signal;
use handover_hub::proto::row::Role;
use handover_hub::proto::spec::Restart;
use handover_hub::{Builder, Call, ChildSpec, Hub, Occasion, Scope};

use crate::world::{Ask, Counter, PATIENCE, Told, World, counter, id_on, place, until};

type Record = Arc<Mutex<Vec<(Hook, Occasion)>>>;

/// Records every hook of a node.
fn recorded(mut builder: Builder) -> (Builder, Record) {
    let record = Record::default();
    for hook in Hook::ALL {
        let record = Arc::clone(&record);
        let call: Call = Arc::new(move |hook, occasion| {
            record.lock().unwrap().push((hook, occasion.clone()));
        });
        builder = builder.hook(*hook, "record", 0, call);
    }
    (builder, record)
}

async fn start(world: &World, name: &str) -> (Hub, Record) {
    let (builder, record) = recorded(world.builder(name));
    (builder.start().await.unwrap(), record)
}

fn names(record: &Record) -> Vec<Hook> {
    let record = record.lock().unwrap();
    record.iter().map(|(hook, _)| *hook).collect()
}

fn take(record: &Record) -> Vec<(Hook, Occasion)> {
    std::mem::take(&mut *record.lock().unwrap())
}

async fn called(record: &Record, hook: Hook) {
    until(hook.name(), || names(record).contains(&hook)).await;
}

/// Where a hook is first called.
fn at(record: &[(Hook, Occasion)], hook: Hook) -> usize {
    let found = record.iter().position(|(known, _)| *known == hook);
    found.unwrap_or_else(|| panic!("{hook} was not called: {record:?}"))
}

/// What has left the node, and for where.
fn moved(record: &[(Hook, Occasion)]) -> Vec<(ProcessId, NodeId)> {
    let moved = record.iter().filter_map(|(hook, occasion)| match occasion {
        Occasion::Moved { process, to, .. } if *hook == Hook::Moved => Some((process.clone(), *to)),
        _ => None,
    });
    moved.collect()
}

fn is_about(occasion: &Occasion, process: &str) -> bool {
    let id: ProcessId = process.parse().unwrap();
    match occasion {
        Occasion::Child(child) | Occasion::Start { child, .. } => child.id == id,
        Occasion::Moved { process, .. }
        | Occasion::HandedOver { process, .. }
        | Occasion::Role { process, .. }
        | Occasion::Event(
            Event::Registered { process, .. }
            | Event::Unregistered { process }
            | Event::Crashed { process, .. },
        ) => *process == id,
        _ => false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_life_of_a_child() {
    let world = World::default();
    let (hub, record) = start(&world, "a").await;
    called(&record, Hook::AfterRedistribution).await;
    take(&record);
    hub.start_child(counter("one", 5)).await.unwrap();
    called(&record, Hook::Started).await;
    let told = take(&record);
    let order = [
        Hook::AlterSpec,
        Hook::BeforeStart,
        Hook::AfterStart,
        Hook::Registered,
        Hook::Started,
    ];
    let found: Vec<Hook> = told.iter().map(|(hook, _)| *hook).collect();
    assert_eq!(found, order);
    assert!(told.iter().all(|(_, occasion)| is_about(occasion, "one")));
    let Occasion::Start { failed: None, .. } = &told[2].1 else {
        panic!("{told:?}");
    };

    let _ = hub.call::<Counter>("one", Ask::Panic).await;
    called(&record, Hook::Restarted).await;
    hub.call::<Counter>("one", Ask::Finish).await.unwrap();
    let restarts = || {
        names(&record)
            .iter()
            .filter(|h| **h == Hook::Restarted)
            .count()
    };
    until("it runs again after it was done", || restarts() == 2).await;
    hub.stop_child("one").await.unwrap();
    called(&record, Hook::Unregistered).await;
    let told = take(&record);
    let found: Vec<Hook> = told.iter().map(|(hook, _)| *hook).collect();
    assert_eq!(
        found,
        [Hook::Restarted, Hook::Restarted, Hook::Unregistered]
    );
    assert!(told.iter().all(|(_, occasion)| is_about(occasion, "one")));

    // Its argument is of another type: it does not start.
    let broken = ChildSpec::new("counter", "broken");
    assert!(hub.start_child(broken).await.is_err());
    called(&record, Hook::AfterStart).await;
    let told = take(&record);
    assert!(matches!(
        &told[at(&told, Hook::AfterStart)].1,
        Occasion::Start {
            failed: Some(_),
            ..
        }
    ));
    assert!(told.iter().all(|(hook, _)| *hook != Hook::Started));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_joins_and_takes_its_share() {
    let world = World::default();
    let (a, at_a) = start(&world, "a").await;
    let children = (0..60).map(|n| counter(&format!("c{n}"), n));
    a.start_children(children, Default::default())
        .await
        .unwrap();
    called(&at_a, Hook::AfterRedistribution).await;
    take(&at_a);
    let (b, at_b) = start(&world, "b").await;
    until("b has its share", || b.list(Scope::Node).len() > 15).await;
    called(&at_a, Hook::AfterRedistribution).await;
    called(&at_b, Hook::AfterRedistribution).await;
    until("each is told of that b has", || {
        moved(&at_a.lock().unwrap()).len() == b.list(Scope::Node).len()
    })
    .await;
    let (of_a, of_b) = (take(&at_a), take(&at_b));
    let Occasion::Joining(member) = &of_a[at(&of_a, Hook::BeforeJoin)].1 else {
        panic!("{of_a:?}");
    };
    assert_eq!(member.id, b.node());
    let order = [
        Hook::BeforeJoin,
        Hook::BeforeRedistribution,
        Hook::AfterJoin,
        Hook::Moved,
    ];
    assert!(
        order
            .windows(2)
            .all(|two| at(&of_a, two[0]) < at(&of_a, two[1]))
    );
    let over = at(&of_b, Hook::AfterRedistribution);
    assert!(at(&of_b, Hook::BeforeRedistribution) < over);
    let moved = moved(&of_a);
    assert!(moved.iter().all(|(_, to)| *to == b.node()));
    let arrived: Vec<&ProcessId> = (of_b.iter())
        .filter_map(|(hook, occasion)| match occasion {
            Occasion::HandedOver { process, .. } if *hook == Hook::HandedOver => Some(process),
            _ => None,
        })
        .collect();
    assert!(moved.iter().all(|(process, _)| arrived.contains(&process)));
    assert!(of_b.iter().all(|(hook, _)| *hook != Hook::BeforeStart));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_emptied_and_leaves() {
    let world = World::default();
    let (a, at_a) = start(&world, "a").await;
    let (b, at_b) = start(&world, "b").await;
    until("both know both", || {
        a.nodes().len() == 2 && b.nodes().len() == 2
    })
    .await;
    let children = (0..60).map(|n| counter(&format!("c{n}"), n));
    a.start_children(children, Default::default())
        .await
        .unwrap();
    let evacuation = Evacuation::of(b.node_name().clone());
    let emptied = a.evacuate(evacuation).await.unwrap();
    called(&at_b, Hook::Emptied).await;
    let told = take(&at_b);
    let Occasion::Event(event) = &told[at(&told, Hook::Emptied)].1 else {
        panic!("{told:?}");
    };
    let (moved, left) = (emptied.moved, 0);
    assert_eq!(*event, Event::Emptied { moved, left });
    take(&at_a);
    b.leave(PATIENCE).await.unwrap();
    let told = names(&at_b);
    let place = |hook| told.iter().position(|known| *known == hook);
    assert!(place(Hook::Shutdown).unwrap() < place(Hook::Emptied).unwrap());
    called(&at_a, Hook::AfterLeave).await;
    let told = take(&at_a);
    let before = at(&told, Hook::BeforeLeave);
    assert!(before < at(&told, Hook::AfterLeave));
    assert!(matches!(told[before].1, Occasion::Leaving { node, .. } if node == b.node()));
    assert!(told.iter().all(|(hook, _)| *hook != Hook::Shutdown));
}

/// What a node waits for happens after it, and the node goes on serving meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_handler_holds_up_what_it_is_called_before_and_nothing_else() {
    let world = World::default();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let slow: Call = Arc::new(move |_, _| {
        let _ = wait.lock().unwrap().recv();
    });
    let a = world.builder("a").hook_patience(PATIENCE);
    let a = a.start().await.unwrap();
    a.add_hook(Hook::BeforeJoin, "slow", 0, Arc::clone(&slow))
        .unwrap();
    a.start_child(counter("one", 0)).await.unwrap();
    let b = world.node("b").await;
    for value in 1..=200 {
        let told = a.call::<Counter>("one", Ask::Add(1)).await;
        assert_eq!(told, Ok(Told::Value(value)));
        assert_eq!(a.nodes().len(), 1, "its handler has not returned");
    }
    a.start_child(counter("two", 0)).await.unwrap();
    go.send(()).unwrap();
    until("b is taken in", || a.nodes().len() == 2).await;
    drop((b, go));
    until("b is gone", || a.nodes().len() == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_does_not_wait_long_for_a_handler_and_says_which() {
    let world = World::default();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let slow: Call = Arc::new(move |_, _| {
        let _ = wait.lock().unwrap().recv();
    });
    // Long enough for the handler to have begun: before that there is none to name.
    let a = world.builder("a").hook_patience(Duration::from_secs(2));
    let a = a.start().await.unwrap();
    a.add_hook(Hook::BeforeJoin, "slow", 0, slow).unwrap();
    let mut events = a.events();
    let b = world.node("b").await;
    until("b is taken in", || a.nodes().len() == 2).await;
    loop {
        let event = tokio::time::timeout(PATIENCE, events.next()).await.unwrap();
        if let Some(Event::HookFailed { hook, handler, .. }) = event {
            assert_eq!((hook, handler.as_deref()), (Hook::BeforeJoin, Some("slow")));
            break;
        }
    }
    // It is not waited for again before it has returned.
    drop(b);
    until("b is gone", || a.nodes().len() == 1).await;
    drop(go);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_altered_is_what_runs_wherever_it_runs() {
    let world = World::default();
    let altered = world.builder("a").alter(
        "richer",
        0,
        Arc::new(|child| {
            if child.kind.as_str() == "counter" {
                child.argument = postcard::to_allocvec(&1000_u64).unwrap().into();
                child.metadata.tag = Some("altered".to_owned());
            }
        }),
    );
    let a = altered.children([counter("static", 1)]).start().await;
    let (a, b) = (a.unwrap(), world.node("b").await);
    until("both know both", || {
        a.nodes().len() == 2 && b.nodes().len() == 2
    })
    .await;
    a.start_child(counter("asked", 1)).await.unwrap();
    a.declare([counter("declared", 1)]).await.unwrap();
    until("it is declared", || b.lookup("declared").is_some()).await;
    b.start_child(counter("elsewhere", 1)).await.unwrap();
    for (id, value) in [
        ("static", 1000),
        ("asked", 1000),
        ("declared", 1000),
        ("elsewhere", 1),
    ] {
        for node in ["a", "b"] {
            if place(&a, id).await != node {
                a.move_child(id, node).await.unwrap();
            }
            // It begins anew, from what the row says.
            let _ = b.call::<Counter>(id, Ask::Panic).await;
            let told = b.call::<Counter>(id, Ask::Read).await;
            assert_eq!(told, Ok(Told::Value(value)), "{id} on {node}");
        }
    }
    assert_eq!(b.tagged("altered").len(), 3);
    assert!(a.remove_hook(Hook::AlterSpec, "richer"));
    a.start_child(counter("plain", 1)).await.unwrap();
    let told = b.call::<Counter>("plain", Ask::Read).await;
    assert_eq!(told, Ok(Told::Value(1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_panics_is_told_and_changes_nothing() {
    let world = World::default();
    let (mut builder, record) = recorded(world.builder("a"));
    for hook in Hook::ALL {
        builder = builder.hook(*hook, "breaks", 1, Arc::new(|_, _| panic!("as asked")));
    }
    let a = builder.start().await.unwrap();
    let mut events = a.events();
    let b = world.node("b").await;
    until("both know both", || {
        a.nodes().len() == 2 && b.nodes().len() == 2
    })
    .await;
    let id = id_on(&b).await;
    a.start_child(counter(&id, 3)).await.unwrap();
    a.move_child(&id, "a").await.unwrap();
    a.move_child(&id, "b").await.unwrap();
    let told = a.call::<Counter>(&id, Ask::Add(1)).await;
    assert_eq!(told, Ok(Told::Value(4)));
    called(&record, Hook::Moved).await;
    for expected in [
        Hook::BeforeJoin,
        Hook::AlterSpec,
        Hook::HandedOver,
        Hook::Moved,
    ] {
        loop {
            let event = tokio::time::timeout(PATIENCE, events.next()).await.unwrap();
            if let Some(Event::HookFailed {
                hook,
                handler,
                reason,
            }) = event
            {
                assert_eq!(handler.as_deref(), Some("breaks"));
                assert_eq!(reason, "panicked: as asked");
                if hook == expected {
                    break;
                }
            }
        }
    }
    assert!(a.remove_hook(Hook::AlterSpec, "breaks"));
    a.leave(PATIENCE).await.unwrap();
    called(&record, Hook::Shutdown).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_takes_over_is_told_before() {
    let world = World::default();
    let mut nodes = Vec::new();
    for name in ["a", "b"] {
        let (builder, record) = recorded(world.replicated(name, Signal::All));
        nodes.push((builder.start().await.unwrap(), record));
    }
    let [(a, of_a), (b, of_b)] = <[_; 2]>::try_from(nodes).ok().unwrap();
    until("both know both", || {
        a.nodes().len() == 2 && b.nodes().len() == 2
    })
    .await;
    let child = counter("one", 1).restart(Restart::Permanent);
    a.start_child(child).await.unwrap();
    let row = a.lookup("one").unwrap();
    assert_eq!(row.hosts().len(), 2);
    let active = row.active().unwrap().node;
    let (dies, stays, of_it) = if active == a.node() {
        (a, b, of_b)
    } else {
        (b, a, of_a)
    };
    assert!(!names(&of_it).contains(&Hook::BeforeRoles));
    drop(dies);
    called(&of_it, Hook::BeforeRoles).await;
    let told = take(&of_it);
    assert!(matches!(
        &told[at(&told, Hook::BeforeRoles)].1,
        Occasion::Role {
            role: Role::Active,
            ..
        }
    ));
    let told = stays
        .call_within::<Counter>("one", Ask::Add(1), PATIENCE)
        .await;
    assert_eq!(told, Ok(Told::Value(2)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stands_still_says_so_and_that_it_goes_on() {
    let world = World::default();
    let (a, record) = start(&world, "a").await;
    called(&record, Hook::AfterRedistribution).await;
    take(&record);
    world.authority.expire(a.node());
    let suspensions = || {
        names(&record)
            .iter()
            .filter(|h| **h == Hook::Suspension)
            .count()
    };
    until("it goes on", || suspensions() == 2).await;
    let told = take(&record);
    let told: Vec<_> = told
        .iter()
        .filter(|(h, _)| *h == Hook::Suspension)
        .collect();
    assert!(matches!(
        &told[0].1,
        Occasion::Event(Event::Suspended { .. })
    ));
    assert!(matches!(&told[1].1, Occasion::Event(Event::Continued)));
}
