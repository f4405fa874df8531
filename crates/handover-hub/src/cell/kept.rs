//! What a passive replica has been sent.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use handover_hub_proto::identity::{Epoch, NodeId};
use handover_hub_proto::mailbox::{self, Sealed};
use handover_hub_proto::node::HostReport;
use handover_hub_proto::reply::{Replies, ReplyLimits};
use handover_hub_proto::row::Role;
use tokio::time::Instant;

use super::Cell;
use super::letter::Octets;
use super::replicas::Update;
use crate::hub::Shared;
use crate::kind::{Body, Fault};
use crate::process::Handed;
use crate::transport::Frame;
use crate::transport::frame::Replica;

/// Replies that a replica keeps: the active one has bounded them already.
const UNBOUNDED: ReplyLimits = ReplyLimits {
    calls: usize::MAX,
    bytes: usize::MAX,
};

/// What a passive replica has.
pub(super) struct Kept {
    pub(super) epoch: Epoch,
    pub(super) number: u64,
    pub(super) handed: Handed,
    pub(super) replies: Replies<Octets>,
    /// Messages to itself, and when they are due.
    pub(super) later: Vec<(Instant, Bytes)>,
}

pub(super) fn due(later: Vec<(Duration, Octets)>) -> Vec<(Instant, Bytes)> {
    let now = Instant::now();
    let later = later.into_iter();
    later
        .filter_map(|(delay, body)| Some((now.checked_add(delay)?, body.0)))
        .collect()
}

impl Cell {
    /// Keeps what the active one is now. Whether it has that, or something later of the same one.
    pub(super) fn keep(
        &self,
        shared: &Arc<Shared>,
        (epoch, number): (Epoch, u64),
        update: Update,
    ) -> bool {
        let Update::State {
            schema,
            state: bytes,
            answer,
            replies,
            later,
        } = update
        else {
            return false;
        };
        let mut state = self.lock();
        if state.role != Role::Passive {
            return false;
        }
        let kept = &mut state.rare().kept;
        let mut known = match (&mut *kept, replies) {
            // Of one that was replaced: it must not answer what the next one does not know.
            (Some(before), _) if before.epoch > epoch => return false,
            (Some(before), _) if (before.epoch, before.number) >= (epoch, number) => return true,
            (_, Some(all)) => {
                let mut known = Replies::default();
                known.absorb(all);
                known
            }
            (Some(before), None) => std::mem::take(&mut before.replies),
            // It is sent what it lacks if it does not answer.
            (None, None) => return false,
        };
        if let Some((ticket, reply)) = answer {
            let _ = known.admit(ticket, &UNBOUNDED);
            known.answer(ticket.call, reply);
        }
        let first = kept.is_none();
        *kept = Some(Kept {
            epoch,
            number,
            handed: Handed::new(schema, bytes.0),
            replies: known,
            later: due(later),
        });
        // Whatever it had itself when it was the active one is in there.
        state.rare().later.clear();
        let here = state.epoch;
        drop(state);
        if first {
            shared.report(HostReport::Filled {
                process: self.id.clone(),
                epoch: here,
            });
        }
        true
    }

    pub(super) fn say_kept(&self, shared: &Arc<Shared>, to: NodeId, replica: &Replica) {
        let Ok(body) = postcard::to_allocvec(&Update::Kept) else {
            return;
        };
        let frame = Frame::Replica(Replica {
            process: self.id.clone(),
            epoch: replica.epoch,
            number: replica.number,
            body: body.into(),
        });
        shared.send_soon(to, frame);
    }

    /// What it was sent is not taken for all there is any more.
    pub(super) fn drop_kept(&self) -> Option<Kept> {
        self.lock().rare.as_mut()?.kept.take()
    }

    /// The state that a passive replica was sent becomes that of the active one.
    pub(super) fn take_up(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        body: Box<dyn Body>,
        kept: Kept,
    ) -> Result<Box<dyn Body>, Fault> {
        let body = body.alter(kept.handed)?;
        let sealed = Sealed {
            queue: Vec::new(),
            replies: kept.replies.remembered(),
        };
        {
            let mut state = self.lock();
            if state.mailbox.phase() == mailbox::Phase::Restoring {
                state.mailbox.restore(sealed);
            } else {
                let released = state.mailbox.merge(sealed, &shared.limits);
                self.release(shared, state, released);
            }
        }
        let now = Instant::now();
        let left = |at: Instant| at.saturating_duration_since(now);
        let later = kept.later.into_iter();
        self.remind(shared, later.map(|(at, body)| (left(at), body)).collect());
        Ok(body)
    }
}
