//! What an instance has in every state.

use alloc::collections::VecDeque;
use alloc::string::ToString;

use sha2::{Digest, Sha256};

use super::senders::Senders;
use super::{Effect, Identity, Refusal};
use crate::container::envelope::Envelope;
use crate::container::event::Event;
use crate::container::identity::{Attempt, PeerId};
use crate::container::message::Message;
use crate::container::order::{Order, Relation};
use crate::container::settings::{Legacy, Settings};
use crate::moment::Moment;

/// A message to this instance, or to all, of another instance of its service on its device.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    pub(super) from: PeerId,
    pub(super) order: Order,
    pub(super) younger: bool,
    pub(super) message: Message,
}

/// What was refused and not told yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Refusals {
    count: u64,
    last: Option<Refusal>,
    next: Moment,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Core {
    pub(super) settings: Settings,
    pub(super) identity: Identity,
    pub(super) senders: Senders,
    effects: VecDeque<Effect>,
    sequence: u64,
    attempts: u64,
    refusals: Refusals,
    /// When people may be told of a legacy announcement from the future again.
    future: Moment,
    /// People were told that the legacy time was raised.
    raised: bool,
}

impl Core {
    pub(super) const fn new(settings: Settings, identity: Identity, now: Moment) -> Self {
        Self {
            settings,
            identity,
            senders: Senders::new(),
            effects: VecDeque::new(),
            sequence: 0,
            attempts: 0,
            refusals: Refusals {
                count: 0,
                last: None,
                next: now,
            },
            future: now,
            raised: false,
        }
    }

    pub(super) fn push(&mut self, effect: Effect) {
        self.effects.push_back(effect);
    }

    pub(super) fn pop(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    pub(super) fn report(&mut self, event: Event) {
        self.push(Effect::Report(event));
    }

    pub(super) fn send(&mut self, message: Message) {
        self.sequence = self.sequence.saturating_add(1);
        let envelope = Envelope {
            service: self.identity.service.clone(),
            from: self.identity.peer,
            order: self.identity.order,
            sequence: self.sequence,
            message,
        };
        self.push(Effect::Send(envelope));
    }

    /// A name for an attempt that nobody can guess and that is never used again.
    pub(super) fn attempt(&mut self) -> Attempt {
        self.attempts = self.attempts.saturating_add(1);
        let mut hash = Sha256::new();
        hash.update(self.identity.seed);
        hash.update(self.attempts.to_be_bytes());
        let hash: [u8; 32] = hash.finalize().into();
        let mut name = [0; 16];
        name.copy_from_slice(&hash[..16]);
        Attempt(name)
    }

    /// What this instance tells legacy peers, if anything.
    pub(super) fn legacy_ms(&self) -> Option<i64> {
        match self.settings.legacy {
            Legacy::Obey | Legacy::Announce => Some(self.identity.legacy_ms),
            Legacy::Off => None,
        }
    }

    /// The message of an envelope, if it concerns this instance (C4).
    pub(super) fn admit(&mut self, envelope: &Envelope) -> Option<Heard> {
        let Envelope {
            service,
            from,
            order,
            sequence,
            message,
        } = envelope;
        // A group hears itself.
        if *from == self.identity.peer || !self.senders.is_new(*from, *sequence) {
            return None;
        }
        // Of any service and device: the legacy datagram names none.
        if let Message::Announce {
            legacy_ms: Some(time_ms),
        } = message
        {
            self.senders.note_echo(*time_ms);
        }
        if *service != self.identity.service {
            return None;
        }
        let own = self.identity.peer;
        let younger = match self.identity.order.compare(own, order, *from) {
            Relation::Younger => true,
            Relation::Older => false,
            Relation::Elsewhere => {
                if !self.senders.told_of_device(order.boot) {
                    let peer = *from;
                    let boot = order.boot;
                    self.report(Event::Elsewhere { peer, boot });
                }
                return None;
            }
        };
        if message.to().is_some_and(|to| to != own) {
            return None;
        }
        Some(Heard {
            from: *from,
            order: *order,
            younger,
            message: *message,
        })
    }

    /// A datagram was refused: counted, and told now or later.
    pub(super) fn refused(&mut self, refusal: Refusal) {
        self.refusals.count = self.refusals.count.saturating_add(1);
        self.refusals.last = Some(refusal);
    }

    /// When people are to be told of refused datagrams.
    pub(super) fn deadline(&self) -> Option<Moment> {
        (self.refusals.count > 0).then_some(self.refusals.next)
    }

    pub(super) fn tick(&mut self, now: Moment) {
        if now < self.refusals.next {
            return;
        }
        if let Some(last) = self.refusals.last.take() {
            let count = core::mem::take(&mut self.refusals.count);
            let last = last.to_string();
            self.refusals.next = now + self.settings.report_every;
            self.report(Event::Refused { count, last });
        }
    }

    /// A legacy announcement lies in the future.
    pub(super) fn tell_of_future(&mut self, now: Moment, time_ms: i64, wall_ms: i64) {
        if now >= self.future {
            self.future = now + self.settings.report_every;
            self.report(Event::LegacyFromFuture { time_ms, wall_ms });
        }
    }

    /// Whether a legacy time lies further ahead than two clocks of one device can differ.
    pub(super) fn is_future(&self, time_ms: i64, wall_ms: i64) -> bool {
        let slack = i64::try_from(self.settings.future.as_millis()).unwrap_or(i64::MAX);
        time_ms > wall_ms.saturating_add(slack)
    }

    /// A legacy peer that serves announces a time that is still to come: the clock was stepped back
    /// since, and whoever is to be younger for it must announce a later one.
    pub(super) fn raise(&mut self, time_ms: i64, wall_ms: i64) {
        let from = self.identity.legacy_ms;
        let off = self.settings.legacy == Legacy::Off;
        if off || time_ms < from || !self.is_future(time_ms, wall_ms) {
            return;
        }
        let to = time_ms.saturating_add(1);
        self.identity.legacy_ms = to;
        if !core::mem::replace(&mut self.raised, true) {
            self.report(Event::LegacyTimeRaised { from, to });
        }
    }
}
