//! What a node does about its lease, as a machine: time and answers in, deeds out.
//!
//! etcd ends a lease when it has heard nothing for its time to live. When it heard is not known
//! here, only when the request was sent; so this side counts from there, and stops a margin
//! earlier. Whatever etcd does about a lease (it prolongs all of them when its leader changes and
//! when it starts) makes it end later, never sooner.
//!
//! | phase | may act | asks | and then |
//! |---|---|---|---|
//! | held | yes | to keep it | held; fenced and returning when the deadline passes; fenced and granting when it has ended |
//! | returning | no | to keep it | joining; granting when it has ended |
//! | granting | no | for a new one | joining |
//! | joining | no | to put this node's keys under it | reading; returning when it grows old |
//! | reading | no | what everybody owns | held; returning when it has grown too old |

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use super::seat::Seat;
use crate::engine::Boottime;

/// How long after a failure it is tried again.
pub(super) const RETRY: Duration = Duration::from_millis(250);

/// A lease is kept this many times within its time to live.
const KEPT_PER_LIFE: u32 = 4;

/// A lease, as etcd numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LeaseId(pub(super) i64);

/// What etcd is asked. One at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// A new lease.
    Grant,
    /// That this lease goes on.
    Keep(LeaseId),
    /// To have this node's keys under this lease.
    Join(LeaseId),
    /// Who is a member and who owns what.
    Read,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// A new lease that lives this long.
    Granted(LeaseId, Duration),
    /// The lease goes on.
    Kept,
    /// There is no such lease.
    Ended,
    /// The keys are there.
    Joined,
    /// All is known.
    Read,
    /// No answer, or none that helps.
    Failed,
}

/// What is to be done, strictly in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// Ask etcd; the answer goes to [`Lease::answer`].
    Ask(Ask),
    /// Nothing may act here any more.
    Fence,
    /// What acts may go on up to this moment.
    Renew(Boottime),
    /// What was fenced may act again, up to this moment.
    Restore(Boottime),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    lease: LeaseId,
    /// How long it lives from when etcd last heard.
    life: Duration,
    /// When this side stops.
    until: Boottime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Held(Held),
    Returning(Held),
    Granting,
    Joining(Held),
    Reading(Held),
}

/// The machine.
#[derive(Debug)]
pub(super) struct Lease {
    phase: Phase,
    margin: Duration,
    /// When the request under way was sent.
    sent: Option<Boottime>,
    /// When to ask next.
    next: Boottime,
    deeds: VecDeque<Deed>,
}

impl Lease {
    /// A lease that was asked for at `sent` and lives for `life`; the keys are under it.
    pub(super) fn held(lease: LeaseId, life: Duration, margin: Duration, sent: Boottime) -> Self {
        let until = deadline(sent, life, margin);
        Self {
            phase: Phase::Held(Held { lease, life, until }),
            margin,
            sent: None,
            next: sent.after(life / KEPT_PER_LIFE),
            deeds: VecDeque::new(),
        }
    }

    /// The lease under which this node's keys are, if it may act.
    pub(super) fn current(&self) -> Option<LeaseId> {
        match self.phase {
            Phase::Held(held) => Some(held.lease),
            Phase::Returning(_) | Phase::Granting | Phase::Joining(_) | Phase::Reading(_) => None,
        }
    }

    /// The lease that lives, as far as is known.
    pub(super) fn last(&self) -> Option<LeaseId> {
        match self.phase {
            Phase::Held(held)
            | Phase::Returning(held)
            | Phase::Joining(held)
            | Phase::Reading(held) => Some(held.lease),
            Phase::Granting => None,
        }
    }

    /// What a successor in the same seat must know, if this node may act.
    pub(super) fn seat(&self) -> Option<Seat> {
        match self.phase {
            Phase::Held(held) => Some(Seat::new(held.lease, held.life)),
            Phase::Returning(_) | Phase::Granting | Phase::Joining(_) | Phase::Reading(_) => None,
        }
    }

    /// Up to when this node may act, if it may.
    pub(super) fn until(&self) -> Option<Boottime> {
        match self.phase {
            Phase::Held(held) => Some(held.until),
            _ => None,
        }
    }

    /// The next deed, until there is none.
    pub(super) fn poll(&mut self, now: Boottime) -> Option<Deed> {
        self.lapse(now);
        if let Some(deed) = self.deeds.pop_front() {
            return Some(deed);
        }
        if self.sent.is_some() || now < self.next {
            return None;
        }
        self.sent = Some(now);
        Some(Deed::Ask(match self.phase {
            Phase::Held(held) | Phase::Returning(held) => Ask::Keep(held.lease),
            Phase::Granting => Ask::Grant,
            Phase::Joining(held) => Ask::Join(held.lease),
            Phase::Reading(_) => Ask::Read,
        }))
    }

    /// When to [`poll`](Self::poll) even if nothing happens.
    pub(super) fn wake(&self) -> Boottime {
        let ask = match self.sent {
            None => self.next,
            Some(_) => Boottime::NEVER,
        };
        self.until().map_or(ask, |until| ask.min(until))
    }

    /// Takes the answer to what was asked.
    pub(super) fn answer(&mut self, now: Boottime, answer: Answer) {
        self.lapse(now);
        let Some(sent) = self.sent.take() else {
            return;
        };
        self.next = now;
        self.phase = match (self.phase, answer) {
            (Phase::Held(held), Answer::Kept) => self.kept(held, sent),
            (Phase::Held(_), Answer::Ended) => {
                self.deeds.push_back(Deed::Fence);
                Phase::Granting
            }
            (Phase::Returning(held), Answer::Kept) => self.joining(now, held, sent),
            (Phase::Granting, Answer::Granted(lease, life)) => {
                let until = Boottime::NEVER;
                self.joining(now, Held { lease, life, until }, sent)
            }
            (Phase::Joining(held), Answer::Joined) => Phase::Reading(held),
            (Phase::Reading(held), Answer::Read) if now < held.until => {
                self.deeds.push_back(Deed::Restore(held.until));
                Phase::Held(held)
            }
            (Phase::Returning(_) | Phase::Joining(_) | Phase::Reading(_), Answer::Ended) => {
                Phase::Granting
            }
            (phase, _) => {
                self.next = now.after(RETRY);
                match phase {
                    // Keep it first: what comes after may take as long again.
                    Phase::Joining(held) | Phase::Reading(held) => Phase::Returning(held),
                    Phase::Held(_) | Phase::Returning(_) | Phase::Granting => phase,
                }
            }
        };
    }

    /// This node's key is not there although its lease was held for alive: others may take its
    /// shards.
    pub(super) fn unseated(&mut self, now: Boottime) {
        self.stop(now);
    }

    fn kept(&mut self, held: Held, sent: Boottime) -> Phase {
        let until = deadline(sent, held.life, self.margin).max(held.until);
        self.next = sent.after(held.life / KEPT_PER_LIFE);
        self.deeds.push_back(Deed::Renew(until));
        Phase::Held(Held { until, ..held })
    }

    fn joining(&mut self, now: Boottime, held: Held, sent: Boottime) -> Phase {
        let until = deadline(sent, held.life, self.margin);
        let held = Held { until, ..held };
        if now < until {
            return Phase::Joining(held);
        }
        self.next = now.after(RETRY);
        Phase::Returning(held)
    }

    fn lapse(&mut self, now: Boottime) {
        if self.until().is_some_and(|until| now >= until) {
            self.stop(now);
        }
    }

    fn stop(&mut self, now: Boottime) {
        if let Phase::Held(held) = self.phase {
            self.deeds.push_back(Deed::Fence);
            self.phase = Phase::Returning(held);
            self.next = now;
        }
    }
}

fn deadline(sent: Boottime, life: Duration, margin: Duration) -> Boottime {
    sent.after(life.saturating_sub(margin))
}
