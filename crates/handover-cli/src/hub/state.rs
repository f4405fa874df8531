//! What `hub top` shows. Pure: told what happened, asks nobody.

use handover_hub::admin::view::{EventView, MoveList, NodeView, Status};
use std::collections::VecDeque;

/// How many events are kept: more than the tallest terminal has lines.
const KEPT: usize = 500;

/// All that a node says at once.
#[derive(Clone, Debug)]
pub(crate) struct Glance {
    pub(crate) status: Status,
    pub(crate) nodes: Vec<NodeView>,
    pub(crate) moves: MoveList,
}

/// What can happen to the view.
#[derive(Debug)]
pub(crate) enum Input {
    /// The node said how things are.
    Glance(Box<Glance>),
    /// Something happened.
    Event(Box<EventView>),
    /// The node does not answer; why.
    Lost(String),
}

/// The live view.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) glance: Option<Glance>,
    /// Oldest first.
    pub(crate) events: VecDeque<EventView>,
    /// Why the node does not answer, since it does not.
    pub(crate) lost: Option<String>,
}

impl State {
    /// Takes one input.
    pub(crate) fn apply(&mut self, input: Input) {
        match input {
            Input::Glance(glance) => {
                self.glance = Some(*glance);
                self.lost = None;
            }
            Input::Event(event) => {
                // Seen again after reconnecting; a node that was started again counts anew.
                let seen =
                    |known: &EventView| (known.seq, known.unix_ms) == (event.seq, event.unix_ms);
                if !self.events.iter().any(seen) {
                    self.events.push_back(*event);
                }
                while self.events.len() > KEPT {
                    self.events.pop_front();
                }
            }
            Input::Lost(why) => self.lost = Some(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::sample;

    #[test]
    fn events_are_kept_once_and_not_for_ever() {
        let mut state = State::default();
        for _ in 0..2 {
            for event in sample::events() {
                state.apply(Input::Event(Box::new(event)));
            }
        }
        assert_eq!(state.events.len(), sample::events().len());
        let mut event = sample::events().remove(0);
        for seq in 0..2 * KEPT as u64 {
            event.seq = 1_000 + seq;
            state.apply(Input::Event(Box::new(event.clone())));
        }
        assert_eq!(state.events.len(), KEPT);
    }
}
