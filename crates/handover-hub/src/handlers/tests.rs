//! Handlers are called in order, and fail alone.

use std::sync::Mutex;
use std::time::Instant;

use handover_hub_proto::identity::{KindName, NodeName};

use super::*;

type Called = Arc<Mutex<Vec<String>>>;

fn note(called: &Called, word: &str) -> Code {
    let (called, word) = (Arc::clone(called), word.to_owned());
    Code::Call(Arc::new(move |hook, _| {
        called.lock().unwrap().push(format!("{word} at {hook}"));
    }))
}

fn add(handlers: &Handlers, hook: Hook, id: &str, priority: i32, call: Code) {
    let id = id.to_owned();
    handlers.add(hook, Handler { id, priority, call }).unwrap();
}

fn spec(id: &str) -> Arc<ChildSpec> {
    let kind = KindName::new("kind").unwrap();
    Arc::new(ChildSpec::new(kind, ProcessId::new(id).unwrap()))
}

#[tokio::test]
async fn all_are_called_in_the_order_of_what_happens_and_then_of_their_priority() {
    let mut handlers = Handlers::default();
    handlers.set_patience(Duration::from_secs(60));
    let called = Called::default();
    for (id, priority) in [("low", -1), ("high", 200), ("usual", 0)] {
        add(&handlers, Hook::Moved, id, priority, note(&called, id));
    }
    add(&handlers, Hook::Emptied, "end", 0, note(&called, "end"));
    handlers.tell(Hook::Moved, || Occasion::Plain);
    handlers.tell(Hook::Started, || unreachable!("nobody is called"));
    handlers.wait(Hook::Emptied, || Occasion::Plain).await;
    let expected = [
        "high at moved",
        "usual at moved",
        "low at moved",
        "end at emptied",
    ];
    assert_eq!(*called.lock().unwrap(), expected);
    assert!(handlers.remove(Hook::Moved, "high"));
    assert!(!handlers.remove(Hook::Moved, "high"));
    handlers.wait(Hook::Moved, || Occasion::Plain).await;
    assert_eq!(
        called.lock().unwrap()[4..],
        ["usual at moved", "low at moved"]
    );
}

#[tokio::test]
async fn one_that_panics_is_told_and_the_others_are_called() {
    let mut handlers = Handlers::default();
    handlers.set_patience(Duration::from_secs(60));
    let mut events = handlers.events().subscribe();
    let called = Called::default();
    let broken = Code::Call(Arc::new(|_, _| panic!("as asked")));
    add(&handlers, Hook::Moved, "broken", 1, broken);
    add(&handlers, Hook::Moved, "sound", 0, note(&called, "sound"));
    handlers.wait(Hook::Moved, || Occasion::Plain).await;
    assert_eq!(*called.lock().unwrap(), ["sound at moved"]);
    let failed = Event::HookFailed {
        hook: Hook::Moved,
        handler: Some("broken".to_owned()),
        reason: "panicked: as asked".to_owned(),
    };
    assert_eq!(events.recv().await.unwrap(), failed);
}

#[tokio::test]
async fn nobody_waits_for_one_that_is_overdue_and_all_are_called_in_the_end() {
    let mut handlers = Handlers::default();
    handlers.set_patience(Duration::from_millis(50));
    let mut events = handlers.events().subscribe();
    let called = Called::default();
    let (go, stuck) = std::sync::mpsc::channel::<()>();
    let stuck = Mutex::new(stuck);
    let slow = Code::Call(Arc::new(move |_, _| stuck.lock().unwrap().recv().unwrap()));
    add(&handlers, Hook::BeforeJoin, "slow", 0, slow);
    add(&handlers, Hook::Moved, "usual", 0, note(&called, "usual"));
    handlers.wait(Hook::BeforeJoin, || Occasion::Plain).await;
    let Event::HookFailed { hook, handler, .. } = events.recv().await.unwrap() else {
        panic!("not the failure of a hook");
    };
    assert_eq!((hook, handler.as_deref()), (Hook::BeforeJoin, Some("slow")));
    handlers.set_patience(Duration::from_secs(3600));
    let before = Instant::now();
    handlers.wait(Hook::Moved, || Occasion::Plain).await;
    assert!(before.elapsed() < Duration::from_secs(3000));
    assert!(called.lock().unwrap().is_empty());
    go.send(()).unwrap();
    handlers.set_patience(Duration::from_secs(60));
    handlers.finish().await;
    assert_eq!(*called.lock().unwrap(), ["usual at moved"]);
    // It is not overdue any more: the next one is waited for.
    handlers.wait(Hook::Moved, || Occasion::Plain).await;
    assert_eq!(called.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn what_alters_children_runs_in_order_and_cannot_change_an_id() {
    let handlers = Handlers::default();
    let mut events = handlers.events().subscribe();
    let tag = |word: &'static str| {
        Code::Alter(Arc::new(move |child: &mut ChildSpec| {
            let tag = child.metadata.tag.get_or_insert_default();
            tag.push_str(word);
        }))
    };
    let renames = Code::Alter(Arc::new(|child: &mut ChildSpec| {
        child.id = ProcessId::new("other").unwrap();
    }));
    let breaks = Code::Alter(Arc::new(|child: &mut ChildSpec| {
        child.placing =
            handover_hub_proto::spec::Placing::Pinned(vec![NodeName::new("x").unwrap()]);
        panic!("half done");
    }));
    let unaltered = handlers.alter(vec![spec("a")]).await;
    assert_eq!(unaltered, [spec("a")]);
    add(&handlers, Hook::AlterSpec, "2", 0, tag("second"));
    add(&handlers, Hook::AlterSpec, "1", 1, tag("first"));
    add(&handlers, Hook::AlterSpec, "renames", 5, renames);
    add(&handlers, Hook::AlterSpec, "breaks", 4, breaks);
    let altered = handlers.alter(vec![spec("a"), spec("b")]).await;
    for (child, id) in altered.iter().zip(["a", "b"]) {
        assert_eq!(child.metadata.tag.as_deref(), Some("firstsecond"));
        assert_eq!(child.id.as_str(), id);
        assert_eq!(child.placing, Default::default());
    }
    for handler in ["renames", "breaks", "renames", "breaks"] {
        let Event::HookFailed { handler: id, .. } = events.recv().await.unwrap() else {
            panic!("not the failure of a hook");
        };
        assert_eq!(id.as_deref(), Some(handler));
    }
}
