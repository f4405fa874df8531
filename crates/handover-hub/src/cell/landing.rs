//! A process comes to this node.

use std::sync::Arc;

use bytes::Bytes;
use handover_hub_proto::identity::{Epoch, MoveId, NodeId};
use handover_hub_proto::mailbox;
use handover_hub_proto::node::{HostFailure, HostReport};

use super::pack::Pack;
use super::run::drop_body;
use super::{Cell, Phase, Work};
use crate::hub::Shared;
use crate::kind::Body;
use crate::states::{Assembly, Spoilt};
use crate::transport::frame::Part;

impl Cell {
    /// A part of a state arrived. With the last one it is taken over, if the process was warmed.
    pub(crate) fn state_part(self: &Arc<Self>, shared: &Arc<Shared>, attempt: MoveId, part: Part) {
        let mut state = self.lock();
        match state.phase {
            Phase::Vacant | Phase::Warm | Phase::Serving | Phase::Frozen(_) => {}
            Phase::Landed(_) | Phase::Retired | Phase::Ended => return,
        }
        // The queue and the replies are beside the state; they have bounds of their own.
        let limit = shared
            .state_limit
            .saturating_mul(2)
            .saturating_add(64 << 20);
        let arriving = &mut state.rare().arriving;
        let before = arriving.take().filter(|(before, _)| *before == attempt);
        let mut slot = before.map(|(_, assembly)| assembly);
        let taken = Assembly::take(&mut slot, part, limit);
        *arriving = slot.map(|assembly| (attempt, assembly));
        drop(state);
        match taken {
            Ok(None) | Err(Spoilt::NotOpen) => {}
            Ok(Some(state)) => self.enqueue(shared, Work::Land { attempt, state }),
            Err(spoilt) => {
                let failure = HostFailure::Transfer(spoilt.to_string());
                self.arrived(shared, attempt, Err(failure));
            }
        }
    }

    fn arrived(&self, shared: &Shared, attempt: MoveId, result: Result<(), HostFailure>) {
        shared.report(HostReport::StateArrived {
            process: self.id.clone(),
            attempt,
            result,
        });
    }

    /// A state is here whole: the warmed process takes it over. It answers nothing before its home
    /// has decided.
    pub(super) fn land(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        attempt: MoveId,
        state: &Bytes,
        body: Option<Box<dyn Body>>,
    ) {
        let phase = self.lock().phase;
        let result = match phase {
            Phase::Warm => self.take_state(shared, attempt, state, body),
            Phase::Serving | Phase::Frozen(_) => {
                self.put_back(body);
                self.lock().rare().other = Some((attempt, state.clone()));
                Ok(())
            }
            Phase::Landed(_) => {
                self.put_back(body);
                return;
            }
            Phase::Vacant | Phase::Retired | Phase::Ended => {
                drop_body(body);
                Err(HostFailure::NotHere)
            }
        };
        if result.is_err() {
            self.forget(shared);
        }
        self.arrived(shared, attempt, result);
    }

    fn take_state(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        attempt: MoveId,
        state: &Bytes,
        body: Option<Box<dyn Body>>,
    ) -> Result<(), HostFailure> {
        let body = body.ok_or(HostFailure::NotHere)?;
        let pack = Pack::decode(state).map_err(|error| HostFailure::Transfer(error.to_string()))?;
        let kind = self.lock().spec.kind.clone();
        let schemas = shared.kinds.get(&kind).map(|kind| kind.schemas());
        let reads = schemas.ok_or(HostFailure::UnknownKind)?.reads;
        let schema = pack.handed.schema();
        if !reads.contains(&schema) {
            drop_body(Some(body));
            return Err(HostFailure::Refused(format!(
                "its state has version {schema}, this node reads {} to {}",
                reads.start(),
                reads.end()
            )));
        }
        let body = body.alter(pack.handed)?;
        {
            let mut state = self.lock();
            state.phase = Phase::Landed(attempt);
            state.body = Some(body);
            state.mailbox.restore(pack.sealed);
        }
        let later = pack.later.into_iter();
        self.remind(shared, later.map(|(delay, body)| (delay, body.0)).collect());
        Ok(())
    }

    /// Direct arrivals wait for the source's latecomers, but not for ever, nor for a node that is
    /// gone.
    pub(super) fn open_soon(self: &Arc<Self>, shared: &Arc<Shared>, source: Option<NodeId>) {
        let opening = self.lock().mailbox.phase() == mailbox::Phase::Opening;
        let Some(source) = source.filter(|_| opening) else {
            return;
        };
        let (hub, cell) = (Arc::clone(shared), Arc::clone(self));
        shared.spawn(async move {
            if hub.is_member(source) {
                tokio::time::sleep(mailbox::OPENING_MAX).await;
            }
            cell.opened(&hub);
        });
    }

    /// Two copies ran apart; this one is kept, and merges what the other was.
    pub(super) fn merge(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        (attempt, epoch): (MoveId, Epoch),
        body: Option<Box<dyn Body>>,
    ) {
        let other = {
            let mut state = self.lock();
            state.epoch = state.epoch.max(epoch);
            let other = &mut state.rare().other;
            other.take_if(|(arrived, _)| *arrived == attempt)
        };
        let mut body = body;
        let result = match (&mut body, other) {
            (Some(body), Some((_, state))) => self.merge_state(shared, body.as_mut(), &state),
            (Some(_) | None, _) => Err(HostFailure::NotHere),
        };
        self.put_back(body);
        if result.is_ok() {
            self.merged(shared, attempt, epoch);
        }
        shared.report(HostReport::Merged {
            process: self.id.clone(),
            attempt,
            result,
        });
    }

    fn merge_state(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        body: &mut dyn Body,
        state: &Bytes,
    ) -> Result<(), HostFailure> {
        let pack = Pack::decode(state).map_err(|error| HostFailure::Transfer(error.to_string()))?;
        body.merge(pack.handed)?;
        let mut state = self.lock();
        let released = state.mailbox.merge(pack.sealed, &shared.limits);
        self.release(shared, state, released);
        Ok(())
    }
}
