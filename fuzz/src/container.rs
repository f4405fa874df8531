//! What containers say to each other: the datagrams of handover-lib and our own, and a machine that
//! hears anything.

use std::time::Duration;

use handover_proto::container::envelope::{self, Envelope, Key, MAX_BYTES};
use handover_proto::container::event::Successor;
use handover_proto::container::message::Message;
use handover_proto::container::order::Order;
use handover_proto::container::peer::{Effect, Identity, Input, Peer, Refusal};
use handover_proto::container::settings::Settings;
use handover_proto::container::status::{MAX_NAME, StatusDatagram};
use handover_proto::container::{BootId, PeerId, legacy};
use handover_proto::moment::{Machine, Moment};

/// The longest a datagram can be, and more than any of ours.
const LONGEST: usize = MAX_BYTES + 2;

const WALL_MS: i64 = 1_653_000_000_123;

fn key() -> Key {
    Key::new(b"sixteen bytes and more").expect("a key")
}

/// Datagrams in a row, each after its length in two bytes and what comes before it: time, or
/// something that happens to the machine. What is taken is written again as it was, and told to a
/// machine, which lets go for nobody that did not answer.
pub fn container_datagrams(data: &[u8]) {
    let mut machine = Told::new();
    let mut rest = data;
    while let [what, low, high, after @ ..] = rest {
        let length = usize::from(u16::from_le_bytes([*low, *high])) % (LONGEST + 1);
        let (datagram, after) = after.split_at(length.min(after.len()));
        rest = after;
        machine.happens(*what);
        hear(&mut machine, datagram);
    }
}

fn hear(machine: &mut Told, datagram: &[u8]) {
    match legacy::decode(datagram) {
        Ok(time_ms) => {
            assert_eq!(legacy::encode(time_ms), datagram);
            let wall_ms = WALL_MS;
            machine.input(Input::Legacy { time_ms, wall_ms });
        }
        Err(error) => machine.input(Input::Refused(Refusal::Legacy(error))),
    }
    if let Ok(status) = StatusDatagram::decode(datagram) {
        match status.encode() {
            Ok(again) => assert_eq!(StatusDatagram::decode(&again), Ok(status)),
            Err(_) => assert!(status.service.len() > MAX_NAME, "{status:?}"),
        }
    }
    if let Ok(sealed) = envelope::open(datagram, Some(&key())) {
        let again = envelope::seal(&sealed, Some(&key())).expect("fits again");
        assert_eq!(envelope::open(&again, Some(&key())), Ok(sealed));
        // With a key only tagged ones are taken, without one none of them.
        assert!(envelope::open(datagram, None).is_err());
    }
    match envelope::open(datagram, None) {
        Ok(envelope) => {
            let again = envelope::seal(&envelope, None).expect("fits again");
            assert_eq!(envelope::open(&again, None).as_ref(), Ok(&envelope));
            machine.input(Input::Heard(envelope));
        }
        Err(error) => machine.input(Input::Refused(Refusal::Envelope(error))),
    }
}

fn order(started_ns: u64) -> Order {
    Order {
        boot: BootId([0; 16]),
        started_ns,
        entry: None,
    }
}

/// A machine, and what it was asked for.
struct Told {
    machine: Peer,
    now: Moment,
    drains: bool,
    resumes: bool,
    asked: Vec<[u8; 16]>,
    completed: bool,
    left: bool,
    stopped: bool,
}

impl Told {
    fn new() -> Self {
        let identity = Identity {
            service: "api".into(),
            peer: PeerId([1; 16]),
            order: order(1),
            legacy_ms: WALL_MS - 1_000,
            seed: [7; 32],
        };
        Self {
            machine: Peer::new(Settings::default(), identity, Moment::ZERO),
            now: Moment::ZERO,
            drains: false,
            resumes: false,
            asked: Vec::new(),
            completed: false,
            left: false,
            stopped: false,
        }
    }

    /// Something that is no datagram; most of the time, time.
    fn happens(&mut self, what: u8) {
        match what {
            0 => self.input(Input::Ready),
            1 if self.drains => {
                self.drains = false;
                self.input(Input::Drained);
            }
            2 if self.resumes => {
                self.resumes = false;
                let legacy_ms = WALL_MS;
                let order = order(self.now.as_nanos());
                self.input(Input::Resumed { order, legacy_ms });
            }
            3 if self.resumes => {
                self.resumes = false;
                self.input(Input::CannotResume);
            }
            4 => {
                self.stopped = true;
                self.input(Input::Stop);
            }
            5 => {
                // It neither drains nor comes back any more.
                self.drains = false;
                self.resumes = false;
                self.input(Input::Failed);
            }
            6 => self.input(Input::Reachable),
            7 => self.deadline(),
            millis => {
                self.now = self.now + Duration::from_millis(u64::from(millis) * 8);
                self.input(Input::Tick);
            }
        }
    }

    fn deadline(&mut self) {
        if let Some(due) = self.machine.next_deadline() {
            self.now = self.now.max(due);
            self.input(Input::Tick);
            let next = self.machine.next_deadline();
            assert!(next.is_none_or(|next| next > self.now), "it never ends");
        }
    }

    fn input(&mut self, input: Input) {
        let confirmed = match &input {
            Input::Heard(Envelope {
                message: Message::Confirm { handover, .. },
                ..
            }) => self.asked.contains(&handover.0),
            _ => false,
        };
        self.machine.handle(self.now, input);
        while let Some(effect) = self.machine.poll_effect() {
            assert!(!self.left, "{effect:?} after the last");
            match effect {
                Effect::Send(envelope) => {
                    if let Message::Challenge { handover, .. } = envelope.message {
                        self.asked.push(handover.0);
                    }
                    let sealed = envelope::seal(&envelope, None).expect("it fits");
                    assert!(sealed.len() + envelope::TAG_BYTES <= MAX_BYTES);
                }
                Effect::Drain { .. } => {
                    assert!(!self.drains, "it drains already");
                    self.drains = true;
                    self.resumes = false;
                }
                Effect::Resume { .. } => self.resumes = true,
                Effect::Complete { by } => {
                    assert!(!self.drains, "it still drains");
                    assert!(!std::mem::replace(&mut self.completed, true), "twice");
                    let alone = matches!(by, Successor::Peer { .. }) && !self.stopped;
                    assert!(!alone || confirmed, "nobody answered");
                }
                Effect::Leave => self.left = true,
                Effect::SendLegacy { .. } | Effect::Report(_) => {}
            }
        }
    }
}

pub mod seeds {
    use std::net::Ipv4Addr;

    use handover_proto::container::Attempt;
    use handover_proto::container::status::State;

    use super::{Envelope, Message, PeerId, StatusDatagram, WALL_MS, envelope, legacy, order};

    fn row(rows: &[(u8, Vec<u8>)]) -> Vec<u8> {
        let mut all = Vec::new();
        for (what, datagram) in rows {
            let length = u16::try_from(datagram.len()).expect("a datagram");
            all.push(*what);
            all.extend(length.to_le_bytes());
            all.extend(datagram);
        }
        all
    }

    fn said(sequence: u64, message: Message) -> Vec<u8> {
        let envelope = Envelope {
            service: "api".into(),
            from: PeerId([2; 16]),
            order: order(5),
            sequence,
            message,
        };
        envelope::seal(&envelope, None).expect("it fits")
    }

    pub fn container_datagrams() -> Vec<Vec<u8>> {
        let to = PeerId([1; 16]);
        // The names that the machine's seed makes.
        let mut machine = super::Told::new();
        machine.happens(0);
        machine.input(super::Input::Heard(
            envelope::open(&said(1, Message::Announce { legacy_ms: None }), None).expect("ours"),
        ));
        let handover = Attempt(*machine.asked.first().expect("it asks"));
        let announce = || said(1, Message::Announce { legacy_ms: None });
        let confirm = || said(2, Message::Confirm { to, handover });
        let serving = PeerId([2; 16]);
        let alive = |sequence, released| {
            said(
                sequence,
                Message::Alive {
                    to,
                    handover,
                    released,
                    serving,
                },
            )
        };
        let status = StatusDatagram {
            started_ms: WALL_MS,
            service: "api".into(),
            addresses: vec![Ipv4Addr::LOCALHOST],
            status: State::Up,
        };
        let status = status.encode().expect("it fits").to_vec();
        let older = legacy::encode(WALL_MS - 500).to_vec();
        let tagged = Envelope {
            service: "api".into(),
            from: serving,
            order: order(5),
            sequence: 1,
            message: Message::Who,
        };
        let tagged = envelope::seal(&tagged, Some(&super::key())).expect("it fits");
        let withdraw = said(3, Message::Withdraw { to, handover });
        vec![
            row(&[(0, announce()), (7, confirm()), (1, alive(3, true))]),
            row(&[(0, announce()), (7, confirm()), (7, withdraw), (1, vec![])]),
            row(&[(0, older), (7, vec![]), (7, vec![]), (1, vec![])]),
            row(&[(0, announce()), (7, alive(2, false)), (4, vec![])]),
            row(&[(7, status)]),
            row(&[(7, tagged)]),
        ]
    }
}
