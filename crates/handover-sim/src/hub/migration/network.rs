//! Connections: in order until they break.

use std::collections::{BTreeMap, VecDeque};

use handover_hub_proto::identity::{Epoch, MoveId, NodeId};
use handover_hub_proto::mailbox::{Letter, Refusal, Sealed};
use handover_hub_proto::migration::{Holding, Order, Report};
use handover_hub_proto::reply::Ticket;

/// A message to the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Mail {
    pub(super) number: u64,
    pub(super) ticket: Option<Ticket>,
}

impl Letter for Mail {
    fn ticket(&self) -> Option<Ticket> {
        self.ticket
    }

    fn size(&self) -> usize {
        1
    }
}

/// What goes over a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Packet {
    Order(Order),
    Report(Report),
    Census {
        term: u64,
    },
    Held {
        term: u64,
        holding: Option<Holding>,
    },
    Mail(Mail),
    Reply {
        number: u64,
        reply: Vec<u8>,
    },
    Redirect {
        number: u64,
        to: NodeId,
        epoch: Epoch,
    },
    Refused {
        number: u64,
        why: Refusal,
    },
    State {
        attempt: MoveId,
        epoch: Option<Epoch>,
        log: Vec<u64>,
        sealed: Sealed<Mail, Vec<u8>>,
    },
    Taken {
        attempt: MoveId,
    },
    Forward {
        batch: Vec<Mail>,
    },
}

/// Connections of one pair of nodes: states hold nothing else up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Class {
    Control,
    Calls,
    States,
}

impl Packet {
    pub(super) const fn class(&self) -> Class {
        match self {
            Self::Order(_) | Self::Report(_) | Self::Census { .. } | Self::Held { .. } => {
                Class::Control
            }
            Self::Mail(_)
            | Self::Reply { .. }
            | Self::Redirect { .. }
            | Self::Refused { .. }
            | Self::Forward { .. } => Class::Calls,
            Self::State { .. } | Self::Taken { .. } => Class::States,
        }
    }
}

/// One direction of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Line {
    pub(super) from: u8,
    pub(super) to: u8,
    pub(super) class: Class,
}

/// All that is under way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Network {
    pub(super) lines: BTreeMap<Line, VecDeque<Packet>>,
    /// What was under way on a connection that broke, and may still be read: from whom, to whom.
    pub(super) late: Vec<(u8, u8, Packet)>,
}

impl Network {
    pub(super) fn send(&mut self, from: u8, to: u8, packet: Packet) {
        let class = packet.class();
        let line = Line { from, to, class };
        self.lines.entry(line).or_default().push_back(packet);
    }

    pub(super) fn take(&mut self, line: Line) -> Option<Packet> {
        let waiting = self.lines.get_mut(&line)?;
        let packet = waiting.pop_front();
        if waiting.is_empty() {
            self.lines.remove(&line);
        }
        packet
    }

    /// Breaks all connections of a pair. What was under way is late, if it can matter. Returns moves
    /// whose state or whose receipt was under way from the one to the other.
    pub(super) fn cut(&mut self, one: u8, other: u8) -> Vec<Packet> {
        let between = |line: &Line| {
            (line.from, line.to) == (one, other) || (line.from, line.to) == (other, one)
        };
        let cut: Vec<Line> = self.lines.keys().copied().filter(between).collect();
        let mut states = Vec::new();
        for line in cut {
            for packet in self.lines.remove(&line).unwrap_or_default() {
                match line.class {
                    Class::Control => self.late.push((line.from, line.to, packet)),
                    Class::Calls if matches!(packet, Packet::Mail(_)) => {
                        self.late.push((line.from, line.to, packet));
                    }
                    Class::Calls => {}
                    Class::States => states.push(packet),
                }
            }
        }
        states
    }

    /// The dead read nothing.
    pub(super) fn forget(&mut self, dead: u8) {
        self.lines.retain(|line, _| line.to != dead);
        self.late.retain(|(_, to, _)| *to != dead);
    }
}
