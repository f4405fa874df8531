//! The machines of a hub ([`handover_hub_proto`]).

pub mod migration;
