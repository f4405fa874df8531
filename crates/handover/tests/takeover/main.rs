//! Programs without a supervisor that are replaced: by themselves, and by successors that somebody
//! starts. Real processes, real sockets; each test has a directory of its own.

mod actor;
mod failures;
mod notices;
mod owners;
mod refusals;
mod requests;
mod taking;
mod upgrading;
mod world;
