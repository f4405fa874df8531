//! Messages that a process sends itself after a while.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use handover_hub_proto::mailbox::Arrival;
use handover_hub_proto::row::Role;
use tokio::time::Instant;

use super::letter::Octets;
use super::{Cell, Letter, Phase, Work};
use crate::hub::Shared;
use crate::timers::CHECKPOINT;

/// After this time it is tried again to put a message into a mailbox that was full.
const AGAIN: Duration = Duration::from_millis(50);

/// Messages to come, and after which time.
pub(super) fn left<'a>(
    later: impl Iterator<Item = (Instant, &'a Bytes)>,
) -> Vec<(Duration, Octets)> {
    let now = Instant::now();
    later
        .map(|(at, body)| (at.saturating_duration_since(now), Octets(body.clone())))
        .collect()
}

impl Cell {
    /// Notes messages to come.
    pub(super) fn remind(self: &Arc<Self>, shared: &Shared, later: Vec<(Duration, Bytes)>) {
        if later.is_empty() {
            return;
        }
        let now = Instant::now();
        let mut state = self.lock();
        for (delay, body) in later {
            let number = shared.timers.number();
            // Too far to express is never.
            let Some(at) = now.checked_add(delay) else {
                continue;
            };
            state.rare().later.push((number, at, body));
            shared.timers.add(at, self, number);
        }
    }

    /// What it is to be reminded of, and after which time; also what it was reminded of and has not
    /// come to, which is due at once.
    pub(super) fn reminders(&self) -> Vec<(Duration, Octets)> {
        let state = self.lock();
        let own = state.mailbox.letters().filter(|letter| letter.own);
        let due = own.map(|letter| (Duration::ZERO, Octets(letter.body.clone())));
        let later = state.rare.iter().flat_map(|rare| &rare.later);
        let later = left(later.map(|(_, at, body)| (*at, body)));
        due.chain(later).collect()
    }

    /// What became due while nothing could be taken is due now.
    pub(super) fn remind_again(self: &Arc<Self>, shared: &Shared) {
        let state = self.lock();
        if let Some(rare) = &state.rare {
            for (number, at, _) in &rare.later {
                shared.timers.add(*at, self, *number);
            }
        }
    }

    /// A message to itself is due. One that stands still is reminded when it goes on.
    pub(crate) fn due(self: &Arc<Self>, shared: &Arc<Shared>, number: u64) {
        if shared.is_held() {
            // It is reminded when the node goes on.
            return;
        }
        if number == CHECKPOINT {
            return self.enqueue(shared, Work::Checkpoint);
        }
        let mut state = self.lock();
        // A passive one has them for the case that it becomes the active one.
        if state.phase != Phase::Serving || state.role != Role::Active {
            return;
        }
        let Some(rare) = &mut state.rare else {
            return;
        };
        let Some(at) = rare.later.iter().position(|(known, ..)| *known == number) else {
            return;
        };
        let (_, _, body) = rare.later.swap_remove(at);
        let letter = Letter {
            ticket: None,
            own: true,
            body,
        };
        match state.mailbox.arrive(letter, &shared.limits) {
            Arrival::Queued { runnable: true } => self.wake(shared, state),
            Arrival::Refused(letter, _) => {
                let at = Instant::now() + AGAIN;
                state.rare().later.push((number, at, letter.body));
                shared.timers.add(at, self, number);
            }
            Arrival::Queued { runnable: false }
            | Arrival::Held
            | Arrival::Known
            | Arrival::Answered(_)
            | Arrival::Settled
            | Arrival::Elsewhere { .. } => {}
        }
    }
}
