//! One owner of data: the hooks of a [`Service`](crate::Service), and what a driver has to do for
//! the exclusive effects of its machine.

pub(crate) mod call;
mod error;
pub(crate) mod hooks;
pub(crate) mod owner;

pub use error::OwnError;
