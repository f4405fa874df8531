//! Hubs as their operators meet them.

mod dashboard;
