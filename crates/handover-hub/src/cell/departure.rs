//! A process leaves this node.

use std::collections::VecDeque;
use std::sync::Arc;

use handover_hub_proto::identity::{Epoch, MoveId, NodeId};
use handover_hub_proto::mailbox::Freeze;
use handover_hub_proto::node::{HostFailure, HostOrder, HostReport};

use super::pack::Pack;
use super::reminder::left;
use super::run::drop_body;
use super::{Cell, Letter, Phase};
use crate::hub::Shared;
use crate::kind::Body;
use crate::process::{Consent, Handed};
use crate::states::{self, Destination};
use crate::transport::frame::Forward;
use crate::transport::{Frame, SendError};

impl Cell {
    /// It finishes the message it is at, and takes no other: that has happened when this is called.
    pub(super) fn freeze(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        (epoch, attempt, forced): (Epoch, MoveId, bool),
        mut body: Option<Box<dyn Body>>,
    ) {
        let result = match &mut body {
            Some(body) => self.snapshot(shared, (epoch, attempt, forced), body.as_mut()),
            None => Err(HostFailure::NotHere),
        };
        self.put_back(body);
        let Some(result) = result.transpose() else {
            return;
        };
        if result.is_err() {
            self.thaw(shared, attempt);
        }
        shared.report(HostReport::Frozen {
            process: self.id.clone(),
            attempt,
            result,
        });
    }

    fn snapshot(
        &self,
        shared: &Shared,
        (epoch, attempt, forced): (Epoch, MoveId, bool),
        body: &mut dyn Body,
    ) -> Result<Option<()>, HostFailure> {
        let (phase, here) = {
            let state = self.lock();
            (state.phase, state.epoch)
        };
        match phase {
            Phase::Frozen(before) if before == attempt => return Ok(Some(())),
            Phase::Frozen(_) => return Err(HostFailure::Busy),
            Phase::Serving if here == epoch => {}
            Phase::Vacant
            | Phase::Warm
            | Phase::Landed(_)
            | Phase::Serving
            | Phase::Retired
            | Phase::Ended => return Err(HostFailure::NotHere),
        }
        if !forced && body.consent()? == Consent::Defer {
            return Err(HostFailure::Deferred);
        }
        let mut state = self.lock();
        match state.mailbox.freeze() {
            Freeze::Frozen => drop(state),
            Freeze::Refused => return Err(HostFailure::NotHere),
            Freeze::Later => {
                // The latecomers of its last move come first (H11), then this order again. They
                // may come as soon as the lock is given back.
                state.rare().freeze = Some(HostOrder::Freeze {
                    process: self.id.clone(),
                    epoch,
                    attempt,
                    forced: true,
                });
                return Ok(None);
            }
        }
        let schema = self.schema(shared).ok_or(HostFailure::UnknownKind)?;
        let snapshot = body.prepare(schema)?;
        let found = snapshot.bytes().len() as u64;
        if found > shared.state_limit {
            let limit = shared.state_limit;
            return Err(HostFailure::TooLarge { limit, found });
        }
        let mut state = self.lock();
        state.phase = Phase::Frozen(attempt);
        state.rare().snapshot = Some(snapshot);
        Ok(Some(()))
    }

    /// A freeze did not succeed: it goes on as before.
    fn thaw(self: &Arc<Self>, shared: &Arc<Shared>, attempt: MoveId) {
        let mut state = self.lock();
        match state.phase {
            Phase::Serving => {}
            Phase::Frozen(before) if before == attempt => state.phase = Phase::Serving,
            Phase::Vacant
            | Phase::Warm
            | Phase::Landed(_)
            | Phase::Frozen(_)
            | Phase::Retired
            | Phase::Ended => return,
        }
        let released = state.mailbox.resume(&shared.limits);
        self.release(shared, state, released);
        self.remind_again(shared);
    }

    /// The version in which this node writes states of its kind.
    pub(super) fn schema(&self, shared: &Shared) -> Option<u32> {
        let kind = shared.kinds.get(&self.lock().spec.kind)?;
        Some(kind.schemas().schema)
    }

    /// Sends what was frozen to its new host. The run does not wait for room: a move that is given up
    /// meanwhile ends the sending.
    pub(super) fn send_state(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        (attempt, to, epoch): (MoveId, NodeId, Epoch),
        mut body: Option<Box<dyn Body>>,
    ) {
        let packed = self.pack(shared, attempt, to, body.as_deref_mut());
        self.put_back(body);
        let destination = Destination {
            process: self.id.clone(),
            attempt,
            epoch,
        };
        let pack = match packed.map(Pack::encode) {
            Ok(Ok(pack)) => pack,
            Ok(Err(error)) => {
                let failure = HostFailure::Transfer(error.to_string());
                return self.sent(shared, attempt, Err(failure));
            }
            Err(failure) => return self.sent(shared, attempt, Err(failure)),
        };
        let failed = |error: SendError| Err(HostFailure::Transfer(error.to_string()));
        let frames = states::frames(&destination, &pack);
        let rest = match states::deliver_now(&shared.transport, to, frames) {
            Ok(rest) if rest.is_empty() => return self.sent(shared, attempt, Ok(())),
            Ok(rest) => rest,
            Err(error) => return self.sent(shared, attempt, failed(error)),
        };
        let (cell, hub) = (Arc::clone(self), Arc::clone(shared));
        let sending = shared.spawn(async move {
            let result = states::deliver_all(&hub.transport, to, rest).await;
            cell.sent(&hub, attempt, result.or_else(failed));
        });
        self.lock().rare().sending = Some(sending);
    }

    fn pack(
        &self,
        shared: &Shared,
        attempt: MoveId,
        to: NodeId,
        body: Option<&mut (dyn Body + 'static)>,
    ) -> Result<Pack, HostFailure> {
        let handed = match self.schema_for(shared, to) {
            Some(schema) => match body {
                Some(body) => Some(body.prepare(schema)?),
                None => return Err(HostFailure::NotHere),
            },
            None => None,
        };
        let mut state = self.lock();
        if state.phase != Phase::Frozen(attempt) {
            return Err(HostFailure::NotHere);
        }
        let sealed = state.mailbox.seal().ok_or(HostFailure::NotHere)?;
        let later = left(state.rare().later.iter().map(|(_, at, body)| (*at, body)));
        let handed: Handed = match handed {
            Some(handed) => handed,
            None => state.rare().snapshot.clone().ok_or(HostFailure::NotHere)?,
        };
        Ok(Pack {
            handed,
            sealed,
            later,
        })
    }

    /// The version to write for a node that does not read the usual one, if it is known to read
    /// another one that can be written.
    fn schema_for(&self, shared: &Shared, to: NodeId) -> Option<u32> {
        let name = self.lock().spec.kind.clone();
        let ours = shared.kinds.get(&name)?.schemas();
        let reads = shared.reads_of(to, &name)?;
        if reads.contains(&ours.schema) {
            return None;
        }
        ours.writes.rev().find(|schema| reads.contains(schema))
    }

    fn sent(&self, shared: &Shared, attempt: MoveId, result: Result<(), HostFailure>) {
        shared.report(HostReport::StateSent {
            process: self.id.clone(),
            attempt,
            result,
        });
    }

    /// The move failed: it goes on here.
    pub(super) async fn resume(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        (attempt, epoch): (MoveId, Epoch),
        body: Option<Box<dyn Body>>,
    ) {
        let frozen = {
            let mut state = self.lock();
            state.epoch = state.epoch.max(epoch);
            if let Some(rare) = &mut state.rare {
                rare.snapshot = None;
                rare.freeze = None;
                if let Some(sending) = rare.sending.take() {
                    sending.abort();
                }
            }
            state.phase == Phase::Frozen(attempt)
        };
        let mut crash = None;
        let body = match body {
            Some(mut body) if frozen => match body.resume(&self.context(shared)).await {
                Ok(()) => Some(body),
                Err(fault) => {
                    crash = Some(fault.to_string());
                    drop_body(Some(body));
                    None
                }
            },
            body => body,
        };
        self.put_back(body);
        self.thaw(shared, attempt);
        if let Some(reason) = crash {
            self.crashed(shared, reason).await;
        }
    }

    /// The move is decided: what arrived meanwhile is sent after it, and it is here no more.
    pub(super) fn retire(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        (attempt, to, epoch): (MoveId, NodeId, Epoch),
        body: Option<Box<dyn Body>>,
    ) {
        let (late, next) = {
            let mut state = self.lock();
            if state.phase != Phase::Frozen(attempt) {
                drop(state);
                return self.put_back(body);
            }
            let late = state.mailbox.retire(to, epoch);
            state.phase = Phase::Retired;
            state.rare = None;
            shared.cells.retired(self);
            let next = state.successor();
            if let Some(next) = &next {
                shared.cells.put(Arc::clone(next));
            }
            (late, next)
        };
        drop_body(body);
        self.left(shared, attempt, (to, epoch));
        if let Some(next) = next {
            next.begin_work(shared);
        }
        // A broken connection: callers send again, casts are lost with it.
        let frames = self.forwards((attempt, epoch), late);
        if let Ok(rest) = states::deliver_now(&shared.transport, to, frames)
            && !rest.is_empty()
        {
            let hub = Arc::clone(shared);
            shared.spawn(async move {
                let _ = states::deliver_all(&hub.transport, to, rest).await;
            });
        }
    }

    /// What is sent after a process, and that it is all.
    fn forwards(&self, (attempt, epoch): (MoveId, Epoch), late: Vec<Letter>) -> VecDeque<Frame> {
        let letters = late.into_iter().map(Some).chain([None]);
        let bodies = letters.filter_map(|letter| match letter {
            Some(letter) => Some((false, postcard::to_allocvec(&letter).ok()?)),
            None => Some((true, Vec::new())),
        });
        let forward = |(number, (last, body)): (u64, (bool, Vec<u8>))| {
            Frame::Forward(Forward {
                attempt,
                process: self.id.clone(),
                epoch,
                number,
                last,
                body: body.into(),
            })
        };
        (1..).zip(bodies).map(forward).collect()
    }

    /// What was warmed or received for a move that failed is dropped.
    pub(super) fn discard(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        attempt: MoveId,
        body: Option<Box<dyn Body>>,
    ) {
        let phase = {
            let mut state = self.lock();
            if let Some(rare) = &mut state.rare {
                rare.arriving.take_if(|(move_id, _)| *move_id == attempt);
                rare.other.take_if(|(move_id, _)| *move_id == attempt);
            }
            state.phase
        };
        match phase {
            Phase::Warm | Phase::Vacant => {
                drop_body(body);
                self.forget(shared);
            }
            Phase::Landed(landed) if landed == attempt => {
                drop_body(body);
                self.forget(shared);
            }
            Phase::Landed(_)
            | Phase::Serving
            | Phase::Frozen(_)
            | Phase::Retired
            | Phase::Ended => self.put_back(body),
        }
    }
}
