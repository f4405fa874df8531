//! Several hubs in one program, over the memory engine and a network without sockets.

mod hooks;
mod life;
mod moves;
mod operators;
mod pressure;
mod replicas;
mod schema;
mod world;
