//! Scenarios of a few nodes in a world with a virtual clock.

mod balance;
mod emptying;
mod ends;
mod flights;
mod host;
mod lasting;
mod late;
mod moves;
mod starts;
mod stillness;
mod telling;
pub(crate) mod world;
