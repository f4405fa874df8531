//! Frames that arrive from other nodes, but those for the machine.

use std::sync::Arc;

use handover_hub_proto::identity::NodeId;
use handover_hub_proto::reply::Ticket;
use handover_hub_proto::row::Host;
use tokio::sync::mpsc;

use crate::calls::Outcome;
use crate::cell::{Letter, Verdict};
use crate::hub::Shared;
use crate::transport::Frame;
use crate::transport::frame::{Call, Cast, Forward, Refusal};

/// Takes frames of calls, or of states, until the transport closes. To be spawned, once for each.
pub(crate) async fn take(shared: Arc<Shared>, mut arrivals: mpsc::Receiver<(NodeId, Frame)>) {
    while let Some((from, frame)) = arrivals.recv().await {
        take_one(&shared, from, frame);
    }
}

fn take_one(shared: &Arc<Shared>, from: NodeId, frame: Frame) {
    match frame {
        Frame::Call(call) => take_call(shared, from, call),
        Frame::Cast(cast) => take_cast(shared, cast),
        Frame::Reply(reply) if reply.id.caller == shared.me => {
            let outcome = Outcome::Reply(reply.body);
            shared.calls.leave(reply.id.number, from, outcome);
        }
        Frame::Refused(refused) if refused.id.caller == shared.me => {
            let outcome = Outcome::Refused(refused.refusal);
            shared.calls.leave(refused.id.number, from, outcome);
        }
        Frame::Redirect(redirect) if redirect.id.caller == shared.me => {
            let outcome = Outcome::Redirect(redirect.to, redirect.epoch);
            shared.calls.leave(redirect.id.number, from, outcome);
        }
        Frame::State(state) => {
            if let Some(cell) = shared.cells.get(&state.process) {
                cell.state_part(shared, state.attempt, state.part);
            }
        }
        Frame::Forward(forward) => take_forward(shared, from, &forward),
        Frame::Replica(replica) => {
            if let Some(cell) = shared.cells.get(&replica.process) {
                cell.replica(shared, from, replica);
            }
        }
        Frame::Reply(_)
        | Frame::Refused(_)
        | Frame::Redirect(_)
        | Frame::Control(_)
        | Frame::Engine(_) => tracing::warn!(%from, "a frame came that is not for this node"),
    }
}

fn take_call(shared: &Arc<Shared>, from: NodeId, call: Call) {
    if call.id.caller != from {
        tracing::warn!(%from, caller = %call.id.caller, "a call came that is not its sender's");
        return;
    }
    let ticket = Ticket {
        call: call.id,
        floor: call.floor,
    };
    let Some(cell) = shared.cells.get(&call.process) else {
        return match elsewhere(shared, &call) {
            Some(host) => shared.redirect(call.id, &call.process, host.node, host.epoch),
            None => shared.refuse(call.id, Refusal::NotHere),
        };
    };
    let letter = Letter {
        ticket: Some(ticket),
        own: false,
        body: call.body,
    };
    match cell.receive(shared, letter, call.epoch) {
        Verdict::Taken | Verdict::Settled => {}
        Verdict::Reply(epoch, reply) => shared.reply(call.id, epoch, reply),
        Verdict::Refused(refusal) => shared.refuse(call.id, refusal),
        Verdict::Redirect(to, epoch) => shared.redirect(call.id, &call.process, to, epoch),
    }
}

/// Where this node's registry says that a process is, if that is news to the caller.
fn elsewhere(shared: &Shared, call: &Call) -> Option<Host> {
    let host = shared.registry.active(&call.process).flatten()?;
    (host.node != shared.me && host.epoch > call.epoch).then_some(host)
}

fn take_cast(shared: &Arc<Shared>, cast: Cast) {
    let letter = Letter {
        ticket: None,
        own: false,
        body: cast.body.clone(),
    };
    let verdict = match shared.cells.get(&cast.process) {
        Some(cell) => cell.receive(shared, letter, cast.epoch),
        None => Verdict::Refused(Refusal::NotHere),
    };
    match verdict {
        Verdict::Taken | Verdict::Reply(..) | Verdict::Settled => {}
        // Nobody waits for an answer, so this node looks further.
        Verdict::Refused(_) | Verdict::Redirect(..) => shared.cast_on(cast.process, cast.body),
    }
}

fn take_forward(shared: &Arc<Shared>, from: NodeId, forward: &Forward) {
    let Some(cell) = shared.cells.get(&forward.process) else {
        return;
    };
    let letter = if forward.body.is_empty() {
        None
    } else {
        match postcard::from_bytes(&forward.body) {
            Ok(letter) => Some(letter),
            Err(error) => {
                tracing::warn!(%from, %error, "a forwarded message cannot be read");
                None
            }
        }
    };
    cell.forwarded(shared, letter, forward.last);
}
