//! A coordinator of ours, an instance of theirs: what is said to whom, and when.

#[path = "control_socket.rs"]
mod control_socket;

use std::time::Duration;

use handover_proto::beyond::{
    Aside, Birth, HELLO_WITHIN, HandoffId, Message, OVERALL, Peer, PeerEffect as Effect,
    PeerInput as Input, SILENCE, Side,
};
use handover_proto::event::DrainReport;
use handover_proto::identity::{Epoch, HandoverId, InstanceId, InstancePid};
use handover_proto::message::{FromInstance, Role, ToInstance};
use handover_proto::moment::{Machine, Moment};
use handover_proto::phase::Mode;
use handover_proto::settings::Ladder;

const PID: u32 = 77;
const FIRST: HandoverId = HandoverId::new(3, 1);
const SECOND: HandoverId = HandoverId::new(3, 2);

struct Under {
    peer: Peer,
    now: Moment,
}

impl Under {
    fn new(birth: Birth) -> Self {
        let now = Moment::ZERO;
        let peer = Peer::new(now, birth, InstanceId(5), InstancePid(PID), FIRST, OVERALL)
            .with_listeners(vec!["http".into()]);
        Self { peer, now }
    }

    fn put(&mut self, input: Input) -> Vec<Effect> {
        self.peer.handle(self.now, input);
        std::iter::from_fn(|| self.peer.poll_effect()).collect()
    }

    fn heard(&mut self, message: Message) -> Vec<Effect> {
        self.put(Input::Heard(message))
    }

    fn say(&mut self, message: ToInstance) -> Vec<Effect> {
        let aside = Aside {
            successor: 99,
            revisions: vec![7, 9],
        };
        self.put(Input::Say { message, aside })
    }

    fn after(&mut self, time: Duration) -> Vec<Effect> {
        self.now = self.now + time;
        self.put(Input::Tick)
    }

    /// From its start until it waits for its turn.
    fn warm(birth: Birth) -> Self {
        let mut under = Self::new(birth);
        under.heard(Message::hello(Side::Successor, PID, b""));
        under.say(welcome());
        under
    }

    /// From its start until it serves with a session.
    fn serving() -> Self {
        let mut under = Self::new(Birth::Found);
        under.put(Input::Connected);
        under.heard(Message::hello(Side::Incumbent, PID, b""));
        under
    }

    fn draining() -> Self {
        let mut under = Self::serving();
        under.say(drain());
        under
    }

    fn drained() -> Self {
        let mut under = Self::draining();
        under.heard(drained());
        under
    }

    fn sealed() -> Self {
        let mut under = Self::drained();
        under.say(ToInstance::Seal { id: SECOND });
        under.heard(sealed(SECOND));
        under
    }
}

fn welcome() -> ToInstance {
    ToInstance::Welcome {
        version: 1,
        mode: Mode::Exclusive,
        incumbent: true,
        introduced: false,
    }
}

fn drain() -> ToInstance {
    ToInstance::Drain {
        id: SECOND,
        within_ms: 60_000,
    }
}

fn drained() -> Message {
    Message::Drained {
        open_conns_remaining: 4,
        accept_closed: true,
    }
}

fn sealed(id: HandoverId) -> Message {
    Message::SealComplete {
        id: HandoffId::of(id),
        last_revision_per_shard: vec![7, 9],
        data_dir_fingerprint: [1; 32],
    }
}

fn ready(id: HandoverId, healthz_ok: bool, revisions: &[u64]) -> Message {
    Message::Ready {
        id: HandoffId::of(id),
        listening_on: vec!["0.0.0.0:80".into()],
        healthz_ok,
        advertised_revision_per_shard: revisions.to_vec(),
    }
}

fn beat() -> Message {
    Message::Heartbeat { ts_ms: 1 }
}

fn hello(role: Role, lease: Option<Epoch>) -> Effect {
    Effect::Tell(FromInstance::Hello {
        instance: InstanceId(5),
        pid: InstancePid(PID),
        role,
        oldest: 1,
        newest: 1,
        lease,
    })
}

fn is_failure(effects: &[Effect]) -> bool {
    matches!(effects, [Effect::Tell(FromInstance::Failed { .. })])
}

#[test]
fn a_successor_goes_from_its_greeting_to_its_control_socket() {
    let mut under = Under::new(Birth::Successor);
    let greeted = under.heard(Message::hello(Side::Successor, PID, b"x"));
    assert_eq!(greeted, [hello(Role::Successor, None)]);
    let id = HandoffId::of(FIRST);
    assert_eq!(
        under.say(welcome()),
        [
            Effect::Send(Message::HelloAck { version: 1, id }),
            Effect::Tell(FromInstance::Warmed)
        ]
    );
    let activate = ToInstance::Activate {
        id: FIRST,
        sealed: true,
    };
    assert_eq!(under.say(activate), [Effect::Send(Message::Begin { id })]);
    let claimed = vec!["http".to_owned()];
    let lease = Some(Epoch(0));
    assert_eq!(
        under.heard(ready(FIRST, true, &[7, 10])),
        [
            Effect::Tell(FromInstance::Ready { claimed, lease }),
            Effect::Connect
        ]
    );
    under.put(Input::Connected);
    // The old incumbent's listener may still be behind the path.
    let stale = under.heard(Message::hello(Side::Incumbent, PID + 1, b""));
    assert_eq!(stale, [Effect::Connect]);
    under.put(Input::Connected);
    let opened = under.heard(Message::hello(Side::Incumbent, PID, b""));
    assert_eq!(opened, [Effect::Send(Message::HelloAck { version: 1, id })]);
}

#[test]
fn a_cold_start_is_told_as_one_of_ours() {
    let mut under = Under::new(Birth::Cold);
    assert_eq!(under.peer.poll_effect(), Some(Effect::Connect));
    under.put(Input::Connected);
    let opened = under.heard(Message::hello(Side::Incumbent, PID, b""));
    assert_eq!(opened.last(), Some(&hello(Role::Successor, None)));
    assert_eq!(under.say(welcome()), [Effect::Tell(FromInstance::Warmed)]);
    let activate = ToInstance::Activate {
        id: FIRST,
        sealed: false,
    };
    assert!(matches!(
        under.say(activate)[..],
        [Effect::Tell(FromInstance::Ready { .. })]
    ));
}

#[test]
fn who_is_found_serves_when_its_control_socket_answers() {
    let mut under = Under::new(Birth::Found);
    under.put(Input::Connected);
    let opened = under.heard(Message::hello(Side::Incumbent, PID, b""));
    assert_eq!(opened.last(), Some(&hello(Role::Incumbent, Some(Epoch(0)))));
}

#[test]
fn an_incumbent_drains_seals_and_goes_at_the_commit() {
    let mut under = Under::serving();
    let id = HandoffId::of(SECOND);
    let asked = under.say(drain());
    assert_eq!(
        asked[0],
        Effect::Send(Message::PrepareHandoff {
            id,
            successor_pid: 99,
            deadline_ms: 300_000,
            drain_grace_ms: 60_000
        })
    );
    // A second on top of the deadline it was given.
    assert_eq!(
        asked[1],
        Effect::Tell(FromInstance::Extend { millis: 61_000 })
    );
    let report = DrainReport {
        open: 4,
        ..DrainReport::default()
    };
    assert_eq!(
        under.heard(drained()),
        [Effect::Tell(FromInstance::Drained { id: SECOND, report })]
    );
    let seal = under.say(ToInstance::Seal { id: SECOND });
    assert_eq!(seal, [Effect::Send(Message::SealRequest { id })]);
    assert_eq!(
        under.heard(sealed(SECOND)),
        [
            Effect::Sealed {
                revisions: vec![7, 9],
                fingerprint: [1; 32]
            },
            Effect::Tell(FromInstance::Sealed { id: SECOND })
        ]
    );
    // Parked: not told to go yet.
    assert_eq!(under.say(ToInstance::Commit { id: SECOND }), []);
    let ladder = Ladder::default();
    assert_eq!(
        under.say(ToInstance::Retire { ladder }),
        [Effect::Send(Message::Commit { id })]
    );
}

#[test]
fn who_serves_is_stopped_by_signal() {
    let mut under = Under::serving();
    let ladder = Ladder::default();
    assert_eq!(
        under.say(ToInstance::Retire { ladder }),
        [Effect::Terminate]
    );
}

#[test]
fn unhealthy_older_or_foreign_readiness_is_a_failure() {
    for wrong in [
        ready(FIRST, false, &[]),
        ready(FIRST, true, &[7, 8]),
        ready(SECOND, true, &[7, 9]),
    ] {
        let mut under = Under::warm(Birth::Successor);
        under.say(ToInstance::Activate {
            id: FIRST,
            sealed: true,
        });
        assert!(is_failure(&under.heard(wrong.clone())), "{wrong:?}");
    }
    // One that names no revisions, or counts shards otherwise, is not judged.
    for right in [ready(FIRST, true, &[]), ready(FIRST, true, &[1])] {
        let mut under = Under::warm(Birth::Successor);
        under.say(ToInstance::Activate {
            id: FIRST,
            sealed: true,
        });
        assert!(!is_failure(&under.heard(right)));
    }
}

#[test]
fn a_successor_must_greet_in_time_and_in_turn() {
    let mut under = Under::new(Birth::Successor);
    assert_eq!(under.after(HELLO_WITHIN / 2), []);
    assert!(is_failure(&under.after(HELLO_WITHIN)));
    let mut under = Under::new(Birth::Successor);
    assert!(is_failure(&under.heard(ready(FIRST, true, &[]))));
    let mut under = Under::new(Birth::Successor);
    let newer = Message::Hello {
        side: Side::Successor,
        pid: PID,
        build_id: Vec::new(),
        oldest: 2,
        newest: 3,
        capabilities: 0,
    };
    assert!(is_failure(&under.heard(newer)));
}

#[test]
fn a_greeting_with_another_process_id_is_the_coordinators_to_judge() {
    let mut under = Under::new(Birth::Successor);
    let told = under.heard(Message::hello(Side::Successor, PID + 1, b""));
    assert!(matches!(
        told[..],
        [Effect::Tell(FromInstance::Hello {
            pid: InstancePid(78),
            ..
        })]
    ));
}

#[test]
fn heartbeats_keep_a_hook_alive_and_silence_ends_it() {
    for mut under in [Under::draining(), {
        let mut under = Under::drained();
        under.say(ToInstance::Seal { id: SECOND });
        under
    }] {
        for _ in 0..8 {
            assert!(!under.after(SILENCE / 2).contains(&Effect::Lost));
            under.heard(beat());
        }
        let ended = under.after(SILENCE);
        assert_eq!(ended, [Effect::Lost, Effect::Connect]);
    }
    let mut under = Under::warm(Birth::Successor);
    under.say(ToInstance::Activate {
        id: FIRST,
        sealed: true,
    });
    under.after(SILENCE / 2);
    under.heard(beat());
    assert_eq!(under.after(SILENCE / 2), []);
    assert!(is_failure(&under.after(SILENCE / 2)));
}

#[test]
fn no_heartbeat_keeps_a_seal_alive_for_ever() {
    let mut under = Under::drained();
    under.say(ToInstance::Seal { id: SECOND });
    let mut extended = Duration::ZERO;
    while !under.heard(beat()).is_empty() {
        extended += SILENCE / 2;
        under.after(SILENCE / 2);
        assert!(extended <= OVERALL + SILENCE, "no end");
    }
    assert!(extended >= OVERALL - SILENCE);
}

#[test]
fn resume_is_answered_by_the_echo_of_a_heartbeat() {
    for mut under in [Under::drained(), Under::sealed()] {
        let id = HandoffId::of(SECOND);
        let undone = under.say(ToInstance::Resume { id: SECOND });
        assert_eq!(undone[0], Effect::Send(Message::ResumeAfterAbort { id }));
        assert!(matches!(undone[1], Effect::Send(Message::Heartbeat { .. })));
        let lease = Some(Epoch(0));
        assert_eq!(
            under.heard(beat()),
            [Effect::Tell(FromInstance::Resumed { id: SECOND, lease })]
        );
        // And the next one can begin.
        assert!(matches!(
            under.say(drain())[0],
            Effect::Send(Message::PrepareHandoff { .. })
        ));
    }
}

/// The undo of a committed handover is an attempt of its own; theirs knows the one it sealed in.
#[test]
fn a_parked_one_is_undone_by_the_attempt_it_knows() {
    let mut under = Under::sealed();
    under.say(ToInstance::Commit { id: SECOND });
    let undo = HandoverId::new(3, 9);
    let told = under.say(ToInstance::Resume { id: undo });
    let id = HandoffId::of(SECOND);
    assert_eq!(told[0], Effect::Send(Message::ResumeAfterAbort { id }));
    let lease = Some(Epoch(0));
    assert_eq!(
        under.heard(beat()),
        [Effect::Tell(FromInstance::Resumed { id: undo, lease })]
    );
}

#[test]
fn a_hook_that_runs_is_waited_for_before_it_is_undone() {
    let mut under = Under::draining();
    assert_eq!(under.say(ToInstance::Resume { id: SECOND }), []);
    // Its own heartbeat, not an echo.
    assert!(matches!(
        under.heard(beat())[..],
        [Effect::Tell(FromInstance::Extend { .. })]
    ));
    let undone = under.heard(drained());
    assert!(matches!(
        undone[..],
        [
            Effect::Send(Message::ResumeAfterAbort { .. }),
            Effect::Send(Message::Heartbeat { .. })
        ]
    ));
}

#[test]
fn after_a_failed_seal_it_resumes_unasked() {
    let mut under = Under::drained();
    under.say(ToInstance::Seal { id: SECOND });
    let failed = under.heard(Message::SealFailed {
        id: HandoffId::of(SECOND),
        error: "disk full".into(),
        partial_state: String::new(),
    });
    let reason = "disk full".to_owned();
    assert_eq!(
        failed,
        [Effect::Tell(FromInstance::SealFailed {
            id: SECOND,
            reason
        })]
    );
    // To be told to resume would end its session: it knows of no attempt any more.
    let resumed = under.say(ToInstance::Resume { id: SECOND });
    assert!(matches!(
        resumed[..],
        [Effect::Send(Message::Heartbeat { .. })]
    ));
}

#[test]
fn a_broken_session_is_told_and_opened_again() {
    for mut under in [
        Under::serving(),
        Under::draining(),
        Under::drained(),
        Under::sealed(),
    ] {
        assert_eq!(under.put(Input::Closed), [Effect::Lost, Effect::Connect]);
        under.put(Input::Connected);
        let opened = under.heard(Message::hello(Side::Incumbent, PID, b""));
        assert_eq!(opened.last(), Some(&hello(Role::Incumbent, Some(Epoch(0)))));
    }
}

#[test]
fn frames_out_of_order_end_the_session() {
    let wrong = [
        drained(),
        sealed(SECOND),
        ready(SECOND, true, &[]),
        Message::Commit {
            id: HandoffId::of(SECOND),
        },
    ];
    for message in wrong {
        let mut under = Under::serving();
        let ended = under.heard(message);
        assert_eq!(ended, [Effect::Lost, Effect::Connect]);
    }
    let mut under = Under::drained();
    under.say(ToInstance::Seal { id: SECOND });
    let ended = under.heard(sealed(FIRST));
    assert_eq!(ended, [Effect::Lost, Effect::Connect]);
}
