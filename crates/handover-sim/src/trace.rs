//! A trace as a scenario one can read: each action, and what every role is afterwards.

use std::fmt::Write;

use crate::actions::Action;
use crate::explorer::{Failure, beginning};
use crate::scenario::Scenario;
use crate::seen::Seen;
use crate::step::Stage;
use crate::world::{Post, World};

/// The failure in words, with the shortest way there.
#[must_use]
pub fn tell(scenario: &Scenario, failure: &Failure) -> String {
    let mut words = format!("{}\n  {}\n", scenario.name, failure.violation);
    let mut seen = Seen::default();
    let Ok(mut world) = beginning(scenario, &mut seen) else {
        return words;
    };
    line(&mut words, 0, "begin", &world);
    for (at, &(action, disturbance)) in failure.actions.iter().enumerate() {
        let what = describe(action, &world);
        let mut stage = Stage::new(&mut world, scenario, &mut seen);
        let result = stage.take(action, disturbance);
        let mark = if disturbance { "! " } else { "" };
        line(&mut words, at + 1, &format!("{mark}{what}"), &world);
        if let Err(violation) = result {
            let _ = writeln!(words, "       {violation}");
        }
    }
    words
}

fn line(words: &mut String, at: usize, what: &str, world: &World) {
    let _ = writeln!(words, "  {at:>3}. {what:<58} | {}", situation(world));
}

fn situation(world: &World) -> String {
    let mut words = match &world.post {
        Post::Held { machine, .. } => machine.state_name().to_owned(),
        Post::Crashed => "(dead)".to_owned(),
        Post::Left { code } => format!("(left, {code})"),
    };
    let journal = world.journal.as_ref().map(|record| record.phase);
    let _ = write!(
        words,
        " [{}]",
        journal.map_or("".to_owned(), |phase| phase.to_string())
    );
    for process in &world.processes {
        let _ = write!(words, " {} {}", process.instance, process.state_name());
        if !process.alive() {
            words.push_str(" (dead)");
        }
        if process.kill {
            words.push_str(" (killed)");
        }
    }
    if let Some(holder) = world.lease.holder {
        let _ = write!(words, "; lease: {holder}");
    }
    words
}

fn describe(action: Action, world: &World) -> String {
    match action {
        Action::Coordinate => format!("coordinator: {}", next(world)),
        Action::FailRecord | Action::FailSpawn => format!("fails: {}", next(world)),
        Action::Act(instance) => {
            let effect = world.process(instance).and_then(|process| process.next());
            let effect = effect.map_or(String::new(), |effect| format!("{effect:?}"));
            format!("{instance}: {effect}")
        }
        Action::Hear(instance) => {
            let link = world
                .process(instance)
                .and_then(|process| process.link.as_ref());
            let said = link.and_then(|link| link.to_coordinator.front());
            let said = said.map_or("(closed)", |message| message.name());
            format!("coordinator hears {instance}: {said}")
        }
        Action::Tell(instance) => {
            let link = world
                .process(instance)
                .and_then(|process| process.link.as_ref());
            let told = link.and_then(|link| link.to_instance.front());
            let told = told.map_or("(closed)", |message| message.name());
            format!("{instance} is told: {told}")
        }
        Action::Done(instance) | Action::Fail(instance) => {
            let hook = world.process(instance).and_then(|process| process.hook());
            let how = if matches!(action, Action::Done(_)) {
                "done"
            } else {
                "fails"
            };
            format!(
                "{instance}: {} {how}",
                hook.map_or("start", |hook| hook.name())
            )
        }
        Action::Hang(instance) => {
            let hook = world.process(instance).and_then(|process| process.hook());
            format!(
                "{instance}: {} hangs",
                hook.map_or("program", |hook| hook.name())
            )
        }
        Action::Break(instance) => format!("the channel of {instance} breaks"),
        Action::Terminate(instance) => format!("{instance} takes SIGTERM"),
        Action::Kill(instance) => format!("{instance} is gone by SIGKILL"),
        Action::Observe(instance) => format!("coordinator sees {instance} gone"),
        Action::Connect(instance) => format!("{instance} finds the coordinator"),
        Action::Warm(instance) => format!("{instance} is ready"),
        Action::Find(instance) => format!("coordinator finds {instance} ready"),
        Action::Drained(instance) => format!("{instance} has drained and exits"),
        Action::Restart => "a new coordinator starts".to_owned(),
        Action::Expire => "coordinator's deadline".to_owned(),
        Action::ExpireOf(instance) => format!("{instance}'s deadline"),
        Action::Crash => "the coordinator is killed".to_owned(),
        Action::CrashOf(instance) => format!("{instance} is killed"),
        Action::Ask(demand) => format!("user: {demand:?}"),
    }
}

fn next(world: &World) -> String {
    use handover_proto::coordinator::Effect;
    match world.next() {
        Some(Effect::Record(record)) => format!("record {}", record.phase),
        Some(Effect::Send { to, message }) => format!("send {} to {to}", message.name()),
        Some(Effect::Signal { to, signal }) => format!("signal {signal:?} to {to}"),
        Some(Effect::Spawn { instance, .. }) => format!("spawn {instance}"),
        Some(effect) => effect.name().to_owned(),
        None => String::new(),
    }
}
