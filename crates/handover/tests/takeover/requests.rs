//! What people ask an incumbent for.

use handover::takeover::{Reply, Request, RequestError, request, socket_of, socket_path};
use handover_proto::phase::{Mode, Phase};
use handover_sys::Exit;

use crate::world::{Orphan, World, ask};

#[test]
fn whoever_serves_says_who_it_is() {
    let mut world = World::new("tokio");
    let path = world.path("elsewhere/with a space/t.sock");
    world.set("ACTOR_SOCKET", &path.display().to_string());
    let (old, address) = world.serving();
    assert_eq!(socket_of(old.pid()).expect("it is found"), path);
    let mut replies = request(&path, Request::Status).expect("it answers");
    assert_eq!(replies.peer(), Some(old.pid()));
    let Some(Ok(Reply::Serving(serving))) = replies.next() else {
        panic!("no answer")
    };
    assert_eq!(serving.service, "web");
    assert_eq!(serving.pid, old.pid());
    assert_eq!(
        (serving.phase, serving.mode),
        (Phase::Serving, Mode::Overlap)
    );
    assert_eq!(serving.generation.0, 1);
    assert!(
        serving.program.contains("actor::role"),
        "{}",
        serving.program
    );
    let [listener] = &*serving.listeners else {
        panic!("{:?}", serving.listeners)
    };
    assert_eq!((&*listener.name, &listener.address), ("http", &address));
    assert!(replies.next().is_none());
}

#[test]
fn an_upgrade_by_request_is_told_step_by_step() {
    let world = World::new("tokio");
    let (old, address) = world.serving();
    let path = socket_of(old.pid()).expect("its socket");
    world.version("2");
    let replies: Vec<_> = request(&path, Request::Upgrade)
        .expect("it answers")
        .collect::<Result<_, _>>()
        .expect("to its end");
    let (last, steps) = replies.split_last().expect("an end");
    let Reply::Finished(finished) = last else {
        panic!("{last:?}")
    };
    assert_eq!((finished.code, &*finished.word), (0, "committed"));
    assert!(
        steps
            .iter()
            .any(|step| matches!(step, Reply::Progress(text) if text.contains("ready"))),
        "{steps:?}"
    );
    let (pid, _) = old.next("ready 2");
    let _new = Orphan::of(pid);
    assert_eq!(old.ends(), Exit::Code(0));
    assert_eq!(ask(&address), ("2".into(), pid));
    let again = socket_of(pid).expect("the new one's");
    assert_eq!(again, path);
}

#[test]
fn what_cannot_be_asked_is_said() {
    let world = World::new("tokio");
    let error = request(world.socket(), Request::Status).expect_err("nobody serves");
    assert!(error.to_string().contains("nobody serves"), "{error}");
    let error = socket_of(std::process::id()).expect_err("this test is no service");
    assert!(matches!(error, RequestError::NoTakeover { .. }), "{error}");
    let error = socket_of(u32::MAX - 1).expect_err("no such process");
    assert!(matches!(error, RequestError::NoProcess { .. }), "{error}");
    let (_old, _) = world.serving();
    let mut replies = request(world.socket(), Request::Undo).expect("it answers");
    let Some(Ok(Reply::Finished(finished))) = replies.by_ref().last() else {
        panic!("an outcome")
    };
    assert_eq!(finished.code, 11, "{}", finished.text);
    assert!(socket_path("x").ends_with("x/takeover.sock"));
}
