//! Rules that are broken on purpose.

use std::time::Duration;

use handover_proto::container::envelope::Envelope;
use handover_proto::container::message::Message;
use handover_proto::container::settings::{Legacy, Rhythm, Settings};

/// A rule that is broken, to see whether somebody notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// None.
    No,
    /// Every question counts as answered, whether somebody is there or not: an announcement alone
    /// retires.
    Unasked,
    /// The same, and everybody sees everybody else as younger: they go for each other for ever.
    Disorder,
    /// Silence is never noticed.
    Patient,
    /// A program that was drained cannot be started again.
    NoWayBack,
    /// What was recorded can be sent again.
    Replays,
    /// Nothing is announced twice.
    Once,
    /// The machine is told that its program is drained while it is not.
    Hasty,
    /// Each drain is asked for twice.
    Twice,
}

impl Fault {
    /// All but none, each with the rule that notices: as it is called in [`Broken::rule`].
    ///
    /// [`Broken::rule`]: crate::broken::Broken::rule
    pub const ALL: [(Self, &str); 8] = [
        (Self::Unasked, "C2"),
        (Self::Disorder, "C3"),
        (Self::Patient, "C1 in the end"),
        (Self::NoWayBack, "C1"),
        (Self::Replays, "C4"),
        (Self::Once, "C3"),
        (Self::Hasty, "C2"),
        (Self::Twice, "C5"),
    ];

    /// By what a machine decides: few repetitions, so that there are few states, in the order of
    /// the real ones. Heartbeat < probation < silence < forget.
    pub(super) fn settings(self) -> Settings {
        let second = Duration::from_secs;
        let never = second(1_000_000);
        let but = |fault, usual| if self == fault { never } else { usual };
        Settings {
            legacy: Legacy::Off,
            probation: second(3),
            silence: but(Self::Patient, second(5)),
            can_resume: self != Self::NoWayBack,
            announce: Rhythm::steady(but(Self::Once, second(60))),
            ask: Rhythm::steady(second(2)),
            ask_for: second(3),
            heartbeat: second(2),
            forget: second(20),
            least_pause: but(Self::Once, second(1)),
            ..Settings::default()
        }
    }

    /// What the network makes of a datagram. Real ones have even numbers, made up ones odd ones.
    pub(super) fn carry(self, envelope: &Envelope) -> Envelope {
        let mut carried = envelope.clone();
        carried.sequence *= 2;
        if self == Self::Disorder {
            carried.order.started_ns += 1_000;
        }
        carried
    }

    /// Whether questions are answered by nobody.
    pub(super) const fn makes_up(self) -> bool {
        matches!(self, Self::Unasked | Self::Disorder)
    }

    /// The answer that is made up for a question. `last`: what the one that is asked said last.
    pub(super) fn answer(self, question: &Envelope, last: &Envelope) -> Option<Envelope> {
        let Message::Challenge { handover, .. } = question.message else {
            return None;
        };
        let asker = question.from;
        self.makes_up().then(|| {
            let mut answer = last.clone();
            answer.sequence += 1;
            answer.message = Message::Confirm {
                to: asker,
                handover,
            };
            answer
        })
    }
}
