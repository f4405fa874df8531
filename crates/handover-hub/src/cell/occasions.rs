//! When handlers are called for what happens to a process on its node.

use std::sync::Arc;

use handover_hub_proto::hook::Hook;
use handover_hub_proto::identity::{Epoch, MoveId, NodeId};
use handover_hub_proto::node::{HostFailure, HostOrder, Origin};
use handover_hub_proto::row::Role;
use handover_hub_proto::spec::ChildSpec;

use super::{Cell, Phase};
use crate::handlers::Occasion;
use crate::hub::Shared;

/// A process that is to answer from now on.
pub(super) struct Starting {
    pub(super) spec: Arc<ChildSpec>,
    pub(super) epoch: Epoch,
    pub(super) origin: Origin,
    /// It serves already, as this.
    pub(super) serves: Option<Role>,
}

impl Starting {
    pub(super) async fn begins(&self, shared: &Shared, role: Role) {
        let handlers = &shared.handlers;
        match (self.origin, self.serves) {
            (Origin::Handed(_), _) => {}
            (Origin::Fresh | Origin::Replica, Some(before)) if before == role => {}
            (Origin::Fresh | Origin::Replica, Some(_)) => {
                let process = self.spec.id.clone();
                let occasion = || Occasion::Role { process, role };
                handlers.wait(Hook::BeforeRoles, occasion).await;
            }
            (Origin::Fresh | Origin::Replica, None) => {
                let occasion = || Occasion::Child(Arc::clone(&self.spec));
                handlers.wait(Hook::BeforeStart, occasion).await;
            }
        }
    }

    pub(super) fn ended(&self, shared: &Shared, failure: Option<&HostFailure>) {
        let (handlers, epoch) = (&shared.handlers, self.epoch);
        match self.origin {
            _ if self.serves.is_some() => {}
            Origin::Handed(attempt) if failure.is_none() => {
                handlers.tell(Hook::HandedOver, || Occasion::HandedOver {
                    process: self.spec.id.clone(),
                    attempt,
                    epoch,
                    merged: false,
                });
            }
            Origin::Handed(_) => {}
            Origin::Fresh | Origin::Replica => {
                handlers.tell(Hook::AfterStart, || Occasion::Start {
                    child: Arc::clone(&self.spec),
                    epoch,
                    failed: failure.map(ToString::to_string),
                });
            }
        }
    }
}

impl Cell {
    /// Something was ordered and is done next.
    pub(super) async fn before(&self, shared: &Shared, order: &HostOrder) {
        if let HostOrder::Role { process, role, .. } = order {
            let before = {
                let state = self.lock();
                (state.phase == Phase::Serving).then_some(state.role)
            };
            if before.is_some_and(|before| before != *role) {
                let (process, role) = (process.clone(), *role);
                let occasion = || Occasion::Role { process, role };
                shared.handlers.wait(Hook::BeforeRoles, occasion).await;
            }
        }
    }

    /// It left this node.
    pub(super) fn left(&self, shared: &Shared, attempt: MoveId, (to, epoch): (NodeId, Epoch)) {
        let process = self.id.clone();
        shared.handlers.tell(Hook::Moved, || Occasion::Moved {
            process,
            attempt,
            to,
            epoch,
        });
    }

    /// It took in the state of another copy.
    pub(super) fn merged(&self, shared: &Shared, attempt: MoveId, epoch: Epoch) {
        let process = self.id.clone();
        shared
            .handlers
            .tell(Hook::HandedOver, || Occasion::HandedOver {
                process,
                attempt,
                epoch,
                merged: true,
            });
    }
}
