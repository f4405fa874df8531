//! The blocking instance: the conversation with a coordinator, the ladder, exclusive handovers, and real processes.

mod beyond;
mod conversation;
mod exclusive;
mod ladder;
mod processes;
mod world;
