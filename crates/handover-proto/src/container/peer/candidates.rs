//! Younger instances that were heard of, until it is known whether they are there.

use alloc::vec::Vec;

use super::core::{Core, Heard};
use crate::container::event::{Event, Successor};
use crate::container::identity::{Attempt, PeerId};
use crate::container::message::Message;
use crate::container::order::Order;
use crate::container::schedule::Schedule;
use crate::container::settings::Legacy;
use crate::moment::Moment;

/// Candidates that are asked at once. When full, the one asked for longest makes room.
const MOST_QUESTIONS: usize = 4;

/// Legacy announcements that wait for their echo at once; each waits [`Settings::echo`] only.
///
/// [`Settings::echo`]: crate::container::settings::Settings::echo
const MOST_WAITS: usize = 8;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Question {
    peer: PeerId,
    attempt: Attempt,
    since: Moment,
    repeat: Schedule,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Wait {
    time_ms: i64,
    wall_ms: i64,
    until: Moment,
}

/// A younger instance that answered: this one goes for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Followed {
    pub(super) peer: PeerId,
    pub(super) order: Order,
    pub(super) attempt: Attempt,
    /// When it last said that it serves.
    pub(super) confirmed: Moment,
}

impl Followed {
    pub(super) const fn successor(&self) -> Successor {
        Successor::Peer {
            peer: self.peer,
            order: self.order,
        }
    }
}

/// All of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Candidates {
    questions: Vec<Question>,
    waits: Vec<Wait>,
}

impl Candidates {
    pub(super) const fn new() -> Self {
        Self {
            questions: Vec::new(),
            waits: Vec::new(),
        }
    }

    pub(super) const fn asks(&self) -> bool {
        !self.questions.is_empty()
    }

    pub(super) fn deadline(&self, core: &Core) -> Option<Moment> {
        let questions = self.questions.iter();
        let questions =
            questions.map(|asked| asked.repeat.due().min(asked.since + core.settings.ask_for));
        let waits = self.waits.iter().map(|wait| wait.until);
        questions.chain(waits).min()
    }

    /// Asks `peer` whether it is there. Whether it is asked anew.
    pub(super) fn consider(&mut self, core: &mut Core, now: Moment, peer: PeerId) -> bool {
        if self.questions.iter().any(|asked| asked.peer == peer) {
            return false;
        }
        if self.questions.len() >= MOST_QUESTIONS {
            self.questions.remove(0);
        }
        let attempt = core.attempt();
        self.questions.push(Question {
            peer,
            attempt,
            since: now,
            repeat: Schedule::new(core.settings.ask, now),
        });
        true
    }

    /// The candidate that this message is the answer of.
    pub(super) fn answered(&mut self, now: Moment, heard: &Heard) -> Option<Followed> {
        let attempt = match heard.message {
            Message::Confirm { handover, .. } => handover,
            // The confirmation was lost, and this says no less.
            Message::Alive {
                handover, serving, ..
            } if serving == heard.from => handover,
            Message::Alive { .. }
            | Message::Announce { .. }
            | Message::Challenge { .. }
            | Message::Draining { .. }
            | Message::Released { .. }
            | Message::Committed { .. }
            | Message::Withdraw { .. }
            | Message::Resumed { .. }
            | Message::Who => return None,
        };
        let mut asked = self.questions.iter();
        let at = asked.position(|asked| asked.peer == heard.from && asked.attempt == attempt)?;
        if !heard.younger {
            return None;
        }
        self.questions.remove(at);
        Some(Followed {
            peer: heard.from,
            order: heard.order,
            attempt,
            confirmed: now,
        })
    }

    /// `peer` is no candidate any more.
    pub(super) fn drop_peer(&mut self, peer: PeerId) {
        self.questions.retain(|asked| asked.peer != peer);
    }

    /// A legacy announcement: it waits for the one of version 3 that would make it an echo.
    pub(super) fn legacy(&mut self, core: &Core, now: Moment, time_ms: i64, wall_ms: i64) {
        let off = core.settings.legacy == Legacy::Off;
        let older = time_ms <= core.identity.legacy_ms;
        let known = self.waits.iter().any(|wait| wait.time_ms == time_ms);
        let full = self.waits.len() >= MOST_WAITS;
        if off || older || known || full || core.senders.is_echo(time_ms) {
            return;
        }
        self.waits.push(Wait {
            time_ms,
            wall_ms,
            until: now + core.settings.echo,
        });
    }

    /// Asks again what is due, and gives up who did not answer. Returns the time of a legacy
    /// instance that is to be obeyed.
    pub(super) fn tick(&mut self, core: &mut Core, now: Moment) -> Option<i64> {
        let ask_for = core.settings.ask_for;
        self.questions.retain(|question| {
            let asked = now.since(question.since);
            if asked >= ask_for {
                let peer = question.peer;
                core.report(Event::CandidateSilent { peer, asked });
            }
            asked < ask_for
        });
        for asked in &mut self.questions {
            if asked.repeat.take(now) {
                core.send(Message::Challenge {
                    to: asked.peer,
                    handover: asked.attempt,
                });
            }
        }
        let mut obeyed = None;
        self.waits.retain(|wait| {
            let waits = now < wait.until;
            if !waits && obeyed.is_none() {
                obeyed = judge(core, now, wait);
            }
            waits
        });
        obeyed
    }

    /// A way to others is there again: everybody is asked at once.
    pub(super) fn reachable(&mut self, now: Moment) {
        self.questions
            .iter_mut()
            .for_each(|asked| asked.repeat.hasten(now));
    }
}

/// A legacy announcement that waited long enough.
fn judge(core: &mut Core, now: Moment, wait: &Wait) -> Option<i64> {
    let Wait {
        time_ms, wall_ms, ..
    } = *wait;
    if core.senders.is_echo(time_ms) {
        return None;
    }
    if core.is_future(time_ms, wall_ms) {
        core.tell_of_future(now, time_ms, wall_ms);
        return None;
    }
    match core.settings.legacy {
        Legacy::Obey => Some(time_ms),
        Legacy::Announce => {
            if !core.senders.told_of(time_ms) {
                core.report(Event::LegacyNotObeyed { time_ms });
            }
            None
        }
        Legacy::Off => None,
    }
}
