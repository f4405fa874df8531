//! The drain ladder as a machine: announce, notify, grace, force; over early when nothing is open.
//!
//! Told the time and the count of connections, it answers with what to do; the crate's driver
//! carries it out. Nothing here knows sockets or clocks.

use std::collections::VecDeque;
use std::time::Duration;

use handover_proto::event::DrainReport;
use handover_proto::moment::{Machine, Moment};
use handover_proto::settings::Ladder;

/// How long the owners of cut connections get to drop them before the report is closed. They are
/// woken at once and need a turn of the scheduler each; what is still held afterwards is held by
/// code that does not look at its connection, and is reported as open.
pub const SETTLE: Duration = Duration::from_millis(500);

/// How much longer than the ladder says the shutdown waits for the first bytes of connections that
/// were accepted last. hyper closes one without an answer if it is told to shut down before it has
/// read anything of it, although the request may be there already.
pub const FIRST_BYTES: Duration = Duration::from_secs(1);

/// Connections since the instance started. Totals, so that no event can be missed between looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Ever accepted (or guarded).
    pub opened: u64,
    /// Of those, ended.
    pub closed: u64,
    /// Of the ended, those that ended because they were cut.
    pub cut: u64,
    /// Of the open, those of which nothing has been read yet.
    pub unread: u64,
}

impl Tally {
    /// Open now.
    #[must_use]
    pub const fn open(&self) -> u64 {
        self.opened.saturating_sub(self.closed)
    }

    /// What has happened since `base`.
    const fn since(&self, base: &Self) -> DrainReport {
        let cut = self.cut.saturating_sub(base.cut);
        DrainReport {
            finished: self.closed.saturating_sub(base.closed).saturating_sub(cut),
            cut,
            open: self.open(),
        }
    }
}

/// What can happen to a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Drain by the ladder; there is no way back.
    Retire(Ladder),
    /// Take no new work; may be resumed. What is there goes on: in exclusive mode the right to write
    /// is held back by other means, and a slow answer must not make the others wait.
    Pause,
    /// Take new work again.
    Resume,
    /// Skip what is left of the ladder and cut.
    Hurry,
    /// Time has passed or the count has changed.
    Look,
}

/// What a drain wants done, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Tell load balancers; keep accepting.
    Announce,
    /// Accept no more and ask clients to reconnect, for good.
    Stop,
    /// The same, able to go back.
    Pause,
    /// Accept again.
    Reopen,
    /// Let frameworks finish requests in flight and close idle connections.
    Shutdown,
    /// Cut what is left.
    Cut,
    /// No new work is taken; so much is still open.
    Paused(DrainReport),
    /// The drain is over; this is what it achieved.
    Over(DrainReport),
}

impl Effect {
    /// The effect's name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Announce => "announce",
            Self::Stop => "accept no more",
            Self::Pause => "pause",
            Self::Reopen => "reopen",
            Self::Shutdown => "shut down",
            Self::Cut => "cut",
            Self::Paused(_) => "paused",
            Self::Over(_) => "drained",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Serving,
    Paused,
    Announced {
        base: Tally,
        ladder: Ladder,
        until: Moment,
    },
    /// `Stop` was asked for; stopping may still bring connections that were queued, so the next
    /// look decides whether anything is open.
    Stopping {
        base: Tally,
        ladder: Ladder,
        until: Moment,
    },
    Notified {
        base: Tally,
        ladder: Ladder,
        until: Moment,
    },
    /// The time is over, but not everybody who was accepted has been heard.
    Listening {
        base: Tally,
        until: Moment,
        cut: Moment,
    },
    Grace {
        base: Tally,
        until: Moment,
    },
    Forced {
        base: Tally,
        until: Moment,
    },
    Over,
}

/// One instance's way out.
#[derive(Clone, Debug)]
pub struct Drain {
    state: State,
    effects: VecDeque<Effect>,
}

impl Default for Drain {
    fn default() -> Self {
        Self::new()
    }
}

impl Drain {
    /// An instance that serves.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            state: State::Serving,
            effects: VecDeque::new(),
        }
    }

    /// Whether the count of connections matters now, so that a driver need not look at each end
    /// of a connection in normal service.
    #[must_use]
    pub const fn counts(&self) -> bool {
        !matches!(
            self.state,
            State::Serving | State::Paused | State::Announced { .. } | State::Over
        )
    }

    /// Whether the count alone lets it go on now.
    #[must_use]
    pub const fn is_due(&self, tally: &Tally) -> bool {
        match self.state {
            State::Listening { .. } => tally.unread == 0,
            _ => self.counts() && tally.open() == 0,
        }
    }

    /// What the drain has achieved up to now, if one has begun that has no way back.
    #[must_use]
    pub const fn report(&self, tally: &Tally) -> Option<DrainReport> {
        match &self.state {
            State::Announced { base, .. }
            | State::Stopping { base, .. }
            | State::Notified { base, .. }
            | State::Listening { base, .. }
            | State::Grace { base, .. }
            | State::Forced { base, .. } => Some(tally.since(base)),
            State::Serving | State::Paused | State::Over => None,
        }
    }

    fn retire(&mut self, now: Moment, ladder: Ladder, base: Tally) {
        self.state = match self.state {
            State::Serving => {
                self.effects.push_back(Effect::Announce);
                State::Announced {
                    base,
                    ladder,
                    until: now + ladder.announce,
                }
            }
            // It has long stopped accepting: there is nothing to announce to load balancers.
            State::Paused => {
                self.effects.push_back(Effect::Announce);
                State::Announced {
                    base,
                    ladder,
                    until: now,
                }
            }
            // A second request neither lengthens nor shortens a drain that runs.
            State::Announced { .. }
            | State::Stopping { .. }
            | State::Notified { .. }
            | State::Listening { .. }
            | State::Grace { .. }
            | State::Forced { .. }
            | State::Over => self.state,
        };
    }

    fn pause(&mut self, tally: &Tally) {
        if self.state == State::Serving {
            self.effects.push_back(Effect::Pause);
            self.effects.push_back(Effect::Paused(tally.since(tally)));
            self.state = State::Paused;
        }
    }

    fn resume(&mut self) {
        if self.state == State::Paused {
            self.effects.push_back(Effect::Reopen);
            self.state = State::Serving;
        }
    }

    fn hurry(&mut self, now: Moment) {
        let none = Ladder {
            announce: Duration::ZERO,
            notify: Duration::ZERO,
            grace: Duration::ZERO,
        };
        self.state = match self.state {
            State::Announced { base, .. } => State::Announced {
                base,
                ladder: none,
                until: now,
            },
            State::Stopping { base, .. } => State::Stopping {
                base,
                ladder: none,
                until: now,
            },
            State::Notified { base, .. } => State::Notified {
                base,
                ladder: none,
                until: now,
            },
            State::Listening { base, .. } => State::Listening {
                base,
                until: now,
                cut: now,
            },
            State::Grace { base, .. } => State::Grace { base, until: now },
            State::Serving | State::Paused | State::Forced { .. } | State::Over => self.state,
        };
    }

    /// One step, if its time has come; `None` when there is nothing to do now.
    fn step(&mut self, now: Moment, tally: &Tally, looked: bool) -> Option<State> {
        let empty = tally.open() == 0;
        match self.state {
            State::Announced {
                base,
                ladder,
                until,
            } if now >= until => {
                self.effects.push_back(Effect::Stop);
                let until = until + ladder.notify;
                Some(State::Stopping {
                    base,
                    ladder,
                    until,
                })
            }
            State::Stopping {
                base,
                ladder,
                until,
            } if looked => Some(State::Notified {
                base,
                ladder,
                until,
            }),
            State::Notified {
                base,
                ladder,
                until,
            } if empty || now >= until => Some(State::Listening {
                base,
                until: until + FIRST_BYTES.min(ladder.grace),
                cut: until + ladder.grace,
            }),
            State::Listening { base, until, cut } if tally.unread == 0 || now >= until => {
                self.effects.push_back(Effect::Shutdown);
                Some(State::Grace { base, until: cut })
            }
            State::Grace { base, .. } if empty => Some(self.over(tally.since(&base))),
            State::Grace { base, until } if now >= until => {
                self.effects.push_back(Effect::Cut);
                let until = now + SETTLE;
                Some(State::Forced { base, until })
            }
            State::Forced { base, until } if empty || now >= until => {
                Some(self.over(tally.since(&base)))
            }
            State::Serving
            | State::Paused
            | State::Announced { .. }
            | State::Stopping { .. }
            | State::Notified { .. }
            | State::Listening { .. }
            | State::Grace { .. }
            | State::Forced { .. }
            | State::Over => None,
        }
    }

    fn over(&mut self, report: DrainReport) -> State {
        self.effects.push_back(Effect::Over(report));
        State::Over
    }
}

impl Machine for Drain {
    type Input = (Input, Tally);
    type Effect = Effect;

    fn handle(&mut self, now: Moment, (input, tally): (Input, Tally)) {
        // Only a look that begins in `Stopping` comes after the effect was carried out.
        let mut looked = input == Input::Look && matches!(self.state, State::Stopping { .. });
        match input {
            Input::Retire(ladder) => self.retire(now, ladder, tally),
            Input::Pause => self.pause(&tally),
            Input::Resume => self.resume(),
            Input::Hurry => self.hurry(now),
            Input::Look => {}
        }
        while let Some(next) = self.step(now, &tally, looked) {
            self.state = next;
            looked = false;
        }
    }

    fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    fn next_deadline(&self) -> Option<Moment> {
        match self.state {
            // At once: as soon as `Stop` is carried out.
            State::Stopping { .. } => Some(Moment::ZERO),
            State::Announced { until, .. }
            | State::Notified { until, .. }
            | State::Listening { until, .. }
            | State::Grace { until, .. }
            | State::Forced { until, .. } => Some(until),
            State::Serving | State::Paused | State::Over => None,
        }
    }
}
