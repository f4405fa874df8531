//! Stateful processes that live on many nodes and move with their state.
#![forbid(unsafe_code)]

pub mod engine;
