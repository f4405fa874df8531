//! The live view: a state that is told what happened, and a screen drawn from it.

mod screen;
mod state;

pub(crate) use screen::draw;
pub(crate) use state::{Input, State};
