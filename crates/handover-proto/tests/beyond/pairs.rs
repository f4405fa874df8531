//! A supervisor of theirs, an instance of ours: the same scenarios as the tests of the crate.

use std::time::Duration;

use handover_proto::beyond::{
    AsIncumbent, AsSuccessor, Effect, GREETING_HELD, HEARTBEAT_EVERY, HELLO_WITHIN, HandoffId,
    Input, Message, Side,
};
use handover_proto::event::DrainReport;
use handover_proto::message::{FromInstance, ToInstance};
use handover_proto::moment::{Machine, Moment};
use handover_proto::phase::Mode;
use handover_proto::settings::Ladder;

use crate::samples::ID;

const PID: u32 = 88;
const OTHER: HandoffId = HandoffId([9; 16]);

struct Under<M> {
    machine: M,
    now: Moment,
}

impl<M: Machine<Input = Input, Effect = Effect>> Under<M> {
    fn put(&mut self, input: Input) -> Vec<Effect> {
        self.machine.handle(self.now, input);
        std::iter::from_fn(|| self.machine.poll_effect()).collect()
    }

    fn heard(&mut self, message: Message) -> Vec<Effect> {
        self.put(Input::Heard(message))
    }

    fn say(&mut self, message: FromInstance) -> Vec<Effect> {
        self.put(Input::Say(message))
    }

    fn after(&mut self, time: Duration) -> Vec<Effect> {
        self.now = self.now + time;
        self.put(Input::Tick)
    }
}

fn incumbent() -> Under<AsIncumbent> {
    let now = Moment::ZERO;
    let ladder = Ladder::default();
    let machine = AsIncumbent::new(now, PID, b"v1".to_vec(), ladder);
    Under { machine, now }
}

fn hello() -> FromInstance {
    FromInstance::Hello {
        instance: Default::default(),
        pid: Default::default(),
        role: handover_proto::message::Role::Incumbent,
        oldest: 1,
        newest: 1,
        lease: None,
    }
}

fn prepare(id: HandoffId) -> Message {
    Message::PrepareHandoff {
        id,
        successor_pid: 9999,
        deadline_ms: 5000,
        drain_grace_ms: 1000,
    }
}

fn ack() -> Message {
    Message::HelloAck { version: 1, id: ID }
}

fn beat() -> Message {
    Message::Heartbeat { ts_ms: 0 }
}

fn idle() -> Under<AsIncumbent> {
    let mut under = incumbent();
    let greeted = under.say(hello());
    let ours = Message::hello(Side::Incumbent, PID, b"v1");
    assert_eq!(greeted, [Effect::Send(ours)]);
    assert_eq!(under.heard(ack()), []);
    under
}

fn drained() -> Under<AsIncumbent> {
    let mut under = idle();
    let asked = under.heard(prepare(ID));
    let drain = ToInstance::Drain {
        id: ID.number(),
        within_ms: 1000,
    };
    assert_eq!(asked, [Effect::Tell(drain)]);
    let report = DrainReport {
        open: 3,
        ..DrainReport::default()
    };
    let id = ID.number();
    assert_eq!(
        under.say(FromInstance::Drained { id, report }),
        [Effect::Send(Message::Drained {
            open_conns_remaining: 3,
            accept_closed: true
        })]
    );
    under
}

fn sealing() -> Under<AsIncumbent> {
    let mut under = drained();
    let id = ID.number();
    assert_eq!(
        under.heard(Message::SealRequest { id: ID }),
        [Effect::Tell(ToInstance::Seal { id })]
    );
    under
}

fn sealed() -> Under<AsIncumbent> {
    let mut under = sealing();
    let complete = under.say(FromInstance::Sealed { id: ID.number() });
    assert!(matches!(
        complete[..],
        [Effect::Send(Message::SealComplete { id: ID, .. })]
    ));
    under
}

#[test]
fn commit_lets_it_retire() {
    let mut under = sealed();
    let (id, ladder) = (ID.number(), Ladder::default());
    assert_eq!(
        under.heard(Message::Commit { id: ID }),
        [
            Effect::Tell(ToInstance::Commit { id }),
            Effect::Tell(ToInstance::Retire { ladder })
        ]
    );
}

#[test]
fn abort_and_resume_take_back_and_the_next_attempt_begins() {
    let reason = "no".to_owned();
    for end in [
        Message::ResumeAfterAbort { id: ID },
        Message::Abort { id: ID, reason },
    ] {
        for mut under in [drained(), sealed()] {
            let id = ID.number();
            assert_eq!(
                under.heard(end.clone()),
                [Effect::Tell(ToInstance::Resume { id })]
            );
            // What comes while it takes back waits, the next attempt too.
            assert_eq!(under.heard(beat()), []);
            assert_eq!(under.heard(prepare(OTHER)), []);
            let lease = None;
            let went_on = under.say(FromInstance::Resumed { id, lease });
            assert!(matches!(
                went_on[..],
                [
                    Effect::Send(Message::Heartbeat { .. }),
                    Effect::Tell(ToInstance::Drain { .. })
                ]
            ));
        }
    }
}

#[test]
fn it_knows_whether_its_lease_is_given_up() {
    assert!(!drained().machine.is_sealed());
    let mut under = sealed();
    assert!(under.machine.is_sealed());
    under.heard(Message::ResumeAfterAbort { id: ID });
    let (id, lease) = (ID.number(), None);
    under.say(FromInstance::Resumed { id, lease });
    assert!(!under.machine.is_sealed());
    let mut under = sealed();
    under.put(Input::Closed);
    assert!(under.machine.is_sealed(), "also once the session is over");
}

#[test]
fn a_failed_seal_resumes_unasked() {
    let mut under = sealing();
    let id = ID.number();
    let reason = "disk full".to_owned();
    let failed = under.say(FromInstance::SealFailed { id, reason });
    assert!(matches!(
        &failed[..],
        [
            Effect::Send(Message::SealFailed { id: ID, error, .. }),
            Effect::Tell(ToInstance::Resume { .. })
        ] if error == "disk full"
    ));
    assert_eq!(under.say(FromInstance::Resumed { id, lease: None }), []);
    assert_eq!(under.heard(prepare(OTHER)).len(), 1);
}

#[test]
fn a_second_attempt_beside_the_first_ends_the_session() {
    let mut under = drained();
    assert_eq!(under.heard(prepare(OTHER)), [Effect::Close]);
    // The same one again is answered again.
    let mut under = drained();
    assert!(matches!(
        under.heard(prepare(ID))[..],
        [Effect::Send(Message::Drained { .. })]
    ));
}

#[test]
fn out_of_order_or_of_another_attempt_ends_the_session() {
    let closes = |mut under: Under<AsIncumbent>, message: Message| {
        let name = message.name();
        assert_eq!(under.heard(message), [Effect::Close], "{name}");
    };
    closes(incumbent(), prepare(ID));
    closes(incumbent(), beat());
    closes(incumbent(), Message::HelloAck { version: 2, id: ID });
    closes(idle(), ack());
    closes(idle(), Message::SealRequest { id: ID });
    closes(idle(), Message::Commit { id: ID });
    closes(idle(), Message::ResumeAfterAbort { id: ID });
    closes(drained(), Message::Commit { id: ID });
    closes(drained(), Message::SealRequest { id: OTHER });
    closes(sealed(), Message::Commit { id: OTHER });
    closes(sealed(), Message::ResumeAfterAbort { id: OTHER });
    closes(sealed(), Message::SealRequest { id: ID });
}

#[test]
fn what_only_instances_say_ends_the_session() {
    for (message, _) in crate::samples::samples() {
        let from_supervisor = matches!(
            message,
            Message::PrepareHandoff { .. } | Message::Heartbeat { .. }
        );
        if !from_supervisor {
            assert_eq!(idle().heard(message), [Effect::Close]);
        }
    }
}

#[test]
fn a_heartbeat_is_answered_in_any_state() {
    for mut under in [idle(), drained(), sealed()] {
        for _ in 0..3 {
            assert!(matches!(
                under.heard(beat())[..],
                [Effect::Send(Message::Heartbeat { .. })]
            ));
        }
    }
}

#[test]
fn it_heartbeats_while_a_hook_runs() {
    let mut under = idle();
    under.heard(prepare(ID));
    for _ in 0..2 {
        assert!(matches!(
            under.after(HEARTBEAT_EVERY)[..],
            [Effect::Send(Message::Heartbeat { .. })]
        ));
    }
    let mut under = sealing();
    assert!(matches!(
        under.after(HEARTBEAT_EVERY)[..],
        [Effect::Send(Message::Heartbeat { .. })]
    ));
}

#[test]
fn a_supervisor_that_does_not_answer_or_outlives_its_deadline_is_left() {
    assert_eq!(incumbent().after(HELLO_WITHIN), [Effect::Close]);
    let mut under = sealed();
    assert_eq!(under.after(Duration::from_secs(6)), []);
    assert_eq!(under.after(Duration::from_secs(1)), [Effect::Close]);
}

#[test]
fn a_flood_while_a_hook_runs_ends_the_session() {
    let mut under = idle();
    under.heard(prepare(ID));
    let ended = (0..100).any(|_| under.heard(beat()) == [Effect::Close]);
    assert!(ended);
}

fn successor() -> Under<AsSuccessor> {
    let now = Moment::ZERO;
    let machine = AsSuccessor::new(now, PID, b"v2".to_vec());
    let mut under = Under { machine, now };
    assert_eq!(
        under.say(hello()),
        [Effect::Tell(ToInstance::Welcome {
            version: 1,
            mode: Mode::Exclusive,
            incumbent: true,
            introduced: false
        })]
    );
    under
}

fn greeting() -> Effect {
    Effect::Send(Message::hello(Side::Successor, PID, b"v2"))
}

fn activate() -> Effect {
    Effect::Tell(ToInstance::Activate {
        id: ID.number(),
        sealed: true,
    })
}

#[test]
fn it_warms_before_it_greets() {
    let mut under = successor();
    assert_eq!(under.after(GREETING_HELD / 2), []);
    assert_eq!(under.say(FromInstance::Warmed), [greeting()]);
    assert_eq!(under.heard(ack()), []);
    assert_eq!(under.heard(Message::Begin { id: ID }), [activate()]);
    let claimed = vec!["http".to_owned()];
    let lease = None;
    assert_eq!(
        under.say(FromInstance::Ready { claimed, lease }),
        [
            Effect::Send(Message::Ready {
                id: ID,
                listening_on: vec!["http".into()],
                healthz_ok: true,
                advertised_revision_per_shard: Vec::new()
            }),
            Effect::Tell(ToInstance::Commit { id: ID.number() }),
            Effect::Serve
        ]
    );
}

#[test]
fn it_greets_before_they_lose_patience() {
    assert!(GREETING_HELD < HELLO_WITHIN);
    let mut under = successor();
    assert_eq!(under.after(GREETING_HELD), [greeting()]);
    under.heard(ack());
    // Its turn comes before it is warm: it shows that it lives.
    assert_eq!(under.heard(Message::Begin { id: ID }), []);
    assert!(matches!(
        under.after(HEARTBEAT_EVERY)[..],
        [Effect::Send(Message::Heartbeat { .. })]
    ));
    assert_eq!(under.say(FromInstance::Warmed), [activate()]);
}

#[test]
fn it_leaves_who_breaks_the_protocol() {
    let wrong = [
        Message::Begin { id: OTHER },
        Message::Commit { id: ID },
        prepare(ID),
        Message::HelloAck { version: 1, id: ID },
    ];
    for message in wrong {
        let mut under = successor();
        under.say(FromInstance::Warmed);
        under.heard(ack());
        assert_eq!(under.heard(message), [Effect::Close]);
    }
    let mut under = successor();
    under.say(FromInstance::Warmed);
    assert_eq!(under.after(HELLO_WITHIN), [Effect::Close]);
}

#[test]
fn told_to_abort_it_goes() {
    let mut under = successor();
    under.say(FromInstance::Warmed);
    under.heard(ack());
    let reason = "seal failed".to_owned();
    let gone = under.heard(Message::Abort { id: ID, reason });
    assert!(matches!(
        gone[..],
        [Effect::Tell(ToInstance::Retire { .. }), Effect::Close]
    ));
}

#[test]
fn it_says_by_leaving_that_it_cannot_go_on() {
    let mut under = successor();
    let reason = "no such table".to_owned();
    assert_eq!(under.say(FromInstance::Failed { reason }), [Effect::Close]);
}
