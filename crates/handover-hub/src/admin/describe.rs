//! Events and failures in words, with nodes by name.

use std::time::Duration;

use handover_hub_proto::event::Event;
use handover_hub_proto::identity::{NodeId, ProcessId};
use handover_hub_proto::node::Failure;
use handover_hub_proto::view::Departure;

use super::view::{EventView, Weight};

/// What is said of an event besides its number and its time.
pub(super) fn event(
    seq: u64,
    unix_ms: u64,
    event: &Event,
    name: &dyn Fn(NodeId) -> String,
) -> EventView {
    let mut view = EventView {
        seq,
        unix_ms,
        event: String::new(),
        process: None,
        shard: None,
        attempt: attempt(event),
        from: None,
        node: None,
        pause_ns: None,
        reason: None,
        weight: Weight::Plain,
        text: String::new(),
    };
    match event {
        Event::Joined { .. }
        | Event::Gone { .. }
        | Event::Owned { .. }
        | Event::Suspended { .. }
        | Event::Continued
        | Event::Redistributing
        | Event::Settled
        | Event::Emptied { .. }
        | Event::HookFailed { .. }
        | Event::Scored { .. } => of_cluster(&mut view, event, name),
        _ => of_process(&mut view, event, name),
    }
    view
}

fn attempt(event: &Event) -> Option<String> {
    match event {
        Event::Moving { attempt, .. }
        | Event::Moved { attempt, .. }
        | Event::MoveFailed { attempt, .. } => Some(format!("{}.{}", attempt.home, attempt.number)),
        _ => None,
    }
}

fn of_cluster(view: &mut EventView, event: &Event, name: &dyn Fn(NodeId) -> String) {
    let (word, text) = match event {
        Event::Joined { node } => {
            let node = view.node.insert(name(*node));
            ("joined", format!("node {node} joined"))
        }
        Event::Gone { node, cause } => {
            let node = view.node.insert(name(*node));
            match cause {
                Departure::Left => ("left", format!("node {node} left")),
                Departure::Lost => {
                    view.weight = Weight::Bad;
                    let text = format!("node {node} is lost; its processes start again elsewhere");
                    ("lost", text)
                }
            }
        }
        Event::Owned { shard, node, term } => {
            let node = view.node.insert(name(*node));
            view.shard = Some(shard.0);
            let text = format!("node {node} is home of shard {}, term {}", shard.0, term.0);
            ("owned", text)
        }
        Event::Suspended { reason } => {
            view.weight = Weight::Bad;
            view.reason = Some(reason.clone());
            ("suspended", format!("this node stands still: {reason}"))
        }
        Event::Continued => {
            view.weight = Weight::Good;
            ("continued", "this node goes on".to_owned())
        }
        Event::Redistributing => (
            "redistributing",
            "shards are being redistributed".to_owned(),
        ),
        Event::Emptied { moved, left } => {
            let text =
                format!("nothing is left to move away: {moved} moved, {left} are still here");
            ("emptied", text)
        }
        Event::HookFailed {
            hook,
            handler,
            reason,
        } => {
            view.weight = Weight::Bad;
            view.reason = Some(reason.clone());
            let handler = handler.as_deref().unwrap_or("all handlers");
            ("hook_failed", format!("{handler} at hook {hook}: {reason}"))
        }
        Event::Scored { scores, shifted } => {
            let scores = scores.iter().map(|(node, score)| {
                let node = name(*node);
                format!("{node} {score}")
            });
            let scores = scores.collect::<Vec<_>>().join(", ");
            let text = format!("load: {scores}; {shifted} to be shifted");
            ("scored", text)
        }
        _ => {
            view.weight = Weight::Good;
            ("settled", "settled: no move is left to do".to_owned())
        }
    };
    view.event = word.to_owned();
    view.text = text;
}

fn of_process(view: &mut EventView, event: &Event, name: &dyn Fn(NodeId) -> String) {
    view.process = concerned(event).cloned();
    let (word, text) = match event {
        Event::Registered {
            process,
            node,
            epoch,
        } => {
            let node = view.node.insert(name(*node));
            let text = format!("{process} runs on node {node}, epoch {epoch}");
            ("registered", text)
        }
        Event::Unregistered { process } => ("unregistered", format!("{process} is no more")),
        Event::Moving {
            process, from, to, ..
        } => {
            let from = view.from.insert(name(*from));
            let node = view.node.insert(name(*to));
            let text = format!("{process} moves from node {from} to node {node}");
            ("moving", text)
        }
        Event::Moved {
            process,
            to,
            pause_ns,
            ..
        } => {
            view.pause_ns = Some(*pause_ns);
            view.weight = Weight::Good;
            let node = view.node.insert(name(*to));
            let pause = Duration::from_nanos(*pause_ns);
            let text = format!("{process} moved to node {node}, pause {pause:.1?}");
            ("moved", text)
        }
        Event::MoveFailed {
            process,
            serves,
            reason,
            ..
        } => {
            view.reason = Some(reason.clone());
            view.weight = Weight::Bad;
            let node = view.node.insert(name(*serves));
            let text = format!("{process} did not move and serves on node {node}: {reason}");
            ("move_failed", text)
        }
        other => of_life(view, other, name),
    };
    view.event = word.to_owned();
    view.text = text;
}

fn of_life(
    view: &mut EventView,
    event: &Event,
    name: &dyn Fn(NodeId) -> String,
) -> (&'static str, String) {
    match event {
        Event::Deferred { process } => ("deferred", format!("{process} asked to be moved later")),
        Event::Crashed {
            process,
            reason,
            restarted,
        } => {
            view.reason = Some(reason.clone());
            view.weight = Weight::Bad;
            let then = match restarted {
                true => "it was started again",
                false => "it is not started again",
            };
            ("crashed", format!("{process} crashed: {reason}; {then}"))
        }
        Event::Forwarded { process, to } => {
            let node = view.node.insert(name(*to));
            let text = format!("the start of {process} was passed on to node {node}");
            ("forwarded", text)
        }
        Event::CheckpointFailed { process, reason } => {
            view.reason = Some(reason.clone());
            view.weight = Weight::Bad;
            let text = format!("the checkpoint of {process} was {reason}");
            ("checkpoint_failed", text)
        }
        // A kind of event that this file does not know yet.
        other => ("other", format!("{other:?}")),
    }
}

/// The process that an event is about.
fn concerned(event: &Event) -> Option<&ProcessId> {
    match event {
        Event::Registered { process, .. }
        | Event::Unregistered { process }
        | Event::Moving { process, .. }
        | Event::Moved { process, .. }
        | Event::MoveFailed { process, .. }
        | Event::Deferred { process }
        | Event::CheckpointFailed { process, .. }
        | Event::Forwarded { process, .. }
        | Event::Crashed { process, .. } => Some(process),
        _ => None,
    }
}

/// A failure with nodes by name.
pub(super) fn failure(failure: &Failure, name: &dyn Fn(NodeId) -> String) -> String {
    match failure {
        Failure::UnknownKind { node, kind } => format!(
            "node {} has no kind {kind}: register it there, or pin the child to nodes that have it",
            name(*node)
        ),
        Failure::Refused { node, reason } => {
            format!("it did not start on node {}: {reason}", name(*node))
        }
        Failure::NotMoved { serves, reason } => {
            format!(
                "it did not move and serves on node {}: {reason}",
                name(*serves)
            )
        }
        other => other.to_string(),
    }
}
