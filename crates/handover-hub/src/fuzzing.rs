//! Decoders of bytes that other nodes and disks gave, opened for `fuzz/`. Only with
//! `--cfg fuzzing`; no part of the API.

pub use crate::cell::fuzzing::{forwarded, moved, replicated};
pub use crate::checkpoint::fuzzing::checkpoint;
pub use crate::driver::fuzzing::control;
pub use crate::engine::gossip::fuzzing::{gossip, gossip_seeds};
pub use crate::transport::remote::fuzzing::{frames, greeting, greeting_seeds};
