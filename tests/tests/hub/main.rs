//! Hubs as their operators meet them.

mod command;
mod dashboard;
