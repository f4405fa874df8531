//! Screens: pure functions from state to text. No clock, no terminal, no socket.

pub(crate) mod adoption;
pub(crate) mod check;
pub(crate) mod development;
pub(crate) mod doctor;
pub(crate) mod event;
pub(crate) mod history;
pub(crate) mod incumbent;
pub(crate) mod load;
pub(crate) mod outcome;
pub(crate) mod peer;
pub(crate) mod peers;
pub(crate) mod quantity;
pub(crate) mod status;
pub(crate) mod table;
pub(crate) mod unit;

#[cfg(test)]
pub(crate) mod sample;
