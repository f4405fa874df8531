//! One caller outside of all nodes: it says its letters in order, and repeats its calls.

use std::time::Duration;

use handover_hub_proto::call::{Call, Effect, Input, Outcome, Settings};
use handover_hub_proto::identity::{CallId, NodeId};
use handover_hub_proto::reply::Ticket;
use handover_proto::moment::{Machine, Moment};

use super::fault::Fault;
use super::network::{Mail, Packet};
use super::world::{World, id, number};
use crate::broken::Broken;

const NODE: NodeId = NodeId(100);

/// Longer than anything here lasts.
const PATIENCE: Duration = Duration::from_secs(10_000);

/// One thing to say. Its number is its place, from 1.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Letter {
    pub(super) is_call: bool,
    /// There while it has no answer.
    machine: Option<Call>,
    pub(super) answer: Option<Vec<u8>>,
    pub(super) outcome: Option<Outcome>,
    sent: u8,
}

/// All that it says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Caller {
    pub(super) letters: Vec<Letter>,
    pub(super) said: usize,
}

const fn settings() -> Settings {
    let pause = Duration::from_millis(1);
    Settings {
        least_pause: pause,
        most_pause: pause,
    }
}

impl Caller {
    pub(super) fn new(letters: &[bool]) -> Self {
        let letters = letters.iter().map(|is_call| Letter {
            is_call: *is_call,
            machine: None,
            answer: None,
            outcome: None,
            sent: 0,
        });
        Self {
            letters: letters.collect(),
            said: 0,
        }
    }

    pub(super) fn has_more(&self) -> bool {
        self.said < self.letters.len()
    }

    /// Calls that wait before they look again.
    pub(super) fn pausing(&self) -> Vec<u8> {
        let letters = (0..).zip(&self.letters);
        let pausing = letters.filter(|(_, letter)| {
            let machine = letter.machine.as_ref();
            let due = machine.and_then(Machine::next_deadline);
            due.is_some_and(|due| due < Moment::ZERO + PATIENCE)
        });
        pausing.map(|(at, _)| at).collect()
    }

    /// The lowest call without an answer.
    fn floor(&self) -> u64 {
        let open = (1..)
            .zip(&self.letters)
            .find(|(_, letter)| letter.is_call && letter.answer.is_none());
        open.map_or(u64::MAX, |(number, _)| number)
    }
}

impl World {
    pub(super) fn say_next(&mut self) -> Result<(), Broken> {
        let at = self.caller.said;
        self.caller.said += 1;
        if self.caller.letters[at].is_call {
            let deadline = Moment::ZERO + PATIENCE;
            self.caller.letters[at].machine = Some(Call::new(deadline, settings()));
            return self.drive(at);
        }
        let outside = self.outside();
        let host = self.rows[usize::from(outside)];
        let mail = Mail {
            number: at as u64 + 1,
            ticket: None,
        };
        match host.map(|host| number(host.node)) {
            Some(to) if self.is_alive(to) => self.send(outside, to, Packet::Mail(mail)),
            // A cast to nobody is lost.
            Some(_) | None => {
                self.ledger.unheard.insert(mail.number);
            }
        }
        Ok(())
    }

    fn tell_call(&mut self, at: usize, input: Input) -> Result<(), Broken> {
        if let Some(machine) = &mut self.caller.letters[at].machine {
            machine.handle(Moment::ZERO, input);
        }
        self.drive(at)
    }

    fn drive(&mut self, at: usize) -> Result<(), Broken> {
        let outside = self.outside();
        loop {
            let letter = &mut self.caller.letters[at];
            let Some(effect) = letter.machine.as_mut().and_then(Machine::poll_effect) else {
                return Ok(());
            };
            match effect {
                Effect::LookUp => {
                    let row = self.rows[usize::from(outside)];
                    if let Some(machine) = &mut self.caller.letters[at].machine {
                        machine.handle(Moment::ZERO, Input::Row(Some(row)));
                    }
                }
                Effect::Send { to, .. } => {
                    letter.sent = letter.sent.saturating_add(1).min(2);
                    let mut call = at as u64 + 1;
                    if self.fault == Fault::Renumbered && letter.sent > 1 {
                        call += 50;
                    }
                    let floor = self.caller.floor().min(call);
                    let call = CallId {
                        caller: NODE,
                        number: call,
                    };
                    let mail = Mail {
                        number: at as u64 + 1,
                        ticket: Some(Ticket { call, floor }),
                    };
                    let host = number(to);
                    if self.is_alive(host) {
                        self.send(outside, host, Packet::Mail(mail));
                    } else if let Some(machine) = &mut self.caller.letters[at].machine {
                        machine.handle(Moment::ZERO, Input::Disconnected(to));
                    }
                }
                Effect::Finish(outcome) => {
                    letter.outcome = Some(outcome);
                    letter.machine = None;
                }
            }
        }
    }

    pub(super) fn caller_hears(&mut self, from: u8, packet: Packet) -> Result<(), Broken> {
        let from = id(from);
        let (number, input) = match packet {
            Packet::Reply { number, reply } => {
                let Some(at) = self.letter(number) else {
                    return Ok(());
                };
                self.ledger
                    .answered(&self.caller.letters[at], number, &reply)?;
                if self.caller.letters[at].answer.is_none() {
                    self.caller.letters[at].answer = Some(reply);
                }
                (number, Input::Answered)
            }
            Packet::Redirect { number, to, epoch } => {
                (number, Input::Redirected { from, to, epoch })
            }
            Packet::Refused { number, why } => (number, Input::Refused { from, why }),
            Packet::Order(_)
            | Packet::Report(_)
            | Packet::Census { .. }
            | Packet::Held { .. }
            | Packet::Mail(_)
            | Packet::State { .. }
            | Packet::Taken { .. }
            | Packet::Forward { .. } => return Ok(()),
        };
        match self.letter(number) {
            Some(at) => self.tell_call(at, input),
            None => Ok(()),
        }
    }

    fn letter(&self, number: u64) -> Option<usize> {
        let number = if number > 50 { number - 50 } else { number };
        usize::try_from(number).ok()?.checked_sub(1)
    }

    pub(super) fn caller_disconnected(&mut self, from: u8) -> Result<(), Broken> {
        for at in 0..self.caller.letters.len() {
            self.tell_call(at, Input::Disconnected(id(from)))?;
        }
        Ok(())
    }

    pub(super) fn learn(&mut self, at: u8) -> Result<(), Broken> {
        self.rows[usize::from(at)] = self.newest;
        if at == self.outside() {
            for letter in 0..self.caller.letters.len() {
                self.tell_call(letter, Input::Row(Some(self.newest)))?;
            }
        }
        Ok(())
    }

    pub(super) fn retry(&mut self, letter: u8) -> Result<(), Broken> {
        let at = usize::from(letter);
        if let Some(machine) = &mut self.caller.letters[at].machine
            && let Some(due) = machine.next_deadline()
        {
            machine.handle(due, Input::Tick);
        }
        self.drive(at)
    }
}
