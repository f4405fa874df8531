//! Log files and what becomes of them at a handover.

pub(crate) mod aside;
