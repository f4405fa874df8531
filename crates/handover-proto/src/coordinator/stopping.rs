//! The service is being stopped: everybody leaves, then so does the coordinator.

use super::core::Core;
use super::{Attempt, Effect, Input, Member, State};
use crate::event::EventKind;
use crate::moment::Moment;
use crate::outcome::{Cause, Outcome, Refusal};
use crate::phase::Phase;
use crate::settings::Stop;

/// Tells every member, and everyone already leaving, to go.
pub(super) fn begin(
    core: &mut Core,
    now: Moment,
    how: Stop,
    members: impl IntoIterator<Item = Member>,
) -> State {
    for member in members {
        core.leaving.dismiss(member, how);
    }
    core.leaving.press(how);
    core.drop_queue();
    core.report(EventKind::Stopping { how });
    core.record(now, Phase::Stop, None, None, None, None);
    if core.leaving.is_empty() {
        stopped(core)
    } else {
        State::Stopping
    }
}

/// The same, while an attempt runs.
pub(super) fn interrupt(
    core: &mut Core,
    now: Moment,
    how: Stop,
    attempt: &Attempt,
    members: impl IntoIterator<Item = Member>,
) -> State {
    core.finish(
        now,
        attempt,
        Outcome::RolledBack {
            cause: Cause::Stopping,
        },
    );
    begin(core, now, how, members)
}

pub(super) fn stopping(core: &mut Core, now: Moment, input: Input) -> State {
    match input {
        Input::Stop { how } => {
            core.report(EventKind::Stopping { how });
            core.leaving.press(how);
            core.record(now, Phase::Stop, None, None, None, None);
        }
        Input::Upgrade { request, .. } => core.refuse(request, Refusal::Stopping),
        Input::RecordFailed { reason } => core.unrecorded(&reason),
        Input::Cancel
        | Input::Spawned { .. }
        | Input::SpawnFailed { .. }
        | Input::Said { .. }
        | Input::Closed { .. }
        | Input::BecameReady { .. }
        | Input::Extend { .. }
        | Input::Exited { .. }
        | Input::Tick => {}
    }
    State::Stopping
}

/// Everybody is gone.
pub(super) fn stopped(core: &mut Core) -> State {
    core.report(EventKind::Stopped);
    core.push(Effect::Exit { code: 0 });
    State::Stopped
}

impl Core {
    fn drop_queue(&mut self) {
        if let Some(queued) = self.queued.take() {
            self.refuse(queued.request(), Refusal::Stopping);
        }
    }
}
