//! What a hub decides, as values: inputs in, effects out, time passed in.
//!
//! A hub keeps named processes on the nodes of a cluster. Every process belongs to a **shard**, a
//! fixed part of all possible ids; every shard has one **home**, the node that says who runs its
//! processes; a process runs on its **host**. Ownership of shards comes from an engine (gossip or
//! etcd) with a **term** that grows with each change; a process runs under an **epoch**, the term of
//! its shard and a count of grants within it.
//!
//! | where | what |
//! |---|---|
//! | [`identity`] | names and numbers of nodes, processes, shards, epochs, calls |
//! | [`view`] | who is a member, who owns which shard; what the engine is asked and says |
//! | [`spec`], [`row`] | what a child is, and its line in the registry |
//! | [`node`] | the machine of one node: inputs, effects, commands and their answers |
//! | [`message`] | what nodes tell each other |
//! | [`claim`] | the gossip engine's rule of ownership |
//! | [`placement`] | who should own which shard |
//! | [`balance`] | who has least to do |
//! | [`redundancy`] | how many nodes run a child, and as what |
//! | [`partition`] | whether a part of a divided network goes on |
//! | [`intensity`] | whether a process that ended is started again |
//! | [`hook`] | where code of the user is called |
//! | [`migration`] | the machines of one move: home, source, target |
//! | [`mailbox`], [`reply`], [`call`] | messages of a process, its replies, its callers |
//! | [`event`] | what hooks, screens and logs are told |
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod balance;
pub mod call;
pub mod claim;
pub mod event;
mod home;
pub mod hook;
pub mod identity;
pub mod intensity;
pub mod mailbox;
mod members;
pub mod message;
pub mod migration;
pub mod node;
mod pace;
pub mod partition;
pub mod placement;
pub mod redundancy;
mod registry;
pub mod reply;
mod requests;
pub mod row;
pub mod spec;
pub mod view;
