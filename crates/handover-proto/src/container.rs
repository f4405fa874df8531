//! Containers that hand over.

pub mod roster;
