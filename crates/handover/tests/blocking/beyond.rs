//! A supervisor of beyond-handoff, played by the test, hands over from one of our owners to the
//! next. (A real one does in the end-to-end tests, with the driver of tasks.)

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use handover::Inheritance;
use handover::blocking::Instance;
use handover_proto::beyond::{HandoffId, Message, Reader, Side, encode};
use handover_sys::Exit;

use crate::exclusive::diary::{Diary, Entry, Plan};
use crate::processes::Actor;
use crate::world::{DEADLINE, eventually};

const ID: HandoffId = HandoffId([7; 16]);

/// The supervisor's end of a session.
struct Session {
    stream: UnixStream,
    reader: Reader,
}

impl Session {
    /// A session, past the greetings.
    fn over(stream: UnixStream, expected: Side) -> Self {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut session = Self {
            stream,
            reader: Reader::new(),
        };
        let heard = session.hear();
        let Some(Message::Hello { side, newest, .. }) = heard else {
            panic!("{heard:?}");
        };
        assert_eq!(side, expected);
        session.say(&Message::HelloAck {
            version: newest,
            id: ID,
        });
        session
    }

    fn with_the_incumbent_at(path: &Path) -> Self {
        let mut stream = None;
        eventually("it listens", || {
            stream = UnixStream::connect(path).ok();
            stream.is_some()
        });
        Self::over(stream.unwrap(), Side::Incumbent)
    }

    fn say(&mut self, message: &Message) {
        self.stream.write_all(&encode(message)).unwrap();
    }

    /// The next frame but for heartbeats and progress; `None` at the end.
    #[track_caller]
    fn hear(&mut self) -> Option<Message> {
        loop {
            match self.reader.next_message().unwrap() {
                Some(Message::Heartbeat { .. } | Message::SealProgress { .. }) => {}
                Some(message) => return Some(message),
                None => {
                    let mut buffer = [0; 1024];
                    let length = self.stream.read(&mut buffer).unwrap();
                    if length == 0 {
                        return None;
                    }
                    self.reader.push(&buffer[..length]).unwrap();
                }
            }
        }
    }

    #[track_caller]
    fn drained(&mut self) {
        self.say(&Message::PrepareHandoff {
            id: ID,
            successor_pid: 1,
            deadline_ms: 60_000,
            drain_grace_ms: 60_000,
        });
        let heard = self.hear();
        assert!(matches!(heard, Some(Message::Drained { .. })), "{heard:?}");
    }

    #[track_caller]
    fn sealed(&mut self) {
        self.drained();
        self.say(&Message::SealRequest { id: ID });
        let heard = self.hear();
        let sealed = matches!(heard, Some(Message::SealComplete { id: ID, .. }));
        assert!(sealed, "{heard:?}");
    }
}

/// An owner that they can hand over.
fn owner(directory: &Path, control: &Path) -> (Instance, Diary) {
    let builder = Instance::builder("test").signals(false);
    let builder = builder.inherit(Inheritance::default());
    let instance = builder.handoff_socket(control).start().unwrap();
    let (diary, service) = Diary::new(Plan::default().stateless());
    instance.own(directory, service).unwrap();
    diary.says([Entry::Warm(None), Entry::Activate(1, None)]);
    (instance, diary)
}

#[test]
fn i1_an_owner_hands_over_to_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let control = directory.path().join("handoff.sock");
    let (old, diary) = owner(directory.path(), &control);
    let mut incumbent = Session::with_the_incumbent_at(&control);
    incumbent.sealed();

    let (ours, theirs) = UnixStream::pair().unwrap();
    let variables = [
        ("HANDOFF_ROLE", "successor"),
        ("HANDOFF_SOCK_FD", "3"),
        ("HANDOVER_HANDOFF_SOCKET", control.to_str().unwrap()),
        ("HANDOVER_TEST_DATA", directory.path().to_str().unwrap()),
    ];
    let actor = Actor::start("own", &variables, vec![theirs.as_fd()]);
    drop(theirs);
    let mut successor = Session::over(ours, Side::Successor);
    successor.say(&Message::Begin { id: ID });
    let heard = successor.hear();
    let ready = matches!(heard, Some(Message::Ready { id: ID, .. }));
    assert!(ready, "{heard:?}");
    actor.says("owner 2");
    incumbent.say(&Message::Commit { id: ID });
    assert!(old.retired_within(DEADLINE).is_some());
    // It had sealed already.
    assert_eq!(diary.rest(), [Entry::Drain, Entry::Seal, Entry::Dropped]);

    // And it can be handed over in its turn.
    let mut next = Session::with_the_incumbent_at(&control);
    next.sealed();
    next.say(&Message::Commit { id: ID });
    actor.says("gone");
    assert_eq!(actor.ends(), Exit::Code(0));
}

/// I5: a supervisor that goes away, or calls it off, leaves the owner serving.
#[test]
fn i5_what_is_called_off_is_taken_back() {
    let directory = tempfile::tempdir().unwrap();
    let control = directory.path().join("handoff.sock");
    let (_instance, diary) = owner(directory.path(), &control);
    let mut session = Session::with_the_incumbent_at(&control);
    session.drained();
    drop(session);
    diary.says([Entry::Drain, Entry::Resume(1)]);
    let mut session = Session::with_the_incumbent_at(&control);
    session.sealed();
    session.say(&Message::ResumeAfterAbort { id: ID });
    diary.says([Entry::Drain, Entry::Seal, Entry::Resume(2)]);
}
