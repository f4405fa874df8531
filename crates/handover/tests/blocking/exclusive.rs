//! One owner of data, by hooks on threads: coordinators are played by the test, while lock, state
//! channel and gate are the real ones.

pub(crate) mod diary;

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use handover::blocking::Instance;
use handover::lease::{Epoch, LeaseFileError};
use handover::{Lease, LeaseError, OwnError};
use handover_proto::message::{FromInstance, Role, ToInstance};
use handover_proto::phase::Mode;

use crate::world::{
    ATTEMPT, Coordinator, DEADLINE, NEVER, Task, begin, instance, instance_of, ladder,
};
use diary::{Diary, Entry, Plan};

const DRAIN: ToInstance = ToInstance::Drain {
    id: ATTEMPT,
    within_ms: 60_000,
};
const SEAL: ToInstance = ToInstance::Seal { id: ATTEMPT };
const RESUME: ToInstance = ToInstance::Resume { id: ATTEMPT };
const ACTIVATE: ToInstance = ToInstance::Activate {
    id: ATTEMPT,
    sealed: true,
};

/// An instance that owns, and who coordinates it.
struct Owner {
    instance: Instance,
    coordinator: Coordinator,
    lease: Lease,
    diary: Diary,
}

impl Owner {
    /// The first of its service.
    fn first(directory: &Path, plan: Plan) -> Self {
        let (mut coordinator, inheritance) = Coordinator::with(None);
        let instance = instance_of(inheritance);
        let (diary, service) = Diary::new(plan);
        coordinator.hello(Role::Successor);
        coordinator.welcome(Mode::Exclusive, false);
        let owning = own(&instance, directory, service);
        assert_eq!(coordinator.hear(), Some(FromInstance::Warmed));
        coordinator.say(&ToInstance::Activate {
            id: ATTEMPT,
            sealed: false,
        });
        let lease = owning.end().unwrap();
        coordinator.is_ready(1);
        diary.says([Entry::Warm(None), Entry::Activate(1, None)]);
        Self {
            instance,
            coordinator,
            lease,
            diary,
        }
    }

    fn drained(&mut self) {
        self.coordinator.say(&DRAIN);
        let heard = self.coordinator.hear();
        assert!(
            matches!(heard, Some(FromInstance::Drained { .. })),
            "{heard:?}"
        );
    }

    /// Serves again, under this epoch.
    fn resumed(&mut self, epoch: u64) {
        let heard = self.coordinator.hear();
        let (id, lease) = (ATTEMPT, Some(Epoch(epoch)));
        assert_eq!(heard, Some(FromInstance::Resumed { id, lease }));
        assert_eq!(self.lease.try_enter().unwrap().epoch(), Epoch(epoch));
    }
}

impl Coordinator {
    fn is_ready(&mut self, epoch: u64) {
        let (claimed, lease) = (Vec::new(), Some(Epoch(epoch)));
        let ready = FromInstance::Ready { claimed, lease };
        assert_eq!(self.hear(), Some(ready));
    }

    fn introduce(&self, end: UnixStream) {
        self.pass(&ToInstance::Introduce { id: ATTEMPT }, &end);
    }
}

/// A call of `own` that has not returned yet.
type Owning = Task<Result<Lease, OwnError>>;

/// An instance that is to own, next to one that does.
struct Candidate {
    instance: Instance,
    coordinator: Coordinator,
    owning: Option<Owning>,
    diary: Diary,
}

impl Candidate {
    fn beside(owner: &Owner, directory: &Path, plan: Plan) -> Self {
        let (mut coordinator, inheritance) = Coordinator::with(None);
        let instance = instance_of(inheritance);
        let (diary, service) = Diary::new(plan);
        coordinator.hello(Role::Successor);
        coordinator.welcome_and(Mode::Exclusive, true, true);
        let (one, other) = UnixStream::pair().unwrap();
        owner.coordinator.introduce(one);
        coordinator.introduce(other);
        let owning = Some(own(&instance, directory, service));
        Self {
            instance,
            coordinator,
            owning,
            diary,
        }
    }

    fn warmed(&mut self) {
        assert_eq!(self.coordinator.hear(), Some(FromInstance::Warmed));
        self.diary.says([Entry::Warm(Some("base of 1".into()))]);
    }

    fn owned(&mut self) -> Result<Lease, OwnError> {
        self.owning.take().expect("asked once").end()
    }

    fn failed(&mut self) -> OwnError {
        let heard = self.coordinator.hear();
        let Some(FromInstance::Failed { reason }) = heard else {
            panic!("{heard:?}");
        };
        let error = self.owned().unwrap_err();
        assert_eq!(error.to_string(), reason);
        error
    }
}

fn own(instance: &Instance, directory: &Path, service: diary::Keeper) -> Owning {
    let (instance, directory) = (instance.clone(), directory.to_owned());
    begin("own ends", move || instance.own(directory, service))
}

/// I1: without a coordinator the lock of the directory decides.
#[test]
fn i1_alone_the_lock_decides() {
    let directory = tempfile::tempdir().unwrap();
    let (first, second) = (instance(), instance());
    let (diary, service) = Diary::new(Plan::default());
    let lease = first.own(&directory, service).unwrap();
    diary.says([Entry::Warm(None), Entry::Activate(1, None)]);
    assert!(first.committed_within(Duration::ZERO));
    drop(lease.enter_blocking().unwrap());

    let refused = second.own(&directory, Diary::new(Plan::default()).1);
    let Err(OwnError::Lease(LeaseFileError::Held { holder, .. })) = refused else {
        panic!("{refused:?}");
    };
    assert!(
        holder.to_string().contains(&std::process::id().to_string()),
        "{holder}"
    );

    first.drain();
    assert!(first.retired_within(DEADLINE).is_some());
    diary.says([Entry::Seal, Entry::Dropped]);
    let sent_away = lease.enter_blocking().unwrap_err();
    assert_eq!(sent_away, LeaseError::HandedOver);
    let (diary, service) = Diary::new(Plan::default());
    let lease = instance().own(&directory, service).unwrap();
    assert_eq!(lease.epoch(), Epoch(2));
    diary.says([Entry::Warm(None), Entry::Activate(2, None)]);
}

/// I1 to I3: one writes after the other, each under its epoch, and all state arrives.
#[test]
fn i3_state_and_lease_pass_to_the_successor() {
    let directory = tempfile::tempdir().unwrap();
    let mut old = Owner::first(directory.path(), Plan::default());
    let mut new = Candidate::beside(&old, directory.path(), Plan::default());
    old.diary.says([Entry::Base]);
    new.warmed();

    // A write under way is waited for, and new ones wait.
    let writing = old.lease.enter_blocking().unwrap();
    old.coordinator.say(&DRAIN);
    old.diary.says([Entry::Drain]);
    assert_eq!(old.lease.try_enter().unwrap_err(), LeaseError::Frozen);
    let lease = old.lease.clone();
    let waiting = begin("a writer is sent away", move || lease.enter_blocking());
    drop(writing);
    let heard = old.coordinator.hear();
    assert!(
        matches!(heard, Some(FromInstance::Drained { .. })),
        "{heard:?}"
    );

    old.coordinator.say(&SEAL);
    let sealed = FromInstance::Sealed { id: ATTEMPT };
    assert_eq!(old.coordinator.hear(), Some(sealed));
    old.diary.says([Entry::Seal]);
    assert!(!old.lease.is_held() && !waiting.is_over());

    new.coordinator.say(&ACTIVATE);
    let lease = new.owned().unwrap();
    new.coordinator.is_ready(2);
    new.diary
        .says([Entry::Activate(2, Some("sealed by 1".into()))]);
    assert_eq!(lease.try_enter().unwrap().epoch(), Epoch(2));

    let commit = ToInstance::Commit { id: ATTEMPT };
    new.coordinator.say(&commit);
    assert!(new.instance.committed_within(DEADLINE));
    old.coordinator.say(&commit);
    assert_eq!(waiting.end().unwrap_err(), LeaseError::HandedOver);
    old.coordinator.say(&ToInstance::Retire {
        ladder: ladder(NEVER, NEVER),
    });
    assert!(old.instance.retired_within(DEADLINE).is_some());
    // It has sealed already.
    old.diary.says([Entry::Dropped]);
}

/// I5: whatever was begun is taken back, and writers that waited go on.
#[test]
fn i5_an_abort_after_the_seal_is_resumed() {
    let directory = tempfile::tempdir().unwrap();
    let mut old = Owner::first(directory.path(), Plan::default());
    let mut new = Candidate::beside(&old, directory.path(), Plan::default());
    old.diary.says([Entry::Base]);
    new.warmed();
    old.drained();
    let lease = old.lease.clone();
    let waiting = begin("a writer goes on", move || {
        lease.enter_blocking().unwrap().epoch()
    });
    old.coordinator.say(&SEAL);
    let sealed = FromInstance::Sealed { id: ATTEMPT };
    assert_eq!(old.coordinator.hear(), Some(sealed));
    old.coordinator.say(&RESUME);
    old.resumed(2);
    old.diary
        .says([Entry::Drain, Entry::Seal, Entry::Resume(2)]);
    assert_eq!(waiting.end(), Epoch(2));
    // I9: and the next attempt is possible.
    old.drained();
}

/// Nothing is cancelled: the resume hook waits for the drain hook, whose late result is ignored.
#[test]
fn an_abort_waits_for_the_hook_that_runs() {
    let directory = tempfile::tempdir().unwrap();
    let (plan, release) = Plan::default().drain_until_released();
    let mut old = Owner::first(directory.path(), plan);
    old.coordinator.say(&DRAIN);
    old.diary.says([Entry::Drain]);
    old.coordinator.say(&RESUME);
    // The driver itself waits for no hook.
    old.instance.status("still here");
    let text = "still here".to_owned();
    assert_eq!(old.coordinator.hear(), Some(FromInstance::Status { text }));
    assert_eq!(old.lease.try_enter().unwrap_err(), LeaseError::Frozen);
    release.send(()).unwrap();
    old.resumed(1);
    old.diary.says([Entry::Resume(1)]);
}

/// I3: a seal that fails gives nothing up.
#[test]
fn i3_a_failed_seal_keeps_the_lease() {
    for plan in [Plan::default().seal_fails(), Plan::default().seal_panics()] {
        let directory = tempfile::tempdir().unwrap();
        let mut old = Owner::first(directory.path(), plan);
        let mut new = Candidate::beside(&old, directory.path(), Plan::default());
        new.warmed();
        old.drained();
        old.coordinator.say(&SEAL);
        let heard = old.coordinator.hear();
        let Some(FromInstance::SealFailed { reason, .. }) = heard else {
            panic!("{heard:?}");
        };
        assert!(reason.contains("the disk is full"), "{reason}");
        assert!(old.lease.is_held());
        old.coordinator.say(&RESUME);
        old.resumed(1);
    }
}

/// I5: versions that do not fit find out while the old one owns everything.
#[test]
fn i5_a_mismatch_is_found_before_anything_is_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let old = Owner::first(directory.path(), Plan::default());
    let mut new = Candidate::beside(&old, directory.path(), Plan::default().version(9));
    let error = new.failed();
    assert!(matches!(error, OwnError::Mismatch { .. }), "{error}");
    new.diary.says([Entry::Dropped]);
    assert_eq!(new.instance.retired_within(DEADLINE).unwrap().open, 0);
    drop(old.lease.enter_blocking().unwrap());
}

/// A service may move from one driver to the other with its next version.
#[test]
fn an_instance_of_tasks_takes_over() {
    let directory = tempfile::tempdir().unwrap();
    let mut old = Owner::first(directory.path(), Plan::default());
    let (mut coordinator, inheritance) = Coordinator::with(None);
    let (diary, service) = Diary::new(Plan::default());
    let path = directory.path().to_owned();
    // It ends with its runtime.
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let new = begin("the successor ends", move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let instance = handover::Instance::builder("test").inherit(inheritance);
            let instance = instance.start().await.unwrap();
            let lease = instance.own(path, service).await.unwrap();
            let epoch = lease.enter().await.unwrap().epoch();
            let _ = ended.recv_timeout(DEADLINE);
            epoch
        })
    });
    coordinator.hello(Role::Successor);
    coordinator.welcome_and(Mode::Exclusive, true, true);
    let (one, other) = UnixStream::pair().unwrap();
    old.coordinator.introduce(one);
    coordinator.introduce(other);
    assert_eq!(coordinator.hear(), Some(FromInstance::Warmed));
    diary.says([Entry::Warm(Some("base of 1".into()))]);
    old.drained();
    old.coordinator.say(&SEAL);
    let sealed = FromInstance::Sealed { id: ATTEMPT };
    assert_eq!(old.coordinator.hear(), Some(sealed));
    coordinator.say(&ACTIVATE);
    coordinator.is_ready(2);
    diary.says([Entry::Activate(2, Some("sealed by 1".into()))]);
    drop(end);
    assert_eq!(new.end(), Epoch(2));
}

#[test]
fn a_failed_hook_ends_the_successor_with_its_reason() {
    let directory = tempfile::tempdir().unwrap();
    let old = Owner::first(directory.path(), Plan::default());
    let mut new = Candidate::beside(&old, directory.path(), Plan::default().warm_fails());
    let error = new.failed();
    assert!(matches!(error, OwnError::Warm(_)), "{error}");
    drop(old.lease.enter_blocking().unwrap());
}

/// I11: a predecessor that dies leaves no state, and no lock.
#[test]
fn i11_a_successor_of_the_dead_activates_without_state() {
    let directory = tempfile::tempdir().unwrap();
    let mut old = Owner::first(directory.path(), Plan::default());
    let mut new = Candidate::beside(&old, directory.path(), Plan::default());
    new.warmed();
    // Its machine ends it at once: as near to a death as a thread comes.
    old.coordinator.say(&ToInstance::Retire {
        ladder: ladder(Duration::ZERO, Duration::ZERO),
    });
    assert!(old.instance.retired_within(DEADLINE).is_some());
    new.coordinator.say(&ToInstance::Activate {
        id: ATTEMPT,
        sealed: false,
    });
    new.owned().unwrap();
    new.coordinator.is_ready(2);
    new.diary.says([Entry::Activate(2, None)]);
}

#[test]
fn an_owner_is_refused_in_overlap_mode() {
    let directory = tempfile::tempdir().unwrap();
    let (mut coordinator, inheritance) = Coordinator::with(None);
    let instance = instance_of(inheritance);
    coordinator.hello(Role::Successor);
    coordinator.welcome(Mode::Overlap, true);
    let error = instance
        .own(&directory, Diary::new(Plan::default()).1)
        .unwrap_err();
    assert!(matches!(error, OwnError::Overlap), "{error}");
    let reason = error.to_string();
    assert_eq!(coordinator.hear(), Some(FromInstance::Failed { reason }));
}

/// I12: a new coordinator learns of the lease.
#[test]
fn i12_a_new_coordinator_learns_who_holds_the_lease() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("native.sock");
    let (mut coordinator, inheritance) = Coordinator::with(Some(path.clone()));
    let instance = instance_of(inheritance);
    let (_diary, service) = Diary::new(Plan::default());
    coordinator.hello(Role::Successor);
    coordinator.welcome(Mode::Exclusive, false);
    // Nobody serves and nobody can tell it to activate: the lease decides.
    drop(coordinator);
    let lease = instance.own(&directory, service).unwrap();
    drop(lease.try_enter().unwrap());
    let bound = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let knocked = begin("knock", move || bound.accept().unwrap().0);
    let mut next = Coordinator::over(knocked.end());
    assert_eq!(next.hello_with_lease(Role::Incumbent), Some(Epoch(1)));
}
