//! Several hubs in one program, over the memory engine and a network without sockets.

mod life;
mod moves;
mod operators;
mod world;
