//! Several hubs in one program, over the memory engine and a network without sockets.

mod balance;
mod checkpoints;
mod flights;
mod guided;
mod hooks;
mod life;
mod local;
mod moves;
mod occasions;
mod operators;
mod panics;
mod pressure;
mod replicas;
mod schema;
mod several;
mod world;
