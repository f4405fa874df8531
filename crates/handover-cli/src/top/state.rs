//! What the live view shows. Pure: told what happened, asks nobody.

use handover_proto::event::Event;
use handover_proto::status::Status;
use std::collections::VecDeque;

/// How many events are kept: more than the tallest terminal has lines.
const KEPT: usize = 500;

/// What can happen to the view.
#[derive(Debug)]
pub(crate) enum Input {
    /// The supervisor said how things are.
    Status(Box<Status>),
    /// Something happened.
    Event(Box<Event>),
    /// The supervisor does not answer; why.
    Lost(String),
}

/// The live view.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) service: String,
    pub(crate) status: Option<Status>,
    /// Oldest first.
    pub(crate) events: VecDeque<Event>,
    /// Why the supervisor does not answer, since it does not.
    pub(crate) lost: Option<String>,
}

impl State {
    pub(crate) fn new(service: String) -> Self {
        Self {
            service,
            status: None,
            events: VecDeque::new(),
            lost: None,
        }
    }

    /// Takes one input.
    pub(crate) fn apply(&mut self, input: Input) {
        match input {
            Input::Status(status) => {
                self.status = Some(*status);
                self.lost = None;
            }
            Input::Event(event) => {
                // A restarted supervisor counts from the beginning; a repeated event is one seen
                // again after reconnecting.
                let seen = |known: &Event| known.seq == event.seq && known.unix_ms == event.unix_ms;
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
    use crate::view::sample;

    #[test]
    fn events_are_kept_once_and_not_for_ever() {
        let mut state = State::new("web".to_owned());
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

    #[test]
    fn a_supervisor_that_answers_again_is_not_lost() {
        let mut state = State::new("web".to_owned());
        state.apply(Input::Lost("gone".to_owned()));
        assert!(state.lost.is_some());
        state.apply(Input::Status(Box::new(sample::at_rest())));
        assert!(state.lost.is_none());
    }
}
