//! The drain ladder without sockets and clocks: a small world that is told the time.

use std::time::Duration;

use handover::drain::{Drain, Effect, FIRST_BYTES, Input, SETTLE, Tally};
use handover::{DrainReport, Ladder};
use handover_proto::moment::{Machine, Moment};

const LADDER: Ladder = Ladder {
    announce: Duration::from_secs(1),
    notify: Duration::from_secs(2),
    grace: Duration::from_secs(4),
};

/// A drain, the time, and the connections of its instance.
struct World {
    drain: Drain,
    now: Moment,
    tally: Tally,
}

impl World {
    /// Some connections are open, some have come and gone long ago.
    fn with_open(open: u64) -> Self {
        Self {
            drain: Drain::new(),
            now: Moment::from_nanos(7),
            tally: Tally {
                opened: open + 5,
                closed: 5,
                cut: 0,
                unread: 0,
            },
        }
    }

    fn tell(&mut self, input: Input) -> Vec<Effect> {
        self.drain.handle(self.now, (input, self.tally));
        let mut effects = Vec::new();
        loop {
            effects.extend(std::iter::from_fn(|| self.drain.poll_effect()));
            if self.drain.next_deadline().is_none_or(|at| at > self.now) {
                return effects;
            }
            self.drain.handle(self.now, (Input::Look, self.tally));
        }
    }

    fn after(&mut self, time: Duration) -> Vec<Effect> {
        self.now = self.now + time;
        self.tell(Input::Look)
    }

    fn close(&mut self, connections: u64) -> Vec<Effect> {
        self.tally.closed += connections;
        self.tell(Input::Look)
    }

    fn read(&mut self, connections: u64) -> Vec<Effect> {
        self.tally.unread -= connections;
        assert!(self.tally.unread > 0 || self.drain.is_due(&self.tally));
        self.tell(Input::Look)
    }

    fn cut(&mut self, connections: u64) -> Vec<Effect> {
        self.tally.cut += connections;
        self.close(connections)
    }
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn report(finished: u64, cut: u64, open: u64) -> DrainReport {
    DrainReport {
        finished,
        cut,
        open,
    }
}

#[test]
fn the_ladder_is_climbed_step_by_step_and_ends_with_a_report() {
    let mut world = World::with_open(4);
    assert_eq!(world.tell(Input::Retire(LADDER)), [Effect::Announce]);
    assert_eq!(world.after(secs(1) - Duration::from_nanos(1)), []);
    assert_eq!(world.after(Duration::from_nanos(1)), [Effect::Stop]);
    assert_eq!(world.close(1), []);
    assert_eq!(world.after(secs(2)), [Effect::Shutdown]);
    assert_eq!(world.close(1), []);
    assert_eq!(world.after(secs(4)), [Effect::Cut]);
    assert_eq!(world.cut(1), []);
    assert_eq!(world.after(SETTLE), [Effect::Over(report(2, 1, 1))]);
    assert_eq!(world.drain.next_deadline(), None);
    assert_eq!(world.after(secs(100)), []);
}

#[test]
fn it_is_over_early_when_nothing_is_open() {
    let mut world = World::with_open(0);
    world.tell(Input::Retire(LADDER));
    // Load balancers were promised the whole announcement.
    let over = [
        Effect::Stop,
        Effect::Shutdown,
        Effect::Over(report(0, 0, 0)),
    ];
    assert_eq!(world.after(secs(1)), over);

    for passed in [secs(1), secs(2), secs(5)] {
        let mut world = World::with_open(2);
        world.tell(Input::Retire(LADDER));
        world.after(passed);
        assert_eq!(world.close(1), []);
        let effects = world.close(1);
        assert_eq!(
            effects.last(),
            Some(&Effect::Over(report(2, 0, 0))),
            "{passed:?}"
        );
    }
}

#[test]
fn connections_accepted_during_the_announcement_are_counted() {
    let mut world = World::with_open(1);
    world.tell(Input::Retire(LADDER));
    world.tally.opened += 2;
    world.tell(Input::Look);
    world.after(secs(1));
    assert_eq!(
        world.close(3),
        [Effect::Shutdown, Effect::Over(report(3, 0, 0))]
    );
}

/// A listener of our own may hold connections that only `Stop` brings to light.
#[test]
fn emptiness_is_judged_only_after_the_listeners_have_stopped() {
    let mut world = World::with_open(0);
    let now = Ladder {
        announce: Duration::ZERO,
        ..LADDER
    };
    world
        .drain
        .handle(world.now, (Input::Retire(now), world.tally));
    let effects: Vec<_> = std::iter::from_fn(|| world.drain.poll_effect()).collect();
    assert_eq!(effects, [Effect::Announce, Effect::Stop]);
    world.tally.opened += 1;
    assert_eq!(world.tell(Input::Look), []);
    assert_eq!(
        world.close(1),
        [Effect::Shutdown, Effect::Over(report(1, 0, 0))]
    );
}

#[test]
fn a_late_driver_makes_up_for_lost_time() {
    let mut world = World::with_open(1);
    world.tell(Input::Retire(LADDER));
    let effects = world.after(secs(60));
    assert_eq!(effects, [Effect::Stop, Effect::Shutdown, Effect::Cut]);
}

#[test]
fn a_pause_can_be_resumed_and_retired() {
    let mut world = World::with_open(2);
    // What is open goes on, and nobody waits for it.
    let paused = [Effect::Pause, Effect::Paused(report(0, 0, 2))];
    assert_eq!(world.tell(Input::Pause), paused);
    assert_eq!(world.tell(Input::Pause), []);
    assert_eq!(world.close(1), []);
    assert_eq!(world.tell(Input::Resume), [Effect::Reopen]);
    assert_eq!(world.tell(Input::Resume), []);

    let paused = [Effect::Pause, Effect::Paused(report(0, 0, 1))];
    assert_eq!(world.tell(Input::Pause), paused);
    assert_eq!(world.close(1), []);
    // It stopped accepting long ago: nothing is left to announce to load balancers.
    let over = [
        Effect::Announce,
        Effect::Stop,
        Effect::Shutdown,
        Effect::Over(report(0, 0, 0)),
    ];
    assert_eq!(world.tell(Input::Retire(LADDER)), over);
}

#[test]
fn a_second_request_to_retire_changes_nothing() {
    let mut world = World::with_open(1);
    world.tell(Input::Retire(LADDER));
    let before = world.drain.next_deadline();
    world.now = world.now + Duration::from_millis(500);
    assert_eq!(world.tell(Input::Retire(LADDER)), []);
    assert_eq!(world.tell(Input::Pause), []);
    assert_eq!(world.tell(Input::Resume), []);
    assert_eq!(world.drain.next_deadline(), before);
}

#[test]
fn hurry_cuts_at_once_from_every_step() {
    for passed in [secs(0), secs(1), secs(3), secs(6)] {
        let mut world = World::with_open(1);
        world.tell(Input::Retire(LADDER));
        world.after(passed);
        let effects = world.tell(Input::Hurry);
        assert_eq!(effects.last(), Some(&Effect::Cut), "{passed:?}");
        assert_eq!(world.cut(1), [Effect::Over(report(0, 1, 0))]);
    }
    let mut world = World::with_open(1);
    assert_eq!(world.tell(Input::Hurry), []);
}

#[test]
fn servers_shut_down_only_when_something_was_read_of_each_connection() {
    let at_once = Ladder {
        announce: secs(0),
        notify: secs(0),
        grace: secs(4),
    };
    let mut world = World::with_open(3);
    world.tally.unread = 2;
    let effects = world.tell(Input::Retire(at_once));
    assert_eq!(effects, [Effect::Announce, Effect::Stop]);
    assert!(!world.drain.is_due(&world.tally));
    assert_eq!(world.read(1), []);
    assert_eq!(world.read(1), [Effect::Shutdown]);
    assert_eq!(world.after(secs(4)), [Effect::Cut]);

    // One that never says anything is not waited for.
    let mut silent = World::with_open(1);
    silent.tally.unread = 1;
    silent.tell(Input::Retire(at_once));
    assert_eq!(silent.after(FIRST_BYTES), [Effect::Shutdown]);
    assert_eq!(silent.after(at_once.grace - FIRST_BYTES), [Effect::Cut]);

    let mut hurried = World::with_open(1);
    hurried.tally.unread = 1;
    hurried.tell(Input::Retire(at_once));
    assert_eq!(hurried.tell(Input::Hurry), [Effect::Shutdown, Effect::Cut]);
}
