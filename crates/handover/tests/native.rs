//! The conversation with a coordinator, which is played by the test over a real socket.

mod world;

use std::os::unix::net::UnixStream as StdStream;
use std::path::PathBuf;
use std::time::Duration;

use handover::{Inheritance, Instance, InstanceId, ReadyError, Stage};
use handover_proto::event::DrainReport;
use handover_proto::frame::{Decoded, Reader, VERSION_OLDEST, encode_to};
use handover_proto::identity::{HandoverId, InstancePid};
use handover_proto::message::{FromInstance, Role, ToInstance};
use handover_proto::phase::Mode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use world::{NEVER, echo, eventually, inet, instance_of, ladder, pair, within};

/// The other end of an instance's channel.
struct Coordinator {
    stream: UnixStream,
    reader: Reader,
}

impl Coordinator {
    fn over(stream: UnixStream) -> Self {
        Self {
            stream,
            reader: Reader::new(),
        }
    }

    /// A coordinator and what its instance inherits.
    fn with(reconnect: Option<PathBuf>) -> (Self, Inheritance) {
        let (ours, theirs) = StdStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let ours = Self::over(UnixStream::from_std(ours).unwrap());
        let inheritance = Inheritance::default().channel(theirs, InstanceId(7), reconnect);
        (ours, inheritance)
    }

    /// The next frame but for counts, which come when they come; `None` at the end of the channel.
    async fn hear(&mut self) -> Option<FromInstance> {
        loop {
            match self.hear_any().await {
                Some(FromInstance::Connections { .. }) => {}
                other => return other,
            }
        }
    }

    /// The next frame; `None` at the end of the channel.
    async fn hear_any(&mut self) -> Option<FromInstance> {
        loop {
            match self.reader.next_from().unwrap() {
                Some(Decoded::Message(message)) => return Some(message),
                Some(Decoded::Unknown { kind }) => panic!("unknown frame {kind}"),
                None => {}
            }
            let mut buffer = [0; 1024];
            let read = within("a frame", self.stream.read(&mut buffer)).await;
            match read.unwrap() {
                0 => return None,
                length => self.reader.push(&buffer[..length]).unwrap(),
            }
        }
    }

    async fn say(&mut self, message: ToInstance) {
        let bytes = encode_to(&message, VERSION_OLDEST);
        self.stream.write_all(&bytes).await.unwrap();
    }

    async fn hello(&mut self, role: Role) {
        let Some(FromInstance::Hello {
            instance,
            pid,
            role: found,
            lease,
            ..
        }) = self.hear().await
        else {
            panic!("expected a greeting");
        };
        assert_eq!((instance, found, lease), (InstanceId(7), role, None));
        assert_eq!(pid, InstancePid(std::process::id()));
    }

    async fn welcome(&mut self, mode: Mode, incumbent: bool) {
        let version = VERSION_OLDEST;
        self.say(ToInstance::Welcome {
            version,
            mode,
            incumbent,
            introduced: false,
        })
        .await;
    }

    async fn ready(&mut self, instance: &Instance) {
        self.hello(Role::Successor).await;
        self.welcome(Mode::Overlap, true).await;
        within("ready", instance.ready()).await.unwrap();
        let Some(FromInstance::Ready { .. }) = self.hear().await else {
            panic!("expected readiness");
        };
    }
}

const ATTEMPT: HandoverId = HandoverId::new(1, 1);

#[tokio::test]
async fn a_successor_greets_waits_for_its_welcome_and_names_what_it_claimed() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let spare = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (mut coordinator, inheritance) = Coordinator::with(None);
    let inheritance = inheritance.listener("http", socket.into()).unwrap();
    let inheritance = inheritance.listener("spare", spare.into()).unwrap();
    let instance = instance_of(inheritance).await;
    assert_eq!(instance.id(), Some(InstanceId(7)));
    coordinator.hello(Role::Successor).await;
    let _http = instance.tcp("http", "127.0.0.1:0").await.unwrap();
    let _own = instance.tcp("own", "127.0.0.1:0").await.unwrap();

    let other = instance.clone();
    let ready = tokio::spawn(async move { other.ready().await });
    coordinator.welcome(Mode::Overlap, true).await;
    within("ready", ready).await.unwrap().unwrap();
    let claimed = vec!["http".to_owned()];
    assert_eq!(
        coordinator.hear().await,
        Some(FromInstance::Ready {
            claimed,
            lease: None
        })
    );
    let again = within("refused", instance.ready()).await.unwrap_err();
    assert!(matches!(again, ReadyError::Twice), "{again}");

    coordinator.say(ToInstance::Commit { id: ATTEMPT }).await;
    within("committed", instance.committed()).await;
}

#[tokio::test]
async fn words_time_and_counts_reach_the_coordinator() {
    let (mut coordinator, inheritance) = Coordinator::with(None);
    let instance = instance_of(inheritance).await;
    coordinator.hello(Role::Successor).await;
    instance.status("loading");
    let text = "loading".to_owned();
    assert_eq!(
        coordinator.hear().await,
        Some(FromInstance::Status { text })
    );
    instance.extend(Duration::from_millis(1500));
    assert_eq!(
        coordinator.hear().await,
        Some(FromInstance::Extend { millis: 1500 })
    );
    let guards = [instance.guard(), instance.guard()];
    assert_eq!(
        coordinator.hear_any().await,
        Some(FromInstance::Connections { open: 2 })
    );
    drop(guards);
    assert_eq!(
        coordinator.hear_any().await,
        Some(FromInstance::Connections { open: 0 })
    );
}

#[tokio::test]
async fn a_retired_instance_reports_and_keeps_its_channel() {
    let (mut coordinator, inheritance) = Coordinator::with(None);
    let instance = instance_of(inheritance).await;
    let mut listener = instance.tcp("http", "127.0.0.1:0").await.unwrap();
    coordinator.ready(&instance).await;
    let (mut client, mut connection) = pair(&mut listener).await;
    let ladder = ladder(Duration::ZERO, NEVER);
    coordinator.say(ToInstance::Retire { ladder }).await;
    within("draining", instance.draining()).await;
    echo(&mut client, &mut connection, b"in flight").await;
    drop(connection);
    let expected = DrainReport {
        finished: 1,
        ..DrainReport::default()
    };
    assert_eq!(within("retired", instance.retired()).await, expected);
    let report = expected;
    assert_eq!(
        coordinator.hear().await,
        Some(FromInstance::Retired { report })
    );
    // The end of the channel is the end of the process, nothing less.
    let mut byte = [0];
    let read = coordinator.stream.try_read(&mut byte);
    assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

/// `main` returns as soon as its server does, which may be before the driver has had its turn.
#[test]
fn the_report_is_sent_even_when_the_runtime_ends_first() {
    let outer = tokio::runtime::Runtime::new().unwrap();
    outer.block_on(async {
        let (mut coordinator, inheritance) = Coordinator::with(None);
        let (go, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let inner = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            let (instance, guard) = inner.block_on(async {
                let instance = instance_of(inheritance).await;
                let guard = instance.guard();
                instance.ready().await.unwrap();
                (instance, guard)
            });
            inner.block_on(instance.announced());
            // From here the driver never runs again.
            told.recv().unwrap();
            drop((guard, instance, inner));
        });
        coordinator.hello(Role::Successor).await;
        coordinator.welcome(Mode::Overlap, true).await;
        let ready = coordinator.hear().await;
        assert!(
            matches!(ready, Some(FromInstance::Ready { .. })),
            "{ready:?}"
        );
        let ladder = ladder(NEVER, NEVER);
        coordinator.say(ToInstance::Retire { ladder }).await;
        go.send(()).unwrap();
        let mut last = None;
        while let Some(message) = coordinator.hear().await {
            last = Some(message);
        }
        let report = DrainReport {
            finished: 1,
            ..DrainReport::default()
        };
        assert_eq!(last, Some(FromInstance::Retired { report }));
        thread.join().unwrap();
    });
}

/// Exclusive handovers drain before anybody else is ready, and may be taken back (I5).
#[tokio::test]
async fn a_drain_that_is_aborted_is_resumed() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (mut coordinator, inheritance) = Coordinator::with(None);
    let inheritance = inheritance.listener("http", socket.into()).unwrap();
    let instance = instance_of(inheritance).await;
    let mut listener = instance.tcp("http", "127.0.0.1:0").await.unwrap();
    let address = inet(&listener);
    coordinator.ready(&instance).await;

    let id = ATTEMPT;
    let within_ms = 60_000;
    coordinator.say(ToInstance::Drain { id, within_ms }).await;
    let report = DrainReport::default();
    assert_eq!(
        coordinator.hear().await,
        Some(FromInstance::Drained { id, report })
    );
    // Not lost: it waits in the queue until somebody accepts again.
    let accepting = tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        connection.write_all(b"resumed").await.unwrap();
    });
    let mut client = TcpStream::connect(address).await.unwrap();
    assert_eq!(instance.connections(), 0);

    coordinator.say(ToInstance::Resume { id }).await;
    assert_eq!(
        coordinator.hear().await,
        Some(FromInstance::Resumed { id, lease: None })
    );
    within("accepted", accepting).await.unwrap();
    let mut text = [0; 7];
    client.read_exact(&mut text).await.unwrap();
    assert_eq!(&text, b"resumed");
    assert_eq!(instance.stage(), Stage::Serving);
}

#[tokio::test]
async fn without_an_incumbent_a_lost_coordinator_does_not_stop_a_start() {
    let (mut coordinator, inheritance) = Coordinator::with(None);
    let instance = instance_of(inheritance).await;
    coordinator.hello(Role::Successor).await;
    coordinator.welcome(Mode::Overlap, false).await;
    drop(coordinator);
    within("ready", instance.ready()).await.unwrap();
    assert_eq!(instance.stage(), Stage::Serving);
}

/// I5: nobody asked it to serve, and somebody else does.
#[tokio::test]
async fn with_an_incumbent_a_lost_coordinator_ends_the_successor() {
    let (mut coordinator, inheritance) = Coordinator::with(None);
    let instance = instance_of(inheritance).await;
    coordinator.hello(Role::Successor).await;
    coordinator.welcome(Mode::Overlap, true).await;
    drop(coordinator);
    within("told to end", instance.draining()).await;
    let error = within("refused", instance.ready()).await.unwrap_err();
    assert!(matches!(error, ReadyError::CoordinatorGone), "{error}");
}

/// I5: one that accepts before it is ready may have taken work that nobody else sees any more.
#[tokio::test]
async fn a_refused_successor_finishes_what_it_took_before_it_says_so() {
    for ends_by_itself in [false, true] {
        let (mut coordinator, inheritance) = Coordinator::with(None);
        let instance = instance_of(inheritance).await;
        let mut listener = instance.tcp("http", "127.0.0.1:0").await.unwrap();
        coordinator.hello(Role::Successor).await;
        coordinator.welcome(Mode::Overlap, true).await;
        let (mut client, mut taken) = pair(&mut listener).await;
        if ends_by_itself {
            instance.drain();
        } else {
            drop(coordinator);
        }
        within("told to end", instance.announced()).await;
        assert!(instance.stage() < Stage::Over, "a connection is open");
        let asking = instance.clone();
        let ready = tokio::spawn(async move { asking.ready().await });
        echo(&mut client, &mut taken, b"still answered").await;
        assert!(!ready.is_finished());
        drop((client, taken));
        let error = within("refused", ready).await.unwrap().unwrap_err();
        let expected = if ends_by_itself {
            "Terminated"
        } else {
            "CoordinatorGone"
        };
        assert_eq!(format!("{error:?}"), expected);
        assert_eq!(instance.retired().await.finished, 1);
    }
}

#[tokio::test]
async fn exclusive_mode_is_refused_with_the_reason() {
    let (mut coordinator, inheritance) = Coordinator::with(None);
    let instance = instance_of(inheritance).await;
    coordinator.hello(Role::Successor).await;
    coordinator.welcome(Mode::Exclusive, true).await;
    let error = within("refused", instance.ready()).await.unwrap_err();
    assert!(matches!(error, ReadyError::Exclusive), "{error}");
    let reason = error.to_string();
    assert_eq!(
        coordinator.hear().await,
        Some(FromInstance::Failed { reason })
    );
}

#[tokio::test]
async fn a_drain_before_ready_ends_the_successor() {
    let (mut coordinator, inheritance) = Coordinator::with(None);
    let instance = instance_of(inheritance).await;
    coordinator.hello(Role::Successor).await;
    instance.drain();
    within("draining", instance.draining()).await;
    let error = within("refused", instance.ready()).await.unwrap_err();
    assert!(matches!(error, ReadyError::Terminated), "{error}");
}

/// I12: an instance serves on without its coordinator, finds the next one, and retires for it.
#[tokio::test]
async fn a_new_coordinator_is_found_and_obeyed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("native.sock");
    let (mut coordinator, inheritance) = Coordinator::with(Some(path.clone()));
    let instance = instance_of(inheritance).await;
    let mut listener = instance.tcp("http", "127.0.0.1:0").await.unwrap();
    coordinator.ready(&instance).await;
    // Half a frame must not confuse the next conversation.
    coordinator.stream.write_all(&[9, 0, 0]).await.unwrap();
    drop(coordinator);

    let (mut client, mut connection) = pair(&mut listener).await;
    echo(&mut client, &mut connection, b"serving alone").await;
    // Nobody listens there at first, and a first coordinator dies again.
    for _ in 0..2 {
        let knocked = UnixListener::bind(&path).unwrap();
        let (stream, _) = within("knock", knocked.accept()).await.unwrap();
        let mut next = Coordinator::over(stream);
        next.hello(Role::Incumbent).await;
        std::fs::remove_file(&path).unwrap();
    }
    let knocked = UnixListener::bind(&path).unwrap();
    let (stream, _) = within("knock", knocked.accept()).await.unwrap();
    let mut next = Coordinator::over(stream);
    next.hello(Role::Incumbent).await;
    next.welcome(Mode::Overlap, true).await;
    // The new one learns what is open although nothing has changed.
    assert_eq!(
        next.hear_any().await,
        Some(FromInstance::Connections { open: 1 })
    );
    drop(connection);
    let ladder = ladder(NEVER, NEVER);
    next.say(ToInstance::Retire { ladder }).await;
    within("retired", instance.retired()).await;
    eventually("it is over", || instance.stage() == Stage::Over).await;
}

/// A coordinator that talks nonsense is left, and the instance serves on.
#[tokio::test]
async fn nonsense_closes_the_channel_and_nothing_else() {
    let (mut coordinator, inheritance) = Coordinator::with(None);
    let instance = instance_of(inheritance).await;
    let mut listener = instance.tcp("http", "127.0.0.1:0").await.unwrap();
    coordinator.ready(&instance).await;
    coordinator.stream.write_all(&[0xff; 64]).await.unwrap();
    while coordinator.hear().await.is_some() {}
    let (mut client, mut connection) = pair(&mut listener).await;
    echo(&mut client, &mut connection, b"still here").await;
}
