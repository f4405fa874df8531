//! The coordinator, scenario by scenario; every interleaving of an exclusive service is the explorer's.

#[path = "coordinator/attended.rs"]
mod attended;
#[path = "coordinator/desk.rs"]
mod desk;
#[path = "coordinator/introduction.rs"]
mod introduction;
#[path = "coordinator/recovery.rs"]
mod recovery;
#[path = "coordinator/stopping.rs"]
mod stopping;
#[path = "coordinator/undo.rs"]
mod undo;
#[path = "coordinator/window.rs"]
mod window;
