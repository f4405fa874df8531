//! What the end-to-end tests stand on: real services in processes of their own, a fixture server
//! that behaves well or badly on request, and loads to upgrade it under.
//!
//! | module | what |
//! |---|---|
//! | [`service`] | a `handover run` in a runtime directory of its own, and everything it started |
//! | [`workshop`] | a project under `handover dev`, likewise |
//! | [`stranger`] | a server that was started without a supervisor |
//! | [`control`] | its control socket |
//! | [`container`] | a `handover peer`, killed and revived as a platform does |
//! | [`program`] | fixture programs as files, each with its behaviour inside |
//! | [`load`] | `handover_verify` plans for a short run |
//! | [`http`] | one request at a time, byte by byte where it matters |
//! | [`process`] | what `/proc` knows |
//! | [`etcd`] | an etcd, one member or three, and what can befall it |
//! | [`hub`] | nodes of a hub in processes of their own, and what they counted |
//! | [`network`] | containers and devices on networks of their own |
//! | [`locks`] | who holds a lock, from outside |
//! | [`crash`] | processes that die before a given effect |
//! | [`systemd`] | a service manager: hears, keeps descriptors, passes them on |
//! | [`lines`] | numbered lines in log files, and whether all are there |
//! | [`writers`] | clients that write, and the judgement of what became of it |
//! | [`browser`] | a page in a real browser without a window |
//! | [`patience`] | waiting on a condition, never on time |
//! | [`peer`] | third-party programs, found or skipped aloud |
//! | [`fixture`] | the server itself |
//! | [`handoff`] | a daemon on beyond-handoff, and the same on our library |
#![forbid(unsafe_code)]

pub mod address;
pub mod booted;
pub mod browser;
pub mod container;
pub mod control;
pub mod crash;
pub mod etcd;
pub mod fixture;
pub mod hammer;
pub mod handoff;
pub mod http;
pub mod hub;
pub mod lines;
pub mod load;
pub mod locks;
pub mod network;
pub mod patience;
pub mod peer;
pub mod process;
pub mod program;
pub mod service;
pub mod stranger;
pub mod systemd;
pub mod workshop;
pub mod writers;

pub use booted::Booted;
pub use browser::Browser;
pub use container::{Container, Recipe};
pub use control::Control;
pub use patience::eventually;
pub use program::Program;
pub use service::{Builder, Service};
pub use stranger::Stranger;
pub use systemd::Systemd;
