//! The older instances that count on this one: each is told every second that it is there.

use alloc::vec::Vec;

use super::core::Core;
use crate::container::event::Event;
use crate::container::identity::{Attempt, PeerId};
use crate::container::message::Message;
use crate::moment::Moment;

/// Older instances at once; a deploy has one, a deploy upon a deploy two.
const MOST_ELDERS: usize = 8;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Elder {
    peer: PeerId,
    attempt: Attempt,
    released: bool,
    /// People were told that it drains.
    drains: bool,
    heard: Moment,
    due: Moment,
}

/// All of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Elders(Vec<Elder>);

impl Elders {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn deadline(&self, core: &Core) -> Option<Moment> {
        let ends = |elder: &Elder| elder.due.min(elder.heard + core.settings.forget);
        self.0.iter().map(ends).min()
    }

    fn find(&mut self, peer: PeerId) -> Option<&mut Elder> {
        self.0.iter_mut().find(|elder| elder.peer == peer)
    }

    fn admit(&mut self, now: Moment, peer: PeerId, attempt: Attempt, due: Moment) {
        if self.0.len() >= MOST_ELDERS {
            let longest_silent = self.0.iter().enumerate().min_by_key(|(_, e)| e.heard);
            if let Some((at, _)) = longest_silent {
                self.0.remove(at);
            }
        }
        self.0.push(Elder {
            peer,
            attempt,
            released: false,
            drains: false,
            heard: now,
            due,
        });
    }

    /// An older one asks whether this one, which serves, is there.
    pub(super) fn asked(&mut self, core: &mut Core, now: Moment, by: PeerId, attempt: Attempt) {
        core.send(Message::Confirm {
            to: by,
            handover: attempt,
        });
        let due = now + core.settings.heartbeat;
        match self.find(by) {
            // The last question before it lets go; what it calls the attempt stays.
            Some(elder) if elder.released => elder.heard = now,
            Some(elder) => {
                elder.heard = now;
                elder.attempt = attempt;
            }
            None => {
                self.admit(now, by, attempt, due);
                core.report(Event::Asked { by });
            }
        }
    }

    /// An older one says how far it is. `serves`: one that is not known may be new.
    pub(super) fn progressed(
        &mut self,
        core: &mut Core,
        now: Moment,
        peer: PeerId,
        attempt: Attempt,
        released: bool,
        serves: bool,
    ) {
        if self.find(peer).is_none() && serves {
            self.admit(now, peer, attempt, now);
        }
        let Some(elder) = self.find(peer) else {
            return;
        };
        elder.heard = now;
        if elder.attempt != attempt {
            elder.attempt = attempt;
            elder.released = false;
            elder.drains = false;
        }
        if !elder.drains {
            elder.drains = true;
            if !released {
                core.report(Event::OlderDrains { peer });
            }
            elder.due = now;
        }
        if released {
            if !elder.released {
                elder.released = true;
                core.report(Event::OlderReleased { peer });
            }
            // It repeats itself until it knows.
            elder.due = now;
        }
    }

    /// An older one needs this one no more.
    pub(super) fn settled(
        &mut self,
        core: &mut Core,
        peer: PeerId,
        attempt: Attempt,
        resumed: bool,
    ) {
        let known = self.0.len();
        self.0
            .retain(|elder| elder.peer != peer || elder.attempt != attempt);
        if self.0.len() < known {
            core.report(if resumed {
                Event::OlderResumed { peer }
            } else {
                Event::OlderCommitted { peer }
            });
        }
    }

    /// Says to each that is due who serves, if this one knows.
    pub(super) fn tick(&mut self, core: &mut Core, now: Moment, serving: Option<PeerId>) {
        let forget = core.settings.forget;
        self.0.retain(|elder| {
            let silent = now.since(elder.heard);
            if silent >= forget {
                let peer = elder.peer;
                core.report(Event::OlderSilent { peer, silent });
            }
            silent < forget
        });
        for elder in &mut self.0 {
            if now < elder.due {
                continue;
            }
            elder.due = now + core.settings.heartbeat;
            if let Some(serving) = serving {
                core.send(Message::Alive {
                    to: elder.peer,
                    handover: elder.attempt,
                    released: elder.released,
                    serving,
                });
            }
        }
    }

    /// Tells all that they must take back, and how many they were.
    pub(super) fn withdraw(&mut self, core: &mut Core) -> usize {
        let elders = core::mem::take(&mut self.0);
        // Nobody will be there to repeat it.
        for _ in 0..super::LAST_WORDS {
            for elder in &elders {
                core.send(Message::Withdraw {
                    to: elder.peer,
                    handover: elder.attempt,
                });
            }
        }
        elders.len()
    }
}
