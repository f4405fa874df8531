//! How a process begins, crashes, and ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use handover_hub_proto::identity::{Epoch, MoveId, NodeId};
use handover_hub_proto::intensity::{End, Sequel};
use handover_hub_proto::mailbox::Mailbox;
use handover_hub_proto::node::{HostFailure, HostReport, Origin};
use handover_hub_proto::redundancy::Redundancy;
use handover_hub_proto::row::Role;
use handover_hub_proto::spec::ChildSpec;

use super::occasions::Starting;
use super::run::drop_body;
use super::{Cell, Phase};
use crate::hub::Shared;
use crate::kind::{Body, Fault};
use crate::transport::frame::Refusal;

impl From<Fault> for HostFailure {
    fn from(fault: Fault) -> Self {
        Self::Refused(fault.to_string())
    }
}

impl Cell {
    /// Constructs it from its argument.
    async fn construct(
        &self,
        shared: &Arc<Shared>,
        spec: &ChildSpec,
    ) -> Result<Box<dyn Body>, HostFailure> {
        let kind = shared
            .kinds
            .get(&spec.kind)
            .ok_or(HostFailure::UnknownKind)?;
        let context = self.context(shared);
        Ok(kind.start(&spec.argument, &context).await?)
    }

    async fn constructed(
        &self,
        shared: &Arc<Shared>,
        body: Option<Box<dyn Body>>,
    ) -> Result<Box<dyn Body>, HostFailure> {
        let spec = Arc::clone(&self.lock().spec);
        match body {
            Some(body) => Ok(body),
            None => self.construct(shared, &spec).await,
        }
    }

    pub(super) async fn warm(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        spec: &ChildSpec,
        (epoch, attempt): (Epoch, Option<MoveId>),
        body: Option<Box<dyn Body>>,
    ) {
        let phase = self.lock().phase;
        let result = match phase {
            // Asked twice, or it serves and is to merge: it is ready for a state.
            Phase::Warm | Phase::Landed(_) | Phase::Serving | Phase::Frozen(_) => {
                self.put_back(body);
                Ok(())
            }
            Phase::Vacant | Phase::Retired | Phase::Ended => {
                self.warm_up(shared, spec, attempt.is_some()).await
            }
        };
        if result.is_err() {
            self.forget(shared);
        }
        shared.report(HostReport::Warmed {
            process: self.id.clone(),
            epoch,
            result,
        });
    }

    async fn warm_up(
        &self,
        shared: &Arc<Shared>,
        spec: &ChildSpec,
        moves: bool,
    ) -> Result<(), HostFailure> {
        let mut body = self.construct(shared, spec).await?;
        if moves {
            body.warm(&self.context(shared)).await?;
        }
        let mut state = self.lock();
        state.phase = Phase::Warm;
        state.body = Some(body);
        Ok(())
    }

    pub(super) async fn activate(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        (epoch, role): (Epoch, Role),
        (origin, latecomers): (Origin, Option<NodeId>),
        body: Option<Box<dyn Body>>,
    ) {
        let (phase, before, spec) = {
            let mut state = self.lock();
            let before = std::mem::replace(&mut state.role, role);
            state.epoch = state.epoch.max(epoch);
            (state.phase, before, Arc::clone(&state.spec))
        };
        let starting = Starting {
            spec,
            epoch,
            origin,
            serves: (phase == Phase::Serving).then_some(before),
        };
        starting.begins(shared, role).await;
        let result = match (phase, origin) {
            (Phase::Serving, Origin::Replica) => self.promoted(shared, body),
            (Phase::Serving, Origin::Fresh) if before == Role::Passive && role == Role::Active => {
                // What it was sent is not all that was answered.
                drop(self.drop_kept());
                self.begin(shared, body).await.map(Some)
            }
            (Phase::Serving, _) => Ok(body),
            (Phase::Landed(arrived), Origin::Handed(attempt)) if arrived == attempt => {
                self.take_over(shared, body).await.map(Some)
            }
            (_, Origin::Handed(_)) => {
                drop_body(body);
                Err(HostFailure::NotHere)
            }
            (_, Origin::Fresh) => self.begin(shared, body).await.map(Some),
            (_, Origin::Replica) => self.begin_as_replica(shared, body).await.map(Some),
        };
        let begins = phase != Phase::Serving && origin == Origin::Fresh;
        let result = result.and_then(|body| self.tell_role(shared, (role, begins), body));
        starting.ended(shared, result.as_ref().err());
        let result = match result {
            Ok(body) => {
                let mut state = self.lock();
                state.phase = Phase::Serving;
                state.body = body;
                let released = state.mailbox.activate(latecomers.is_some(), &shared.limits);
                self.release(shared, state, released);
                self.remind_again(shared);
                self.open_soon(shared, latecomers);
                Ok(())
            }
            Err(failure) => {
                self.forget(shared);
                Err(failure)
            }
        };
        shared.report(HostReport::Activated {
            process: self.id.clone(),
            epoch,
            result,
        });
    }

    /// It begins from its checkpoint, if there is one, else from its argument.
    async fn begin(
        &self,
        shared: &Arc<Shared>,
        body: Option<Box<dyn Body>>,
    ) -> Result<Box<dyn Body>, HostFailure> {
        let body = self.constructed(shared, body).await?;
        match self.load_checkpoint(shared).await? {
            Some(handed) => Ok(body.alter(handed)?),
            None => Ok(body),
        }
    }

    /// It begins from what it was last sent as a passive replica.
    async fn begin_as_replica(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        body: Option<Box<dyn Body>>,
    ) -> Result<Box<dyn Body>, HostFailure> {
        let Some(kept) = self.drop_kept() else {
            return self.begin(shared, body).await;
        };
        let body = self.constructed(shared, body).await?;
        Ok(self.take_up(shared, body, kept)?)
    }

    /// It continues from what its predecessor handed, which it has already.
    async fn take_over(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        body: Option<Box<dyn Body>>,
    ) -> Result<Box<dyn Body>, HostFailure> {
        let mut body = body.ok_or(HostFailure::NotHere)?;
        body.resume(&self.context(shared)).await?;
        Ok(body)
    }

    /// One that panics at its start does not start. One that has a state keeps it.
    fn tell_role(
        &self,
        shared: &Shared,
        (role, begins): (Role, bool),
        body: Option<Box<dyn Body>>,
    ) -> Result<Option<Box<dyn Body>>, HostFailure> {
        let Some(mut body) = body else {
            return Err(HostFailure::NotHere);
        };
        if shared.redundancy != Redundancy::Single
            && let Err(fault) = body.role(role)
        {
            if begins {
                return Err(fault.into());
            }
            self.role_failed(shared, &fault);
        }
        Ok(Some(body))
    }

    /// It crashed, and its state with it.
    pub(super) async fn crashed(self: &Arc<Self>, shared: &Arc<Shared>, reason: String) {
        let sequel = self.lock().sequel(shared, End::Crash);
        match sequel {
            Sequel::Again => self.restart(shared, reason).await,
            Sequel::Over | Sequel::TooOften => self.end(shared, Some(reason)),
        }
    }

    /// It said that it is done.
    pub(super) async fn finished(self: &Arc<Self>, shared: &Arc<Shared>) {
        let (body, sequel) = {
            let mut state = self.lock();
            (state.body.take(), state.sequel(shared, End::Done))
        };
        self.say_stop(shared, body).await;
        match sequel {
            Sequel::Again => self.restart(shared, "it was done".to_owned()).await,
            Sequel::Over => {
                self.drop_checkpoint(shared).await;
                self.end(shared, None);
            }
            Sequel::TooOften => self.end(shared, Some("it was done too often".to_owned())),
        }
    }

    async fn restart(self: &Arc<Self>, shared: &Arc<Shared>, reason: String) {
        if let Some(rare) = &mut self.lock().rare {
            rare.later.clear();
        }
        match self.begin(shared, None).await {
            Ok(body) => {
                let mut state = self.lock();
                state.body = Some(body);
                let epoch = state.epoch;
                drop(state);
                shared.report(HostReport::Restarted {
                    process: self.id.clone(),
                    epoch,
                    reason,
                });
            }
            Err(failure) => self.end(shared, Some(format!("{reason}; then {failure}"))),
        }
    }

    /// It is stopped for good.
    pub(super) async fn stop(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        epoch: Epoch,
        body: Option<Box<dyn Body>>,
    ) {
        let (serves, active) = {
            let state = self.lock();
            (state.phase == Phase::Serving, state.role == Role::Active)
        };
        if serves && active && shared.departs.load(Ordering::Acquire) {
            // Its node goes, and nobody took it: it is not over.
            let body = self.checkpoint(shared, body).await;
            self.say_stop(shared, body).await;
        } else if serves {
            self.say_stop(shared, body).await;
            self.drop_checkpoint(shared).await;
        } else {
            drop_body(body);
        }
        self.lock().epoch = epoch;
        self.end(shared, None);
    }

    async fn say_stop(&self, shared: &Arc<Shared>, body: Option<Box<dyn Body>>) {
        if let Some(body) = body
            && let Err(fault) = body.stop(&self.context(shared)).await
        {
            tracing::warn!(process = %self.id, %fault, "the hook stop failed");
        }
    }

    /// It ends, and is reported.
    pub(super) fn end(self: &Arc<Self>, shared: &Arc<Shared>, crash: Option<String>) {
        self.forget(shared);
        let epoch = self.lock().epoch;
        shared.report(HostReport::Ended {
            process: self.id.clone(),
            epoch,
            crash,
        });
    }

    /// Nothing of it is left here. Whoever waits for it looks elsewhere.
    pub(super) fn forget(self: &Arc<Self>, shared: &Arc<Shared>) {
        let (letters, body, next) = {
            let mut state = self.lock();
            if state.phase == Phase::Retired {
                // It says where to for a while.
                return;
            }
            state.phase = Phase::Ended;
            state.rare = None;
            let mailbox = std::mem::replace(&mut state.mailbox, Mailbox::restoring());
            let next = state.successor();
            shared.cells.leave(self, next.as_ref());
            (mailbox.close(), state.body.take(), next)
        };
        drop_body(body);
        if let Some(next) = next {
            next.begin_work(shared);
        }
        for ticket in letters.into_iter().filter_map(|letter| letter.ticket) {
            shared.refuse(ticket.call, Refusal::NotHere);
        }
    }
}

impl super::State {
    /// What follows when it ended by itself; a restart is counted.
    fn sequel(&mut self, shared: &Shared, end: End) -> Sequel {
        let restart = self.spec.restart;
        let restarts = &mut self.rare().restarts;
        restarts.ended(shared.now(), end, restart, shared.intensity)
    }
}
