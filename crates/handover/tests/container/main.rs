//! Containers of a service hand over to each other. Real processes; over the network each has a
//! network namespace of its own, which needs root.

mod actor;
mod files;
mod listeners;
mod network;
mod numbers;
mod volume;
mod world;
