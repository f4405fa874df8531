//! Instances on their way out: asked, then killed, then gone. Any number at a time.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::core::Core;
use super::{Effect, Input, Link, Member, Signal};
use crate::event::EventKind;
use crate::message::{FromInstance, ToInstance};
use crate::moment::Moment;
use crate::phase::Mode;
use crate::settings::{Settings, Stop};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stage {
    /// To be told as firmly as `how` says, right after the record that names it (I7).
    Named { how: Stop },
    /// Told to go; killed at `deadline`. `said` on its channel, so that it may be lost with it.
    Asked { deadline: Moment, said: bool },
    /// SIGKILL is on its way; the kernel does the rest.
    Killed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Leaver {
    member: Member,
    stage: Stage,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Leaving(Vec<Leaver>);

impl Leaving {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn members(&self) -> impl Iterator<Item = Member> {
        self.0.iter().map(|leaver| leaver.member)
    }

    pub(super) fn owns(&self, input: &Input) -> bool {
        input
            .instance()
            .is_some_and(|instance| self.position(instance).is_some())
    }

    fn position(&self, instance: crate::identity::InstanceId) -> Option<usize> {
        self.0
            .iter()
            .position(|leaver| leaver.member.instance == instance)
    }

    /// Lists a member that must go. It is told by the next record, which names it.
    pub(super) fn dismiss(&mut self, member: Member, how: Stop) {
        if self.position(member.instance).is_none() {
            self.0.push(Leaver {
                member,
                stage: Stage::Named { how },
            });
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Moment> {
        self.0
            .iter()
            .filter_map(|leaver| match leaver.stage {
                Stage::Asked { deadline, .. } => Some(deadline),
                Stage::Named { .. } | Stage::Killed => None,
            })
            .min()
    }

    /// Everyone that was not told to go as firmly as `how` is to be told so.
    pub(super) fn press(&mut self, how: Stop) {
        for leaver in &mut self.0 {
            leaver.stage = match leaver.stage {
                Stage::Killed => Stage::Killed,
                Stage::Asked { deadline, said } if how == Stop::Drain => {
                    Stage::Asked { deadline, said }
                }
                Stage::Asked { .. } => Stage::Named { how },
                Stage::Named { how: older } => Stage::Named {
                    how: how.max(older),
                },
            };
        }
    }

    /// Tells everyone that is named and was not told yet.
    pub(super) fn tell(
        &mut self,
        now: Moment,
        settings: &Settings,
        effects: &mut VecDeque<Effect>,
    ) {
        for leaver in &mut self.0 {
            if let Stage::Named { how } = leaver.stage {
                leaver.tell(now, how, settings, effects);
            }
        }
    }
}

impl Leaver {
    /// Nothing that was said to it is under way any more: it was heard, or is lost. True if
    /// something was.
    fn heard(&mut self) -> bool {
        match &mut self.stage {
            Stage::Asked { said, .. } => core::mem::take(said),
            Stage::Named { .. } | Stage::Killed => false,
        }
    }

    fn tell(
        &mut self,
        now: Moment,
        how: Stop,
        settings: &Settings,
        effects: &mut VecDeque<Effect>,
    ) {
        let to = self.member.instance;
        let ladder = settings.ladder;
        self.stage = match how {
            Stop::Drain => {
                effects.push_back(match self.member.link {
                    Link::Open => Effect::Send {
                        to,
                        message: ToInstance::Retire { ladder },
                    },
                    Link::Silent | Link::Broken => Effect::Signal {
                        to,
                        signal: Signal::Term,
                    },
                });
                effects.push_back(Effect::Report(EventKind::InstanceRetiring { instance: to }));
                Stage::Asked {
                    deadline: now + ladder.total() + settings.kill_after,
                    said: self.member.link == Link::Open,
                }
            }
            Stop::Fast => {
                effects.push_back(Effect::Signal {
                    to,
                    signal: Signal::Term,
                });
                Stage::Asked {
                    deadline: now + settings.kill_after,
                    said: false,
                }
            }
            Stop::Now => {
                effects.push_back(Effect::Signal {
                    to,
                    signal: Signal::Kill,
                });
                Stage::Killed
            }
        };
    }
}

impl Core {
    /// What a leaver did.
    pub(super) fn leaver(&mut self, input: &Input) {
        let Some(at) = input
            .instance()
            .and_then(|instance| self.leaving.position(instance))
        else {
            return;
        };
        let member = self.leaving.0[at].member;
        let instance = member.instance;
        match input {
            Input::Exited { exit, .. } => {
                self.leaving.0.remove(at);
                self.report(EventKind::InstanceExited {
                    instance,
                    exit: *exit,
                    expected: true,
                    last_words: Vec::new(),
                });
            }
            Input::Said { message, .. } => match message {
                // It was told before its channel broke, or by signal; tell it again.
                FromInstance::Hello { .. } => {
                    self.welcome(member, true, false);
                    let ladder = self.settings.ladder;
                    self.send(member, ToInstance::Retire { ladder });
                }
                FromInstance::Retired { report } => {
                    self.leaving.0[at].heard();
                    self.report(EventKind::InstanceDrained {
                        instance,
                        report: *report,
                    });
                }
                FromInstance::Status { text } => {
                    self.report(EventKind::InstanceStatus {
                        instance,
                        text: text.clone(),
                    });
                }
                FromInstance::Warmed
                | FromInstance::Ready { .. }
                | FromInstance::Drained { .. }
                | FromInstance::SealProgress { .. }
                | FromInstance::Sealed { .. }
                | FromInstance::SealFailed { .. }
                | FromInstance::Resumed { .. }
                | FromInstance::Failed { .. }
                | FromInstance::Extend { .. }
                | FromInstance::Connections { .. } => {}
            },
            // What it was told may be lost. One that serves comes back and is told again; one that
            // is sealed would stand by until its time is over.
            Input::Closed { .. }
                if self.settings.mode == Mode::Exclusive && self.leaving.0[at].heard() =>
            {
                self.signal(member, Signal::Term);
            }
            Input::Spawned { .. }
            | Input::SpawnFailed { .. }
            | Input::Closed { .. }
            | Input::BecameReady { .. }
            | Input::Extend { .. }
            | Input::Upgrade { .. }
            | Input::Cancel
            | Input::Undo { .. }
            | Input::Stop { .. }
            | Input::RecordFailed { .. }
            | Input::Tick => {}
        }
    }

    /// Kills the leavers whose time is over.
    pub(super) fn leavers_tick(&mut self, now: Moment) {
        for leaver in &mut self.leaving.0 {
            let Stage::Asked { deadline, .. } = leaver.stage else {
                continue;
            };
            if now >= deadline {
                let instance = leaver.member.instance;
                let signal = Signal::Kill;
                self.effects.push_back(Effect::Signal {
                    to: instance,
                    signal,
                });
                self.effects
                    .push_back(Effect::Report(EventKind::InstanceKilled { instance }));
                leaver.stage = Stage::Killed;
            }
        }
    }
}
