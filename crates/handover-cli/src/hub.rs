//! A hub as the command sees it: which node is asked, what it says, how that is shown.

pub(crate) mod client;
pub(crate) mod discovery;
mod error;
#[cfg(test)]
pub(crate) mod sample;
pub(crate) mod screen;
pub(crate) mod state;
pub(crate) mod view;

pub(crate) use client::HubClient;
pub(crate) use error::HubError;
