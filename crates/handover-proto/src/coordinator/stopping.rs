//! The service is being stopped: everybody leaves, then so does the coordinator.

use super::core::Core;
use super::{Attempt, Effect, Input, Member, State};
use crate::event::EventKind;
use crate::moment::Moment;
use crate::outcome::{Cause, Outcome, Refusal};
use crate::phase::Phase;
use crate::settings::Stop;

/// Exit code of a coordinator that was told to stop.
const STOPPED: u8 = 0;
/// Exit code of a coordinator that gave up: nobody serves. See [`Outcome::exit_code`].
const NOBODY_SERVES: u8 = 13;

/// Nobody serves and no start is due: whoever is left goes, and then so does the coordinator.
pub(super) fn give_up(core: &mut Core, now: Moment) -> State {
    core.leaving.press(Stop::Fast);
    core.record(now, Phase::Stop, None, None, None, None);
    settled(core, NOBODY_SERVES)
}

fn settled(core: &mut Core, code: u8) -> State {
    if core.leaving.is_empty() {
        stopped(core, code)
    } else {
        State::Stopping { code }
    }
}

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
    settled(core, STOPPED)
}

/// The same, while an attempt runs; with no `incumbent` it was the first start.
pub(super) fn interrupt(
    core: &mut Core,
    now: Moment,
    how: Stop,
    attempt: &Attempt,
    incumbent: Option<Member>,
    others: impl IntoIterator<Item = Member>,
) -> State {
    let cause = Cause::Stopping;
    let outcome = match incumbent {
        Some(_) => Outcome::RolledBack { cause },
        None => Outcome::NobodyServes { cause },
    };
    core.finish(now, attempt, outcome);
    begin(core, now, how, incumbent.into_iter().chain(others))
}

pub(super) fn stopping(core: &mut Core, now: Moment, code: u8, input: Input) -> State {
    match input {
        Input::Stop { how } => {
            core.report(EventKind::Stopping { how });
            core.leaving.press(how);
            core.record(now, Phase::Stop, None, None, None, None);
        }
        Input::Upgrade { request, .. } | Input::Undo { request } => {
            core.refuse(request, Refusal::Stopping);
        }
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
    State::Stopping { code }
}

/// Everybody is gone.
pub(super) fn stopped(core: &mut Core, code: u8) -> State {
    core.report(EventKind::Stopped);
    core.push(Effect::Exit { code });
    State::Stopped
}

impl Core {
    fn drop_queue(&mut self) {
        if let Some(queued) = self.queued.take() {
            self.refuse(queued.request(), Refusal::Stopping);
        }
    }
}
