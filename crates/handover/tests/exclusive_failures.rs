//! What goes wrong in an exclusive handover, and who serves then. The coordinator is played by the
//! test; instances, sockets, memory and locks are real.

mod world;

use std::os::fd::AsFd;
use std::sync::Mutex;

use handover::{LeaseError, OwnError, Stage};
use handover_proto::message::{FromInstance, ToInstance};
use handover_proto::phase::Mode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use world::coordinator::{ATTEMPT, Coordinator, some_descriptor};
use world::side::{Side, items, noise};
use world::store::{Script, waiting};
use world::{NEVER, echo, eventually, ladder, pair, within};

const ID: handover_proto::identity::HandoverId = ATTEMPT;

fn failing(hook: &'static str, reason: &'static str) -> Script {
    Script {
        failures: Mutex::new([(hook, reason)].into()),
        ..Script::default()
    }
}

async fn seal_fails(side: &mut Side) -> String {
    side.coordinator.say(ToInstance::Seal { id: ID }).await;
    match side.coordinator.hear().await {
        Some(FromInstance::SealFailed { reason, .. }) => reason,
        other => panic!("expected a failed seal, heard {other:?}"),
    }
}

#[tokio::test]
async fn a_seal_that_fails_is_resumed_under_the_same_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let (mut old, lease) = Side::first(dir.path(), failing("seal", "disk full")).await;
    let epoch = lease.epoch();
    let new = old.next(dir.path(), Script::default()).await;
    old.coordinator.drain().await;
    let reason = seal_fails(&mut old).await;
    assert!(reason.contains("disk full"), "{reason}");
    assert!(lease.is_held(), "I3");
    let waits = lease.clone();
    let entering = tokio::spawn(async move { waits.enter().await.map(|permit| permit.epoch()) });
    assert_eq!(old.coordinator.resume().await, epoch);
    let entered = within("a frozen writer goes on", entering).await.unwrap();
    assert_eq!(entered, Ok(epoch));
    assert_eq!(old.log.lines()[2..], ["base", "drain", "seal", "resume"]);
    drop(new);

    // I9: the next attempt is possible.
    let mut next = old.next(dir.path(), Script::default()).await;
    old.coordinator.drain().await;
    old.coordinator.seal().await;
    assert!(next.activate().await.epoch() > epoch);
}

/// I1: it takes the lease back, under a higher epoch, since somebody else may have had it.
#[tokio::test]
async fn after_the_seal_an_abort_takes_the_lease_back() {
    let dir = tempfile::tempdir().unwrap();
    let (mut old, lease) = Side::first(dir.path(), Script::default()).await;
    let epoch = lease.epoch();
    let _new = old.next(dir.path(), Script::default()).await;
    old.coordinator.drain().await;
    old.coordinator.seal().await;
    assert!(!lease.is_held());
    assert_eq!(old.coordinator.resume().await, epoch.next());
    let permit = within("permitted", lease.enter()).await.unwrap();
    assert_eq!(permit.epoch(), epoch.next());
    assert_eq!(old.instance.stage(), Stage::Serving);
}

/// The new one activated, then the handover failed: its service is dropped before its lock goes.
#[tokio::test]
async fn a_failed_activation_gives_the_lease_back() {
    let dir = tempfile::tempdir().unwrap();
    let (mut old, lease) = Side::first(dir.path(), Script::default()).await;
    let before = lease.epoch();
    let mut new = old
        .next(dir.path(), failing("activate", "!no such table"))
        .await;
    old.coordinator.drain().await;
    old.coordinator.seal().await;
    let (id, sealed) = (ID, true);
    new.coordinator
        .say(ToInstance::Activate { id, sealed })
        .await;
    let error = new.owned().await.unwrap_err();
    assert!(matches!(error, OwnError::Activate(_)), "{error}");
    let told = new.coordinator.hear().await;
    assert!(
        matches!(&told, Some(FromInstance::Failed { reason }) if reason.contains("no such table")),
        "{told:?}"
    );
    assert_eq!(new.log.lines().last().unwrap(), "dropped");
    let epoch = old.coordinator.resume().await;
    assert_eq!(epoch, before.next().next(), "the other one had one between");
    assert!(within("permitted", lease.enter()).await.is_ok());
}

#[tokio::test]
async fn a_warm_hook_that_panics_ends_only_the_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let (mut old, lease) = Side::first(dir.path(), Script::default()).await;
    let mut new = Side::of(2, dir.path(), failing("warm", "!out of ideas")).await;
    old.coordinator.introduce(&mut new.coordinator).await;
    let error = new.owned().await.unwrap_err();
    assert!(
        matches!(&error, OwnError::Warm(reason) if reason.to_string().contains("out of ideas")),
        "{error}"
    );
    assert!(lease.try_enter().is_ok());
}

#[tokio::test]
async fn a_seal_hook_that_panics_has_failed_and_the_driver_lives() {
    let dir = tempfile::tempdir().unwrap();
    let (mut old, lease) = Side::first(dir.path(), failing("seal", "!poisoned")).await;
    let _new = old.next(dir.path(), Script::default()).await;
    old.coordinator.drain().await;
    let reason = seal_fails(&mut old).await;
    assert!(reason.contains("it panicked: poisoned"), "{reason}");
    old.coordinator.resume().await;
    assert!(lease.try_enter().is_ok());
}

#[tokio::test]
async fn a_drain_hook_that_fails_is_said_at_the_seal() {
    let dir = tempfile::tempdir().unwrap();
    let (mut old, lease) = Side::first(dir.path(), failing("drain", "a job is stuck")).await;
    let _new = old.next(dir.path(), Script::default()).await;
    old.coordinator.drain().await;
    let reason = seal_fails(&mut old).await;
    assert!(reason.contains("a job is stuck"), "{reason}");
    old.coordinator.resume().await;
    assert!(lease.try_enter().is_ok());
    assert_eq!(old.log.lines()[2..], ["base", "drain", "resume"]);
}

#[tokio::test]
async fn a_resume_cancels_the_drain_hook() {
    let dir = tempfile::tempdir().unwrap();
    let (script, _gate) = waiting("drain");
    let (mut old, lease) = Side::first(dir.path(), script).await;
    let within_ms = 60_000;
    old.coordinator
        .say(ToInstance::Drain { id: ID, within_ms })
        .await;
    old.log.until("drain").await;
    assert_eq!(lease.try_enter().unwrap_err(), LeaseError::Frozen);
    old.coordinator.resume().await;
    assert!(lease.try_enter().is_ok());
    assert_eq!(old.log.lines()[2..], ["drain", "drain cancelled", "resume"]);
}

/// Half a seal is not a state: it is waited for, and then resumed from.
#[tokio::test]
async fn a_seal_is_never_cancelled() {
    let dir = tempfile::tempdir().unwrap();
    let (script, gate) = waiting("seal");
    let (mut old, lease) = Side::first(dir.path(), script).await;
    let _new = old.next(dir.path(), Script::default()).await;
    old.coordinator.drain().await;
    old.coordinator.say(ToInstance::Seal { id: ID }).await;
    old.log.until("seal").await;
    old.coordinator.say(ToInstance::Resume { id: ID }).await;
    // A channel that comes after the word is answered after the word was heard.
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let introduce = ToInstance::Introduce { id: ID };
    old.coordinator.say_with(introduce, &[theirs.as_fd()]).await;
    eventually("its manifest", || {
        std::io::Read::read(&mut &ours, &mut [0; 64]).is_ok()
    })
    .await;
    gate.add_permits(1);
    let epoch = old.coordinator.resumed().await;
    assert_eq!(epoch, lease.epoch());
    assert_eq!(old.log.lines()[2..], ["base", "drain", "seal", "resume"]);
}

/// Refused while the incumbent still owns everything.
#[tokio::test]
async fn versions_that_do_not_fit_are_refused_before_the_drain() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = |versions| vec![handover::ItemSpec::required("sessions").versions(versions)];
    let script = |versions| Script {
        manifest: manifest(versions),
        ..Script::default()
    };
    let (mut old, lease) = Side::first(dir.path(), script(3..=3)).await;
    let mut new = Side::of(2, dir.path(), script(1..=2)).await;
    old.coordinator.introduce(&mut new.coordinator).await;
    let error = new.owned().await.unwrap_err();
    assert!(matches!(error, OwnError::Mismatch { .. }), "{error}");
    let told = new.coordinator.hear().await;
    assert!(
        matches!(&told, Some(FromInstance::Failed { reason }) if reason.contains("sessions")),
        "{told:?}"
    );
    assert!(lease.try_enter().is_ok());
    assert_eq!(new.log.lines(), ["dropped"]);
    assert_eq!(old.log.lines().len(), 2);
}

#[tokio::test]
async fn required_items_that_are_not_written_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let script = || Script {
        manifest: items(&["sessions", "schedule"]),
        base: vec![("schedule", noise(10))],
        ..Script::default()
    };
    let (mut old, lease) = Side::first(dir.path(), script()).await;
    let _new = old.next(dir.path(), script()).await;
    old.coordinator.drain().await;
    let reason = seal_fails(&mut old).await;
    assert!(
        reason.contains("sessions") && !reason.contains("schedule"),
        "{reason}"
    );
    old.coordinator.resume().await;
    assert!(lease.try_enter().is_ok());
}

/// A connection that is slow holds nothing up; a permit does, since somebody may be writing.
#[tokio::test]
async fn the_drain_waits_for_writers_and_for_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let (mut old, lease) = Side::first(dir.path(), Script::default()).await;
    let mut listener = old.instance.tcp("http", "127.0.0.1:0").await.unwrap();
    let (mut client, mut connection) = pair(&mut listener).await;
    let permit = lease.enter().await.unwrap();
    let within_ms = 60_000;
    old.coordinator
        .say(ToInstance::Drain { id: ID, within_ms })
        .await;
    old.log.until("drain").await;
    assert_eq!(old.coordinator.heard(), None);
    drop(permit);
    match old.coordinator.hear().await {
        Some(FromInstance::Drained { report, .. }) => assert_eq!(report.open, 1),
        other => panic!("expected the drain's report, heard {other:?}"),
    }
    echo(&mut client, &mut connection, b"goes on").await;
}

/// The successor is killed while the base crosses: the hook is cancelled, and nothing has changed.
#[tokio::test]
async fn a_successor_that_goes_away_ends_its_base() {
    let dir = tempfile::tempdir().unwrap();
    let (mut script, gate) = waiting("base");
    script.manifest = items(&["big"]);
    script.base = vec![("big", noise(1_000_000))];
    let (mut old, lease) = Side::first(dir.path(), script).await;
    let (mut coordinator, inheritance) = Coordinator::with(2, None);
    let new = world::instance_of(inheritance).await;
    coordinator.hello().await;
    // It speaks for itself here, as far as the manifest.
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let channel = [ours.as_fd()];
    old.coordinator
        .say_with(ToInstance::Introduce { id: ID }, &channel)
        .await;
    drop(ours);
    let mut theirs = theirs;
    use handover_proto::state::{Frame, Manifest, VERSION_OLDEST, encode};
    let manifest = encode(
        &Frame::Manifest(Manifest::new(items(&["big"]))),
        VERSION_OLDEST,
    );
    std::io::Write::write_all(&mut theirs, &manifest).unwrap();
    old.log.until("base").await;
    drop(theirs);
    old.log.until("base cancelled").await;
    assert!(lease.try_enter().is_ok());
    drop(new);

    gate.add_permits(1);
    let script = Script {
        manifest: items(&["big"]),
        ..Script::default()
    };
    let _next = old.next(dir.path(), script).await;
}

/// I11: it is all there is.
#[tokio::test]
async fn without_its_incumbent_a_successor_warms_without_a_base() {
    let dir = tempfile::tempdir().unwrap();
    let mut new = Side::of(2, dir.path(), Script::default()).await;
    new.coordinator.hello().await;
    new.coordinator.welcome(Mode::Exclusive, true, true).await;
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let channel = [theirs.as_fd()];
    new.coordinator
        .say_with(ToInstance::Introduce { id: ID }, &channel)
        .await;
    drop((ours, theirs));
    assert_eq!(new.coordinator.hear().await, Some(FromInstance::Warmed));
    let (id, sealed) = (ID, false);
    new.coordinator
        .say(ToInstance::Activate { id, sealed })
        .await;
    new.coordinator.ready().await;
    assert_eq!(new.log.lines(), ["warm", "activate, sealed false"]);
}

/// It never activates on half of what was sealed.
#[tokio::test]
async fn a_sealed_state_that_did_not_arrive_fails_the_activation() {
    let dir = tempfile::tempdir().unwrap();
    let mut new = Side::of(2, dir.path(), Script::default()).await;
    new.coordinator.hello().await;
    new.coordinator.welcome(Mode::Exclusive, true, true).await;
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let channel = [theirs.as_fd()];
    new.coordinator
        .say_with(ToInstance::Introduce { id: ID }, &channel)
        .await;
    drop((ours, theirs));
    assert_eq!(new.coordinator.hear().await, Some(FromInstance::Warmed));
    let (id, sealed) = (ID, true);
    new.coordinator
        .say(ToInstance::Activate { id, sealed })
        .await;
    let error = new.owned().await.unwrap_err();
    assert!(matches!(error, OwnError::State { .. }), "{error}");
    let heard = new.coordinator.hear().await;
    assert!(
        matches!(heard, Some(FromInstance::Failed { .. })),
        "{heard:?}"
    );
    assert_eq!(new.log.lines(), ["warm", "dropped"]);
}

/// I8: descriptors that nobody expects are closed, and change nothing else.
#[tokio::test]
async fn stray_descriptors_are_closed() {
    let dir = tempfile::tempdir().unwrap();
    let (mut old, lease) = Side::first(dir.path(), Script::default()).await;
    let (kept, probe) = std::os::unix::net::UnixStream::pair().unwrap();
    kept.set_nonblocking(true).unwrap();
    let stray = [probe.as_fd()];
    old.coordinator
        .say_with(ToInstance::Commit { id: ID }, &stray)
        .await;
    drop(probe);
    eventually("the stray is closed", || {
        let mut byte = [0];
        matches!(std::io::Read::read(&mut &kept, &mut byte), Ok(0))
    })
    .await;
    let _new = old.next(dir.path(), Script::default()).await;
    assert!(lease.try_enter().is_ok());
    drop(some_descriptor());
}

/// Stopped without a successor: the ladder, then the data is closed and the lease released.
#[tokio::test]
async fn a_stop_seals_after_the_ladder() {
    let dir = tempfile::tempdir().unwrap();
    let (mut old, lease) = Side::first(dir.path(), Script::default()).await;
    let mut listener = old.instance.tcp("http", "127.0.0.1:0").await.unwrap();
    let (client, connection) = pair(&mut listener).await;
    let ladder = ladder(NEVER, NEVER);
    old.coordinator.say(ToInstance::Retire { ladder }).await;
    eventually("it retires", || old.instance.stage() >= Stage::Notified).await;
    // A request in flight may still write.
    assert!(lease.try_enter().is_ok());
    drop((client, connection));
    let heard = old.coordinator.hear().await;
    assert!(
        matches!(heard, Some(FromInstance::Retired { .. })),
        "{heard:?}"
    );
    old.log.until("dropped").await;
    assert_eq!(old.log.lines()[2..], ["seal", "dropped"]);
    let next = world::instance().await;
    let (store, _) = world::store::Store::new(Script::default());
    let owned = within("owned", next.own(dir.path(), store)).await;
    assert!(owned.unwrap().epoch() > lease.epoch());
}

/// After the commit what is in flight goes on by the ordinary ladder, and writers are sent away.
#[tokio::test]
async fn after_the_commit_the_old_one_goes_by_its_ladder() {
    let dir = tempfile::tempdir().unwrap();
    let (mut old, lease) = Side::first(dir.path(), Script::default()).await;
    let mut listener = old.instance.tcp("http", "127.0.0.1:0").await.unwrap();
    let (mut client, mut connection) = pair(&mut listener).await;
    let mut new = old.next(dir.path(), Script::default()).await;
    old.coordinator.drain().await;
    let waits = lease.clone();
    let entering = tokio::spawn(async move { waits.enter().await.map(drop) });
    old.coordinator.seal().await;
    new.activate().await;
    let ladder = ladder(std::time::Duration::ZERO, NEVER);
    old.coordinator.say(ToInstance::Retire { ladder }).await;
    let entered = within("sent away", entering).await.unwrap();
    assert_eq!(entered, Err(LeaseError::HandedOver));
    client.write_all(b"late").await.unwrap();
    let mut text = [0; 4];
    connection.read_exact(&mut text).await.unwrap();
    drop(connection);
    let report = within("retired", old.instance.retired()).await;
    assert_eq!((report.finished, report.cut), (1, 0));
    assert_eq!(old.log.lines()[2..4], ["base", "drain"]);
    old.log.until("dropped").await;
    let seals = old
        .log
        .lines()
        .iter()
        .filter(|line| *line == "seal")
        .count();
    assert_eq!(seals, 1, "it is not sealed again");
}
