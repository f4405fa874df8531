//! The blocking instance: the conversation with a coordinator, the ladder, and real processes.

mod conversation;
mod ladder;
mod processes;
mod world;
