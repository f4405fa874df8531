//! The coordinator of an exclusive service, scenario by scenario; every interleaving of them is the
//! explorer's.

#[path = "coordinator/desk.rs"]
mod desk;
#[path = "coordinator/introduction.rs"]
mod introduction;
#[path = "coordinator/recovery.rs"]
mod recovery;
#[path = "coordinator/undo.rs"]
mod undo;
#[path = "coordinator/window.rs"]
mod window;
