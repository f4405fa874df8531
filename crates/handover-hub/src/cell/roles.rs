//! A replica changes what it is for.

use std::sync::Arc;

use handover_hub_proto::event::Event;
use handover_hub_proto::hook::Hook;
use handover_hub_proto::identity::Epoch;
use handover_hub_proto::mailbox::{Mailbox, Sealed};
use handover_hub_proto::node::{HostFailure, HostReport};
use handover_hub_proto::row::Role;
use tokio::time::Instant;

use super::{Cell, Phase};
use crate::hub::Shared;
use crate::kind::{Body, Fault};
use crate::transport::frame::Refusal;

impl Cell {
    /// Its home says what it is for.
    pub(super) fn change_role(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        (epoch, role): (Epoch, Role),
        body: Option<Box<dyn Body>>,
    ) {
        let (before, kept) = {
            let mut state = self.lock();
            state.epoch = state.epoch.max(epoch);
            let before = std::mem::replace(&mut state.role, role);
            let kept = (before == Role::Passive && role == Role::Active)
                .then(|| state.rare.as_mut()?.kept.take())
                .flatten();
            (before, kept)
        };
        let mut body = body;
        if let (Some(kept), Some(present)) = (kept, body.take()) {
            body = match self.take_up(shared, present, kept) {
                Ok(body) => Some(body),
                Err(fault) => {
                    tracing::warn!(process = %self.id, %fault, "the state of a replica was not taken");
                    None
                }
            };
        }
        if let Some(present) = &mut body
            && before != role
            && let Err(fault) = present.role(role)
        {
            self.role_failed(shared, &fault);
        }
        let lost = body.is_none();
        self.put_back(body);
        if lost {
            self.end(shared, Some("its replica's state was not taken".to_owned()));
        }
    }

    /// It has the role all the same.
    pub(super) fn role_failed(&self, shared: &Shared, fault: &Fault) {
        tracing::warn!(process = %self.id, %fault, "the hook role failed");
        // Nobody has to listen.
        let _ = shared.events.send(Event::HookFailed {
            hook: Hook::BeforeRoles,
            handler: Some(format!("role of {}", self.id)),
            reason: fault.to_string(),
        });
    }

    /// This passive replica becomes the active one, from what it was last sent. If it was sent
    /// nothing since it was the active one itself, from what it is.
    pub(super) fn promoted(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        body: Option<Box<dyn Body>>,
    ) -> Result<Option<Box<dyn Body>>, HostFailure> {
        match (body, self.drop_kept()) {
            (Some(body), Some(kept)) => Ok(Some(self.take_up(shared, body, kept)?)),
            (body, _) => Ok(body),
        }
    }

    /// This active replica becomes a passive one. What it answered is with the other ones before
    /// its home hears of it; what waits here is for the next active one.
    pub(super) async fn step_down(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        epoch: Epoch,
        body: Option<Box<dyn Body>>,
    ) {
        let active = self.lock().role == Role::Active;
        let mut body = if active {
            self.synchronise(shared, body).await
        } else {
            // Its home lists it anew: it is sent all there is.
            drop(self.drop_kept());
            body
        };
        let (serves, waited) = {
            let mut state = self.lock();
            state.epoch = state.epoch.max(epoch);
            state.role = Role::Passive;
            let mut waited = Vec::new();
            if active && state.phase == Phase::Serving {
                // What it answered and what it is to be reminded of stay here until the next active
                // one has sent them: it may be the active one again before that.
                let mut mailbox = Mailbox::restoring();
                mailbox.restore(Sealed {
                    queue: Vec::new(),
                    replies: state.mailbox.remembered(),
                });
                let _ = mailbox.activate(false, &shared.limits);
                let letters = std::mem::replace(&mut state.mailbox, mailbox).close();
                let (own, others): (Vec<_>, Vec<_>) =
                    letters.into_iter().partition(|letter| letter.own);
                waited = others;
                let now = Instant::now();
                let rare = state.rare();
                rare.replicas = None;
                for letter in own {
                    rare.later.push((shared.timers.number(), now, letter.body));
                }
            }
            (state.phase == Phase::Serving, waited)
        };
        if let Some(present) = body.as_mut().filter(|_| active)
            && let Err(fault) = present.role(Role::Passive)
        {
            self.role_failed(shared, &fault);
        }
        self.put_back(body);
        for letter in waited {
            match letter.ticket {
                Some(ticket) => shared.refuse(ticket.call, Refusal::NotHere),
                None => shared.cast_on(self.id.clone(), letter.body),
            }
        }
        let result = if serves {
            Ok(())
        } else {
            Err(HostFailure::NotHere)
        };
        shared.report(HostReport::Activated {
            process: self.id.clone(),
            epoch,
            result,
        });
    }
}
