//! Frames between hosts.

use handover_hub_proto::call;
use handover_hub_proto::identity::{MoveId, ProcessId};
use handover_hub_proto::mailbox::Sealed;
use handover_hub_proto::node::{HostFailure, HostReport, Input};

use super::{Event, Message, World};
use crate::cluster::agenda::MILLISECOND;
use crate::cluster::host::{Answer, Called, Frame, State};
use crate::cluster::network::{Class, Fate, Network, RunIndex};

impl World {
    pub(super) fn send(
        &mut self,
        from: RunIndex,
        to: RunIndex,
        class: Class,
        size: u64,
        frame: Frame<Message>,
    ) {
        let now = self.now();
        let fate = self
            .network
            .send((from, to), class, size, now, &mut self.random);
        match fate {
            Fate::Arrives { at, connection } => self.agenda.at(
                at,
                Event::Frame {
                    from,
                    to,
                    connection,
                    frame,
                },
            ),
            Fate::Lost { notice: true } => {
                let pause = Network::reset(&mut self.random) + 20 * MILLISECOND;
                self.agenda.after(pause, Event::Notice(from, to));
            }
            Fate::Lost { notice: false } => {}
        }
    }

    pub(super) fn arrive(
        &mut self,
        from: RunIndex,
        to: RunIndex,
        connection: u64,
        frame: Frame<Message>,
    ) {
        if !self.network.holds(from, to, connection) {
            return;
        }
        if !self.network.greet(from, to) {
            self.disconnected(to, from);
        }
        match frame {
            Frame::Control(message) => {
                let from = self.runs[from].id;
                self.note(|| format!("run {to} <- {from} {message:?}"));
                self.input(to, Input::Heard { from, message });
            }
            Frame::Call { process, ticket } => self.called(to, &process, Called(ticket)),
            Frame::Reply { call, .. } => self.tell_call(call, call::Input::Answered),
            Frame::Refused { call, why } => self.refused(from, call, why),
            Frame::Redirect {
                call,
                to: node,
                epoch,
            } => {
                let (from, to) = (self.runs[from].id, node);
                self.tell_call(call, call::Input::Redirected { from, to, epoch });
            }
            Frame::Forward {
                process,
                attempt,
                letters,
            } => self.forwarded(to, &process, attempt, letters),
            Frame::State {
                process,
                attempt,
                state,
                sealed,
            } => self.state_arrives((from, to), process, attempt, (state, sealed)),
            Frame::StateTaken {
                process,
                attempt,
                taken,
            } => {
                let nobody = HostFailure::Transfer("nobody waits for this state there".into());
                self.state_sent(to, &process, attempt, taken.then_some(()).ok_or(nobody));
            }
            Frame::Replica { process, kept } => self.replica_arrives((from, to), process, kept),
            Frame::ReplicaKept { process, number } => {
                self.replica_kept((from, to), &process, number);
            }
        }
    }

    fn state_arrives(
        &mut self,
        (from, to): (RunIndex, RunIndex),
        process: ProcessId,
        attempt: MoveId,
        arrived: (State, Sealed<Called, Answer>),
    ) {
        let taken = self.land(to, &process, attempt, arrived);
        self.note(|| format!("run {to} gets the state of {process} {attempt:?}: {taken}"));
        if taken {
            let report = HostReport::StateArrived {
                process: process.clone(),
                attempt,
                result: Ok(()),
            };
            self.agenda.after(0, Event::Report(to, report));
        }
        let answer = Frame::StateTaken {
            process,
            attempt,
            taken,
        };
        self.send(to, from, Class::States, 0, answer);
    }

    fn state_sent(
        &mut self,
        run: RunIndex,
        process: &ProcessId,
        attempt: MoveId,
        result: Result<(), HostFailure>,
    ) {
        let sending = &mut self.runs[run].host.sending;
        let at = sending
            .iter()
            .position(|(sent, by, _)| sent == process && *by == attempt);
        let Some(at) = at else {
            return;
        };
        sending.remove(at);
        let report = HostReport::StateSent {
            process: process.clone(),
            attempt,
            result,
        };
        self.agenda.after(0, Event::Report(run, report));
    }

    /// A connection broke: whatever was under way in it may be lost.
    pub(super) fn disconnected(&mut self, run: RunIndex, peer: RunIndex) {
        let id = self.runs[peer].id;
        self.note(|| format!("run {run} lost its connection to {id}"));
        let sending = self.runs[run].host.sending.iter();
        let cut = sending.filter(|(_, _, to)| *to == peer);
        let cut: Vec<_> = cut
            .map(|(process, attempt, _)| (process.clone(), *attempt))
            .collect();
        for (process, attempt) in cut {
            let failed = HostFailure::Transfer("the connection broke".into());
            self.state_sent(run, &process, attempt, Err(failed));
        }
        self.input(run, Input::Disconnected(id));
        self.calls_lost(run, peer);
        self.sources_lost(run, peer);
    }
}
