//! A process is served: messages come, are applied and answered.

use handover_hub_proto::identity::{CallId, Epoch, NodeId};
use handover_hub_proto::mailbox::{Arrival, Refusal, Released};

use super::judge;
use super::network::{Mail, Packet};
use super::world::{World, limits};
use crate::broken::Broken;

impl World {
    /// A message to the process is read.
    pub(super) fn mail(&mut self, at: u8, mail: Mail) -> Result<(), Broken> {
        let outside = self.outside();
        let Some(cell) = &mut self.node(at).cell else {
            self.not_here(at, mail);
            return Ok(());
        };
        match cell.mailbox.arrive(mail, &limits()) {
            Arrival::Queued { .. } | Arrival::Held | Arrival::Known | Arrival::Settled => {}
            Arrival::Answered(reply) => {
                let number = mail.number;
                self.send(at, outside, Packet::Reply { number, reply });
            }
            Arrival::Elsewhere { letter, to, epoch } => self.elsewhere(at, letter, to, epoch),
            Arrival::Refused(letter, why) => {
                let number = letter.number;
                self.send(at, outside, Packet::Refused { number, why });
            }
        }
        Ok(())
    }

    fn not_here(&mut self, at: u8, mail: Mail) {
        let number = mail.number;
        if mail.ticket.is_some() {
            let (to, why) = (self.outside(), Refusal::NotHere);
            self.send(at, to, Packet::Refused { number, why });
        } else {
            self.ledger.unheard.insert(number);
        }
    }

    /// What waited at one that will not serve.
    pub(super) fn close(&mut self, at: u8) {
        if let Some(cell) = self.node(at).cell.take() {
            for mail in cell.mailbox.close() {
                self.not_here(at, mail);
            }
        }
    }

    fn elsewhere(&mut self, at: u8, mail: Mail, to: NodeId, epoch: Epoch) {
        let outside = self.outside();
        let number = mail.number;
        if mail.ticket.is_some() {
            self.send(at, outside, Packet::Redirect { number, to, epoch });
        } else {
            self.ledger.strayed.insert(number);
            self.send(at, super::world::number(to), Packet::Mail(mail));
        }
    }

    pub(super) fn released(
        &mut self,
        at: u8,
        released: Released<Mail, Vec<u8>>,
    ) -> Result<(), Broken> {
        let outside = self.outside();
        for (CallId { number, .. }, reply) in released.replies {
            self.send(at, outside, Packet::Reply { number, reply });
        }
        for (letter, why) in released.refused {
            let number = letter.number;
            self.send(at, outside, Packet::Refused { number, why });
        }
        for mail in released.elsewhere {
            let cell = self.node(at).cell.as_ref();
            if let Some((to, epoch)) = cell.and_then(|cell| cell.mailbox.elsewhere()) {
                self.elsewhere(at, mail, to, epoch);
            }
        }
        let freezing = self.node(at).cell.as_ref().and_then(|cell| cell.attempt);
        match freezing {
            Some(attempt) if released.frozen => self.frozen(at, attempt, Ok(())),
            _ => Ok(()),
        }
    }

    pub(super) fn take(&mut self, at: u8) {
        if let Some(cell) = &mut self.node(at).cell {
            cell.hand = cell.mailbox.next();
        }
    }

    /// The process applies what it has at hand.
    pub(super) fn finish(&mut self, at: u8) -> Result<(), Broken> {
        let outside = self.outside();
        let Some(cell) = &mut self.node(at).cell else {
            return Ok(());
        };
        let Some(mail) = cell.hand.take() else {
            return Ok(());
        };
        cell.log.push(mail.number);
        judge::once(&cell.log, mail.ticket.is_some())?;
        let reply = vec![u8::try_from(cell.log.len()).unwrap_or(u8::MAX)];
        let answer = mail.ticket.map(|ticket| (ticket.call, reply.clone()));
        let call = answer.is_some();
        let finished = cell.mailbox.finished(answer);
        let attempt = cell.attempt;
        if call && finished.reply {
            let number = mail.number;
            self.send(at, outside, Packet::Reply { number, reply });
        }
        match attempt {
            Some(attempt) if finished.frozen => self.frozen(at, attempt, Ok(())),
            _ => Ok(()),
        }
    }
}
