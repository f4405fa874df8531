//! A new coordinator finds out who serves.

use alloc::vec::Vec;

use super::core::Core;
use super::{Input, Member, State, stopping};
use crate::event::EventKind;
use crate::instance::RECLAIM_WITHIN;
use crate::journal::{Recorded, Recovery, Stance};
use crate::message::FromInstance;
use crate::moment::Moment;
use crate::outcome::{Cause, Exit, Refusal};
use crate::phase::Phase;
use crate::settings::Stop;

/// Exclusive: the lease decides, and the one that has it says so.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Recovering {
    pub(super) candidates: Vec<Member>,
    pub(super) deadline: Moment,
}

/// Puts a recovery into effect.
pub(super) fn settle(core: &mut Core, now: Moment, found: Recovery) -> State {
    let members = |recorded: Vec<Recorded>| recorded.into_iter().map(Member::found);
    for member in members(found.retire) {
        core.leaving.dismiss(member, Stop::Drain);
    }
    for member in members(found.kill) {
        core.leaving.dismiss(member, Stop::Now);
    }
    match found.stance {
        Stance::Serve(recorded) => {
            let incumbent = Member::found(recorded);
            core.adopted(incumbent);
            core.record(now, Phase::Serving, None, Some(incumbent), None, None);
            core.serve(now, incumbent)
        }
        Stance::Await(recorded) => {
            // An incumbent may take this long to take back, an activation as long as it may.
            let deadline = now + RECLAIM_WITHIN + core.settings.activate;
            let candidates: Vec<Member> = members(recorded).collect();
            let (first, second) = (candidates.first().copied(), candidates.get(1).copied());
            core.record(now, Phase::Activate, None, first, second, None);
            State::Recovering(Recovering {
                candidates,
                deadline,
            })
        }
        Stance::Replace(recorded) => {
            let incumbent = Member::found(recorded);
            core.unproven = Some(incumbent.instance);
            let candidate = core.current;
            core.begin(now, candidate, None, Some(incumbent))
        }
        Stance::Start => {
            let candidate = core.current;
            core.begin(now, candidate, None, None)
        }
    }
}

impl Recovering {
    pub(super) fn handle(mut self, core: &mut Core, now: Moment, input: Input) -> State {
        match input {
            Input::Said {
                instance,
                message: FromInstance::Hello { lease: Some(_), .. },
            } if self.knows(instance) => self.owner_found(core, now, instance),
            Input::Exited { instance, exit } if self.knows(instance) => {
                core.crashed(instance, exit);
                self.candidates.retain(|member| member.instance != instance);
                if self.candidates.is_empty() {
                    return core.lost(now, Cause::Crashed { exit }, None);
                }
                State::Recovering(self)
            }
            Input::Tick if now >= self.deadline => self.nobody_came(core, now),
            Input::Upgrade {
                request,
                candidate,
                when_busy,
            } => {
                core.busy(Phase::Resume, request, candidate, when_busy);
                State::Recovering(self)
            }
            Input::Stop { how } => stopping::begin(core, now, how, self.candidates),
            Input::Undo { request } => {
                core.refuse(request, Refusal::NothingToUndo);
                State::Recovering(self)
            }
            Input::RecordFailed { reason } => {
                core.unrecorded(&reason);
                State::Recovering(self)
            }
            Input::Tick
            | Input::Cancel
            | Input::Spawned { .. }
            | Input::SpawnFailed { .. }
            | Input::Said { .. }
            | Input::Closed { .. }
            | Input::BecameReady { .. }
            | Input::Extend { .. }
            | Input::Exited { .. } => State::Recovering(self),
        }
    }

    /// Whoever holds the lease hangs. The youngest has served least, so it goes first; one that
    /// stands by takes the lease as soon as it is gone.
    fn nobody_came(mut self, core: &mut Core, now: Moment) -> State {
        self.candidates.sort_by_key(|member| member.instance);
        let youngest = self.candidates.pop();
        if let Some(member) = youngest {
            core.leaving.dismiss(member, Stop::Now);
        }
        let Some(&next) = self.candidates.first() else {
            let exit = Exit::Unknown;
            return core.lost(now, Cause::Crashed { exit }, None);
        };
        core.record(now, Phase::Resume, None, Some(next), None, None);
        State::Recovering(Self {
            deadline: now + RECLAIM_WITHIN + core.settings.resume,
            ..self
        })
    }

    fn knows(&self, instance: crate::identity::InstanceId) -> bool {
        self.candidates
            .iter()
            .any(|member| member.instance == instance)
    }

    fn owner_found(
        self,
        core: &mut Core,
        now: Moment,
        instance: crate::identity::InstanceId,
    ) -> State {
        let (owner, others): (Vec<Member>, Vec<Member>) = self
            .candidates
            .into_iter()
            .partition(|member| member.instance == instance);
        let Some(&owner) = owner.first() else {
            return State::Recovering(Self {
                candidates: others,
                ..self
            });
        };
        for other in others {
            core.leaving.dismiss(other, Stop::Fast);
        }
        core.reconnected(owner);
        core.adopted(owner);
        core.record(now, Phase::Serving, None, Some(owner), None, None);
        core.serve(now, owner)
    }
}

impl Core {
    fn adopted(&mut self, member: Member) {
        if member.candidate != self.current {
            self.previous = Some(self.current);
            self.current = member.candidate;
        }
        if self.generation.0 == 0 {
            self.generation = self.generation.next();
        }
        if let Some(pid) = member.pid {
            self.report(EventKind::InstanceAdopted {
                instance: member.instance,
                pid,
            });
        }
    }
}
